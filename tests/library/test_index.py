"""The index and what it is made of: no file, disk or other process keeps a library from opening."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import zimage_kit as zk
from zimage_kit import Artifact, Request, Trace
from zimage_kit.errors import BadRequest, ZImageError
from zimage_kit.library import index, refresh, scan
from zimage_kit.library.library import Library


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(3):
        save(tmp_path / "p" / f"boat-{number}.png")
    return tmp_path / "p"


def save(path: Path, **trace: Any) -> Path:
    request = Request(prompt="a boat", model="nano", seed=1, stages=[{"kind": "upscale"}])
    return Artifact(Image.new("RGB", (8, 8)), request, Trace(**trace)).save(path)


@pytest.fixture
def library(folder: Path) -> Iterator[Library]:
    opened = Library(folder)
    yield opened
    opened.close()


def sql(library: Library, text: str) -> None:
    connection = sqlite3.connect(library._index.file)
    connection.execute(text)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon"])
def test_a_picture_without_a_usable_date_is_as_old_as_its_file(folder: Path, library: Library, created: str) -> None:
    path = save(folder / "odd.png", created=created)
    os.utime(path, (1e9, 1e9))
    assert library.refresh().added == 1 and library["odd.png"].made.timestamp() == 1e9
    library.add(path, zk.open(path))
    assert library["odd.png"].made.timestamp() == 1e9


def test_a_time_that_no_clock_shows_does_not_stop_the_library(folder: Path) -> None:
    path = folder / "far.png"
    Image.new("RGB", (8, 8)).save(path)
    (folder / "far.png.xmp").write_text("")
    for each in (path, folder / "far.png.xmp", folder):
        os.utime(each, (1.4e10, 1.4e10))
    library = Library(folder)
    assert library.search().total == 4 and library["far.png"].made.year > 2200
    library.star([path])
    assert library.search(stars=1).total == 1 and library.refresh().changed == 0
    library.close()


@pytest.mark.parametrize("value", [10**400, 10**20, "9" * 5000, 1e308])
@pytest.mark.parametrize("field", ["seed", "steps", "cfg", "width"])
def test_numbers_of_other_programs_that_are_too_large_are_no_numbers(folder: Path, field: str, value: Any) -> None:
    import json

    inputs = {"seed": 5, "steps": 8, "cfg": 1.0, "positive": ["2", 0], "latent_image": ["3", 0]}
    size = {"width": 512, "height": 512}
    (size if field == "width" else inputs)[field] = value
    graph = {
        "1": {"class_type": "KSampler", "inputs": inputs},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse"}},
        "3": {"class_type": "EmptyLatentImage", "inputs": size},
    }
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    Image.new("RGB", (8, 8)).save(folder / "comfy.png", pnginfo=info)
    library = Library(folder)
    assert library.search().total + len(library.problems()) == 4
    library.close()


def test_a_file_that_goes_while_its_folder_is_read_takes_no_other_along(
    folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    @contextmanager
    def slow(path: Path) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            found = list(entries)
        (folder / "boat-1.png").unlink(missing_ok=True)
        yield found

    monkeypatch.setattr(scan.os, "scandir", slow)
    assert library.refresh().gone == 1
    assert library.search().total == 2


@pytest.mark.parametrize(
    "damage",
    ["prompt = CAST(x'61ff62' AS TEXT)", "stages = '[\"a'", "stages = NULL", "stars = 77", "tags = '5'"],
)
def test_damaged_rows_are_read_anew(library: Library, damage: str) -> None:
    sql(library, f"UPDATE pictures SET {damage}")
    assert [each.prompt for each in library.search()] == ["a boat"] * 3 and library.values("stages") == {"upscale": 3}


def test_another_version_that_makes_it_anew_meanwhile_is_named(library: Library) -> None:
    sql(library, "DROP TABLE pictures")
    sql(library, "PRAGMA user_version = 999")
    with pytest.raises(ZImageError, match="another version"):
        library.search()


def test_a_closed_library_says_so(library: Library) -> None:
    library.close()
    with pytest.raises(ZImageError, match="is closed"):
        library.search()


@pytest.mark.parametrize("link", ["folder", "file"])
def test_an_index_that_is_a_link_is_left_alone(folder: Path, tmp_path: Path, link: str) -> None:
    theirs = tmp_path / "theirs" / refresh.FILE
    theirs.parent.mkdir()
    connection = sqlite3.connect(theirs)
    connection.execute("CREATE TABLE precious (x)")
    if link == "folder":
        (folder / refresh.FOLDER).symlink_to(theirs.parent)
    else:
        (folder / refresh.FOLDER).mkdir()
        (folder / refresh.FOLDER / refresh.FILE).symlink_to(theirs)
    library = Library(folder)
    assert library.search().total == 3 and str(tmp_path / "cache") in library.index_note
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]
    connection.close()
    library.close()


def test_a_read_only_index_is_not_used(folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.close()
    connect = sqlite3.connect

    def read_only(file: Path, **options: Any) -> sqlite3.Connection:
        mine = str(folder) in str(file)
        return connect(f"file:{file}?mode=ro" if mine else file, uri=mine, **options)

    monkeypatch.setattr(index.sqlite3, "connect", read_only)
    elsewhere = Library(folder)
    assert "cannot be written" in elsewhere.index_note and elsewhere.search().total == 3
    elsewhere.close()


def test_a_disk_that_gets_full_has_its_index_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = index.Index.put

    def full(self: index.Index, *given: Any) -> None:
        if str(folder) in str(self.file):
            raise sqlite3.OperationalError("database or disk is full")
        put(self, *given)

    monkeypatch.setattr(index.Index, "put", full)
    library = Library(folder)
    assert library.index_note and library.clean(max_bytes=0).remove().pictures
    library.close()


@pytest.mark.parametrize("name", ["typo", "p/boat-1.png"])
def test_a_folder_that_is_none_is_refused_and_not_made(folder: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="is not a folder"):
        Library(folder.parent / name)
    assert not (folder.parent / "typo").exists()


def test_a_folder_is_read_again_while_its_time_may_not_yet_differ(folder: Path, library: Library) -> None:
    """FAT counts in two seconds: what comes in the same two seconds must be seen."""
    when = scan._now_ns() // 2_000_000_000 * 2_000_000_000
    os.utime(folder, ns=(when, when))
    assert library.search().total == 3
    save(folder / "new.png")
    os.utime(folder, ns=(when, when))
    assert library.search().total == 4
