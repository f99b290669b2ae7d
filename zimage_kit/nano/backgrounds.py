"""The backgrounds of nano's scenes: a sky, some scenery, and the ground that things stand on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zimage_kit.nano.drawing import RGB, Painter, Pen

Random = np.random.Generator


# Coordinates are read in pairs, a shape a line: the formatter would give each pair a line of its own.
# fmt: off
def _ground(p: Pen, level: float, sway: float, rng: Random, tone: RGB, edge: bool = True) -> None:
    """Fill from a gently waving line at `level` down to the foot; units are the picture's width and height."""
    phase, waves = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.3)
    line = [(x, level + sway * math.sin(phase + 2 * math.pi * waves * x)) for x in np.linspace(-0.02, 1.02, 25)]
    p.polygon([*line, (1.02, 1.02), (-0.02, 1.02)], tone, edge)


def _cloud(p: Pen, x: float, y: float, size: float, tall: float, tone: RGB) -> None:
    puffs = ((-0.6, 0.10, 0.42), (0.0, -0.12, 0.62), (0.62, 0.10, 0.44), (0.2, 0.14, 0.5), (-0.25, 0.14, 0.48))
    for dx, dy, r in puffs:
        p.ellipse(x + dx * size, y + dy * size * tall, r * size, r * size * 0.78 * tall, tone, edge=False)


def _clouds(p: Pen, rng: Random, tall: float, tone: RGB, count: tuple[int, int]) -> None:
    places = rng.permutation([0.12, 0.36, 0.62, 0.88])
    for i in range(int(rng.integers(*count))):
        _cloud(p, places[i] + rng.uniform(-0.06, 0.06), rng.uniform(0.08, 0.26), rng.uniform(0.055, 0.09), tall, tone)


def day(p: Pen, rng: Random, tall: float) -> None:
    x, y, r = rng.uniform(0.1, 0.9), rng.uniform(0.12, 0.2), rng.uniform(0.065, 0.08)
    p.ellipse(x, y, r * 1.35, r * 1.35 * tall, (214, 236, 236), edge=False)
    p.ellipse(x, y, r, r * tall, (255, 222, 92))
    _clouds(p, rng, tall, (255, 255, 255), (1, 4))
    _ground(p, rng.uniform(0.71, 0.76), 0.012, rng, (246, 226, 178))
    _ground(p, rng.uniform(0.86, 0.90), 0.012, rng, (236, 210, 154), edge=False)


def grassland(p: Pen, rng: Random, tall: float) -> None:
    _clouds(p, rng, tall, (252, 254, 255), (0, 3))
    _ground(p, rng.uniform(0.56, 0.62), 0.045, rng, (168, 214, 120))
    _ground(p, rng.uniform(0.67, 0.71), 0.030, rng, (128, 192, 92))
    _ground(p, rng.uniform(0.80, 0.84), 0.018, rng, (98, 168, 74))
    for _ in range(int(rng.integers(3, 7))):
        x, y = rng.uniform(0.04, 0.96), rng.uniform(0.88, 0.97)
        for lean in (-0.014, 0.0, 0.014):
            p.stroke(((x, y), (x + lean, y - 0.035 * tall)), 0.008, (66, 138, 60), tip=0.003)


def sea(p: Pen, rng: Random, tall: float) -> None:
    _clouds(p, rng, tall, (255, 255, 255), (0, 3))
    p.box(-0.02, 0.56, 1.02, 1.02, (84, 170, 220))
    for level, tone in ((0.64, (58, 146, 206)), (0.75, (40, 120, 190)), (0.87, (28, 98, 170))):
        _ground(p, level, 0.008, rng, tone, edge=False)
    for level in (0.60, 0.70, 0.82, 0.93):
        for _ in range(2):
            x, w = rng.uniform(0.04, 0.90), rng.uniform(0.05, 0.09)
            y = level + rng.uniform(-0.02, 0.02)
            p.stroke(((x, y), (x + w / 2, y - 0.012 * tall), (x + w, y)), 0.0075, (186, 226, 246), edge=False)


def snow(p: Pen, rng: Random, tall: float) -> None:
    shift = rng.uniform(-0.1, 0.1)
    far, near = (150, 166, 202), (116, 134, 178)
    for x, top, w, tone in ((0.06, 0.34, 0.42, far), (0.94, 0.30, 0.44, far), (0.5, 0.20, 0.46, near)):
        x, top = x + shift, top + rng.uniform(-0.03, 0.03)
        p.polygon(((x - w, 0.76), (x, top), (x + w, 0.76)), tone)
        d = 0.30 * (0.76 - top)
        s = w * 0.30
        p.polygon(((x - s, top + d), (x, top), (x + s, top + d), (x + s * 0.5, top + d * 0.72),
            (x + s * 0.1, top + d * 1.25), (x - s * 0.35, top + d * 0.75)), (252, 253, 255))
    _ground(p, rng.uniform(0.69, 0.73), 0.014, rng, (240, 245, 252))
    _ground(p, rng.uniform(0.85, 0.89), 0.012, rng, (224, 233, 246), edge=False)


