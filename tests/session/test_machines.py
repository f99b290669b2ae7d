"""Several machines, acted out by several addresses of this one: a joined worker shares the work, and dies alone."""

from __future__ import annotations

import signal
import subprocess

import psutil
import pytest
from programs import Held, Hold, Place, Submit, eventually

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.errors import SessionDied


@pytest.fixture
def joined(place: Place, shared: Session) -> subprocess.Popen[bytes]:
    """The second machine's process; its worker is there."""
    machine = next((machine for machine in place.joined if machine.poll() is None), None) or place.second_machine()
    eventually(lambda: len(shared.status().workers) == 2, "the second machine's worker is there")
    return machine


def workers_of(machine: subprocess.Popen[bytes]) -> set[int]:
    return {process.pid for process in psutil.Process(machine.pid).children(recursive=True)}


def hold_both(shared: Session, hold: Hold, joined: subprocess.Popen[bytes]) -> tuple[Held, Held]:
    """A job that the session's own worker holds, and one that the joined worker does."""
    two = {held.job.id: held for held in (hold(shared), hold(shared))}
    by_pid = {worker.pid: worker.running for worker in shared.status().workers}
    (there,) = workers_of(joined) & set(by_pid)
    (here,) = set(by_pid) - {there}
    assert by_pid[here] != by_pid[there]
    return two[by_pid[here] or ""], two[by_pid[there] or ""]


def test_a_joined_worker_shares_the_work(shared: Session, joined: subprocess.Popen[bytes], hold: Hold) -> None:
    here, there = hold_both(shared, hold, joined)
    status = shared.status()
    assert [job.state for job in status.jobs] == ["running", "running"]
    assert [worker.state for worker in status.workers] == ["running", "running"]
    for held in (here, there):
        held.let_go()
        assert held.job.result(30).image.size == (16, 16)


def test_a_joined_worker_listens_at_its_own_address_only(
    place: Place, shared: Session, joined: subprocess.Popen[bytes]
) -> None:
    family = [psutil.Process(pid) for pid in (joined.pid, *workers_of(joined))]
    connections = [each for process in family for each in process.net_connections("inet") if each.status == "LISTEN"]
    assert {each.laddr.ip for each in connections} == {"127.0.0.3"}
    assert len(connections) == 2, "its nanny and its worker"


def test_a_job_goes_where_its_model_is_and_elsewhere_only_when_that_one_is_busy(
    shared: Session, joined: subprocess.Popen[bytes], hold: Hold, small: Request
) -> None:
    def loaded() -> list[int]:
        return [worker.pid for worker in shared.status().workers if worker.model]

    for seed in range(4):  # one after the other, so both workers are free each time
        shared.run(small.but(seed=seed))
    assert shared.status().model_loads == 1
    (first,) = loaded()
    held = hold(shared)  # needs no model, so it takes the other worker
    assert [worker.running for worker in shared.status().workers if worker.pid == first] == [None]
    shared.run(small.but(seed=10))
    assert shared.status().model_loads == 1
    held.let_go()
    held.job.result(30)
    both = [shared.submit(small.but(seed=seed, steps=30), fresh=True) for seed in (11, 12)]
    for job in both:
        job.result(60)
    assert shared.status().model_loads == 2, "the second waited although a worker was free"
    assert len(loaded()) == 2


def test_a_grid_uses_every_machine(shared: Session, joined: subprocess.Popen[bytes], small: Request) -> None:
    base = small.but(prompt="a {colour} house", steps=30, seed=None)
    grid = shared.grid(base, colour=["red", "blue"], seed=range(4)).wait(120)
    assert (grid.state, grid.computed, grid.drawn) == ("done", 8, 8)
    assert [worker.model for worker in shared.status().workers] == [base.model] * 2


def test_the_death_of_a_machine_loses_its_own_job_only(
    shared: Session, joined: subprocess.Popen[bytes], hold: Hold, apply: Submit
) -> None:
    here, there = hold_both(shared, hold, joined)
    waiting = apply(shared, zk.stages.probe_touch())
    loads, family = shared.status().model_loads, [psutil.Process(pid) for pid in workers_of(joined)]
    joined.kill()
    with pytest.raises(SessionDied, match="died while it ran"):
        there.job.result(5)
    assert here.job.state == "running"
    here.let_go()
    assert here.job.result(30).image.size == (16, 16)
    assert waiting.result(30).image.size == (16, 16)
    (worker,) = shared.status().workers
    assert worker.state == "idle"
    assert shared.status().model_loads == loads
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == [], "its worker still runs"


def test_a_machine_leaves_when_it_is_told_to(shared: Session, joined: subprocess.Popen[bytes], hold: Hold) -> None:
    here, there = hold_both(shared, hold, joined)
    joined.send_signal(signal.SIGTERM)
    with pytest.raises(SessionDied):
        there.job.result(10)
    assert joined.wait(10) == 0
    here.let_go()
    assert here.job.result(30).image.size == (16, 16)


def test_a_worker_that_dies_on_a_joined_machine_is_replaced_there(
    shared: Session, joined: subprocess.Popen[bytes]
) -> None:
    (before,) = workers_of(joined) & {worker.pid for worker in shared.status().workers}
    psutil.Process(before).kill()
    eventually(
        lambda: workers_of(joined) & {worker.pid for worker in shared.status().workers} - {before},
        "the joined machine has a new worker",
    )
    assert len(shared.status().workers) == 2


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_machine_ends_with_the_session_that_it_joined(
    place: Place, shared: Session, joined: subprocess.Popen[bytes], how: str
) -> None:
    family = [psutil.Process(pid) for pid in workers_of(joined)]
    if how == "stop":
        shared._engine.stop()  # type: ignore[attr-defined]
    else:
        place.server().kill()
    joined.wait(15)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_joining_what_is_not_there_ends_with_a_clear_word(place: Place, shared: Session) -> None:
    copied = place.root / "old.json"
    copied.touch(0o600)
    copied.write_bytes(place.file.read_bytes())
    server = place.server()
    shared._engine.stop()  # type: ignore[attr-defined]
    psutil.wait_procs([server], timeout=10)
    done = subprocess.run(place.join_command(copied), capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 1
    assert done.stderr.startswith("no session listens at tls://127.0.0.1:")
