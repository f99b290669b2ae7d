"""Pose: people in a given pose.

A skeleton is drawn from OpenPose JSON, named poses or a photograph, and a ControlNet holds the generation to it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import field_validator, model_validator

from zimage_kit import Call, Context, Field, Request, Stage, stage
from zimage_kit.errors import BadRequest, closest
from zimage_kit.files import content_digest, no_file
from zimage_kit.models import controlnets
from zimage_kit.models.spec import ModelSpec, resolve
from zimage_kit.recipe.asset import file_of
from zimage_kit.stages.stage import ControlNetInput

from . import openpose, photo, presets, skeleton
from .openpose import Figure

__all__ = ["Figure", "Pose", "openpose", "photo", "presets", "skeleton"]


@stage
class Pose(Stage):
    """People in the given pose, from one of `preset`, `people` and `photo`; by default one person, standing."""

    kind = "pose"
    identity: ClassVar[dict[str, Any]] = {"scale": 0.0}

    preset: tuple[str, ...] = Field(
        (), description="named poses, one for each person from left to right: waving, or waving+sitting"
    )
    people: tuple[Figure, ...] = Field((), description="OpenPose JSON: a file, its text, or the list of people")
    photo: Path | None = Field(
        None,
        description="a photograph whose people's poses are taken (needs controlnet-aux)",
        json_schema_extra={"format": "asset"},
    )
    scale: float = Field(
        0.9, ge=0.0, le=2.0, allow_inf_nan=False, description="strength; 0 is none, 0.65 to 1 for turbo"
    )
    start: float = Field(0.0, ge=0.0, le=1.0, description="from which share of the steps on it acts")
    end: float = Field(1.0, ge=0.0, le=1.0, description="up to which share of the steps it acts")
    mirror: bool = Field(False, description="swap left and right")
    fit: Literal["canvas", "frame"] = Field(
        "canvas", description="people and photo: lay their whole canvas into the picture, or fill the frame with them"
    )
    size: float = Field(
        0.78, ge=0.1, le=1.0, description="presets and frame: height of the people / height of the picture"
    )
    body: Literal["adult", "small"] | None = Field(
        None, description="proportions of presets; small is how nano draws people [default: as the model draws them]"
    )
    canvas: tuple[int, int] | None = Field(
        None,
        description="width and height that people's points refer to [default: the JSON's, or the picture's]",
    )
    controlnet: Path | None = Field(None, description="a ControlNet's .safetensors file [default: the model's own]")

    @model_validator(mode="before")
    @classmethod
    def _opened(cls, fields: Any) -> Any:
        """Read OpenPose JSON from a file or text, so that the recipe contains the pose itself."""
        if not isinstance(fields, dict) or not fields.get("people"):
            return fields
        given = fields.get("canvas")
        if isinstance(given, str) and (match := re.fullmatch(r"\s*(\d+)\s*[x,]\s*(\d+)\s*", given)):
            given = int(match[1]), int(match[2])
        sizes = isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(each, int) for each in given)
        people, canvas = openpose.read(fields["people"], tuple(given) if sizes and given else None)
        return {**fields, "people": people, "canvas": given or canvas}

    @field_validator("preset", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split("+")) if isinstance(value, str) and value else value or ()

    @field_validator("preset")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in presets.ANGLES:
                raise ValueError(f"a named pose|{closest(name, presets.ANGLES)}")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Pose:
        given = [name for name in ("preset", "people", "photo") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"one of preset, people and photo|Leave out {' or '.join(given)}.")
        if self.start >= self.end:
            raise ValueError(f"start below end|start={self.start:g} and end={self.end:g} leave no step.")
        return self

    def resolved(self, request: Request) -> Stage:
        """The body as the model draws people, and the pose that stands for none."""
        changes: dict[str, Any] = {}
        if not (self.preset or self.people or self.photo):
            changes["preset"] = ("standing",)
        if self.body is None:
            changes["body"] = "small" if _spec(request).family == "nano" else "adult"
        return self.model_copy(update=changes)

    def check(self, request: Request) -> tuple[str, ...]:
        """Check that the ControlNet and the photo exist; warn about a scale that its authors advise against."""
        if not self.scale:
            return ()
        self._weights(request)
        if self.photo is not None:
            if seen := no_file(file_of(self.photo)):
                raise BadRequest(f"pose.photo={self.photo} {seen}", expected="a photograph of a person")
            if problem := photo.missing():
                raise BadRequest(problem)
            photo.weights_folder()
        return controlnets.warnings(_spec(request), self.controlnet, "pose", self.scale, "pose.scale")

    def depends(self, request: Request) -> dict[str, str]:
        """The ControlNet, the model's own too; with a photograph, that and the detector that reads it."""
        if not self.scale:
            return {}
        weights = controlnets.weights_file(self._weights(request))
        found = {**super().depends(request), "controlnet": content_digest(weights)}
        if self.photo is not None:
            found["detector"] = photo.identity(photo.weights_folder())
        return found

    def before(self, call: Call, ctx: Context) -> Call:
        """The call with the skeleton as its control picture."""
        if not self.scale:
            return call
        figures = self.figures(call.width, call.height, ctx)
        picture = drawn(figures, call.width, call.height)
        weights = self._weights(ctx.request)
        ctx.progress(f"pose: {len(figures)} {'person' if len(figures) == 1 else 'people'}, {weights.name}")
        return call.but(controls=(*call.controls, ControlNetInput(picture, weights, self.scale, self.start, self.end)))

    def figures(self, width: int, height: int, ctx: Context | None = None) -> tuple[Figure, ...]:
        """The people as fractions of a picture of this size, laid out and mirrored. A photograph is read here."""
        if self.photo is not None:
            image = photo.read_photo(file_of(self.photo))
            found = photo.people_in(image, photo.load_detector(photo.weights_folder()))
            if ctx is not None:
                ctx.note(f"pose: {len(found)} found in {self.photo.name}")
            people, canvas = tuple(found), image.size
        elif self.people:
            people, canvas = self.people, self.canvas or (width, height)
        else:
            laid = presets.lay_out(self.preset or ("standing",), self.body or "adult", self.size, width / height)
            people, canvas = tuple(openpose.figure_of(body) for body in laid), (width, height)
        scale, by = _placing(people, canvas, (width, height), self.size if self.fit == "frame" else None)
        if not (self.people or self.photo):
            scale, by = (1.0, 1.0), (0.0, 0.0)  # laid out for this very picture
        placed = (figure.moved(scale, by) for figure in people)
        return tuple(figure.mirrored() if self.mirror else figure for figure in placed)

    def skeleton(self, width: int, height: int) -> Image.Image:
        """The control picture at this size: RGB on black."""
        return drawn(self.figures(width, height), width, height)

    def openpose_json(self, width: int, height: int) -> str:
        """The people as OpenPose JSON in pixels of a picture of this size, for other tools."""
        return openpose.write(self.figures(width, height), width, height)

    @classmethod
    def control(cls) -> Any | None:
        """The pose editor, for everything about people but the photograph."""
        from .editor import PoseEditor  # anywidget is needed by the panel alone

        return PoseEditor()

    def _weights(self, request: Request) -> Path:
        return controlnets.chosen(_spec(request), self.controlnet, "pose.controlnet")


