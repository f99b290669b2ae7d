"""Cleaning: which pictures are old or too many, and which inputs nothing uses, said before anything is removed."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from ..errors import BadRequest
from ..files import PICTURES
from ..recipe import asset, embedded, picture, presets
from ..text.units import counted, gigabytes
from . import marks
from .times import ago
from .trash import FOLDER as TRASH
from .trash import KEPT, Removal

if TYPE_CHECKING:
    from .found import Picture
    from .library import Library


@dataclass(frozen=True)
class Cleaning:
    """What a cleaning would remove, the oldest first, and what stays: pictures and bytes."""

    library: Library
    pictures: tuple[Picture, ...]
    bytes: int
    staying: int
    staying_bytes: int
    kept: int  # stars, tags and winners, that would have gone
    keep_starred: bool = True
    inputs: tuple[Path, ...] = ()  # that no picture uses, nor one in the trash, nor a preset

    def remove(self) -> Removal:
        """Move them to the trash, from which `library.restore()` brings them back for 30 days; delete unused inputs.

        What got stars, tags or a win since the plan was made stays, and an input that is used by now.
        """
        still = set(unused_inputs(self.library)) if self.inputs else set()
        for path in still.intersection(self.inputs):
            path.unlink(missing_ok=True)
        left = [each for each in self.pictures if not self.keep_starred or marks.read(each.path) == marks.Marks()]
        return self.library.remove(left)

    def __str__(self) -> str:
        first = f", made {self.pictures[0].made:%Y-%m-%d} to {self.pictures[-1].made:%Y-%m-%d}" if self.pictures else ""
        kept = f"; {self.kept} with stars, tags or a win are kept" if self.kept else ""
        size = sum(path.stat().st_size for path in self.inputs if path.is_file())
        inputs = f"; {counted(len(self.inputs), 'input')}, {gigabytes(size)}, that nothing uses too" if size else ""
        return (
            f"{counted(len(self.pictures), 'picture')}, {gigabytes(self.bytes)}{first}, would be removed; "
            f"{self.staying}, {gigabytes(self.staying_bytes)}, stay{kept}{inputs}"
        )


def plan(library: Library, older_than: str | timedelta | None, max_bytes: int | None, keep_starred: bool) -> Cleaning:
    """See `Library.clean`."""
    if older_than is None and max_bytes is None:
        raise BadRequest("nothing says what to clean", mend="Give older_than='7d' or a largest size, or both.")
    if max_bytes is not None and max_bytes < 0:
        raise BadRequest(f"max_bytes={max_bytes}", expected="0 or more")
    every = library.search(limit=None, oldest_first=True)
    before = None if older_than is None else ago(older_than)
    size, kept, gone = every.bytes, 0, []
    for each in every:
        if not ((before is not None and each.made < before) or (max_bytes is not None and size > max_bytes)):
            continue
        if keep_starred and (each.stars or each.tags or each.marks.winner):
            kept += 1
            continue
        size -= each.bytes
        gone.append(each)
    inputs = tuple(unused_inputs(library))
    return Cleaning(library, tuple(gone), every.bytes - size, len(every) - len(gone), size, kept, keep_starred, inputs)


def unused_inputs(library: Library) -> list[Path]:
    """Inputs of 30 days and more that no picture names, here or in the trash, and no preset and no grid's recipe.

    Younger ones may be of a picture that is still to be made. If a picture cannot be read, every input may be its own.
    """
    latest = (datetime.now() - KEPT).timestamp()
    old = [path for path in asset.folder_of(library.folder).glob("??/*") if _is_old(path, latest)]
    if not old:
        return []
    used: set[str] = set()
    folder = library.folder
    pictures = [folder / each.name for each in library.search(limit=None) if each.stages]
    pictures += [path for path in (folder / TRASH).rglob("*") if path.suffix.lower() in PICTURES]
    texts = [path for place in (presets.folder(), folder) for path in place.rglob("*.json") if path.is_file()]
    for path in pictures:
        try:
            with picture.opened(path) as file:
                for text in embedded.texts(file).values():
                    used.update(asset.IN_TEXT.findall(str(text)))
        except FileNotFoundError:
            continue
        except picture.UNREADABLE:
            return []
    for path in texts:
        with suppress(OSError):
            used.update(asset.IN_TEXT.findall(path.read_text("utf-8", "replace")))
    return [path for path in old if path.name[:64] not in used]


def _is_old(path: Path, latest: float) -> bool:
    stat = path.lstat()
    return S_ISREG(stat.st_mode) and stat.st_mtime < latest and re.fullmatch(r"[0-9a-f]{64}", path.stem) is not None
