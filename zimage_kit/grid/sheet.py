"""Sheet: a grid as a contact sheet, pictures with their labels around them, to print or to send."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageDraw

from ..errors import BadRequest
from ..recipe.picture import on_white
from .cell import Cell
from .labels import Letters
from .layout import Layout, Slot, lay_out
from .sheet_content import Part, SheetContent, sheet_content

if TYPE_CHECKING:
    from .cell_array import CellArray

Fit = Literal["scale", "pages"]

LARGEST_CELL = 1024
"""Pixels of a picture's longer side by default; smaller pictures keep their own size."""
SMALLEST_CELL = 48
"""Pixels; a sheet that would need smaller cells is split into several."""
LARGEST_SIDE = 65_500
"""Pixels: libjpeg's limit, and that of many viewers."""
MEGAPIXELS = 40.0

PAPER, LINE = "#faf8f4", "#e3ded4"
TONES = {"ink": "#23211e", "soft": "#55514a", "faint": "#7b766c", "accent": "#a8442a"}
_GOLD, _UNLIT = "#b98a2f", "#ddd6c8"
_BLANK, _BROKEN = "#f0ece4", "#f5e6df"
_LETTERS = (14.0, 52.0)  # smallest and largest by themselves, pixels


@dataclass(frozen=True)
class _Size:
    """A candidate size: pixels of a picture's longer side, and of the labels' letters if they were given."""

    cell: int
    label_size: float | None

    @property
    def letters(self) -> float:
        """Grows more slowly than the pictures do."""
        wanted = 15.0 * (self.cell / 256) ** 0.8
        return self.label_size or min(max(wanted, _LETTERS[0]), _LETTERS[1])


def draw_sheets(
    grid: CellArray,
    *,
    cell: int | None = None,
    label_size: float | None = None,
    max_megapixels: float = MEGAPIXELS,
    fit: Fit = "scale",
) -> list[Image.Image]:
    """Every page of the grid as a picture (RGB); several for one page where it does not fit otherwise.

    cell: pixels of a picture's longer side; by default the pictures' own, up to 1024. label_size: pixels of the labels'
    letters; by default they follow the pictures. A sheet beyond `max_megapixels` (or 65,500 pixels a side) is scaled
    down, or with fit="pages" spread over several; what was done is logged. Cells without a picture say why. Raises
    BadRequest for values that cannot be.
    """
    layouts = layouts_of(grid, cell=cell, label_size=label_size, max_megapixels=max_megapixels, fit=fit)
    return [render(layout) for layout in layouts]


def layouts_of(
    grid: CellArray,
    *,
    cell: int | None = None,
    label_size: float | None = None,
    max_megapixels: float = MEGAPIXELS,
    fit: Fit = "scale",
) -> list[Layout]:
    """The same sheets before they are drawn, so that one is in memory at a time."""
    if fit not in ("scale", "pages"):
        raise BadRequest(f"fit={fit!r}", expected="scale or pages")
    if cell is not None and not (isinstance(cell, int) and 8 <= cell <= 8192):
        raise BadRequest(f"cell={cell!r}", expected="8 to 8192 pixels, a whole number")
    if label_size is not None and not (isinstance(label_size, int | float) and 6 <= label_size <= 400):
        raise BadRequest(f"label_size={label_size!r}", expected="6 to 400 pixels")
    if not (isinstance(max_megapixels, int | float) and 0.01 <= max_megapixels <= 2000):
        raise BadRequest(f"max_megapixels={max_megapixels!r}", expected="0.01 to 2000")
    content = sheet_content(grid)
    for note in content.notes:
        logging.getLogger("zimage_kit").warning(note)
    own = max((max(size) for size in content.sizes.values()), default=1)
    wanted = _Size(cell or max(SMALLEST_CELL, min(own, LARGEST_CELL)), label_size)
    return _fitted(content, wanted, max_megapixels, fit)


