"""Turns are fair: owners alternate, a newcomer is next, and batch never holds up a click."""

from __future__ import annotations

import random

import pytest

from zimage_kit.engines.turns import Turns
from zimage_kit.status import Priority


def drained(turns: Turns) -> list[str]:
    """What runs, one job after the other, when nothing else comes."""
    ran = []
    while len(turns):
        job = turns.order()[0]
        turns.take(job)
        ran.append(job)
    return ran


def queued(turns: Turns, owner: str, count: int, priority: Priority = "interactive") -> None:
    for number in range(count):
        turns.add(f"{owner}{number}", owner, priority)


def test_two_owners_with_ten_jobs_each_alternate() -> None:
    turns = Turns()
    queued(turns, "a", 10)
    queued(turns, "b", 10)
    assert drained(turns) == [f"{owner}{number}" for number in range(10) for owner in "ab"]


def test_a_newcomer_is_next_and_has_no_more_than_its_turn() -> None:
    turns = Turns()
    queued(turns, "a", 4)
    queued(turns, "b", 4)
    for _ in range(3):
        turns.take(turns.order()[0])
    queued(turns, "new", 2)
    assert drained(turns) == ["new0", "b1", "a2", "new1", "b2", "a3", "b3"]


def test_batch_waits_for_every_interactive_job_whosever_it_is() -> None:
    turns = Turns()
    queued(turns, "grid", 3, "batch")
    turns.take(turns.order()[0])
    queued(turns, "a", 2)
    turns.add("click", "grid", "interactive")
    assert drained(turns) == ["a0", "click", "a1", "grid1", "grid2"]


def test_owners_of_batch_jobs_take_turns_too() -> None:
    turns = Turns()
    queued(turns, "a", 2, "batch")
    queued(turns, "b", 2, "batch")
    assert drained(turns) == ["a0", "b0", "a1", "b1"]


def test_a_job_that_is_removed_has_no_turn() -> None:
    turns = Turns()
    queued(turns, "a", 2)
    queued(turns, "b", 1)
    assert turns.remove("a0")
    assert "a0" not in turns
    assert not turns.remove("a0")
    assert not turns.remove("never there")
    assert drained(turns) == ["a1", "b0"]


def test_a_job_that_is_put_back_comes_before_its_owners_others_and_its_turn_does_not_count() -> None:
    turns = Turns()
    queued(turns, "a", 3)
    queued(turns, "b", 2)
    turns.take("a0")
    turns.put_back("a0", "a", "interactive")
    assert drained(turns) == ["a0", "b0", "a1", "b1", "a2"]


def test_an_owner_that_left_is_a_newcomer_when_it_comes_back() -> None:
    turns = Turns()
    queued(turns, "a", 3)
    queued(turns, "b", 2)
    assert turns.order()[0] == "a0"
    turns.take("a0")
    turns.take("b0")
    turns.forget("b")
    assert drained(turns) == ["b1", "a1", "a2"]
    turns.forget("nobody")


def test_taking_what_does_not_wait_is_an_error() -> None:
    with pytest.raises(KeyError):
        Turns().take("nothing")


@pytest.mark.parametrize("seed", range(50))
def test_the_order_that_is_told_is_the_order_that_comes(seed: int) -> None:
    """Whatever came, was served, removed and put back before."""
    dice = random.Random(seed)
    turns = Turns()
    running: list[tuple[str, str, Priority]] = []
    about: dict[str, tuple[str, Priority]] = {}
    for number in range(60):
        owner, job = dice.choice("abcd"), f"job{number}"
        about[job] = owner, dice.choice(["interactive", "batch"])
        turns.add(job, *about[job])
        if dice.random() < 0.5:
            first = turns.order()[0]
            turns.take(first)
            running.append((first, *about[first]))
        if dice.random() < 0.1:
            turns.remove(dice.choice(turns.order() or [job]))
        if running and dice.random() < 0.2:
            turns.put_back(*running.pop())
        if dice.random() < 0.05:
            turns.forget(dice.choice("abcd"))
    told = turns.order()
    assert len(told) == len(turns) == len(set(told))
    assert drained(turns) == told


@pytest.mark.parametrize("seed", range(20))
def test_nobody_has_two_turns_while_another_waits(seed: int) -> None:
    """Between two turns of an owner, everyone who was waiting all the while has had one."""
    dice = random.Random(seed)
    turns = Turns()
    count = 0
    waited: dict[str, set[str]] = {}  # owner -> those who were served since it began to wait for its turn
    for _ in range(200):
        for owner in "abc":
            if dice.random() < 0.4:
                count += 1
                turns.add(f"{owner}{count}", owner)
                waited.setdefault(owner, set())
        if not len(turns):
            continue
        job = turns.order()[0]
        turns.take(job)
        owner = job[0]
        waited.pop(owner)
        for other, served in waited.items():
            assert owner not in served, f"{owner} was served twice while {other} waited"
            served.add(owner)
        if any(left.startswith(owner) for left in turns.order()):
            waited[owner] = set()
    assert count > 100
