"""Estimates: time and disk space of a grid, from what pictures took and weighed on this machine before.

The measurements are a small file beside the cells. It is a cache and can be deleted.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ..errors import CannotWrite
from ..files import parsed_json, write_whole
from ..recipe.artifact import Trace
from ..recipe.request import Request
from ..text.units import duration, gigabytes

_KEPT, _BYTES_PER_PIXEL = 15, 1.7
"""Measurements of one kind; and a cell's bytes a pixel where none of the kind has been written yet."""
_KIND = re.compile(r"[^|]*\|\d{1,9}x\d{1,9}\|\d{1,9}\|[^|]*\|[^|]*", re.ASCII)
"""What `kind_of` writes; its file may hold anything."""
_MOST = 1e15
_DRAWING = ("encode", "denoise", "decode")


@dataclass(frozen=True)
class Estimate:
    """Cost of a grid: all cells, new cells, denoising runs that these take, seconds, bytes on disk.

    `seconds` is None if nothing comparable has been measured; `at_least`: some of its stages have not been.
    """

    cells: int
    new: int
    drawings: int
    seconds: float | None
    bytes: int
    at_least: bool = False

    def __str__(self) -> str:
        cells = f"{self.cells} cell{'s' * (self.cells != 1)}"
        if not self.new:
            return f"{cells}, all made already"
        new = "all new" if self.new == self.cells else f"{self.new} new"
        less = f" from {self.drawings} drawing{'s' * (self.drawings != 1)}" if self.drawings < self.new else ""
        time = (
            "time unknown"
            if self.seconds is None
            else f"{'at least' if self.at_least else 'about'} {duration(self.seconds)}"
        )
        size = gigabytes(self.bytes) if self.bytes >= 1e6 else f"{self.bytes / 1e3:.0f} kB"
        return f"{cells}, {new}{less}: {time}, {size}"


def kind_of(request: Request, model: str) -> str:
    """What the time of a picture depends on: model, size, steps, guidance and stages."""
    stages = "+".join(stage.kind for stage in request.stages)
    twice = "cfg" if request.guidance else ""
    return f"{model}|{request.width}x{request.height}|{request.steps}|{twice}|{stages}"


@dataclass(frozen=True)
class PlannedPicture:
    """A picture to be made: its request, its model's fingerprint, and whether it is denoised or only finished."""

    request: Request
    model: str
    drawn: bool = True


@dataclass(frozen=True)
class _Measured:
    """Seconds of drawing and of stages (None: unknown), and bytes on disk."""

    drawing: float
    finishing: float | None
    bytes: float


class CostModel:
    """Measurements by kind. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._kinds: dict[str, list[_Measured]] = {}
        try:
            data = parsed_json(path.read_bytes())
            read = {kind: [_Measured(*map(float, row)) for row in rows[-_KEPT:]] for kind, rows in data.items()}
            self._kinds = {kind: rows for kind, rows in read.items() if _KIND.fullmatch(kind) and _sensible(rows)}
        except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError):
            pass  # a cache: measured again

    def record(self, request: Request, trace: Trace, size: int) -> None:
        """Add a picture's seconds, without loading, and its bytes on disk. Cached pictures are ignored."""
        took = trace.milliseconds
        if trace.cached or "total" not in took:
            return
        drawing = sum(took.get(part, 0.0) for part in _DRAWING)
        finishing = took["total"] - took.get("import", 0.0) - took.get("load", 0.0) - drawing
        with self._lock:
            kind = self._kinds.setdefault(kind_of(request, trace.fingerprint), [])
            kind.append(_Measured(drawing / 1000, max(0.0, finishing / 1000), size))
            del kind[:-_KEPT]

    def save(self) -> None:
        """Write the measurements. A full disk is ignored here: storing the pictures reports it."""
        with self._lock:
            rows = {kind: [list(vars(took).values()) for took in self._kinds[kind]] for kind in self._kinds}
        try:
            write_whole(self._path, json.dumps(rows).encode())
        except CannotWrite:
            return

    def estimate(self, cells: int, new: int, pictures: Sequence[PlannedPicture], workers: int) -> Estimate:
        """Cost of these pictures, base pictures included, spread over `workers`."""
        found = [(each, self._of(each)) for each in pictures]
        known = [
            (took.drawing if each.drawn else 0.0) + (took.finishing or 0.0) for each, took in found if took is not None
        ]
        seconds = sum(known) / max(1, workers) if len(known) == len(found) else None
        pixels = [(each.request.width or 0) * (each.request.height or 0) for each, _ in found]
        size = [
            count * _BYTES_PER_PIXEL if took is None else took.bytes
            for (_, took), count in zip(found, pixels, strict=True)
        ]
        unknown = any(took is not None and took.finishing is None for _, took in found)
        return Estimate(cells, new, sum(each.drawn for each in pictures), seconds, int(sum(size)), unknown)

    def _of(self, picture: PlannedPicture) -> _Measured | None:
        """Median of this kind, else scaled from the nearest kind by pixels x steps, preferably with the same stages."""
        wanted = kind_of(picture.request, picture.model)
        model, _, _, twice, stages = wanted.split("|")
        alike = [kind for kind in self._kinds if (parts := kind.split("|"))[0] == model and parts[3] == twice]
        same = [kind for kind in alike if kind.split("|")[4] == stages]
        near = same or alike  # drawing takes the same whatever stages follow
        if not near:
            return None
        kind = min(near, key=lambda kind: abs(_work(kind) - _work(wanted)))
        work, area = _work(wanted) / max(1, _work(kind)), _area(wanted) / max(1, _area(kind))
        rows = self._kinds[kind]
        return _Measured(
            median(row.drawing for row in rows) * work,
            median(row.finishing or 0.0 for row in rows) * area if same else None,
            median(row.bytes for row in rows) * area,
        )


def _sensible(rows: Sequence[_Measured]) -> bool:
    """Whether these are measurements: some, and none of them endless or no number."""
    return bool(rows) and all(0 <= (value or 0.0) <= _MOST for row in rows for value in vars(row).values())


def _area(kind: str) -> int:
    """Pixels of a kind."""
    width, height = kind.split("|")[1].split("x")
    return int(width) * int(height)


def _work(kind: str) -> int:
    """Pixels times steps of a kind."""
    return _area(kind) * int(kind.split("|")[2])
