"""The script that measures stages beside the full-size model works: in nano's size wherever tests run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("extensions_full_size.py")


def measured(tmp_path: Path, *options: str) -> dict[str, Any]:
    folder, output = tmp_path / "models", tmp_path / "measured.json"
    folder.mkdir()
    command = [sys.executable, str(SCRIPT), "--output", str(output), "--folder", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert output.is_file(), done.stderr
    assert list(folder.iterdir()) == []
    data: dict[str, Any] = json.loads(output.read_text())
    return data


@pytest.mark.bench
def test_the_script_measures_every_stage_in_nanos_size(tmp_path: Path) -> None:
    data = measured(tmp_path, "--tiny", "--rounds", "2")
    assert data["plain_is_bit_equal_after_pose"]
    assert data["pose_changes_the_picture"] > 0
    assert data["pose_half"]["milliseconds"]["denoise"] < data["pose"]["milliseconds"]["denoise"]
    assert data["upscale"]["size"] == [128, 128]
    assert data["upscale"]["difference_to_float32_untiled"] == 0
    assert data["upscale"]["ratio"] > 0


@pytest.mark.gpu
@pytest.mark.timeout(600)
def test_a_megapixel_is_doubled_within_its_time_and_memory_beside_the_full_model(tmp_path: Path) -> None:
    data = measured(tmp_path)
    upscale = data["upscale"]
    assert upscale["promise_kept"], f"{upscale['seconds']} s, {upscale['peak_bytes_more'] / 1e9:.2f} GB more"
    assert upscale["tiled"]["difference"] <= 2
    assert data["plain_is_bit_equal_after_pose"]
