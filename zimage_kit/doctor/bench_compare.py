"""Compares what two profiles draw with the same seeds: how far apart in numbers, and side by side for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WINDOW = 8
_HEAD, _GAP = 28, 4


@dataclass(frozen=True)
class Difference:
    """Of one profile's pictures from the first one's: medians over `pictures`. PSNR in dB, None where most are equal.

    `ssim`: 1 for equal pictures (Wang, Bovik, Sheikh, Simoncelli 2004; luma, windows of 8x8). `largest`: of any number.
    """

    profile: str
    other: str
    pictures: int
    psnr: float | None
    ssim: float
    largest: int

    def __str__(self) -> str:
        same = "all equal" if self.largest == 0 else "most equal"
        equal = same if self.psnr is None else f"PSNR {self.psnr:.1f} dB, SSIM {self.ssim:.4f}"
        return f"{self.profile} beside {self.other}, {self.pictures} pictures: {equal}, at most {self.largest} of 255"


def differences(pictures: Mapping[str, Sequence[Image.Image]]) -> list[Difference]:
    """How far each profile's pictures are from those of the first profile, seed by seed."""
    (first, wanted), *others = pictures.items()
    found = []
    for name, drawn in others:
        pairs = [(np.asarray(one, float), np.asarray(other, float)) for one, other in zip(drawn, wanted, strict=True)]
        middle = float(np.median([psnr(*pair) for pair in pairs]))
        found.append(
            Difference(
                profile=name,
                other=first,
                pictures=len(pairs),
                psnr=None if middle == inf else round(middle, 2),  # JSON has no infinity
                ssim=round(float(np.median([ssim(*pair) for pair in pairs])), 5),
                largest=int(max(np.abs(one - other).max() for one, other in pairs)),
            )
        )
    return found


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise ratio in dB of pictures [h, w, 3] in 0 … 255."""
    error = float(np.square(one - other).mean())
    return 10 * log10(255**2 / error) if error else inf


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of pictures [h, w, 3] in 0 … 255: the mean over all windows of their luma."""
    x, y = (each @ np.array([0.299, 0.587, 0.114]) for each in (one, other))
    mean_x, mean_y = _windows(x), _windows(y)
    var_x, var_y = _windows(x * x) - mean_x**2, _windows(y * y) - mean_y**2
    both = _windows(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float((top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def sheet(pictures: Mapping[str, Sequence[Image.Image]], side: int = 512) -> Image.Image:
    """A column for each profile, a row for each seed, pictures at most `side` pixels wide."""
    shown = [[_at_most(picture.convert("RGB"), side) for picture in drawn] for drawn in pictures.values()]
    width = max(picture.width for picture in shown[0])
    tops = [_HEAD]
    for picture in shown[0]:
        tops.append(tops[-1] + picture.height + _GAP)
    made = Image.new("RGB", (len(shown) * (width + _GAP) - _GAP, tops[-1] - _GAP), "white")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(16)
    for column, (name, drawn) in enumerate(zip(pictures, shown, strict=True)):
        left = column * (width + _GAP)
        draw.text((left + 4, 4), name, fill="black", font=font)
        for top, picture in zip(tops, drawn, strict=False):
            made.paste(picture, (left, top))
    return made


def _at_most(picture: Image.Image, side: int) -> Image.Image:
    """The picture in its shape, at most `side` pixels wide."""
    if picture.width <= side:
        return picture
    return picture.resize((side, round(picture.height * side / picture.width)), Image.Resampling.LANCZOS)


def _windows(x: np.ndarray) -> np.ndarray:
    """The mean of every window of 8x8."""
    total = np.pad(x, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    n = _WINDOW
    found: np.ndarray = (total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]) / n**2
    return found
