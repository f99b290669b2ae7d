"""Pictures that look alike: a perceptual hash of 64 bits, whose distance is the count of bits that differ.

The hash (pHash) says of the 8x8 coarsest waves of a small grey picture, its discrete cosine transform, which are
stronger than their median.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipe import picture

if TYPE_CHECKING:
    from PIL import Image

ALIKE = 14
"""Bits that may differ between pictures that are called similar; of unrelated ones some 32 do."""
_SIDE, _WAVES = 32, 8


def hash_of(image: Image.Image) -> int:
    """The hash of a picture, as a signed 64-bit number."""
    import numpy as np
    from PIL import Image as Pictures

    small = picture.on_white(image).reduce(max(1, min(image.size) // (2 * _SIDE))).convert("L")
    levels = np.asarray(small.resize((_SIDE, _SIDE), Pictures.Resampling.BOX), np.float64)
    waves = (_cosines() @ levels @ _cosines().T).ravel()
    bits = int("".join("01"[strong] for strong in (waves > np.median(waves[1:])).tolist()), 2)
    return bits - (1 << 64) if bits >> 63 else bits


@cache
def _cosines() -> Any:
    """[waves, side]: the first rows of the discrete cosine transform (DCT-II)."""
    import numpy as np

    places = (2 * np.arange(_SIDE) + 1) * np.pi / (2 * _SIDE)
    return np.cos(np.arange(_WAVES)[:, None] * places)


def hash_file(path: Path) -> int | None:
    """The hash of a picture file; None if it cannot be read."""
    try:
        with picture.opened(path) as file:
            file.draft("RGB", (2 * _SIDE, 2 * _SIDE))  # a JPEG is decoded at an eighth
            return hash_of(picture.plain(file)[0])
    except picture.UNREADABLE:
        return None


def distance(one: int, other: int) -> int:
    """How many bits differ, 0 to 64."""
    return ((one ^ other) & ((1 << 64) - 1)).bit_count()
