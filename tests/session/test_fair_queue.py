"""FairQueue are fair: owners alternate, a newcomer is next, and batch never holds up a click."""

from __future__ import annotations

import random

import pytest

from zimage_kit.engine.task import Priority
from zimage_kit.session.shared.fair_queue import FairQueue


def drained(queue: FairQueue) -> list[str]:
    """What runs, one job after the other, when nothing else comes."""
    ran = []
    while len(queue):
        job = queue.order()[0]
        queue.take(job)
        ran.append(job)
    return ran


def queued(queue: FairQueue, owner: str, count: int, priority: Priority = "interactive") -> None:
    for number in range(count):
        queue.add(f"{owner}{number}", owner, priority)


def test_two_owners_with_ten_jobs_each_alternate() -> None:
    queue = FairQueue()
    queued(queue, "a", 10)
    queued(queue, "b", 10)
    assert drained(queue) == [f"{owner}{number}" for number in range(10) for owner in "ab"]


def test_a_newcomer_is_next_and_has_no_more_than_its_turn() -> None:
    queue = FairQueue()
    queued(queue, "a", 4)
    queued(queue, "b", 4)
    for _ in range(3):
        queue.take(queue.order()[0])
    queued(queue, "new", 2)
    assert drained(queue) == ["new0", "b1", "a2", "new1", "b2", "a3", "b3"]


def test_batch_waits_for_every_interactive_job_whosever_it_is() -> None:
    queue = FairQueue()
    queued(queue, "grid", 3, "batch")
    queue.take(queue.order()[0])
    queued(queue, "a", 2)
    queue.add("click", "grid", "interactive")
    assert drained(queue) == ["a0", "click", "a1", "grid1", "grid2"]


def test_owners_of_batch_jobs_take_turns_too() -> None:
    queue = FairQueue()
    queued(queue, "a", 2, "batch")
    queued(queue, "b", 2, "batch")
    assert drained(queue) == ["a0", "b0", "a1", "b1"]


def test_a_job_that_is_removed_has_no_turn() -> None:
    queue = FairQueue()
    queued(queue, "a", 2)
    queued(queue, "b", 1)
    assert queue.remove("a0")
    assert "a0" not in queue
    assert not queue.remove("a0")
    assert not queue.remove("never there")
    assert drained(queue) == ["a1", "b0"]


def test_a_job_that_is_put_back_comes_before_its_owners_others_and_its_turn_does_not_count() -> None:
    queue = FairQueue()
    queued(queue, "a", 3)
    queued(queue, "b", 2)
    queue.take("a0")
    queue.put_back("a0", "a", "interactive")
    assert drained(queue) == ["a0", "b0", "a1", "b1", "a2"]


def test_an_owner_that_left_is_a_newcomer_when_it_comes_back() -> None:
    queue = FairQueue()
    queued(queue, "a", 3)
    queued(queue, "b", 2)
    assert queue.order()[0] == "a0"
    queue.take("a0")
    queue.take("b0")
    queue.forget("b")
    assert drained(queue) == ["b1", "a1", "a2"]
    queue.forget("nobody")


def test_taking_what_does_not_wait_is_an_error() -> None:
    with pytest.raises(KeyError):
        FairQueue().take("nothing")


@pytest.mark.parametrize("seed", range(50))
def test_the_order_that_is_told_is_the_order_that_comes(seed: int) -> None:
    """Whatever came, was served, removed and put back before."""
    dice = random.Random(seed)
    queue = FairQueue()
    running: list[tuple[str, str, Priority]] = []
    about: dict[str, tuple[str, Priority]] = {}
    for number in range(60):
        owner, job = dice.choice("abcd"), f"job{number}"
        about[job] = owner, dice.choice(["interactive", "batch"])
        queue.add(job, *about[job])
        if dice.random() < 0.5:
            first = queue.order()[0]
            queue.take(first)
            running.append((first, *about[first]))
        if dice.random() < 0.1:
            queue.remove(dice.choice(queue.order() or [job]))
        if running and dice.random() < 0.2:
            queue.put_back(*running.pop())
        if dice.random() < 0.05:
            queue.forget(dice.choice("abcd"))
    told = queue.order()
    assert len(told) == len(queue) == len(set(told))
    assert drained(queue) == told


@pytest.mark.parametrize("seed", range(20))
def test_nobody_has_two_turns_while_another_waits(seed: int) -> None:
    """Between two queue of an owner, everyone who was waiting all the while has had one."""
    dice = random.Random(seed)
    queue = FairQueue()
    count = 0
    waited: dict[str, set[str]] = {}  # owner -> those who were served since it began to wait for its turn
    for _ in range(200):
        for owner in "abc":
            if dice.random() < 0.4:
                count += 1
                queue.add(f"{owner}{count}", owner)
                waited.setdefault(owner, set())
        if not len(queue):
            continue
        job = queue.order()[0]
        queue.take(job)
        owner = job[0]
        waited.pop(owner)
        for other, served in waited.items():
            assert owner not in served, f"{owner} was served twice while {other} waited"
            served.add(owner)
        if any(left.startswith(owner) for left in queue.order()):
            waited[owner] = set()
    assert count > 100


def test_a_hastened_job_is_its_owners_next_and_nobody_elses() -> None:
    queue = FairQueue()
    queued(queue, "a", 3, "batch")
    queued(queue, "b", 2)
    assert queue.hasten("a2")
    assert queue.hasten("b1")
    assert drained(queue) == ["b1", "a2", "b0", "a0", "a1"]
    assert not queue.hasten("a0"), "it has run"
