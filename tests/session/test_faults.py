"""Whatever dies or hangs, the caller learns it at once, the others go on, and the next job works by itself."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from programs import Hold, Place, Submit, eventually

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session
from zimage_kit.errors import JobCancelled, JobFailed, OutOfMemory, SessionDied
from zimage_kit.session.shared import launch

BY_ITSELF = 20.0
"""Seconds within which a fault is told on a busy machine too. What Dask finds out by itself takes it 30 s and more; how
long it takes on a quiet one is `bench`'s to say."""
LONG_JOB = """
zk.connect().run(zk.Request(**json.loads(sys.argv[1])), tell, fresh=True)
"""


def worker_of(session: Session) -> psutil.Process:
    """The process that computes, once it is there."""
    return psutil.Process(eventually(lambda: session.status().workers, "a worker is there")[0].pid)


@pytest.fixture
def stopped(place: Place) -> Iterator[list[psutil.Process]]:
    """Processes that a test stops; they go on, or are gone, when it is over."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        if process.is_running():
            process.resume()


def test_a_killed_program_frees_the_worker_for_the_next(
    place: Place, shared: Session, small: Request, long: Request
) -> None:
    shared.run(small)
    program = place.program(LONG_JOB, long.model_dump_json())
    _, id, *_ = program.hears("step")
    next_job = shared.submit(small.but(seed=9), fresh=True)
    job = shared.job(id)
    eventually(lambda: shared.status().queued == 1, "the next job waits")
    program.signal(signal.SIGKILL)
    with pytest.raises(JobCancelled):  # and is not drawn to its end
        job.result(30)
    assert next_job.result(30).request.seed == 9
    assert shared.status().model_loads == 1


def test_a_stopped_program_does_not_hold_up_the_others(
    place: Place, shared: Session, small: Request, long: Request
) -> None:
    """A notebook that hangs, say: its job ends, and the next one does not wait for it to listen."""
    program = place.program(LONG_JOB, long.but(steps=60).model_dump_json())
    program.hears("step")
    program.signal(signal.SIGSTOP)
    artifact = shared.submit(small.but(seed=10), fresh=True).result(30)
    assert artifact.request.seed == 10
    program.signal(signal.SIGCONT)
    program.hears("done")
    assert program.ends() == 0


def test_a_killed_worker_is_told_at_once_and_replaced_by_itself(
    place: Place, shared: Session, small: Request, long: Request
) -> None:
    other = place.session()
    running = shared.submit(long, fresh=True)
    next(event for event in running.events() if event.kind == "step")
    waiting = other.submit(small.but(seed=11), fresh=True)
    eventually(lambda: shared.status().queued == 1, "a job of another program waits")
    worker, loads = worker_of(shared), shared.status().model_loads
    worker.kill()
    with pytest.raises(SessionDied, match=rf"worker .* died while it ran job {running.id}.*Run it again"):
        running.result(BY_ITSELF)
    assert running.state == "failed"
    assert waiting.result(60).request.seed == 11, "the job that waited is lost"
    assert shared.run(small).request.seed == 1
    assert worker_of(shared).pid != worker.pid
    assert (shared.status().model_loads, loads) == (2, 1), "loads count from the session's start"


def test_an_exception_in_a_stage_fails_the_job_with_the_users_traceback(
    shared: Session, apply: Submit, picture: object
) -> None:
    worker = worker_of(shared)
    with pytest.raises(JobFailed, match="ZeroDivisionError") as raised:
        apply(shared, zk.stages.probe_break()).result(30)
    traceback = raised.value.facts["traceback"]
    assert "probes/__init__.py" in traceback
    assert "image.width // 0" in traceback
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    assert worker_of(shared).pid == worker.pid


@pytest.mark.parametrize(
    ("does", "ends"),
    [
        ("half a character in progress", "done"),
        ("a number for progress", "done"),
        ("megabytes of progress", "done"),
        ("an odd note", "done"),
        ("half a character in an error", "failed"),
        ("an error without words", "failed"),
        ("an error with odd facts", "failed"),
        ("nothing for a picture", "failed"),
        ("a palette", "failed"),
    ],
)
@pytest.mark.parametrize("keep", [False, True])
def test_what_a_stage_says_or_returns_never_keeps_its_job_from_ending(
    shared: Session, apply: Submit, does: str, ends: str, keep: bool
) -> None:
    worker = worker_of(shared)
    job = apply(shared, zk.stages.probe_odd(does=does), keep=keep)
    problem = job._outcome.exception(30)
    assert (job.state, problem is None) == (ends, ends == "done"), problem
    assert [event.kind for event in job.events()][-1] == ends
    assert str(problem).encode()
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    assert worker_of(shared).pid == worker.pid


def test_out_of_memory_is_a_clear_error_and_the_session_lives(shared: Session, apply: Submit) -> None:
    worker = worker_of(shared)
    with pytest.raises(OutOfMemory, match="cpu ran out of memory"):
        apply(shared, zk.stages.probe_greedy()).result(60)
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    assert worker_of(shared).pid == worker.pid


def test_code_that_ends_its_process_again_and_again_costs_its_own_jobs_only(
    place: Place, shared: Session, apply: Submit
) -> None:
    server = place.server()
    for job in [apply(shared, zk.stages.probe_exit()) for _ in range(3)]:
        with pytest.raises(SessionDied, match="died while it ran"):
            job.result(30)
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    assert place.server() == server, "the whole session ended, and another one took its place"


def test_a_worker_that_dies_as_soon_as_it_is_there_is_replaced_each_time(
    place: Place, shared: Session, apply: Submit
) -> None:
    server = place.server()
    dead: set[int] = set()
    for _ in range(3):
        there = eventually(lambda: {each.pid for each in shared.status().workers} - dead, "the next worker is there")
        for pid in there:
            psutil.Process(pid).kill()
        dead.update(there)
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    assert place.server() == server, "the whole session ended, and another one took its place"


def test_a_worker_whose_device_fails_for_good_ends_itself_and_is_replaced(shared: Session, apply: Submit) -> None:
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    before = worker_of(shared).pid
    with pytest.raises(JobFailed, match="illegal memory access"):
        apply(shared, zk.stages.probe_fault()).result(30)
    eventually(lambda: any(worker.pid != before for worker in shared.status().workers), "another worker has come", 60)
    assert apply(shared, zk.stages.probe_touch()).result(60).image.size == (16, 16)


def test_a_job_that_is_sent_as_a_device_fails_for_good_waits_for_the_next_worker(
    shared: Session, apply: Submit
) -> None:
    """The failed worker needs a moment to end, and is free in it."""
    for number in range(3):
        failing = apply(shared, zk.stages.probe_fault())
        next_ones = [apply(shared, zk.stages.probe_touch(number=10 * number + each)) for each in range(2)]
        with pytest.raises(JobFailed, match="illegal memory access"):
            failing.result(60)
        next_ones.append(apply(shared, zk.stages.probe_touch(number=10 * number + 2)))
        assert [job.result(60).image.size for job in next_ones] == [(16, 16)] * 3


def test_a_stuck_worker_is_told_as_such_and_a_restart_replaces_it(
    shared: Session, hold: Hold, apply: Submit, stopped: list[psutil.Process]
) -> None:
    held, worker = hold(shared), worker_of(shared)
    waiting = apply(shared, zk.stages.probe_touch())
    worker.suspend()
    stopped.append(worker)
    for _ in range(2):
        begin = time.monotonic()
        status = shared.status()
        assert time.monotonic() - begin < BY_ITSELF
        assert (status.state, status.queued, status.running) == ("not answering", 1, held.job.id)
        assert [each.state for each in status.workers] == ["not answering"]
        assert status.workers[0].last_seen > 0.5
    assert status.workers[0].last_seen > 1
    assert "not answering" in str(status)
    shared.restart()
    for job in (held.job, waiting):
        with pytest.raises(JobCancelled, match="restarted"):
            job.result(BY_ITSELF)
    assert not worker.is_running()
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    assert shared.status().state == "idle"


def test_a_restart_of_a_healthy_session_counts_anew(shared: Session, apply: Submit, hold: Hold) -> None:
    held, worker = hold(shared), worker_of(shared)
    shared.restart()
    with pytest.raises(JobCancelled):
        held.job.result(BY_ITSELF)
    assert worker_of(shared).pid != worker.pid
    assert shared.status().model_loads == 0
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)


def test_a_stopped_server_is_told_and_goes_on(
    place: Place, shared: Session, apply: Submit, stopped: list[psutil.Process]
) -> None:
    server = place.server()
    server.suspend()
    stopped.append(server)
    begin = time.monotonic()
    assert shared.status().state == "not answering"
    assert time.monotonic() - begin < BY_ITSELF
    begin = time.monotonic()
    with pytest.raises(SessionDied, match=r"does not answer.*zimage session stop --force"):
        place.session()
    assert time.monotonic() - begin < BY_ITSELF
    server.resume()
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)


def test_whoever_takes_a_connection_and_says_nothing_does_not_hang_a_program(
    place: Place, shared: Session, tmp_path: Path
) -> None:
    """A server that is stopped in that moment, or something else at its address."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        data = json.loads(place.file.read_text())
        file = tmp_path / "scheduler.json"
        file.touch(0o600)
        for scheme, changes in (("tls", {}), ("tcp", {"certificate": ""})):
            address = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
            file.write_text(json.dumps({**data, **changes, "address": address}))
            begin = time.monotonic()
            with pytest.raises(SessionDied, match="does not answer"):
                zk.connect(file)
            assert time.monotonic() - begin < BY_ITSELF


