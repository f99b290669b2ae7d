"""The measuring script for scouting works: a small run gives every number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.bench
def test_the_script_compares_scouted_seeds_with_counted_ones(tmp_path: Path) -> None:
    output = tmp_path / "measured.json"
    command = [sys.executable, "-m", "tests.session.scout_bench", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mean = json.loads(output.read_text())["mean"]
    assert 1 < mean["ratio"] <= mean["ratio_of_farthest"]
    assert 0 <= mean["scouted_right"] <= 1
    assert "| scouted, 4 of 8 |" in done.stdout
