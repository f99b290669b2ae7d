"""The soaks work: a small one kills programs and sessions, another runs cells again; each promise is found kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import notebook

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


@pytest.mark.bench
def test_cells_that_are_run_again_leave_nothing_in_their_kernel(tmp_path: Path) -> None:
    output = tmp_path / "notebook.json"
    command = [sys.executable, "-m", "tests.soak.notebook", "--runs", "24", "--first", "12", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["grown"] == [] and found["first"]["widgets"] == found["last"]["widgets"] > 100
    assert (found["first"]["pictures"], found["last"]["pictures"]) == (12, 24)


def test_each_thing_that_grows_is_found() -> None:
    one = {
        "widgets": 400,
        "comms": 400,
        "threads": 9,
        "handles": 70,
        "children": 3,
        "pictures": 60,
        "memory": 100_000_000,
    }
    found = {"runs": [100, 200], "first": one}
    for name, many in (("widgets", 401), ("comms", 402), ("threads", 12), ("handles", 75), ("memory", 111_000_000)):
        (told,) = notebook.grown({**found, "last": {**one, name: many}})
        assert told.startswith(f"{name}: ")
    assert notebook.grown({**found, "last": {**one, "threads": 10, "memory": 109_000_000, "widgets": 399}}) == []
    assert notebook.grown({**found, "last": {**one, "pictures": 64, "memory": 111_000_000}}) == []
