"""One session for all programs: one load, turns, everyone may follow and cancel, and it outlives who uses it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import stat
from pathlib import Path

import psutil
import pytest
from PIL import Image
from programs import Hold, Place, Submit, eventually

import zimage_kit as zk
from zimage_kit import Artifact, Context, Request, Session, Stage
from zimage_kit.engine.task import Task
from zimage_kit.errors import BadRequest, ExtensionProblem, JobCancelled, JobFailed, ModelMissing, SessionDied
from zimage_kit.session.job import Job
from zimage_kit.stages import scaffold
from zimage_kit.stages.stage import registry, stage

RUN_ONE = """
request = zk.Request(**json.loads(sys.argv[1]))
loading = []
def listen(event):
    if event.kind == "loading":
        loading.append([event.message, event.bytes_done, event.bytes_total])
session = zk.connect()
artifact = session.run(request, listen)
status = session.status()
heavy = [name for name in ("torch", "diffusers", "transformers") if name in sys.modules]
say("made", len(artifact.png_bytes()), loading, status.model_loads, status.workers[0].pid, status.address, heavy)
"""


def as_json(request: Request) -> str:
    return request.model_dump_json()


def test_three_programs_that_connect_at_once_have_one_engine_and_one_load(place: Place, small: Request) -> None:
    programs = [place.program(RUN_ONE, as_json(small.but(seed=seed))) for seed in range(3)]
    said = [program.hears("made") for program in programs]
    _, sizes, loading, loads, workers, addresses, heavy = zip(*said, strict=True)
    assert all(size > 100 for size in sizes)
    assert loads == (1, 1, 1)
    assert len(set(workers)) == len(set(addresses)) == 1
    assert heavy == ([], [], []), "a program that only uses the session must not import what draws"
    assert [program.ends() for program in programs] == [0, 0, 0]
    servers = [process for process in place.processes() if "zimage_kit.session.shared.server" in process.cmdline()]
    assert len(servers) == 1

    # who came first saw the model load, measured in bytes
    measured = [(done, total) for _, done, total in next(filter(None, loading)) if total is not None]
    assert len(measured) > 2
    assert measured == sorted(measured)
    assert len({total for _, total in measured}) == 1
    assert measured[-1][0] == measured[-1][1] > 1_000_000


def test_a_picture_of_the_session_is_the_inline_engines_to_the_last_bit(
    shared: Session, session: Session, small: Request
) -> None:
    request = small.but(width=128, height=96, steps=3, guidance=0.0)
    ours, theirs = shared.run(request, fresh=True), session.run(request, fresh=True)
    assert ours.image.tobytes() == theirs.image.tobytes()
    assert ours.request == theirs.request
    assert ours.trace.fingerprint == theirs.trace.fingerprint
    assert ours.trace.sigmas == theirs.trace.sigmas
    assert not ours.trace.cached


def test_events_tell_the_way_of_a_job(shared: Session, small: Request) -> None:
    job = shared.submit(small.but(steps=3).then(zk.stages.probe_touch()), fresh=True)
    assert job.result(30).request == job.request
    events = list(job.events())
    assert [kind for kind, _ in itertools.groupby(event.kind for event in events)] == [
        *("queued", "step", "stage", "done"),
    ]
    steps = [event for event in events if event.kind == "step"]
    assert [(event.step, event.steps) for event in steps] == [(1, 3), (2, 3), (3, 3)]
    assert {event.job for event in events} == {job.id}
    assert events[-1].seconds is not None
    assert all(event.preview and event.preview.startswith(b"\xff\xd8") for event in steps), "no JPEG to look at"


def test_a_job_can_be_awaited(shared: Session, small: Request) -> None:
    async def both() -> list[int | None]:
        jobs = [shared.submit(small, seed=seed) for seed in (1, 2)]
        return [(await job).request.seed for job in jobs]

    assert asyncio.run(both()) == [1, 2]


TEN_JOBS = """
request, name, file = zk.Request(**json.loads(sys.argv[1])), sys.argv[2], sys.argv[3]
session = zk.connect()
say("attached")
heard()
notes = [zk.stages.probe_note(file=file, text=name) for _ in range(10)]
jobs = [session.submit(request.but(seed=seed).then(note)) for seed, note in enumerate(notes)]
session.status()  # answered in order, so all of them are queued
say("queued")
for job in jobs:
    job.result()
