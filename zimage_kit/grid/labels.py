"""Labels: texts of a contact sheet, in characters that its font has, broken into lines that fit.

Chinese breaks between characters, by its punctuation rules, and English between words (`text.line_breaks`). A text that
is too long is cut and numbered, and printed in full as a footnote.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image, ImageDraw

from ..text import fonts
from ..text.line_breaks import clusters, pieces

LEADING = 1.36
"""Ems from one baseline to the next."""
_ASCENT = 0.88  # ems; the top of an ideograph's square, above that of Latin capitals
_HALF_CAPITAL = 0.36  # ems
_NUMBER, _NUMBER_GAP = 0.62, 0.12  # a footnote's number: its size and the gap before it, in ems of the label
_PLAIN = {"×": "x", "–": "-", "—": "-", "·": "-", "…": "...", "“": '"', "”": '"', "‘": "'", "’": "'"}


class Letters:
    """The label font at `size` pixels: how wide texts are, where they break, and how they are drawn.

    Letters are drawn larger and scaled down: at the final size FreeType places each on whole pixels, which nearly
    closes the gaps between words.
    """

    def __init__(self, size: float) -> None:
        self.size, self.step = size, size * LEADING
        self._times = 4 if size < 40 else 2
        self._font = fonts.label_font(size * self._times)
        self._length = lru_cache(maxsize=20_000)(self._font.getlength)

    def width(self, text: str) -> float:
        """Of one line, in pixels."""
        return float(self._length(text)) / self._times

    def draw(self, sheet: Image.Image, x: float, base: float, text: str, colour: str) -> None:
        """One line, from x to the right, on the baseline `base`."""
        side = math.ceil(0.3 * self.size)  # room for letters that overhang their advance
        width, height = math.ceil(self.width(text)) + 2 * side, math.ceil(self.size) + 2 * side
        left, above = math.floor(x), round(base)
        large = Image.new("L", (width * self._times, height * self._times))
        foot = (side + x - left) * self._times, (side + math.ceil(_ASCENT * self.size)) * self._times
        ImageDraw.Draw(large).text(foot, text, 255, self._font, anchor="ls")
        corner = left - side, above - side - math.ceil(_ASCENT * self.size)
        sheet.paste(colour, corner, large.resize((width, height), Image.Resampling.BOX))

    def draw_middle(self, sheet: Image.Image, x: float, y: float, text: str, colour: str, align: float = 0.0) -> None:
        """One line whose middle is at the height y; `align` as in `Label.draw`."""
        self.draw(sheet, x - align * self.width(text), y + _HALF_CAPITAL * self.size, text, colour)

    def height(self, lines: int) -> int:
        """Of this many lines, in pixels."""
        return round(lines * self.step)

    def wrapped(self, text: str, width: float) -> list[str]:
        """Lines of at most `width` pixels. A longer word is divided, but never a character."""
        lines: list[str] = []
        for paragraph in text.splitlines():
            lines += self._broken(" ".join(paragraph.split()), width)
        return lines

    def _broken(self, paragraph: str, width: float) -> list[str]:
        lines, line, pen = [], "", 0.0
        for segment in _segments(paragraph):
            length = self.width(segment)
            if pen + self.width(segment.rstrip()) <= width:
                line, pen = line + segment, pen + length
                continue
            if line.strip():
                lines.append(line.rstrip())
            line, pen = segment.lstrip(), self.width(segment.lstrip())
            while self.width(line.rstrip()) > width:
                head = self._head(line, width)
                lines.append(head)
                line = line[len(head) :]
                pen = self.width(line)
        return [*lines, line.rstrip()] if line.strip() else lines

    def _head(self, text: str, width: float) -> str:
        """As many leading characters as fit, at least one."""
        head = ""
        for cluster in clusters(text):
            if head and self.width(head + cluster) > width:
                break
            head += cluster
        return head

    def cut(self, lines: Sequence[str], most: int, width: float, tail: float = 0.0) -> list[str]:
        """The first `most` lines, the last one with an ellipsis and `tail` pixels left free after it."""
        kept = list(lines[: max(1, most)])
        last = clusters(kept[-1])
        while last and self.width("".join(last).rstrip() + "…") + tail > width:
            last.pop()
        kept[-1] = "".join(last).rstrip(" ,.;:，。、；：") + "…"
        return kept

    def balanced(self, text: str, width: float) -> list[str]:
        """Like `wrapped`, but with lines of about the same length; their number stays the same."""
        lines = self.wrapped(text, width)
        if not 1 < len(lines) <= 4:
            return lines
        low, high = width / 2, width
        for _ in range(7):
            middle = (low + high) / 2
            tried = self.wrapped(text, middle)
            if len(tried) <= len(lines) and not self.divides(text, middle):
                lines, high = tried, middle
            else:
                low = middle
        return lines

    def divides(self, text: str, width: float) -> bool:
        """Whether a word is longer than a line."""
        return any(self.width(segment.strip()) > width for segment in _segments(" ".join(text.split())))


@lru_cache(maxsize=4096)
def _segments(paragraph: str) -> tuple[str, ...]:
    """Runs of text that no line break divides; blanks belong to the run before them."""
    found: list[str] = []
    for piece in pieces(paragraph):
        if found and (piece.tied or piece.kind == "space"):
            found[-1] += piece.text
        else:
            found.append(piece.text)
    return tuple(found)


@dataclass(frozen=True)
class Label:
    """Lines and their font; `number` is that of the footnote with the whole text, 0 for none."""

    lines: tuple[str, ...]
    letters: Letters
    number: int = 0

    @property
    def height(self) -> int:
        """In pixels."""
        return self.letters.height(len(self.lines))

    @property
    def width(self) -> float:
        """Of its longest line, the footnote's number included, in pixels."""
        widths = [self.letters.width(line) for line in self.lines]
        if self.number and widths:
            widths[-1] += number_width(self.letters, self.number)
        return max(widths, default=0.0)

    def draw(self, sheet: Image.Image, x: float, y: float, colour: str, accent: str, align: float = 0.0) -> None:
        """Draw it with its top at y; `align` 0 starts each line at x, 0.5 centres it on x. Pixels."""
        size = self.letters.size
        for index, line in enumerate(self.lines):
            last = self.number and index == len(self.lines) - 1
            width = self.letters.width(line) + (number_width(self.letters, self.number) if last else 0.0)
            left, base = x - align * width, y + index * self.letters.step + (0.5 * (LEADING - 1) + _ASCENT) * size
            self.letters.draw(sheet, left, base, line, colour)
            if last:
                small, behind = Letters(_NUMBER * size), left + self.letters.width(line) + _NUMBER_GAP * size
                small.draw(sheet, behind, base - 0.42 * size, str(self.number), accent)


