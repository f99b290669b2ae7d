"""Texts in the user's language: folders of catalogues, `en.toml`, `zh.toml` and so on.

The panel, the pages of grids and each extension have a folder of their own; what one lacks is said in English. A new
language is one file in the panel's folder, with its own name: `[language]`, `name = "Français"`.

What the program says in English only, errors, notes of traces and progress, a catalogue translates under `[sentences]`,
each by a pattern of the English one: `"there is no file {path}" = "没有文件 {path}"`; the first that fits counts.
"""

from __future__ import annotations

import locale
import os
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest

Language = str
"""A code such as "en", the name of a catalogue."""
FOLDER = Path(__file__).parents[1] / "studio" / "texts"
"""The panel's catalogues. What it speaks is what can be chosen."""
_APART = ("language", "sentences")
_PLACE = re.compile(r"\\\{(\w+)\\\}")


def languages() -> dict[Language, str]:
    """Each language by its native name, English first."""
    codes = sorted((path.stem for path in FOLDER.glob("*.toml")), key=lambda code: (code != "en", code))
    return {code: str(_tables(FOLDER, code).get("language", {}).get("name", code)) for code in codes}


def language() -> Language:
    """$ZIMAGE_LANG, else the system's language where it is one of ours, else English. Raises BadRequest."""
    known, given = languages(), os.environ.get("ZIMAGE_LANG")
    if given:
        if _code(given) not in known:
            raise BadRequest(f"ZIMAGE_LANG={given}", expected=" or ".join(known))
        return _code(given)
    spoken = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or _system() or ""
    if spoken.startswith("Chinese"):
        return "zh"
    return _code(spoken) if _code(spoken) in known else "en"


def _code(name: str) -> str:
    """`zh` of `zh_CN.UTF-8` or `zh-TW`."""
    return re.split(r"[_.@-]", name, maxsplit=1)[0].lower()


def _system() -> str | None:
    """The system's locale, where no environment variable is set (Windows, macOS applications)."""
    return locale.getlocale()[0]


@lru_cache
def _tables(folder: Path, language: Language) -> Mapping[str, Any]:
    path = folder / f"{language}.toml"
    return MappingProxyType(tomllib.loads(path.read_text("utf-8")) if path.is_file() else {})


@lru_cache
def catalogue(folder: Path, language: Language) -> Mapping[str, str]:
    """`section.key` to text of `folder/<language>.toml`; empty where there is no such file."""
    tables = {name: table for name, table in _tables(folder, language).items() if name not in _APART}
    return MappingProxyType(dict(_flat(tables)))


@lru_cache
def _sentences(folder: Path, language: Language) -> tuple[tuple[re.Pattern[str], str], ...]:
    """(pattern of the English sentence, the sentence) of `[sentences]`, in their order."""
    found = _tables(folder, language).get("sentences", {})
    return tuple(
        (re.compile(_PLACE.sub(r"(?P<\1>.+?)", re.escape(english)), re.DOTALL), said) for english, said in found.items()
    )


def _flat(table: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    out = []
    for key, value in table.items():
        out += _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else [(above + key, str(value))]
    return out


class Texts:
    """The texts of one language in a folder: `texts("panel.generate")`, with values filled in where it has {places}."""

    def __init__(self, language: Language, folder: Path) -> None:
        self.language, self._folder = language, folder
        self.lang = "zh-CN" if language == "zh" else language  # as HTML calls it
        self._texts = {**catalogue(folder, "en"), **catalogue(folder, language)}

    def __call__(self, key: str, **values: object) -> str:
        """The text behind a key. Raises KeyError for a key that is in no catalogue, which is a bug."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def get(self, key: str, default: str) -> str:
        """The text behind a key that may be missing."""
        return self._texts.get(key, default)

    def section(self, name: str) -> dict[str, str]:
        """All texts of one section by their keys, as a widget's script takes them."""
        return {key[len(name) + 1 :]: text for key, text in self._texts.items() if key.startswith(f"{name}.")}

    def said(self, sentence: str) -> str:
        """A sentence of the program's in this language, if its catalogue has it; else as it is, in English."""
        for pattern, text in _sentences(self._folder, self.language):
            if found := pattern.fullmatch(sentence):
                return text.format(**found.groupdict())
        return sentence
