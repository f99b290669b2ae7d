"""Skeletons: OpenPose's figure of 18 points drawn as the picture that pose ControlNets were trained on.

The order of points and limbs, their colours and the thickness are OpenPose's public conventions; the drawing is ours.
Points are rows (x, y, confidence): fractions of the width and height from the top left corner, confidence 0 = missing.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]
"""(n, 3): x and y as fractions of the picture, confidence 0 to 1."""

NAMES = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""Of the points; a limb has the colour of its place in `LIMBS`, at 0.6 of the brightness."""
HAND_BONES = tuple((0 if joint == 1 else first + joint - 2, first + joint - 1)
                   for first in (1, 5, 9, 13, 17) for joint in range(1, 5))  # fmt: skip
"""From the wrist (0) through the four points of each finger, thumb first."""
HAND_COLOURS = tuple(
    tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb(number / len(HAND_BONES), 1.0, 1.0))
    for number in range(len(HAND_BONES))
)
"""Of the bones: once around the hues."""

REFERENCE_SIDE = 512
"""Pixels. OpenPose's pictures for ControlNets are drawn this size, with limbs 8 pixels thick."""


def draw(
    bodies: Sequence[Points], width: int, height: int, hands: Iterable[Points] = (), faces: Iterable[Points] = ()
) -> Image.Image:
    """The skeleton picture, RGB on black, `width` x `height` pixels.

    `bodies` have 18 points each, `hands` 21, `faces` any number. Thickness goes with the shorter side: limbs are
    ellipses of half-width 4 and points discs of radius 4 in a picture of 512 pixels.
    """
    picture = Image.new("RGB", (width, height))
    pen, unit = ImageDraw.Draw(picture), min(width, height) / REFERENCE_SIDE
    size = np.array((width, height))
    for body in bodies:
        at = body[:, :2] * size
        for number, (one, other) in enumerate(LIMBS):
            if body[one, 2] > 0 and body[other, 2] > 0:
                colour = tuple(int(0.6 * channel) for channel in COLOURS[number])
                pen.polygon(_ellipse(at[one], at[other], 4 * unit), fill=colour)
        for point in np.flatnonzero(body[:, 2] > 0):
            _disc(pen, at[point], 4 * unit, COLOURS[point])
    for hand in hands:
        at = hand[:, :2] * size
        for number, (one, other) in enumerate(HAND_BONES):
            if hand[one, 2] > 0 and hand[other, 2] > 0:
                pen.line([tuple(at[one]), tuple(at[other])], fill=HAND_COLOURS[number], width=max(1, round(2 * unit)))
        for point in np.flatnonzero(hand[:, 2] > 0):
            _disc(pen, at[point], 4 * unit, (0, 0, 255))
    for face in faces:
        for x, y, confidence in face:
            if confidence > 0:
                _disc(pen, np.array((x, y)) * size, 3 * unit, (255, 255, 255))
    return picture


def _ellipse(one: Points, other: Points, half_width: float) -> list[tuple[float, float]]:
    """The outline of an ellipse whose long axis runs from one point to the other, in pixels."""
    centre, along = (one + other) / 2, (other - one) / 2
    length = math.hypot(*along)
    if length < 1e-6:
        return [tuple(one)] * 3
    across = np.array((-along[1], along[0])) * (half_width / length)
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    outline = centre + np.cos(angles)[:, None] * along + np.sin(angles)[:, None] * across
    return [(float(x), float(y)) for x, y in outline]


def _disc(pen: ImageDraw.ImageDraw, centre: Points, radius: float, colour: tuple[int, int, int]) -> None:
    x, y = centre
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
