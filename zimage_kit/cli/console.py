"""Output of the commands: results on stdout, the rest on stderr, a progress bar only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from ..session.progress import Bar, progress, told

__all__ = ["Bar", "progress", "result", "result_json", "say", "table", "told"]

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: done, failed, wrong usage, Ctrl-C."""


def result(text: str) -> None:
    """Print a line of the result."""
    print(text, flush=True)


def result_json(value: Any) -> None:
    """Print the result as one JSON object, Chinese unescaped."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str), flush=True)


def say(text: str) -> None:
    """Print a line of information to stderr."""
    print(text, file=sys.stderr, flush=True)


def ask(question: str) -> bool:
    """Ask on stderr; anything but y or yes is no. Ask only where `sys.stdin.isatty()`."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def table(rows: Sequence[tuple[str, ...]], indent: str = "") -> str:
    """Columns padded to their widest cell; Chinese characters count as two."""
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell + " " * (column - width(cell)) for cell, column in zip(row, widths, strict=True)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
