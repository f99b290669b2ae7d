"""Shaping: from pieces of text to glyphs, in ems: kerning, ligatures, vertical forms, blank halves of punctuation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import uharfbuzz as hb  # type: ignore[import-untyped]

from zimage_kit.text.line_breaks import CLOSING, EITHER, OPENING, Piece, clusters, is_wide

from .faces import Face, Fonts

GAP = 0.25
"""Ems between an ideograph and a Latin letter or digit (clreq 3.2.2 and jlreq 3.2.6: a quarter)."""

CENTRE = 0.38
"""Ems above the baseline: the middle of an ideograph's square, which reaches from -0.12 to 0.88."""

_HALF = 0.5  # ems that full-width punctuation loses where its blank half is not wanted
_UPRIGHT_RUN = 2  # up to this many digits stand side by side in a column; longer runs are turned


@dataclass(frozen=True)
class Glyph:
    """A glyph with its origin, in ems to the right and up from the piece's. `turned`: by 90 degrees clockwise."""

    face: Face
    id: int
    x: float
    y: float
    scale: float = 1.0
    turned: bool = False


@dataclass(frozen=True)
class Shape:
    """A shaped piece. Its origin is on the baseline; in a column, at the top and in the middle of the column.

    All in ems: `advance` along the line, spacing included; `lead` and `trail`, the blank parts of the advance that may
    be dropped; `above` and `below`, how far the ink reaches from the baseline.
    """

    piece: Piece
    glyphs: tuple[Glyph, ...]
    advance: float
    lead: float = 0.0
    trail: float = 0.0
    above: float = 0.0
    below: float = 0.0


def shape(piece: Piece, fonts: Fonts, vertical: bool, spacing: float) -> Shape:
    """Shape one piece, with `spacing` ems after each character. A font must have each of its characters."""
    if not vertical:
        return _along_line(piece, fonts, spacing)
    if piece.kind in ("wide", "emoji"):
        return _down_column(piece, fonts, spacing)
    cells = clusters(piece.text)
    together = len(cells) <= _UPRIGHT_RUN and all(cell.isdigit() for cell in cells)
    if piece.kind == "word" and (together or (len(cells) == 1 and cells[0].isalnum())):
        return _side_by_side(piece, fonts, spacing)
    return _turned(_along_line(piece, fonts, spacing))


def between(before: Shape, after: Shape) -> float:
    """Ems to add between two neighbours: a gap between scripts, a negative one between punctuation marks."""
    if (before.trail and (after.lead or after.trail)) or (before.lead and after.lead):
        return -_HALF
    kinds = {before.piece.kind, after.piece.kind}
    if kinds == {"wide", "word"}:
        wide, word = (before.piece.text[-1], after.piece.text[0])
        if before.piece.kind == "word":
            wide, word = after.piece.text[0], before.piece.text[-1]
        return GAP if wide.isalnum() and (word.isalnum() or word in "%°@#$€£") else 0.0
    return 0.0


def _along_line(piece: Piece, fonts: Fonts, spacing: float) -> Shape:
    glyphs: list[Glyph] = []
    pen, above, below = 0.0, 0.0, 0.0
    lead = trail = 0.0
    for face, text in _runs(piece, fonts):
        features = {"pwid": True} if piece.kind == "word" and EITHER.intersection(text) else {}
        if spacing:
            features |= {"liga": False, "clig": False}
        scale = _colour_scale(face, text) if face.colour else 1.0
        last = -1
        for info, position in _shaped(face, text, "ltr", features, piece.kind == "wide"):
            if info.cluster != last and last >= 0:
                pen += spacing
            last = info.cluster
            extents = face.font.get_glyph_extents(info.codepoint)
            rise = _colour_rise(extents, face, scale) if face.colour else position.y_offset / face.em
            glyphs.append(Glyph(face, info.codepoint, pen + scale * position.x_offset / face.em, rise, scale))
            top = rise + scale * extents.y_bearing / face.em if extents else 0.0
            bottom = top + scale * extents.height / face.em if extents else 0.0  # heights point down
            above, below = max(above, top), max(below, -bottom)
            advance = scale * position.x_advance / face.em
            if extents and len(piece.text) == 1:
                blank = extents.x_bearing / face.em
                lead, trail = _blank_halves(piece.text, blank, advance - blank - extents.width / face.em)
            pen += advance
    return Shape(piece, tuple(glyphs), pen + spacing, lead, trail, above, below)


