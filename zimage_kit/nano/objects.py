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
    p.ellipse(0.045, 0.34, 0.024, 0.024, "gold", edge=False)
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
    p.stroke(((-0.005, -0.03), (-0.005, 0.12)), 0.020, "dark")
    p.box(0.03, 0.02, 0.09, 0.04, "light", 0.008, edge=False)
    for x in (-0.28, 0.28):
        p.ellipse(x, 0.20, 0.115, 0.115, "tyre")
        p.ellipse(x, 0.20, 0.058, 0.058, "steel", edge=False)


def balloon(p: Pen, rng: Random) -> None:
    p.stroke(((-0.16, 0.08), (-0.07, 0.34)), 0.022, "wood_dark")
    p.stroke(((0.16, 0.08), (0.07, 0.34)), 0.022, "wood_dark")
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
    p.stroke(((0.0, 0.12), (-0.07, 0.28), (0.02, 0.46)), 0.030, "ink")
    for x, y in ((-0.05, 0.24), (0.0, 0.41)):
        for side in (-1, 1):
            p.polygon(((x, y), (x + side * 0.125, y - 0.07), (x + side * 0.125, y + 0.07)), "gold")
    p.polygon(((0, -0.50), (0.32, -0.20), (0, 0.14), (-0.32, -0.20)), "main")
    p.polygon(((0, -0.50), (0.32, -0.20), (0, -0.20)), "light", edge=False)
    p.polygon(((0, 0.14), (-0.32, -0.20), (0, -0.20)), "dark", edge=False)
    p.stroke(((0, -0.49), (0, 0.13)), 0.026, "wood_dark")
    p.stroke(((-0.31, -0.20), (0.31, -0.20)), 0.026, "wood_dark")


def temple(p: Pen, rng: Random) -> None:
    p.box(-0.50, 0.44, 0.50, 0.5, "steel")
    p.box(-0.43, 0.38, 0.43, 0.45, "steel")
    p.box(-0.36, 0.02, 0.36, 0.38, "cream")
    p.box(-0.09, 0.12, 0.09, 0.38, "wood_dark")
    for x in (-0.33, -0.16, 0.16, 0.33):
        p.box(x - 0.038, 0.02, x + 0.038, 0.38, "dark", edge=False)
    p.blob(((-0.50, -0.06), (-0.44, 0.05), (-0.20, 0.07), (0.20, 0.07), (0.44, 0.05), (0.50, -0.06), (0.36, -0.05),
        (0.26, -0.14), (-0.26, -0.14), (-0.36, -0.05)), "main")
    p.stroke(((-0.43, 0.03), (0, 0.06), (0.43, 0.03)), 0.028, "dark")
    p.box(-0.24, -0.22, 0.24, -0.12, "cream")
    p.box(-0.09, -0.22, 0.09, -0.12, "gold")
    p.blob(((-0.42, -0.30), (-0.34, -0.20), (0, -0.18), (0.34, -0.20), (0.42, -0.30), (0.28, -0.30), (0.18, -0.42),
        (-0.18, -0.42), (-0.28, -0.30)), "main")
    p.stroke(((-0.34, -0.215), (0, -0.19), (0.34, -0.215)), 0.028, "dark")
    p.stroke(((-0.20, -0.47), (-0.15, -0.42), (0.15, -0.42), (0.20, -0.47)), 0.045, "gold", edge=True)


def cake(p: Pen, rng: Random) -> None:
    p.ellipse(0, 0.43, 0.49, 0.07, "steel")
    p.box(-0.40, 0.10, 0.40, 0.42, "main", 0.05)
    p.box(-0.40, 0.30, 0.40, 0.36, "light", edge=False)
    icing = [(x, 0.20 + 0.045 * math.cos(x * 2 * math.pi / 0.2)) for x in np.linspace(-0.41, 0.41, 42)]
    p.polygon([*icing, (0.40, 0.08), (-0.40, 0.08)], "cream")
    p.box(-0.26, -0.15, 0.26, 0.10, "main", 0.05)
    icing = [(x, -0.06 + 0.04 * math.cos(x * 2 * math.pi / 0.18)) for x in np.linspace(-0.27, 0.27, 28)]
    p.polygon([*icing, (0.26, -0.16), (-0.26, -0.16)], "cream")
    for x in (-0.15, 0.0, 0.15):
        p.box(x - 0.025, -0.34, x + 0.025, -0.15, "dark", 0.01)
        p.blob(((x, -0.49), (x + 0.04, -0.39), (x, -0.34), (x - 0.04, -0.39)), "gold")


