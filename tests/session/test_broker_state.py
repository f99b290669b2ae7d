"""Which job goes to which worker, and what everyone is told about their places. Pure: no process, no connection."""

from __future__ import annotations

from typing import Any, cast

import pytest

from zimage_kit.errors import BadRequest
from zimage_kit.session.shared.broker_state import BrokerState, Client, QueuedJob, WorkerSlot, worker_status


class Stream:
    """As much of a connection as a state sees."""


def client(name: str = "a notebook") -> Client:
    return Client(name, f"{name} (pid 1 on here)", cast("Any", Stream()))


def queued(id: str, owner: Client, model: str = "nano", keep: bool = False) -> QueuedJob:
    task = {"id": id, "priority": "interactive", "keep": keep, "request": "{}", "assets": {}}
    return QueuedJob(task, "a cat", model, owner.name, {owner})


def slot(address: str, model: str | None = None, loads: int = 0) -> WorkerSlot:
    told = {"name": address, "host": "here", "pid": 1, "state": "idle", "model": model, "model_loads": loads}
    return WorkerSlot(address, {**told, "models": ["nano"]})


@pytest.fixture
def state() -> BrokerState:
    state = BrokerState()
    for each in (slot("with turbo", "turbo"), slot("with nano", "nano"), slot("empty")):
        state.slots[each.address] = each
    return state


def assigned(state: BrokerState) -> list[tuple[str, str]]:
    return [(queued.id, slot.address) for queued, slot in state.assign()]


def test_a_job_goes_where_its_model_is_then_where_none_is_then_where_another_has_to_go(state: BrokerState) -> None:
    for number in range(4):
        state.add(queued(str(number), client()))
    assert assigned(state) == [("0", "with nano"), ("1", "empty"), ("2", "with turbo")]
    assert assigned(state) == [], "everyone has a job"


def test_of_workers_that_are_alike_the_one_that_rested_longest_is_next() -> None:
    state = BrokerState()
    for each in (slot("one", "nano"), slot("two", "nano")):
        state.slots[each.address] = each
    where = []
    for number in range(4):
        job = queued(str(number), client())
        state.add(job)
        where += [address for _, address in assigned(state)]
        state.close(job, {}, {})
    assert where == ["one", "two", "one", "two"]


def test_a_job_that_one_worker_refuses_goes_to_another_and_keeps_its_turn(state: BrokerState) -> None:
    owner = client()
    first, second = queued("first", owner), queued("second", owner)
    state.add(first)
    assert assigned(state) == [("first", "with nano")]
    state.add(second)
    assert state.return_job(first, state.slots["with nano"], {"error": "ModelMissing"})
    assert assigned(state) == [("first", "empty"), ("second", "with nano")]
    assert state.return_job(first, state.slots["empty"], {"error": "ModelMissing"})
    assert assigned(state) == [("first", "with turbo")]
    assert not state.return_job(first, state.slots["with turbo"], {"error": "ModelMissing"}), "nobody is left"


def test_positions_are_told_once_and_to_those_who_hear_of_the_job(state: BrokerState) -> None:
    one, two = client("one"), client("two")
    for owner, ids in ((one, "ab"), (two, "cd")):
        for id in ids:
            state.add(queued(id, owner))
    assert state.changed_positions() == {one: {"a": 0, "b": 2}, two: {"c": 1, "d": 3}}
    assert state.changed_positions() == {}
    assert [id for id, _ in assigned(state)] == ["a", "c", "b"]
    assert state.changed_positions() == {}, "three are ahead of d, as before: they run"
    state.close(state.jobs["a"], {}, {})
    assert state.changed_positions() == {two: {"d": 0}}, "a worker is free"


def test_who_leaves_takes_along_what_is_not_kept(state: BrokerState) -> None:
    one, two = client("one"), client("two")
    for job in (queued("lost", one), queued("kept", one, keep=True), queued("other", two)):
        job.listeners.add(one)
        state.add(job)
    state.clients |= {one, two}
    assert [job.id for job in state.remove_client(one)] == ["lost"]
    assert state.clients == {two}
    assert all(one not in job.listeners for job in state.jobs.values())


def test_a_job_that_was_given_to_a_dead_worker_is_not_lost_but_only_once(state: BrokerState) -> None:
    state.add(queued("a", client()))
    assert assigned(state) == [("a", "with nano")]
    gone = state.remove_worker("with nano")
    assert gone is not None and gone[1] == []
    assert assigned(state) == [("a", "empty")]
    gone = state.remove_worker("empty")
    assert gone is not None and [job.id for job in gone[1]] == ["a"], "it may be the job that kills them"


def test_a_worker_that_is_gone_leaves_its_loads_and_loses_its_jobs(state: BrokerState) -> None:
    state.slots["with nano"].reported["model_loads"] = 3
    state.add(queued("lost", client()))
    state.add(queued("safe", client()))
    assert assigned(state) == [("lost", "with nano"), ("safe", "empty")]
    state.jobs["lost"].begun = True
    gone = state.remove_worker("with nano")
    assert gone is not None
    assert [job.id for job in gone[1]] == ["lost"]
    assert state.model_loads() == 3
    assert state.remove_worker("with nano") is None


def test_what_is_over_is_remembered_and_what_never_was_is_told(state: BrokerState) -> None:
    for number in range(300):
        job = queued(str(number), client())
        state.add(job)
        state.close(job, {"path": f"{number}.png"}, {"kind": "done"})
    assert state.finished("299") == {"request": "{}", "event": {"kind": "done"}, "path": "299.png"}
    for gone in ("0", "never"):
        with pytest.raises(BadRequest, match=f"there is no job {gone}"):
            state.finished(gone)


@pytest.mark.parametrize(
    ("told", "answered", "busy", "expected"),
    [
        ("idle", True, False, "idle"),
        ("running", True, False, "idle"),  # it said so a moment before it was done
        ("idle", True, True, "running"),  # and this one a moment before it began
        ("loading", True, True, "loading"),
        ("running", False, True, "not answering"),
    ],
)
def test_a_workers_state_is_what_it_said_and_what_is_known_better(
    told: str, answered: bool, busy: bool, expected: str
) -> None:
    worker = slot("one")
    worker.reported["state"] = told
    worker.queued = queued("a", client()) if busy else None
    status = worker_status(worker, answered, last_seen=0.5)
    assert (status.state, status.running, status.last_seen) == (expected, "a" if busy else None, 0.5)


def test_the_jobs_of_a_status_are_those_that_run_and_then_those_that_wait(state: BrokerState) -> None:
    one = client("one")
    state.clients.add(one)
    for number in range(5):
        state.add(queued(str(number), one))
    state.changed_positions()
    list(state.assign())
    state.jobs["1"].last = {"kind": "step", "step": 3, "steps": 8}
    statuses = list(state.job_statuses())
    assert [(status.id, status.state) for status in statuses] == [
        *((str(number), "running") for number in range(3)),
        *((str(number), "queued") for number in (3, 4)),
    ]
    assert (statuses[1].step, statuses[1].steps, statuses[1].owner) == (3, 8, one.label)
