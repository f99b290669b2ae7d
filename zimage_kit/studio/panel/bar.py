"""The bar: Generate and Cancel, and what only a script in the page can do for the whole panel.

Its script handles the panel's keys and dropped files, sends the form's current values with each click, and gives
accessible names to ipywidgets controls that have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from ...text.scripts import joined_script, joined_style
from ..translations import Texts, languages

FOLDER = Path(__file__).parent


class Bar(anywidget.AnyWidget):
    """Sends what is asked for in the page, in its order: {"do": …, "values": […]}.

    `do` is generate, draft, cancel, skip, language (`to`), open (`name`, `part` of `parts`, with the file's bytes),
    refuse (a file that is too large: `name`, `bytes`), pane (`name`), what a pane's own buttons ask for, what the
    viewer's buttons do (with the result's `id`), or, every ten seconds while the page is seen, shown. `values` are
    (model id, attribute, value) of the controls among `inputs` whose latest change the kernel was not told of yet,
    since it was busy. Each is answered with {"heard": true}; until then the bar says that it waits.

    `panes` are those with a button: name, label, help.
    `history` are the prompts that were used, the latest last. `loses`: leaving the page would lose something.
    """

    _esm = joined_script(FOLDER / "bar.js")
    _css = joined_style(FOLDER / "studio.css")

    texts = t.Dict().tag(sync=True)
    language = t.Unicode("en").tag(sync=True)
    languages = t.Dict().tag(sync=True)
    inputs = t.List(t.Unicode()).tag(sync=True)
    busy = t.Bool(False).tag(sync=True)
    queue = t.Unicode("").tag(sync=True)
    panes: t.List[dict[str, str]] = t.List().tag(sync=True)
    history: t.List[str] = t.List(t.Unicode()).tag(sync=True)
    loses = t.Bool(False).tag(sync=True)

    def __init__(self, texts: Texts, **traits: Any) -> None:
        super().__init__(texts=texts.section("bar"), language=texts.language, languages=languages(), **traits)
