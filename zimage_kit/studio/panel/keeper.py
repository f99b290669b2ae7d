"""Keeps a panel's state in a file, so that nothing is lost when the page is loaded again or the kernel restarts.

The file is in the hidden folder of the library (`.zimage/panels` in the outputs folder); the pictures themselves are
files of the library, named here. A panel in a notebook is known by its cell, the web page's by the word "page".
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import CannotWrite
from ...files import write_whole
from ...library.refresh import FOLDER
from ...library.store import outputs_dir
from ...text.tables import notebook
from ..translations import on_page

PAGE = "page"
"""The name of the web page's panel."""
VERSION = 1
_WAIT_SECONDS = 0.5
_log = logging.getLogger("zimage_kit")


def own_name() -> str | None:
    """The name of a panel that is made now: that of the running cell or of the web page; None outside of both."""
    if on_page():
        return PAGE
    shell = notebook()
    parent = shell.get_parent() if shell is not None and hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    if not cell:
        return None
    name, run = f"{os.environ.get('JPY_SESSION_NAME', '')} {cell}", str(parent.get("header", {}).get("msg_id"))
    last, count = _runs.get(name, ("", 0))
    _runs[name] = (run, count + 1 if run == last else 0)
    return f"{name} {_runs[name][1]}" if _runs[name][1] else name


_runs: dict[str, tuple[str, int]] = {}
"""Of each cell its latest run, and how many panels that has made before this one: each of them has a name."""
_FORGOTTEN_SECONDS = 90 * 86400.0


def _sweep(folder: Path) -> None:
    """Delete the states of panels that nobody has used for three months."""
    for path in folder.glob("*.json"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS:
                path.unlink()


class Keeper:
    """Writes what `collect` gives, as JSON, half a second after a change. With no `name` it keeps nothing."""

    def __init__(self, name: str | None, collect: Callable[[], dict[str, Any]]) -> None:
        self.name, self._collect = name, collect
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._failed = self._closed = False
        if name is not None:
            atexit.register(self.flush)

    @property
    def path(self) -> Path | None:
        """The file."""
        if self.name is None:
            return None
        readable = self.name if self.name == PAGE else hashlib.sha256(self.name.encode()).hexdigest()[:20]
        return outputs_dir() / FOLDER / "panels" / f"{readable}.json"

    def load(self) -> dict[str, Any]:
        """What was kept; nothing if there is none, or another version wrote it."""
        if self.path is None:
            return {}
        _sweep(self.path.parent)
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and found.get("version") == VERSION else {}

    def changed(self) -> None:
        """Something that is kept has changed. Changes that follow one another closely do not put the writing off."""
        if self.name is None or self._closed:
            return
        with self._lock:
            if self._timer is not None:
                return
            self._timer = threading.Timer(_WAIT_SECONDS, self.flush)
            self._timer.name, self._timer.daemon = "zimage-panel-state", True
            self._timer.start()

    def flush(self) -> None:
        """Write now what has changed."""
        with self._lock:
            if self._timer is None or self.path is None or self._closed:
                return
            self._timer.cancel()
            self._timer = None
            state = {"version": VERSION, **self._collect()}
            try:
                write_whole(self.path, json.dumps(state, ensure_ascii=False).encode("utf-8", "replace"), mode=0o600)
            except CannotWrite as error:
                if not self._failed:  # once: the panel works without
                    _log.warning("The panel's state cannot be kept: %s", error)
                self._failed = True

    def close(self) -> None:
        """Write what has changed, and nothing more after it."""
        self.flush()
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        atexit.unregister(self.flush)