def book(p: Pen, rng: Random) -> None:
    p.polygon(((-0.30, -0.40), (-0.16, -0.49), (0.40, -0.49), (0.40, 0.40), (0.30, 0.5), (-0.30, 0.5)), "dark")
    p.polygon(((-0.24, -0.40), (-0.13, -0.46), (0.37, -0.46), (0.30, -0.40)), "cream", edge=False)
    p.polygon(((0.30, -0.38), (0.37, -0.45), (0.37, 0.38), (0.30, 0.45)), "cream", edge=False)
    p.box(-0.36, -0.40, 0.30, 0.5, "main", 0.03)
    p.box(-0.36, -0.40, -0.25, 0.5, "dark", 0.03, edge=False)
    p.box(-0.14, -0.26, 0.21, -0.04, "paper", 0.02)
    for y, x in ((-0.19, 0.15), (-0.11, 0.08)):
        p.box(-0.08, y - 0.014, x, y + 0.014, "ink", edge=False)
    p.box(-0.14, 0.26, 0.21, 0.32, "light", edge=False)


def chair(p: Pen, rng: Random) -> None:
    for x in (-0.24, 0.24):
        p.box(x - 0.035, 0.10, x + 0.035, 0.42, "dark", 0.01)
    for x in (-0.26, 0.26):
        p.box(x - 0.045, -0.48, x + 0.045, 0.08, "main", 0.03)
    p.box(-0.28, -0.42, 0.28, -0.28, "main", 0.03)
    for x in (-0.12, 0.0, 0.12):
        p.box(x - 0.030, -0.28, x + 0.030, 0.02, "dark")
    p.polygon(((-0.29, 0.0), (0.29, 0.0), (0.38, 0.14), (-0.38, 0.14)), "light")
    p.box(-0.38, 0.14, 0.38, 0.21, "main", 0.02)
    for x in (-0.33, 0.33):
        p.box(x - 0.045, 0.20, x + 0.045, 0.5, "main", 0.02)


def robot(p: Pen, rng: Random) -> None:
    p.stroke(((0, -0.36), (0, -0.46)), 0.035, "steel", edge=True)
    p.ellipse(0, -0.465, 0.045, 0.040, "gold")
    for side in (-1, 1):
        p.box(side * 0.28 - 0.03, -0.26, side * 0.28 + 0.03, -0.14, "steel", 0.015)
        p.stroke(((side * 0.24, 0.06), (side * 0.38, 0.12), (side * 0.39, 0.26)), 0.085, "steel", edge=True)
        p.ellipse(side * 0.39, 0.28, 0.065, 0.065, "dark")
        p.box(side * 0.12 - 0.055, 0.30, side * 0.12 + 0.055, 0.46, "steel")
        p.box(side * 0.14 - 0.09, 0.42, side * 0.14 + 0.09, 0.5, "dark", 0.03)
    p.box(-0.25, 0.0, 0.25, 0.36, "main", 0.05)
    p.box(-0.15, 0.09, 0.15, 0.25, "light", 0.02)
    for x, tone in ((-0.075, "carrot"), (0.075, "leaf_dark")):
        p.ellipse(x, 0.17, 0.042, 0.042, tone, edge=False)
    p.box(-0.07, -0.06, 0.07, 0.02, "steel")
    p.box(-0.27, -0.38, 0.27, -0.04, "main", 0.07)
    p.box(-0.20, -0.31, 0.20, -0.09, "ink", 0.05)
    for x in (-0.095, 0.095):
        p.ellipse(x, -0.225, 0.045, 0.05, "screen", edge=False)
    p.stroke(((-0.075, -0.145), (0, -0.125), (0.075, -0.145)), 0.026, "screen")


def rocket(p: Pen, rng: Random) -> None:
    p.blob(((-0.11, 0.26), (0.11, 0.26), (0.10, 0.38), (0, 0.5), (-0.10, 0.38)), "carrot")
    p.blob(((-0.06, 0.26), (0.06, 0.26), (0.05, 0.34), (0, 0.42), (-0.05, 0.34)), "window", edge=False)
    for side in (-1, 1):
        p.polygon(((side * 0.14, 0.02), (side * 0.36, 0.20), (side * 0.36, 0.36), (side * 0.12, 0.24)), "dark")
    p.box(-0.11, 0.22, 0.11, 0.29, "steel", 0.02)
    p.blob(((0, -0.50), (0.13, -0.34), (0.19, -0.08), (0.14, 0.22), (0, 0.25), (-0.14, 0.22), (-0.19, -0.08),
        (-0.13, -0.34)), "main")
    p.blob(((0, -0.50), (0.09, -0.40), (0.135, -0.27), (0, -0.25), (-0.135, -0.27), (-0.09, -0.40)), "dark", edge=False)
    p.blob(((-0.13, -0.18), (-0.09, -0.18), (-0.10, 0.12), (-0.14, 0.06)), "light", edge=False)
    p.ellipse(0.01, -0.09, 0.095, 0.095, "paper")
    p.ellipse(0.01, -0.09, 0.065, 0.065, "screen", edge=False)
    p.polygon(((-0.03, 0.08), (0.03, 0.08), (0.035, 0.30), (-0.035, 0.30)), "dark")


