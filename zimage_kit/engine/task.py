"""Task: what crosses the wall to an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..recipe.artifact import Trace
from ..recipe.request import Request
from .preflight import Checked

if TYPE_CHECKING:
    from PIL import Image

Priority = Literal["interactive", "batch"]
"""interactive goes before batch; within each, owners take turns."""


@dataclass(frozen=True)
class Task:
    """What crosses the wall to an engine. Either `checked` (make a picture) or `picture` with `trace` (stages only).

    `request` is the recipe of the outcome; of its stages, the first `done` are in `picture` already. `fresh` goes
    around the cache. `keep`: it is saved by the engine, in `folder` (None: the engine's own outputs folder), and lives
    on without whoever asked for it.
    """

    id: str
    request: Request
    checked: Checked | None = None
    picture: Image.Image | None = None
    trace: Trace = field(default_factory=Trace)
    done: int = 0
    fresh: bool = False
    keep: bool = False
    priority: Priority = "interactive"
    folder: Path | None = None
