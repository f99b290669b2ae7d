"""Odd files, disks, names, words and dates: none keeps a library from opening, and no file of others is touched."""

from __future__ import annotations

import copy
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import zimage_kit as zk
from zimage_kit import Artifact, Request, Trace
from zimage_kit.errors import BadRequest, CannotWrite, ZImageError
from zimage_kit.library import export, index, refresh, scan
from zimage_kit.library.library import Library
from zimage_kit.library.times import moment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("boat.png", "~cat.png", "a/boat.png"):
        save(tmp_path / "p" / name)
    return tmp_path / "p"


def save(path: Path, **trace: Any) -> Path:
    request = Request(prompt="a boat", model="nano", seed=1, stages=[{"kind": "upscale"}])
    return Artifact(Image.new("RGB", (8, 8)), request, Trace(**trace)).save(path)


@pytest.fixture
def library(folder: Path) -> Iterator[Library]:
    opened = Library(folder)
    yield opened
    opened.close()


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# Files


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon"])
def test_a_picture_without_a_usable_date_is_as_old_as_its_file(library: Library, created: str) -> None:
    path = save(library.folder / "odd.png", created=created)
    os.utime(path, (1e9, 1e9))
    assert library.refresh().added == 1 and library["odd.png"].made.timestamp() == 1e9
    library.add(path, zk.open(path))
    assert library["odd.png"].made.timestamp() == 1e9


def test_a_time_beyond_2262_does_not_stop_the_library(library: Library) -> None:
    (library.folder / "boat.png.xmp").write_text("")
    for name in ("boat.png", "boat.png.xmp", ""):
        os.utime(library.folder / name, (1.4e10, 1.4e10))
    assert library.refresh().changed == 1
    library.star("boat.png")
    assert library.search(stars=1).total == 1 and library.refresh().changed == 0


@pytest.mark.parametrize("value", [10**400, "9" * 5000])
@pytest.mark.parametrize("field", ["seed", "cfg", "width"])
def test_numbers_that_are_too_large_are_no_numbers(library: Library, field: str, value: Any) -> None:
    size = {"width": 512, "height": 512, field: value}
    inputs = {"positive": ["2", 0], "latent_image": ["3", 0], field: value}
    nodes = (("KSampler", inputs), ("CLIPTextEncode", {"text": "a lighthouse"}), ("EmptyLatentImage", size))
    graph = {str(n): {"class_type": kind, "inputs": given} for n, (kind, given) in enumerate(nodes, 1)}
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    Image.new("RGB", (8, 8)).save(library.folder / "comfy.png", pnginfo=info)
    assert library.search("lighthouse").total == 1
    zk.open(library.folder / "comfy.png")


