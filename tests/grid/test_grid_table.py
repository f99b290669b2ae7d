"""The table of a grid: rows that say everything, and that lead back to the same cells."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from grids import finished

import zimage_kit as zk
from zimage_kit.errors import BadRequest, ZImageError
from zimage_kit.grid import plan
from zimage_kit.grid.axis_table import COLUMNS, escape_formula, table_of, unescape_formula
from zimage_kit.grid.table import columns, rows, to_csv
from zimage_kit.recipe.request import Request

FORMULA = '=HYPERLINK("http://elsewhere.example")'


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_says_what_varied_what_it_cost_and_how_to_make_it_again() -> None:
    grid = finished("a {colour} balloon", colour=["red", "青"], seed=[1, 2], ratings={1: 4}, winner=1)
    found = rows(grid)
    assert len(found) == 4
    row = found[1]
    assert {name: row[name] for name in ("colour", "seed", "row", "column", "page", "inner")} == {
        "colour": "red", "seed": 2, "row": "red", "column": "seed 2", "page": None, "inner": None,
    }  # fmt: skip
    assert (row["state"], row["error"], row["model"], row["size"]) == ("done", None, "nano", "64x64")
    assert (row["seconds"], row["peak_bytes"], row["rating"], row["winner"]) == (1.236, 5_000_000, 4, True)
    assert Path(str(row["path"])).is_file()
    assert Request.from_json(str(row["recipe"])) == grid.cells[1].request
    json.dumps(found)


def test_a_cell_that_failed_has_its_error_and_no_figures() -> None:
    row = rows(finished("x", seed=[1, 2], failed=[1]))[1]
    assert row["state"] == "failed"
    assert "the text has no letters" in str(row["error"])
    assert (row["seconds"], row["peak_bytes"], row["path"], row["pixels"], row["winner"]) == (None,) * 4 + (False,)


def test_a_slot_may_be_called_like_a_column() -> None:
    grid = finished("{error} {seed}", error=["none", "some"], seed=["a", "b"])
    assert columns(grid)[:2] == ["error", "seed"]
    assert {"error_", "seed_"} <= set(columns(grid))
    row = rows(grid)[3]
    assert (row["error"], row["error_"], row["seed"], row["seed_"]) == ("some", None, "b", 42)


def test_an_axis_that_is_a_field_stands_once() -> None:
    assert columns(finished("x", seed=[1, 2], model=["nano", "turbo"])).count("seed") == 1
    assert len(columns(finished("x", steps=[1, 2]))) == 1 + len(COLUMNS)


def test_csv_holds_every_row_whatever_is_in_it() -> None:
    nasty = ["two\nlines", 'quotes "," and ;', "</script>", "海上生明月", "x" * 2000, "emoji 🐈"]
    grid = finished("x", prompt=nasty)
    assert [row["prompt"] for row in read(to_csv(grid))] == nasty


@pytest.mark.parametrize(
    "text",
    [
        'prompt,seed\na red boat,1\n"a, b; c",2\n',
        'prompt;seed\na red boat;1\n"a, b; c";2\n',
        "prompt\tseed\r\na red boat\t1\r\na, b; c\t2\r\n",
        'sep=;\r\nprompt;seed\r\na red boat;1\r\n"a, b; c";2\r\n',
    ],
    ids=["comma", "semicolon", "TAB", "Excel's line"],
)
def test_tables_are_read_with_the_separators_that_spreadsheets_write(tmp_path: Path, text: str) -> None:
    (tmp_path / "cells.csv").write_bytes(text.encode("utf-8-sig"))
    assert table_of(tmp_path / "cells.csv") == {"prompt": ["a red boat", "a, b; c"], "seed": ["1", "2"]}


def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    grid = finished("x", prompt=[FORMULA, "-2+3", "@SUM(A1)", "+1", "-0.5", "'=x"])
    found = [row["prompt"] for row in read(to_csv(grid))]
    assert found == [f"'{FORMULA}", "'-2+3", "'@SUM(A1)", "+1", "-0.5", "''=x"]
    for text in (FORMULA, "plain", "'quoted'", "''", "'=x", "＝1", "-1", ""):
        assert unescape_formula(escape_formula(text)) == text


def test_the_axes_of_a_table_make_the_same_cells_again(tmp_path: Path) -> None:
    axes: dict[str, Any] = {
        "prompt": ["-a cat", "海上", FORMULA], "seed": [1, 2], "guidance": [0.5, 2.0], "lora": ["", "ink:0.5"],
    }  # fmt: skip
    grid = finished("x", **axes)
    path = tmp_path / "axes.csv"
    path.write_bytes(to_csv(grid, grid.axes).encode("utf-8-sig"))
    base = grid.plan.base
    for again in (plan(base, path), plan(base, grid.frame()[list(grid.axes)])):
        assert [again.request(place) for place in again.places()] == [
            grid.plan.request(place) for place in grid.plan.places()
        ]


def test_a_whole_table_makes_the_same_cells_again(tmp_path: Path) -> None:
    base = Request(prompt="a {error} {model}", negative_prompt="x").then(
        zk.stages.text_overlay(text="a"), zk.stages.upscale()
    )
    axes: dict[str, Any] = {
        "error": ["", "big"], "model": ["toy", "car"], "seed": [7, 8],
        "stages.text_overlay.box": [(0.1, 0.2, 0.8, 0.9), (0.0, 0.0, 0.5, 0.5)],
        "stages.upscale": [False, {"factor": 4}], "stages.text_overlay.text": ["[1]", "two"],
        "lora": [None, [("ink", 0.5), "papercut"]],
    }  # fmt: skip
    grid = finished(base, zipped=True, **axes)
    assert grid.cells[0].values["stages.text_overlay.box"] == [0.1, 0.2, 0.8, 0.9]
    path = tmp_path / "whole.csv"
    path.write_bytes(to_csv(grid).encode("utf-8-sig"))
    made = [grid.plan.request(place) for place in grid.plan.places()]
    for table in (path, grid.frame()):
        again = plan(grid.plan.base, table)
        assert again.axes == grid.axes
        assert [again.request(place) for place in again.places()] == made
        assert again.labels_of("columns") == grid.labels("columns")
    other = finished("x", steps=[1, 2])  # seed, model and size are no axes here, though they are columns
    path.write_text(to_csv(other), newline="")
    assert plan("x", path).axes == ("steps",)
    path.write_text("state,recipe\nraw,pie\n")  # somebody's own
    assert plan("a {state} {recipe}", path).axes == ("state", "recipe")


def test_a_frame_has_numbers_to_reckon_with() -> None:
    frame = finished("x", seed=range(3), prompt=["a", "b"]).frame()
    assert list(frame.columns[:2]) == ["seed", "prompt"]
    assert frame.groupby("prompt")["seconds"].mean().to_dict() == pytest.approx({"a": 1.2365, "b": 1.2375}, abs=0.002)
    assert frame["seed"].dtype.kind == "i"


def test_without_pandas_the_mend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ZImageError, match=r"zimage-kit\[notebook\]"):
        finished("x", seed=[1, 2]).frame()


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(BadRequest, match="no column 'secnds'. Did you mean seconds?"):
        to_csv(finished("x", seed=[1, 2]), ["secnds"])
