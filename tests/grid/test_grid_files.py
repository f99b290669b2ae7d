"""Files of a grid: each is whole, and each but the table opens the grid again."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from grids import finished, pictures
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import zimage_kit as zk
from zimage_kit.errors import BadRequest, CannotWrite, JobFailed, NoRecipe
from zimage_kit.grid import Grid
from zimage_kit.grid.files import read_recipe_of_grid, save
from zimage_kit.recipe.artifact import Artifact
from zimage_kit.recipe.request import Request

NASTY = [
    "</script><script>alert(1)</script>", "<!-- --> ]]> &amp; &lt;", 'quotes " and \' and `', "emoji 🐈 and 🇨🇳",
    "two\nlines\u2028and\x00more", "没有空格的一句很长很长的话" * 150, "x" * 2000,
]  # fmt: skip
KINDS = (".png", ".jpg", ".jpeg", ".html", ".json")


@pytest.mark.parametrize("ending", KINDS)
def test_a_grid_reopens_from_what_was_saved(ending: str, tmp_path: Path) -> None:
    grid = finished("a {colour} balloon", colour=["red", "青"], seed=range(3), title="Balloons", winner=2)
    (path,) = grid.save(tmp_path / f"grid{ending}")
    again = Grid.open(path)
    assert again.recipe() == grid.recipe()
    assert again.state == "done"
    assert pictures(again) == pictures(grid)
    assert (again.title, again.shape, again.labels("rows")) == ("Balloons", (2, 3), ("red", "青"))
    assert again.winner is not None
    assert again.winner.index == 2


@pytest.mark.parametrize("ending", KINDS)
def test_a_thousand_cells_and_nasty_texts_reopen(ending: str, tmp_path: Path) -> None:
    missing = range(10, 7 * 150)
    grid = finished("x", prompt=NASTY, seed=range(150), title=NASTY[0], missing=missing)
    (path,) = grid.save(tmp_path / f"grid{ending}", **({"cell": 8} if ending in (".png", ".jpg", ".jpeg") else {}))
    assert Grid.open(path).recipe() == grid.recipe()


@pytest.mark.parametrize("ending", [*KINDS, ".csv"])
def test_no_file_tells_where_its_author_is_at_home(ending: str, home: Path, tmp_path: Path) -> None:
    models = [str(home / "models" / name) for name in ("mine", "other")]
    base = Request(prompt="x", model=models[0], loras=[(home / "loras" / "own.safetensors", 0.5)])
    grid = finished(base, model=models, seed=[1, 2], labels={"model": {models[1]: "The other"}}, failed=[3])
    grid.cells[3].error = JobFailed(f"{models[1]}/vae cannot be read", mend=f"Look into {models[1]}.")
    (path,) = grid.save(tmp_path / f"grid{ending}")
    assert str(home).encode() not in path.read_bytes()
    if ending != ".csv":
        again = Grid.open(path)
        assert (again.labels("rows")[1], again.plan.base.model) == ("The other", f"~{os.sep}{Path('models', 'mine')}")
        assert [cell.state for cell in again.cells] == [*[cell.state for cell in grid.cells][:3], "waiting"]


def test_a_grid_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    grid = finished("x", seed=[1, 2])
    for ending in KINDS:
        (path,) = grid.save(tmp_path / f"grid{ending}")
        assert read_recipe_of_grid(path.rename(tmp_path / "download.tmp")) == grid.recipe()


def test_a_sheet_is_a_picture_that_pillow_reads(tmp_path: Path) -> None:
    grid = finished("x", seed=range(300), missing=range(4, 300))
    for ending in (".png", ".jpg"):
        (path,) = grid.save(tmp_path / f"grid{ending}")
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == grid.sheet().size
            if ending == ".png":
                assert str(picture.info["Software"]).startswith("zimage_kit ")
                assert json.loads(picture.info["zimage_kit_grid"]) == grid.recipe()


def test_a_recipe_that_another_program_compressed_is_read(tmp_path: Path) -> None:
    grid, info = finished("x", seed=[1, 2]), PngInfo()
    info.add_itxt("zimage_kit_grid", json.dumps(grid.recipe()), zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png", pnginfo=info)
    assert Grid.open(tmp_path / "sheet.png").recipe() == grid.recipe()


def test_several_sheets_become_several_files_each_with_the_whole_grid(tmp_path: Path) -> None:
    grid = finished("x", seed=[1, 2], steps=[2, 4], guidance=[0, 1, 2])
    paths = grid.save(tmp_path / "sheets.png")
    assert [path.name for path in paths] == ["sheets-1.png", "sheets-2.png", "sheets-3.png"]
    assert not (tmp_path / "sheets.png").exists()
    assert all(Grid.open(path).recipe() == grid.recipe() for path in paths)


@pytest.mark.parametrize("ending", (*KINDS, ".csv"))
def test_the_same_grid_is_the_same_file(ending: str, tmp_path: Path) -> None:
    one, other = (finished("海上", seed=range(3)).save(tmp_path / f"{number}{ending}")[0] for number in range(2))
    assert one.read_bytes() == other.read_bytes()


def test_a_csv_is_utf8_that_excel_knows(tmp_path: Path) -> None:
    (path,) = finished("x", prompt=["海上生明月"]).save(tmp_path / "table.csv", only=["prompt", "seconds"])
    assert path.read_bytes() == "\ufeffprompt,seconds\r\n海上生明月,1.234\r\n".encode()


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "grid.json"
    path.write_text("before")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CannotWrite, match="No space"):
        finished("x", seed=[1, 2]).save(path)
    assert path.read_text() == "before"
    assert list(tmp_path.glob(".zimage-*")) == []


@pytest.mark.parametrize("name", ["grid.gif", "grid", "grid.xlsx"])
def test_an_unknown_ending_is_answered_with_those_that_are_known(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"\.png, \.jpg, \.jpeg, \.html, \.csv, \.json"):
        save(finished("x", seed=[1, 2]), tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(CannotWrite, match="is a folder"):
        finished("x", seed=[1, 2]).save(tmp_path / "a.png")


def test_an_option_of_another_kind_is_refused(tmp_path: Path) -> None:
    grid = finished("x", seed=[1, 2])
    with pytest.raises(BadRequest, match=r"option 'quality' for a \.png file; expected one of its options \(cell"):
        grid.save(tmp_path / "grid.png", quality=90)
    with pytest.raises(BadRequest, match="quality=0"):
        grid.save(tmp_path / "grid.jpg", quality=0)
    with pytest.raises(BadRequest, match=r"option 'cell' for a \.json file"):
        grid.save(tmp_path / "grid.json", cell=3)


def test_files_without_a_grid_say_so(tmp_path: Path, artifact: Artifact) -> None:
    plain, one, table, other = (tmp_path / name for name in ("plain.png", "one.png", "table.csv", "other.json"))
    Image.new("RGB", (8, 8)).save(plain)
    artifact.save(one)
    finished("x", seed=[1, 2]).save(table)
    other.write_text('{"prompt": "a cat"}')
    with pytest.raises(NoRecipe, match="holds no grid"):
        Grid.open(plain)
    with pytest.raises(NoRecipe, match=r"is one picture.*zk\.open"):
        Grid.open(one)
    with pytest.raises(NoRecipe, match=r"session\.grid\(base, path\)"):
        Grid.open(table)
    with pytest.raises(BadRequest, match="not a saved grid"):
        Grid.open(other)
    with pytest.raises(NoRecipe, match="there is no file"):
        Grid.open(tmp_path / "nowhere.png")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".html", ".json"])
def test_a_damaged_file_is_refused_in_a_sentence(ending: str, tmp_path: Path) -> None:
    (path,) = finished("x", seed=range(5)).save(tmp_path / f"grid{ending}")
    whole = path.read_bytes()
    for part in (0.02, 0.1, 0.3):
        path.write_bytes(whole[: int(part * len(whole))])
        try:
            Grid.open(path)
        except zk.ZImageError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_sheet_opened_as_a_picture_points_to_the_grid(ending: str, tmp_path: Path) -> None:
    (path,) = finished("x", seed=[1, 2]).save(tmp_path / f"sheet{ending}")
    with pytest.raises(NoRecipe, match=r"is a contact sheet; expected one picture. zk\.Grid\.open\(path\) opens it"):
        zk.open(path)


def test_what_leaves_loads_no_model_and_computes_nothing(tmp_path: Path) -> None:
    grid = finished("x", seed=[1, 2])
    for ending in (*KINDS, ".csv"):
        grid.save(tmp_path / f"grid{ending}")
    grid.sheets(), grid.rows(), grid.diversity()
    assert grid._session is None
    assert grid.computed == 0


def test_a_comment_of_a_jpeg_survives_being_read_by_pillow(tmp_path: Path) -> None:
    grid = finished("x", prompt=["x" * 2000], seed=range(40), missing=range(40))
    (path,) = grid.save(tmp_path / "grid.jpg", cell=8)
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        comments = [data for name, data in picture.applist if name == "COM"]  # type: ignore[attr-defined]
    assert json.loads(b"".join(part.removeprefix(b"zimage_kit_grid") for part in comments)) == grid.recipe()


@pytest.mark.parametrize(
    "wrong", [{"cells": 3}, {"cells": [1, 2]}, {"labels": []}, {"dimensions": {}}, {"dimensions": 5}, {"cells": "ab"}]
)
def test_a_file_that_is_no_grid_of_ours_is_told(wrong: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    path.write_text(json.dumps({**finished("x", seed=[1, 2]).recipe(), **wrong}))
    with pytest.raises(BadRequest, match="Give a file that grid.save wrote"):
        Grid.open(path)


def test_options_that_cannot_be_are_told(tmp_path: Path) -> None:
    grid = finished("x", seed=[1, 2])
    for name, option, said in (
        ("a.png", {"cell": "a"}, "cell='a'; expected 8 to 8192"), ("a.jpg", {"cell": 9.5}, "cell=9.5"),
        ("a.png", {"label_size": "big"}, "label_size='big'"), ("a.png", {"max_megapixels": "1"}, "max_megapixels='1'"),
        ("a.jpg", {"quality": 90.5}, "quality=90.5; expected a whole number, 1 to 100"),
        ("a.html", {"quality": "90"}, "quality='90'"), ("a.html", {"max_bytes": 1e6}, "max_bytes=1000000.0"),
    ):  # fmt: skip
        with pytest.raises(BadRequest, match=said):
            grid.save(tmp_path / name, **option)


def test_one_column_can_be_named_alone(tmp_path: Path) -> None:
    (path,) = finished("x", seed=[1, 2]).save(tmp_path / "a.csv", only="seed")
    assert path.read_text("utf-8-sig").split() == ["seed", "1", "2"]
