"""Painting: exact coverage of glyphs, outline, shadow, plate and scrim, as layers over the picture."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import uharfbuzz as hb  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .contrast import Colour
from .faces import Face
from .layout import Block
from .shaping import Glyph

_FINE = 4  # subpixels per side, where Pillow does not antialias


@dataclass(frozen=True)
class Frame:
    """Where a block lies: its size and its middle in the picture (pixels), and its rotation (degrees)."""

    width: float
    height: float
    middle: tuple[float, float]
    degrees: float

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """A point of the block (from its top left corner, right and down) in the picture."""
        across, down = x - self.width / 2, y - self.height / 2
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return self.middle[0] + across * cos + down * sin, self.middle[1] - across * sin + down * cos

    def corners(self, pad: float = 0.0) -> list[tuple[float, float]]:
        """The block's four corners in the picture, `pad` pixels outside it."""
        left, top, right, bottom = -pad, -pad, self.width + pad, self.height + pad
        return [self.to_picture(*corner) for corner in ((left, top), (right, top), (right, bottom), (left, bottom))]


Region = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels of the picture."""


def region_of(frame: Frame, pad: float, size: tuple[int, int]) -> Region:
    """The part of a picture of this size that a block and `pad` pixels around it can touch; never empty."""
    across, down = zip(*frame.corners(pad), strict=True)
    left, top = max(0, math.floor(min(across))), max(0, math.floor(min(down)))
    return (
        left,
        top,
        max(left + 1, min(size[0], math.ceil(max(across)))),
        max(top + 1, min(size[1], math.ceil(max(down)))),
    )


def coverage(
    glyphs: Iterable[tuple[Glyph, float, float]], block: Block, frame: Frame, region: Region, fine: int = 1
) -> Image.Image:
    """Coverage of each pixel of `region` by glyphs ("L"), at `fine` subpixels per side, without colour glyphs."""
    left, top, right, bottom = (side * fine for side in region)
    raster = hb.RasterDraw()
    raster.extents = hb.RasterExtents(left, -bottom, right - left, bottom - top, 0)  # HarfBuzz counts upwards
    for glyph, x, y in glyphs:
        if glyph.face.colour:
            continue
        scale = glyph.scale * block.size / glyph.face.em * fine
        turn = math.radians(frame.degrees - 90 * glyph.turned)
        cos, sin = scale * math.cos(turn), scale * math.sin(turn)
        across, down = frame.to_picture(x, y)
        raster.transform = (cos, sin, -sin, cos, across * fine, -down * fine)
        raster.draw_glyph(glyph.face.font, glyph.id)
    image = raster.render()
    rows = np.frombuffer(image.buffer, np.uint8).reshape(bottom - top, image.extents.stride)
    return Image.fromarray(np.ascontiguousarray(rows[::-1, : right - left]))


def colour_glyphs(
    glyphs: Iterable[tuple[Glyph, float, float]], block: Block, frame: Frame, region: Region
) -> Image.Image | None:
    """The glyphs with their own colours (RGBA, the size of `region`), or None if there are none."""
    layer = None
    for glyph, x, y in glyphs:
        if glyph.face.colour:
            layer = layer or Image.new("RGBA", (region[2] - region[0], region[3] - region[1]))
            _place_colour(layer, glyph, frame.to_picture(x, y), block.size, frame, region)
    return layer


def _place_colour(
    layer: Image.Image, glyph: Glyph, origin: tuple[float, float], size: float, frame: Frame, region: Region
) -> None:
    scale = glyph.scale * size / glyph.face.em
    extents = glyph.face.font.get_glyph_extents(glyph.id)
    if not extents or not extents.width:
        return
    width, height = extents.width * scale, -extents.height * scale
    bitmap = _bitmap(glyph.face, glyph.id, max(1, round(width)), max(1, round(height)))
    # from a pixel of the layer back to one of the bitmap, whose top left corner lies at (x_bearing, y_bearing)
    turn = math.radians(frame.degrees - 90 * glyph.turned)
    cos, sin = math.cos(turn), math.sin(turn)
    east, south = origin[0] - region[0], origin[1] - region[1]
    shift_x, shift_y = extents.x_bearing * scale, extents.y_bearing * scale
    grow_x, grow_y = bitmap.width / width, bitmap.height / height
    back = (
        cos * grow_x, -sin * grow_x, (-cos * east + sin * south - shift_x) * grow_x,
        sin * grow_y, cos * grow_y, (-sin * east - cos * south + shift_y) * grow_y,
    )  # fmt: skip
    layer.alpha_composite(bitmap.transform(layer.size, Image.Transform.AFFINE, back, Image.Resampling.BICUBIC))


@lru_cache(maxsize=256)
def _bitmap(face: Face, glyph: int, width: int, height: int) -> Image.Image:
    """A colour glyph at about its final size: the font's bitmap reduced, or its paint graph rendered."""
    if face.font.face.has_color_png:
        picture = Image.open(io.BytesIO(face.font.get_glyph_color_png(glyph).data)).convert("RGBA")
        return picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
    extents = face.font.get_glyph_extents(glyph)
    grow_x, grow_y = width / extents.width, height / -extents.height
    paint = hb.RasterPaint()
    paint.extents = hb.RasterExtents(0, 0, width, height, 0)
    bottom = extents.y_bearing + extents.height
    paint.transform = (grow_x, 0, 0, grow_y, -extents.x_bearing * grow_x, -bottom * grow_y)
    paint.paint_glyph(face.font, glyph)
    image = paint.render()
    rows = np.frombuffer(image.buffer, np.uint8).reshape(height, image.extents.stride // 4, 4)[::-1, :width]
    return _straight(rows)


def _straight(bgra: NDArray[np.uint8]) -> Image.Image:
    """Premultiplied BGRA as straight RGBA."""
    alpha = bgra[..., 3:].astype(np.float64)
    colours = np.divide(bgra[..., 2::-1] * 255.0, alpha, out=np.zeros((*bgra.shape[:2], 3)), where=alpha > 0)
    return Image.fromarray(np.concatenate([colours.round().clip(0, 255), alpha], axis=2).astype(np.uint8), "RGBA")


def grown(mask: Image.Image, radius: float) -> Image.Image:
    """The mask dilated by a disc of `radius` pixels, in several small steps, whose radii add up."""
    rounds = max(1, math.ceil(radius / 2))
    step = radius / rounds
    directions = [(math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)) for turn in range(16)]
    shifts = {(round(step * x), round(step * y)) for x, y in directions} - {(0, 0)}
    for _ in range(rounds):
        moved = mask
        for x, y in sorted(shifts):
            moved = ImageChops.lighter(moved, _shifted(mask, x, y))
        mask = moved
    return mask


