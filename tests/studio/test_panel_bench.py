"""The measuring script works: a small run gives every number that it is there for. What it took is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.bench
def test_the_script_measures_every_promise_of_the_panel(chromium: str, tmp_path: Path, model: str) -> None:
    output = tmp_path / "measured.json"
    command = [sys.executable, "-m", "tests.studio.bench", "--quick", "--output", str(output), "--model", model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert output.is_file(), done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert sum(row["promised"] is not None for row in rows) == 7
    for row in rows:
        assert f"| {row['what']} |" in done.stdout
        assert row["count"] == len(row["samples"]) > 0, row
        assert (row["kept"] is None) == (row["promised"] is None), row
        if "add" not in row["what"]:  # a difference may be nothing at all
            assert min(row["samples"]) > 0, row
            assert row["beside"] is None or min(row["beside"]) > 0, row
    assert done.returncode == (0 if all(row["kept"] is not False for row in rows) else 1), done.stderr
