"""Named poses: the angles of limbs, hung on a body of natural proportions or on that of nano's small people.

Angles are in degrees: 0 hangs down, positive to the right of the picture, 180 up. The figure faces the viewer, so its
right side is at the left of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zimage_kit.nano import people
from zimage_kit.nano.people import Limbs

from .skeleton import Points

ANGLES: dict[str, tuple[Limbs, Limbs]] = {
    **people.ANGLES,  # those that nano knows by name
    "t_pose": ((-90, -90, -4, -3), (90, 90, 4, 3)),
    "cheering": ((-135, -178, -12, -8), (135, 178, 12, 8)),
    "star": ((-118, -118, -30, -30), (118, 118, 30, 30)),
    "shrugging": ((-34, -112, -5, -4), (34, 112, 5, 4)),
    "lunging": ((-70, -88, -62, 4), (70, 88, 46, 48)),
}


@dataclass(frozen=True)
class Body:
    """Proportions, in heights of the standing figure: points from the ground's middle (x to the right, y up)."""

    nose: float
    neck: float
    shoulders: tuple[float, float]
    hips: tuple[float, float]
    eyes: tuple[float, float]
    ears: tuple[float, float]
    upper_arm: float
    forearm: float
    thigh: float
    shin: float


BODIES: dict[str, Body] = {
    "adult": Body(0.93, 0.82, (0.125, 0.82), (0.068, 0.52), (0.022, 0.945), (0.048, 0.935), 0.165, 0.145, 0.25, 0.25),
    "small": Body(
        0.834, 0.704, (0.092, 0.679), (0.055, 0.389), (0.042, 0.861), (0.112, 0.839), 0.15, 0.14, 0.185, 0.185
    ),
}
"""`adult` is eight heads high or nearly; `small` is how nano draws people, with a large head."""


LIFTED = {"jumping": 0.08, "star": 0.06}
"""How far the feet are off the ground, in heights of the figure."""


def points(pose: str, body: Literal["adult", "small"]) -> Points:
    """(18, 3) points of a named pose in heights of the standing figure: x from its middle, y down from its crown.

    The lower foot stands on the ground, at y = 1 less the foot's own thickness.
    """
    of = BODIES[body]
    out = np.ones((18, 3))
    out[0, :2], out[1, :2] = (0, of.nose), (0, of.neck)
    for side, angles, arm, leg, eye, ear in ((-1, ANGLES[pose][0], 2, 8, 14, 16), (1, ANGLES[pose][1], 5, 11, 15, 17)):
        out[arm, :2] = side * of.shoulders[0], of.shoulders[1]
        out[leg, :2] = side * of.hips[0], of.hips[1]
        for first, lengths, limbs in ((arm, (of.upper_arm, of.forearm), angles[:2]),
                                      (leg, (of.thigh, of.shin), angles[2:])):  # fmt: skip
            for joint, (length, angle) in enumerate(zip(lengths, limbs, strict=True)):
                radians = math.radians(angle)
                reach = (length * math.sin(radians), -length * math.cos(radians))
                out[first + joint + 1, :2] = out[first + joint, :2] + reach
        out[eye, :2], out[ear, :2] = (side * of.eyes[0], of.eyes[1]), (side * of.ears[0], of.ears[1])
    ground = min(out[10, 1], out[13, 1])
    out[:, 1] = 0.98 - LIFTED.get(pose, 0.0) - (out[:, 1] - ground)
    return out


def lay_out(poses: Sequence[str], body: Literal["adult", "small"], size: float, aspect: float) -> list[Points]:
    """Figures side by side from left to right, (18, 3) each, as fractions of a picture `aspect` times as wide as high.

    A standing one is `size` of the picture's height high, all alike; less where that would be wider than its share of
    the width. They stand on one ground.
    """
    made = [points(pose, body) for pose in poses]
    share = aspect / len(made)
    widest = max(float(np.ptp(one[:, 0])) for one in made) + 2 * _FLESH
    height = min(size, share / widest)
    ground = min(0.5 + size / 2, 0.96)
    for number, one in enumerate(made):
        middle = (one[:, 0].max() + one[:, 0].min()) / 2
        one[:, 0] = ((one[:, 0] - middle) * height + (number + 0.5) * share) / aspect
        one[:, 1] = ground - (1 - one[:, 1]) * height
    return made


_FLESH = 0.08
"""Room around the outermost joints, in heights of the figure."""
