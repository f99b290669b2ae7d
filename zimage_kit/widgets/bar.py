"""The bar: Generate and Cancel, and what only a script in the page can do for the whole panel.

Its script hears the panel's keys and dropped files, brings along what stands in the form at the moment of a click, and
gives names to controls of ipywidgets that have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from .texts import LANGUAGES, Texts

FOLDER = Path(__file__).parent


class Bar(anywidget.AnyWidget):
    """Sends `{"do": "generate", "values": {model id: value}}`, `{"do": "cancel"}`, `{"do": "open", "name": …}` with the
    file's bytes, `{"do": "language", "to": …}`, and `{"do": "shown"}` or `{"do": "hidden"}` as a page shows the panel.

    `inputs` are the ids of the form's controls: a click brings the values that they have in the page, since a kernel
    that was busy may not have been told of the latest keystrokes yet.
    """  # noqa: D205

    _esm = FOLDER / "bar.js"
    _css = FOLDER / "studio.css"

    texts = t.Dict().tag(sync=True)
    language = t.Unicode("en").tag(sync=True)
    languages = t.Dict(dict(LANGUAGES)).tag(sync=True)
    inputs = t.List(t.Unicode()).tag(sync=True)
    busy = t.Bool(False).tag(sync=True)
    queue = t.Unicode("").tag(sync=True)

    def __init__(self, texts: Texts, **traits: Any) -> None:
        super().__init__(texts=texts.section("bar"), language=texts.language, **traits)
