"""Picture files that people bring: opened within a limit, and made into upright sRGB pictures of 8 bits.

Every way in comes through here: `zk.open`, `session.apply`, photos for stages, what is dropped on the panel.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest

if TYPE_CHECKING:
    from PIL import Image

LARGEST_PIXELS = 170_000_000
"""The largest picture that is read: above the largest that is made (2048x2048, enlarged four times: 67 million)."""
LIMIT = "ZIMAGE_LARGEST_PIXELS"
"""The environment variable that sets another limit."""

UNREADABLE = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError, RuntimeError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises for files that are truncated, of another format or malicious."""

_opening = Lock()


def largest_pixels() -> int:
    """How many pixels a picture may have to be read. Raises BadRequest for a variable that is no number."""
    given = os.environ.get(LIMIT, "").strip()
    if not given:
        return LARGEST_PIXELS
    if not given.isdecimal() or not int(given):
        raise BadRequest(f"{LIMIT}={given}", expected="a number of pixels", mend=f"For example {LIMIT}=400000000.")
    return int(given)


@contextmanager
def opened(file: io.BytesIO | Path) -> Iterator[Image.Image]:
    """Open a picture file; nothing is decoded yet. Raises what is in UNREADABLE, OSError for one that is too large."""
    from PIL import Image

    most = largest_pixels()
    with _opening:  # Pillow's own limit is a global variable
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            found = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = theirs
    with found:
        if found.width * found.height > most:
            raise OSError(
                f"{found.width}x{found.height} pixels; at most {most / 1e6:.0f} million are read, unless {LIMIT} is set"
            )
        yield found


def plain(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture upright, in sRGB with 8 bits, as RGB, or as RGBA if a pixel is not opaque; and what was changed.

    Grey of 16 or 32 bits and floats are scaled to 8 bits, other colour profiles are converted, and of an animation the
    first frame is taken. Raises what is in UNREADABLE where the pixels cannot be decoded.
    """
    from PIL import ImageOps

    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a phone's photo with a second, smaller one
        image.seek(0)
        notes.append(f"the first of {frames} frames was taken")
    profile = image.info.get("icc_profile")
    turned = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112) in range(2, 9):
        notes.append("turned upright, as its EXIF orientation says")
    scaled = _eight_bits(turned, notes)
    alpha = None
    if scaled.has_transparency_data:
        scaled = scaled.convert("RGBA")
        alpha = scaled.getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = None
    found = _in_srgb(scaled.convert("RGB") if scaled.mode == "RGBA" else scaled, profile, notes)
    if alpha is not None:
        found.putalpha(alpha)
    return found, tuple(notes)


def on_white(image: Image.Image) -> Image.Image:
    """The picture as RGB, what is transparent over white; an RGB picture itself."""
    from PIL import Image as Pictures

    if image.mode != "RGBA":
        return image
    return Pictures.alpha_composite(Pictures.new("RGBA", image.size, "white"), image).convert("RGB")


def bled(image: Image.Image) -> Image.Image:
    """The picture as RGB, colours carried on from visible pixels to those with alpha 0.

    For networks, which see what lies beneath: black there would become a dark rim. Visible pixels stay as they are.
    """
    import numpy as np
    from PIL import Image as Pictures

    if image.mode != "RGBA":
        return image.convert("RGB")
    pixels = np.asarray(image)
    weight = (pixels[..., 3:] > 0).astype(np.float32)
    if weight.all() or not weight.any():
        return image.convert("RGB")
    levels = [(pixels[..., :3] * weight, weight)]
    while not levels[-1][1].all():  # each level is half as large, and has fewer gaps
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    colour = levels[-1][0] / levels[-1][1]
    for total, count in reversed(levels[:-1]):
        wide = colour.repeat(2, 0).repeat(2, 1)[: total.shape[0], : total.shape[1]]
        colour = np.where(count > 0, total / np.maximum(count, 1), wide)
    return Pictures.fromarray(np.where(weight > 0, pixels[..., :3], colour.round()).astype(np.uint8))


def _halved(values: Any) -> Any:
    """[rows, columns, …]: sums of 2x2."""
    import numpy as np

    rows, columns = values.shape[:2]
    even = np.pad(values, ((0, rows % 2), (0, columns % 2), (0, 0)))
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Grey of 16 or 32 bits or floats as 8 bits, by the range that its type or its largest value stands for."""
    import numpy as np
    from PIL import Image as Pictures

    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    ranges = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}.get(image.mode, (65535.0,))
    white = next((each for each in ranges if top <= each), top)
    notes.append(f"grey values of {image.mode}, up to {top:g}, were scaled to 8 bits")
    eight = values // 256 if white == 65535 else (values.clip(0, white) / white * 255).round()
    return Pictures.fromarray(eight.clip(0, 255).astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """The picture as RGB, converted from its colour profile to sRGB."""
    from PIL import ImageCms

    if not profile:
        if image.mode == "CMYK":
            notes.append("CMYK without a colour profile: its colours are approximate")
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image.convert("RGB")
        given = image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")
        found = ImageCms.profileToProfile(given, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, *UNREADABLE):
        notes.append("its colour profile cannot be used: its numbers were taken as sRGB")
        return image.convert("RGB")
    assert found is not None
    notes.append(f"colours were converted to sRGB from {name or 'its profile'}")
    return found
