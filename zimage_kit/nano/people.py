"""People: a figure hung on 18 OpenPose keypoints, and the named poses.

The order of the points is OpenPose's body layout: nose, neck, right shoulder, elbow, wrist, left shoulder, elbow,
wrist, right hip, knee, ankle, left hip, knee, ankle, right eye, left eye, right ear, left ear. The figure faces the
viewer, so its right side is at the left of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zimage_kit.nano.drawing import Pen, Points

# Limb angles in degrees: 0 hangs down, positive to the right of the picture, 180 up. Per side (at the picture's left,
# at its right): upper arm, forearm, thigh, shin. Every pose may be mirrored.
Limbs = tuple[float, float, float, float]
ANGLES: dict[str, tuple[Limbs, Limbs]] = {
    "standing": ((-12, -8, -4, -3), (12, 8, 4, 3)),
    "waving": ((-12, -8, -5, -4), (112, 172, 5, 4)),
    "arms_up": ((-148, -166, -8, -6), (148, 166, 8, 6)),
    "running": ((-58, 28, -58, -112), (52, 118, 48, -8)),
    "walking": ((-34, -12, -24, -36), (34, 58, 26, 10)),
    "sitting": ((-16, 40, 74, 4), (22, 58, 84, 8)),
    "jumping": ((-122, -148, -52, 22), (122, 148, 52, -22)),
    "dancing": ((-96, -104, -10, -4), (132, -158, 64, -20)),
    "hands_on_hips": ((-52, 46, -10, -6), (52, -46, 10, 6)),
    "pointing": ((-12, -8, -5, -4), (92, 92, 6, 4)),
}
UPPER_ARM, FOREARM, THIGH, SHIN = 0.150, 0.140, 0.185, 0.185
HEAD = 0.118
FACE = [0, 14, 15, 16, 17]


@dataclass(frozen=True)
class Build:
    """How a body differs from the usual one: factors of its lengths, and angles in degrees.

    `lean` turns all above the hips, `tilt` the head, both to the right of the picture.
    """

    arms: float = 1.0
    legs: float = 1.0
    torso: float = 1.0
    shoulders: float = 1.0
    lean: float = 0.0
    tilt: float = 0.0


def keypoints(
    limbs: tuple[Limbs, Limbs], mirrored: bool = False, lift: float = 0.0, build: Build | None = None
) -> Points:
    """Return (18, 2) points in the unit box of a figure from its limb angles.

    The lower foot, or knee, is `lift` above y = 0.465.
    """
    left, right = limbs
    if mirrored:
        left, right = tuple(-a for a in right), tuple(-a for a in left)  # type: ignore[assignment]
    build = build or Build()
    rise = 0.29 * (build.torso - 1)
    out = np.zeros((18, 2))
    out[0], out[1] = (0.0, -0.345 - rise), (0.0, -0.215 - rise)
    out[14], out[15] = (-0.042, -0.372 - rise), (0.042, -0.372 - rise)
    out[16], out[17] = (-0.112, -0.350 - rise), (0.112, -0.350 - rise)
    for side, shoulder in ((-1, 2), (1, 5)):
        out[shoulder] = (side * 0.092 * build.shoulders, -0.19 - rise)
    _turn(out, FACE, (0.0, -0.215 - rise), build.tilt)
    _turn(out, [*FACE, 1, 2, 5], (0.0, 0.10), build.lean)
    for side, angles, arm, leg in ((-1, left, 2, 8), (1, right, 5, 11)):
        out[arm + 1] = out[arm] + _reach(UPPER_ARM * build.arms, angles[0])
        out[arm + 2] = out[arm + 1] + _reach(FOREARM * build.arms, angles[1])
        out[leg] = (side * 0.055, 0.10)
        out[leg + 1] = out[leg] + _reach(THIGH * build.legs, angles[2])
        out[leg + 2] = out[leg + 1] + _reach(SHIN * build.legs, angles[3])
    out[:, 1] += 0.465 - lift - out[[9, 10, 12, 13], 1].max()
    return out


def _turn(points: Points, which: list[int], centre: tuple[float, float], angle: float) -> None:
    """Turn some of the points about a centre, `angle` degrees clockwise, in place."""
    if angle:
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        points[which] = (points[which] - centre) @ np.array(((c, s), (-s, c))) + centre


def _reach(length: float, angle: float) -> tuple[float, float]:
    return (length * math.sin(math.radians(angle)), length * math.cos(math.radians(angle)))


# Coordinates are read in pairs, a shape a line: the formatter would give each pair a line of its own.
# fmt: off
def draw(p: Pen, points: Points, figure: str, seated: bool) -> None:
    """Draw a girl (long hair, dress) or a boy (short hair, shirt, trousers) on its keypoints."""
    k = [(float(x), float(y)) for x, y in points]
    girl = figure == "girl"
    neck, head = k[1], (k[0][0], k[0][1] - 0.022)
    hip = ((k[8][0] + k[11][0]) / 2, (k[8][1] + k[11][1]) / 2)
    if seated:
        p.box(hip[0] - 0.13, hip[1] + 0.03, hip[0] + 0.13, hip[1] + 0.10, "wood", 0.02)
        for x in (-0.10, 0.10):
            p.box(hip[0] + x - 0.022, hip[1] + 0.10, hip[0] + x + 0.022, 0.5, "wood_dark", edge=False)
    if girl:
        p.blob(_around(head, ((-0.135, -0.02), (-0.10, -0.125), (0, -0.155), (0.10, -0.125), (0.135, -0.02),
            (0.125, 0.14), (0.09, 0.19), (0, 0.15), (-0.09, 0.19), (-0.125, 0.14))), "hair")
    for thigh, knee, ankle in ((8, 9, 10), (11, 12, 13)):
        leg = "skin" if girl else "trousers"
        p.stroke((k[thigh], k[knee], k[ankle]), 0.066 if girl else 0.088, leg, edge=True, tip=0.046 if girl else 0.056)
        p.ellipse(k[ankle][0] + math.copysign(0.022, k[ankle][0] - hip[0]), k[ankle][1] + 0.008, 0.066, 0.040,
            "wood_dark")
    p.stroke((neck, (head[0], head[1] + 0.08)), 0.060, "skin")
    shoulders = ((k[2][0] - 0.024, k[2][1] - 0.014), (neck[0], neck[1] - 0.002), (k[5][0] + 0.024, k[5][1] - 0.014))
    if girl:
        side = 0.5 * (k[9][0] + k[12][0] - k[8][0] - k[11][0])
        hem = min(max(k[9][1], k[12][1]) - 0.02, hip[1] + 0.13)
        drift = max(-0.10, min(0.10, side))
        p.polygon((*shoulders, (hip[0] + 0.085, hip[1] - 0.06), (hip[0] + 0.155 + max(drift, 0) * 1.4, hem),
            (hip[0] - 0.155 + min(drift, 0) * 1.4, hem), (hip[0] - 0.085, hip[1] - 0.06)), "main")
        p.polygon(((hip[0] + 0.155 + max(drift, 0) * 1.4, hem), (hip[0] - 0.155 + min(drift, 0) * 1.4, hem),
            (hip[0] - 0.142 + min(drift, 0) * 1.2, hem - 0.032), (hip[0] + 0.142 + max(drift, 0) * 1.2, hem - 0.032)),
            "dark", edge=False)
    else:
        p.polygon((*shoulders, (k[5][0] + 0.012, hip[1] + 0.01), (k[2][0] - 0.012, hip[1] + 0.01)), "main")
        p.box(hip[0] - 0.098, hip[1] - 0.018, hip[0] + 0.098, hip[1] + 0.022, "dark", 0.01, edge=False)
    for shoulder, elbow, wrist in ((2, 3, 4), (5, 6, 7)):
        p.stroke((k[shoulder], k[elbow], k[wrist]), 0.070, "main", edge=True, tip=0.046)
        along = np.array(k[wrist]) - np.array(k[elbow])
        x, y = (float(v) for v in np.array(k[wrist]) + 0.022 * along / (np.hypot(*along) + 1e-9))
        p.ellipse(x, y, 0.056, 0.056, "skin_edge", edge=False)
        p.ellipse(x, y, 0.043, 0.043, "skin")
    for ear in (16, 17):
        p.ellipse(k[ear][0], k[ear][1] + 0.01, 0.022, 0.028, "skin", edge=False)
    p.ellipse(head[0], head[1], HEAD, HEAD * 1.02, "skin")
    fringe = ((-0.124, 0.0), (-0.118, -0.085), (-0.06, -0.135), (0, -0.142), (0.06, -0.135), (0.118, -0.085),
        (0.124, 0.0), (0.095, -0.052), (0.03, -0.060), (-0.04, -0.062), (-0.095, -0.046))
    p.blob(_around(head, fringe), "hair", edge=False)
    for eye in (14, 15):
        p.ellipse(k[eye][0], k[eye][1] + 0.016, 0.021, 0.029, "ink", edge=False)
        p.ellipse(math.copysign(0.074, k[eye][0] - head[0]) + head[0],
            head[1] + 0.050, 0.024, 0.017, "cheek", edge=False)
    p.arc(head[0], head[1] + 0.048, 0.044, 0.040, 0, 180, "mouth", edge=False)

# fmt: on


def _around(centre: tuple[float, float], offsets: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    return [(centre[0] + x, centre[1] + y) for x, y in offsets]
