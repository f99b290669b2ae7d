"""What is in a folder of pictures, and what one of them says: the facts that the index keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ZImageError
from ..files import PICTURES
from ..recipe import asset, embedded, picture, png, programs
from ..recipe.artifact import recipe_in
from . import marks

if TYPE_CHECKING:
    from ..recipe.artifact import Trace
    from ..recipe.request import Request

CELLS = ("grids", "cells")
"""Where a library keeps the pictures of grids, each with a small JPEG beside it."""


@dataclass(frozen=True)
class Stamp:
    """Of a file and its sidecar: bytes, and when they were changed (nanoseconds; 0: there is no sidecar)."""

    bytes: int
    changed: int
    marked: int = 0


@dataclass(frozen=True)
class Facts:
    """One picture, as the index keeps it. `made`: seconds since 1970. Fields of a picture without recipe are empty."""

    made: float
    width: int = 0
    height: int = 0
    prompt: str = ""
    negative: str = ""
    model: str = ""
    seed: str = ""
    stages: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    marks: marks.Marks = field(default_factory=marks.Marks)
    problem: str = ""


@dataclass(frozen=True)
class Folder:
    """What is directly in a folder: pictures with their stamps, and folders."""

    pictures: dict[str, Stamp]
    folders: tuple[str, ...]


def is_cell(name: str) -> bool:
    """Whether a picture, by its name relative to the library, is a cell of a grid."""
    return Path(name).parts[:2] == CELLS


def is_picture(name: str) -> bool:
    """Whether a file of this name is shown: it is a picture, not hidden, not the small one of a cell, and no input."""
    path = Path(name)
    if path.parts[0] == asset.FOLDER and len(path.parts) > 1:
        return False
    endings = (".png",) if is_cell(name) else PICTURES
    return path.suffix.lower() in endings and not any(part.startswith(".") for part in path.parts)


def folder(root: Path, name: str) -> Folder:
    """A folder of the library, by its name relative to `root` ("" is itself). Links are left out, as are hidden names.

    So are the inputs that recipes name, in `assets`: they are no pictures that were made. Raises OSError.
    """
    pictures: dict[str, Stamp] = {}
    folders, sidecars = [], {}
    with os.scandir(root / name) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink() or not _encodable(entry.name):
                continue
            inside = f"{name}/{entry.name}" if name else entry.name
            if inside == asset.FOLDER:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(inside)
                continue
            ending = entry.name[entry.name.rfind(".") :].lower()  # many files: a Path for each takes as long as looking
            if ending in (*PICTURES, marks.SUFFIX, marks.OLD):
                try:
                    stat = entry.stat(follow_symlinks=False)
                except OSError:  # removed meanwhile; the rest of the folder is there
                    continue
                if ending in PICTURES:
                    pictures[inside] = Stamp(stat.st_size, when_changed(stat))
                else:
                    sidecars[inside] = when_changed(stat)
    if is_cell(name + "/x"):
        pictures = {each: stamp for each, stamp in pictures.items() if each.endswith(".png")}  # the rest are thumbnails
    for each, stamp in pictures.items() if sidecars else ():
        old = sidecars.get(f"{each.rpartition('.')[0]}{marks.OLD}", 0)
        pictures[each] = Stamp(stamp.bytes, stamp.changed, sidecars.get(each + marks.SUFFIX, old))
    return Folder(pictures, tuple(sorted(folders)))


def _encodable(name: str) -> bool:
    """Whether a name is text; a file system may hold any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def walk(root: Path) -> Iterator[tuple[str, int, Folder]]:
    """Every folder of the library, with its time of change (see `changed`). One that cannot be read is left out."""
    waiting = [""]
    while waiting:
        name = waiting.pop()
        when = changed(root / name)
        try:
            found = folder(root, name)
        except OSError:
            continue
        yield name, when, found
        waiting += found.folders


def when_changed(stat: os.stat_result) -> int:
    """Nanoseconds since 1970, at most what SQLite holds: the year 2262."""
    return min(stat.st_mtime_ns, (1 << 63) - 1)


_SETTLED_NS = 2_500_000_000  # FAT and exFAT count in two seconds


def changed(path: Path) -> int:
    """When a folder's content changed, in nanoseconds; 0 if a moment ago, since more may come in the same tick."""
    try:
        when = when_changed(path.stat())
    except OSError:
        return 0
    return 0 if abs(_now_ns() - when) < _SETTLED_NS else when


def _now_ns() -> int:
    return int(datetime.now().timestamp() * 1e9)


_EARLIEST, _LATEST = -62_000_000_000.0, 253_000_000_000.0
"""Seconds since 1970 that are a date in every time zone: of the years 5 to 9987."""


def facts(path: Path, stamp: Stamp) -> Facts:
    """What a picture's file says; nothing is decoded. Of one that cannot be read, why."""
    own = marks.read(path) if stamp.marked else marks.Marks()
    when = min(max(stamp.changed / 1e9, _EARLIEST), _LATEST)
    try:
        with picture.opened(path) as file:
            size, texts = file.size, embedded.texts(file)
    except picture.UNREADABLE as error:
        return Facts(when, marks=own, problem=" ".join(str(error).split())[:200] or type(error).__name__)
    if png.GRID in texts:
        return Facts(when, *size, marks=own, problem="a contact sheet")
    try:
        if png.RECIPE in texts:
            return of_recipe(*recipe_in(path, texts[png.RECIPE]), size, own, when)
        foreign = programs.read_foreign(texts)
    except (ZImageError, ValueError, ArithmeticError, RecursionError) as error:
        return Facts(when, *size, marks=own, problem=str(error)[:200])
    return Facts(when, *size, marks=own) if foreign is None else _of_request(foreign[0], when, size, own)


def of_recipe(request: Request, trace: Trace, size: tuple[int, int], own: marks.Marks, when: float) -> Facts:
    """The facts of a picture of which all is known; `when` is taken where the recipe has no readable date."""
    try:
        made = datetime.fromisoformat(trace.created).timestamp()
    except (ValueError, OverflowError):
        made = when
    when = made if _EARLIEST < made < _LATEST else when
    return _of_request(request, when, size, own)


def _of_request(request: Request, when: float, size: tuple[int, int], own: marks.Marks) -> Facts:
    return Facts(
        made=when,
        width=size[0],
        height=size[1],
        prompt=request.prompt,
        negative=request.negative_prompt,
        model=request.model or "",
        seed="" if request.seed is None else str(request.seed),
        stages=tuple(stage.kind for stage in request.stages),
        loras=tuple(Path(str(lora.path)).stem for lora in request.loras),
        marks=own,
    )