def _down_column(piece: Piece, fonts: Fonts, spacing: float) -> Shape:
    """Upright characters, one below the other, with the font's vertical forms of punctuation."""
    glyphs: list[Glyph] = []
    pen = lead = trail = 0.0
    for face, text in _runs(piece, fonts):
        if face.colour:
            across = _along_line(Piece(text, piece.kind), fonts, 0.0)
            glyphs += [_moved(glyph, -across.advance / 2, -pen - 0.5 - CENTRE) for glyph in across.glyphs]
            pen += 1.0 + spacing
            continue
        for info, position in _shaped(face, text, "ttb", {}, piece.kind == "wide"):
            x, y = position.x_offset / face.em, position.y_offset / face.em
            glyphs.append(Glyph(face, info.codepoint, x, y - pen))
            advance = -position.y_advance / face.em
            extents = face.font.get_glyph_extents(info.codepoint)
            if extents and len(piece.text) == 1:
                blank = -y - extents.y_bearing / face.em
                lead, trail = _blank_halves(piece.text, blank, advance - blank + extents.height / face.em)
            pen += advance
        pen += spacing
    return Shape(piece, tuple(glyphs), pen, lead, trail)


def _side_by_side(piece: Piece, fonts: Fonts, spacing: float) -> Shape:
    """One or two digits, or a letter, upright in the square of one ideograph."""
    across = _along_line(piece, fonts, 0.0)
    narrow = min(1.0, 0.96 / across.advance)
    glyphs = tuple(
        Glyph(
            glyph.face,
            glyph.id,
            (glyph.x - across.advance / 2) * narrow,
            glyph.y * narrow - 0.5 - CENTRE * narrow,
            glyph.scale * narrow,
        )
        for glyph in across.glyphs
    )
    return Shape(piece, glyphs, 1.0 + spacing)


def _turned(line: Shape) -> Shape:
    """A word turned by 90 degrees and centred in the column."""
    glyphs = (
        Glyph(glyph.face, glyph.id, glyph.y - CENTRE, -glyph.x, glyph.scale, turned=True) for glyph in line.glyphs
    )
    return Shape(line.piece, tuple(glyphs), line.advance)


def _moved(glyph: Glyph, right: float, up: float) -> Glyph:
    return Glyph(glyph.face, glyph.id, glyph.x + right, glyph.y + up, glyph.scale, glyph.turned)


def _runs(piece: Piece, fonts: Fonts) -> Iterator[tuple[Face, str]]:
    """Runs of a piece that one face draws. Blanks need no glyph."""
    cells = clusters(piece.text)
    found = [fonts.face_of(cell, piece.kind == "wide") or fonts.main for cell in cells]
    for face, group in groupby(zip(found, cells, strict=True), key=lambda pair: pair[0]):
        if face is not None:
            fonts.used[face] = None
            yield face, "".join(cell for _, cell in group)


def _shaped(
    face: Face, text: str, direction: str, features: dict[str, bool], wide: bool = False
) -> Iterator[tuple[Any, Any]]:
    buffer = hb.Buffer()
    buffer.add_str(text.replace("\t", " "))
    buffer.direction = direction
    if wide:
        buffer.script = "Hani"  # otherwise a dash on its own is taken for a Latin one
    buffer.guess_segment_properties()
    buffer.language = "ja" if " JP" in face.family else "ko" if " KR" in face.family else "zh-Hans"
    hb.shape(face.font, buffer, features)
    yield from zip(buffer.glyph_infos, buffer.glyph_positions, strict=True)


def _blank_halves(char: str, before: float, behind: float) -> tuple[float, float]:
    """The blank half of a full-width mark in this font, in ems (lead, trail)."""
    if not is_wide(char) and char not in EITHER:
        return 0.0, 0.0
    lead = _HALF if char in OPENING and before >= _HALF - 0.1 else 0.0
    trail = _HALF if char in CLOSING and behind >= _HALF - 0.1 else 0.0
    return lead, trail


def _colour_scale(face: Face, text: str) -> float:
    """The scale at which a colour glyph is as wide as an ideograph; fonts differ in how large they draw them."""
    advances = [position.x_advance for _, position in _shaped(face, text, "ltr", {}) if position.x_advance]
    return face.em / max(advances) if advances else 1.0


def _colour_rise(extents: Any, face: Face, scale: float) -> float:
    """Ems to move a colour glyph up, so that its middle is level with the middle of ideographs."""
    return CENTRE - scale * (extents.y_bearing + extents.height / 2) / face.em if extents else 0.0
