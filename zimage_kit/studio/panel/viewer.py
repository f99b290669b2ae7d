"""The viewer: the picture in the making, the finished one, the strip of results, and what can be done with one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from ...text.scripts import joined_script, joined_style
from ..translations import Texts

FOLDER = Path(__file__).parent


class Viewer(anywidget.AnyWidget):
    """Its buttons send {"do": action, "id": result} by way of the bar. `actions` are all there are: name, label, help.

    `inputs` are the fields of stages that take a picture: value (kind.field), label.
    `picture` is the selected result as JPEG, `preview` the picture in the making. `progress` is {active, value, max,
    text}; `results` are {id, label, thumb} from the oldest to the newest, `thumb` a JPEG; `about` has the selected
    one's id, caption, alt text, recipe (JSON text), the trace's notes and what can be done with it. A use has a "how"
    too (seed, open or exactly), a download a "format" (png, jpg or webp), and is answered by a message {"file": name,
    "type": MIME type, "view": …} with the file's bytes.
    `following`: the latest result is shown as soon as it is there; not while somebody looks at an earlier one. Threads
    that write here hold `lock`, the panel's.
    """

    _esm = joined_script(FOLDER / "viewer.js")
    _css = joined_style(FOLDER / "viewer.css")

    texts = t.Dict().tag(sync=True)
    picture = t.Bytes(b"").tag(sync=True)
    preview = t.Bytes(b"").tag(sync=True)
    progress = t.Dict().tag(sync=True)
    results: t.List[dict[str, Any]] = t.List().tag(sync=True)
    selected = t.Unicode("").tag(sync=True)
    following = t.Bool(True).tag(sync=True)
    about = t.Dict().tag(sync=True)
    actions: t.List[dict[str, str]] = t.List().tag(sync=True)
    inputs: t.List[dict[str, str]] = t.List().tag(sync=True)

    def __init__(self, texts: Texts, lock: threading.RLock | None = None, **traits: Any) -> None:
        self._lock = lock or threading.RLock()  # before any trait is set
        super().__init__(texts={**texts.section("viewer"), "lightbox": texts.section("lightbox")}, **traits)

    # While one thread holds back what it changes, ipywidgets (seen in 8.1) gathers every thread's changes with it, and
    # forgets those that come between its sending and its clearing: so one at a time, the page's own changes too.

    @contextmanager
    def hold_sync(self) -> Iterator[None]:
        """Send what is changed inside all at once, and let no other thread change anything meanwhile."""
        with self._lock, super().hold_sync():
            yield

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page has changed."""
        with self._lock:
            super().set_state(sync_data)