def _shifted(mask: Image.Image, x: int, y: int) -> Image.Image:
    return mask.crop((-x, -y, mask.width - x, mask.height - y))


def outline(
    glyphs: Sequence[tuple[Glyph, float, float]], block: Block, frame: Frame, region: Region, radius: float
) -> Image.Image:
    """Coverage of the letters, grown by `radius` pixels on all sides."""
    fine = max(1, min(_FINE, math.ceil(8 / max(radius, 0.5))))
    thick = grown(coverage(glyphs, block, frame, region, fine), radius * fine)
    return thick.reduce(fine) if fine > 1 else thick


def soft(mask: Image.Image, blur: float, strength: float) -> Image.Image:
    """The mask blurred (standard deviation in pixels) and weakened."""
    return scaled(mask.filter(ImageFilter.GaussianBlur(blur)), strength)


def scaled(mask: Image.Image, factor: float) -> Image.Image:
    """The mask times a factor."""
    return mask.point([min(255, round(level * factor)) for level in range(256)])


def tint(mask: Image.Image, colour: Colour) -> Image.Image:
    """A layer (RGBA) of one colour, as opaque as the mask."""
    layer = Image.new("RGBA", mask.size, (*colour, 0))
    layer.putalpha(mask)
    return layer


def plate(frame: Frame, size: tuple[int, int], pad: float, radius: float, blur: float) -> Image.Image:
    """A rounded rectangle behind the block, `pad` pixels larger on each side, its edges blurred by `blur` pixels."""
    wide, high = math.ceil((frame.width + 2 * pad) * 2), math.ceil((frame.height + 2 * pad) * 2)  # two subpixels
    flat = Image.new("L", (wide + 2 * _FINE, high + 2 * _FINE))
    ImageDraw.Draw(flat).rounded_rectangle((_FINE, _FINE, _FINE + wide - 1, _FINE + high - 1), radius * 2, fill=255)
    flat = flat.filter(ImageFilter.GaussianBlur(0.7))
    cos, sin = math.cos(math.radians(frame.degrees)), math.sin(math.radians(frame.degrees))
    east, south = frame.middle
    back = (
        2 * cos, -2 * sin, flat.width / 2 + 2 * (-cos * east + sin * south),
        2 * sin, 2 * cos, flat.height / 2 + 2 * (-sin * east - cos * south),
    )  # fmt: skip
    mask = flat.transform(size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def band(frame: Frame, size: tuple[int, int], from_top: bool, fade: float) -> Image.Image:
    """A veil from the upper or lower edge to the far side of the block, fading out over `fade` pixels beyond it."""
    rows = np.arange(size[1]) + 0.5
    inner = [corner[1] for corner in frame.corners()]
    beyond = rows - max(inner) if from_top else min(inner) - rows
    part = np.clip(beyond / fade, 0.0, 1.0)
    column = 255 * (1 - part * part * (3 - 2 * part))  # smoothstep
    return Image.fromarray(np.repeat(column.round().astype(np.uint8)[:, None], size[0], axis=1))
