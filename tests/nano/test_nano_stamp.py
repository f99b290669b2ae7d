"""nano's training and quality tests take minutes and run when nano changes; this holds whoever changes it to that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_nano_is_as_its_training_and_quality_tests_have_passed_for() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "nano_stamp.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