def sunset(p: Pen, rng: Random, tall: float) -> None:
    x, r = rng.uniform(0.25, 0.75), rng.uniform(0.14, 0.18)
    p.ellipse(x, 0.66, r * 1.28, r * 1.28 * tall, (252, 166, 104), edge=False)
    p.ellipse(x, 0.66, r, r * tall, (255, 98, 60) if rng.random() < 0.35 else (255, 214, 112))
    for _ in range(int(rng.integers(1, 3))):
        cx, cy, w = rng.uniform(0.1, 0.9), rng.uniform(0.16, 0.40), rng.uniform(0.12, 0.2)
        p.ellipse(cx, cy, w, 0.018, (214, 122, 128), edge=False)
        p.ellipse(cx + w * 0.4, cy + 0.026, w * 0.7, 0.014, (226, 138, 124), edge=False)
    _ground(p, rng.uniform(0.66, 0.70), 0.022, rng, (142, 74, 104))
    _ground(p, rng.uniform(0.80, 0.84), 0.018, rng, (106, 54, 92))


def night(p: Pen, rng: Random, tall: float) -> None:
    for _ in range(int(rng.integers(16, 26))):
        x, y, r = rng.uniform(0.02, 0.98), rng.uniform(0.02, 0.64), rng.uniform(0.0035, 0.0065)
        p.ellipse(x, y, r, r * tall, (250, 246, 220), edge=False)
    for _ in range(int(rng.integers(2, 5))):
        x, y, r = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.45), rng.uniform(0.018, 0.026)
        points = [(a, i * math.pi / 4) for i, a in enumerate((r, r * 0.3) * 4)]  # four long, four short
        star = [(x + a * math.sin(turn), y - tall * a * math.cos(turn)) for a, turn in points]
        p.polygon(star, (255, 236, 150), edge=False)
    _ground(p, rng.uniform(0.70, 0.74), 0.026, rng, (44, 62, 116))
    _ground(p, rng.uniform(0.83, 0.87), 0.018, rng, (32, 46, 92))


def desert(p: Pen, rng: Random, tall: float) -> None:
    x = rng.uniform(0.15, 0.85)
    p.ellipse(x, 0.2, 0.06, 0.06 * tall, (255, 250, 224), edge=False)
    _ground(p, rng.uniform(0.58, 0.63), 0.050, rng, (240, 188, 116))
    _ground(p, rng.uniform(0.69, 0.73), 0.035, rng, (228, 164, 88))
    x, y, s = rng.choice((rng.uniform(0.04, 0.12), rng.uniform(0.88, 0.96))), rng.uniform(0.74, 0.78), 0.045
    for points in (
        ((x, y), (x, y - 3.4 * s * tall)),
        ((x, y - 1.3 * s * tall), (x - s, y - 1.4 * s * tall), (x - s, y - 2.4 * s * tall)),
        ((x, y - 1.7 * s * tall), (x + s, y - 1.8 * s * tall), (x + s, y - 2.9 * s * tall)),
    ):
        p.stroke(points, 0.030, (98, 142, 84), edge=False)
    _ground(p, rng.uniform(0.82, 0.86), 0.022, rng, (214, 146, 74))


def city(p: Pen, rng: Random, tall: float) -> None:
    x = -0.04
    while x < 1.0:
        w, top = rng.uniform(0.10, 0.17), rng.uniform(0.24, 0.50)
        tone: RGB = ((156, 172, 202), (136, 154, 190), (174, 188, 214))[int(rng.integers(3))]
        p.box(x, top, x + w, 0.78, tone)
        for row in range(4):
            for column in range(2):
                wx, wy = x + w * (0.22 + 0.36 * column), top + 0.05 + row * 0.08
                if wy < 0.66:
                    p.box(wx, wy, wx + w * 0.2, wy + 0.035, (250, 232, 170), edge=False)
        x += w + rng.uniform(0.004, 0.02)
    p.box(-0.02, 0.73, 1.02, 1.02, (190, 194, 204))
    p.box(-0.02, 0.80, 1.02, 1.02, (128, 134, 150), edge=False)
    for i in range(5):
        p.box(0.04 + i * 0.21, 0.935, 0.15 + i * 0.21, 0.95, (240, 240, 236), edge=False)

# fmt: on


# name: (drawing, top of the sky, foot of the sky, colour of a shadow on the ground)
BACKGROUNDS: dict[str, tuple[Callable[[Pen, Random, float], None], RGB, RGB, RGB]] = {
    "day": (day, (108, 180, 248), (218, 240, 252), (208, 180, 128)),
    "grassland": (grassland, (132, 204, 246), (232, 247, 240), (72, 134, 58)),
    "sea": (sea, (126, 196, 246), (232, 246, 250), (22, 80, 146)),
    "snow": (snow, (158, 184, 222), (230, 238, 247), (190, 204, 226)),
    "sunset": (sunset, (96, 62, 136), (255, 158, 96), (80, 40, 76)),
    "night": (night, (20, 26, 86), (70, 84, 158), (22, 32, 70)),
    "desert": (desert, (255, 206, 140), (255, 240, 208), (184, 118, 54)),
    "city": (city, (162, 200, 240), (240, 240, 244), (100, 106, 122)),
}


def paint(painter: Painter, name: str, rng: Random) -> None:
    """Fill the painter's canvas with a background."""
    drawing, top, bottom, _ = BACKGROUNDS[name]
    width, height = painter.size
    painter.sky(top, bottom)
    pen = Pen()
    drawing(pen, rng, width / height)
    for shape in pen.shapes:
        shape.points[:] *= (width, height)
    painter.scenery(pen.shapes)
    painter.mist()
