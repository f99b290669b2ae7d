"""The measuring script works: in nano's size wherever tests run, at full size on a GPU machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("full_size.py")


def measured(tmp_path: Path, *options: str) -> dict[str, Any]:
    output = tmp_path / "measured.json"
    folder = tmp_path / "models"
    folder.mkdir()
    command = [sys.executable, str(SCRIPT), "--output", str(output), "--folder", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert output.is_file(), done.stderr
    assert list(folder.iterdir()) == []  # gigabytes are not left behind
    data: dict[str, Any] = json.loads(output.read_text())
    return data


@pytest.mark.bench
def test_the_script_measures_and_compares_in_nanos_size(tmp_path: Path) -> None:
    data = measured(tmp_path, "--tiny", "--rounds", "5")
    assert data["bit_equal"]
    assert data["rounds"] == 5
    assert len(data["seconds"]["ours"]) == len(data["seconds"]["stock"]) == 5
    assert data["ratio"] > 0
    assert all(data["part_milliseconds"][part] > 0 for part in ("encode", "denoise", "decode", "total"))


@pytest.mark.gpu
@pytest.mark.timeout(600)
def test_our_layer_costs_at_most_two_per_cent_over_stock_at_full_size(tmp_path: Path) -> None:
    data = measured(tmp_path)
    assert data["promise_kept"], f"{data['ratio']} of stock's time"
    assert data["bit_equal"]
    assert data["dtype"] == "bfloat16"
    assert 15e9 < data["resident_bytes"] < 24e9
