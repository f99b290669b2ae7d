"""Compares what two profiles draw with the same seeds: how far apart in numbers, and side by side for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WINDOW = 8
_HEAD = 28


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
    first = next(iter(pictures.values()))[0]
    width = min(side, first.width)
    height = round(first.height * width / first.width)
    rows = len(next(iter(pictures.values())))
    made = Image.new("RGB", (len(pictures) * (width + 4) - 4, _HEAD + rows * (height + 4) - 4), "white")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(16)
    for column, (name, drawn) in enumerate(pictures.items()):
        draw.text((column * (width + 4) + 4, 4), name, fill="black", font=font)
        for row, picture in enumerate(drawn):
            small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
            made.paste(small, (column * (width + 4), _HEAD + row * (height + 4)))
    return made


def _windows(x: np.ndarray) -> np.ndarray:
    """The mean of every window of 8x8."""
    total = np.pad(x, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    n = _WINDOW
    found: np.ndarray = (total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]) / n**2
    return found
