"""What the styles of nano's scenes are drawn on: mist, rice paper, and the hatching of coloured pencils.

Each is a fixed function of the place in the picture, the same in every picture of one size, and so can be learnt.
Sizes are (width, height) in pixels; `enlarged` is how many of them make a unit of the scene.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Values = NDArray[np.float64]


@functools.cache
def mist(size: tuple[int, int]) -> Image.Image:
    """Return the opacity of the mist: a soft band at two thirds of the height."""
    y = np.linspace(0, 1, size[1])
    band = 150 * np.exp(-(((y - 0.64) / 0.09) ** 2)) + 40 * y
    return Image.fromarray(np.repeat(band.round().astype(np.uint8)[:, None], size[0], 1))


@functools.cache
def rice_paper(size: tuple[int, int]) -> Image.Image:
    """Return rice paper: nearly white, darker towards the corners."""
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    shade = 1 - 0.10 * np.clip(np.hypot(x, y) - 0.75, 0, 1)
    return Image.fromarray(np.stack((shade * 254, shade * 251, shade * 243), -1).round().astype(np.uint8))


@functools.cache
def hatching(size: tuple[int, int], enlarged: int, angle: float, spacing: float, bare: float) -> Image.Image:
    """Return how much paper pencil strokes leave bare: 0 to 255 times `bare`.

    The strokes run at `angle` degrees, clockwise from the right, `spacing` units apart.
    """
    y, x = (np.mgrid[: size[1], : size[0]] + 0.5) / enlarged
    a = math.radians(angle)
    across, along = y * math.cos(a) - x * math.sin(a), x * math.cos(a) + y * math.sin(a)
    bend = 0.8 * np.sin(along / 23 + 1.3 * np.sin(across / 31)) + 0.5 * np.sin(along / 9.7 + across / 17)
    strokes = 0.5 + 0.5 * np.sin(2 * math.pi * (across + bend) / spacing)
    pressure = 0.75 + 0.25 * np.sin(along / 19 + 2.1 * np.sin(across / 13))
    return Image.fromarray((255 * bare * strokes**1.5 * pressure).round().astype(np.uint8))


@functools.cache
def drawing_paper(size: tuple[int, int], enlarged: int) -> Image.Image:
    """Return white drawing paper with a soft grain."""
    rough = np.random.default_rng(11).normal(0, 1, (size[1] // enlarged // 2 + 1, size[0] // enlarged // 2 + 1))
    small = Image.fromarray((247 + 4 * rough).clip(0, 255).round().astype(np.uint8))
    whole = (small.width * 2 * enlarged, small.height * 2 * enlarged)
    grain = small.resize(whole, Image.Resampling.BILINEAR).crop((0, 0, *size))
    return Image.merge("RGB", (grain, grain, grain.point(lambda value: value - 4)))
