"""Embedding: a grid's pictures as JPEGs inside a page, each once, within a total size."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import BadRequest
from .cell import Cell
from .jpeg import THUMBNAIL_SIDE, small_jpeg

_SMALLEST = 32  # pixels of a picture's longer side
_ONE_FOR_BOTH = 320  # pixels; up to here a picture is its own small one
_TOLD_EVERY = 16  # pictures between two reports of progress
_SAMPLE = 12  # pictures from which the bytes of all are estimated

OnPictures = Callable[[int, int], None]
"""Hears how many pictures are in a file by now, and how many it will have. Called from one thread."""
_Pair = tuple[str | None, str | None]


@dataclass(frozen=True)
class Embedded:
    """For each cell its small picture (base64, None without one) and the number of its large one (None: there is none).

    `percent`: how wide the large ones are, of what they were.
    """

    small: Sequence[str | None]
    large: Sequence[int | None]
    pictures: Sequence[str]
    percent: int

    @classmethod
    def none(cls, count: int) -> Embedded:
        """A page without pictures, of so many cells."""
        return cls([None] * count, [None] * count, (), 100)

    def scripts(self) -> Iterator[str]:
        """The large pictures as elements that a browser keeps as text until one is wanted."""
        for number, picture in enumerate(self.pictures):
            yield f'<script type="text/plain" id="large-{number}">{picture}</script>'


def embed(
    cells: Sequence[Cell], room: int, quality: int, max_bytes: int, on_pictures: OnPictures = lambda done, count: None
) -> Embedded:
    """The pictures of these cells in at most `room` bytes: as they are, or all scaled down alike.

    Raises BadRequest where even the smallest are too much (`max_bytes` is what the user said).
    """
    first = {cell.key: cell for cell in reversed(cells) if cell.state == "done"}  # two cells may share a picture
    ones = list(first.values())
    if not ones:
        if room < 0:
            raise BadRequest(f"max_bytes={max_bytes}: the page does not fit", expected=_millions(max_bytes - room))
        return Embedded.none(len(cells))
    side = longest = max(max(cell.size) for cell in ones)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

        def encoded(some: Sequence[Cell], side: int) -> list[_Pair]:
            return list(pool.map(lambda cell: _encoded(cell, side, quality), some))

        some = ones[:: max(1, math.ceil(len(ones) / _SAMPLE))]
        estimated = _bytes(encoded(some, side)) * len(ones) / len(some)
        while True:
            if estimated > room:
                side = min(side - 1, math.floor(side * math.sqrt(max(0.0, room) / estimated) * 0.97))
            if side < min(_SMALLEST, longest):
                least = max_bytes - room + round(estimated)
                raise BadRequest(
                    f"max_bytes={max_bytes}: {len(ones)} pictures do not fit, however small",
                    expected=_millions(least),
                )
            made = []
            for start in range(0, len(ones), _TOLD_EVERY):
                made += encoded(ones[start : start + _TOLD_EVERY], side)
                on_pictures(len(made), len(ones))
            estimated = _bytes(made)
            if estimated <= room:
                break
    found = dict(zip(first, made, strict=True))
    numbers: dict[str, int] = {}
    for key, (_, large) in found.items():
        if large is not None:
            numbers[key] = len(numbers)
    return Embedded(
        small=[found[cell.key][0] if cell.key in found else None for cell in cells],
        large=[numbers.get(cell.key) for cell in cells],
        pictures=[large for _, large in found.values() if large is not None],
        percent=100 if side >= longest else max(1, math.floor(100 * side / longest)),
    )


def _encoded(cell: Cell, side: int, quality: int) -> _Pair:
    """A picture's small and large one as base64, of which the first may do for both."""
    artifact = cell.artifact
    if artifact is None:
        return None, None
    if min(side, max(artifact.image.size)) <= _ONE_FOR_BOTH:
        return _base64(small_jpeg(artifact.image, side, quality)), None
    small = cell.thumb or small_jpeg(artifact.image, THUMBNAIL_SIDE)
    return _base64(small), _base64(small_jpeg(artifact.image, side, quality))


def _millions(count: int) -> str:
    return f"about {math.ceil(count / 1e6)}_000_000"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(made: Sequence[_Pair]) -> int:
    """Of all these, with the elements around them."""
    return sum(len(part) + 60 for pair in made for part in pair if part is not None)
