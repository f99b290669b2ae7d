"""The trash: whatever is removed can be brought back, and nothing else is touched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zimage_kit.errors import BadRequest, CannotWrite
from zimage_kit.library import trash
from zimage_kit.library.library import Library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, each with stars."""
    for name in ("one", "two", "three"):
        (tmp_path / "p").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "p" / f"{name}.png")
        (tmp_path / "p" / f"{name}.png.xmp").write_text(f"the stars of {name}")
    return tmp_path / "p"


def there(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))


@pytest.mark.parametrize("ending", ["/../..", "/.", "/"])
def test_the_name_of_a_removal_is_one_of_those_listed(folder: Path, ending: str) -> None:
    removal = trash.remove(folder, ["one.png"])
    before = there(folder)
    with pytest.raises(BadRequest, match="no removal"):
        trash.restore(folder, removal.name + ending)
    assert there(folder) == before and trash.restore(folder, removal.name) == ("one.png",)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden.png", ".trash/x.png", "one.png.xmp", "grids/cells/aa/x.jpg"])
def test_only_pictures_are_removed(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    library = Library(folder)
    for action in (library.remove, library.star):
        with pytest.raises(BadRequest, match="not a picture"):
            action([name])
    assert (folder / name).read_text() == "mine"
    library.close()


def test_one_bad_name_moves_nothing_and_what_is_starred_after_a_plan_stays(folder: Path) -> None:
    for each in folder.glob("*.xmp"):
        each.unlink()
    library = Library(folder)
    with pytest.raises(BadRequest):
        library.remove(["one.png", "notes.txt"])
    plan = library.clean(max_bytes=0)
    library.star("two.png")
    assert plan.remove().pictures == ("one.png", "three.png") and library.search().total == 1
    library.close()


def test_what_is_not_ours_in_the_trash_stays(folder: Path) -> None:
    removal = trash.remove(folder, ["one.png"])
    other = folder / trash.FOLDER / removal.name / "notes.txt"
    other.write_text("mine")
    assert trash.restore(folder, removal.name) == ("one.png",)
    assert other.read_text() == "mine" and trash.removals(folder) == []
    assert trash.empty(folder, trash.KEPT * 0) == 1


def test_the_last_removal_is_the_last_within_a_second_too(folder: Path) -> None:
    made = [trash.remove(folder, [f"{name}.png"]).name for name in ("one", "two", "three")]
    assert [each.name for each in trash.removals(folder)] == made[::-1]


@pytest.mark.parametrize("moves", [0, 1])
@pytest.mark.parametrize("action", ["remove", "restore"])
def test_an_interruption_loses_neither_picture_nor_stars(
    folder: Path, action: str, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, done = trash._move, []

    def killed(*given: Any) -> bool:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(given)
        return move(*given)

    if action == "restore":
        trash.remove(folder, ["one.png"])
    monkeypatch.setattr(trash, "_move", killed)
    with pytest.raises(KeyboardInterrupt):
        trash.remove(folder, ["one.png"]) if action == "remove" else trash.restore(
            folder, trash.removals(folder)[0].name
        )
    monkeypatch.undo()
    for each in trash.removals(folder):
        trash.restore(folder, each.name)
    assert there(folder)[:2] == ["one.png", "one.png.xmp"] and len(there(folder)) == 6
    assert (folder / "one.png.xmp").read_text() == "the stars of one"


def test_stars_in_the_place_of_what_comes_back_are_left_alone(folder: Path) -> None:
    removal = trash.remove(folder, ["one.png"])
    (folder / "one.png.xmp").write_text("another's")
    assert trash.restore(folder, removal.name) == ("one-2.png",)
    assert (folder / "one.png.xmp").read_text() == "another's"
    assert (folder / "one-2.png.xmp").read_text() == "the stars of one"


def test_a_picture_that_another_process_removes_or_restores_first_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = trash._belonging

    def faster(path: Path, name: str) -> list[Path]:
        found = look(path, name)
        for each in found if path.stem == "one" else ():
            each.unlink()
        return found

    monkeypatch.setattr(trash, "_belonging", faster)
    removal = trash.remove(folder, ["one.png", "two.png"])
    assert removal.pictures == ("two.png",)
    both = trash.remove(folder, ["three.png"])
    (folder / trash.FOLDER / both.name / "three.png").rename(folder / trash.FOLDER / both.name / "one.png")
    assert trash.restore(folder, both.name) == ()
    (folder / "new.png").write_text("")
    (folder / "old.png").hardlink_to(folder / "new.png")  # another process has not yet taken the old name away
    assert trash._move(folder / "old.png", folder / "new.png", trash._rename) and not (folder / "old.png").exists()


def test_a_trash_that_is_a_link_or_a_file_is_not_used(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "20200101T000000-aaaaaa").mkdir(parents=True)
    shutil.copy(folder / "one.png", tmp_path / "other" / "20200101T000000-aaaaaa")
    (folder / trash.FOLDER).symlink_to(tmp_path / "other")
    assert trash.removals(folder) == [] and trash.empty(folder) == 0
    with pytest.raises(CannotWrite, match="is a link"):
        trash.remove(folder, ["one.png"])
    with pytest.raises(BadRequest, match="no removal"):
        trash.restore(folder, "20200101T000000-aaaaaa")
    (folder / trash.FOLDER).unlink()
    (folder / trash.FOLDER).write_text("")
    with pytest.raises(CannotWrite):
        trash.remove(folder, ["one.png"])
    (folder / trash.FOLDER).unlink()
    (folder / trash.FOLDER).mkdir()
    (folder / trash.FOLDER / "20200101T000000-aaaaaa").symlink_to(tmp_path / "other" / "20200101T000000-aaaaaa")
    with pytest.raises(BadRequest, match="no removal"):
        trash.restore(folder, "20200101T000000-aaaaaa")
    assert len(there(folder)) == 6 and len(list(tmp_path.glob("other/*/*"))) == 1
