"""The soak at full size works: in nano's size anywhere, at full size on a GPU machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("soak_full_size.py")


def measured(tmp_path: Path, *options: str) -> dict[str, Any]:
    output = tmp_path / "measured.json"
    command = [sys.executable, str(SCRIPT), "--output", str(output), "--folder", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert output.is_file(), done.stderr
    data: dict[str, Any] = json.loads(output.read_text())
    return data


@pytest.mark.bench
def test_the_script_draws_breaks_the_device_and_draws_on(tmp_path: Path) -> None:
    data = measured(tmp_path, "--tiny")
    assert data["pictures"] > 10 and "illegal memory access" in data["error"]
    for promise in ("recovery", "the worker was replaced", "same pixels after it"):
        assert data["kept"][promise], data


@pytest.mark.gpu
@pytest.mark.timeout(3600)
def test_twenty_minutes_at_full_size_are_flat_and_an_error_of_the_card_is_recovered_from(tmp_path: Path) -> None:
    data = measured(tmp_path)
    assert all(data["kept"].values()), data
