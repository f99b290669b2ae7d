"""Variety: seeds differ more, exactly repeatable, and strength 0 changes nothing."""

from __future__ import annotations

import pytest
import torch

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.engine.denoise import disturbed
from zimage_kit.recipe.artifact import picture_digest
from zimage_kit.recipe.colour import mean_distance

BOAT = Request(prompt="a white cat on the grass", model="nano", seed=1)


def with_variety(strength: float) -> Request:
    return BOAT.then(zk.stages.variety(strength=strength))


def test_seeds_differ_more_and_each_is_repeatable(session: Session) -> None:
    seeds = range(1, 5)
    plain = [session.run(BOAT, seed=seed).image for seed in seeds]
    varied = [session.run(with_variety(1.0), seed=seed) for seed in seeds]
    assert mean_distance([each.image for each in varied]) > 1.2 * mean_distance(plain)
    again = session.run(varied[0].request, fresh=True)
    assert picture_digest(again.image) == picture_digest(varied[0].image)
    assert any("variety" in name for name in varied[0].trace.identity)


def test_strength_0_changes_nothing(session: Session) -> None:
    assert picture_digest(session.run(with_variety(0.0)).image) == picture_digest(session.run(BOAT).image)


def test_it_acts_in_the_first_step_only(session: Session) -> None:
    """The rest of the prompt is heard: more of it changes the picture little by little, not all at once."""
    plain = session.run(BOAT).image
    distances = [mean_distance([plain, session.run(with_variety(strength)).image]) for strength in (0.05, 1.0)]
    assert 0 < distances[0] < distances[1] < 60


def test_stock_diffusers_gives_the_same_picture(session: Session, plain: Session) -> None:
    ours, theirs = (each.run(with_variety(0.7)).image for each in (session, plain))
    assert mean_distance([ours, theirs]) < 0.5


def test_it_goes_with_scouting_and_with_a_pose(session: Session) -> None:
    found = session.scout(with_variety(0.5), look_at=4, keep=2)
    assert [each.request.stages[0].kind for each in found.pictures] == ["variety"] * 2
    posed = Request(prompt="a girl", model="nano", seed=3).then(
        zk.stages.pose(preset="waving"), zk.stages.variety(strength=0.5)
    )
    assert session.run(posed).image.size == (256, 256)


def test_the_noise_is_the_seeds_and_as_large_as_asked_for() -> None:
    prompt = [torch.randn(40, 64) * 3]
    (one,), (again,), (other,) = (disturbed(prompt, 2.0, seed) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float((one - prompt[0]).std()) == pytest.approx(6, rel=0.1)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_other_strengths_are_refused(strength: float) -> None:
    with pytest.raises(zk.errors.BadRequest, match="strength"):
        zk.stages.variety(strength=strength)
