"""Small pictures of a library's pictures, made once and kept in a file beside the index, which can be thrown away."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from ..recipe import picture as pictures

if TYPE_CHECKING:
    from PIL import Image

SIDE = 256
"""Pixels of the longer side at most."""
MOST = 40_000
"""How many are kept, about 400 MB; the oldest go first."""
FILE = "thumbs.sqlite"


def small(image: Image.Image, side: int = SIDE) -> bytes:
    """A picture as a small JPEG."""
    from PIL import Image as Pictures

    whole = pictures.on_white(image)
    whole.thumbnail((side, side), Pictures.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    whole.save(out, "JPEG", quality=82)
    return out.getvalue()


class Thumbs:
    """The small pictures of one library. Any thread may use it; where no file can be, they are kept in memory."""

    def __init__(self, file: Path | None) -> None:
        self._lock = RLock()
        try:
            self._connection = self._opened(file or ":memory:")
        except (sqlite3.Error, OSError):  # damaged, or this disk is full
            self._connection = self._opened(":memory:")

    @staticmethod
    def _opened(file: Path | str) -> sqlite3.Connection:
        connection = sqlite3.connect(file, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = OFF")  # what a power cut costs is made again
            connection.execute(
                "CREATE TABLE IF NOT EXISTS thumbs (id INTEGER PRIMARY KEY, name TEXT UNIQUE, stamp TEXT, jpeg BLOB)"
            )
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def of(self, path: Path, name: str) -> bytes:
        """The small picture of a file, as a JPEG; empty where it cannot be read."""
        try:
            stat = path.stat()
        except OSError:
            return b""
        stamp = f"{stat.st_size} {stat.st_mtime_ns}"
        try:
            with self._lock:
                row = self._connection.execute(
                    "SELECT jpeg FROM thumbs WHERE name = ? AND stamp = ?", (name, stamp)
                ).fetchone()
        except sqlite3.Error:
            row = None
        if row is not None:
            return bytes(row[0])
        try:
            with pictures.opened(path) as file:
                made = small(pictures.plain(file)[0])
        except pictures.UNREADABLE:
            return b""
        try:
            with self._lock:
                inserted = self._connection.execute(
                    "INSERT OR REPLACE INTO thumbs (name, stamp, jpeg) VALUES (?, ?, ?)", (name, stamp, made)
                ).lastrowid
                if inserted and inserted % 1000 == 0:
                    self._connection.execute("DELETE FROM thumbs WHERE id <= ?", (inserted - MOST,))
        except sqlite3.Error:  # another process writes for long, or the disk is full: it is made again next time
            pass
        return made

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
