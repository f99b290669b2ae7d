"""What the panel has made: artifacts with the JPEGs that a page shows of them, and sentences about them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from PIL import Image

from ...library.store import outputs_dir
from ...recipe.artifact import Artifact, picture_digest
from ...recipe.picture import on_white
from ...recipe.request import Request
from ...recipe.templates import as_template
from ...text.line_breaks import clusters, shortened
from ..translations import Texts

TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
"""What a picture can be downloaded as, and the MIME types."""
THUMB, MOST = 168, 64
"""Pixels of a small picture's shorter side, and results kept in the strip: as many as can be asked for at once."""


class Result:
    """One picture of the panel. `number` counts from 1; `thumb` is a small JPEG."""

    def __init__(self, number: int, artifact: Artifact) -> None:
        self.number, self.artifact = number, artifact
        self.thumb = small_jpeg(on_white(artifact.image))

    @property
    def id(self) -> str:
        """What the page calls it by."""
        return f"r{self.number}"

    @property
    def name(self) -> str:
        """Its file's name in the library, relative to the outputs folder; empty while it is not saved there."""
        path, folder = self.artifact.path, outputs_dir().absolute()
        if path is None or not path.absolute().is_relative_to(folder):
            return ""
        return path.absolute().relative_to(folder).as_posix()

    def is_of(self, artifact: Artifact) -> bool:
        """Whether an artifact has this picture's recipe and pixels."""
        return self.artifact.request == artifact.request and self._digest == picture_digest(artifact.image)

    @cached_property
    def _digest(self) -> str:
        return picture_digest(self.artifact.image)

    @cached_property
    def jpeg(self) -> bytes:
        """The whole picture, quality 90."""
        return _jpeg(on_white(self.artifact.image), 90)

    def label(self) -> str:
        """In a few words: `3: a red boat, seed 7`."""
        request = self.artifact.request
        prompt = shortened(request.prompt, 40)
        seed = "" if request.seed is None else f", {request.seed}"
        return f"{self.number}: {prompt}{seed}"

    def file(self, format: str) -> tuple[str, bytes]:
        """The picture as a file of one of `TYPES`, with its recipe: a name, and the bytes."""
        path = self.artifact.path
        name = path.stem if path is not None else "".join(clusters(self.label().partition(": ")[2])[:40]) or "picture"
        return f"{name}.{format}", self.artifact.encoded(f".{format}")

    def caption(self, texts: Texts) -> str:
        """Under the picture: seed, size, time, where it was saved, what was chosen from a template."""
        artifact = self.artifact
        parts = [] if artifact.request.seed is None else [texts("viewer.seed", seed=artifact.request.seed)]
        parts.append(f"{artifact.image.width} x {artifact.image.height}")
        if took := artifact.trace.milliseconds.get("total"):
            parts.append(texts.duration(took / 1000))
        if artifact.path is not None:
            parts.append(artifact.path.name)
        if artifact.request.template:
            parts.append(texts("viewer.chosen", prompt=artifact.request.prompt, template=artifact.request.template))
        return " · ".join(parts)

    def about(self, texts: Texts, can: list[str]) -> dict[str, Any]:
        """What the viewer is told of the selected one."""
        request = self.artifact.request
        alt = texts("viewer.alt", prompt=request.prompt) if request.prompt else texts("viewer.alt_unknown")
        recipe = json.dumps(request.model_dump(mode="json"), ensure_ascii=False, indent=2)
        told = {
            "caption": self.caption(texts),
            "alt": alt,
            "recipe": recipe,
            "notes": [texts.said(note) for note in self.artifact.trace.notes],
            "staged": bool(request.stages),
        }
        return {"id": self.id, **told, "can": can}


def used(artifact: Artifact, how: str | None) -> Request:
    """The recipe as it goes into the form: "exactly" as it was, else what nobody gave is open; "open": its seed too.

    "template": with its templates in place of the prompts that were drawn.
    """
    if how == "template":
        return as_template(artifact.reopened())
    return artifact.request if how == "exactly" else artifact.reopened(seed=how != "open")


def small_jpeg(image: Image.Image) -> bytes:
    """A picture without transparency as a small JPEG, for the strip."""
    small = image.copy()
    small.thumbnail((THUMB * 2, THUMB), Image.Resampling.BILINEAR)
    return _jpeg(small, 80)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


class Results:
    """The latest `MOST` results, oldest first."""

    def __init__(self) -> None:
        self._all: dict[str, Result] = {}
        self._count = 0

    def add(self, artifact: Artifact) -> tuple[Result, list[str]]:
        """Take an artifact in; returns its result and the ids of those that had to go."""
        self._count += 1
        made = Result(self._count, artifact)
        self._all = {**self._all, made.id: made}
        gone = list(self._all)[:-MOST]
        for id_ in gone:
            del self._all[id_]
        return made, gone

    def remove(self, id_: str) -> Result | None:
        """Forget one; its file stays. Returns its neighbour: the next one, or the last."""
        ids = list(self._all)
        place = ids.index(id_)
        self._all = {key: value for key, value in self._all.items() if key != id_}
        left = list(self._all.values())
        return left[min(place, len(left) - 1)] if left else None

    def named(self, name: str) -> Result | None:
        """The result whose file has this name in the library."""
        return next((result for result in self if result.name == name), None)

    def same(self, artifact: Artifact) -> Result | None:
        """The result of the same recipe with the same pixels."""
        return next((each for each in self if each.is_of(artifact)), None)

    def get(self, id_: str) -> Result | None:
        """The result with this id."""
        return self._all.get(id_)

    def __iter__(self) -> Iterator[Result]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)


def flat_recipe(request: Request) -> dict[str, Any]:
    """A recipe without lists: stages and LoRAs by name, and the fields of each stage by `kind.field`."""
    flat = request.model_dump(mode="json", exclude={"version", "stages", "loras"})
    flat["loras"] = ", ".join(f"{lora.path.name} {lora.weight:g}" for lora in request.loras)
    flat["stages"] = " + ".join(stage.kind for stage in request.stages)
    seen: list[str] = []
    for stage in request.stages:
        seen.append(stage.kind)
        nth = seen.count(stage.kind)
        title = stage.kind if nth == 1 else f"{stage.kind} {nth}"
        flat |= {f"{title}.{name}": value for name, value in stage.fields().items()}
    return flat


def differing_fields(artifacts: list[Artifact]) -> list[dict[str, Any]]:
    """Of each artifact, what its recipe has in common with none or only some of the others.

    Fields of a stage are told where all of them have that stage.
    """
    if not artifacts:
        return []
    recipes = [flat_recipe(artifact.request) for artifact in artifacts]
    shared = set.intersection(*(set(recipe) for recipe in recipes))
    names = [name for name in recipes[0] if name in shared and any(each[name] != recipes[0][name] for each in recipes)]
    return [{name: each[name] for name in names} for each in recipes]


def value_text(value: Any) -> str:
    """A value of a recipe in a line of text; nothing for None."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
