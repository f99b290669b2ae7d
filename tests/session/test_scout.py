"""Scouting: seeds whose pictures differ, found from their first steps; and what comes out are plain seeds."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from zimage_kit import Request, Session
from zimage_kit.engine.events import Event
from zimage_kit.engine.steps import Step, StepWatch
from zimage_kit.errors import BadRequest, JobCancelled, ZImageError
from zimage_kit.recipe.artifact import picture_digest
from zimage_kit.recipe.colour import mean_distance
from zimage_kit.session.scout import cost, farthest, strip

BOAT = Request(prompt="a red boat on the sea", model="nano", seed=1)


@pytest.fixture
def apart() -> np.ndarray:
    points = np.random.default_rng(3).normal(size=(11, 3))
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
@pytest.mark.parametrize("taken", [(), (2, 5)])
def test_the_farthest_are_those_that_trying_all_finds(apart: np.ndarray, keep: int, taken: tuple[int, ...]) -> None:
    def total(places: tuple[int, ...]) -> float:
        among = sum(apart[a, b] for a, b in combinations(places, 2))
        return float(among + sum(apart[a, b] for a in places for b in taken))

    free = [place for place in range(len(apart)) if place not in taken]
    found = farthest(apart, keep, taken)
    assert len(found) == keep
    assert not set(found) & set(taken)
    assert total(tuple(found)) == pytest.approx(max(map(total, combinations(free, keep))))


def test_scouted_pictures_are_those_of_plain_seeds_and_differ_more(session: Session) -> None:
    heard: list[Event] = []
    found = session.scout(BOAT, look_at=12, on_event=heard.append)
    assert len(found.pictures) == 4
    assert list(found.seeds) == [each.request.seed for each in found.pictures] == sorted(set(found.seeds))
    assert set(found.seeds) <= set(found.looks) == set(range(1, 13))
    again = session.run(BOAT, seed=found.seeds[0], fresh=True)
    assert picture_digest(again.image) == picture_digest(found.pictures[0].image)
    assert again.trace.identity == found.pictures[0].trace.identity
    assert again.trace.derived == found.pictures[0].trace.derived
    counted = [session.run(BOAT, seed=seed).image for seed in range(1, 5)]
    assert found.diversity > 1.2 * mean_distance(counted)
    looks = [(event.step, event.steps) for event in heard if event.message == "seed"]
    assert looks == [(number, 12) for number in range(1, 13)]
    assert max(event.step or 0 for event in heard if event.preview) == 8, "the pictures themselves are heard too"


def test_four_more_look_at_nothing_again(session: Session) -> None:
    first = session.scout(BOAT, look_at=12)
    heard: list[Event] = []
    more = first.more(2, heard.append)
    assert len({*first.seeds, *more.seeds}) == 6
    assert more.left == 6
    again = session.scout(BOAT, look_at=12, on_event=heard.append)
    assert again.seeds == first.seeds
    assert not [event for event in heard if event.message == "seed"]
    with pytest.raises(BadRequest, match=r"keep=7.*6 seeds are left"):
        more.more(7)


def test_a_look_evaluates_its_steps_and_no_more(session: Session) -> None:
    job = session.start(session.check(BOAT, seed=77), priority="batch", look=2)
    look = job.result()
    assert [event.step for event in job.events() if event.kind == "step"] == [1, 2]
    assert look.image.size == (128, 128), "a preview"
    picture = session.run(BOAT, seed=77)
    assert not picture.trace.cached, "what was looked at is not taken for the picture"
    assert mean_distance([look.image, picture.image]) < 20


def test_stages_that_condition_are_looked_at_with_the_rest(session: Session) -> None:
    waving = Request(prompt="a person", model="nano", seed=3, stages=[{"kind": "pose", "preset": "waving"}])
    found = session.scout(waving, look_at=4, keep=2)
    assert all(each.request.stages for each in found.pictures)


def test_it_works_through_a_shared_session(shared: Session) -> None:
    found = shared.scout(BOAT, look_at=4, keep=2, steps=1)
    assert len(found.pictures) == 2
    assert mean_distance(list(found.looks.values())) > 0


def test_an_error_while_looking_cancels_the_rest(session: Session) -> None:
    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.scout(BOAT, seed=5000, look_at=30, on_event=stop)
    assert session.run(BOAT, seed=5001, steps=1).image.size == (256, 256)
    assert session.status().queued == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"look_at": 1}, "look_at=1"), ({"look_at": 501}, "look_at=501"), ({"steps": 0}, "steps=0"),
        ({"keep": 9, "look_at": 8}, "keep=9"), ({"seed": 2**53 - 3}, "seed="), ({"width": 250}, "width=250"),
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(session: Session, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ZImageError, match=says):
        session.scout(BOAT, **fields)


def test_the_cost_is_told_in_pictures() -> None:
    assert cost(24, 2, 8, 4) == "looking at 24 seeds, 2 of 8 steps each: the work of 6 pictures, then 4 to finish"
    assert "2.67 pictures" in cost(12, 2, 9)
    assert "the work of 5 pictures" in cost(5, 12, 8)


def test_pictures_stand_above_their_seeds(session: Session) -> None:
    found = session.scout(BOAT, look_at=12, keep=5)
    shown = found._repr_mimebundle_()
    assert shown["image/jpeg"].startswith(b"\xff\xd8")
    assert strip([each.image for each in found.pictures], found.seeds).size == (4 * 264 - 8, 2 * (256 + 22))
    assert repr(found).startswith("<Scouted 12 seeds, 2 steps each: seeds ")


def test_the_last_wanted_step_is_reported_at_once() -> None:
    """On CUDA a report comes one step late, so that the device never waits; that of a look must not."""
    reported: list[Step] = []
    scheduler = type("Scheduler", (), {"sigmas": torch.linspace(1, 0, 5)})
    noise = torch.zeros(1, 16, 4, 4)
    watch = StepWatch(scheduler, 4, noise, None, reported.append, lambda step: JobCancelled("nan"), until=2)
    watch._cuda = True  # its reports wait as on a device that runs behind
    watch(0, noise + 1)
    assert not reported
    watch(1, noise + 2)
    assert [step.step for step in reported] == [1, 2]
