"""Sizes of pictures: what an open side means, and the size of a ratio that a model draws well."""

from __future__ import annotations

from math import log

from ..recipe.request import SIDE_MULTIPLE
from .spec import ModelSpec

_SMALLEST_SIDE = 64
_NEAR = log(1.07)


def drawn_size(spec: ModelSpec, width: int | None, height: int | None) -> tuple[int, int]:
    """The (width, height) that is drawn: the model's own if both are open, a square if one of them is."""
    if width is None and height is None:
        return spec.native
    given = width or height
    assert given is not None
    return width or given, height or given


def size_of_ratio(spec: ModelSpec, ratio: float) -> tuple[int, int]:
    """The (width, height) nearest to a ratio that the model draws well, no side above `advised_side`.

    One of the sizes that it was trained for, within 7 % of the ratio; else one of about as many pixels as its native
    size, the ratio counting four times as much.
    """

    def off(size: tuple[int, int]) -> float:
        return abs(log(size[0] / size[1] / ratio))

    own = min(spec.sizes, key=off, default=spec.native)
    if off(own) < _NEAR:
        return own
    pixels = spec.native[0] * spec.native[1]
    sides = range(_SMALLEST_SIDE, spec.advised_side + 1, SIDE_MULTIPLE)
    nearest = [(width, min(sides, key=lambda height, width=width: off((width, height)))) for width in sides]  # type: ignore[misc]
    return min(nearest, key=lambda size: 4 * off(size) + abs(log(size[0] * size[1] / pixels)))
