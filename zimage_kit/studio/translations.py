"""What the panel says, in the user's language: `texts/en.toml`, `texts/zh.toml` and any other beside them.

An extension brings catalogues of its own in a folder `texts` beside its code.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..text import catalogues as texts
from ..text.catalogues import FOLDER, Language, catalogue, language, languages

__all__ = ["FOLDER", "Language", "Texts", "catalogue", "language", "languages"]


class Texts(texts.Texts):
    """The panel's texts in one language, or those of another folder."""

    def __init__(self, language: Language, folder: Path | None = None) -> None:
        super().__init__(language, folder or texts.FOLDER)
        if on_page():
            own = {key: text for key, text in self._texts.items() if key.endswith(ON_PAGE)}
            self._texts |= {key.removesuffix(ON_PAGE): text for key, text in own.items()}

    def duration(self, seconds: float) -> str:
        """`1.4 s`, `3 min 05 s`, `2 h 10 min` in this language, as `text.units.duration` says it in English."""
        minutes = int(seconds // 60)
        if seconds < 60:
            return self("units.seconds", seconds=f"{seconds:.1f}")
        if minutes < 60:
            return self("units.minutes", minutes=minutes, seconds=f"{int(seconds % 60):02d}")
        return self("units.hours", hours=minutes // 60, minutes=f"{minutes % 60:02d}")


ON_PAGE = "_on_page"
"""Ending of the keys of texts that the web page has in place of those without it: it has no cells."""


def on_page() -> bool:
    """Whether this is a kernel of the web page."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
