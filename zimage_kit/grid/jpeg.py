"""JPEG: pictures of a grid as JPEGs, their quality, and the comments in which a sheet keeps its recipe."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import BadRequest
from ..recipe import png
from ..recipe.picture import on_white

if TYPE_CHECKING:
    from PIL import Image

_SEGMENT = 65_000  # bytes of a comment; its length has to go into 16 bits
MARK = png.GRID.encode()

THUMBNAIL_SIDE = 256
"""Pixels of a small picture's longer side."""


def check_quality(quality: object) -> None:
    """Raise BadRequest for what is no quality of a JPEG."""
    if not isinstance(quality, int) or not 1 <= quality <= 100:
        raise BadRequest(f"quality={quality!r}", expected="a whole number, 1 to 100")


def encode_jpeg(sheet: Image.Image, quality: int) -> bytes:
    """A picture as a JPEG of `quality` 1 to 100, its colours at full resolution."""
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=quality, subsampling="4:4:4")  # thin letters would smear at half the colours
    return out.getvalue()


def small_jpeg(image: Image.Image, side: int = THUMBNAIL_SIDE, quality: int = 82) -> bytes:
    """A picture as a JPEG of at most `side` pixels a side; transparent parts white."""
    from PIL import Image

    image = on_white(image)
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def with_comments(jpeg: bytes, text: bytes) -> bytes:
    """A JPEG with the text in comment segments, behind its first segment (JFIF's place)."""
    end = 4 + struct.unpack(">H", jpeg[4:6])[0]
    parts = [MARK + text[start : start + _SEGMENT] for start in range(0, len(text), _SEGMENT)]
    segments = b"".join(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return jpeg[:end] + segments + jpeg[end:]


def comments(jpeg: bytes) -> Iterator[bytes]:
    """Our comments of a JPEG, in order; up to where the picture begins."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] not in (0xDA, 0xD9):
        length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        segment = jpeg[at + 4 : at + 2 + length]
        if jpeg[at + 1] == 0xFE and segment.startswith(MARK):
            yield segment
        at += 2 + length
