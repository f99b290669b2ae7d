"""The viewer: the picture in the making, the finished one, the strip of results, and what can be done with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from ..translations import Texts

FOLDER = Path(__file__).parent


class Viewer(anywidget.AnyWidget):
    """Its buttons send {"do": …, "id": result} by way of the bar: use, vary, upscale, compare, grid, download, forget.

    `picture` is the selected result as JPEG, `preview` the picture in the making. `progress` is {active, value, max,
    text}; `results` are {id, label, thumb} from the oldest to the newest, `thumb` a JPEG; `about` has the selected
    one's caption, alt text, recipe (JSON text) and what can be done with it. A download is answered by a message
    {"file": name, "view": …} with the PNG's bytes. `following`: the latest result is shown as soon as it is there; not
    while somebody looks at an earlier one.
    """

    _esm = FOLDER / "viewer.js"
    _css = FOLDER / "viewer.css"

    texts = t.Dict().tag(sync=True)
    picture = t.Bytes(b"").tag(sync=True)
    preview = t.Bytes(b"").tag(sync=True)
    progress = t.Dict().tag(sync=True)
    results: t.List[dict[str, Any]] = t.List().tag(sync=True)
    selected = t.Unicode("").tag(sync=True)
    following = t.Bool(True).tag(sync=True)
    about = t.Dict().tag(sync=True)

    def __init__(self, texts: Texts, **traits: Any) -> None:
        super().__init__(texts=texts.section("viewer"), **traits)
