"""CellArray: the cells of a grid by place and by value, their results, and export to files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import BadRequest
from ..files import portable_json
from ..recipe.artifact import Artifact
from .cell import Cell, Cells
from .dimensions import ROLES, Place, Role
from .plan import Plan

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image
    from pydantic import JsonValue

    from .diversity import Diversity


class CellArray:
    """`cells` in reading order; `array[row, column]` (and page, inner, as far as it has them) is one of them."""

    def __init__(self, plan: Plan, cells: Sequence[Cell]) -> None:
        self.plan, self.cells = plan, Cells(cells)
        self._by_place = {cell.place: cell for cell in self.cells}

    @property
    def title(self) -> str:
        """Above the sheet; empty for none."""
        return self.plan.title

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, columns, pages and inner places, for the dimensions that it has."""
        return self.plan.shape

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of what varies."""
        return self.plan.axes

    def labels(self, role: Role) -> tuple[str, ...]:
        """Labels of the rows, columns, pages or inner places; empty if it has none."""
        return self.plan.labels_of(role)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen for the user."""
        return self.plan.notes

    def __getitem__(self, index: int | tuple[int, ...]) -> Cell:
        """A cell by its numbers, one for each dimension in the order of `shape`. Raises IndexError."""
        numbers = index if isinstance(index, tuple) else (index,)
        roles = [role for role in ROLES if role in self.plan.dimensions]
        if len(numbers) != len(roles):
            raise IndexError(f"{len(numbers)} numbers for a grid of {' x '.join(map(str, self.shape))}")
        names = {"rows": "row", "columns": "column", "pages": "page", "inner": "inner"}
        found = {}
        for role, number, count in zip(roles, numbers, self.shape, strict=True):
            if not -count <= number < count:
                raise IndexError(f"{names[role]} {number} of {count}")
            found[names[role]] = number % count
        place = {"row": 0, "column": 0, "page": 0, "inner": 0, **found}
        return self._by_place[Place(**place)]

    def at(self, /, **values: Any) -> Cells:
        """The cells in which these axes have these values: `grid.at(colour="red", seed=2)`."""
        short = {name.removeprefix("stages."): name for name in self.axes} | {name: name for name in self.axes}
        unknown = sorted(set(values) - set(short))
        if unknown:
            raise BadRequest(f"no axis {unknown[0]!r}", expected=", ".join(self.axes))
        wanted = {short[name]: self.plan.normal(short[name], value) for name, value in values.items()}
        return Cells([cell for cell in self.cells if all(cell.values.get(name) == wanted[name] for name in wanted)])

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    @property
    def computed(self) -> Cells:
        """The cells that this grid had to run, so far."""
        return Cells([cell for cell in self.cells if cell.computed])

    @property
    def failed(self) -> Cells:
        """The cells that went wrong."""
        return Cells([cell for cell in self.cells if cell.state == "failed"])

    @property
    def done(self) -> Cells:
        """The cells whose pictures are there."""
        return Cells([cell for cell in self.cells if cell.state == "done"])

    @property
    def artifacts(self) -> list[Artifact | None]:
        """The pictures in reading order; None where there is none (yet)."""
        return [cell.artifact for cell in self.cells]

    @property
    def winner(self) -> Cell | None:
        """The cell that was picked as the best."""
        return next((cell for cell in self.cells if cell.state == "done" and cell.winner), None)

    def pick(self, cell: Cell | None) -> None:
        """Make this cell the winner, or none. Raises BadRequest for one without a picture."""
        if cell is not None:
            cell.winner = True
        for other in self.cells:
            if other.state == "done" and other.winner and (cell is None or other.key != cell.key):
                other.winner = False

    def recipe(self) -> dict[str, Any]:
        """Plan and keys of the cells as JSON values: what `save` puts into every file, and `open` reads.

        Paths below the user's home begin with ~.
        """
        data: dict[str, Any] = portable_json(self.plan.data())
        return {**data, "cells": [cell.key for cell in self.cells]}

    def save(self, path: str | os.PathLike[str] | None = None, **options: Any) -> list[Path]:
        """Write what there is into a file of the kind that its ending says, and return the files' paths.

        Without a path: a contact sheet `YYYY-MM-DD/HHMMSS-grid-slug.png` in the outputs folder.

        .png, .jpg: contact sheets, with the options of `sheets` (and quality=92 for .jpg); several sheets become
        name-1.png, name-2.png … .html: a page that needs nothing but a browser (max_bytes=80_000_000, quality=88,
        language: "en" or "zh"). .csv: the table (only=names of columns). .json: the recipe. All but the table hold
        the recipe, and `Grid.open` opens them. Each file is there whole or not at all. Raises CannotWrite, and
        BadRequest for other options.
        """
        from .files import dated_path, save

        return save(self, dated_path(self) if path is None else Path(path), **options)

    def sheet(self, page: int = 0, **options: Any) -> Image.Image:
        """A contact sheet as a picture (RGB), the first unless another `page` is asked for; options as for `sheets`."""
        from .sheet import layouts_of, render

        layouts = layouts_of(self, **options)
        if not 0 <= page < len(layouts):
            raise BadRequest(f"page={page}", expected=f"0 to {len(layouts) - 1}")
        return render(layouts[page])

    def sheets(
        self,
        *,
        cell: int | None = None,
        label_size: float | None = None,
        max_megapixels: float = 40.0,
        fit: Literal["scale", "pages"] = "scale",
    ) -> list[Image.Image]:
        """All contact sheets as pictures (RGB), one for each page.

        cell: pixels of a picture's longer side; by default its own, up to 1024. label_size: pixels of the labels'
        letters; by default they follow the pictures. What is beyond `max_megapixels` is scaled down, or with
        fit="pages" spread over several sheets, and a warning says so. Cells without a picture say why. Raises
        BadRequest.
        """
        from .sheet import draw_sheets

        return draw_sheets(self, cell=cell, label_size=label_size, max_megapixels=max_megapixels, fit=fit)

    def rows(self) -> list[dict[str, JsonValue]]:
        """A row for each cell, in reading order, as JSON values.

        Axes by their names, then labels of the place (page, row, column, inner), state, error, seed, model, size,
        pixels (of the picture), seconds, peak_bytes, rating, winner, path, and recipe (a request as JSON).
        """
        from .table import rows

        return rows(self)

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; `frame[list(grid.axes)]` is a table that makes the same cells again.

        Raises ZImageError where pandas is not installed.
        """
        from .table import frame

        return frame(self)

    def diversity(self, axis: str = "seed") -> Diversity:
        """How much the pictures along an axis differ, as a mean colour difference; it prints its own definition.

        Raises BadRequest for an axis that the grid does not have, and for one without two pictures to compare.
        """
        from .diversity import diversity

        return diversity(self, axis)
