"""How far apart pictures are in colour: the mean ΔE*ab (CIE 1976) of 32 x 32 areas.

It sees where things are and what colour they have, and neither grain nor fine texture: 0 is the same picture, 2.3 a
just noticeable difference of one colour, 100 black and white.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .picture import on_white

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

SIDE = 32
# IEC 61966-2-1 (sRGB, D65) to CIE XYZ, with white at (1, 1, 1) once divided by its tristimulus values
_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))


def areas(picture: Image.Image) -> NDArray[Any]:
    """A picture as SIDE x SIDE colours in CIELAB, float32 [1024, 3]; transparent parts lie on white."""
    import numpy as np
    from PIL import Image as Pictures

    small = on_white(picture).convert("RGB").resize((SIDE, SIDE), Pictures.Resampling.BOX)
    return lab(np.asarray(small, dtype=np.float64).reshape(-1, 3) / 255).astype(np.float32)


def lab(rgb: NDArray[Any]) -> NDArray[Any]:
    """From sRGB, 0 to 1, [..., 3], to CIELAB under D65 (CIE 15:2004; sRGB by IEC 61966-2-1)."""
    import numpy as np

    to_xyz = np.array(_TO_XYZ)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    cube = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    light = 116 * cube[..., 1] - 16
    return np.stack([light, 500 * (cube[..., 0] - cube[..., 1]), 200 * (cube[..., 1] - cube[..., 2])], axis=-1)


def distances(colours: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Of every picture, as `areas`, to every other: [n, n], with zeros on the diagonal."""
    import numpy as np

    stacked = np.stack(colours)
    return np.stack([np.linalg.norm(stacked - each, axis=-1).mean(axis=-1) for each in stacked])


def mean_of(distances: NDArray[Any]) -> float:
    """The mean over all pairs of at least two pictures."""
    count = len(distances)
    return float(distances.sum() / (count * (count - 1)))


def mean_distance(pictures: Sequence[Image.Image]) -> float:
    """The mean over all pairs of at least two pictures."""
    return mean_of(distances([areas(picture) for picture in pictures]))
