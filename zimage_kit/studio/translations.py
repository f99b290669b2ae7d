"""What the panel says, in the user's language: `texts/en.toml` and `texts/zh.toml`.

An extension brings catalogues of its own in a folder `texts` beside its code.
"""

from __future__ import annotations

from pathlib import Path

from ..text import catalogues as texts
from ..text.catalogues import LANGUAGES, Language, catalogue, language

__all__ = ["FOLDER", "LANGUAGES", "Language", "Texts", "catalogue", "language"]

FOLDER = Path(__file__).parent / "texts"


class Texts(texts.Texts):
    """The panel's texts in one language, or those of another folder."""

    def __init__(self, language: Language, folder: Path = FOLDER) -> None:
        super().__init__(language, folder)
