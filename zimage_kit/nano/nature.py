"""Plants and what stands in the sky or the snow, drawn as `zimage_kit.nano.things` tells."""

from __future__ import annotations

import math

import numpy as np

from zimage_kit.nano.drawing import Pen

Random = np.random.Generator


# Coordinates are read in pairs, a shape a line: the formatter would give each pair a line of its own.
# fmt: off
def tree(p: Pen, rng: Random) -> None:
    p.polygon(((-0.055, 0.0), (0.055, 0.0), (0.085, 0.5), (-0.085, 0.5)), "wood")
    p.polygon(((0.02, 0.0), (0.055, 0.0), (0.085, 0.5), (0.03, 0.5)), "wood_dark", edge=False)
    p.blob(((-0.38, 0.02), (-0.36, -0.20), (-0.22, -0.40), (0, -0.50), (0.22, -0.40), (0.36, -0.20), (0.38, 0.02),
        (0.20, 0.16), (0, 0.12), (-0.20, 0.16)), "main")
    p.blob(((0.02, 0.10), (0.20, -0.02), (0.26, -0.30), (0.37, -0.14), (0.36, 0.03), (0.20, 0.14)), "dark", edge=False)
    p.ellipse(-0.14, -0.24, 0.13, 0.11, "light", edge=False)


def bamboo(p: Pen, rng: Random) -> None:
    for x, top, lean in ((-0.19, -0.36, -0.025), (0.18, -0.30, 0.025), (0.0, -0.49, 0.01)):
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


def sun(p: Pen, rng: Random) -> None:
    for i in range(8):
        a = math.radians(45 * i)
        corners = ((0.26, -0.38), (0.5, 0.0), (0.26, 0.38))
        p.polygon([(r * math.cos(a + turn), r * math.sin(a + turn)) for r, turn in corners], "dark")
    p.ellipse(0, 0, 0.29, 0.29, "main")
    p.ellipse(0, 0, 0.20, 0.20, "light", edge=False)


def star(p: Pen, rng: Random) -> None:
    corners = [(r * math.sin(math.radians(36 * i)), 0.03 - r * math.cos(math.radians(36 * i)))
        for i, r in enumerate((0.52, 0.24) * 5)]
    p.polygon(corners, "main")
    for i in range(0, 10, 2):
        p.polygon((corners[i], corners[i + 1], (0, 0.03)), "dark" if i in (2, 4) else "light", edge=False)


def cloud(p: Pen, rng: Random) -> None:
    puffs = ((-0.30, 0.10, 0.19, 90, 235), (-0.10, -0.06, 0.22, 190, 300), (0.15, -0.02, 0.19, 235, 350),
        (0.33, 0.12, 0.17, 270, 450))
    outline = [(x + r * math.cos(math.radians(a)), y + r * math.sin(math.radians(a)))
        for x, y, r, start, stop in puffs for a in range(start, stop + 1, 15)]
    p.polygon(outline, "main")
    p.blob(((-0.40, 0.20), (-0.20, 0.13), (0.0, 0.19), (0.20, 0.13), (0.42, 0.20), (0.30, 0.285), (-0.28, 0.285)),
        "dark", edge=False)
    p.ellipse(-0.13, -0.10, 0.12, 0.09, "light", edge=False)


def plum(p: Pen, rng: Random) -> None:
    p.stroke(((-0.36, 0.48), (-0.22, 0.24), (-0.20, 0.04), (0.02, -0.14), (0.14, -0.34)), 0.10, "wood_dark", edge=True,
        tip=0.045)
    p.stroke(((-0.20, 0.20), (0.0, 0.16), (0.20, 0.16), (0.36, 0.06)), 0.065, "wood_dark", edge=True, tip=0.04)
    p.stroke(((-0.19, 0.04), (-0.30, -0.12), (-0.30, -0.26)), 0.055, "wood_dark", edge=True, tip=0.035)
    p.ellipse(0.09, -0.17, 0.055, 0.055, "dark")
    for x, y, r in ((-0.32, -0.27, 0.125), (0.12, -0.36, 0.13), (-0.08, -0.03, 0.13), (0.14, 0.18, 0.12),
            (0.37, 0.03, 0.125)):
        petals = [(a, 0.72 + 0.42 * abs(math.cos(2.5 * (a + math.pi / 2)))) for a in np.radians(range(0, 360, 9))]
        p.polygon([(x + r * reach * math.cos(a), y + r * reach * math.sin(a)) for a, reach in petals], "main")
        p.ellipse(x, y, 0.52 * r, 0.52 * r, "light", edge=False)
        p.ellipse(x, y, 0.32 * r, 0.32 * r, "gold", edge=False)


def snowman(p: Pen, rng: Random) -> None:
    for side in (-1, 1):
        p.stroke(((side * 0.18, 0.0), (side * 0.40, -0.14)), 0.040, "wood_dark", edge=True)
        p.stroke(((side * 0.32, -0.09), (side * 0.41, -0.04)), 0.034, "wood_dark", edge=True)
    p.ellipse(0, 0.27, 0.29, 0.235, "main")
    p.ellipse(0, 0.01, 0.205, 0.18, "main")
    p.ellipse(0, -0.22, 0.165, 0.155, "main")
    p.ellipse(-0.11, 0.23, 0.10, 0.11, "light", edge=False)
    p.box(-0.20, -0.345, 0.20, -0.295, "ink", 0.02)
    p.box(-0.125, -0.50, 0.125, -0.32, "ink", 0.02)
    p.box(-0.125, -0.385, 0.125, -0.335, "gold", edge=False)
    for x, y in ((-0.065, -0.23), (0.065, -0.23), (0, 0.04), (0, 0.18), (0, 0.30)):
        p.ellipse(x, y, 0.028, 0.028, "ink", edge=False)
    p.polygon(((-0.01, -0.20), (0.16, -0.155), (-0.01, -0.145)), "carrot", edge=False)
    p.box(-0.17, -0.105, 0.17, -0.045, "dark", 0.03)
    p.box(0.06, -0.07, 0.13, 0.11, "dark", 0.02)

# fmt: on
