"""Diversity: how much pictures differ along an axis, such as the seed, as one number.

The mean colour difference (CIE 1976) of all pairs. Two pictures are reduced to 32 x 32 areas, the mean of each area is
taken to CIELAB, and the distance is the mean of ΔE*ab over the areas: it sees where things are and what colour they
have, and neither grain nor fine texture. nano's seeds are about 8 apart at one prompt, and its prompts 43 at one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import BadRequest, closest
from ..recipe.picture import on_white
from ..text.tables import table
from .cell import Cell
from .dimensions import ROLES, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cell_array import CellArray

SIDE = 32
DEFINITION = (
    f"mean ΔE*ab (CIE 1976) over all pairs, between {SIDE} x {SIDE} area means of the pictures; "
    "0: the same picture, 2.3: a just noticeable difference of one colour, about 10: one scene with things moved, "
    "about 40: different scenes, 100: black and white"
)

# IEC 61966-2-1 (sRGB, D65) to CIE XYZ, with white at (1, 1, 1) once divided by its tristimulus values
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


@dataclass(frozen=True)
class Group:
    """Pictures that agree in everything but the axis: their label, how many, and the mean distance of their pairs."""

    label: str
    pictures: int
    distance: float

    @property
    def pairs(self) -> int:
        """How many were compared."""
        return self.pictures * (self.pictures - 1) // 2


@dataclass(frozen=True)
class Diversity:
    """`distance` is the mean over all pairs of all groups, in ΔE*ab. `missing`: cells that have no picture."""

    axis: str
    distance: float
    groups: tuple[Group, ...]
    missing: int = 0

    @property
    def _left_out(self) -> str:
        return f"; cells without a picture, left out: {self.missing}" if self.missing else ""

    def __str__(self) -> str:
        each = [f"  {group.distance:5.1f}  {group.label}" for group in self.groups if len(self.groups) > 1]
        return "\n".join([f"{self.distance:.1f} along {self.axis} ({DEFINITION}{self._left_out})", *each])

    def _repr_html_(self) -> str:
        """In a notebook: a row for each group, and what the figures mean beneath."""
        rows = [(group.label, f"{group.distance:.1f}", group.pictures, group.pairs) for group in self.groups]
        if len(rows) > 1:
            pictures, pairs = (sum(count) for count in zip(*((row[2], row[3]) for row in rows), strict=True))
            rows.append(("all", f"{self.distance:.1f}", pictures, pairs))
        head = ("", f"along {self.axis}", "pictures", "pairs")
        return f"{table(head, rows)}<p><small>{DEFINITION}{self._left_out}</small></p>"


def diversity(grid: CellArray, axis: str = "seed") -> Diversity:
    """How much the pictures along an axis differ, by groups that agree in everything else.

    An axis that goes in step with others is compared together with them. Raises BadRequest for an axis that the grid
    does not have, and where no group has two pictures.
    """
    if axis not in grid.axes:
        raise BadRequest(f"no axis {axis!r}", mend=closest(axis, grid.axes))
    along = next(role for role in ROLES if axis in grid.plan.axes_of(role))
    others: list[Role] = [role for role in ROLES if role in grid.plan.dimensions and role != along]
    groups: dict[tuple[int, ...], list[Cell]] = {}
    for cell in grid.cells:
        numbers = {"rows": cell.place.row, "columns": cell.place.column,
                   "pages": cell.place.page, "inner": cell.place.inner}  # fmt: skip
        groups.setdefault(tuple(numbers[role] for role in others), []).append(cell)
    found, missing = [], 0
    for place, cells in groups.items():
        small = [_areas(artifact.image) for cell in cells if (artifact := cell.artifact) is not None]
        missing += len(cells) - len(small)
        if len(small) > 1:
            label = ", ".join(grid.labels(role)[number] for role, number in zip(others, place, strict=True))
            found.append(Group(label or "all", len(small), _mean(np.stack(small))))
    if not found:
        raise BadRequest(f"no two pictures to compare along {axis}", mend="Wait for the grid, or give the axis more.")
    pairs = sum(group.pairs for group in found)
    return Diversity(axis, sum(group.distance * group.pairs for group in found) / pairs, tuple(found), missing)


def mean_distance(pictures: Sequence[Image.Image]) -> float:
    """The mean of ΔE*ab over all pairs of at least two pictures; see the head of this module."""
    return _mean(np.stack([_areas(picture) for picture in pictures]))


def _mean(colours: NDArray[np.float32]) -> float:
    """The same of pictures as `_areas`, (pictures, 1024, 3)."""
    total = 0.0
    for index in range(len(colours) - 1):
        total += float(np.linalg.norm(colours[index + 1 :] - colours[index], axis=-1).mean(axis=-1).sum())
    return total / (len(colours) * (len(colours) - 1) / 2)


def _areas(picture: Image.Image) -> NDArray[np.float32]:
    """A picture as 32 x 32 colours in CIELAB, (1024, 3); transparent parts lie on white."""
    small = on_white(picture).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return lab(np.asarray(small, dtype=np.float64).reshape(-1, 3) / 255).astype(np.float32)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """From sRGB, 0 to 1, (…, 3), to CIELAB under D65 (CIE 15:2004; sRGB by IEC 61966-2-1)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    cube = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    light = 116 * cube[..., 1] - 16
    return np.stack([light, 500 * (cube[..., 0] - cube[..., 1]), 200 * (cube[..., 1] - cube[..., 2])], axis=-1)
