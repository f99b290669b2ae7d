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

from ..artifact import Trace
from ..errors import CannotWrite
from ..request import Request
from ..store import write_whole
from ..units import duration, gigabytes

_KEPT, _BYTES_PER_PIXEL = 15, 1.6
"""Measurements of one kind; and a PNG's bytes a pixel where none of the kind has been written yet."""


@dataclass(frozen=True)
class Estimate:
    """What a grid will cost: cells in all, those to be made, how many drawings these take, seconds, bytes on the disk.

    `seconds` None: nothing like it has been measured here yet.
    """

    cells: int
    new: int
    drawings: int
    seconds: float | None
    bytes: int

    def __str__(self) -> str:
        cells = f"{self.cells} cell{'s' * (self.cells != 1)}"
        if not self.new:
            return f"{cells}, all there already"
        new = "all new" if self.new == self.cells else f"{self.new} new"
        less = f" from {self.drawings} drawings" if self.drawings < self.new else ""
        time = "time not known yet" if self.seconds is None else f"about {duration(self.seconds)}"
        size = gigabytes(self.bytes) if self.bytes >= 1e6 else f"{self.bytes / 1e3:.0f} kB"
        return f"{cells}, {new}{less}: {time}, {size}"


def kind_of(request: Request, model: str) -> str:
    """What the time of a picture depends on: model, size, steps, guidance and stages."""
    stages = "+".join(stage.kind for stage in request.stages)
    twice = "cfg" if request.guidance else ""
    return f"{model}|{request.width}x{request.height}|{request.steps}|{twice}|{stages}"


class Pace:
    """Measurements by kind. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._kinds: dict[str, list[list[float]]] = {}
        try:
            data = json.loads(path.read_bytes())
            self._kinds = {str(kind): [[float(a), float(b)] for a, b in each] for kind, each in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # a cache: what cannot be read is learnt anew

    def learn(self, request: Request, trace: Trace, size: int) -> None:
        """A picture was made: remember its seconds, without loading, and the bytes of its file."""
        took = trace.milliseconds
        if trace.cached or "total" not in took:
            return
        seconds = (took["total"] - took.get("import", 0.0) - took.get("load", 0.0)) / 1000
        with self._lock:
            kind = self._kinds.setdefault(kind_of(request, trace.fingerprint), [])
            kind.append([round(seconds, 4), size])
            del kind[:-_KEPT]

    def save(self) -> None:
        """Write it down; a disk that takes nothing more has been complained about by then."""
        with self._lock:
            content = json.dumps(self._kinds).encode()
        try:
            write_whole(self._path, content)
        except CannotWrite:
            return

    def estimate(self, cells: int, new: Sequence[tuple[Request, str]], drawings: int, workers: int) -> Estimate:
        """For requests with the fingerprints of their models, spread over so many workers."""
        found = [self._of(request, model) for request, model in new]
        seconds = [each[0] for each in found if each[0] is not None]
        known = len(seconds) == len(found)
        whole = sum(seconds) * (drawings / len(new) if new and drawings < len(new) else 1.0)
        size = int(sum(each[1] for each in found))
        return Estimate(cells, len(new), drawings, whole / max(1, workers) if known else None, size)

    def _of(self, request: Request, model: str) -> tuple[float | None, float]:
        """Seconds (None: unknown) and bytes of a picture: of its own kind, else of the nearest one by its work."""
        own = self._kinds.get(kind_of(request, model))
        if own:
            return median(row[0] for row in own), median(row[1] for row in own)
        pixels = (request.width or 0) * (request.height or 0)
        work = pixels * (request.steps or 1)
        near = [(abs(_work(kind) - work), kind) for kind in self._kinds if kind.startswith(f"{model}|")]
        if not near:
            return None, pixels * _BYTES_PER_PIXEL
        kind = min(near)[1]
        rows = self._kinds[kind]
        share = work / max(1, _work(kind))
        return median(row[0] for row in rows) * share, pixels * _BYTES_PER_PIXEL


def _work(kind: str) -> int:
    """Pixels times steps of a kind."""
    _, size, steps, *_ = kind.split("|")
    width, height = size.split("x")
    return int(width) * int(height) * int(steps)
