"""Layout: where everything goes on one contact sheet, before it is drawn. Pixels, origin top left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .cell import Cell
from .dimensions import Place
from .labels import Footnotes, Label, Letters
from .sheet_content import Part, SheetContent

_TITLE, _PROMPT, _PAGE, _SMALL = 1.9, 1.45, 1.25, 0.84  # sizes of letters, relative to the labels'
_HEADER_LINES, _FLOW_LINES = 4, 3
_ROW_EMS = (3, 4, 5, 6, 7, 8, 10, 12, 14)  # widths to try for row headers, narrowest first
_ROW_LINE_EMS = 8  # row headers up to this width stay on one line
_FOOTNOTE_EMS, _LONGEST_EMS = 40, 56  # width of a footnote column that is aimed at, and the largest
_NARROWEST_EMS = 16  # minimum width of a sheet without margins, so that its title has room


@dataclass(frozen=True)
class Slot:
    """A picture's place. `rating` and `winner` are shown beneath it."""

    cell: Cell
    x: int
    y: int
    width: int
    height: int
    rating: int = 0
    winner: bool = False


@dataclass(frozen=True)
class Text:
    """A label's place; `tone` is ink, soft, faint or accent; `align` 0 starts at x, 0.5 centres on x."""

    label: Label
    x: float
    y: float
    tone: str = "ink"
    align: float = 0.0


@dataclass
class Layout:
    """A sheet of `width` x `height` pixels. `rules` are hairlines (left, y, right), `letters` those of the labels."""

    width: int = 0
    height: int = 0
    letters: Letters = field(default_factory=lambda: Letters(16))
    slots: list[Slot] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    rules: list[tuple[int, int, int]] = field(default_factory=list)
    margin: int = 0

    @property
    def megapixels(self) -> float:
        """Of the whole sheet."""
        return self.width * self.height / 1e6


@dataclass(frozen=True)
class Track:
    """One column of the sheet: its left edge, and the widths of the pictures side by side in it."""

    x: int
    widths: tuple[int, ...]
    gap: int

    @property
    def width(self) -> int:
        """Of the whole column."""
        return sum(self.widths) + self.gap * (len(self.widths) - 1)

    def slots(self) -> Iterable[tuple[int, int]]:
        """(x, width) of each picture's place."""
        x = self.x
        for width in self.widths:
            yield x, width
            x += width + self.gap


def lay_out(content: SheetContent, part: Part, cell: int, letters: float) -> Layout:
    """A sheet with pictures of `cell` pixels on their longer side, and labels of `letters` pixels."""
    return _Setting(content, part, cell, letters).layout


