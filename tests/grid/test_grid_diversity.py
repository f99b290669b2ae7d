"""How alike pictures along an axis are, as a number with its definition."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from grids import finished
from PIL import Image

from zimage_kit.errors import BadRequest
from zimage_kit.grid.cell import Cell
from zimage_kit.grid.diversity import Diversity
from zimage_kit.recipe.colour import lab, mean_distance
from zimage_kit.recipe.request import Request


def flat(*colours: str) -> list[Image.Image]:
    return [Image.new("RGB", (64, 48), colour) for colour in colours]


def by_prompt(request: Request, index: int) -> Image.Image:
    """The prompt decides the colour, the seed a shade of it."""
    hue = sum(map(ord, request.prompt)) * 67 % 360
    return Image.new("RGB", (64, 64), f"hsl({hue}, 70%, {50 + (request.seed or 0)}%)")


def test_identical_pictures_have_no_distance() -> None:
    assert mean_distance(flat("red", "red", "red")) == 0


def test_black_and_white_are_a_hundred_apart() -> None:
    assert mean_distance(flat("black", "white")) == pytest.approx(100, abs=0.01)
    assert mean_distance(flat("black", "white", "white")) == pytest.approx(200 / 3, abs=0.01)


def test_colours_are_those_of_cielab() -> None:
    found = lab(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.5]]))
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [53.39, 0.0, 0.0]]
    assert np.abs(found - expected).max() < 0.05


def test_sizes_and_transparency_do_not_matter() -> None:
    clear = Image.new("RGBA", (100, 30), (0, 0, 0, 0))
    assert mean_distance([clear, *flat("white")]) == pytest.approx(0, abs=1e-3)


def test_groups_agree_in_everything_but_the_axis() -> None:
    grid = finished("x", prompt=["a cat", "a boat", "a house"], seed=range(4), paint=by_prompt)
    seeds, prompts = grid.diversity(), grid.diversity("prompt")
    assert [(group.label, group.pictures, group.pairs) for group in seeds.groups] == [
        ("a cat", 4, 6), ("a boat", 4, 6), ("a house", 4, 6),
    ]  # fmt: skip
    assert [group.label for group in prompts.groups] == [f"seed {seed}" for seed in range(4)]
    assert 0 < seeds.distance < prompts.distance
    assert seeds.distance == pytest.approx(sum(group.distance for group in seeds.groups) / 3)


def test_lines_of_one_label_are_groups_of_their_own() -> None:
    labels = {"prompt": ["same", "same"]}
    grid = finished("x", prompt=["a cat", "a boat"], seed=range(3), paint=by_prompt, labels=labels)
    plain = finished("x", prompt=["a cat", "a boat"], seed=range(3), paint=by_prompt).diversity()
    found = grid.diversity()
    assert [(group.label, group.pictures) for group in found.groups] == [("same", 3)] * 2
    assert found.distance == plain.distance


def test_pictures_are_held_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = finished("x", seed=range(6))
    alive: list[weakref.ref[object]] = []
    whole = Cell.artifact.fget

    def counted(cell: Cell) -> object:
        artifact = whole(cell)  # type: ignore[misc]
        alive.append(weakref.ref(artifact.image))
        gc.collect()
        assert sum(each() is not None for each in alive) <= 2
        return artifact

    monkeypatch.setattr(Cell, "artifact", property(counted))
    assert grid.diversity().groups[0].pictures == 6


def test_it_prints_its_definition_and_every_group() -> None:
    found = finished("x", prompt=["a <b> cat", "a boat"], seed=range(3), paint=by_prompt, missing=[0]).diversity()
    assert "mean ΔE*ab (CIE 1976) over all pairs" in str(found)
    assert "cells without a picture, left out: 1" in str(found)
    assert str(found).count("\n") == 2
    html = found._repr_html_()
    assert "a &lt;b&gt; cat" in html
    assert "mean ΔE*ab" in html


def test_one_group_needs_no_table() -> None:
    found = finished("x", seed=range(3)).diversity()
    assert isinstance(found, Diversity)
    assert "\n" not in str(found)


def test_an_axis_that_is_not_there_or_has_one_picture_is_refused() -> None:
    with pytest.raises(BadRequest, match="no axis 'seeds'. Did you mean seed?"):
        finished("x", seed=[1, 2]).diversity("seeds")
    with pytest.raises(BadRequest, match="no two pictures"):
        finished("other", seed=[1, 2], missing=[1]).diversity()
