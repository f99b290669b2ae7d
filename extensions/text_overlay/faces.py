"""Fonts: the requested one, and fallbacks for characters that it lacks, so that no empty box is drawn.

HarfBuzz reads the files (coverage, names, weights), shapes and rasterises. Its wheel is self-contained, so the same
font files give the same pixels on every machine; Pillow's raqm layout needs FriBiDi, which many machines lack.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import uharfbuzz as hb  # type: ignore[import-untyped]

from zimage_kit.errors import BadRequest, closest
from zimage_kit.files import check_allowed, expanded
from zimage_kit.text import fonts
from zimage_kit.text.line_breaks import EITHER, clusters, is_emoji, is_wide

_HAN = 0x4E2D  # 中: a font that has it counts as a Chinese font
_INVISIBLE = (0x00AD, 0x034F, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)
_ENDINGS = (".ttf", ".otf", ".ttc", ".otc")


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a font file. `weight` as in CSS (400 regular, 700 bold); `colour`: its glyphs have colours."""

    path: Path
    index: int
    family: str
    names: frozenset[str]
    weight: float
    slanted: bool
    colour: bool
    font: Any

    @cached_property
    def em(self) -> int:
        """Font units in an em."""
        return int(self.font.face.upem)

    @cached_property
    def covered(self) -> Any:
        """All code points that it has a glyph for."""
        return self.font.face.unicodes

    def has(self, cluster: str) -> bool:
        """Whether it can draw the whole cluster."""
        return all(ord(char) in self.covered or _invisible(char) for char in cluster)

    @property
    def label(self) -> str:
        """The file's name, and the family where a file can hold several."""
        return f"{self.path.name} ({self.family})" if self.path.suffix.lower() in (".ttc", ".otc") else self.path.name


