"""The scripts that measure placement and rounding work: in nano's size, with a cap on the CPU for a small card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent


def measured(script: str, output: Path, *options: str) -> tuple[dict[str, Any], str]:
    command = [sys.executable, str(FOLDER / script), "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert output.is_file(), done.stderr
    data: dict[str, Any] = json.loads(output.read_text())
    return data, done.stdout


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_the_script_draws_within_every_cap_and_compares_pixels(tmp_path: Path) -> None:
    also = ("--also", "0.11 precision=int8", "0.11 ram=0.035")
    caps = ("--caps", "0", "0.11", "--rounds", "1", "--folder", str(tmp_path / "models"))
    data, told = measured("placement.py", tmp_path / "measured.json", "--tiny", *caps, *also)
    whole, capped, packed, mapped = (run["pictures"]["128"] for run in data["runs"])
    assert whole["streamed_blocks"] == 0 < capped["streamed_blocks"]
    assert whole["sha256"] == capped["sha256"] == mapped["sha256"] != packed["sha256"]
    assert packed["host_bytes"] < 0.6 * capped["host_bytes"]
    assert 0 < packed["latents_difference"] < 0.01 and capped["latents_difference"] == 0
    assert mapped["mapped"] and not capped["mapped"]
    assert "| 0.11 GiB, ram=0.035 |" in told and told.rstrip().endswith("pixels equal")
    assert (tmp_path / "models" / "model").is_dir(), "a folder that was given stays"


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_the_script_judges_pictures_of_every_precision(tmp_path: Path) -> None:
    data, told = measured("precisions.py", tmp_path / "measured.json", "--device", "cpu", "--captions", "1")
    rows = data["rows"]
    assert [row["pictures"] for row in rows] == [2] * 5
    differences = [row["difference"] for row in rows]
    assert differences[0] == 0 < differences[1] < differences[2] < differences[3] < differences[4]
    assert told.count("\n| ") == 5
