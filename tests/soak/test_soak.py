"""The soak works: a small one kills programs and sessions, and finds each promise kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.bench
def test_a_small_soak_kills_and_loses_nothing(tmp_path: Path) -> None:
    output = tmp_path / "soak.json"
    small = ["--jobs", "60", "--clients", "3", "--quiet", "60", "--reruns", "8"]
    command = [sys.executable, "-m", "tests.soak.load", *small, "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["load"]["killed"]["sessions"] == 2 and found["load"]["killed"]["programs"] > 2
    assert found["problems"] == found["left"] == [] and found["pictures"] > 5
    assert set(found["reruns"]) == {"identical"}
