"""Put the real `--help` of each command, and the table of graphics cards, into the pages that show them.

python scripts/embed_help.py README.md README.zh-CN.md docs/cli.md
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from zimage_kit.engine.cards import parse_card, plan_for

BLOCK = re.compile(r"<!-- help: (zimage[a-z ]*) -->\n(?:```text\n.*?```\n)?", re.DOTALL)


def help_of(command: str) -> str:
    """What `command --help` prints at 80 columns."""
    words = [sys.executable, "-m", "zimage_kit", *command.split()[1:], "--help"]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.rstrip() + "\n"


CARDS = re.compile(r"(<!-- cards: (.*?) -->\n\|[^\n]*\n\|[^\n]*\n)(?:\|[^\n]*\n)*")
"""A marker with names of cards, and the two lines of a table's head, which are the page's own."""


def rows_of(names: str) -> str:
    """A line for each card: its name, blocks of the transformer that stay on it, RAM, seconds for a picture."""
    rows = []
    for name in names.split(", "):
        found = plan_for(parse_card(name))
        blocks = found.resident_blocks + found.streamed_blocks
        stays = f"{found.resident_blocks}/{blocks}"
        rows.append(f"| {name} | {stays} | {found.host_bytes / 1e9:.0f} GB | {found.seconds:.0f} s |\n")
    return "".join(rows)


def embed(page: str) -> str:
    """The page with every help block and every table of cards renewed."""
    page = CARDS.sub(lambda found: found[1] + rows_of(found[2]), page)
    return BLOCK.sub(lambda block: f"<!-- help: {block[1]} -->\n```text\n{help_of(block[1])}```\n", page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(embed(path.read_text(encoding="utf-8")), encoding="utf-8")
