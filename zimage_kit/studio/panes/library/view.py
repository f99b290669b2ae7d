"""The library as the page shows it: what the script is told and what it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from ....text.scripts import joined_script, joined_style
from ...translations import Texts

FOLDER = Path(__file__).parent


class LibraryView(anywidget.AnyWidget):
    """Sends what is asked for, with the `version` of what is shown: {"do": …}.

    `do` is page (`page` of `size` pictures), names (`from` one place to before the `end`), full or file (`name`), mark
    (`names`, `stars`), tag (`tags`), undo, or what is done with the chosen `names`: use, strip, compare, grid, like,
    download, remove. A page is answered by messages {"page", "from", "rows"} with small JPEGs, names by {"names"}, full
    by {"full": name, …} with the picture and what is known of it, a file or download by {"file", "type"} with its
    bytes.
    `query` is the page's: words, model, stage, lora, tag, stars, since, cells, like. `facets` are a filter's choices,
    (label, value). `version` rises when other pictures are shown.
    """

    _esm = joined_script(FOLDER / "library.js")
    _css = joined_style(FOLDER / "library.css")

    texts = t.Dict().tag(sync=True)
    query = t.Dict().tag(sync=True)
    facets = t.Dict().tag(sync=True)
    total = t.Int(0).tag(sync=True)
    size = t.Unicode("").tag(sync=True)
    version = t.Int(0).tag(sync=True)
    busy = t.Bool(False).tag(sync=True)
    undoable = t.Bool(False).tag(sync=True)
    note = t.Unicode("").tag(sync=True)

    def __init__(self, texts: Texts, **traits: Any) -> None:
        super().__init__(texts={**texts.section("library"), "lightbox": texts.section("lightbox")}, **traits)
