"""The diversity of nano's own pictures: its seeds differ less than its prompts do."""

from __future__ import annotations

import pytest

import zimage_kit as zk

PROMPTS = ("a red hot-air balloon over the sea", "a white cat on the grass", "a blue house in the snow mountains")


@pytest.mark.slow
def test_nanos_seeds_differ_less_than_its_prompts(session: zk.Session) -> None:
    grid = session.grid("", prompt=PROMPTS, seed=range(3), model=["nano"]).wait()
    seeds, prompts = grid.diversity(), grid.diversity("prompt")
    print(seeds, prompts, sep="\n")
    assert 2.3 < seeds.distance < 0.6 * prompts.distance, f"seeds {seeds.distance:.1f}, prompts {prompts.distance:.1f}"
