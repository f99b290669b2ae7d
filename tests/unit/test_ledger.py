"""Which job goes to which worker, and what everyone is told about their places. Pure: no process, no connection."""

from __future__ import annotations

from typing import Any, cast

import pytest

from zimage_kit.engines.ledger import Entry, Guest, Ledger, Seat, worker_status
from zimage_kit.errors import BadRequest


class Stream:
    """As much of a connection as a ledger sees."""


def guest(name: str = "a notebook") -> Guest:
    return Guest(name, f"{name} (pid 1 on here)", cast("Any", Stream()))


def entry(id: str, owner: Guest, model: str = "nano", keep: bool = False) -> Entry:
    task = {"id": id, "priority": "interactive", "keep": keep, "request": "{}"}
    return Entry(task, "a cat", model, owner.name, {owner})


def seat(address: str, model: str | None = None, loads: int = 0) -> Seat:
    told = {"name": address, "host": "here", "pid": 1, "state": "idle", "model": model, "model_loads": loads}
    return Seat(address, {**told, "models": ["nano"]})


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for each in (seat("with turbo", "turbo"), seat("with nano", "nano"), seat("empty")):
        ledger.seats[each.address] = each
    return ledger


def dealt(ledger: Ledger) -> list[tuple[str, str]]:
    return [(entry.id, seat.address) for entry, seat in ledger.deal()]


def test_a_job_goes_where_its_model_is_then_where_none_is_then_where_another_has_to_go(ledger: Ledger) -> None:
    for number in range(4):
        ledger.add(entry(str(number), guest()))
    assert dealt(ledger) == [("0", "with nano"), ("1", "empty"), ("2", "with turbo")]
    assert dealt(ledger) == [], "everyone has a job"


def test_of_workers_that_are_alike_the_one_that_rested_longest_is_next() -> None:
    ledger = Ledger()
    for each in (seat("one", "nano"), seat("two", "nano")):
        ledger.seats[each.address] = each
    where = []
    for number in range(4):
        job = entry(str(number), guest())
        ledger.add(job)
        where += [address for _, address in dealt(ledger)]
        ledger.close(job, {}, {})
    assert where == ["one", "two", "one", "two"]


def test_a_job_that_one_worker_refuses_goes_to_another_and_keeps_its_turn(ledger: Ledger) -> None:
    owner = guest()
    first, second = entry("first", owner), entry("second", owner)
    ledger.add(first)
    assert dealt(ledger) == [("first", "with nano")]
    ledger.add(second)
    assert ledger.take_back(first, ledger.seats["with nano"], {"error": "ModelMissing"})
    assert dealt(ledger) == [("first", "empty"), ("second", "with nano")]
    assert ledger.take_back(first, ledger.seats["empty"], {"error": "ModelMissing"})
    assert dealt(ledger) == [("first", "with turbo")]
    assert not ledger.take_back(first, ledger.seats["with turbo"], {"error": "ModelMissing"}), "nobody is left"


def test_positions_are_told_once_and_to_those_who_hear_of_the_job(ledger: Ledger) -> None:
    one, two = guest("one"), guest("two")
    for owner, ids in ((one, "ab"), (two, "cd")):
        for id in ids:
            ledger.add(entry(id, owner))
    assert ledger.moved() == {one: {"a": 0, "b": 2}, two: {"c": 1, "d": 3}}
    assert ledger.moved() == {}
    assert [id for id, _ in dealt(ledger)] == ["a", "c", "b"]
    assert ledger.moved() == {}, "three are ahead of d, as before: they run"
    ledger.close(ledger.entries["a"], {}, {})
    assert ledger.moved() == {two: {"d": 0}}, "a worker is free"


def test_who_leaves_takes_along_what_is_not_kept(ledger: Ledger) -> None:
    one, two = guest("one"), guest("two")
    for job in (entry("lost", one), entry("kept", one, keep=True), entry("other", two)):
        job.hearers.add(one)
        ledger.add(job)
    ledger.guests |= {one, two}
    assert [job.id for job in ledger.leave(one)] == ["lost"]
    assert ledger.guests == {two}
    assert all(one not in job.hearers for job in ledger.entries.values())


def test_a_job_that_was_given_to_a_dead_worker_is_not_lost_but_only_once(ledger: Ledger) -> None:
    ledger.add(entry("a", guest()))
    assert dealt(ledger) == [("a", "with nano")]
    gone = ledger.stand_up("with nano")
    assert gone is not None and gone[1] == []
    assert dealt(ledger) == [("a", "empty")]
    gone = ledger.stand_up("empty")
    assert gone is not None and [job.id for job in gone[1]] == ["a"], "it may be the job that kills them"


def test_a_worker_that_is_gone_leaves_its_loads_and_loses_its_jobs(ledger: Ledger) -> None:
    ledger.seats["with nano"].told["model_loads"] = 3
    ledger.add(entry("lost", guest()))
    ledger.add(entry("safe", guest()))
    assert dealt(ledger) == [("lost", "with nano"), ("safe", "empty")]
    ledger.entries["lost"].begun = True
    gone = ledger.stand_up("with nano")
    assert gone is not None
    assert [job.id for job in gone[1]] == ["lost"]
    assert ledger.model_loads() == 3
    assert ledger.stand_up("with nano") is None


def test_what_is_over_is_remembered_and_what_never_was_is_told(ledger: Ledger) -> None:
    for number in range(300):
        job = entry(str(number), guest())
        ledger.add(job)
        ledger.close(job, {"path": f"{number}.png"}, {"kind": "done"})
    assert ledger.over("299") == {"request": "{}", "event": {"kind": "done"}, "path": "299.png"}
    for gone in ("0", "never"):
        with pytest.raises(BadRequest, match=f"there is no job {gone}"):
            ledger.over(gone)


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
    worker = seat("one")
    worker.told["state"] = told
    worker.entry = entry("a", guest()) if busy else None
    status = worker_status(worker, answered, last_seen=0.5)
    assert (status.state, status.running, status.last_seen) == (expected, "a" if busy else None, 0.5)


def test_the_jobs_of_a_status_are_those_that_run_and_then_those_that_wait(ledger: Ledger) -> None:
    one = guest("one")
    ledger.guests.add(one)
    for number in range(5):
        ledger.add(entry(str(number), one))
    ledger.moved()
    list(ledger.deal())
    ledger.entries["1"].last = {"kind": "step", "step": 3, "steps": 8}
    statuses = list(ledger.job_statuses())
    assert [(status.id, status.state) for status in statuses] == [
        *((str(number), "running") for number in range(3)),
        *((str(number), "queued") for number in (3, 4)),
    ]
    assert (statuses[1].step, statuses[1].steps, statuses[1].owner) == (3, 8, one.label)
