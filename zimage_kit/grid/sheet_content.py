"""SheetContent: what the sheets of a grid show: title and labels in drawable characters, and the cells of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..recipe.request import Request
from .cell import Cell
from .dimensions import ROLES, Place, Role
from .labels import drawable

if TYPE_CHECKING:
    from .cell_array import CellArray

_NAMES: dict[Role, str] = {"rows": "row", "columns": "column", "pages": "page", "inner": "picture"}


@dataclass(frozen=True)
class Part:
    """What one sheet shows. It is sheet `number` of `count` where a page is split into several."""

    page: int
    rows: Sequence[int]
    columns: Sequence[int]
    number: int = 1
    count: int = 1


@dataclass(frozen=True)
class SheetContent:
    """`labels` of the dimensions that the grid has; `settings` is what all pictures share; sizes in pixels.

    `flows`: there are columns only, so cells follow each other in lines.
    """

    title: str
    prompt: str
    settings: str
    labels: Mapping[Role, Sequence[str]]
    cells: Mapping[Place, Cell]
    sizes: Mapping[Place, tuple[int, int]]
    marks: Mapping[Place, tuple[int, bool]]
    flows: bool
    notes: tuple[str, ...]

    def count(self, role: Role) -> int:
        """Length of a dimension, 1 for one that the grid does not have."""
        return len(self.labels.get(role, ())) or 1

    def pages(self) -> list[Part]:
        """A part for each of the grid's pages, with everything on it."""
        return [Part(page, range(self.count("rows")), range(self.count("columns"))) for page in self._range("pages")]

    def places(self, page: int, row: int, column: int) -> list[Place]:
        """The pictures of one cell, side by side."""
        return [Place(row, column, page, inner) for inner in self._range("inner")]

    def _range(self, role: Role) -> range:
        return range(self.count(role))


def sheet_content(grid: CellArray) -> SheetContent:
    """Everything that this grid's sheets show but the pixels. Reads recipes, decodes no picture."""
    notes: list[str] = []

    def own(texts: Sequence[str], name: str) -> list[str]:
        drawn, found = drawable(texts, name)
        notes.extend(found)
        return drawn

    labels = {role: own(grid.labels(role), _NAMES[role]) for role in ROLES if role in grid.plan.dimensions}
    base = grid.plan.base
    prompt = "" if "prompt" in grid.axes or base.prompt == grid.title else base.prompt
    cells = {cell.place: cell for cell in grid.cells}
    there = {place: cell for place, cell in cells.items() if cell.state == "done"}
    return SheetContent(
        title=own([grid.title], "title")[0],
        prompt=own([prompt], "prompt")[0],
        settings=own([shared_settings(grid)], "settings")[0],
        labels=labels,
        cells=cells,
        sizes={place: _size(cell) for place, cell in cells.items()},
        marks={place: (cell.rating, cell.winner) for place, cell in there.items()},
        flows=set(labels) <= {"columns", "pages", "inner"},
        notes=tuple(dict.fromkeys(notes)),
    )


def _size(cell: Cell) -> tuple[int, int]:
    width, height = cell.size
    return (width, height) if width and height else (1, 1)


def shared_settings(grid: CellArray) -> str:
    """What all pictures have in common, in a line."""
    requests = [cell.request for cell in grid.done] or [cell.request for cell in grid.cells]
    texts_of: dict[str, Callable[[Request], object]] = {
        "model": lambda r: r.model and (Path(r.model).name if "/" in r.model else r.model),
        "steps": lambda r: r.steps and f"{r.steps} steps",
        "size": lambda r: r.width and r.height and f"{r.width} × {r.height}",
        "guidance": lambda r: r.guidance and f"guidance {r.guidance:g}",
        "seed": lambda r: r.seed is not None and f"seed {r.seed}",
        "negative_prompt": lambda r: r.negative_prompt and f"without {r.negative_prompt}",
        "lora": lambda r: " + ".join(f"{lora.path.stem} {lora.weight:g}" for lora in r.loras),
        "stages": lambda r: " + ".join(stage.kind.replace("_", " ") for stage in r.stages),
    }
    varied = {name.partition(".")[0] for name in grid.axes} | (
        {"size"} if {"width", "height"} & set(grid.axes) else set()
    )
    found = []
    for name, text_of in texts_of.items():
        texts = {text_of(request) for request in requests}
        text = texts.pop() if len(texts) == 1 else None
        if text and name not in varied:
            found.append(str(text))
    return "  ·  ".join(found)
