"""The look of a text on a given picture: its colour, and how much shadow, veil or outline makes it stand out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import ImageColor

from .contrast import Colour, Pixels, choose, ratio, reached, veil_needed, veiled

Behind = Literal["auto", "none", "scrim", "plate"]

_SHADOW = 0.55
_VEIL_AT_LEAST = {"scrim": 0.3, "plate": 0.55}
_OUTLINE = 0.05
_TINT = 0.12


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None and "auto" leave the choice open. Fractions 0 to 1, the outline in ems."""

    colour: str = "auto"
    light: str = "white"
    dark: str = "#161616"
    contrast: float = 4.5
    outline: float | None = None
    outline_colour: str = "auto"
    shadow: float | None = None
    behind: Behind = "auto"
    behind_colour: str = "auto"
    behind_opacity: float | None = None


@dataclass(frozen=True)
class Look:
    """What was chosen. `contrast` is the ratio that 95 % of the pixels beneath the letters reach, veil included.

    If the user asked for an outline, `contrast` is at least the letters' ratio against it.
    """

    colour: Colour
    shadow: float
    outline: float
    outline_colour: Colour
    behind: Literal["none", "scrim", "plate"]
    behind_colour: Colour
    opacity: float
    contrast: float
    words: tuple[str, ...] = field(default=())


def parse(colour: str) -> Colour:
    """Red, green and blue of a colour name or #rrggbb. Raises ValueError."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


def decide(wish: Wish, pixels: Pixels) -> Look:
    """Choose what the wish leaves open. `pixels` (n, 3) are those of the picture beneath the letters."""
    light, dark = parse(wish.light), parse(wish.dark)
    colour = choose(light, dark, pixels, wish.contrast) if wish.colour == "auto" else parse(wish.colour)
    own = np.array([colour], dtype=np.float64)
    against = light if reached(light, own) >= reached(dark, own) else dark
    veil = _tinted(against, pixels) if wish.behind_colour == "auto" else parse(wish.behind_colour)
    outline_colour = against if wish.outline_colour == "auto" else parse(wish.outline_colour)
    held = (wish.outline or 0.0) >= _OUTLINE and reached(colour, np.array([outline_colour], dtype=np.float64))
    needed = 0.0 if held >= wish.contrast else veil_needed(colour, veil, pixels, wish.contrast)
    behind, opacity = _behind(wish, needed)
    seen = veiled(pixels, veil, opacity)
    contrast = max(held, reached(colour, seen))
    weak = contrast < wish.contrast
    shadow = wish.shadow if wish.shadow is not None else _shadow(colour, against, seen, weak)
    outline = wish.outline if wish.outline is not None else _OUTLINE if weak else 0.0
    return Look(
        colour=colour,
        shadow=shadow,
        outline=outline,
        outline_colour=outline_colour,
        behind=behind,
        behind_colour=veil,
        opacity=opacity,
        contrast=contrast,
        words=_words(wish, colour, light, dark, behind, opacity, outline, contrast),
    )


def _tinted(colour: Colour, pixels: Pixels) -> Colour:
    """A dark or light colour tinted by the picture beneath: a veil of pure grey looks dirty."""
    base = np.array(colour, dtype=np.float64)
    touched = base + _TINT * (pixels.mean(axis=0) - base) if len(pixels) else base
    red, green, blue = (int(level) for level in touched.round())
    return red, green, blue


def _behind(wish: Wish, needed: float | None) -> tuple[Literal["none", "scrim", "plate"], float]:
    """What lies behind the letters, and its opacity: the user's, or else as much as the contrast needs."""
    if wish.behind == "none" or (wish.behind == "auto" and needed == 0 and not wish.behind_opacity):
        return "none", 0.0
    kind: Literal["scrim", "plate"] = "plate" if wish.behind == "plate" else "scrim"
    if wish.behind_opacity is not None:
        return kind, wish.behind_opacity
    enough = 0.6 if needed is None else needed
    return kind, enough if wish.behind == "auto" else max(enough, _VEIL_AT_LEAST[kind])


def _shadow(colour: Colour, against: Colour, seen: Pixels, weak: bool) -> float:
    """Strength of the shadow. Light letters always get a dark one; dark letters get a light one only where needed."""
    if weak:
        return 0.8
    darker = float(sum(against)) < float(sum(colour))
    return _SHADOW if darker else 0.0 if reached(colour, seen) >= 7 else _SHADOW


def _words(
    wish: Wish,
    colour: Colour,
    light: Colour,
    dark: Colour,
    behind: str,
    opacity: float,
    outline: float,
    contrast: float,
) -> tuple[str, ...]:
    """What was chosen for the user, for the trace."""
    name = wish.colour if wish.colour != "auto" else wish.light if colour == light else wish.dark
    words = [f"{name} letters"]
    if behind != "none":
        words.append(f"{behind} {opacity:.0%}")
    if outline:
        words.append("an outline")
    short = "" if contrast >= wish.contrast else f" of the {wish.contrast:g}:1 wanted"
    return (*words, f"contrast {contrast:.1f}:1{short}")


def share(colour: Colour, pixels: Pixels, target: float) -> float:
    """Fraction of the pixels, 0 to 1, against which a colour reaches the ratio `target`."""
    return float((ratio(colour, pixels) >= target).mean()) if len(pixels) else 1.0
