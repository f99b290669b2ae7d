"""Pace: how long pictures took here and how large their files are, to say beforehand what a grid will cost.

A small file beside the cells. It can be thrown away; it then begins to learn anew.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ..errors import CannotWrite
from ..files import write_whole
from ..recipe.artifact import Trace
from ..recipe.request import Request
from ..text.units import duration, gigabytes

_KEPT, _BYTES_PER_PIXEL = 15, 1.7
"""Measurements of one kind; and a cell's bytes a pixel where none of the kind has been written yet."""
_DRAWING = ("encode", "denoise", "decode")


@dataclass(frozen=True)
class Estimate:
    """What a grid will cost: cells in all, those to be made, how many drawings these take, seconds, bytes on the disk.

    `seconds` None: nothing like it has been measured here yet. `at_least`: some of its stages have not been.
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
            return f"{cells}, all there already"
        new = "all new" if self.new == self.cells else f"{self.new} new"
        less = f" from {self.drawings} drawing{'s' * (self.drawings != 1)}" if self.drawings < self.new else ""
        time = (
            "time not known yet"
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
    """A picture to be made: its request, its model's fingerprint, and whether it is drawn or only finished."""

    request: Request
    model: str
    drawn: bool = True


@dataclass(frozen=True)
class _Measured:
    """Seconds of drawing and of finishing (stages; None: unknown), and the bytes on the disk."""

    drawing: float
    finishing: float | None
    bytes: float


class CostModel:
    """Measurements by kind. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._kinds: dict[str, list[_Measured]] = {}
        try:
            data = json.loads(path.read_bytes())
            self._kinds = {str(kind): [_Measured(*map(float, row)) for row in rows] for kind, rows in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # a cache: what cannot be read is learnt anew

    def record(self, request: Request, trace: Trace, size: int) -> None:
        """A picture was made: remember its seconds, without loading, and the bytes that it takes."""
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
        """Write it down; a disk that takes nothing more has been complained about by then."""
        with self._lock:
            rows = {kind: [list(vars(took).values()) for took in self._kinds[kind]] for kind in self._kinds}
        try:
            write_whole(self._path, json.dumps(rows).encode())
        except CannotWrite:
            return

    def estimate(self, cells: int, new: int, pictures: Sequence[PlannedPicture], workers: int) -> Estimate:
        """For the pictures to be made, those beneath others among them, spread over so many workers."""
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
        """What a picture of this kind takes, or the nearest one by its work, rather with the same stages."""
        wanted = kind_of(picture.request, picture.model)
        model, _, _, twice, stages = wanted.split("|")
        alike = [kind for kind in self._kinds if (parts := kind.split("|"))[0] == model and parts[3] == twice]
        same = [kind for kind in alike if kind.split("|")[4] == stages]
        near = same or alike  # the drawing is the same whatever stages come behind it
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


def _area(kind: str) -> int:
    """Pixels of a kind."""
    width, height = kind.split("|")[1].split("x")
    return int(width) * int(height)


def _work(kind: str) -> int:
    """Pixels times steps of a kind."""
    return _area(kind) * int(kind.split("|")[2])