def train(p: Pen, rng: Random) -> None:
    for x, y, r in ((0.20, -0.40, 0.075), (0.09, -0.43, 0.060)):
        p.ellipse(x, y, r, r * 0.9, "steam", edge=False)
    p.polygon(((0.22, -0.28), (0.40, -0.28), (0.36, -0.06), (0.26, -0.06)), "dark")
    p.ellipse(0.04, -0.10, 0.075, 0.075, "gold")
    p.box(-0.16, -0.10, 0.44, 0.16, "main", 0.07)
    p.box(-0.12, -0.045, 0.40, 0.015, "light", 0.02, edge=False)
    p.box(-0.44, -0.28, -0.12, 0.16, "main", 0.02)
    p.box(-0.49, -0.36, -0.07, -0.27, "dark", 0.03)
    p.box(-0.37, -0.20, -0.19, -0.04, "glass", 0.02)
    p.box(-0.46, 0.13, 0.46, 0.22, "dark", 0.02)
    p.polygon(((0.40, 0.20), (0.50, 0.36), (0.36, 0.36)), "steel")
    p.ellipse(0.44, 0.0, 0.045, 0.055, "window")
    for x, r in ((-0.31, 0.125), (-0.03, 0.125), (0.23, 0.125)):
        p.ellipse(x, 0.36 - r, r, r, "tyre")
        p.ellipse(x, 0.36 - r, r * 0.5, r * 0.5, "steel", edge=False)


def bicycle(p: Pen, rng: Random) -> None:
    for x in (-0.28, 0.28):
        p.ring(x, 0.14, 0.22, 0.165, "tyre")
        for a in (0, 60, 120):
            dx, dy = 0.17 * math.cos(math.radians(a)), 0.17 * math.sin(math.radians(a))
            p.stroke(((x - dx, 0.14 - dy), (x + dx, 0.14 + dy)), 0.020, "steel")
        p.ellipse(x, 0.14, 0.04, 0.04, "steel")
    for line in (((-0.28, 0.14), (-0.12, -0.16)), ((-0.28, 0.14), (0.0, 0.16)), ((0.0, 0.16), (-0.15, -0.24)),
            ((0.0, 0.16), (0.19, -0.16)), ((-0.12, -0.16), (0.19, -0.16)), ((0.28, 0.14), (0.16, -0.28))):
        p.stroke(line, 0.070, "main", edge=True)
    p.stroke(((0.10, -0.32), (0.18, -0.29), (0.27, -0.32), (0.28, -0.25)), 0.050, "ink")
    p.blob(((-0.28, -0.28), (-0.14, -0.30), (-0.04, -0.265), (-0.14, -0.23), (-0.26, -0.22)), "ink")
    p.ellipse(0.0, 0.16, 0.062, 0.062, "dark")
    p.stroke(((-0.03, 0.25), (0.03, 0.07)), 0.030, "ink")


def fan(p: Pen, rng: Random) -> None:
    foot = 0.24
    def sector(r: float, start: float, stop: float) -> list[tuple[float, float]]:
        turns = np.radians(np.linspace(start, stop, 25))
        return [(r * math.sin(a), foot - r * math.cos(a)) for a in turns]
    for a in (-80, -48, -16, 16, 48, 80):
        x, y = math.sin(math.radians(a)), math.cos(math.radians(a))
        p.stroke(((-0.07 * x, foot + 0.07 * y), (0.30 * x, foot - 0.30 * y)), 0.045, "wood", edge=True)
    p.polygon([*sector(0.5, -82, 82), *reversed(sector(0.22, -82, 82))], "main")
    for a in (-66, -33, 0, 33, 66):
        p.polygon([*sector(0.5, a - 7, a + 7), *reversed(sector(0.22, a - 7, a + 7))], "light", edge=False)
    p.polygon([*sector(0.5, -82, 82), *reversed(sector(0.455, -82, 82))], "dark", edge=False)
    p.ellipse(0, foot, 0.045, 0.045, "gold")

# fmt: on