say("done")
"""


def test_a_waiting_job_is_put_before_its_owners_others_only(
    place: Place, shared: Session, small: Request, hold: Hold
) -> None:
    held = hold(shared)
    jobs = [shared.submit(small, seed=seed, fresh=True, priority="batch") for seed in (1, 2, 3)]
    waiting = lambda: [job.id for job in shared.status().jobs if job.state == "queued"]  # noqa: E731
    assert shared.hasten(jobs[2]) and waiting()[0] == jobs[2].id
    with place.session() as other:
        assert not other.hasten(jobs[1].id), "another program's"
    assert waiting() == [jobs[2].id, jobs[0].id, jobs[1].id]
    held.let_go()
    for job in jobs:
        job.result(60)
    assert not shared.hasten(jobs[0])


def test_two_programs_with_ten_jobs_each_take_turns(
    place: Place, shared: Session, small: Request, hold: Hold, tmp_path: Path
) -> None:
    file = tmp_path / "order"
    programs = [place.program(TEN_JOBS, as_json(small.but(steps=1)), name, file) for name in ("a", "b")]
    for program in programs:
        program.hears("attached")
    held = hold(shared)
    for program in programs:
        program.tell("go")
        program.hears("queued")
    assert shared.status().queued == 20
    held.let_go()
    for program in programs:
        program.hears("done")
    assert "".join(file.read_text().split()) == "ab" * 10


def test_a_click_goes_before_a_list_and_a_list_is_batch(
    place: Place, shared: Session, small: Request, hold: Hold, tmp_path: Path
) -> None:
    def noted(name: str) -> Request:
        return small.but(steps=1).then(zk.stages.probe_note(file=str(tmp_path / "order"), text=name))

    held = hold(shared)
    stream = shared.run([noted("list"), noted("list"), noted("list")], seed=[1, 2, 3])
    click = place.session().submit(noted("click"), seed=4)
    assert eventually(
        lambda: (
            {(job.priority, job.state) for job in shared.status().jobs[1:]} == {("batch", "queued")}
            or [job.priority for job in shared.status().jobs[1:]] == ["interactive", "batch", "batch", "batch"]
        ),
        "the click is first in the queue",
    )
    held.let_go()
    assert [artifact.request.seed for artifact in stream] == [1, 2, 3]
    click.result(30)
    assert (tmp_path / "order").read_text().split() == ["click", "list", "list", "list"]


def test_waiting_jobs_are_told_their_positions_and_these_fall(
    place: Place, shared: Session, hold: Hold, apply: Submit
) -> None:
    held, other = hold(shared), place.session()
    noise = Image.effect_noise((1024, 1024), 64)  # saved while the next jobs run already
    jobs = [apply(shared, zk.stages.probe_touch(), picture=noise, keep=True)]
    jobs += [apply(each, zk.stages.probe_touch(number=number)) for number in range(3) for each in (shared, other)]
    eventually(lambda: shared.status().queued == 7, "seven jobs wait")
    told = {job.id: job.position for job in shared.status().jobs}
    assert list(told.values()) == [None, 1, 2, 3, 4, 5, 6, 7]
    held.let_go()
    for job in jobs:
        job.result(30)
        positions = [event.position for event in job.events() if event.kind == "queued"]
        places = positions[len(positions) - 1 - positions[::-1].index(told[job.id]) :]
        assert places == sorted(places, reverse=True), "somebody was pushed back although nobody new came"
        assert places[-1] in (0, 1)


LONG_JOB = """
job = zk.connect().submit(zk.Request(**json.loads(sys.argv[1])), fresh=True, keep="keep" in sys.argv)
for event in job.events():
    tell(event)
try:
    artifact = job.result()
    say("result", artifact.image.tobytes().hex())
except zk.ZImageError as error:
    say("error", type(error).__name__, str(error))
