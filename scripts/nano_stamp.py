"""Which state of nano its training and quality tests have passed for: minutes of work that need not be done anew.

python scripts/nano_stamp.py           says whether nano is as it was tested; exit status 1: run make test-training
python scripts/nano_stamp.py --write   after the tests have passed
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAMP = ROOT / "tests" / "nano" / "nano.sha256"
KINDS = (".py", ".json", ".jsonl", ".safetensors", ".xz", ".jinja", ".txt")


def files() -> Iterator[Path]:
    """What the tests depend on: nano's code and weights, and the tests themselves."""
    yield from sorted(path for path in (ROOT / "zimage_kit" / "nano").rglob("*") if path.suffix in KINDS)
    yield from sorted((ROOT / "tests" / "nano").glob("test_nano_*.py"))


def state() -> str:
    """SHA-256 of these files with their names."""
    digest = hashlib.sha256()
    for path in files():
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    """Compare, or write; the exit status."""
    if "--write" in sys.argv[1:]:
        STAMP.write_text(state() + "\n")
        return 0
    if STAMP.is_file() and STAMP.read_text().strip() == state():
        return 0
    print("nano has changed since its training and quality tests passed: make test-training", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
