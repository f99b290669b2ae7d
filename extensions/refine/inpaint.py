"""Inpaint: draw a part of the picture again, or go on beyond its edges; every pixel outside of the mask stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from pydantic import model_validator

from zimage_kit import Context, Field, Request, Stage, stage
from zimage_kit.errors import BadRequest
from zimage_kit.files import no_file
from zimage_kit.models.directories import fingerprint
from zimage_kit.models.spec import ModelSpec, require, resolve
from zimage_kit.recipe import picture as pictures
from zimage_kit.recipe.asset import file_of
from zimage_kit.recipe.request import LARGEST_SEED, SIDE_MULTIPLE

from . import redraw

Box = tuple[int, int, int, int]
_OVERLAP = 32
"""Pixels of the old picture that are drawn again along an edge beyond which it goes on."""
_SAME_SHAPE = 0.02
"""Up to this share a mask's shape may differ from its picture's, by rounding to multiples of 16, without a note."""


@stage
class Inpaint(Stage):
    """Draw again where the mask is white, after the prompt; all other pixels stay as they are, bit for bit.

    With `extend` the picture grows, and what is new is drawn.
    """

    kind = "inpaint"
    identity: ClassVar[dict[str, Any]] = {"strength": 0.0}

    mask: Path | None = Field(
        None,
        description="a picture: white is drawn again, black stays; of any size",
        json_schema_extra={"format": "asset"},
    )
    prompt: str = Field(
        "",
        description="what to draw there [default: the picture's own prompt]",
        json_schema_extra={"format": "multiline"},
    )
    strength: float = Field(
        1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="how much may change there: 0 nothing, 1 all"
    )
    feather: int = Field(8, ge=0, le=256, description="pixels inside of the mask's edge over which old and new blend")
    invert: bool = Field(False, description="draw where the mask is black instead")
    only_masked: bool = Field(False, description="draw the mask's surroundings alone, at the model's full resolution")
    margin: int = Field(32, ge=0, le=1024, description="only_masked: pixels around the mask that are looked at")
    extend: Box | None = Field(None, description="pixels to add: left, top, right, bottom")
    steps: int | None = Field(
        None, ge=1, le=200, description="evaluations of the model [default: its own steps x strength, rounded up]"
    )
    model: str | None = Field(None, min_length=1, description="nano, turbo, base or a folder [default: the picture's]")
    negative_prompt: str = Field("", description="what to avoid; only where the model and guidance > 0 allow it")
    guidance: float | None = Field(
        None,
        ge=0.0,
        le=30.0,
        allow_inf_nan=False,
        description="[default: the picture's with its model, else the model's]",
    )
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED, description="of the noise [default: the picture's]")

    @model_validator(mode="after")
    def _possible(self) -> Inpaint:
        if self.extend is not None and (min(self.extend) < 0 or not any(self.extend)):
            raise ValueError("four numbers, 0 or more, such as 128,0,128,0|They are left, top, right and bottom.")
        return self

    @model_validator(mode="before")
    @classmethod
    def _four_numbers(cls, fields: Any) -> Any:
        """`extend` as text, as a command line gives it: 128,0,128,0 or 128 for every side."""
        given = fields.get("extend") if isinstance(fields, dict) else None
        if isinstance(given, str) and given.replace(",", "").replace(" ", "").isdecimal():
            numbers = [int(part) for part in given.replace(" ", ",").split(",") if part]
            return {**fields, "extend": numbers * 4 if len(numbers) == 1 else numbers}
        return fields

    def resolved(self, request: Request) -> Stage:
        """The same with model, steps, guidance and seed filled in, so that the recipe is explicit."""
        return self.model_copy(update=redraw.resolved_fields(self, request))

    def check(self, request: Request) -> tuple[str, ...]:
        """Check that there is something to draw, the mask, the prompt and the model."""
        if not self.strength:
            return ()
        if self.mask is None and self.extend is None:
            raise BadRequest(
                "inpaint has no mask",
                mend="Give one, mask='mask.png', white where it is drawn, or extend=(128, 0, 128, 0).",
            )
        if self.mask is not None:
            self.mask_at((64, 64))
        return redraw.check(self, request)

    def depends(self, request: Request) -> dict[str, str]:
        """The mask by its content, and the model's files."""
        if not self.strength:
            return {}
        found = super().depends(request)
        return {**found, "model": fingerprint(require(self.model))} if self.model else dict(found)

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        """The picture with the part drawn again; an alpha channel is kept, and opaque where the picture grew."""
        if not self.strength:
            return image.copy()
        whole = self.resolved(ctx.request)
        assert isinstance(whole, Inpaint)
        spec = resolve(whole.model or "")
        grown, new = _extended(image, self.extend or (0, 0, 0, 0))
        mask = new
        if self.mask is not None:
            given = Image.new("L", grown.size)
            left, top = (self.extend or (0, 0))[:2]
            own = self._mask()
            if abs(own.width * image.height / (own.height * image.width) - 1) > _SAME_SHAPE:
                ctx.note(f"inpaint: the mask, {own.width}x{own.height}, was stretched to {image.width}x{image.height}")
            given.paste(own.resize(image.size, Image.Resampling.BOX), (left, top))
            mask = Image.fromarray(np.maximum(np.asarray(given), np.asarray(new)))
        if mask.getbbox() is None:
            raise BadRequest(
                "inpaint: the mask has no white", mend="Paint what is to be drawn again, or use invert=True."
            )
        box, scale = self._frame(mask, spec)
        size = tuple(box[i + 2] - box[i] for i in (0, 1))
        mend = "Use only_masked=True, or a smaller picture."
        width, height = redraw.size_of((size[0], size[1]), scale, spec, "inpaint", mend)
        draft = pictures.bled(grown).crop(box).resize((width, height), Image.Resampling.LANCZOS)
        there = mask.crop(box).resize((width, height), Image.Resampling.BOX)
        call = redraw.call_of(whole, ctx.request, draft, there)
        ctx.note(
            f"inpaint: {_share(mask)} of {grown.width}x{grown.height}, drawn at {width}x{height}, seed {call.seed}"
        )
        drawn = ctx.draw(call, spec.name).resize((size[0], size[1]), Image.Resampling.LANCZOS)
        return _blended(grown, drawn, mask, box, self.feather)

    @classmethod
    def control(cls, picture: Any = None) -> Any:
        """The mask painter, `MaskPainter(picture)`: over an artifact, a PIL picture or a file, by default over none."""
        from .painter import MaskPainter  # anywidget is needed by the panel alone

        return MaskPainter(picture)

    def mask_at(self, size: tuple[int, int]) -> Image.Image:
        """The mask at this size, L, white where it is drawn. Raises BadRequest."""
        return self._mask().resize(size, Image.Resampling.BOX)

    def _mask(self) -> Image.Image:
        """The mask as its file has it."""
        assert self.mask is not None
        path = file_of(self.mask)
        if seen := no_file(path):
            raise BadRequest(f"inpaint.mask={self.mask} {seen}", expected="a picture, white where it is drawn")
        try:
            with pictures.opened(path) as file:
                plain = pictures.plain(file)[0]
        except pictures.UNREADABLE as error:
            raise BadRequest(f"inpaint.mask={self.mask} cannot be read ({error})", expected="a picture") from None
        if plain.mode == "RGBA":  # what is transparent is not painted
            plain = Image.alpha_composite(Image.new("RGBA", plain.size, "black"), plain)
        levels = plain.convert("L")
        return ImageOps.invert(levels) if self.invert else levels

    def _frame(self, mask: Image.Image, spec: ModelSpec) -> tuple[Box, float]:
        """What of the picture the model sees, with sides that are multiples of 16 or the picture's, and its scale."""
        width, height = mask.size
        found = mask.getbbox()
        if not self.only_masked or found is None:
            return (0, 0, width, height), 1.0
        left, top, right, bottom = found
        across = _around(left - self.margin, right + self.margin, width)
        down = _around(top - self.margin, bottom + self.margin, height)
        box = (across[0], down[0], across[1], down[1])
        pixels = (box[2] - box[0]) * (box[3] - box[1])
        return box, max(1.0, (spec.native[0] * spec.native[1] / pixels) ** 0.5)