def test_a_file_that_goes_while_its_folder_is_read_takes_no_other_along(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    @contextmanager
    def slow(path: Path) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            found = list(entries)
        (library.folder / "boat.png").unlink(missing_ok=True)
        yield found

    monkeypatch.setattr(scan.os, "scandir", slow)
    assert library.refresh().gone == 1


def test_a_folder_that_cannot_be_read_for_a_moment_comes_back(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refused(path: Path) -> Any:
        if path.name == "a":
            raise PermissionError
        return scandir(path)

    os.utime(library.folder, (1e9, 1e9))
    library.search()
    save(library.folder / "a" / "new.png")
    monkeypatch.setattr(scan.os, "scandir", refused)
    assert library.search().total == 2
    monkeypatch.undo()
    assert library.search().total == 4


def test_what_comes_within_one_tick_of_the_clock_is_seen(library: Library) -> None:
    when = scan._now_ns() // 2_000_000_000 * 2_000_000_000  # FAT counts in two seconds
    for total in (3, 4):
        os.utime(library.folder, ns=(when, when))
        assert library.search().total == total
        save(library.folder / "new.png")


# The index


def sql(library: Library, *lines: str) -> None:
    connection = sqlite3.connect(library._index.file)
    for line in lines:
        connection.execute(line)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", ["prompt = CAST(x'61ff62' AS TEXT)", "stages = '['", "stages = NULL", "stars = 77"])
def test_damaged_rows_are_read_anew(library: Library, damage: str) -> None:
    sql(library, f"UPDATE pictures SET {damage}")
    assert [each.prompt for each in library.search()] == ["a boat"] * 3 and library.values("stages") == {"upscale": 3}


def test_another_version_of_the_program_and_a_closed_library_are_named(library: Library) -> None:
    sql(library, "DROP TABLE pictures", "PRAGMA user_version = 999")
    with pytest.raises(ZImageError, match="another version"):
        library.search()
    library.close()
    with pytest.raises(ZImageError, match="is closed"):
        library.search()


@pytest.mark.parametrize("link", [refresh.FOLDER, f"{refresh.FOLDER}/{refresh.FILE}"])
def test_an_index_that_is_a_link_is_left_alone(folder: Path, tmp_path: Path, link: str) -> None:
    theirs = tmp_path / refresh.FILE
    connection = sqlite3.connect(theirs)
    connection.execute("CREATE TABLE precious (x)")
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(tmp_path if link == refresh.FOLDER else theirs)
    assert str(tmp_path / "cache") in Library(folder).index_note
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]


@pytest.mark.parametrize("disk", ["read-only", "full"])
def test_a_disk_that_takes_no_index_has_it_elsewhere(folder: Path, disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Library(folder).close()
    connect, put = sqlite3.connect, index.Index.put

    def read_only(file: Path, **options: Any) -> sqlite3.Connection:
        mine = str(folder) in str(file)
        return connect(f"file:{file}?mode=ro" if mine else file, uri=mine, **options)

    def full(self: index.Index, *given: Any) -> None:
        if str(folder) in str(self.file):
            raise sqlite3.OperationalError("database or disk is full")
        put(self, *given)

    monkeypatch.setattr(*((index.sqlite3, "connect", read_only) if disk == "read-only" else (index.Index, "put", full)))
    with closing(Library(folder)) as library:
        assert "cannot be written" in library.index_note and library.clean(max_bytes=0).remove().pictures


@pytest.mark.parametrize("name", ["typo", "p/boat.png"])
def test_a_folder_that_is_none_is_refused_and_not_made(folder: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="is not a folder"):
        Library(folder.parent / name)
    assert not (folder.parent / "typo").exists()


# Words, names, dates


def test_any_words_may_be_asked(library: Library) -> None:
    for words in ("\ud83d boat", "boat\0boat", "a " * 150, *'"*(^{:%_\\-', "NEAR(a b)", "co:l", "a AND"):
        library.search(words)
    for asked in ({"words": "a " * 5000}, {"offset": -1}, {"limit": -1}):
        with pytest.raises(BadRequest, match="expected"):
            library.search(**asked)
    library.tag("boat.png", "poster")
    assert library.search(tags="poster").total == 1


def test_a_picture_is_found_by_every_name_of_it(library: Library, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "link").symlink_to(library.folder)
    for name in ("./boat.png", tmp_path / "link" / "boat.png"):
        assert library[str(name)].name == "boat.png"
    assert Library(tmp_path / "link")[str(library.folder / "boat.png")].name == "boat.png"
    assert library.search(like="~cat.png").total and library["~cat.png"].name == "~cat.png"
    monkeypatch.chdir(library.folder / "a")
    assert library[str(Path("boat.png").absolute())].name == "a/boat.png"
    for name in ("boat\0.png", "../boat.png", "/etc/x.png", "nothing.png", ""):
        with pytest.raises(BadRequest):
            library[name]


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"], indirect=True)
@pytest.mark.parametrize("when", ["999999d", "0001-01-01", "9999-12-31"])
def test_the_ends_of_the_calendar_are_refused_or_found(library: Library, when: str, zone: None) -> None:
    for action in (lambda: library.search(since=when), lambda: library.search(until=when), lambda: library.clean(when)):
        try:
            found = action()
        except BadRequest as error:
            assert when in str(error)
        else:
            assert len(getattr(found, "pictures", found)) <= library.search(limit=None).total


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
def test_a_day_when_the_clocks_change_is_all_of_it(zone: None) -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)):
        assert moment(day, end=True) - moment(day) == timedelta(hours=hours)


# Export


def test_an_export_touches_no_file_of_others(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".new.zip.part").write_text("another's")

    def slow(*_: object) -> Image.Image:
        (tmp_path / "new.zip").write_text("came meanwhile")
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(export, "contact_sheet", slow)
    with pytest.raises(CannotWrite, match="exists"):
        library.export(library.search(), tmp_path / "new.zip")
    assert {each.read_text() for each in tmp_path.glob("*new*")} == {"another's", "came meanwhile"}
    with pytest.raises(BadRequest, match="in the library itself"):
        library.export(library.search(), library.folder / "a" / "new")


def test_an_export_copies_pictures_and_nothing_else(library: Library, tmp_path: Path) -> None:
    for name in ("\u00e9.png", "a/e\u0301.png"):  # which some disks take for one name
        save(library.folder / name)
    Image.effect_noise((99, 99), 50).save(library.folder / "cut.jpg")
    os.truncate(library.folder / "cut.jpg", 2000)
    chosen = library.search()
    place = library.export(chosen, tmp_path / "out")
    assert len(list(place.glob("*-2.png"))) == 2 and (place / export.SHEET).exists()
    (library.folder / "boat.png").unlink()
    (library.folder / "boat.png").symlink_to(save(tmp_path / "secret.png"))
    with pytest.raises(ZImageError):
        library.export(chosen, tmp_path / "again")


def test_the_package_that_is_called_travels_as_other_modules_do() -> None:
    assert copy.deepcopy(zk.library) is zk.library
