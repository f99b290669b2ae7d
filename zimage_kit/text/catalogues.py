"""Texts in the user's language: folders of catalogues, `en.toml` and `zh.toml`.

The panel, the pages of grids and each extension have a folder of their own; what one lacks is said in English.
"""

from __future__ import annotations

import locale
import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from ..errors import BadRequest

Language = Literal["en", "zh"]
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}
"""Each by its native name."""


def language() -> Language:
    """$ZIMAGE_LANG, else the system's language where it is one of ours, else English. Raises BadRequest."""
    given = os.environ.get("ZIMAGE_LANG")
    if given:
        if given[:2].lower() not in get_args(Language):
            raise BadRequest(f"ZIMAGE_LANG={given}", expected=" or ".join(get_args(Language)))
        return cast("Language", given[:2].lower())
    spoken = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or _system() or ""
    return "zh" if spoken[:2].lower() == "zh" or spoken.startswith("Chinese") else "en"


def _system() -> str | None:
    """The system's locale, where no environment variable is set (Windows, macOS applications)."""
    return locale.getlocale()[0]


@lru_cache
def catalogue(folder: Path, language: Language) -> Mapping[str, str]:
    """`section.key` to text of `folder/<language>.toml`; empty where there is no such file."""
    path = folder / f"{language}.toml"
    if not path.is_file():
        return MappingProxyType({})
    return MappingProxyType(dict(_flat(tomllib.loads(path.read_text("utf-8")))))


def _flat(table: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    out = []
    for key, value in table.items():
        out += _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else [(above + key, str(value))]
    return out


class Texts:
    """The texts of one language in a folder: `texts("panel.generate")`, with values filled in where it has {places}."""

    def __init__(self, language: Language, folder: Path) -> None:
        self.language = language
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
