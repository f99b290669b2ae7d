"""Compares pictures and recipes: how far two pictures are apart, and the possible reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL import Image

TOLERATED_MAX, TOLERATED_MEAN = 16, 0.5
"""Of 255. Another device or library version changes single pixels by rounding; larger differences may be visible."""


@dataclass(frozen=True)
class Pixels:
    """Difference of two pictures of the same size: largest and mean (of 255), and the share of pixels that differ."""

    largest: int
    mean: float
    share: float

    def __str__(self) -> str:
        share = "less than 0.01%" if 0 < self.share < 1e-4 else f"{self.share:.2%}"
        return f"largest difference {self.largest} of 255, mean {self.mean:.3f}, {share} of the pixels differ"


@dataclass(frozen=True)
class Difference:
    """Fields of two recipes that differ, as (mine, theirs), and the pixels' difference (None: sizes differ).

    `inputs`: a sentence for each input file that differs or is not here.
    """

    fields: dict[str, tuple[Any, Any]]
    pixels: Pixels | None
    inputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{name}: {mine!r} -> {theirs!r}" for name, (mine, theirs) in self.fields.items()]
        lines.append("the recipes are equal" if not lines else "")
        lines += self.inputs
        lines.append("the sizes differ" if self.pixels is None else str(self.pixels))
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True)
class Verdict:
    """Outcome of a rerun: `state`, the pixels' difference (None: sizes differ), and what else has changed."""

    state: Literal["identical", "within tolerance", "different"]
    pixels: Pixels | None
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.state != "different"

    def __str__(self) -> str:
        if self.state == "identical":
            return "identical"
        distance = "the sizes differ" if self.pixels is None else str(self.pixels)
        why = "; ".join(self.reasons) or "everything it depends on is the same, so the file was changed afterwards"
        return f"{self.state}: {distance}. {why}."


def compare(one: Image.Image, other: Image.Image) -> Pixels:
    """Compare two pictures of the same size, as RGB."""
    import numpy as np

    a = np.asarray(one.convert("RGB"), dtype=np.int16)
    b = np.asarray(other.convert("RGB"), dtype=np.int16)
    gap = np.abs(a - b)
    return Pixels(int(gap.max()), float(gap.mean()), float((gap.max(axis=2) > 0).mean()))


def judge(mine: Image.Image, rerun: Image.Image, reasons: tuple[str, ...]) -> Verdict:
    """The verdict on a rerun; `reasons` are the differences between the two pictures' identities."""
    if mine.size != rerun.size:
        return Verdict("different", None, (f"size was {mine.size}, is {rerun.size}", *reasons))
    pixels = compare(mine, rerun)
    if pixels.largest == 0:
        return Verdict("identical", pixels, reasons)
    near = pixels.largest <= TOLERATED_MAX and pixels.mean <= TOLERATED_MEAN
    return Verdict("within tolerance" if near else "different", pixels, reasons)