def test_a_killed_server_is_told_and_the_session_starts_anew_by_itself(
    place: Place, shared: Session, hold: Hold, apply: Submit, picture: object
) -> None:
    held, server, worker = hold(shared), place.server(), worker_of(shared)
    waiting = apply(shared, zk.stages.probe_touch())
    server.kill()
    for job in (held.job, waiting):
        with pytest.raises(SessionDied, match="ended before job"):
            job.result(BY_ITSELF)
    assert shared.status().state == "closed"
    with zk.connect() as again:
        assert place.server().pid != server.pid
        assert apply(again, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    psutil.wait_procs([worker], timeout=BY_ITSELF)
    assert not worker.is_running(), "the worker of the killed session still runs"
    # and whoever was attached needs no new session object
    assert apply(shared, zk.stages.probe_touch()).result(30).image.size == (16, 16)
    assert shared.status().state == "idle"
    assert shared.status().address == launch.read_session_file(place.file).address


def test_two_threads_whose_session_died_start_one_new_session(
    place: Place, shared: Session, apply: Submit, artifact: Artifact
) -> None:
    place.server().kill()
    eventually(lambda: shared.status().state == "closed", "the death is noticed", 3)
    made: list[Artifact] = []

    def work(number: int) -> None:
        made.append(shared.apply(artifact, zk.stages.probe_touch(number=number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 2
    assert shared.status().clients == 1
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("zimage-connection") == 1, "an old connection's is left"
    servers = [process for process in place.processes() if launch.SERVER in process.cmdline()]
    assert len(servers) == 1


def test_a_server_that_is_told_to_end_takes_everything_with_it(place: Place, shared: Session, hold: Hold) -> None:
    held, server, worker = hold(shared), place.server(), worker_of(shared)
    server.terminate()
    with pytest.raises(SessionDied):
        held.job.result(BY_ITSELF)
    psutil.wait_procs([server, worker], timeout=10)
    assert not server.is_running()
    assert not worker.is_running()
    assert not place.file.exists(), "the file of a session that is over invites to connect to it"


def test_stopping_the_session_ends_every_process_and_tells_every_program(
    place: Place, shared: Session, hold: Hold
) -> None:
    held, server, other = hold(shared), place.server(), place.session()
    shared._engine.stop()  # type: ignore[attr-defined]
    with pytest.raises(SessionDied):
        held.job.result(BY_ITSELF)
    eventually(lambda: other.status().state == "closed", "the other program learns it", 3)
    psutil.wait_procs(place.processes(), timeout=10)
    assert place.processes() == []
    assert not server.is_running()
    assert not place.file.exists()


def test_a_session_that_is_killed_leaves_nothing_in_shared_memory(place: Place, shared: Session) -> None:
    worker_of(shared)
    named = {map.path for process in place.processes() for map in process.memory_maps() if "/dev/shm/" in map.path}
    assert named, "nothing to look for"
    assert launch.kill(launch.read_session_file(place.file))
    eventually(lambda: not [name for name in named if Path(name).exists()], "the names in shared memory are gone", 10)
    eventually(lambda: place.processes() == [], "every process is gone", 10)


def test_a_session_that_cannot_start_says_why(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "perhaps")
    monkeypatch.setenv("PYTHONPATH", str(place.root / "broken"))
    (place.root / "broken").mkdir()
    (place.root / "broken" / "distributed.py").write_text("raise ImportError('no such luck')")
    with pytest.raises(SessionDied, match=r"ended as it started.*no such luck.*session\.log"):
        place.session()
