"""What the threat model says is held names the tests that hold it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_of_what_is_held_names_tests_that_are_there() -> None:
    held = (ROOT / "docs" / "threat-model.md").read_text().split("## Held")[1].split("## Not held")[0]
    rows = [line for line in held.splitlines() if line.startswith("| ") and not line.startswith("| from")]
    assert len(rows) > 10
    for row in rows:
        first, *more = re.findall(r"`([^`]+)`", row.rstrip("| ").rpartition("|")[2])
        folder = first.rpartition("/")[0]
        for name in (first, *(each if "/" in each else f"{folder}/{each}" for each in more)):
            assert (ROOT / "tests" / name).exists(), f"{name} of {row[:60]}"
