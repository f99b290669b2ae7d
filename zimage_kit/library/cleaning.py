"""Cleaning: which pictures are old or too many, said before anything is removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ..errors import BadRequest
from ..text.units import counted, gigabytes
from . import marks
from .times import ago
from .trash import Removal

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

    def remove(self) -> Removal:
        """Move them to the trash, from which `library.restore()` brings them back for 30 days.

        What got stars, tags or a win since the plan was made stays.
        """
        left = [each for each in self.pictures if not self.keep_starred or marks.read(each.path) == marks.Marks()]
        return self.library.remove(left)

    def __str__(self) -> str:
        first = f", made {self.pictures[0].made:%Y-%m-%d} to {self.pictures[-1].made:%Y-%m-%d}" if self.pictures else ""
        kept = f"; {self.kept} with stars, tags or a win are kept" if self.kept else ""
        return (
            f"{counted(len(self.pictures), 'picture')}, {gigabytes(self.bytes)}{first}, would be removed; "
            f"{self.staying}, {gigabytes(self.staying_bytes)}, stay{kept}"
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
    return Cleaning(library, tuple(gone), every.bytes - size, len(every) - len(gone), size, kept, keep_starred)
