"""The index kept in step with its folder: where it is, and what has come, changed or gone."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ..files import make_folder
from . import scan
from .index import Index

FOLDER, FILE = ".zimage", "library.sqlite"
BATCH = 500
"""Pictures that are written to the index at once, so that another process never waits long."""
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Changes:
    """What a refresh found: how many pictures are new, changed, or gone."""

    added: int = 0
    changed: int = 0
    gone: int = 0


def refresh(root: Path, index: Index, on_progress: OnProgress | None = None, *, quick: bool = False) -> Changes:
    """Bring an index in step with its folder. `quick` looks only into folders in which files came or went.

    What another process writes meanwhile stays: the index is asked before the folder.
    """
    found: dict[str, scan.Stamp] = {}
    folders: dict[str, int | None] = {}
    if quick and not index.made_anew:
        known = _changed(root, index, found, folders)
    else:
        known = index.stamps()
        for name, when, content in scan.walk(root):
            found |= content.pictures
            folders[name] = when
        folders |= {name: None for name in index.folders() if name not in folders}
    fresh = [name for name, stamp in found.items() if known.get(name) != stamp]
    gone = [name for name in known if name not in found]
    for start in range(0, len(fresh), BATCH):
        batch = fresh[start : start + BATCH]
        index.put([(name, found[name], scan.facts(root / name, found[name]), None) for name in batch])
        if on_progress is not None:
            on_progress(start + len(batch), len(fresh))
    if gone or folders:
        index.put((), gone, folders)
    index.made_anew = False
    added = sum(name not in known for name in fresh)
    return Changes(added, len(fresh) - added, len(gone))


def _changed(
    root: Path, index: Index, found: dict[str, scan.Stamp], folders: dict[str, int | None]
) -> dict[str, scan.Stamp]:
    """Fill in what is in the folders that have changed, and when they did; return what the index has of them."""
    known: dict[str, scan.Stamp] = {}
    seen = index.folders()
    waiting = list(seen) or [""]
    while waiting:
        name = waiting.pop()
        when = scan.changed(root / name)
        if name in folders or (when and seen.get(name) == when):
            continue
        known |= index.in_folder(name)
        try:
            content = scan.folder(root, name)
        except OSError:
            folders[name] = 0 if (root / name).is_dir() else None  # 0: it may be readable again
            continue
        folders[name] = when
        found |= content.pictures
        waiting += [each for each in content.folders if each not in seen]
    return known


def open_index(folder: Path, *, elsewhere: bool = False) -> tuple[Index, str]:
    """The index beside the pictures; where it cannot be, or with `elsewhere`, in the user's cache, else in memory."""
    key = hashlib.sha256(str(folder).encode("utf-8", "replace")).hexdigest()[:16]
    cache = Path(platformdirs.user_cache_dir("zimage", appauthor=False)) / "libraries" / f"{key}.sqlite"
    problem: Exception | None = None
    places = ((folder / FOLDER / FILE, ""), (cache, f"{folder} cannot be written; its index is {cache}"))
    for file, note in places[elsewhere:]:
        try:
            if file.is_symlink() or file.parent.is_symlink():
                raise OSError(f"{file} is a link")  # to a file of somebody's, which would be made anew
            make_folder(file.parent)
            return Index(file), note
        except (OSError, sqlite3.Error) as error:
            problem = error
    return Index(":memory:"), f"no index can be kept on this disk ({problem}), so it is made anew each time"