def _fitted(content: SheetContent, wanted: _Size, most: float, fit: Fit) -> list[Layout]:
    """Layouts that keep to the limits: as wanted, or scaled, or spread; says what was done."""

    def fits(layout: Layout) -> bool:
        return layout.megapixels <= most and max(layout.width, layout.height) <= LARGEST_SIDE

    def laid(part: Part, size: _Size) -> Layout:
        return lay_out(content, part, size.cell, size.letters)

    pages = content.pages()
    layouts = [laid(part, wanted) for part in pages]
    if all(map(fits, layouts)):
        return layouts
    size = wanted
    if fit == "scale":
        while size.cell > SMALLEST_CELL and not all(map(fits, layouts)):
            over = max(max(layout.megapixels / most, (max(layout.width, layout.height) / LARGEST_SIDE) ** 2)
                       for layout in layouts)  # fmt: skip
            cell = min(size.cell - 1, math.floor(size.cell / math.sqrt(over)))
            size = replace(size, cell=max(SMALLEST_CELL, cell))
            layouts = [laid(part, size) for part in pages]
    if not all(map(fits, layouts)):
        layouts = [layout for part in pages for layout in _spread(part, lambda part: laid(part, size), fits)]
    scaled = f"pictures are {size.cell} pixels instead of {wanted.cell}" if size.cell < wanted.cell else ""
    spread = f"it takes {len(layouts)} sheets instead of {len(pages)}" if len(layouts) > len(pages) else ""
    logging.getLogger("zimage_kit").warning(
        "The sheet would be larger than %g megapixels or %d pixels a side: %s.",
        most, LARGEST_SIDE, " and ".join(filter(None, (scaled, spread))) or "it cannot be smaller",
    )  # fmt: skip
    return layouts


