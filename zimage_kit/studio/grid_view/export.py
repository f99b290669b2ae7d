"""A grid as a file for the page that asks: made in a thread of its own, and sent in pieces."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ...grid import Grid
from ...grid.files import contents, numbered_names
from ...library.store import slug_of
from ..translations import Language
from .board import Board

TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".html": "text/html", ".csv": "text/csv", ".zip": "application/zip"}
PIECE = 4_000_000
"""Bytes in a message."""
INTERVAL_SECONDS = 0.2


class Export:
    """Makes one file after another. `board.exporting` is {ending, done, count} meanwhile, in pictures."""

    def __init__(self, board: Board, language: Language, on_error: Callable[[BaseException], None]) -> None:
        self._board, self._language, self._on_error = board, language, on_error
        self._worker = ThreadPoolExecutor(1, "zimage-grid-view-export")
        self._told = 0.0

    def start(self, grid: Grid, ending: str, view: str) -> None:
        """Make a file of this kind and send it to a page. Returns at once."""
        self._worker.submit(self._make, grid, ending, view)

    def close(self) -> None:
        """Begin no further one."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _make(self, grid: Grid, ending: str, view: str) -> None:
        self._board.exporting = {"ending": ending, "done": 0, "count": len(grid)}
        try:
            name, content = file_of(grid, ending, self._language, lambda done, count: self._tell(ending, done, count))
            about = {"file": name, "type": TYPES[name[name.rindex(".") :]], "view": view}
            starts = range(0, max(1, len(content)), PIECE)
            for part, start in enumerate(starts):
                piece = content[start : start + PIECE]
                self._board.send({**about, "part": part, "parts": len(starts)}, [piece])
        except Exception as error:
            self._on_error(error)
        finally:
            self._board.exporting = {}

    def _tell(self, ending: str, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._told > INTERVAL_SECONDS:
            self._told = now
            self._board.exporting = {"ending": ending, "done": done, "count": count}


def file_of(grid: Grid, ending: str, language: Language, on_pictures: Callable[[int, int], None]) -> tuple[str, bytes]:
    """A name and the bytes. A page can take one file: where a grid takes several sheets, they are in a .zip."""
    stem = f"grid-{slug_of(grid.title or grid.plan.base.prompt) or 'sheet'}"
    options = {"language": language} if ending == ".html" else {}
    found = contents(grid, ending, on_pictures, **options)
    if len(found) == 1:
        return stem + ending, found[0]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in zip(numbered_names(stem, ending, len(found)), found, strict=True):
            archive.writestr(name, content)
    return f"{stem}.zip", out.getvalue()
