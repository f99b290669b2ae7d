"""Legibility: luminance and contrast ratio as defined by WCAG 2, and the veil needed to reach a ratio."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Colour: TypeAlias = tuple[int, int, int]
Pixels: TypeAlias = NDArray[np.float64]

SHARE = 0.95
"""Share of the pixels beneath the letters that must reach the ratio."""

_VEIL_STEPS = tuple(step / 20 for step in range(17))  # opacities of a veil, at most 0.8
_LIGHT_PREFERRED = 1.3
_ENOUGH = 20_000  # pixels in a sample


def luminance(pixels: Pixels) -> Pixels:
    """Relative luminance, 0 to 1, of sRGB values 0 to 255 in the last axis (WCAG 2.2, definition)."""
    part = pixels / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


def ratio(colour: Colour, pixels: Pixels) -> Pixels:
    """Contrast of a colour against each pixel, 1 (none) to 21 (black on white)."""
    one, other = float(luminance(np.array(colour, dtype=np.float64))), luminance(pixels)
    return (np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05)


def reached(colour: Colour, pixels: Pixels) -> float:
    """The ratio that at least `SHARE` of the pixels reach."""
    return float(np.quantile(ratio(colour, pixels), 1 - SHARE)) if len(pixels) else 21.0


def sample(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Pixels:
    """The pixels (n, 3) of an RGB picture where the mask is not 0; every nth if there are many."""
    found = picture[mask > 0]
    return found[:: max(1, len(found) // _ENOUGH)].astype(np.float64)


def veiled(pixels: Pixels, veil: Colour, opacity: float) -> Pixels:
    """The pixels behind a veil of this colour."""
    return pixels * (1 - opacity) + np.array(veil, dtype=np.float64) * opacity


def veil_needed(colour: Colour, veil: Colour, pixels: Pixels, target: float) -> float | None:
    """The lowest opacity of a veil at which `colour` reaches the ratio `target`; None if none is enough."""
    return next((step for step in _VEIL_STEPS if reached(colour, veiled(pixels, veil, step)) >= target), None)


def choose(light: Colour, dark: Colour, pixels: Pixels, target: float) -> Colour:
    """The one of two colours that stands out better.

    If neither reaches the ratio, a veil will be added, so the median pixel decides. Light letters on a dark veil look
    better and are preferred when the two are about even.
    """
    alone = {colour: reached(colour, pixels) for colour in (light, dark)}
    if max(alone.values()) >= target:
        return light if alone[light] >= alone[dark] else dark
    middling = {colour: float(np.median(ratio(colour, pixels))) for colour in (light, dark)}
    return light if middling[light] * _LIGHT_PREFERRED >= middling[dark] else dark
