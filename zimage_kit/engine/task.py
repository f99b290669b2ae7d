"""Task: what crosses the wall to an engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..models.loras import knowing as knowing_loras
from ..models.spec import ModelSpec
from ..models.spec import knowing as knowing_models
from ..recipe.artifact import Trace
from ..recipe.request import Request
from ..stages.discovery import looking_in
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
    on without whoever asked for it. `roots`, `files` and `models` are the client's folders of extensions, the files
    behind names of LoRAs, and registered models; None and empty: as in this process.
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
    roots: tuple[Path, ...] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    models: tuple[ModelSpec, ...] = ()

    @contextmanager
    def as_its_client(self) -> Iterator[None]:
        """Meanwhile extensions, LoRAs and models are found as the client finds them that asked."""
        with looking_in(self.roots), knowing_loras(self.files), knowing_models(self.models):
            yield
