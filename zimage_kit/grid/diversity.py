"""Diversity: how much pictures differ along an axis, such as the seed, as one number.

The mean colour difference (CIE 1976) of all pairs. Two pictures are reduced to 32 x 32 areas, the mean of each area is
taken to CIELAB, and the distance is the mean of ΔE*ab over the areas: it sees where things are and what colour they
have, and neither grain nor fine texture. nano's seeds are about 8 apart at one prompt, and its prompts 43 at one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadRequest, closest
from ..recipe.colour import SIDE, areas, distances, mean_of
from ..text.tables import table
from .cell import Cell
from .dimensions import ROLES, Role

if TYPE_CHECKING:
    from .cell_array import CellArray

DEFINITION = (
    f"mean ΔE*ab (CIE 1976) over all pairs, between {SIDE} x {SIDE} area means of the pictures; "
    "0: the same picture, 2.3: a just noticeable difference of one colour, about 10: one scene with things moved, "
    "about 40: different scenes, 100: black and white"
)


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
        small = [areas(artifact.image) for cell in cells if (artifact := cell.artifact) is not None]
        missing += len(cells) - len(small)
        if len(small) > 1:
            label = ", ".join(grid.labels(role)[number] for role, number in zip(others, place, strict=True))
            found.append(Group(label or "all", len(small), mean_of(distances(small))))
    if not found:
        raise BadRequest(f"no two pictures to compare along {axis}", mend="Wait for the grid, or give the axis more.")
    pairs = sum(group.pairs for group in found)
    return Diversity(axis, sum(group.distance * group.pairs for group in found) / pairs, tuple(found), missing)
