"""Disks as they are: full, read-only, pulled away, shared, with a clock set back. What is there stays whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session, Trace
from zimage_kit.errors import CannotWrite, ZImageError

SMALL = 1 << 20


def noise(seed: int) -> Artifact:
    """A picture that takes some 50 kB."""
    pixels = np.random.default_rng(seed).integers(0, 256, (128, 128, 3), np.uint8)
    return Artifact(Image.fromarray(pixels), Request(prompt=f"noise {seed}", model="nano", seed=seed), Trace())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk may be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> list[Path]:
    """Save pictures until no more fits."""
    saved: list[Path] = []
    with pytest.raises(CannotWrite, match="No space left on device"):
        while True:
            saved.append(noise(len(saved)).save(folder=disk))
    return saved


def halves(disk: Path) -> list[Path]:
    return [path for path in disk.rglob("*") if path.is_file() and path.name.startswith(".zimage-")]


def test_a_full_disk_takes_what_fits_and_keeps_it_whole(small_disk: Path) -> None:
    saved = fill(small_disk)
    assert len(saved) > 10
    assert halves(small_disk) == []
    for number, path in enumerate(saved):
        assert zk.open(path).image.tobytes() == noise(number).image.tobytes()


def test_the_library_of_a_full_disk_is_searched_and_cleaned(small_disk: Path) -> None:
    saved = fill(small_disk)
    library = zk.library(small_disk)
    assert library.search("noise", limit=None).total == len(saved)
    library.remove(saved[:5])
    assert library.empty_trash() == 1
    noise(200).save(folder=small_disk)
    library.refresh()
    assert library.search("noise", limit=None).total == len(saved) - 4
    library.close()


def test_a_kept_job_of_a_full_disk_fails_with_the_reason_and_the_next_ones_work(
    small_disk: Path, session: Session, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(small_disk)
    (small_disk / "rest").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(small_disk))
    request = Request(prompt="a red boat", model=model, width=64, height=64, steps=1, seed=3)
    with pytest.raises(ZImageError, match="No space left on device"):
        session.submit(request, keep=True, fresh=True).result(60)
    (small_disk / "rest").unlink()
    assert session.submit(request, keep=True, fresh=True).result(60).request.seed == 3
    assert zk.library(small_disk).search("red boat").total == 1


def test_a_grid_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
    small_disk: Path, session: Session, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(small_disk))
    (small_disk / "rest").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 30_000))
    base = Request(prompt="a red boat", model=model, width=128, height=128, steps=1)
    grid = session.grid(base, seed="1-4")
    with pytest.raises(ZImageError, match="No space left on device"):
        grid.wait(120)
    (small_disk / "rest").unlink()
    grid.retry().wait(120)
    assert [cell.state for cell in grid] == ["done"] * 4
    assert halves(small_disk) == []


def test_a_disk_that_became_read_only_is_told_and_still_read(small_disk: Path) -> None:
    path = noise(1).save(folder=small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(CannotWrite, match="Read-only file system"):
        noise(2).save(folder=small_disk)
    library = zk.library(small_disk)
    assert library.search("noise").total == 1
    with pytest.raises(CannotWrite, match="Read-only file system"):
        library.star(path, 3)
    with pytest.raises(CannotWrite, match="Read-only file system"):
        library.remove(path)
    assert library.search("noise").total == 1
    library.close()


def test_a_folder_that_is_deleted_in_the_middle_of_a_batch_is_made_anew(
    session: Session, model: str, home: Path
) -> None:
    request = Request(prompt="a red boat", model=model, width=64, height=64, steps=1)
    library = zk.library()
    for number, artifact in enumerate(session.run([request.but(seed=seed) for seed in range(4)])):
        artifact.save()
        if number == 1:
            shutil.rmtree(home / "outputs")
    assert library.search("red boat").total == 2
    library.close()


def test_a_grid_whose_folder_is_deleted_draws_its_cells_again(session: Session, model: str, home: Path) -> None:
    grid = session.grid(Request(prompt="a boat", model=model, width=64, height=64, steps=1), seed="1-3").wait(120)
    shutil.rmtree(home / "outputs")
    assert [cell.artifact for cell in grid] == [None] * 3
    grid.retry().wait(120)
    assert all(cell.artifact is not None for cell in grid)


def test_two_programs_with_one_name_leave_one_whole_picture(tmp_path: Path) -> None:
    path = tmp_path / "same.png"
    code = (
        "import sys; from PIL import Image; from pathlib import Path; from zimage_kit import Artifact\n"
        "artifact = Artifact.from_image(Image.new('RGB', (400, 400), sys.argv[2]))\n"
        "for _ in range(60): artifact.save(sys.argv[1])\n"
    )
    programs = [subprocess.Popen([sys.executable, "-c", code, str(path), colour]) for colour in ("red", "blue")]
    seen = set()
    while any(program.poll() is None for program in programs):
        if path.exists():
            with Image.open(path) as picture:
                seen.add(picture.convert("RGB").getpixel((200, 200)))
    assert [program.returncode for program in programs] == [0, 0]
    assert seen <= {(255, 0, 0), (0, 0, 255)} and seen
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["same.png"]


def test_a_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    """Files and index are of a day that has not come yet; what is saved now is found all the same."""
    folder = tmp_path / "pictures"
    later = noise(1).save(folder=folder)
    ahead = time.time() + 86_400
    for path in (later, *folder.rglob("*"), folder):
        os.utime(path, (ahead, ahead))
    library = zk.library(folder)
    assert library.search("noise").total == 1
    noise(2).save(folder=folder)
    noise(3).save(folder / "named.png")
    library.refresh()
    assert library.search("noise").total == 3
    removal = library.remove(later)
    library.restore(removal)
    assert library.search('"noise 1"').total == 1
    library.close()
