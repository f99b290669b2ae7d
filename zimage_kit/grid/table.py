"""Table: a grid as rows, one per cell: axis values, timings, rating and recipe."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from ..errors import BadRequest, ZImageError, closest
from ..files import portable_json, portable_text
from .axis_table import COLUMNS, FIELD_COLUMNS, escape_formula
from .cell import Cell

if TYPE_CHECKING:
    import pandas as pd

    from .cell_array import CellArray


def columns(grid: CellArray) -> list[str]:
    """Axes by their names, then `COLUMNS`; one whose name is taken by an axis gets a `_` behind it."""
    return [*grid.axes, *_own_columns(grid).values()]


def _own_columns(grid: CellArray) -> dict[str, str]:
    """What each of `COLUMNS` is called in this grid's table, those left out that an axis stands for."""
    fields = set(grid.axes) - grid.plan.slot_names
    return {name: f"{name}_" if name in grid.axes else name
            for name in COLUMNS if not (name in FIELD_COLUMNS and name in fields)}  # fmt: skip


def rows(grid: CellArray) -> list[dict[str, JsonValue]]:
    """One row for each cell, in reading order, as JSON values; None where a cell has no value.

    Seconds and bytes are those of the run that made the picture, which may have been another grid's.
    """
    own = _own_columns(grid)
    found = []
    for cell in grid.cells:
        values = _cell_row(grid, cell)
        axes = {name: cell.values.get(name) for name in grid.axes}
        found.append({**axes, **{name: values[key] for key, name in own.items()}})
    return found


def _cell_row(grid: CellArray, cell: Cell) -> dict[str, JsonValue]:
    place, request, trace = cell.place, cell.request, cell.trace
    numbers = {"page": place.page, "row": place.row, "column": place.column, "inner": place.inner}
    labels = {"page": "pages", "row": "rows", "column": "columns", "inner": "inner"}
    where = {name: names[numbers[name]] if (names := grid.labels(role)) else None for name, role in labels.items()}  # type: ignore[arg-type]
    total = trace.milliseconds.get("total") if trace else None
    width, height = cell.size
    return {
        **where,
        "state": cell.state,
        "error": str(cell.error) if cell.error else None,
        "seed": request.seed,
        "model": request.model,
        "size": f"{request.width}x{request.height}" if request.width and request.height else None,
        "pixels": f"{width}x{height}" if trace else None,
        "seconds": None if total is None else round(total / 1000, 3),
        "peak_bytes": max(trace.peak_bytes.values(), default=None) if trace else None,
        "rating": cell.rating or None,
        "winner": cell.winner if trace else False,
        "path": str(cell.path) if cell.path else None,
        "recipe": request.to_json(),
    }


def to_csv(grid: CellArray, only: str | Sequence[str] | None = None) -> str:
    """The rows as CSV with a line of names. `only`: these columns; the axes alone make a table to give to a grid.

    A text that a spreadsheet would take for a formula gets an apostrophe before it (`escape_formula`), which reading
    the file as axes takes away again. Raises BadRequest for a column that is not there.
    """
    names, only = columns(grid), [only] if isinstance(only, str) else only
    unknown = [name for name in only or () if name not in names]
    if unknown:
        raise BadRequest(f"no column {unknown[0]!r}", mend=closest(unknown[0], names))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(only or names)
    for row in rows(grid):
        writer.writerow([escape_formula(_plain(name, _portable(name, row[name]))) for name in only or names])
    return out.getvalue()


def _portable(name: str, value: JsonValue) -> JsonValue:
    """A value for a file that may be handed on: no path tells where its author's home is."""
    if name == "recipe":
        return json.dumps(portable_json(json.loads(str(value))), ensure_ascii=False)
    if name == "error" and value is not None:
        return portable_text(str(value))
    found: JsonValue = portable_json(value)
    return found


def _plain(name: str, value: JsonValue) -> str:
    """A value as text that an axis of this name reads again."""
    if value is None:
        return ""
    if name == "lora" and isinstance(value, list):
        if not value:
            return "none"
        if len(value) == 1:
            return ":".join(map(str, value[0]))  # type: ignore[arg-type]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def frame(grid: CellArray) -> pd.DataFrame:
    """The rows as a pandas DataFrame: `session.grid(base, frame[list(grid.axes)])` makes the same cells again.

    Raises ZImageError where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise ZImageError(
            "a DataFrame needs pandas, which is not installed",
            mend='pip install "zimage-kit[notebook]"; grid.rows() and grid.save("table.csv") do without.',
        ) from None
    return pd.DataFrame(rows(grid), columns=columns(grid))
