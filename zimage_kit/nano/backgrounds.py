"""The backgrounds of nano's scenes: a sky, some scenery, and the ground that things stand on.

Most are places, which have a day and a night of the same layout: at night every colour is tinted dark blue, except the
tones in `BY_HOUR`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zimage_kit.nano.drawing import RGB, Painter, Pen, Shape

Random = np.random.Generator

# Tones that night changes otherwise than by its tint: the colour by day and by night; None is not drawn.
BY_HOUR: dict[str, tuple[RGB | None, RGB | None]] = {
    "disc": ((255, 250, 224), None),
    "pane": ((250, 232, 170), (255, 212, 104)),
    "star": (None, (250, 246, 220)),
    "outside": ((150, 208, 246), (28, 36, 96)),
    "hills": ((140, 200, 128), (34, 58, 92)),
    "shade": ((244, 206, 150), (255, 232, 150)),
    "sand": ((250, 230, 182), (126, 108, 100)),
    "near_sand": ((240, 214, 158), (108, 90, 90)),
    "glow": (None, (204, 158, 112)),
    "bright": (None, (230, 186, 128)),
}


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
    p.ellipse(x, 0.2, 0.06, 0.06 * tall, "disc", edge=False)
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
                    p.box(wx, wy, wx + w * 0.2, wy + 0.035, "pane", edge=False)
        x += w + rng.uniform(0.004, 0.02)
    p.box(-0.02, 0.73, 1.02, 1.02, (190, 194, 204))
    p.box(-0.02, 0.80, 1.02, 1.02, (128, 134, 150), edge=False)
    for i in range(5):
        p.box(0.04 + i * 0.21, 0.935, 0.15 + i * 0.21, 0.95, (240, 240, 236), edge=False)


def beach(p: Pen, rng: Random, tall: float) -> None:
    _clouds(p, rng, tall, (255, 255, 255), (0, 3))
    p.box(-0.02, 0.50, 1.02, 0.80, (44, 168, 192))
    p.box(-0.02, 0.57, 1.02, 0.80, (92, 200, 206), edge=False)
    level, phase = rng.uniform(0.64, 0.67), rng.uniform(0, 2 * math.pi)
    for fall, tone in ((0.0, (250, 253, 252)), (0.026, "sand"), (0.20, "near_sand")):
        line = [(x, level + fall + 0.018 * math.sin(phase + 9 * x)) for x in np.linspace(-0.02, 1.02, 25)]
        p.polygon([*line, (1.02, 1.02), (-0.02, 1.02)], tone, edge=not fall)
    side = int(rng.choice((-1, 1)))
    x, lean = 0.5 + side * rng.uniform(0.42, 0.45), -side * 0.05
    top = rng.uniform(0.24, 0.30)
    p.stroke(((x, 0.76), (x - lean * 0.6, 0.52), (x + lean * 0.2, top)), 0.034, (168, 122, 82), tip=0.024)
    for turn, long in ((-170, 0.16), (-125, 0.13), (-55, 0.13), (-10, 0.16), (30, 0.12), (150, 0.12)):
        dx, dy = long * math.cos(math.radians(turn)), long * tall * math.sin(math.radians(turn))
        fx = x + lean * 0.2
        p.blob(((fx, top), (fx + dx * 0.5, top + dy * 0.6 - 0.035 * tall), (fx + dx, top + dy + 0.06 * tall),
            (fx + dx * 0.45, top + dy * 0.5 + 0.012 * tall)), (66, 150, 96))


def _fir(p: Pen, x: float, foot: float, size: float, tall: float, tone: RGB, cap: RGB | None) -> None:
    p.box(x - 0.10 * size, foot - 0.15 * size * tall, x + 0.10 * size, foot, (132, 98, 76), edge=False)
    for i in range(3):
        y, w = foot - (0.12 + 0.42 * i) * size * tall, (0.50 - 0.11 * i) * size
        tip = y - 0.72 * size * tall
        p.polygon(((x - w, y), (x, tip), (x + w, y)), tone, edge=cap is not None)
        if cap:
            p.polygon(((x - 0.55 * w, tip + 0.40 * size * tall), (x, tip), (x + 0.55 * w, tip + 0.40 * size * tall),
                (x, tip + 0.30 * size * tall)), cap, edge=False)


def snowfield(p: Pen, rng: Random, tall: float) -> None:
    p.box(-0.02, 0.55, 1.02, 0.70, (198, 214, 236))
    p.box(-0.02, 0.60, 1.02, 1.02, (224, 234, 247))
    _ground(p, rng.uniform(0.80, 0.83), 0.008, rng, (238, 244, 252), edge=False)
    for side in (-1, 1):
        for far, size in ((0.47, 0.26), (0.385, 0.17))[: int(rng.integers(1, 3))]:
            x = 0.5 + side * (far + rng.uniform(-0.015, 0.015))
            _fir(p, x, 0.64 + 0.35 * (size - 0.17), size * rng.uniform(0.9, 1.1), tall, (88, 132, 126), (250, 252, 255))


def forest(p: Pen, rng: Random, tall: float) -> None:
    p.box(-0.02, 0.54, 1.02, 0.70, (178, 212, 172), edge=False)
    for row, (foot, size, tone) in enumerate(((0.62, 0.17, (178, 212, 172)), (0.66, 0.20, (144, 190, 146)))):
        x = -0.02 + 0.05 * row + rng.uniform(-0.03, 0.03)
        while x < 1.04:
            _fir(p, x, foot, size * rng.uniform(0.85, 1.15), tall, tone, None)
            x += rng.uniform(0.09, 0.13)
    _ground(p, rng.uniform(0.63, 0.66), 0.014, rng, (150, 178, 96))
    _ground(p, rng.uniform(0.80, 0.84), 0.014, rng, (128, 156, 78), edge=False)
    for side in (-1, 1):
        for far, foot, w in ((0.36, 0.70, 0.036), (0.45, 0.80, 0.058)):
            x = 0.5 + side * (far + rng.uniform(-0.02, 0.02))
            p.polygon(((x - w / 2, -0.02), (x + w / 2, -0.02), (x + w * 0.7, foot), (x - w * 0.7, foot)),
                (146, 104, 72))
    hem = [(x, 0.105 - 0.035 * abs(math.sin(x * 4.0 * math.pi)) + 0.30 * abs(x - 0.5) ** 2)
        for x in np.linspace(-0.02, 1.02, 53)]
    p.polygon([*hem, (1.02, -0.02), (-0.02, -0.02)], (84, 148, 92))


def room(p: Pen, rng: Random, tall: float) -> None:
    side, floor = int(rng.choice((-1, 1))), rng.uniform(0.70, 0.73)
    x = 0.5 + side * rng.uniform(0.22, 0.27)
    for r, tone in ((0.34, "glow"), (0.21, "bright")):
        p.ellipse(0.5 - side * 0.43, 0.36, r, r * tall, tone, edge=False)
    p.box(x - 0.155, 0.10, x + 0.155, 0.46, (250, 250, 246))
    p.box(x - 0.13, 0.125, x + 0.13, 0.435, "outside")
    for dx, dy in ((-0.085, 0.17), (0.05, 0.20), (-0.04, 0.29), (0.095, 0.28)):
        p.ellipse(x + dx, dy, 0.008, 0.008 * tall, "star", edge=False)
    p.polygon(((x - 0.13, 0.435), (x - 0.13, 0.37), (x - 0.03, 0.34), (x + 0.13, 0.39), (x + 0.13, 0.435)), "hills",
        edge=False)
    p.box(x - 0.011, 0.125, x + 0.011, 0.435, (250, 250, 246), edge=False)
    p.box(x - 0.13, 0.27, x + 0.13, 0.29, (250, 250, 246), edge=False)
    p.box(-0.02, floor - 0.04, 1.02, floor, (252, 250, 244))
    p.box(-0.02, floor, 1.02, 1.02, (214, 176, 130))
    for y in (floor + 0.075, floor + 0.16):
        p.box(-0.02, y, 1.02, y + 0.010, (196, 156, 110), edge=False)
    p.ellipse(0.5, 0.90, 0.42, 0.075, (190, 206, 214))
    p.ellipse(0.5, 0.90, 0.36, 0.055, (214, 224, 228), edge=False)
    lamp = 0.5 - side * 0.43
    p.stroke(((lamp, floor + 0.08), (lamp, 0.40)), 0.018, (140, 110, 90))
    p.ellipse(lamp, floor + 0.085, 0.045, 0.016, (140, 110, 90), edge=False)
    p.polygon(((lamp - 0.035, 0.27), (lamp + 0.035, 0.27), (lamp + 0.07, 0.42), (lamp - 0.07, 0.42)), "shade")

# fmt: on


@dataclass(frozen=True)
class Background:
    """A drawing with the colours of its sky and of a shadow on its ground; `night` is its sky at night, top and foot.

    What is no place but a time of day has no `night`: it looks the same at any hour.
    """

    drawing: Callable[[Pen, Random, float], None]
    top: RGB
    foot: RGB
    shadow: RGB
    night: tuple[RGB, RGB] | None = None


BACKGROUNDS: dict[str, Background] = {
    "day": Background(day, (108, 180, 248), (218, 240, 252), (208, 180, 128)),
    "grassland": Background(
        grassland, (132, 204, 246), (232, 247, 240), (72, 134, 58), night=((18, 40, 82), (56, 98, 122))
    ),
    "sea": Background(sea, (126, 196, 246), (232, 246, 250), (22, 80, 146), night=((14, 34, 92), (62, 104, 168))),
    "snow": Background(snow, (158, 184, 222), (230, 238, 247), (190, 204, 226), night=((28, 34, 84), (84, 92, 146))),
    "sunset": Background(sunset, (96, 62, 136), (255, 158, 96), (80, 40, 76)),
    "night": Background(night, (20, 26, 86), (70, 84, 158), (22, 32, 70)),
    "desert": Background(
        desert, (255, 206, 140), (255, 240, 208), (184, 118, 54), night=((36, 30, 78), (112, 86, 122))
    ),
    "city": Background(city, (162, 200, 240), (240, 240, 244), (100, 106, 122), night=((18, 22, 60), (70, 70, 124))),
    "beach": Background(beach, (96, 186, 244), (226, 246, 252), (206, 176, 120), night=((16, 38, 96), (62, 96, 152))),
    "snowfield": Background(
        snowfield, (138, 176, 222), (202, 218, 240), (192, 208, 230), night=((34, 46, 96), (90, 106, 158))
    ),
    "forest": Background(forest, (206, 230, 206), (240, 248, 226), (98, 124, 58), night=((18, 44, 62), (52, 92, 98))),
    "room": Background(
        room, (222, 232, 226), (236, 242, 234), (170, 160, 150), night=((150, 112, 92), (190, 146, 106))
    ),
}


def paint(painter: Painter, name: str, rng: Random, hour: str = "day") -> None:
    """Fill the painter's canvas with a background; `hour` is "day" or "night"."""
    background = BACKGROUNDS[name]
    at_night = background.night if hour == "night" else None
    width, height = painter.size
    painter.sky(*(at_night or (background.top, background.foot)))
    pen, stars = Pen(), Pen()
    background.drawing(pen, rng, width / height)
    if at_night and name != "room":
        _stars(stars, rng, width / height)
    shapes = [
        Shape(shape.points * (width, height), tone, shape.edge)
        for shape in (*stars.shapes, *pen.shapes)
        if (tone := _seen(shape.tone, at_night is not None)) is not None
    ]
    painter.scenery(shapes)
    painter.mist()


def shadow(name: str, hour: str = "day") -> RGB:
    """Return the colour of a thing's shadow on the ground."""
    background = BACKGROUNDS[name]
    return _dusk(background.shadow) if hour == "night" and background.night else background.shadow


def _stars(p: Pen, rng: Random, tall: float) -> None:
    for _ in range(int(rng.integers(9, 15))):
        x, y, r = rng.uniform(0.02, 0.98), rng.uniform(0.02, 0.46), rng.uniform(0.006, 0.009)
        p.ellipse(x, y, r, r * tall, "star", edge=False)


def _seen(tone: str | RGB, at_night: bool) -> RGB | None:
    """Return a colour at this hour; None is not drawn."""
    if isinstance(tone, str):
        return BY_HOUR[tone][int(at_night)]
    return _dusk(tone) if at_night else tone


def _dusk(rgb: RGB) -> RGB:
    """Return a colour as it is seen at night: dark and blue, yet not so grey that a meadow looks like sand."""
    light = 0.30 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]
    r, g, b = (max(0.0, light + 1.5 * (value - light)) for value in rgb)
    return (round(0.38 * r), round(6 + 0.39 * g), round(25 + 0.46 * b))
