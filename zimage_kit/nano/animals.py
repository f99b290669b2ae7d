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
        p.ellipse(x + side * apart, y + r * 0.1, r * 0.70, r * 0.86, "ink", edge=False)
        p.ellipse(x + side * apart - r * 0.2, y - r * 0.3, r * 0.30, r * 0.30, "paper", edge=False)


def cat(p: Pen, rng: Random) -> None:
    p.stroke(((0.16, 0.43), (0.36, 0.43), (0.44, 0.26), (0.42, 0.10)), 0.13, "dark", edge=True)
    p.blob(((-0.24, 0.46), (-0.21, 0.10), (0, -0.04), (0.21, 0.10), (0.24, 0.46), (0, 0.5)), "main")
    p.ellipse(0, 0.29, 0.115, 0.165, "light", edge=False)
    for side in (-1, 1):
        p.ellipse(side * 0.12, 0.455, 0.10, 0.055, "main")
        p.polygon(((side * 0.34, -0.16), (side * 0.31, -0.52), (side * 0.05, -0.36)), "main")
        p.polygon(((side * 0.275, -0.27), (side * 0.26, -0.43), (side * 0.13, -0.355)), "cheek", edge=False)
    p.blob(((-0.35, -0.15), (-0.27, -0.34), (0, -0.39), (0.27, -0.34), (0.35, -0.15), (0.21, 0.04), (0, 0.07),
        (-0.21, 0.04)), "main")
    p.ellipse(0, -0.04, 0.14, 0.085, "light", edge=False)
    eyes(p, 0, -0.185, 0.15, 0.075)
    p.polygon(((-0.045, -0.095), (0.045, -0.095), (0, -0.045)), "cheek", edge=False)
    p.stroke(((-0.055, -0.015), (0, 0.005), (0.055, -0.015)), 0.022, "ink")
    for side in (-1, 1):
        p.stroke(((side * 0.22, -0.075), (side * 0.42, -0.11)), 0.022, "ink")
        p.stroke(((side * 0.22, -0.025), (side * 0.42, 0.0)), 0.022, "ink")


def dog(p: Pen, rng: Random) -> None:
    p.stroke(((-0.26, 0.12), (-0.40, 0.02), (-0.44, -0.14)), 0.10, "main", edge=True, tip=0.07)
    for x, tone in ((-0.13, "dark"), (0.11, "dark"), (-0.25, "main"), (0.22, "main")):
        p.box(x - 0.058, 0.16, x + 0.058, 0.5, tone, 0.045)
    p.blob(((-0.34, 0.10), (-0.24, -0.02), (0.10, -0.04), (0.28, -0.06), (0.30, 0.20), (0.0, 0.28), (-0.28, 0.27)),
        "main")
    p.blob(((0.06, -0.12), (0.08, -0.37), (0.24, -0.47), (0.38, -0.40), (0.43, -0.24), (0.40, -0.06), (0.20, -0.01)),
        "main")
    p.blob(((0.27, -0.14), (0.32, -0.25), (0.46, -0.25), (0.50, -0.15), (0.45, -0.05), (0.32, -0.04)), "light")
    p.ellipse(0.455, -0.215, 0.048, 0.040, "ink", edge=False)
    p.stroke(((0.34, -0.10), (0.40, -0.085), (0.46, -0.11)), 0.022, "ink")
    p.blob(((0.14, -0.42), (0.03, -0.36), (-0.03, -0.16), (0.04, -0.05), (0.14, -0.12), (0.20, -0.34)), "dark")
    p.ellipse(0.285, -0.31, 0.056, 0.064, "paper")
    p.ellipse(0.297, -0.305, 0.038, 0.047, "ink", edge=False)
    p.ellipse(0.285, -0.325, 0.016, 0.016, "paper", edge=False)
    p.stroke(((0.06, -0.01), (0.18, 0.03), (0.31, -0.01)), 0.055, "gold")


