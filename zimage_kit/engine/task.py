"""Task: what a session gives to an engine."""

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
from ..recipe.asset import knowing as knowing_assets
from ..recipe.request import Request
from ..stages.discovery import looking_in
from .preflight import Checked

if TYPE_CHECKING:
    from PIL import Image

Priority = Literal["interactive", "batch"]
"""Interactive goes before batch; within each, the submitting programs take turns."""


@dataclass(frozen=True)
class Task:
    """What a session gives to an engine. Has either `checked` (draw a picture) or `picture` and `trace` (stages only).

    `request` is the recipe of the outcome; the first `done` of its stages are in `picture` already. `fresh` bypasses
    the cache. `keep`: the engine saves the picture in `folder` (None: its own outputs folder), and a shared session
    goes on with the job when its client ends. `roots`, `files`, `assets` and `models` are the client's extension
    folders, files of LoRAs by name, inputs by digest, and registered models; None and empty: as in this process.
    `look`: end after so many steps and give what the model then expects the picture to be, as a preview.
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
    look: int = 0
    roots: tuple[Path, ...] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    assets: Mapping[str, Path] = field(default_factory=dict)
    models: tuple[ModelSpec, ...] = ()

    @contextmanager
    def as_its_client(self) -> Iterator[None]:
        """Context manager: inside, extensions, LoRAs and models are found as on the client."""
        files = knowing_loras(self.files), knowing_assets(self.assets)
        with looking_in(self.roots), files[0], files[1], knowing_models(self.models):
            yield
