"""The measuring script of the shared session works: in nano's size anywhere, at full size on a GPU machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("shared_session.py")


def measured(tmp_path: Path, *options: str) -> dict[str, Any]:
    output = tmp_path / "measured.json"
    folder = tmp_path / "models"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ZIMAGE_SESSION"}
    command = [sys.executable, str(SCRIPT), "--output", str(output), "--folder", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert output.is_file(), done.stderr
    assert list(folder.iterdir()) == []  # gigabytes are not left behind
    data: dict[str, Any] = json.loads(output.read_text())
    return data


@pytest.mark.bench
def test_the_script_measures_a_session_in_nanos_size(tmp_path: Path) -> None:
    data = measured(tmp_path, "--tiny")
    (run,) = data["runs"]
    assert (run["gpus"], run["model_loads"], run["pictures"]) == (0, 1, 4)
    assert run["rate"] > 0 and run["alone_seconds"] > 0 and run["freed_seconds"] > 0
    assert run["load_bytes"][1] == run["load_bytes"][2] == run["workers"][0]["resident_bytes"]
    assert set(data["kept"]) == {"one load for each GPU", "freed within a second", "clients without torch"}
    assert data["kept"]["one load for each GPU"] and data["kept"]["clients without torch"]


@pytest.mark.gpu
@pytest.mark.timeout(900)
def test_the_session_keeps_its_promises_at_full_size(tmp_path: Path) -> None:
    data = measured(tmp_path)
    assert data["kept"] == dict.fromkeys(data["kept"], True), data
    assert "memory given back" in data["kept"]
