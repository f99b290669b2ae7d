"""A session keeps its word about jobs: events in order, one at a time, cancelled when asked, and never a hang."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit import Context, Event, Request, Session, Stage
from zimage_kit.errors import BadRequest, JobCancelled, SessionDied
from zimage_kit.stages.stage import registry, stage


@pytest.fixture
def small(model: str) -> Request:
    return Request(prompt="a red balloon", model=model, width=64, height=64, steps=2, seed=1)


@pytest.fixture
def long(small: Request) -> Request:
    """Seconds of work, in small steps."""
    return small.but(steps=200, width=256, height=256)


@pytest.fixture
def own(model: str) -> Iterator[Session]:
    """A session that a test may close: another one than the shared."""
    with zk.connect("inline", dtype="float32") as session:
        yield session


def test_events_come_in_order_and_can_be_heard_late_and_twice(own: Session, small: Request) -> None:
    job = own.submit(small)
    artifact = job.result(60)
    kinds = [event.kind for event in job.events()]
    assert [kind for kind, _ in itertools.groupby(kinds)] == ["queued", "loading", "step", "done"]
    assert kinds == [event.kind for event in job.events()]
    assert {event.job for event in job.events()} == {job.id}
    assert job.state == "done"
    assert artifact.request == job.request
    steps = [event for event in job.events() if event.kind == "step"]
    assert [(event.step, event.steps) for event in steps] == [(1, 2), (2, 2)]
    assert steps[-1].sigma == 0
    sigmas = [event.sigma for event in steps if event.sigma is not None]
    assert sigmas == sorted(sigmas, reverse=True)


def test_loading_tells_the_bytes_that_are_in_memory(own: Session, small: Request) -> None:
    job = own.submit(small)
    job.result(60)
    told = [event for event in job.events() if event.kind == "loading" and event.bytes_total is not None]
    done = [event.bytes_done or 0 for event in told]
    assert done[0] == 0 and done == sorted(done)
    assert len(set(done)) >= 4, "before each of the three networks, and at the end"
    assert done[-1] == told[-1].bytes_total == own.status().memory_bytes


def test_a_click_goes_before_batch_jobs_and_behind_other_clicks(own: Session, small: Request, long: Request) -> None:
    own.submit(long)
    batch = [own.submit(small, seed=seed, priority="batch") for seed in (1, 2)]
    clicks = [own.submit(small, seed=seed) for seed in (3, 4)]
    assert [job.id for job in own.status().jobs[1:]] == [job.id for job in (*clicks, *batch)]
    own.restart()


def test_a_kept_job_is_saved_before_it_is_told_as_done(own: Session, small: Request) -> None:
    job = own.submit(small, keep=True)
    last = list(job.events())[-1]
    path = job.result().path
    assert path is not None and path.is_file()
    assert last.message == f"saved {path}"
    assert zk.open(path).request == job.request


def test_a_model_is_loaded_once_for_all_jobs_and_all_connects(own: Session, small: Request) -> None:
    own.run(small)
    assert zk.connect("inline", dtype="float32") is own
    own.run(small.but(seed=2))
    status = own.status()
    assert (status.model_loads, status.state, status.queued, status.running) == (1, "idle", 0, None)
    assert status.load_seconds is not None


def test_jobs_of_several_threads_never_overlap(session: Session, small: Request) -> None:
    spans: list[tuple[float, float]] = []

    @stage
    class Span(Stage):
        """Note when it ran."""

        kind = "test_span"

        def after(self, image: Image.Image, ctx: Context) -> Image.Image:
            begin = time.perf_counter()
            time.sleep(0.05)
            spans.append((begin, time.perf_counter()))
            return image

    def work(seed: int) -> None:
        session.run(small.but(seed=seed).then(Span()), fresh=True)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    registry.remove("test_span")
    spans.sort()
    assert len(spans) == 6
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_jobs_keep_their_order(session: Session, small: Request) -> None:
    jobs = [session.submit(small, seed=seed, fresh=True) for seed in range(4)]
    done = []
    for job in reversed(jobs):
        job.result(60)
        done.append([other.state for other in jobs[: jobs.index(job)]])
    assert all(state == "done" for states in done for state in states)


def test_waiting_jobs_learn_that_they_move_up(session: Session, small: Request) -> None:
    jobs = [session.submit(small, seed=seed, fresh=True) for seed in range(4)]
    jobs[-1].result(60)
    positions = [event.position for event in jobs[-1].events() if event.kind == "queued"]
    assert positions == sorted(positions, reverse=True)  # type: ignore[type-var]
    assert positions[-1] in (0, 1)


def test_cancel_is_heard_within_one_step(session: Session, long: Request) -> None:
    job = session.submit(long, fresh=True)
    heard = 0
    for event in job.events():
        if event.kind == "step":
            heard += 1
            if heard == 3:
                assert job.cancel()
    steps = [event for event in job.events() if event.kind == "step"]
    assert len(steps) <= 5
    assert job.state == "cancelled"
    with pytest.raises(JobCancelled):
        job.result()
    assert not job.cancel()


def test_a_queued_job_is_cancelled_at_once_and_the_next_runs(session: Session, small: Request, long: Request) -> None:
    first, second, third = (
        session.submit(long, fresh=True),
        session.submit(small, seed=5),
        session.submit(small, seed=6),
    )
    assert session.cancel(second)
    assert second.state == "cancelled"
    with pytest.raises(JobCancelled, match="before it began"):
        second.result(1)
    assert session.cancel(first.id)
    assert third.result(60).request.seed == 6
    assert not session.cancel("no-such-job")


def test_the_session_is_usable_after_a_cancelled_job(session: Session, small: Request, long: Request) -> None:
    before = session.run(small, fresh=True)
    job = session.submit(long, fresh=True)
    next(event for event in job.events() if event.kind == "step")
    job.cancel()
    after = session.run(small, fresh=True)
    assert after.image.tobytes() == before.image.tobytes()


WORKING = """
import os, signal, sys, threading, time, zimage_kit as zk
from PIL import Image

