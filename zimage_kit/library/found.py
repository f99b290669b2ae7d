"""What a search of the library gives: pictures as the index knows them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, overload

from ..recipe.artifact import Artifact, read_any
from ..text.tables import table
from ..text.units import counted, gigabytes
from . import scan
from .marks import Marks


@dataclass(frozen=True)
class Picture:
    """One picture of a library, as the index knows it; `open()` reads the file.

    `name` is relative to the library. Sides in pixels, `seed` None where there is none. `loras` are names without
    endings.
    """

    path: Path
    name: str
    made: datetime
    bytes: int
    width: int
    height: int
    prompt: str
    negative_prompt: str
    model: str
    seed: int | None
    stages: tuple[str, ...]
    loras: tuple[str, ...]
    marks: Marks

    @property
    def stars(self) -> int:
        """0 (none) to 5."""
        return self.marks.stars

    @property
    def tags(self) -> tuple[str, ...]:
        """In the order in which they were given."""
        return self.marks.tags

    @property
    def cell(self) -> bool:
        """Whether it is a cell of a grid."""
        return scan.is_cell(self.name)

    def open(self) -> Artifact:
        """The picture with its recipe. Raises NoRecipe if the file cannot be read."""
        return read_any(self.path)

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        found = {**vars(self), "path": str(self.path), "made": self.made.isoformat(timespec="seconds")}
        del found["marks"]
        return {**found, "stars": self.stars, "tags": list(self.tags), "winner": self.marks.winner, "cell": self.cell}


class Found(Sequence[Picture]):
    """What a search found, or a page of it; `total` and `bytes` count all of it. A notebook shows a table."""

    def __init__(self, pictures: Sequence[Picture], total: int, size: int) -> None:
        self._pictures, self.total, self.bytes = tuple(pictures), total, size

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Picture, ...]: ...
    def __getitem__(self, index: int | slice) -> Picture | tuple[Picture, ...]:
        return self._pictures[index]

    def __str__(self) -> str:
        return "\n".join([self._head, *("  ".join(map(str, _line(each))) for each in self)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._head)}</p>" + table(("picture", "made", "stars", "prompt"), map(_line, self))

    @property
    def _head(self) -> str:
        shown = "" if self.total == len(self) else f", {len(self)} of them here"
        return f"{counted(self.total, 'picture')}, {gigabytes(self.bytes)}{shown}"


def _line(picture: Picture) -> tuple[object, ...]:
    made = picture.made.strftime("%Y-%m-%d %H:%M")
    return picture.name, made, "★" * picture.stars, picture.prompt or f"({picture.width}x{picture.height})"