def _spread(part: Part, laid: Callable[[Part], Layout], fits: Callable[[Layout], bool]) -> list[Layout]:
    """One page on several sheets: rows in about equal parts, and columns as well where one row is too much."""

    def parts(rows: int, columns: int) -> list[Part]:
        return [replace(part, rows=some, columns=others)
                for some in _portions(part.rows, rows) for others in _portions(part.columns, columns)]  # fmt: skip

    columns = 1
    while columns < len(part.columns) and not fits(laid(parts(len(part.rows), columns)[0])):
        columns += max(1, columns // 4)
    columns = min(columns, len(part.columns))
    rows = 1
    while rows < len(part.rows) and not all(fits(laid(each)) for each in parts(rows, columns)):
        rows += max(1, rows // 4)
    found = parts(min(rows, len(part.rows)), columns)
    return [laid(replace(each, number=number, count=len(found))) for number, each in enumerate(found, 1)]


def _portions(numbers: Sequence[int], count: int) -> list[Sequence[int]]:
    """Split into `count` consecutive parts whose lengths differ by at most one."""
    ends = [round(index * len(numbers) / count) for index in range(count + 1)]
    return [numbers[start:end] for start, end in pairwise(ends) if end > start]


def render(layout: Layout, drawn: Callable[[], None] = lambda: None) -> Image.Image:
    """A sheet as a picture (RGB). `drawn` is called after each cell."""
    sheet = Image.new("RGB", (layout.width, layout.height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for left, y, right in layout.rules:
        pen.line((left, y, right, y), LINE, max(1, round(layout.letters.size / 14)))
    for slot in layout.slots:
        _draw_slot(sheet, pen, slot, layout.letters)
        drawn()
    for text in layout.texts:
        text.label.draw(sheet, text.x, text.y, TONES[text.tone], TONES["accent"], text.align)
    return sheet


def _draw_slot(sheet: Image.Image, pen: ImageDraw.ImageDraw, slot: Slot, letters: Letters) -> None:
    artifact = slot.cell.artifact
    if artifact is None:
        _draw_without(sheet, pen, slot, letters)
        return
    picture = on_white(artifact.image)
    if picture.size != (slot.width, slot.height):
        picture = picture.resize((slot.width, slot.height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    sheet.paste(picture, (slot.x, slot.y))
    edge = (slot.x - 1, slot.y - 1, slot.x + slot.width, slot.y + slot.height)
    pen.rectangle(edge, outline=LINE)
    if slot.winner:
        line = max(2, round(letters.size / 7))
        pen.rectangle([edge[0] - line, edge[1] - line, edge[2] + line, edge[3] + line], outline=_GOLD, width=line)
    if slot.rating or slot.winner:
        _draw_marks(sheet, slot, letters)


def _draw_marks(sheet: Image.Image, slot: Slot, letters: Letters) -> None:
    """Five small stars at the left, the word at the right."""
    side = max(6, round(0.62 * letters.size))
    top = slot.y + slot.height + round(0.42 * letters.size)
    for number in range(5 if slot.rating else 0):
        colour = _GOLD if number < slot.rating else _UNLIT
        sheet.paste(colour, (slot.x + round(number * 1.25 * side), top), _star(side))
    small = Letters(letters.size * 0.8)
    if slot.winner and (not slot.rating or small.width("winner") + 6.6 * side < slot.width):
        x = slot.x + slot.width - small.width("winner") if slot.rating else slot.x
        small.draw_middle(sheet, x, top + side / 2, "winner", _GOLD)


@lru_cache
def _star(side: int) -> Image.Image:
    """A five-pointed star as a mask of side x side pixels."""
    large = Image.new("L", (8 * side, 8 * side))
    points = []
    for corner in range(10):
        radius = 4 * side * (1.0 if corner % 2 == 0 else 0.42)
        angle = math.pi * (corner / 5 - 0.5)
        points.append((4 * side + radius * math.cos(angle), 4.3 * side + radius * math.sin(angle)))
    ImageDraw.Draw(large).polygon(points, 255)
    return large.resize((side, side), Image.Resampling.BOX)


def why_empty(cell: Cell) -> tuple[str, str]:
    """Why a cell has no picture: a word, and a sentence."""
    if cell.state == "failed":
        return "failed", " ".join(str(cell.error or "").split())
    if cell.state == "done":
        return "gone", "the picture's file is missing"
    return ("being made", "") if cell.state == "running" else ("not made", "")


def _draw_without(sheet: Image.Image, pen: ImageDraw.ImageDraw, slot: Slot, letters: Letters) -> None:
    """A cell that has no picture: a plain panel that says why."""
    word, reason = why_empty(slot.cell)
    broken = slot.cell.state in ("failed", "done")
    box = (slot.x, slot.y, slot.x + slot.width - 1, slot.y + slot.height - 1)
    pen.rectangle(box, fill=_BROKEN if broken else _BLANK, outline=LINE)
    small = Letters(max(10.0, min(letters.size * 0.84, slot.width / 9)))
    room, most = slot.width - 1.6 * small.size, int((slot.height - 1.2 * small.size) // small.step)
    if room < small.width("failed") or most < 1:
        inset = round(0.3 * min(slot.width, slot.height))
        cross = (slot.x + inset, slot.y + inset, slot.x + slot.width - inset, slot.y + slot.height - inset)
        pen.line(cross, TONES["accent" if broken else "faint"], 2)
        pen.line((cross[0], cross[3], cross[2], cross[1]), TONES["accent" if broken else "faint"], 2)
        return
    lines = small.wrapped(reason, room)
    if len(lines) > most - 1:
        lines = small.cut(lines, most - 1, room) if most > 1 else []
    x, y = slot.x + slot.width / 2, slot.y + (slot.height - (len(lines) + 1) * small.step) / 2 + small.step / 2
    small.draw_middle(sheet, x, y, word, TONES["accent" if broken else "faint"], 0.5)
    for number, line in enumerate(lines, 1):
        small.draw_middle(sheet, x, y + number * small.step, line, TONES["soft"], 0.5)