class _Setting:
    """Lays out one sheet from top to bottom."""

    def __init__(self, content: SheetContent, part: Part, cell: int, size: float) -> None:
        self.content, self.part, self.cell = content, part, cell
        self.letters, self.small = Letters(size), Letters(size * _SMALL)
        self.notes = Footnotes()
        self.gap = max(6, round((1.1 if content.count("inner") > 1 else 0.6) * size))
        self.inner_gap = max(2, round(0.18 * size))
        self.layout = Layout(letters=self.letters, margin=round(2.2 * size))
        lines = self._flow() if content.flows else [[(row, column) for column in part.columns] for row in part.rows]
        header = 0 if content.flows else self._row_header()
        tracks = self._tracks(lines, self.layout.margin + header)
        right = max(tracks[-1].x + tracks[-1].width, self.layout.margin + round(_NARROWEST_EMS * size))
        self.layout.width = right + self.layout.margin
        self.y = self.layout.margin
        self._title()
        if not content.flows:
            self._column_headers(tracks)
        for line in lines:
            self._line(line, tracks)
        self.y -= self.gap
        self._foot()
        self.layout.height = self.y + self.layout.margin

    def _flow(self) -> list[list[tuple[int, int]]]:
        """Columns broken into lines: about 1.6 times as wide as high in all, the last line as full as possible."""
        columns = list(self.part.columns)
        inner = self.content.count("inner")
        best = 1
        if len(columns) * inner > 4:
            shapes = [self.content.sizes[place] for place in self._all(columns)]
            ratio = sum(width / height for width, height in shapes) / len(shapes) * inner
            wanted = math.sqrt(1.6 * len(columns) / ratio)
            options = range(max(1, math.floor(0.75 * wanted)), max(1, math.ceil(1.35 * wanted)) + 1)
            best = min(options, key=lambda count: (-len(columns) % count + abs(count - wanted), count))
        else:
            best = len(columns)
        return [[(0, column) for column in columns[start : start + best]] for start in range(0, len(columns), best)]

    def _all(self, columns: Sequence[int]) -> list[Place]:
        return [place for column in columns for place in self.content.places(self.part.page, 0, column)]

    def _places(self, row: int, column: int) -> list[Place]:
        return self.content.places(self.part.page, row, column)

    def _fitted(self, place: Place) -> tuple[int, int]:
        """A picture's size on the sheet: its aspect ratio is kept, and its longer side is `cell` pixels."""
        width, height = self.content.sizes[place]
        scale = self.cell / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _row_header(self) -> int:
        """Width of the row headers with the gap after them; 0 without rows. Sets `row_width`, without the gap."""
        self.row_width = 0
        labels = [self.content.labels["rows"][row] for row in self.part.rows] if "rows" in self.content.labels else []
        if not labels:
            return 0
        size = self.letters.size
        natural = max((self.letters.width(line) for label in labels for line in label.splitlines()), default=0.0)
        for ems in _ROW_EMS:
            width = ems * size
            if natural > width and natural <= _ROW_LINE_EMS * size:
                continue
            if all(
                not self.letters.divides(label, width) and len(self.letters.wrapped(label, width)) <= 3
                for label in labels
            ):
                break
        self.row_width = round(width)
        return self.row_width + round(1.1 * size)

    def _tracks(self, lines: Sequence[Sequence[tuple[int, int]]], left: int) -> list[Track]:
        tracks: list[Track] = []
        x = left
        for number in range(max(map(len, lines))):
            cells = [self._places(*line[number]) for line in lines if number < len(line)]
            widths = [max(self._fitted(places[inner])[0] for places in cells) for inner in range(len(cells[0]))]
            tracks.append(Track(x, tuple(widths), self.inner_gap))
            x += tracks[-1].width + self.gap
        return tracks

    def _put(self, text: str, letters: Letters, most: int, tone: str, gap: float) -> None:
        """Add a text over the whole width, with a gap beneath it."""
        if text.strip():
            width = self.layout.width - 2 * self.layout.margin
            lines = letters.wrapped(text, width)
            label = Label(tuple(lines), letters) if len(lines) <= most else self.notes.fit(text, letters, width, most)
            self.layout.texts.append(Text(label, self.layout.margin, self.y, tone))
            self.y += label.height + round(gap * self.letters.size)

    def _title(self) -> None:
        content, part = self.content, self.part
        begin = self.y
        self._put(content.title, Letters(self.letters.size * _TITLE), 3, "ink", 0.1)
        if content.title:
            self._put(content.prompt, self.letters, 3, "soft", 0.05)
        else:
            self._put(content.prompt, Letters(self.letters.size * _PROMPT), 3, "ink", 0.1)
        page = content.labels["pages"][part.page] if "pages" in content.labels else ""
        sheet = f"sheet {part.number} of {part.count}" if part.count > 1 else ""
        self._put("  ·  ".join(filter(None, (content.settings, sheet))), self.small, 2, "faint", 0.0)
        if page:
            self.y += round(0.7 * self.letters.size)
            self._put(page, Letters(self.letters.size * _PAGE), 3, "ink", 0.0)
        if self.y > begin:
            self.y += round((1.1 if content.flows else 0.9) * self.letters.size)

    def _column_headers(self, tracks: Sequence[Track]) -> None:
        """Column headers, bottom-aligned, and beneath them the smaller ones of pictures side by side."""
        labels = self.content.labels
        if "columns" in labels:
            fitted = [
                self.notes.fit(labels["columns"][column], self.letters, track.width, _HEADER_LINES)
                for column, track in zip(self.part.columns, tracks, strict=True)
            ]
            height = max(label.height for label in fitted)
            for label, track in zip(fitted, tracks, strict=True):
                self.layout.texts.append(
                    Text(label, track.x + track.width / 2, self.y + height - label.height, align=0.5)
                )
            self.y += height + round(0.3 * self.letters.size)
        if "inner" in labels:
            self.y += self._inner_headers(tracks, self.y)

    def _inner_headers(self, tracks: Sequence[Track], y: int) -> int:
        """Add the headers of pictures side by side; returns their height with the gap beneath."""
        placed = [
            (self.notes.fit(text, self.small, width, 2), x + width / 2)
            for track in tracks
            for text, (x, width) in zip(self.content.labels["inner"], track.slots(), strict=True)
        ]
        height = max(label.height for label, _ in placed)
        self.layout.texts += [Text(label, x, y, "soft", 0.5) for label, x in placed]
        return height + round(0.25 * self.letters.size)

    def _line(self, line: Sequence[tuple[int, int]], tracks: Sequence[Track]) -> None:
        """One line of cells with its labels."""
        places = [self._places(*cell) for cell in line]
        height = max(self._fitted(place)[1] for each in places for place in each)
        for each, track in zip(places, tracks, strict=False):
            for place, (x, room) in zip(each, track.slots(), strict=True):
                width, tall = self._fitted(place)
                rating, winner = self.content.marks.get(place, (0, False))
                top = self.y + (height - tall) // (1 if self.content.flows else 2)
                self.layout.slots.append(
                    Slot(self.content.cells[place], x + (room - width) // 2, top, width, tall, rating, winner)
                )
        if not self.content.flows and self.row_width:
            label = self._row_label(line[0][0], height)
            self.layout.texts.append(Text(label, self.layout.margin, self.y + (height - label.height) / 2))
        self.y += height
        if any(any(self.content.marks.get(place, ())) for each in places for place in each):
            self.y += round(1.15 * self.letters.size)  # for the stars
        if self.content.flows:
            self._flow_labels(line, tracks)
        self.y += self.gap

    def _row_label(self, row: int, height: int) -> Label:
        most = max(1, int(height // self.letters.step))
        return self.notes.fit(self.content.labels["rows"][row], self.letters, self.row_width, most)

    def _flow_labels(self, line: Sequence[tuple[int, int]], tracks: Sequence[Track]) -> None:
        self.y += round(0.25 * self.letters.size)
        if "inner" in self.content.labels:
            self.y += self._inner_headers(tracks[: len(line)], self.y)
        fitted = [
            self.notes.fit(self.content.labels["columns"][column], self.letters, track.width, _FLOW_LINES)
            for (_, column), track in zip(line, tracks, strict=False)
        ]
        for label, track in zip(fitted, tracks, strict=False):
            self.layout.texts.append(Text(label, track.x + track.width / 2, self.y, align=0.5))
        self.y += max(label.height for label in fitted) + round(0.8 * self.letters.size)

    def _foot(self) -> None:
        """Footnotes, in as many columns as fit."""
        if not self.notes.texts:
            return
        left, width = self.layout.margin, self.layout.width - 2 * self.layout.margin
        self.y += round(1.6 * self.letters.size)
        self.layout.rules.append((left, self.y, left + min(width, round(12 * self.letters.size))))
        self.y += round(0.7 * self.letters.size)
        size = self.small.size
        columns = max(1, min(len(self.notes.texts), int(width // (_FOOTNOTE_EMS * size))))
        room = min((width - (columns - 1) * 2 * size) / columns, _LONGEST_EMS * size)
        indent = size * (0.9 + 0.6 * len(str(len(self.notes.texts))))
        notes = [Label(tuple(self.small.wrapped(text, room - indent)), self.small) for text in self.notes.texts]
        gap = round(0.35 * size)
        tallest = max(sum(note.height + gap for note in notes) / columns, max(note.height for note in notes))
        x, y, lowest = float(left), self.y, self.y
        for number, note in enumerate(notes, 1):
            if y > self.y and y + note.height > self.y + tallest + gap and x + room < left + width:
                x, y = x + room + 2 * size, self.y
            figure = Label((str(number),), self.small)
            self.layout.texts += [Text(figure, x, y, "accent"), Text(note, x + indent, y, "soft")]
            y += note.height + gap
            lowest = max(lowest, y)
        self.y = lowest - gap
