"""It works where people are: systems without a language, folders with blanks and Chinese, no home, far time zones."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import zimage_kit as zk

ROOT = Path(__file__).resolve().parents[2]
DRAW = ("run", "一只红色的船", "--inline", "--model", "nano", "--steps", "1", "--size", "64x64", "--seed", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "一 个 folder"
    folder.mkdir()
    return folder


def zimage(folder: Path, *words: str, umask: int = 0o022, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command there, with no other settings of the environment than these."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder.parent), **settings}
    line = [sys.executable, "-m", "zimage_kit", *words]
    return subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", umask=umask, check=False
    )


@pytest.mark.slow
def test_in_a_system_without_a_language_and_a_folder_with_blanks_and_chinese(folder: Path) -> None:
    done = zimage(folder, *DRAW, "--output", "红 船.png", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert zk.open(folder / "红 船.png").request.prompt == "一只红色的船"
    shown = zimage(folder, "recipe", "show", "红 船.png", LC_ALL="C")
    assert "一只红色的船" in shown.stdout


def test_where_an_encoding_has_no_chinese_that_is_said_with_the_mend(folder: Path) -> None:
    done = zimage(folder, *DRAW, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "expected text in this system's encoding, ascii. Set LC_ALL=C.UTF-8, or PYTHONUTF8=1." in line


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/proc/nowhere", ""])
def test_without_a_home(folder: Path, home: str) -> None:
    done = zimage(folder, *DRAW, "--output", "x.png", HOME=home)
    assert done.returncode == 0, done.stderr
    assert (folder / "x.png").is_file()


def test_without_a_home_to_write_to_that_is_said_before_anything_is_drawn(folder: Path) -> None:
    done = zimage(folder, *DRAW, HOME="/proc/nowhere")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "/proc/nowhere/zimage/outputs" in line and "cannot be written" in line
    assert zimage(folder, "library", "list", HOME="/proc/nowhere").returncode == 0


@pytest.mark.slow
def test_in_a_time_zone_of_its_own_and_with_everything_open(folder: Path) -> None:
    zone = ZoneInfo("Pacific/Kiritimati")
    before = datetime.now(zone).date()
    done = zimage(folder, *DRAW, umask=0, TZ=zone.key)
    assert done.returncode == 0, done.stderr
    outputs = folder.parent / "zimage" / "outputs"
    (saved,) = outputs.rglob("*.png")
    assert saved.parent.name in {str(before), str(datetime.now(zone).date())}
    assert outputs.stat().st_mode & 0o777 == 0o700
    assert zk.open(saved).trace.created.endswith("+14:00")
