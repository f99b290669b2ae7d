"""Buildings, vehicles and objects, drawn as `zimage_kit.nano.things` tells."""

from __future__ import annotations

import math

import numpy as np

from zimage_kit.nano.drawing import Pen

Random = np.random.Generator


# Coordinates are read in pairs, a shape a line: the formatter would give each pair a line of its own.
# fmt: off
def house(p: Pen, rng: Random) -> None:
    p.box(0.17, -0.44, 0.28, -0.10, "wood_dark")
    p.box(-0.36, -0.08, 0.36, 0.5, "main")
    p.box(0.20, -0.08, 0.36, 0.5, "dark", edge=False)
    p.polygon(((-0.47, -0.06), (0, -0.50), (0.47, -0.06)), "dark")
    p.polygon(((-0.34, -0.09), (0, -0.41), (0.12, -0.30), (-0.10, -0.09)), "main", edge=False)
    p.box(-0.09, 0.16, 0.09, 0.5, "wood")
    p.ellipse(0.05, 0.34, 0.018, 0.018, "gold", edge=False)
    for x in (-0.23, 0.23):
        p.box(x - 0.085, 0.08, x + 0.085, 0.26, "window")
        p.box(x - 0.010, 0.08, x + 0.010, 0.26, "wood_dark", edge=False)
        p.box(x - 0.085, 0.16, x + 0.085, 0.18, "wood_dark", edge=False)


def pagoda(p: Pen, rng: Random) -> None:
    p.box(-0.30, 0.44, 0.30, 0.5, "steel")
    p.stroke(((0, -0.34), (0, -0.50)), 0.030, "gold", edge=True)
    for level, (y, w) in enumerate(((0.44, 0.23), (0.20, 0.19), (-0.03, 0.15))):
        top = y - 0.16
        p.box(-w, top, w, y, "cream")
        for x in (-0.6, 0.6):
            p.box(x * w - 0.022, top, x * w + 0.022, y, "main", edge=False)
        p.arc(0, y - 0.065, 0.050, 0.065, 180, 360, "window" if level else "wood_dark")
        if not level:
            p.box(-0.05, y - 0.065, 0.05, y, "wood_dark")
        r = w + 0.15
        p.blob(((-r, top - 0.05), (-r + 0.08, top + 0.02), (0, top + 0.035), (r - 0.08, top + 0.02), (r, top - 0.05),
            (w * 0.55, top - 0.085), (0, top - 0.10), (-w * 0.55, top - 0.085)), "main")
        p.stroke(((-r + 0.04, top - 0.015), (0, top + 0.02), (r - 0.04, top - 0.015)), 0.022, "dark")
    p.polygon(((-0.11, -0.28), (0, -0.42), (0.11, -0.28)), "main")


def bridge(p: Pen, rng: Random) -> None:
    upper = [(x, -0.16 + 0.62 * x * x * 1.9) for x in np.linspace(-0.5, 0.5, 21)]
    opening = [(0.27 * math.cos(math.radians(a)), 0.36 - 0.31 * math.sin(math.radians(a))) for a in range(0, 181, 10)]
    p.polygon([*upper, (0.5, 0.36), *opening, (-0.5, 0.36)], "main")
    ring = [(0.32 * math.cos(math.radians(a)), 0.36 - 0.36 * math.sin(math.radians(a))) for a in range(0, 181, 10)]
    p.polygon([*ring, *reversed(opening)], "light", edge=False)
    p.stroke([(x, y) for x, y in upper[::4]], 0.060, "dark", edge=True)
    for x in (-0.44, -0.30, -0.15, 0.0, 0.15, 0.30, 0.44):
        y = -0.16 + 0.62 * x * x * 1.9
        p.box(x - 0.020, y - 0.15, x + 0.020, y, "dark", 0.01, edge=False)
    p.stroke([(x, y - 0.14) for x, y in upper[1:20:3]], 0.032, "dark")


