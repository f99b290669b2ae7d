"""What the commands say and where: results on stdout, the rest on stderr, a bar only where someone can see it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: done, failed, wrong usage, Ctrl-C."""


def result(text: str) -> None:
    """A line of the answer itself."""
    print(text, flush=True)


def result_json(value: Any) -> None:
    """The whole answer as one JSON object on stdout, Chinese as Chinese."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str), flush=True)


def say(text: str) -> None:
    """A line about what is going on."""
    print(text, file=sys.stderr, flush=True)


class Bar(Protocol):
    """Something that shows how far it is."""

    def update(self, done: float, total: float, text: str = "") -> None:
        """Show `done` of `total`; `text` says what is being done."""


@dataclass
class _Lines:
    """Progress as lines, for logs and pipes: each new text once, and never more than one line in `seconds`."""

    seconds: float = 0.0
    last: float = field(default=-1e9)
    shown: str = ""

    def update(self, done: float, total: float, text: str = "") -> None:
        now = time.monotonic()
        if text and text != self.shown and (now - self.last >= self.seconds or done >= total):
            self.last, self.shown = now, text
            say(text)


class _Silent:
    def update(self, done: float, total: float, text: str = "") -> None:
        pass


class _Rich:
    """Progress as one bar that redraws itself."""

    def __init__(self, progress: Any, title: str) -> None:
        self.progress = progress
        self.task = progress.add_task(title, total=None)

    def update(self, done: float, total: float, text: str = "") -> None:
        self.progress.update(self.task, completed=done, total=total, description=text or None)


@contextlib.contextmanager
def progress(title: str, quiet: bool = False, line_seconds: float = 0.0) -> Iterator[Bar]:
    """A bar on a terminal, lines elsewhere (at most one in `line_seconds`), nothing when `quiet`."""
    if quiet:
        yield _Silent()
    elif not sys.stderr.isatty():
        yield _Lines(line_seconds)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as live:
            yield _Rich(live, title)


def table(rows: Sequence[tuple[str, ...]], indent: str = "") -> str:
    """Columns padded to their widest cell; Chinese characters count as two."""
    widths = [max(_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