def number_width(letters: Letters, number: int) -> float:
    """Width of a footnote's number after a label, with the gap before it, in pixels."""
    return letters.size * (_NUMBER_GAP + 0.62 * _NUMBER * len(str(number)))


@dataclass
class Footnotes:
    """The long labels of one sheet, each once, in order of appearance."""

    texts: list[str] = field(default_factory=list)

    def fit(self, text: str, letters: Letters, width: float, most: int) -> Label:
        """The label in at most `most` lines of `width` pixels; if it has to be cut, its text becomes a footnote."""
        lines = letters.balanced(text, width)
        if len(lines) <= most:
            return Label(tuple(lines), letters)
        if text not in self.texts:
            self.texts.append(text)
        number = self.texts.index(text) + 1
        kept = letters.cut(letters.wrapped(text, width), most, width, number_width(letters, number))
        return Label(tuple(kept), letters, number)


def drawable(texts: Iterable[str], name: str) -> tuple[list[str], list[str]]:
    """Texts in characters that the label font has, and a sentence for each kind of replacement.

    A missing symbol becomes its name ("[red heart]"). A text with missing letters becomes `name` and its number, and
    the sentence says which text that is. Control characters and variation selectors are removed.
    """
    drawn: list[str] = []
    symbols: dict[str, None] = {}
    numbered: list[str] = []
    for number, text in enumerate(texts, 1):
        shown, missing = _in_own_letters("\n".join(text.splitlines()))
        if missing is None:
            numbered.append(f"{name} {number} is {text!r}")
            shown = f"{name} {number}"
        else:
            symbols |= dict.fromkeys(missing)
        drawn.append(shown)
    notes = []
    if numbered:
        more = f" (and {len(numbered) - 3} more)" if len(numbered) > 3 else ""
        notes.append(f"no font here has the letters of these labels: {'; '.join(numbered[:3])}{more}. {fonts.MEND}")
    if symbols:
        notes.append(f"the label font lacks {' '.join(symbols)}: the sheet has their names instead")
    return drawn, notes


def _in_own_letters(text: str) -> tuple[str, list[str] | None]:
    """The text as the font can draw it, and the symbols that were replaced; None for these if letters are missing."""
    out, replaced = [], []
    for cluster in clusters(text):
        seen = "".join(char for char in cluster if char == "\n" or unicodedata.category(char)[0] != "C")
        seen = "".join(char for char in seen if not 0xFE00 <= ord(char) <= 0xFE0F)
        lacking = fonts.lacking(seen)
        if not lacking:
            out.append(" " if cluster == "\t" else seen)
        elif (plain := _plainer(seen)) and not fonts.lacking(plain):
            out.append(plain)
        elif any(unicodedata.category(char)[0] in "LM" for char in lacking):
            return "", None
        else:
            replaced.append(cluster)
            names = (unicodedata.name(char, f"U+{ord(char):04X}").lower() for char in seen)
            out.append(f"[{', '.join(names)}]")
    return "".join(out), replaced


def _plainer(text: str) -> str:
    """The same without accents, and with ASCII punctuation."""
    stripped = (char for char in unicodedata.normalize("NFKD", text) if not unicodedata.category(char).startswith("M"))
    return "".join(_PLAIN.get(char, char) for char in stripped)