def boat(p: Pen, rng: Random) -> None:
    p.stroke(((0.0, 0.26), (0.0, -0.50)), 0.035, "wood_dark", edge=False)
    p.blob(((0.035, -0.46), (0.24, -0.18), (0.40, 0.16), (0.20, 0.19), (0.035, 0.19)), "paper")
    p.polygon(((0.035, 0.02), (0.33, 0.02), (0.40, 0.17), (0.035, 0.19)), "light", edge=False)
    p.polygon(((-0.035, -0.36), (-0.035, 0.19), (-0.32, 0.18)), "paper")
    p.blob(((-0.48, 0.24), (-0.20, 0.27), (0.20, 0.27), (0.49, 0.22), (0.38, 0.42), (0.28, 0.49), (-0.28, 0.49),
        (-0.40, 0.40)), "main")
    p.polygon(((-0.41, 0.38), (0.41, 0.38), (0.33, 0.47), (0.28, 0.49), (-0.28, 0.49), (-0.34, 0.46)),
        "dark", edge=False)
    p.polygon(((0, -0.50), (-0.15, -0.45), (0, -0.40)), "main", edge=False)


def car(p: Pen, rng: Random) -> None:
    p.blob(((-0.30, -0.04), (-0.20, -0.24), (0.0, -0.28), (0.16, -0.22), (0.30, -0.02), (0.0, 0.04)), "main")
    p.polygon(((-0.235, -0.04), (-0.16, -0.19), (-0.03, -0.21), (-0.03, -0.04)), "glass")
    p.polygon(((0.02, -0.21), (0.12, -0.18), (0.22, -0.04), (0.02, -0.04)), "glass")
    p.blob(((-0.49, 0.10), (-0.46, -0.02), (-0.28, -0.06), (0.20, -0.06), (0.44, 0.0), (0.50, 0.12), (0.46, 0.20),
        (0, 0.21), (-0.46, 0.20)), "main")
    p.box(-0.47, 0.13, 0.47, 0.20, "dark", 0.03, edge=False)
    p.ellipse(0.455, 0.065, 0.035, 0.032, "window", edge=False)
    p.box(-0.49, 0.04, -0.44, 0.09, "cheek", 0.01, edge=False)
    p.stroke(((-0.005, -0.03), (-0.005, 0.12)), 0.012, "dark")
    p.box(0.03, 0.02, 0.09, 0.04, "light", 0.008, edge=False)
    for x in (-0.28, 0.28):
        p.ellipse(x, 0.20, 0.115, 0.115, "tyre")
        p.ellipse(x, 0.20, 0.058, 0.058, "steel", edge=False)


def balloon(p: Pen, rng: Random) -> None:
    p.stroke(((-0.16, 0.08), (-0.07, 0.34)), 0.015, "wood_dark")
    p.stroke(((0.16, 0.08), (0.07, 0.34)), 0.015, "wood_dark")
    outline = ((0, -0.50), (0.22, -0.45), (0.35, -0.28), (0.36, -0.10), (0.24, 0.08), (0.10, 0.21), (-0.10, 0.21),
        (-0.24, 0.08), (-0.36, -0.10), (-0.35, -0.28), (-0.22, -0.45))
    p.blob(outline, "main")
    p.blob([(x * 0.62, y) for x, y in outline], "light", edge=False)
    p.blob([(x * 0.26, y) for x, y in outline], "main", edge=False)
    p.box(-0.105, 0.185, 0.105, 0.22, "dark", 0.012, edge=False)
    p.box(-0.095, 0.34, 0.095, 0.5, "wood", 0.025)
    p.box(-0.105, 0.33, 0.105, 0.37, "wood_dark", 0.015, edge=False)


