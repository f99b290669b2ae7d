"""What a grid will cost, from what pictures took before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zimage_kit import Request, Trace
from zimage_kit.grid.estimate import CostModel, Estimate, PlannedPicture

BASE = Request(prompt="a cat", model="nano", width=64, height=64, steps=8, guidance=0.0, seed=1)
MODEL = "0123"


def took(drawing: float, finishing: float = 0.0, **more: object) -> Trace:
    milliseconds = {"load": 5000.0, "denoise": drawing * 1000, "total": 5000 + (drawing + finishing) * 1000}
    return Trace(fingerprint=MODEL, milliseconds=milliseconds, **more)  # type: ignore[arg-type]


@pytest.fixture
def cost_model(tmp_path: Path) -> CostModel:
    cost_model = CostModel(tmp_path / "pace.json")
    for seconds in (1.0, 2.0, 9.0):
        cost_model.record(BASE, took(seconds), 1000)
    cost_model.record(BASE, took(0.001, cached=True), 1000)  # it was at hand: that says nothing
    return cost_model


def estimate(cost_model: CostModel, *pictures: PlannedPicture, workers: int = 1) -> Estimate:
    return cost_model.estimate(len(pictures), len(pictures), pictures, workers)


def test_it_is_the_median_of_what_was_measured_without_loading(cost_model: CostModel, tmp_path: Path) -> None:
    made = estimate(cost_model, PlannedPicture(BASE, MODEL), PlannedPicture(BASE, MODEL))
    assert (made.seconds, made.bytes, made.drawings) == (4.0, 2000, 2)
    assert str(made) == "2 cells, all new: about 4.0 s, 2 kB"
    assert estimate(cost_model, PlannedPicture(BASE, MODEL), PlannedPicture(BASE, MODEL), workers=2).seconds == 2.0
    cost_model.save()
    assert estimate(CostModel(tmp_path / "pace.json"), PlannedPicture(BASE, MODEL)).seconds == 2.0


def test_other_sizes_and_steps_are_scaled(cost_model: CostModel) -> None:
    assert estimate(cost_model, PlannedPicture(BASE.but(steps=4), MODEL)).seconds == 1.0
    larger = estimate(cost_model, PlannedPicture(BASE.but(width=128, height=128), MODEL))
    assert (larger.seconds, larger.bytes) == (8.0, 4000)


def test_what_was_never_measured_is_not_made_up(cost_model: CostModel) -> None:
    other = estimate(cost_model, PlannedPicture(BASE, "another model"), PlannedPicture(BASE, MODEL))
    assert other.seconds is None
    assert "time unknown" in str(other)
    lettered = BASE.then({"kind": "text_overlay", "text": "x"})
    some = estimate(cost_model, PlannedPicture(lettered, MODEL))
    assert (some.seconds, some.at_least) == (2.0, True)
    assert "at least 2.0 s" in str(some)


def test_finishing_alone_costs_no_drawing(cost_model: CostModel) -> None:
    refined = BASE.then({"kind": "refine", "strength": 0.5})
    cost_model.record(refined, took(2.0, finishing=0.5), 3000)
    made = estimate(cost_model, PlannedPicture(refined, MODEL, drawn=False), PlannedPicture(BASE, MODEL))
    assert (made.seconds, made.drawings, made.at_least) == (2.5, 1, False)
    assert str(made) == "2 cells, all new from 1 drawing: about 2.5 s, 4 kB"


def test_a_damaged_file_is_learnt_anew(tmp_path: Path) -> None:
    for content in ("", "[]", '{"x": 3}', '{"a|64x64|8||": [[1]]}'):
        (tmp_path / "pace.json").write_text(content)
        assert estimate(CostModel(tmp_path / "pace.json"), PlannedPicture(BASE, MODEL)).seconds is None


@pytest.mark.parametrize(
    "kind",
    ["0123", "0123|64x64|8", "0123|64|8||", "0123|64x64|eight||", "0123|64x64|" + "9" * 5000 + "||", "0123|6ex64|8||"],
)
def test_a_kind_that_is_none_is_not_taken(kind: str, tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_text(json.dumps({kind: [[1, 1, 1]], "0123|64x64|8||": [[3, 0, 1000]]}))
    assert estimate(CostModel(tmp_path / "pace.json"), PlannedPicture(BASE, MODEL)).seconds == 3.0


@pytest.mark.parametrize("rows", ["[]", "[[1e999, 1, 1]]", "[[NaN, 1, 1]]", "[[1, -5, 1]]", "[[1, 1, 1e300]]"])
def test_measurements_that_are_none_are_not_taken(rows: str, tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_text(f'{{"0123|64x64|8||": {rows}}}')
    assert estimate(CostModel(tmp_path / "pace.json"), PlannedPicture(BASE, MODEL)).seconds is None
