"""The cell store: pictures on disk, keyed by everything that they depend on, so that none is made twice.

A cell is `grids/cells/ab/abcd….png` in the outputs folder, a picture with its recipe like any other; beside it are a
JPEG thumbnail, and its marks as beside every picture of the library. Nothing else is kept: a deleted file is made
again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

from ..engine.preflight import Checked
from ..errors import BadRequest, CannotWrite, ModelMissing, NoRecipe
from ..files import content_digest, write_whole
from ..library import marks
from ..library.store import outputs_dir
from ..models.directories import fingerprint
from ..models.loras import lora_file
from ..recipe import asset
from ..recipe.artifact import Artifact, Trace, read, read_recipe
from ..recipe.identity import digest, identity, key, stage_identity
from ..recipe.request import Request
from ..stages.extensions import build_stages
from ..stages.stage import Stage
from .jpeg import small_jpeg

LARGEST_RATING = marks.MOST_STARS
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

Fingerprints = Mapping[str, str]
"""Fingerprints of models that are only on other machines, by name, as their workers report them."""


def cell_key(checked: Checked, remote: Fingerprints) -> str:
    """What a cell's picture depends on, as 40 hexadecimal digits.

    SHA-256 of the resolved request, the fingerprint of the model's files, that of each LoRA's file, and each stage's
    version with the state of the files that it names.
    """
    return key_of(checked.request, model_fingerprint(checked, remote), lora_fingerprints(checked))


_known: ContextVar[dict[Path, str] | None] = ContextVar("known", default=None)


@contextmanager
def models_read_once() -> Iterator[None]:
    """Meanwhile the files of each model are looked at once: of many cells, each would look through all of them."""
    token = _known.set(_known.get() or {})
    try:
        yield
    finally:
        _known.reset(token)


def model_fingerprint(checked: Checked, remote: Fingerprints) -> str:
    """What identifies the files of a request's model; empty if unknown."""
    folder, known = checked.directory, _known.get()
    if folder is None:
        return remote.get(checked.spec.name, "")
    if known is None:
        return fingerprint(folder)
    if folder not in known:
        known[folder] = fingerprint(folder)
    return known[folder]


def lora_fingerprints(checked: Checked) -> list[str]:
    """What identifies the files of a request's LoRAs, as far as they are on this disk."""
    if checked.directory is None:
        return [str(lora.path) for lora in checked.request.loras]
    return [content_digest(lora_file(lora, checked.spec)) for lora in checked.request.loras]


def key_of(request: Request, model: str, loras: list[str]) -> str:
    """The key of a resolved request, of the model's fingerprint and those of its LoRAs."""
    found = identity(request, (), model=model or str(request.model), loras=loras)
    for number, stage in enumerate(build_stages(request.stages), 1):
        found |= _stage_identity(number, stage, request)
    return key(found)


def _stage_identity(number: int, stage: Stage, request: Request) -> dict[str, str]:
    try:
        return stage_identity(number, stage, request)
    except ModelMissing:  # it draws with a model that lies elsewhere, whose files its worker checks
        return {f"stage {number} {stage.kind}": digest(stage.data().fields()), "version": str(stage.version)}


def is_key(text: object) -> bool:
    """Whether this is a key, or empty for none yet: a file that came from somebody must not name other files."""
    return isinstance(text, str) and (not text or re.fullmatch(r"[0-9a-f]{40}", text) is not None)


@dataclass(frozen=True)
class Mark:
    """A picture's rating from 1 to 5 (0: none), and whether it was picked as the winner."""

    rating: int = 0
    winner: bool = False


class CellStore:
    """Cells on disk. Several processes may share a folder: files are written atomically."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or outputs_dir() / "grids" / "cells").absolute()

    def path(self, key: str) -> Path:
        """Path of a cell's picture, existing or not."""
        return self.folder / key[:2] / f"{key}.png"

    def has(self, key: str) -> bool:
        """Whether the picture exists and is complete: a truncated PNG lacks its last chunk."""
        try:
            with self.path(key).open("rb") as file:
                file.seek(-len(_PNG_END), os.SEEK_END)
                return file.read() == _PNG_END
        except OSError:
            return False

    def readable(self, key: str) -> bool:
        """Whether the picture exists and its recipe can be read; slower than `has`."""
        return self.has(key) and self.recipe(key) is not None

    def write(self, key: str, artifact: Artifact) -> int:
        """Store a picture; returns its bytes on disk. Raises CannotWrite.

        A picture from the session's cache has no timings: it does not replace a stored one, which has them.
        """
        path, small, whole = self.path(key), small_jpeg(artifact.image), artifact.png_bytes()
        asset.keep_all(artifact.request)
        write_whole(path.with_suffix(".jpg"), small)
        try:  # last: its presence means complete
            write_whole(path, whole, replace=not artifact.trace.cached)
        except FileExistsError:
            if not self.has(key):  # the stored one is truncated
                write_whole(path, whole)
        artifact.path = path
        return len(small) + len(whole)

    def forget(self, key: str) -> None:
        """Delete a picture, so that it is made again; its rating stays."""
        for suffix in (".png", ".jpg"):
            self.path(key).with_suffix(suffix).unlink(missing_ok=True)

    def read(self, key: str) -> Artifact | None:
        """The picture; None if it is missing or unreadable."""
        try:
            return read(self.path(key))
        except NoRecipe:
            return None

    def recipe(self, key: str) -> tuple[Request, Trace, tuple[int, int]] | None:
        """Request, trace and size in pixels, without decoding the picture; None as for `read`."""
        try:
            return read_recipe(self.path(key))
        except NoRecipe:
            return None

    def thumb(self, key: str) -> bytes | None:
        """A JPEG of at most `THUMBNAIL_SIDE` pixels a side; made again where it is missing. None as for `read`."""
        path = self.path(key).with_suffix(".jpg")
        try:
            return path.read_bytes()
        except OSError:
            artifact = self.read(key)
            if artifact is None:
                return None
            small = small_jpeg(artifact.image)
            with suppress(CannotWrite):  # a read-only folder
                write_whole(path, small)
            return small

    def mark(self, key: str) -> Mark:
        """A picture's rating and winner flag."""
        found = marks.read(self.path(key))
        return Mark(found.stars, found.winner)

    def set_mark(self, key: str, mark: Mark) -> None:
        """Set a picture's rating and winner flag. Raises BadRequest and CannotWrite."""
        if not isinstance(mark.rating, int) or not 0 <= mark.rating <= LARGEST_RATING:
            raise BadRequest(f"rating={mark.rating!r}", expected=f"1 to {LARGEST_RATING}, or 0 for none")
        marks.change(self.path(key), lambda old: replace(old, stars=mark.rating, winner=mark.winner))
