"""What people and programs hand the library: names, words, dates, targets."""

from __future__ import annotations

import copy
import importlib
import os
import pydoc
import time
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit.errors import BadRequest, CannotWrite, ZImageError
from zimage_kit.library import export
from zimage_kit.library.library import Library
from zimage_kit.library.times import moment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("boat.png", "~cat.png", "a/boat.PNG", "a/it's 100% “red”\n\u202e🙂.jpeg"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "p" / name)
    return tmp_path / "p"


@pytest.fixture
def library(folder: Path) -> Iterator[Library]:
    opened = Library(folder)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "words", ["\ud83d boat", "boat\0boat", "a " * 150, *'"*(^{:%_\\-', "NEAR(a b)", "co:l", "a AND"]
)
def test_any_words_may_be_asked(library: Library, words: str) -> None:
    library.search(words)


def test_odd_names_are_found_marked_and_removed(library: Library, folder: Path) -> None:
    (odd,) = library.search("100%")
    library.star([odd], 2)
    assert library.search("🙂", stars=2)[0].path == odd.path
    library.remove([odd])
    assert library.restore()[0].name == odd.name and library[odd.name].stars == 2


def test_too_many_words_and_places_before_the_first_are_refused(library: Library) -> None:
    for asked in ({"words": "a " * 5000}, {"offset": -1}, {"limit": -1}):
        with pytest.raises(BadRequest, match="expected"):
            library.search(**asked)


def test_one_tag_may_be_given_as_text(library: Library) -> None:
    library.tag("boat.png", "poster")
    assert library.search(tags="poster").total == 1
    library.tag("boat.png", remove="poster")
    assert library.search(tags="poster").total == 0


def test_a_picture_is_found_by_every_name_of_it(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(folder)
    for name in ("./boat.png", str(folder / "boat.png"), str(tmp_path / "link" / "boat.png")):
        assert library[name].name == "boat.png"
    assert library.search(like="~cat.png").total and library["~cat.png"].name == "~cat.png"
    linked = Library(tmp_path / "link")
    assert linked[str(folder / "boat.png")].name == "boat.png"
    linked.close()
    monkeypatch.chdir(folder / "a")
    assert library["boat.PNG"].name == "a/boat.PNG"
    for name in ("boat\0.png", "../boat.png", "/etc/x.png", "nothing.png", ""):
        with pytest.raises(BadRequest):
            library[name]


@pytest.mark.parametrize("when", ["999999d", "0001-01-01", "9999-12-31", date.max, datetime.min, datetime.max])
@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_the_ends_of_the_calendar_are_refused_or_found(
    library: Library, when: Any, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for asked in ({"since": when}, {"until": when}):
            try:
                library.search(**asked)
            except BadRequest as error:
                assert "such as" in str(error)
        with pytest.raises(BadRequest):
            library.clean("999999d")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_day_when_the_clocks_change_is_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)):
            assert moment(day, end=True) - moment(day) == timedelta(hours=hours)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_export_touches_no_file_of_others(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".best.zip.part").write_text("another's")
    library.export(library.search(), tmp_path / "best.zip")
    assert (tmp_path / ".best.zip.part").read_text() == "another's"

    def slow(*_: object) -> Image.Image:
        (tmp_path / "new.zip").write_text("came meanwhile")
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(export, "contact_sheet", slow)
    with pytest.raises(CannotWrite, match="exists"):
        library.export(library.search(), tmp_path / "new.zip")
    assert (tmp_path / "new.zip").read_text() == "came meanwhile" and not list(tmp_path.glob(".?????*.part?"))


def test_an_export_into_the_library_would_double_it(library: Library, folder: Path) -> None:
    with pytest.raises(BadRequest, match="in the library itself"):
        library.export(library.search(), folder / "a" / "new")
    assert library.export(library.search(), folder / "new.zip").exists() and library.search().total == 4


def test_names_that_some_disks_take_for_one_are_two(library: Library, folder: Path, tmp_path: Path) -> None:
    for name in ("\u00e9.png", "a/e\u0301.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
    with zipfile.ZipFile(library.export(library.search(), tmp_path / "x.zip", sheet=False)) as file:
        assert {"boat.PNG", "boat-2.png", "\u00e9-2.png"} & set(file.namelist()) and len(file.namelist()) == 6
        assert sum(name.endswith(("-2.png", "-2.PNG")) for name in file.namelist()) == 2


def test_a_link_that_takes_a_pictures_place_is_not_copied(library: Library, folder: Path, tmp_path: Path) -> None:
    chosen = library.search("boat.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    (folder / "boat.png").unlink()
    (folder / "boat.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ZImageError):
        library.export(chosen, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_picture_that_cannot_be_decoded_is_grey_on_the_sheet(library: Library, folder: Path, tmp_path: Path) -> None:
    Image.effect_noise((99, 99), 50).save(folder / "cut.jpg")
    os.truncate(folder / "cut.jpg", 2000)
    assert library.search("cut").total == 1
    assert (library.export(library.search("cut"), tmp_path / "out") / "contact-sheet.jpg").exists()


def test_the_package_that_is_called_is_a_module_like_others(folder: Path) -> None:
    assert copy.deepcopy(zk.library) is zk.library and "opens a library" in pydoc.render_doc(type(zk.library))
    importlib.reload(zk.library)
    zk.library(folder).close()
