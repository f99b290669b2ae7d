"""The things that nano's scenes are made of, each drawn by one function in a box of one unit, centre at (0, 0).

y runs down; what stands on the ground stands at y = 0.5. Tones light, main and dark are the thing's own colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zimage_kit.nano.drawing import Pen

Random = np.random.Generator


# Coordinates are read in pairs, a shape a line: the formatter would give each pair a line of its own.
# fmt: off
def eyes(p: Pen, x: float, y: float, apart: float, r: float) -> None:
    """Two round eyes with a glint."""
    for side in (-1, 1):
        p.ellipse(x + side * apart, y, r, r * 1.15, "paper")
        p.ellipse(x + side * apart, y + r * 0.1, r * 0.66, r * 0.82, "ink", edge=False)
        p.ellipse(x + side * apart - r * 0.2, y - r * 0.3, r * 0.26, r * 0.26, "paper", edge=False)


def cat(p: Pen, rng: Random) -> None:
    p.stroke(((0.20, 0.40), (0.42, 0.34), (0.44, 0.10), (0.34, -0.02)), 0.11, "dark", edge=True, tip=0.09)
    p.blob(((-0.25, 0.46), (-0.20, 0.10), (0, -0.04), (0.20, 0.10), (0.25, 0.46), (0, 0.5)), "main")
    p.ellipse(0, 0.30, 0.12, 0.17, "light", edge=False)
    for side in (-1, 1):
        p.ellipse(side * 0.12, 0.46, 0.10, 0.055, "main")
        p.polygon(((side * 0.31, -0.22), (side * 0.27, -0.52), (side * 0.06, -0.38)), "main")
        p.polygon(((side * 0.26, -0.27), (side * 0.24, -0.43), (side * 0.13, -0.36)), "cheek", edge=False)
    p.blob(((-0.33, -0.16), (-0.25, -0.36), (0, -0.41), (0.25, -0.36), (0.33, -0.16), (0.20, 0.03), (0, 0.06),
        (-0.20, 0.03)), "main")
    p.ellipse(0, -0.055, 0.13, 0.085, "light", edge=False)
    eyes(p, 0, -0.18, 0.14, 0.068)
    p.polygon(((-0.035, -0.085), (0.035, -0.085), (0, -0.05)), "cheek", edge=False)
    p.stroke(((-0.06, -0.025), (-0.03, -0.01), (0, -0.05), (0.03, -0.01), (0.06, -0.025)), 0.016, "ink")
    for side in (-1, 1):
        for rise in (-0.02, 0.02):
            p.stroke(((side * 0.17, -0.055 + rise / 2), (side * 0.36, -0.075 + rise * 2)), 0.012, "ink")


def dog(p: Pen, rng: Random) -> None:
    p.stroke(((-0.30, 0.10), (-0.42, 0.0), (-0.45, -0.14)), 0.09, "main", edge=True, tip=0.05)
    for x in (-0.24, -0.12, 0.12, 0.22):
        p.box(x - 0.05, 0.18, x + 0.05, 0.5, "dark" if x in (-0.12, 0.12) else "main", 0.04)
    p.blob(((-0.34, 0.10), (-0.24, -0.02), (0.10, -0.04), (0.28, -0.06), (0.30, 0.20), (0.0, 0.28), (-0.28, 0.27)),
        "main")
    p.blob(((0.08, -0.12), (0.10, -0.36), (0.26, -0.46), (0.44, -0.36), (0.47, -0.18), (0.40, -0.04), (0.20, -0.02)),
        "main")
    p.blob(((0.30, -0.12), (0.36, -0.20), (0.47, -0.20), (0.50, -0.12), (0.44, -0.04), (0.34, -0.04)), "light")
    p.ellipse(0.465, -0.175, 0.042, 0.032, "ink", edge=False)
    p.stroke(((0.36, -0.075), (0.41, -0.06), (0.455, -0.085)), 0.016, "ink")
    p.blob(((0.12, -0.40), (0.02, -0.34), (0.0, -0.16), (0.06, -0.08), (0.14, -0.16), (0.19, -0.34)), "dark")
    p.ellipse(0.30, -0.28, 0.050, 0.058, "paper")
    p.ellipse(0.31, -0.275, 0.033, 0.042, "ink", edge=False)
    p.ellipse(0.30, -0.29, 0.013, 0.013, "paper", edge=False)
    p.stroke(((0.08, -0.02), (0.18, 0.02), (0.31, -0.02)), 0.05, "gold")


def rabbit(p: Pen, rng: Random) -> None:
    p.ellipse(0.22, 0.38, 0.075, 0.075, "light")
    p.blob(((-0.21, 0.47), (-0.19, 0.18), (0, 0.06), (0.19, 0.18), (0.21, 0.47), (0, 0.5)), "main")
    p.ellipse(0, 0.34, 0.11, 0.13, "light", edge=False)
    for side in (-1, 1):
        p.ellipse(side * 0.11, 0.46, 0.10, 0.05, "main")
        p.ellipse(side * 0.11, -0.30, 0.068, 0.21, "main", turn=side * 10)
        p.ellipse(side * 0.11, -0.29, 0.034, 0.15, "cheek", edge=False, turn=side * 10)
    p.ellipse(0, -0.02, 0.225, 0.19, "main")
    eyes(p, 0, -0.05, 0.10, 0.050)
    for side in (-1, 1):
        p.ellipse(side * 0.15, 0.035, 0.035, 0.022, "cheek", edge=False)
    p.ellipse(0, 0.02, 0.026, 0.018, "cheek", edge=False)
    p.stroke(((-0.05, 0.05), (-0.026, 0.068), (0, 0.045), (0.026, 0.068), (0.05, 0.05)), 0.014, "ink")
    p.box(-0.022, 0.068, 0.022, 0.108, "paper", 0.006, edge=False)


def bird(p: Pen, rng: Random) -> None:
    p.polygon(((-0.22, 0.02), (-0.50, -0.08), (-0.47, 0.03), (-0.50, 0.13)), "dark")
    p.blob(((-0.02, 0.02), (-0.20, -0.22), (-0.14, -0.40), (0.06, -0.28), (0.16, -0.02)), "dark")
    p.blob(((-0.28, 0.05), (-0.10, -0.11), (0.14, -0.17), (0.34, -0.12), (0.32, 0.08), (0.12, 0.21), (-0.12, 0.18)),
        "main")
    p.blob(((0.02, 0.17), (0.20, 0.02), (0.31, 0.08), (0.18, 0.18)), "light", edge=False)
    p.ellipse(0.27, -0.12, 0.135, 0.13, "main")
    p.polygon(((0.39, -0.15), (0.51, -0.10), (0.39, -0.06)), "gold")
    p.blob(((0.10, 0.02), (-0.06, -0.24), (-0.24, -0.36), (-0.26, -0.14), (-0.14, 0.06)), "light")
    p.blob(((0.08, 0.03), (-0.04, -0.14), (-0.17, -0.22), (-0.17, -0.07), (-0.10, 0.06)), "main", edge=False)
    p.ellipse(0.30, -0.145, 0.040, 0.044, "paper")
    p.ellipse(0.31, -0.143, 0.026, 0.031, "ink", edge=False)


def fish(p: Pen, rng: Random) -> None:
    p.blob(((-0.22, 0.0), (-0.36, -0.12), (-0.50, -0.20), (-0.44, 0.0), (-0.50, 0.20), (-0.36, 0.12)), "dark")
    p.blob(((-0.12, -0.14), (-0.04, -0.31), (0.16, -0.27), (0.24, -0.12)), "dark")
    p.blob(((-0.04, 0.16), (-0.06, 0.30), (0.10, 0.26), (0.14, 0.14)), "dark")
    p.blob(((-0.28, 0.0), (-0.10, -0.17), (0.16, -0.21), (0.40, -0.12), (0.49, 0.02), (0.38, 0.14), (0.14, 0.20),
        (-0.10, 0.16)), "main")
    p.blob(((-0.14, 0.08), (0.12, 0.10), (0.40, 0.09), (0.30, 0.15), (0.12, 0.185), (-0.06, 0.15)), "light", edge=False)
    for x in (-0.10, 0.02):
        p.stroke(((x, -0.10), (x + 0.045, 0.0), (x, 0.09)), 0.020, "light")
    p.stroke(((0.20, -0.16), (0.245, -0.01), (0.19, 0.13)), 0.024, "dark")
    p.blob(((0.12, 0.02), (0.0, 0.02), (-0.05, 0.10), (0.06, 0.11)), "dark", edge=False)
    p.ellipse(0.34, -0.045, 0.056, 0.060, "paper")
    p.ellipse(0.35, -0.04, 0.036, 0.042, "ink", edge=False)
    p.ellipse(0.34, -0.058, 0.013, 0.013, "paper", edge=False)
    p.stroke(((0.47, 0.055), (0.425, 0.07), (0.40, 0.06)), 0.016, "ink")


def butterfly(p: Pen, rng: Random) -> None:
    for side in (-1, 1):
        p.blob(((0, -0.02), (side * 0.14, -0.34), (side * 0.40, -0.42), (side * 0.47, -0.18), (side * 0.26, 0.02)),
            "main")
        p.blob(((0, 0.0), (side * 0.26, 0.02), (side * 0.38, 0.20), (side * 0.24, 0.40), (side * 0.07, 0.22)), "dark")
        p.ellipse(side * 0.29, -0.23, 0.095, 0.085, "light", edge=False)
        p.ellipse(side * 0.22, 0.19, 0.060, 0.065, "light", edge=False)
        p.stroke(((side * 0.01, -0.22), (side * 0.05, -0.36), (side * 0.13, -0.42)), 0.018, "ink")
        p.ellipse(side * 0.13, -0.42, 0.022, 0.022, "ink", edge=False)
    p.ellipse(0, 0.03, 0.038, 0.25, "ink")
    p.ellipse(0, -0.22, 0.048, 0.048, "ink", edge=False)


def tree(p: Pen, rng: Random) -> None:
    p.polygon(((-0.055, 0.0), (0.055, 0.0), (0.085, 0.5), (-0.085, 0.5)), "wood")
    p.polygon(((0.02, 0.0), (0.055, 0.0), (0.085, 0.5), (0.03, 0.5)), "wood_dark", edge=False)
    p.blob(((-0.38, 0.02), (-0.36, -0.20), (-0.22, -0.40), (0, -0.50), (0.22, -0.40), (0.36, -0.20), (0.38, 0.02),
        (0.20, 0.16), (0, 0.12), (-0.20, 0.16)), "main")
    p.blob(((0.02, 0.10), (0.20, -0.02), (0.26, -0.30), (0.37, -0.14), (0.36, 0.03), (0.20, 0.14)), "dark", edge=False)
    p.ellipse(-0.14, -0.24, 0.13, 0.11, "light", edge=False)


def bamboo(p: Pen, rng: Random) -> None:
    for x, top, lean in ((-0.20, -0.36, -0.03), (0.18, -0.30, 0.04), (0.0, -0.50, 0.01)):
        count = 5
        for i in range(count):
            y0, y1 = 0.5 + (top - 0.5) * i / count, 0.5 + (top - 0.5) * (i + 1) / count
            xa, xb = x + lean * i, x + lean * (i + 1)
            p.polygon(((xa - 0.048, y0 - 0.008), (xa + 0.048, y0 - 0.008), (xb + 0.042, y1 + 0.008),
                (xb - 0.042, y1 + 0.008)), "main")
            p.polygon(((xa - 0.03, y0 - 0.01), (xa - 0.01, y0 - 0.01), (xb - 0.01, y1 + 0.01), (xb - 0.03, y1 + 0.01)),
                "light", edge=False)
            p.box(xb - 0.052, y1 - 0.012, xb + 0.052, y1 + 0.012, "dark", 0.01, edge=False)
        for i, side in ((2, -1), (3, 1), (4, -1), (5, 1)):
            y, xi = 0.5 + (top - 0.5) * i / count, x + lean * i
            for droop, long in ((-0.02, 0.20), (0.10, 0.17)):
                p.blob(((xi, y), (xi + side * long * 0.5, y - 0.035 + droop * 0.3), (xi + side * long, y + droop),
                    (xi + side * long * 0.45, y + 0.012 + droop * 0.55)), "main" if i % 2 else "dark", edge=False)


def flower(p: Pen, rng: Random) -> None:
    p.stroke(((0, -0.10), (0.02, 0.20), (0, 0.49)), 0.045, "leaf_dark", edge=True)
    for side in (-1, 1):
        p.blob(((0.01, 0.34), (side * 0.12, 0.16), (side * 0.30, 0.14), (side * 0.22, 0.30)), "leaf")
    for i in range(6):
        a = math.radians(60 * i - 90)
        p.ellipse(0.20 * math.cos(a), -0.20 + 0.20 * math.sin(a), 0.135, 0.108, "main", turn=60 * i - 90)
    for i in range(6):
        a = math.radians(60 * i - 90)
        p.ellipse(0.19 * math.cos(a), -0.20 + 0.19 * math.sin(a), 0.070, 0.050, "light", edge=False, turn=60 * i - 90)
    p.ellipse(0, -0.20, 0.105, 0.105, "gold")
    p.ellipse(-0.02, -0.225, 0.055, 0.05, "window", edge=False)


def mushroom(p: Pen, rng: Random) -> None:
    p.blob(((-0.12, 0.0), (0.12, 0.0), (0.15, 0.40), (0.10, 0.50), (-0.10, 0.50), (-0.15, 0.40)), "cream")
    p.blob(((0.03, 0.02), (0.11, 0.02), (0.14, 0.40), (0.09, 0.48), (0.02, 0.48)), "skin", edge=False)
    p.blob(((-0.46, 0.02), (-0.40, -0.24), (-0.20, -0.42), (0, -0.47), (0.20, -0.42), (0.40, -0.24), (0.46, 0.02),
        (0.24, 0.10), (0, 0.12), (-0.24, 0.10)), "main")
    p.blob(((-0.42, 0.03), (0, 0.05), (0.42, 0.03), (0.22, 0.095), (0, 0.11), (-0.22, 0.095)), "dark", edge=False)
    for x, y, r in ((-0.22, -0.14, 0.085), (0.06, -0.28, 0.09), (0.27, -0.10, 0.07), (0.02, -0.05, 0.055)):
        p.ellipse(x, y, r, r * 0.88, "paper", edge=False)


def apple(p: Pen, rng: Random) -> None:
    p.blob(((0, -0.26), (0.20, -0.35), (0.42, -0.22), (0.44, 0.08), (0.28, 0.40), (0.10, 0.49), (0, 0.45),
        (-0.10, 0.49), (-0.28, 0.40), (-0.44, 0.08), (-0.42, -0.22), (-0.20, -0.35)), "main")
    p.blob(((0.16, 0.44), (0.36, 0.14), (0.38, -0.16), (0.42, 0.08), (0.28, 0.38)), "dark", edge=False)
    p.ellipse(-0.22, -0.08, 0.075, 0.14, "light", edge=False, turn=18)
    p.stroke(((0, -0.25), (0.01, -0.38), (0.06, -0.49)), 0.045, "wood_dark")
    p.blob(((0.03, -0.34), (0.16, -0.49), (0.34, -0.46), (0.20, -0.33)), "leaf")


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


def mountain(p: Pen, rng: Random) -> None:
    p.polygon(((-0.50, 0.5), (-0.12, -0.30), (-0.02, -0.42), (0.06, -0.40), (0.22, -0.08), (0.50, 0.5)), "main")
    p.polygon(((0.02, -0.41), (0.06, -0.40), (0.22, -0.08), (0.50, 0.5), (0.16, 0.5), (0.06, 0.16), (0.14, -0.04),
        (0.02, -0.20)), "dark", edge=False)
    p.polygon(((-0.21, -0.11), (-0.12, -0.30), (-0.02, -0.42), (0.06, -0.40), (0.20, -0.13), (0.12, -0.17),
        (0.07, -0.09), (-0.01, -0.18), (-0.08, -0.08), (-0.13, -0.16)), "paper")
    p.polygon(((-0.30, 0.5), (-0.12, 0.10), (-0.06, 0.24), (-0.14, 0.5)), "light", edge=False)


def moon(p: Pen, rng: Random) -> None:
    outer = [(0.06 + 0.46 * math.cos(math.radians(a)), 0.46 * math.sin(math.radians(a))) for a in range(55, 306, 8)]
    inner = [(0.25 + 0.385 * math.cos(math.radians(a)), 0.38 * math.sin(math.radians(a))) for a in range(282, 77, -8)]
    p.polygon([*outer, *inner], "main")
    shade = [(0.05 + 0.40 * math.cos(math.radians(a)), 0.40 * math.sin(math.radians(a))) for a in range(110, 251, 10)]
    rim = [(0.07 + 0.345 * math.cos(math.radians(a)), 0.35 * math.sin(math.radians(a))) for a in range(250, 109, -10)]
    p.polygon([*shade, *rim], "light", edge=False)
    for x, y, r in ((-0.21, 0.20, 0.05), (-0.27, -0.06, 0.04), (-0.13, -0.28, 0.035)):
        p.ellipse(x, y, r, r, "dark", edge=False)

# fmt: on


# Things drawn by one function each; a person is drawn by `zimage_kit.nano.people`.
THINGS: dict[str, Callable[[Pen, Random], None]] = {
    function.__name__: function
    for function in (
        cat, dog, rabbit, bird, fish, butterfly, tree, bamboo, flower, mushroom, apple, house, pagoda, bridge, boat,
        car, balloon, teacup, lantern, umbrella, kite, mountain, moon,
    )
}  # fmt: skip