def _around(begin: int, end: int, side: int) -> tuple[int, int]:
    """From … to, a multiple of 16 long where the side allows it, within it."""
    length = min(side, -(-(end - begin) // SIDE_MULTIPLE) * SIDE_MULTIPLE)
    begin = max(0, min(begin, side - length))
    return begin, begin + length


def _extended(image: Image.Image, by: Box) -> tuple[Image.Image, Image.Image]:
    """The picture on a larger canvas, its edges carried on; and a mask of what is new and some of the old beside it."""
    left, top, right, bottom = by
    pads = ((top, bottom), (left, right))
    grown = np.pad(np.asarray(image), (*pads, (0, 0)), mode="edge")
    if image.mode == "RGBA":
        grown[..., 3] = np.pad(np.asarray(image)[..., 3], pads, constant_values=255)
    new = np.zeros(grown.shape[:2], np.uint8)
    for amount, rows, columns in (
        (left, slice(None), slice(0, left + _OVERLAP)),
        (top, slice(0, top + _OVERLAP), slice(None)),
        (right, slice(None), slice(-right - _OVERLAP, None)),
        (bottom, slice(-bottom - _OVERLAP, None), slice(None)),
    ):
        if amount:
            new[rows, columns] = 255
    return Image.fromarray(grown), Image.fromarray(new)


def _blended(old: Image.Image, drawn: Image.Image, mask: Image.Image, box: Box, feather: int) -> Image.Image:
    """The old picture with what was drawn in the box where the mask is white, over `feather` pixels within its edge."""
    whole = Image.new("RGB", old.size)
    whole.paste(drawn, box[:2])
    levels = _feathered(mask, feather)
    before, after = (np.asarray(each.convert("RGB"), np.float32) for each in (old, whole))
    mixed = before + (after - before) * levels[..., None]
    found = Image.fromarray(np.where(levels[..., None] > 0, mixed.round(), before).astype(np.uint8))
    if old.mode == "RGBA":
        found.putalpha(old.getchannel("A"))
    return found


def _feathered(mask: Image.Image, feather: int) -> Any:
    """How much of what was drawn counts, an array [height, width] of 0 to 1: less towards an edge, none outside.

    Where the mask is too thin for that many pixels its edge is narrower, so that something of every stroke counts
    whole, whatever is painted beside it.
    """
    levels = np.asarray(mask, np.float32) / 255
    found, left = np.zeros_like(levels), levels > 0
    while feather and left.any():
        padded = np.pad(np.asarray(mask), feather, mode="edge")  # where the picture ends, the mask does not
        blurred = np.asarray(Image.fromarray(padded).filter(ImageFilter.GaussianBlur(feather / 2)), np.float32)
        within = np.clip(2 * blurred[feather:-feather, feather:-feather] / 255 - 1, 0, 1)
        wide = _reached((levels > 0) & (within >= 0.9 * levels), levels > 0, feather) & left
        found[wide] = np.minimum(levels, within)[wide]
        left &= ~wide
        feather //= 2
    found[left] = levels[left]
    return found


def _reached(core: Any, mask: Any, by: int) -> Any:
    """What of a mask lies within `by` pixels of its core, on ways inside of the mask (arrays of bool)."""
    step = max(1, by // 16)
    for _ in range(-(-by // step)):
        for axis in (0, 1):
            padded = np.pad(core, [(step, step) if each == axis else (0, 0) for each in (0, 1)])
            sums = np.cumsum(padded, axis, dtype=np.int32)
            sums = np.concatenate((np.zeros_like(np.take(sums, [0], axis)), sums), axis)
            long = core.shape[axis]
            core = np.take(sums, range(2 * step + 1, 2 * step + 1 + long), axis) > np.take(sums, range(long), axis)
        core &= mask
    return core


def _share(mask: Image.Image) -> str:
    return f"{100 * float(np.asarray(mask).mean()) / 255:.0f}%"