def rabbit(p: Pen, rng: Random) -> None:
    p.blob(((-0.23, 0.47), (-0.21, 0.18), (0, 0.06), (0.21, 0.18), (0.23, 0.47), (0, 0.5)), "main")
    p.ellipse(0, 0.34, 0.12, 0.13, "light", edge=False)
    for side in (-1, 1):
        p.ellipse(side * 0.12, 0.455, 0.105, 0.052, "main")
        p.ellipse(side * 0.12, -0.29, 0.078, 0.21, "main", turn=side * 10)
        p.ellipse(side * 0.12, -0.28, 0.038, 0.145, "cheek", edge=False, turn=side * 10)
    p.ellipse(0, -0.02, 0.245, 0.20, "main")
    eyes(p, 0, -0.05, 0.115, 0.062)
    for side in (-1, 1):
        p.ellipse(side * 0.165, 0.055, 0.042, 0.028, "cheek", edge=False)
    p.ellipse(0, 0.03, 0.034, 0.024, "cheek", edge=False)
    p.stroke(((-0.055, 0.085), (0, 0.105), (0.055, 0.085)), 0.022, "ink")


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
    p.ellipse(0.30, -0.145, 0.048, 0.052, "paper")
    p.ellipse(0.31, -0.143, 0.032, 0.037, "ink", edge=False)


def fish(p: Pen, rng: Random) -> None:
    p.blob(((-0.22, 0.0), (-0.36, -0.12), (-0.50, -0.20), (-0.44, 0.0), (-0.50, 0.20), (-0.36, 0.12)), "dark")
    p.blob(((-0.12, -0.14), (-0.04, -0.31), (0.16, -0.27), (0.24, -0.12)), "dark")
    p.blob(((-0.04, 0.16), (-0.06, 0.30), (0.10, 0.26), (0.14, 0.14)), "dark")
    p.blob(((-0.28, 0.0), (-0.10, -0.17), (0.16, -0.21), (0.40, -0.12), (0.49, 0.02), (0.38, 0.14), (0.14, 0.20),
        (-0.10, 0.16)), "main")
    p.blob(((-0.14, 0.08), (0.12, 0.10), (0.40, 0.09), (0.30, 0.15), (0.12, 0.185), (-0.06, 0.15)), "light", edge=False)
    for x in (-0.10, 0.02):
        p.stroke(((x, -0.10), (x + 0.045, 0.0), (x, 0.09)), 0.026, "light")
    p.stroke(((0.20, -0.16), (0.245, -0.01), (0.19, 0.13)), 0.028, "dark")
    p.blob(((0.12, 0.02), (0.0, 0.02), (-0.05, 0.10), (0.06, 0.11)), "dark", edge=False)
    p.ellipse(0.34, -0.045, 0.060, 0.064, "paper")
    p.ellipse(0.35, -0.04, 0.040, 0.046, "ink", edge=False)
    p.ellipse(0.34, -0.058, 0.016, 0.016, "paper", edge=False)
    p.stroke(((0.475, 0.06), (0.43, 0.08), (0.385, 0.07)), 0.022, "ink")


def butterfly(p: Pen, rng: Random) -> None:
    for side in (-1, 1):
        p.blob(((0, -0.02), (side * 0.14, -0.34), (side * 0.40, -0.42), (side * 0.47, -0.18), (side * 0.26, 0.02)),
            "main")
        p.blob(((0, 0.0), (side * 0.26, 0.02), (side * 0.38, 0.20), (side * 0.24, 0.40), (side * 0.07, 0.22)), "dark")
        p.ellipse(side * 0.29, -0.23, 0.095, 0.085, "light", edge=False)
        p.ellipse(side * 0.22, 0.19, 0.060, 0.065, "light", edge=False)
        p.stroke(((side * 0.01, -0.22), (side * 0.05, -0.36), (side * 0.12, -0.42)), 0.024, "ink")
        p.ellipse(side * 0.12, -0.42, 0.030, 0.030, "ink", edge=False)
    p.ellipse(0, 0.03, 0.044, 0.25, "ink")
    p.ellipse(0, -0.22, 0.054, 0.054, "ink", edge=False)


def panda(p: Pen, rng: Random) -> None:
    for side in (-1, 1):
        p.ellipse(side * 0.25, -0.40, 0.105, 0.10, "ink")
    p.blob(((-0.26, 0.44), (-0.27, 0.18), (0, 0.02), (0.27, 0.18), (0.26, 0.44), (0, 0.5)), "main")
    p.ellipse(0, 0.30, 0.14, 0.15, "light", edge=False)
    for side in (-1, 1):
        p.blob(((side * 0.20, 0.04), (side * 0.33, 0.14), (side * 0.36, 0.30), (side * 0.26, 0.34),
            (side * 0.17, 0.20)), "ink")
        p.ellipse(side * 0.21, 0.415, 0.14, 0.085, "ink")
        p.ellipse(side * 0.22, 0.42, 0.055, 0.045, "cheek", edge=False)
    p.ellipse(0, -0.16, 0.345, 0.27, "main")
    p.ellipse(0, -0.05, 0.13, 0.095, "light", edge=False)
    for side in (-1, 1):
        p.ellipse(side * 0.155, -0.18, 0.082, 0.105, "ink", edge=False, turn=side * 28)
        p.ellipse(side * 0.145, -0.185, 0.042, 0.048, "paper", edge=False)
        p.ellipse(side * 0.14, -0.18, 0.024, 0.030, "ink", edge=False)
    p.ellipse(0, -0.085, 0.050, 0.034, "ink", edge=False)
    p.stroke(((-0.06, -0.025), (0, 0.0), (0.06, -0.025)), 0.022, "ink")


