"""The measuring script for grids works: a small run gives every number that it is there for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.bench
def test_the_script_measures_every_promise_of_a_grid(tmp_path: Path, model: str) -> None:
    output = tmp_path / "measured.json"
    command = [sys.executable, "-m", "tests.session.grid_bench", "--quick", "--output", str(output), "--model", model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert output.is_file(), done.stderr
    data = json.loads(output.read_text())
    promised = [row for row in data["rows"] if row["promised"] is not None]
    assert len(promised) == 7
    for row in data["rows"]:
        assert f"| {row['what']} |" in done.stdout
        assert (row["kept"] is None) == (row["promised"] is None), row
    assert done.returncode == (0 if all(row["kept"] for row in promised) else 1), done.stderr
