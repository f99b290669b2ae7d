"""Lines, columns and blocks: line breaking, balancing, and the largest size at which a text fits its box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .shaping import Glyph, Shape, between

_EM_ABOVE, _EM_BELOW = 0.88, 0.12  # an ideograph's square around the baseline
_BALANCED = 6  # paragraphs of up to this many lines get lines of about the same length


@dataclass(frozen=True)
class Line:
    """Shapes of one line with their positions along it, and its length, in ems."""

    shapes: tuple[tuple[Shape, float], ...]
    length: float

    @property
    def text(self) -> str:
        """Its text."""
        return "".join(shape.piece.text for shape, _ in self.shapes)


@dataclass(frozen=True)
class Style:
    """How lines form a block. `line_spacing` and `letter_spacing` in ems, `align` 0 start, 0.5 middle, 1 end."""

    vertical: bool
    align: float
    line_spacing: float
    letter_spacing: float
    rotation: float = 0.0


@dataclass(frozen=True)
class Block:
    """A text at a size: its lines, and its width and height in pixels before rotation."""

    lines: tuple[Line, ...]
    size: float
    width: float
    height: float

    def rotated(self, degrees: float) -> tuple[float, float]:
        """(width, height) in pixels of the upright rectangle around the rotated block."""
        across, up = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
        return self.width * across + self.height * up, self.width * up + self.height * across


def break_lines(paragraph: Sequence[Shape], limit: float, spacing: float) -> list[Line] | None:
    """Lines no longer than `limit` ems; None if a piece that must not be divided is longer."""
    lines: list[Line] = []
    current: list[Shape] = []
    pen = 0.0
    for segment in _segments(paragraph):
        further, length = _extended(current, pen, segment, spacing)
        if length > limit:
            alone, length = _extended([], 0.0, segment, spacing)
            if not current or length > limit:
                return None
            lines.append(_set(current, spacing))
            blank = segment[0].piece.kind == "space"
            current, pen = ([], 0.0) if blank else (segment, alone)
        else:
            current, pen = current + segment, further
    return [*lines, _set(current, spacing)]


def _extended(line: Sequence[Shape], pen: float, segment: Sequence[Shape], spacing: float) -> tuple[float, float]:
    """The pen position after adding `segment` to a line, and the line's length then, counted as in `_set`."""
    before = line[-1] if line else None
    length = 0.0
    for shape in segment:
        pen += between(before, shape) if before is not None else -shape.lead
        pen += shape.advance
        if shape.piece.kind != "space":
            length = pen - spacing - shape.trail
        before = shape
    return pen, length


def _segments(paragraph: Sequence[Shape]) -> Iterator[list[Shape]]:
    """Runs of shapes that no line break may divide."""
    segment: list[Shape] = []
    for shape in paragraph:
        if segment and not shape.piece.tied:
            yield segment
            segment = []
        segment.append(shape)
    if segment:
        yield segment


def _set(shapes: Sequence[Shape], spacing: float) -> Line:
    """A line of these shapes. Trailing blanks, blank halves at both ends and the last spacing do not count."""
    last = max((index for index, shape in enumerate(shapes) if shape.piece.kind != "space"), default=-1)
    kept = list(shapes[: last + 1])
    if not kept:
        return Line((), 0.0)
    pen = -kept[0].lead
    placed = []
    for index, shape in enumerate(kept):
        if index:
            pen += between(kept[index - 1], shape)
        placed.append((shape, pen))
        pen += shape.advance
    return Line(tuple(placed), pen - spacing - kept[-1].trail)


def balanced(paragraph: Sequence[Shape], limit: float, spacing: float) -> list[Line] | None:
    """Like `break_lines`, but the lines of a short paragraph are about equally long; their number stays the same."""
    lines = break_lines(paragraph, limit, spacing)
    if lines is None or not 1 < len(lines) <= _BALANCED:
        return lines
    low, high = max(line.length for line in lines) / 2, limit
    for _ in range(10):
        middle = (low + high) / 2
        tried = break_lines(paragraph, middle, spacing)
        if tried is not None and len(tried) <= len(lines):
            high, lines = middle, tried
        else:
            low = middle
    return lines


def at_size(paragraphs: Sequence[Sequence[Shape]], size: float, limit: float, style: Style) -> Block | None:
    """The block at `size` pixels per em, with lines of at most `limit` pixels; None if a word is longer."""
    lines: list[Line] = []
    for paragraph in paragraphs:
        broken = balanced(paragraph, limit / size, style.letter_spacing)
        if broken is None:
            return None
        lines += broken
    longest = max(line.length for line in lines)
    step = (len(lines) - 1) * style.line_spacing
    above, below = _ink(lines)
    across, down = (1 + step, longest) if style.vertical else (longest, above + step + below)
    return Block(tuple(lines), size, across * size, down * size)


def _ink(lines: Sequence[Line]) -> tuple[float, float]:
    """Height of the block above its first baseline and below its last, in ems."""
    above = max((shape.above for shape, _ in lines[0].shapes), default=0.0)
    below = max((shape.below for shape, _ in lines[-1].shapes), default=0.0)
    return max(_EM_ABOVE, above), max(_EM_BELOW, below)


def fits(paragraphs: Sequence[Sequence[Shape]], size: float, room: tuple[float, float], style: Style) -> Block | None:
    """The block at this size if it fits `room` (width, height in pixels) once rotated."""
    for limit in _limits(room, style):
        block = at_size(paragraphs, size, limit, style)
        if block is None:
            continue
        width, height = block.rotated(style.rotation)
        if width <= room[0] + 1e-6 and height <= room[1] + 1e-6:
            return block
    return None


def _limits(room: tuple[float, float], style: Style) -> list[float]:
    """Line lengths to try, in pixels. A rotated block may need shorter lines than the room would allow."""
    turn = style.rotation + (90 if style.vertical else 0)
    along, aside = abs(math.cos(math.radians(turn))), abs(math.sin(math.radians(turn)))
    longest = min(room[0] / max(along, 1e-6), room[1] / max(aside, 1e-6))
    upright = min(along, aside) < 1e-6
    return [longest] if upright else [longest * part / 20 for part in range(20, 3, -1)]


def largest(
    paragraphs: Sequence[Sequence[Shape]], smallest: int, most: int, room: tuple[float, float], style: Style
) -> Block | None:
    """The block at the largest size that fits, in whole pixels from `smallest` to `most`; None if none fits."""
    low, high = smallest, max(smallest, most)
    best = fits(paragraphs, low, room, style)
    if best is None:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        block = fits(paragraphs, middle, room, style)
        if block is None:
            high = middle - 1
        else:
            low, best = middle, block
    return best


def placed(block: Block, style: Style) -> Iterator[tuple[Glyph, float, float]]:
    """Each glyph with its origin in pixels, right and down from the block's top left corner."""
    above = _ink(block.lines)[0]
    for number, line in enumerate(block.lines):
        extent = (block.height if style.vertical else block.width) / block.size
        start = style.align * (extent - line.length)
        for shape, along in line.shapes:
            if style.vertical:
                x, y = block.width / block.size - 0.5 - number * style.line_spacing, start + along
            else:
                x, y = start + along, above + number * style.line_spacing
            for glyph in shape.glyphs:
                yield glyph, (x + glyph.x) * block.size, (y - glyph.y) * block.size