def _invisible(char: str) -> bool:
    code = ord(char)
    return code in _INVISIBLE or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def faces_in(path: Path) -> tuple[Face, ...]:
    """All faces of a file; none if it is not a font. A file that has changed is read again."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@cache
def _read(path: Path, size: int, changed: int) -> tuple[Face, ...]:
    try:
        blob = hb.Blob.from_file_path(path)
        return tuple(_face(path, blob, index) for index in range(hb.Face(blob, 0).count))
    except (hb.HarfBuzzError, OSError, ValueError):
        return ()


def _face(path: Path, blob: Any, index: int) -> Face:
    face = hb.Face(blob, index)
    font = hb.Font(face)
    family = face.get_name(16) or face.get_name(1) or path.stem
    entries = ((int(entry.name_id), entry.language) for entry in face.list_names())
    names = (face.get_name(name, language) for name, language in entries if name in (1, 4, 16))
    return Face(
        path=path,
        index=index,
        family=family,
        names=frozenset(name.casefold() for name in (family, *names) if name),
        weight=float(font.get_style_value(hb.StyleTag.WEIGHT)),
        slanted=bool(font.get_style_value(hb.StyleTag.ITALIC)) or bool(font.get_style_value(hb.StyleTag.SLANT_ANGLE)),
        colour=bool(face.has_color_png or face.has_color_paint or face.has_color_layers),
        font=font,
    )


@lru_cache(maxsize=64)
def _at_weight(face: Face, weight: float) -> Face:
    """A variable face at a weight; any other face unchanged."""
    axes = [axis for axis in face.font.face.axis_infos if axis.tag == "wght"]
    if not axes:
        return face
    set_to = min(max(weight, axes[0].min_value), axes[0].max_value)
    font = hb.Font(face.font.face)
    font.set_variations({"wght": set_to})
    return Face(face.path, face.index, face.family, face.names, set_to, face.slanted, face.colour, font)


class Fonts:
    """The font of a text and its fallbacks. Raises BadRequest for a file or family that is not there."""

    def __init__(self, named: str | None, bold: bool, text: str) -> None:
        self._weight = 700.0 if bold else 400.0
        self._region = _region(text)
        self.main = self._named(named) if named else self._default()
        self.used: dict[Face, None] = {}

    def _named(self, name: str) -> Face:
        if name.lower().endswith(_ENDINGS) or "/" in name or os.sep in name:
            check_allowed(Path(name))
            found = faces_in(expanded(Path(name)))
            if not found:
                raise BadRequest(
                    f"text_overlay.font={name!r} is no font file that can be read",
                    expected="a .ttf, .otf or .ttc file, or the name of a family",
                    mend="Give the path of a font file, or leave font out.",
                    field="font",
                )
            return self._best(found)
        every = [face for path in fonts.files() for face in faces_in(path)]
        exact = [face for face in every if name.casefold() in face.names]
        if not exact:
            families = {face.family for face in every}
            raise BadRequest(
                f"text_overlay.font={name!r} is on none of this machine's fonts",
                expected="a family that is installed, or a font file",
                mend=closest(name, families),
                field="font",
            )
        full = [face for face in exact if face.family.casefold() != name.casefold()]
        return exact[0] if len(exact) == len(full) == 1 else self._best(exact)

    def _default(self) -> Face | None:
        """A Chinese font that also has good Latin letters, else any sans serif; None on a machine without fonts."""
        own = os.environ.get("ZIMAGE_FONT")
        if own and (found := faces_in(expanded(Path(own)))):
            return self._best(found)
        lies = {path.name: path for path in fonts.files()}
        preferred = next((lies[name] for name in fonts.CJK_NAMES if name in lies and faces_in(lies[name])), None)
        if preferred is not None:
            first = self._best(faces_in(preferred))
            beside = sorted(path for path in preferred.parent.iterdir() if path.suffix.lower() in _ENDINGS)
            return self._best([face for path in beside for face in faces_in(path) if face.family == first.family])
        others = [face for path in lies.values() for face in faces_in(path) if not face.colour and face.has("Ae1")]
        sans = [face for face in others if "sans" in face.family.casefold() and "mono" not in face.family.casefold()]
        return self._best(sans or others) if others else None

    def _best(self, faces: tuple[Face, ...] | list[Face]) -> Face:
        """Upright, for the text's region, at the wanted weight or the nearest to it; the first of equals."""

        def distance(face: Face) -> tuple[bool, int, float]:
            return face.slanted, self._foreign(face), abs(_at_weight(face, self._weight).weight - self._weight)

        return _at_weight(min(faces, key=distance), self._weight)

    def _foreign(self, face: Face) -> int:
        """0 for a face of the text's region, 1 for a face of no region, 2 for one of another region, 3 for Mono."""
        words = face.family.split()
        if "Mono" in words:
            return 3
        return 0 if self._region in words else 2 if {"SC", "TC", "HK", "JP", "KR"} & set(words) else 1

    def face_of(self, cluster: str, wide: bool) -> Face | None:
        """The face to draw a cluster with, or None. `wide`: in Chinese text, where “ and … come from a Chinese font."""
        return next((face for face in self._chain(cluster, wide) if face.has(cluster)), None)

    def _chain(self, cluster: str, wide: bool) -> Iterator[Face]:
        """Candidates in order of preference."""
        if is_emoji(cluster):
            yield from self._emoji
        if self.main is not None and not (wide and cluster[0] in EITHER and not self.main.has(chr(_HAN))):
            yield self.main
        if (default := self._default_face) is not None:
            yield default
        yield from self._emoji
        yield from self._rest

    @cached_property
    def _default_face(self) -> Face | None:
        return self._default()

    @cached_property
    def _emoji(self) -> list[Face]:
        paths = [path for path in fonts.files() if "emoji" in path.name.casefold() or path.name == "seguiemj.ttf"]
        found = [face for path in paths for face in faces_in(path)]
        return sorted(found, key=lambda face: not face.colour)

    @cached_property
    def _rest(self) -> list[Face]:
        """All other fonts: each family once, at the best weight, sorted by name."""
        families: dict[str, list[Face]] = {}
        for path in fonts.files():
            for face in faces_in(path):
                families.setdefault(face.family, []).append(face)
        best = [self._best(faces) for faces in families.values()]
        return sorted(best, key=lambda face: (face.slanted, self._foreign(face), face.family))

    def check(self, text: str) -> None:
        """Raise BadRequest for characters of `text` that no font has; it names them and says how to get a font."""
        cells = dict.fromkeys(cell for cell in clusters(text) if not cell.isspace())
        missing = [cell for cell in cells if self.face_of(cell, is_wide(cell[0])) is None]
        if not missing:
            return
        shown = ", ".join(_named_character(cell) for cell in missing[:6])
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise BadRequest(
            f"no font on this machine has {shown}{more}",
            expected="characters that can be drawn",
            mend=f"{_how_to_get(missing)} Or name a font file that has them: font=…",
            field="text",
            characters=missing,
        )


def _region(text: str) -> str:
    """The region whose ideographs are used: Japanese with kana, Korean with Hangul, else simplified Chinese."""
    if any(0x3041 <= ord(char) <= 0x30FA for char in text):
        return "JP"
    return "KR" if any(0xAC00 <= ord(char) <= 0xD7A3 for char in text) else "SC"


def _named_character(cluster: str) -> str:
    codes = " ".join(f"U+{ord(char):04X}" for char in cluster)
    name = unicodedata.name(cluster[0], "").lower()
    return f"{cluster} ({codes}{', ' + name if name and 'cjk unified' not in name else ''})"


def _how_to_get(missing: list[str]) -> str:
    if all(is_emoji(cell) for cell in missing):
        return "Debian, Ubuntu: apt install fonts-noto-color-emoji. Elsewhere: install Noto Color Emoji."
    if any(ord(cell[0]) > 0x1FFFF for cell in missing):
        return "Rare ideographs: install BabelStone Han (Debian, Ubuntu: apt install fonts-hanazono)."
    if any(is_wide(cell[0]) for cell in missing):
        return fonts.MEND
    return "Debian, Ubuntu: apt install fonts-noto-core fonts-symbola. Elsewhere: install Noto fonts of that script."
