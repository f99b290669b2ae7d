"""Seeds that differ, as an axis of a grid."""

from __future__ import annotations

import pytest

from zimage_kit import Request, Session
from zimage_kit.errors import BadRequest

BOAT = Request(prompt="a {colour} boat", model="nano", width=64, height=64, steps=2, seed=10)


def test_a_grid_of_scouted_seeds_shares_plain_ones(session: Session) -> None:
    grid = session.grid(BOAT, colour=["red", "blue"], seed="scout 3 of 8")
    grid.wait()
    seeds = [cell.values["seed"] for cell in grid.cells]
    assert seeds[:3] == seeds[3:] == sorted(set(seeds))
    assert set(seeds) <= set(range(10, 18))
    assert seeds[:3] == list(session.scout(BOAT.but(prompt="a red boat"), look_at=8, keep=3).seeds)
    assert grid.plan.axes == ("colour", "seed")
    again = session.grid(BOAT, {"seed": "scout 3 of 8"}, colour=["red", "blue"], rows="seed")
    again.wait()
    assert sorted(cell.key for cell in again.cells) == sorted(cell.key for cell in grid.cells)


def test_without_a_number_they_are_four_of_24(session: Session) -> None:
    grid = session.grid(BOAT.but(prompt="a boat", seed=None), seed="scout")
    grid.wait()
    seeds = [cell.values["seed"] for cell in grid.cells]
    assert len(set(seeds)) == 4
    assert set(seeds) <= set(range(42, 66)), "from the grid's own seed, so that it is reproducible"


@pytest.mark.parametrize("text", ["scouting", "scout x", "scout 3 of"])
def test_another_text_is_refused(session: Session, text: str) -> None:
    with pytest.raises(BadRequest, match="scout 6 of 48"):
        session.grid(BOAT, colour=["red"], seed=text)
