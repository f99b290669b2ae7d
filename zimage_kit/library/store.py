"""The outputs folder: where pictures are saved, and their names."""

from __future__ import annotations

import os
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import OUTPUTS, expanded

if TYPE_CHECKING:
    from ..recipe.artifact import Artifact

_SLUG_LETTERS = 40


def outputs_dir() -> Path:
    """The folder for pictures: $ZIMAGE_OUTPUTS, else ~/zimage/outputs. Does not create it."""
    return expanded(Path(os.environ.get("ZIMAGE_OUTPUTS") or OUTPUTS))


def path_for(artifact: Artifact, folder: Path | None = None) -> Path:
    """A free path for this picture: `YYYY-MM-DD/HHMMSS-seed-slug.png`, local time, in `folder` (or the outputs folder).

    A number is added to the slug if the name is taken.
    """
    made = datetime.fromisoformat(artifact.trace.created).astimezone()
    seed = "x" if artifact.request.seed is None else str(artifact.request.seed)
    slug = slug_of(artifact.request.prompt) or "picture"
    folder = (folder or outputs_dir()) / made.strftime("%Y-%m-%d")
    stem = f"{made.strftime('%H%M%S')}-{seed}-{slug}"
    path, number = folder / f"{stem}.png", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.png", number + 1
    return path


def slug_of(text: str) -> str:
    """Up to 40 characters of `text` for a file name: letters and digits of any script, with hyphens between words."""
    kept = [c if unicodedata.category(c)[0] in "LNM" else " " for c in unicodedata.normalize("NFC", text).lower()]
    words = "".join(kept).split()
    slug = "-".join(words)
    if len(slug) > _SLUG_LETTERS:
        cut = slug[: _SLUG_LETTERS + 1]
        slug = cut.rpartition("-")[0] if "-" in cut else cut[:_SLUG_LETTERS]
    return slug.encode()[:150].decode(errors="ignore").strip("-")
