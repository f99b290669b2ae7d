"""Control pictures: a file brought to the picture's size, and edges, scribbles or grey made of a photograph.

Lines are white on black, in depth what is near is bright, as ControlNets are trained. opencv-python, which finds
edges, is imported only when it is used.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from zimage_kit.errors import BadRequest

Kind = Literal["canny", "scribble", "depth", "hed", "mlsd", "gray"]
Fit = Literal["crop", "pad", "stretch"]

NEEDS = "cv2"
INSTALL = 'pip install "zimage-kit[pose]"'
FROM_PHOTOS = ("canny", "scribble", "gray")
"""Kinds that are made of a photograph here; the others are made by networks of their own, elsewhere."""
DRAWN = ("canny", "scribble", "mlsd")
"""Kinds of which every pixel is either line or ground."""
LINES = (*DRAWN, "hed")
_DARKER = 12
"""Of 255: by how much what becomes a stroke is darker than its surroundings."""
_LOOKED_AT = 256
"""Pixels of the longer side that is looked at to tell a photograph from a control picture."""


def missing() -> str:
    """Why no edges can be found here, in one line with what to do; "" if they can. Imports nothing."""
    return "" if importlib.util.find_spec(NEEDS) else f"edges of a photograph need opencv-python. Run: {INSTALL}"


def looks_made(image: Image.Image, kind: Kind) -> bool:
    """Whether an RGB picture looks like a control picture of this kind, and not like a photograph.

    A drawing has hardly any pixel between line and ground; depth and soft edges have no colours.
    """
    small = image.copy()
    small.thumbnail((_LOOKED_AT, _LOOKED_AT), Image.Resampling.NEAREST)
    pixels = np.asarray(small, np.int16)
    colourless = float((np.ptp(pixels, axis=2) <= 24).mean()) > 0.97
    if kind not in DRAWN:
        return colourless
    grey = pixels.mean(axis=2)
    extreme = float(((grey <= 40) | (grey >= 215)).mean())
    ground = max(float((grey <= 40).mean()), float((grey >= 215).mean()))
    return colourless and extreme > 0.9 and ground > 0.6


def fitted(image: Image.Image, width: int, height: int, fit: Fit) -> Image.Image:
    """The RGB picture at this size: its middle, or stretched; for "pad" all of it, as large as it has room."""
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    if fit == "pad":
        scale = min(width / image.width, height / image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        return image.resize(size, Image.Resampling.LANCZOS)
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def padded(image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture in the middle of a black one of this size, which it is no larger than."""
    if image.size == (width, height):
        return image
    made = Image.new("RGB", (width, height))
    made.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return made


def white_on_nothing(image: Image.Image) -> bool:
    """Whether all that can be seen of an RGBA picture is nearly white, so that white paper would hide it."""
    if image.mode != "RGBA" or not image.getchannel("A").getbbox():
        return False
    laid = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return laid.convert("L").getextrema()[0] > 200  # type: ignore[operator]


def visible(image: Image.Image) -> bool:
    """Whether any pixel of a control picture is clearly brighter than black."""
    return bool(np.asarray(image).max() > 32)


def white_on_black(image: Image.Image) -> tuple[Image.Image, bool]:
    """Lines as white on black, and whether they were black on white: then most of the picture is bright."""
    bright = float(np.asarray(image.convert("L")).mean()) > 127.5
    return (ImageOps.invert(image) if bright else image), bright


def grey(image: Image.Image) -> Image.Image:
    """RGB without colours."""
    return image.convert("L").convert("RGB")


def canny(image: Image.Image, low: int, high: int) -> Image.Image:
    """Edges one pixel wide (Canny 1986), by OpenCV: from gradients above `high`, along those above `low`, 0 … 1020.

    A pixel's gradient is that of the colour, red, green or blue, that changes most there.
    """
    cv2 = _opencv()
    found = cv2.Canny(np.asarray(image), low, high)
    return Image.fromarray(np.asarray(found)).convert("RGB")


def scribble(image: Image.Image) -> Image.Image:
    """Broad strokes along edges: where a colour is darker than in the same picture blurred ten times as far.

    Differences of Gaussians (Winnemöller 2011, XDoG). Their widths, and that of the strokes, grow with the picture.
    """
    cv2 = _opencv()
    values = np.asarray(image, np.float32)
    unit = max(image.size) / 512
    fine, coarse = (cv2.GaussianBlur(values, (0, 0), unit * sigma) for sigma in (0.5, 5.0))
    dark = (coarse - fine).max(axis=2) > _DARKER
    strokes = cv2.GaussianBlur(dark.astype(np.float32), (0, 0), unit) > 0.5
    return Image.fromarray((255 * strokes).astype(np.uint8)).convert("RGB")


def edges_version() -> str:
    """Which OpenCV finds edges."""
    return str(_opencv().__version__)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        why = f"opencv-python cannot be imported ({' '.join(str(error).split())})"
        raise BadRequest(f"control: {why}", mend="Run: pip install opencv-python-headless") from None
    return cv2
