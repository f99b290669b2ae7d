"""The measuring script works: a small run gives every number that it is there for. What it took is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.bench
def test_the_script_measures_every_promise_of_a_session_and_leaves_no_process(tmp_path: Path, model: str) -> None:
    output = tmp_path / "measured.json"
    command = [sys.executable, "-m", "tests.session.bench", "--quick", "--output", str(output), "--model", model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert output.is_file(), done.stderr

    data = json.loads(output.read_text())
    assert data["machine"]["cores"] > 0
    rows = data["rows"]
    assert sum(row["promised"] is not None for row in rows) == 12
    for row in rows:
        assert f"| {row['what']} |" in done.stdout
        assert row["count"] == len(row["samples"]) > 0, row
        assert (row["kept"] is None) == (row["promised"] is None), row
        if row["unit"] in ("s", "ms", "MB") and "adds" not in row["what"]:
            measured = row["measured"]
            assert measured["shared"] > 0, row
            assert measured["inline"] is None or measured["inline"] > 0, row
    assert done.returncode == (0 if all(row["kept"] is not False for row in rows) else 1), done.stderr

    left = [process for process in psutil.process_iter(["cmdline"]) if data["folder"] in str(process.info["cmdline"])]
    assert not left, left
    assert not Path(data["folder"]).exists()
