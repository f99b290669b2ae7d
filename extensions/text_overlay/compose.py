"""Composing one overlay: place the block, choose the look that makes it legible, paint the layers."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from . import paint
from .contrast import Pixels, sample
from .layout import Block, Style, placed
from .look import Look, Wish, decide
from .paint import Frame
from .place import Place, Room, frame_of


def compose(
    image: Image.Image, block: Block, style: Style, wish: Wish, room: Room, place: Place, opacity: float
) -> tuple[Image.Image, Look]:
    """A new picture of the same mode and size with the block on it, and the look that was chosen for it."""
    frame = frame_of(block, style, room, place)
    em = block.size
    region = paint.region_of(frame, 1.2 * em + 2, image.size)
    glyphs = list(placed(block, style))
    letters = paint.coverage(glyphs, block, frame, region)
    coloured = paint.colour_glyphs(glyphs, block, frame, region)
    ink = letters if letters.getbbox() or coloured is None else coloured.getchannel("A")
    look = decide(wish, _beneath(image, ink, region, em))

    out = image.convert("RGBA")
    if look.behind != "none":
        out.alpha_composite(_behind(look, frame, image.size, em, _at_edge(frame, room, image.size, place), place))
    layer = Image.new("RGBA", letters.size)
    if look.shadow:
        layer.alpha_composite(_shadow(letters, coloured, look, em))
    if look.outline:
        thick = paint.outline(glyphs, block, frame, region, look.outline * em)
        layer.alpha_composite(paint.tint(thick, look.outline_colour))
    layer.alpha_composite(paint.tint(letters, look.colour))
    if coloured is not None:
        layer.alpha_composite(coloured)
    if opacity < 1:
        layer.putalpha(paint.scaled(layer.getchannel("A"), opacity))
    out.alpha_composite(layer, region[:2])
    return (out if image.mode == "RGBA" else out.convert("RGB")), look


def _beneath(image: Image.Image, ink: Image.Image, region: paint.Region, em: float) -> Pixels:
    """The picture's pixels under and close around the letters; white where it is transparent."""
    part = image.crop(region)
    if part.mode == "RGBA":
        white = Image.new("RGBA", part.size, "white")
        white.alpha_composite(part)
        part = white
    around = ink.filter(ImageFilter.BoxBlur(max(1.0, 0.1 * em)))
    return sample(np.asarray(part.convert("RGB")), np.asarray(around))


def _behind(look: Look, frame: Frame, size: tuple[int, int], em: float, banded: bool, place: Place) -> Image.Image:
    """The veil: a plate, a band that fades from the picture's edge, or a soft patch where the text is at no edge."""
    if look.behind == "plate":
        mask = paint.plate(frame, size, pad=0.45 * em, radius=0.3 * em, blur=0)
    elif banded:
        mask = paint.band(frame, size, place == "top", fade=1.2 * em + 0.3 * frame.height)
    else:
        mask = paint.plate(frame, size, pad=0.9 * em, radius=0.9 * em, blur=0.45 * em)
    return paint.tint(paint.scaled(mask, look.opacity), look.behind_colour)


def _at_edge(frame: Frame, room: Room, size: tuple[int, int], place: Place) -> bool:
    """Whether the text lies upright along the upper or lower edge of the picture, so that a band makes sense."""
    edge = 0.2 * min(size)
    gap = room[1] if place == "top" else size[1] - room[3]
    wide = room[0] <= edge and size[0] - room[2] <= edge
    return place in ("top", "bottom") and not frame.degrees and wide and gap <= edge


def _shadow(letters: Image.Image, coloured: Image.Image | None, look: Look, em: float) -> Image.Image:
    """A soft shadow a little below the letters."""
    mask = letters.copy()
    if coloured is not None:
        mask.paste(255, mask=coloured.getchannel("A"))
    down = round(0.03 * em)
    near = paint.soft(mask, max(0.6, 0.03 * em), look.shadow)
    wide = paint.soft(mask, max(1.0, 0.12 * em), look.shadow)
    both = Image.fromarray(np.maximum(np.asarray(near), np.asarray(wide)))
    fallen = both.crop((-down // 2, -down, both.width - down // 2, both.height - down))
    return paint.tint(fallen, look.outline_colour)