"""


def test_a_program_follows_a_job_that_another_one_started(place: Place, shared: Session, small: Request) -> None:
    program = place.program(LONG_JOB, as_json(small.but(steps=40)))
    _, id, *_ = program.hears("step")
    (told,) = [job for job in shared.status().jobs if job.id == id]
    assert (told.state, told.steps, told.prompt) == ("running", 40, small.prompt)
    assert f"pid {program.pid}" in told.owner
    job = shared.job(id)
    assert job.request.steps == 40
    events = list(job.events())
    assert [event.kind for event in events[:-1]] == ["step"] * (len(events) - 1)
    steps = [event.step for event in events[:-1]]
    assert steps == list(range(steps[0] or 0, 41)), "a step was told twice, out of order or not at all"
    assert all(event.preview for event in events[:-1])
    assert (events[-1].kind, job.state) == ("done", "done")
    assert job.result(5).image.tobytes().hex() == program.hears("result")[1]


def test_a_program_cancels_a_job_that_another_one_started(place: Place, shared: Session, long: Request) -> None:
    program = place.program(LONG_JOB, as_json(long))
    _, id, *_ = program.hears("step")
    job = shared.job(id)
    assert shared.cancel(id)
    with pytest.raises(JobCancelled):
        job.result(10)
    assert program.hears("cancelled")[1] == id
    assert program.hears("error")[1] == "JobCancelled"
    assert not shared.cancel(id)


def test_a_priority_that_there_is_not_is_told_at_once_and_by_the_session_too(shared: Session, small: Request) -> None:
    with pytest.raises(BadRequest, match="priority='urgent'; expected interactive or batch"):
        shared.submit(small, priority="urgent")  # type: ignore[arg-type]
    job = Job(small, shared._engine)  # as a program of another version would send it
    shared._queue(job, Task(job.id, small, priority="urgent"))  # type: ignore[arg-type]
    with pytest.raises(JobFailed, match="the session cannot take this job"):
        job.result(5)


def test_a_session_of_another_version_is_told(
    place: Place, shared: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.session()
    assert not caplog.records
    monkeypatch.setattr(zk, "__version__", "9.9")
    place.session()
    assert "this is 9.9: `zimage session stop`" in caplog.records[-1].message


def test_a_job_that_is_not_there_says_so(shared: Session) -> None:
    with pytest.raises(BadRequest, match="there is no job nonsense"):
        shared.job("nonsense")
    assert not shared.cancel("nonsense")


def test_a_kept_job_outlives_its_killed_program_and_can_be_had_later(
    place: Place, shared: Session, small: Request, tmp_path: Path
) -> None:
    folder = tmp_path / "its own outputs"
    program = place.program(LONG_JOB, as_json(small.but(steps=30)), "keep", ZIMAGE_OUTPUTS=str(folder))
    _, id, *_ = program.hears("step")
    program.signal(signal.SIGKILL)
    assert program.ends() == -signal.SIGKILL
    (told,) = [job for job in shared.status().jobs if job.id == id]
    assert (told.keep, told.owner) == (True, "a program that has ended")
    eventually(lambda: not shared.status().jobs, "the kept job is done")
    (file,) = folder.rglob("*.png")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask, "a picture is as the user's other files are"
    artifact = shared.job(id).result(5)
    assert artifact.path == file
    assert artifact.image.tobytes() == shared.run(small.but(steps=30)).image.tobytes()
    assert artifact.request.steps == 30


def test_a_kept_picture_is_saved_when_its_job_is_told_as_done(
    shared: Session, small: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(tmp_path / "here"))
    job = shared.submit(small, keep=True)
    artifact = job.result(30)
    assert artifact.path is not None
    assert artifact.path.is_relative_to(tmp_path / "here")
    assert Image.open(artifact.path).tobytes() == artifact.image.tobytes()
    assert list(job.events())[-1].message == f"saved {artifact.path}"


def test_a_job_that_was_not_kept_says_so_when_it_is_asked_for_later(
    place: Place, shared: Session, small: Request
) -> None:
    id = shared.submit(small).id
    eventually(lambda: not shared.status().jobs, "the job is done")
    job = place.session().job(id)
    assert (job.request.prompt, job.state) == (small.prompt, "done")
    with pytest.raises(BadRequest, match="keep=True"):
        job.result(1)


def test_an_interrupt_of_a_program_cancels_its_job(place: Place, shared: Session, long: Request) -> None:
    program = place.program(
        "try:\n"
        "    zk.connect().run(zk.Request(**json.loads(sys.argv[1])), tell, fresh=True)\n"
        "except KeyboardInterrupt:\n"
        "    say('interrupted')\n"
        "    heard()\n",  # it lives on, as a notebook does
        as_json(long),
    )
    _, id, *_ = program.hears("step")
    program.signal(signal.SIGINT)
    program.hears("interrupted", 5)
    eventually(lambda: id not in [job.id for job in shared.status().jobs], "its job is cancelled", 2)
    program.tell("end")
    assert program.ends() == 0


def test_cancelling_an_await_cancels_the_job(shared: Session, long: Request) -> None:
    async def impatient() -> zk.Job:
        job = shared.submit(long, fresh=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job._wait(), 0.3)
        return job

    with pytest.raises(JobCancelled):
        asyncio.run(impatient()).result(10)


def test_leaving_cancels_ones_own_jobs_and_no_others(place: Place, shared: Session, hold: Hold, apply: Submit) -> None:
    held, leaving, staying = hold(shared), place.session(), place.session()
    gone, stays = apply(leaving, zk.stages.probe_touch(number=1)), apply(staying, zk.stages.probe_touch(number=2))
    eventually(lambda: shared.status().queued == 2, "both jobs wait")
    leaving.close()
    leaving.close()
    with pytest.raises(JobCancelled):
        gone.result(5)
    eventually(lambda: shared.status().queued == 1, "the job of who left is gone", 2)
    held.let_go()
    assert stays.result(30).request.stages[0].kind == "probe_touch"
    for use in (lambda: leaving.run("x"), leaving.unload, leaving.restart):
        with pytest.raises(SessionDied, match=r"zk\.connect\(\) opens a new one"):
            use()


def test_a_program_that_ends_leaves_the_session_to_the_others(place: Place, shared: Session, small: Request) -> None:
    program = place.program("say('state', zk.connect().status().clients)")
    assert program.hears("state")[1] == 2
    assert program.ends() == 0
    assert "".join(program.errors) == ""
    eventually(lambda: shared.status().clients == 1, "it is told as gone", 2)
    assert shared.run(small).image.size == (64, 64)


def test_connect_gives_the_users_session_and_the_file_names_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch, small: Request
) -> None:
    with zk.connect() as mine:
        assert zk.connect() is mine
        with zk.connect(place.file) as same:
            assert same.status().address == mine.status().address
            assert same.run(small).image.tobytes() == mine.run(small).image.tobytes()
        monkeypatch.setenv("ZIMAGE_SESSION", str(place.file))
        with zk.connect() as by_setting:
            assert by_setting is not mine
            assert by_setting.status().address == mine.status().address


def test_another_device_than_the_sessions_is_refused(place: Place, shared: Session) -> None:
    with pytest.raises(BadRequest, match="device=cpu, but your session runs with auto"):
        zk.connect(device="cpu")
    with pytest.raises(BadRequest, match="session file"):
        zk.connect(place.file, dtype="float32")


def test_a_stage_that_only_this_program_knows_is_refused_clearly(
    shared: Session, small: Request, apply: Submit
) -> None:
    @stage
    class OnlyHere(Stage):
        """Defined in a notebook's cell."""

        kind = "test_only_here"

        def after(self, image: Image.Image, ctx: Context) -> Image.Image:
            return image

    try:
        for job in (shared.submit(small.then(OnlyHere())), apply(shared, OnlyHere())):
            with pytest.raises(BadRequest, match=r"test_only_here.*make it an extension.*inline"):
                job.result(30)
            assert job.state == "failed"
    finally:
        registry.remove("test_only_here")


