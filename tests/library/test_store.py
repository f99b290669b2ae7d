"""Pictures have readable names that every file system takes, and a file is there whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import Artifact, files
from zimage_kit.errors import CannotWrite
from zimage_kit.library import store


def test_a_name_says_when_which_seed_and_what(artifact: Artifact, home: Path) -> None:
    path = store.path_for(artifact)
    day, time = artifact.trace.created[:10], artifact.trace.created[11:19].replace(":", "")
    assert path == home / "outputs" / day / f"{time}-7-海上生明月-a-boat.png"


def test_names_do_not_collide(artifact: Artifact) -> None:
    paths = [artifact.save() for _ in range(3)]
    assert len(set(paths)) == 3
    assert paths[1].name == paths[0].stem + "-2.png"


def test_two_threads_saving_in_one_second_lose_nothing(artifact: Artifact) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(artifact.save())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 8
    assert all(path.stat().st_size > 0 for path in paths)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("A red balloon, over the sea!", "a-red-balloon-over-the-sea"),
        ("../../etc/passwd\0\n", "etc-passwd"),
        ("海上生明月", "海上生明月"),
        ("🎈🎈", ""),
        ('CON|AUX:<>*?"\\', "con-aux"),
    ],
)
def test_slugs_are_safe_and_keep_every_script(text: str, slug: str) -> None:
    assert store.slug_of(text) == slug


def test_long_prompts_give_short_names() -> None:
    slug = store.slug_of("a very long prompt with many words " * 20)
    assert len(slug) <= 40
    assert "a-very-long-prompt-with-many-words".startswith(slug[:30])
    assert len(store.slug_of("月" * 500).encode()) <= 150


def test_nothing_half_written_is_left_when_the_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    code = (
        "import os, sys; from pathlib import Path; from zimage_kit import files;"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9);"  # killed when the bytes are written but not yet renamed
        f"files.write_whole(Path({str(path)!r}), b'x' * 100000)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not path.exists()
    (left,) = tmp_path.glob(".zimage-*.part")
    os.utime(left, (0, 0))
    files.write_whole(path, b"whole")  # the next write sweeps what a dead process left
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["picture.png"]


def test_what_a_dead_process_left_goes_after_a_minute_and_what_another_is_writing_stays(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from zimage_kit import files;"
        "os.fsync = lambda handle: (print('written', flush=True), sys.stdin.readline());"
        f"files.write_whole(Path({str(tmp_path)!r}, sys.argv[1]), b'x' * 100000)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, f"{name}.png"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in ("dead", "slow")
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"written\n"
    writers[0].kill()
    writers[0].wait()
    for left in tmp_path.glob(".zimage-*.part"):
        os.utime(left, (time.time() - 100, time.time() - 100))
    files.write_whole(tmp_path / "next.png", b"whole")
    assert len(list(tmp_path.glob(".zimage-*.part"))) == 1, "of the two, that of the one that is alive is left"
    assert writers[1].communicate(b"go on\n", timeout=30)[0] == b"" and writers[1].returncode == 0
    writers[0].communicate()
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["next.png", "slow.png"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="No space left on device"):
        files.write_whole(path, b"new")
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["picture.png"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["picture.gif", "picture", "picture.heic"])
def test_a_format_that_cannot_carry_the_recipe_is_refused(artifact: Artifact, tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotWrite, match=r"\.png, \.jpg or \.webp, which carry the recipe"):
        artifact.save(tmp_path / name)


def test_a_path_that_cannot_be_written_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.png", Path("/proc/x.png"), tmp_path):
        with pytest.raises(CannotWrite):
            files.check_writable(path)
    assert files.check_writable(tmp_path / "new" / "x.png") == tmp_path / "new" / "x.png"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("first", ["a picture", "the library"])
def test_the_default_folder_for_pictures_is_its_owners_only(
    artifact: Artifact, home: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZIMAGE_OUTPUTS")
    mask = os.umask(0)
    try:
        if first == "a picture":
            artifact.save()
        else:
            zk.library().close()
    finally:
        os.umask(mask)
    assert (home / "zimage" / "outputs").stat().st_mode & 0o777 == 0o700
    assert (home / "zimage").stat().st_mode & 0o777 == 0o777, "models beside it may be shared"


def test_pictures_are_readable_by_others_as_the_umask_says(artifact: Artifact, tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        path = artifact.save(tmp_path / "x.png")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o644