def teacup(p: Pen, rng: Random) -> None:
    for x in (-0.12, 0.04):
        p.stroke(((x, -0.26), (x + 0.05, -0.34), (x, -0.41), (x + 0.05, -0.49)), 0.026, "steam")
    p.ellipse(0, 0.41, 0.48, 0.085, "dark")
    p.ellipse(0, 0.395, 0.40, 0.055, "light", edge=False)
    p.stroke(((0.28, -0.04), (0.46, -0.06), (0.44, 0.16), (0.22, 0.22)), 0.060, "main", edge=True)
    p.blob(((-0.34, -0.14), (-0.32, 0.10), (-0.20, 0.33), (0, 0.39), (0.20, 0.33), (0.32, 0.10), (0.34, -0.14),
        (0, -0.12)), "main")
    p.blob(((0.10, 0.35), (0.24, 0.08), (0.28, -0.10), (0.33, -0.10), (0.30, 0.10), (0.19, 0.32)), "dark", edge=False)
    p.blob(((-0.26, -0.04), (-0.20, -0.03), (-0.17, 0.14), (-0.20, 0.17), (-0.25, 0.08)), "light", edge=False)
    p.ellipse(0, -0.14, 0.34, 0.075, "light")
    p.ellipse(0, -0.13, 0.285, 0.052, "tea", edge=False)


def lantern(p: Pen, rng: Random) -> None:
    p.stroke(((0, -0.50), (0, -0.36)), 0.020, "gold")
    for x in (-0.05, 0.0, 0.05):
        p.stroke(((x, 0.30), (x, 0.49)), 0.022, "gold")
    p.ellipse(0, -0.03, 0.36, 0.29, "main")
    p.ellipse(0, -0.03, 0.24, 0.29, "light", edge=False)
    p.ellipse(0, -0.03, 0.20, 0.29, "main", edge=False)
    p.ellipse(0, -0.03, 0.085, 0.29, "light", edge=False)
    p.ellipse(0, -0.03, 0.055, 0.29, "main", edge=False)
    p.box(-0.16, -0.37, 0.16, -0.29, "gold", 0.02)
    p.box(-0.16, 0.23, 0.16, 0.31, "gold", 0.02)


def umbrella(p: Pen, rng: Random) -> None:
    p.stroke(((0, -0.40), (0, 0.36), (0.05, 0.47), (0.15, 0.46), (0.17, 0.36)), 0.042, "wood", edge=True)
    p.stroke(((0, -0.50), (0, -0.40)), 0.030, "wood_dark")
    dome = [(0.48 * math.cos(math.radians(a)), 0.02 + 0.46 * math.sin(math.radians(a))) for a in range(180, 361, 12)]
    scallops = [(x, 0.02 - 0.055 * abs(math.sin((x + 0.48) / 0.24 * math.pi))) for x in np.linspace(0.48, -0.48, 33)]
    p.polygon([*dome, *scallops], "main")
    for x0, x1 in ((-0.24, 0.0), (0.24, 0.48)):
        foot = [(x, 0.02 - 0.055 * abs(math.sin((x + 0.48) / 0.24 * math.pi))) for x in np.linspace(x0, x1, 9)]
        rim = [(x1 * math.cos(math.radians(a)), 0.02 - 0.46 * math.sin(math.radians(a))) for a in range(0, 91, 10)]
        back = [(x0 * math.cos(math.radians(a)), 0.02 - 0.46 * math.sin(math.radians(a))) for a in range(90, -1, -10)]
        p.polygon([*foot, *rim, *back], "dark" if x0 > 0 else "light", edge=False)


def kite(p: Pen, rng: Random) -> None:
    p.stroke(((0.0, 0.16), (-0.10, 0.28), (0.06, 0.38), (-0.06, 0.50)), 0.020, "ink")
    for x, y, turn in ((-0.085, 0.27, 1), (0.045, 0.385, -1)):
        for side in (-1, 1):
            p.polygon(((x, y), (x + side * 0.08, y - 0.045 * turn - 0.02), (x + side * 0.08, y - 0.045 * turn + 0.05)),
                "gold", edge=False)
    p.polygon(((0, -0.50), (0.31, -0.18), (0, 0.18), (-0.31, -0.18)), "main")
    p.polygon(((0, -0.50), (0.31, -0.18), (0, -0.18)), "light", edge=False)
    p.polygon(((0, 0.18), (-0.31, -0.18), (0, -0.18)), "dark", edge=False)
    p.stroke(((0, -0.49), (0, 0.17)), 0.020, "wood_dark")
    p.stroke(((-0.30, -0.18), (0.30, -0.18)), 0.020, "wood_dark")

# fmt: on