def dragon(p: Pen, rng: Random) -> None:
    p.blob(((-0.44, 0.02), (-0.50, -0.14), (-0.42, -0.34), (-0.37, -0.16), (-0.36, 0.02)), "gold")
    for x, y in ((0.20, 0.34), (-0.20, 0.27)):
        p.stroke(((x - 0.06, y - 0.12), (x - 0.02, y), (x + 0.10, y + 0.03)), 0.085, "dark", edge=True)
    p.stroke(((0.20, -0.14), (0.24, 0.10), (0.10, 0.25), (-0.04, 0.10), (-0.14, -0.04), (-0.26, 0.06), (-0.34, 0.22),
        (-0.43, 0.14), (-0.41, -0.02)), 0.25, "main", edge=True, tip=0.09)
    p.stroke(((0.29, -0.02), (0.27, 0.14), (0.12, 0.27), (-0.02, 0.20), (-0.10, 0.06)), 0.085, "light", tip=0.03)
    p.blob(((0.12, -0.42), (-0.02, -0.44), (0.03, -0.34), (-0.09, -0.28), (0.01, -0.20), (-0.05, -0.08), (0.08, -0.08),
        (0.12, 0.02), (0.20, -0.10)), "gold")
    p.stroke(((0.19, -0.36), (0.16, -0.44), (0.08, -0.47)), 0.060, "cream", edge=True, tip=0.04)
    p.blob(((0.14, -0.10), (0.28, -0.13), (0.45, -0.11), (0.39, -0.01), (0.20, -0.02)), "dark")
    p.blob(((0.05, -0.22), (0.09, -0.38), (0.25, -0.43), (0.34, -0.32), (0.44, -0.34), (0.49, -0.24), (0.42, -0.15),
        (0.28, -0.12), (0.13, -0.09)), "main")
    p.ellipse(0.44, -0.26, 0.024, 0.024, "dark", edge=False)
    p.ellipse(0.23, -0.29, 0.066, 0.070, "paper")
    p.ellipse(0.248, -0.285, 0.044, 0.051, "ink", edge=False)
    p.ellipse(0.235, -0.31, 0.018, 0.018, "paper", edge=False)


def crane(p: Pen, rng: Random) -> None:
    p.stroke(((-0.02, 0.16), (-0.02, 0.48)), 0.034, "ink")
    p.stroke(((-0.04, 0.48), (0.09, 0.485)), 0.030, "ink")
    p.stroke(((0.04, 0.14), (0.17, 0.27)), 0.034, "ink")
    p.stroke(((0.17, 0.27), (0.03, 0.34)), 0.034, "ink")
    p.blob(((-0.16, -0.06), (-0.34, 0.0), (-0.48, 0.16), (-0.40, 0.26), (-0.30, 0.20), (-0.26, 0.27), (-0.12, 0.18)),
        "ink")
    p.stroke(((0.11, 0.04), (0.20, -0.08), (0.12, -0.24), (0.20, -0.38)), 0.105, "main", edge=True, tip=0.075)
    p.blob(((-0.34, 0.08), (-0.20, -0.10), (0.04, -0.11), (0.19, 0.0), (0.14, 0.15), (-0.06, 0.21), (-0.24, 0.18)),
        "main")
    p.blob(((-0.30, 0.09), (-0.16, -0.03), (0.04, -0.03), (0.05, 0.06), (-0.10, 0.13)), "light", edge=False)
    p.polygon(((0.24, -0.43), (0.50, -0.36), (0.24, -0.34)), "gold")
    p.ellipse(0.20, -0.39, 0.085, 0.075, "main")
    p.arc(0.195, -0.415, 0.072, 0.060, 180, 360, (216, 44, 50), edge=False)
    p.ellipse(0.22, -0.385, 0.034, 0.034, "paper", edge=False)
    p.ellipse(0.225, -0.385, 0.024, 0.026, "ink", edge=False)

# fmt: on
