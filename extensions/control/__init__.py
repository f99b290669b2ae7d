"""Control: a picture guides the generation through a ControlNet, by its edges, scribbles, depth, lines or grey."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from PIL import Image
from pydantic import model_validator

from zimage_kit import Call, Context, Field, Request, Stage, stage
from zimage_kit.errors import BadRequest
from zimage_kit.files import content_digest, no_file
from zimage_kit.models import controlnets
from zimage_kit.models.spec import ModelSpec, resolve
from zimage_kit.recipe import picture as pictures_in
from zimage_kit.recipe.asset import file_of
from zimage_kit.stages.stage import ControlNetInput

from . import pictures
from .pictures import Fit, Kind

__all__ = ["Control", "pictures"]

KINDS: tuple[Kind, ...] = get_args(Kind)


@stage
class Control(Stage):
    """The outlines, depth or shades of a picture decide what is where; the prompt says what it is.

    Several of them, and a pose, act together. Of a photograph edges, scribbles and grey are made here.
    """

    kind = "control"
    identity: ClassVar[dict[str, Any]] = {"scale": 0.0}

    picture: Path | None = Field(
        None,
        description="a photograph, or a control picture that is made already",
        json_schema_extra={"format": "asset"},
    )
    type: Kind = Field(
        "canny", description="what of it guides: edges, scribbles, depth, soft edges, straight lines, grey"
    )
    scale: float = Field(
        0.8, ge=0.0, le=2.0, allow_inf_nan=False, description="strength; 0 is none, 0.65 to 1 for turbo"
    )
    start: float = Field(0.0, ge=0.0, le=1.0, description="from which share of the steps on it acts")
    end: float = Field(1.0, ge=0.0, le=1.0, description="up to which share of the steps it acts")
    source: Literal["photo", "map"] | None = Field(
        None,
        description="photo: make the control picture of it (canny, scribble, gray); map: it is one "
        "[default: by its pixels]",
    )
    fit: Fit = Field("crop", description="where shapes differ: take the middle, pad with black, or stretch")
    low: int = Field(100, ge=0, le=1020, description="canny: edges go on above this gradient")
    high: int = Field(200, ge=0, le=1020, description="canny: edges begin above this gradient; lower finds more")
    controlnet: Path | None = Field(None, description="a ControlNet's .safetensors file [default: the model's own]")

    @model_validator(mode="before")
    @classmethod
    def _by_kind(cls, fields: Any) -> Any:
        """`kind`, as others call it, is taken for `type`: in a recipe a stage's kind is its name."""
        if isinstance(fields, dict) and fields.get("kind") in KINDS:
            return {"type": fields["kind"], **{name: value for name, value in fields.items() if name != "kind"}}
        return fields

    @model_validator(mode="after")
    def _in_order(self) -> Control:
        if self.start >= self.end:
            raise ValueError(f"start below end|start={self.start:g} and end={self.end:g} leave no step.")
        if self.low > self.high:
            raise ValueError(f"low up to high|low={self.low} is above high={self.high}.")
        if self.source == "photo" and self.type not in pictures.FROM_PHOTOS:
            raise ValueError(
                f"{', '.join(pictures.FROM_PHOTOS)} of a photo|Give a {self.type} picture that is made already: the "
                "network that makes one of a photograph is not part of this."
            )
        return self

    def check(self, request: Request) -> tuple[str, ...]:
        """Check the picture and the ControlNet; warn about strengths and kinds that it was not trained for."""
        if not self.scale:
            return ()
        if self.picture is None:
            raise BadRequest("control has no picture", mend="Give one: picture='photo.jpg'.")
        controlnets.weights_file(self._weights(request))
        prepared = self._prepared(self._opened()[0])
        if prepared and self.type != "gray" and (problem := pictures.missing()):
            raise BadRequest(f"control: {problem}")
        return controlnets.warnings(_spec(request), self.controlnet, self.type, self.scale, "control.scale")

    def depends(self, request: Request) -> dict[str, str]:
        """The picture and the ControlNet, the model's own too; and what finds edges, where it does."""
        if not self.scale:
            return {}
        weights = controlnets.weights_file(self._weights(request))
        found = {**super().depends(request), "controlnet": content_digest(weights)}
        if self.type in ("canny", "scribble") and self._prepared(self._opened()[0]):
            found["opencv"] = pictures.edges_version()
        return found

    def before(self, call: Call, ctx: Context) -> Call:
        """The call with one control picture more."""
        if not self.scale:
            return call
        made, how = self._made(call.width, call.height)
        weights = self._weights(ctx.request)
        ctx.note(f"control: {how}")
        control = ControlNetInput(made, weights, self.scale, self.start, self.end)
        return call.but(controls=(*call.controls, control))

    def control_picture(self, width: int, height: int) -> Image.Image:
        """The control picture at this size, RGB: to look at, or for other tools. Raises BadRequest."""
        return self._made(width, height)[0]

    def _made(self, width: int, height: int) -> tuple[Image.Image, str]:
        """The control picture, and how it was made."""
        image, changes = self._opened()
        assert self.picture is not None
        prepared = self._prepared(image)
        how = [f"{self.type} {'made of' if prepared else 'from'} {self.picture.name}", *changes]
        if image.width * height != image.height * width:
            what = {"crop": "its middle", "pad": "padded with black", "stretch": "stretched"}[self.fit]
            how.append(f"{what}, since it is {image.width}x{image.height}")
        made = pictures.fitted(image, width, height, self.fit)
        if self.type == "gray":
            made = pictures.grey(made)
        elif prepared:
            made = pictures.canny(made, self.low, self.high) if self.type == "canny" else pictures.scribble(made)
        elif self.type != "depth":
            made, inverted = pictures.white_on_black(made)
            how += ["black on white, so inverted"] if inverted else []
        if self.type in pictures.LINES and not pictures.visible(made):
            how.append("no lines were found in it, so it guides nothing")
        return pictures.padded(made, width, height), "; ".join(how)

    def _opened(self) -> tuple[Image.Image, tuple[str, ...]]:
        """The picture upright in sRGB without transparency, and what was changed. Raises BadRequest."""
        if self.picture is None:
            raise BadRequest("control has no picture", mend="Give one: picture='photo.jpg'.")
        path = file_of(self.picture)
        if seen := no_file(path):
            raise BadRequest(f"control.picture={self.picture} {seen}", expected="a picture file")
        try:
            return _read(path, content_digest(path))
        except pictures_in.UNREADABLE as error:
            raise BadRequest(f"control.picture={self.picture} cannot be read ({error})", expected="a picture") from None

    def _prepared(self, image: Image.Image) -> bool:
        """Whether the control picture is made here. Raises BadRequest for a photograph where it cannot be."""
        if self.source is not None or self.type == "gray":
            return self.source != "map"
        if pictures.looks_made(image, self.type):
            return False
        if self.type not in pictures.FROM_PHOTOS:
            raise BadRequest(
                f"control.picture={self.picture} looks like a photograph, not like a {self.type} picture",
                mend="Make one of it with a tool for that, or take it as it is with source='map'.",
            )
        return True

    def _weights(self, request: Request) -> Path:
        return controlnets.chosen(_spec(request), self.controlnet, "control.controlnet")


@lru_cache(maxsize=4)
def _read(path: Path, digest: str) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture of a file whose content has this digest, and what was changed to read it."""
    with pictures_in.opened(path) as file:
        image, notes = pictures_in.plain(file)
    if pictures.white_on_nothing(image):
        notes = (*notes, "what is transparent is black, since the rest is white")
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB"), notes
    return pictures_in.on_white(image), notes


def _spec(request: Request) -> ModelSpec:
    return resolve(request.model or "nano")