def drawn(figures: tuple[Figure, ...], width: int, height: int) -> Image.Image:
    """The skeleton picture of these figures, hands and faces included."""
    hands = [hand for figure in figures for hand in figure.hands]
    faces = [face for figure in figures for face in figure.face]
    return skeleton.draw([figure.body for figure in figures], width, height, hands, faces)


def _spec(request: Request) -> ModelSpec:
    return resolve(request.model or "nano")


def _placing(
    people: tuple[Figure, ...], canvas: tuple[int, int], picture: tuple[int, int], size: float | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Scale and shift, in fractions, that lay a canvas into a picture, or (with `size`) fill the frame with the people.

    The figures keep their proportions either way.
    """
    (cw, ch), (pw, ph) = canvas, picture
    if size is None:
        factor = min(pw / cw, ph / ch)
        scale = (factor * cw / pw, factor * ch / ph)
        return scale, ((1 - scale[0]) / 2, (1 - scale[1]) / 2)
    seen = [point for figure in people for point in figure.body if point[2] > 0]
    left, right = min(point[0] for point in seen) * cw, max(point[0] for point in seen) * cw
    top, bottom = min(point[1] for point in seen) * ch, max(point[1] for point in seen) * ch
    factor = min(0.9 * pw / max(right - left, 1e-6), size * ph / max(bottom - top, 1e-6))
    shift = (pw / 2 - factor * (left + right) / 2, ph / 2 - factor * (top + bottom) / 2)
    return (factor * cw / pw, factor * ch / ph), (shift[0] / pw, shift[1] / ph)
