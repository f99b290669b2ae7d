"""The animals of nano's scenes, drawn as `zimage_kit.nano.things` tells."""

from __future__ import annotations

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

# fmt: on
