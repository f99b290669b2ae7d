"""Put the real `--help` of each command into the pages that show it, between its marker and the end of its fence.

python scripts/embed_help.py README.md README.zh-CN.md
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"<!-- help: (zimage[a-z ]*) -->\n(?:```text\n.*?```\n)?", re.DOTALL)


def help_of(command: str) -> str:
    """What `command --help` prints at 80 columns."""
    words = [sys.executable, "-m", "zimage_kit", *command.split()[1:], "--help"]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.rstrip() + "\n"


def embed(page: str) -> str:
    """The page with every help block renewed."""
    return BLOCK.sub(lambda block: f"<!-- help: {block[1]} -->\n```text\n{help_of(block[1])}```\n", page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(embed(path.read_text(encoding="utf-8")), encoding="utf-8")