@zk.stage
class Working(zk.Stage):
    "Needs no model, and so no torch; works until it is stopped."

    kind = "working"

    def after(self, image, ctx):
        while True:
            ctx.progress("working")
            ctx.check()
            time.sleep(0.01)

session, picture = zk.connect("inline"), Image.new("RGB", (16, 16))
"""


def test_an_interrupt_while_waiting_cancels_the_job() -> None:
    code = WORKING + (
        "begun = threading.Event()\n"
        "def interrupt(event):\n"
        "    if event.message == 'working' and not begun.is_set():\n"
        "        begun.set()\n"
        "        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    session.apply(picture, Working(), on_event=interrupt)\n"
        "except KeyboardInterrupt:\n"
        "    session.unload()\n"  # waits for the running job
        "    print('interrupted', session.status().state)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["interrupted", "idle"], done.stderr


def test_an_error_in_on_event_cancels_the_job(session: Session, long: Request) -> None:
    def listen(event: Event) -> None:
        if event.kind == "step":
            raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="the listener broke"):
        session.run(long, on_event=listen, fresh=True)
    session.unload()
    assert session.status().state == "idle"


def test_on_event_is_called_in_the_callers_thread(session: Session, small: Request) -> None:
    threads = set()
    session.run(small, on_event=lambda event: threads.add(threading.current_thread()), fresh=True)
    assert threads == {threading.current_thread()}


def test_a_list_streams_its_artifacts_as_they_are_done(session: Session, small: Request) -> None:
    stream = session.run([small.but(seed=seed, steps=20) for seed in range(3)], fresh=True)
    first = next(stream)
    status = session.status()
    assert first.request.seed == 0
    assert status.running is not None or status.queued, "the first came only when all were done"
    assert [artifact.request.seed for artifact in stream] == [1, 2]


def test_a_list_is_checked_as_a_whole_before_anything_runs(session: Session, small: Request) -> None:
    with pytest.raises(BadRequest, match="steps=0"):
        session.run([small, "second"], steps=0)
    with pytest.raises(BadRequest, match="2 seeds for 3 requests"):
        session.run(["a", "b", "c"], seed=[1, 2], model=small.model)
    assert session.status().queued == 0
    assert list(session.run([])) == []


def test_one_seed_for_a_list_is_the_same_seed_for_each(session: Session, small: Request) -> None:
    artifacts = session.run(["a red balloon", "a blue boat"], seed=9, model=small.model, steps=1, width=64, height=64)
    assert [artifact.request.seed for artifact in artifacts] == [9, 9]


def test_whoever_stops_listening_to_a_list_stops_the_rest(session: Session, long: Request) -> None:
    stream = session.run([long, long.but(seed=2)], fresh=True)
    stream.close()  # type: ignore[attr-defined]
    session.unload()
    assert session.status().queued == 0
    assert list(stream) == []


def test_a_job_can_be_awaited(session: Session, small: Request) -> None:
    async def both() -> list[int | None]:
        jobs = [session.submit(small, seed=seed) for seed in (1, 2)]
        return [(await job).request.seed for job in jobs]

    assert asyncio.run(both()) == [1, 2]


def test_cancelling_an_await_cancels_the_job(session: Session, long: Request) -> None:
    async def impatient() -> zk.Job:
        job = session.submit(long, fresh=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job._wait(), 0.3)
        return job

    job = asyncio.run(impatient())
    with pytest.raises(JobCancelled):
        job.result(60)


def test_a_time_out_leaves_the_job_running(session: Session, small: Request, long: Request) -> None:
    blocker = session.submit(long, fresh=True)
    job = session.submit(small, seed=77)
    with pytest.raises(TimeoutError):
        job.result(0.05)
    blocker.cancel()
    assert job.result(60).request.seed == 77


def test_unload_waits_its_turn_gives_the_model_back_and_the_next_job_loads_again(own: Session, small: Request) -> None:
    job = own.submit(small)
    own.unload()
    assert job.state == "done"
    assert (own.status().model, own.status().model_loads) == (None, 1)
    own.run(small, fresh=True)
    assert own.status().model_loads == 2
    own.restart()
    assert (own.status().model, own.status().model_loads) == (None, 0)


def test_closing_cancels_what_waits_and_a_closed_session_says_so(own: Session, small: Request, long: Request) -> None:
    jobs = [own.submit(long, fresh=True), own.submit(small)]
    own.close()
    own.close()
    for job in jobs:
        with pytest.raises(JobCancelled):
            job.result(30)
    assert own.status().state == "closed"
    for use in (lambda: own.run(small), own.unload, own.restart):
        with pytest.raises(SessionDied, match=r"zk\.connect\(\) opens a new one"):
            use()
    again = zk.connect("inline", dtype="float32")
    assert again is not own
    again.close()


def test_a_program_ends_although_a_job_is_running() -> None:
    code = WORKING + (
        "working = threading.Event()\n"
        "hear = lambda event: event.message == 'working' and working.set()\n"
        "def work():\n"
        "    try: session.apply(picture, Working(), on_event=hear)\n"
        "    except zk.ZImageError: pass\n"  # its job is cancelled
        "threading.Thread(target=work, daemon=True).start()\n"
        "assert working.wait(30)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_that_nano_draws_is_said_once_in_a_session(model: str, tmp_path: Path) -> None:
    if model != "nano":
        pytest.skip("nano's weights are not here")
    code = (
        "import zimage_kit as zk\n"
        "session = zk.connect()\n"
        "for _ in range(2): print(session.run('a cat', steps=1, width=64, height=64).trace.notes[0])\n"
    )
    settings = {**os.environ, "ZIMAGE_STATE": str(tmp_path / "state"), "ZIMAGE_OUTPUTS": str(tmp_path / "outputs")}
    command = [sys.executable, "-c", code]
    try:
        for times in (1, 0):  # the program that starts the session, and one that joins it
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=settings)
            assert done.stderr.count("turbo is not on this disk, so nano draws") == times
            assert done.stdout.splitlines() == ["no model was named: nano"] * 2
    finally:
        stop = [sys.executable, "-m", "zimage_kit", "session", "stop"]
        subprocess.run(stop, check=True, timeout=60, env=settings, capture_output=True)


def test_encoding_a_png_does_not_hold_up_the_next_job(session: Session, small: Request) -> None:
    artifact = session.run(small)
    assert "_png" not in vars(artifact)  # encoded on demand, in the thread that asks
    assert artifact.png_bytes() is artifact.png_bytes()


def test_one_process_can_hold_two_models_in_turn(own: Session, small: Request, copied_model: Path) -> None:
    own.run(small)
    artifact = own.run(small, model=str(copied_model), fresh=True)  # its files are the same, and so is the picture
    assert own.status().model_loads == 2
    assert own.status().model == str(copied_model)
    assert any("was unloaded for" in note for note in artifact.trace.notes)


def test_a_model_whose_files_have_changed_is_loaded_anew(own: Session, small: Request, copied_model: Path) -> None:
    request = small.but(model=str(copied_model))
    first = own.run(request)
    config = copied_model / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"shift": 3.0', '"shift": 2.0'))
    second = own.run(request)
    assert own.status().model_loads == 2
    assert not second.trace.cached
    assert second.trace.sigmas != first.trace.sigmas
    assert second.trace.fingerprint != first.trace.fingerprint
    assert any("its files have changed" in note for note in second.trace.notes)


@pytest.fixture
def slow() -> Iterator[type[Stage]]:
    """A stage that works until it is stopped, and looks whether it is at every turn."""

    @stage
    class Slow(Stage):
        """Work for a minute."""

        kind = "test_slow"

        def after(self, image: Image.Image, ctx: Context) -> Image.Image:
            for _ in range(6000):
                ctx.progress("working")
                ctx.check()
                time.sleep(0.01)
            return image

    yield Slow
    registry.remove("test_slow")


def test_a_stage_hears_a_cancel(session: Session, small: Request, slow: type[Stage]) -> None:
    job = session.submit(small.then(slow()))
    next(event for event in job.events() if event.message == "working")
    job.cancel()
    with pytest.raises(JobCancelled):
        job.result(30)


def test_a_stopped_process_is_not_needed_for_a_file_to_be_whole(tmp_path: Path) -> None:
    """kill -9 in the middle of a job leaves no picture behind."""
    path = tmp_path / "x.png"
    code = WORKING + (
        "tell = lambda event: print(event.message, flush=True)\n"
        "session.apply(picture, Working(), on_event=tell).save(sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "working\n" in iter(process.stdout.readline, "")
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL
    assert [file for file in tmp_path.iterdir() if file.is_file()] == []