def test_a_model_that_the_worker_lacks_is_an_error_that_names_it(
    shared: Session, small: Request, copied_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = small.but(model="turbo", seed=3)
    with pytest.raises(ModelMissing, match="turbo"):
        shared.run(request)
    copied_model.rename(copied_model.parent / "turbo")  # here it lies now, but the worker looks elsewhere
    monkeypatch.setenv("ZIMAGE_MODELS", str(copied_model.parent))
    with pytest.raises(ModelMissing, match="turbo") as raised:
        shared.run(request)
    assert raised.value.facts["model"] == "turbo"
    assert shared.status().state == "idle"


def test_status_says_who_is_there_and_who_works(shared: Session, small: Request, long: Request) -> None:
    shared.run(small)
    job = shared.submit(long, fresh=True)
    next(event for event in job.events() if event.kind == "step")
    status = shared.status()
    assert (status.engine, status.state, status.running) == ("shared", "running", job.id)
    assert (status.model, status.device, status.dtype) == (small.model, "cpu", "float32")
    (worker,) = status.workers
    assert worker.state == "running"
    assert worker.running == job.id
    assert worker.resident_bytes == status.memory_bytes > 10_000_000
    assert worker.last_seen < 5
    assert psutil.pid_exists(worker.pid)
    assert status.started is not None
    job.cancel()
    json.loads(status.model_dump_json())


def test_unload_waits_for_what_runs_and_gives_the_memory_back(shared: Session, small: Request) -> None:
    shared.run(small)
    loads = shared.status().model_loads
    worker = psutil.Process(shared.status().workers[0].pid)
    before, weights = worker.memory_info().rss, shared.status().memory_bytes
    job = shared.submit(small.but(steps=20), fresh=True)
    next(event for event in job.events() if event.kind == "step")
    shared.unload()
    assert job.result(1).request.steps == 20, "what ran was not left to its end"
    status = shared.status()
    assert (status.model, status.memory_bytes, status.model_loads) == (None, 0, loads)
    assert before - worker.memory_info().rss > 0.5 * weights
    shared.run(small, fresh=True)
    assert (shared.status().model, shared.status().model_loads) == (small.model, loads + 1)


@pytest.mark.slow
def test_five_hundred_jobs_leave_nothing_behind(
    place: Place, shared: Session, small: Request, artifact: Artifact
) -> None:
    """Memory that grows with every job would end a session that is left running for weeks."""

    def used() -> dict[str, int]:
        # resident, not proportional: the share of torch's libraries changes with whatever else uses them
        return {name: process.memory_info().rss for name, process in processes.items()}

    (worker,) = eventually(lambda: shared.status().workers, "a worker is there")
    processes = {"scheduler": place.server(), "worker": psutil.Process(worker.pid)}
    early: dict[str, int] = {}
    for number in range(100):
        if number == 10:
            early = used()
        shared.run(small.but(steps=1, seed=number))
        for other in range(4):
            shared.apply(artifact, zk.stages.probe_touch(number=4 * number + other))
    grown = {name: (bytes - early[name]) / 1e6 for name, bytes in used().items()}
    assert max(grown.values()) < 20, f"450 jobs made them grow by MB: {grown}"
    assert shared.status().model_loads == shared.status().workers[0].model_loads


def test_a_worker_sees_the_extensions_of_the_kernel_and_their_changes(
    shared: Session, small: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is older than the extension; it is not restarted, and its model is not loaded again."""
    shared.run(small)
    loads = shared.status().model_loads
    known = os.environ.get("ZIMAGE_EXTENSIONS", "")
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", f"{known}{os.pathsep}{tmp_path / 'mine'}")
    folder = scaffold.write("test_edge", tmp_path / "mine")
    try:
        request = small.then(zk.stages.test_edge(width=0.2, colour="red"))
        assert shared.run(request).image.getpixel((0, 0)) == (255, 0, 0)
        code = folder / "__init__.py"
        code.write_text(code.read_text().replace("outline=self.colour", 'outline="blue"'))
        assert shared.run(request).image.getpixel((0, 0)) == (0, 0, 255)
        code.write_text("raise RuntimeError('half written')\n")
        with pytest.raises(ExtensionProblem, match="half written"):
            shared.run(request)
        assert shared.run(small).image.getpixel((0, 0)) != (0, 0, 255)
        assert shared.status().model_loads == loads
    finally:
        registry.remove("test_edge")
