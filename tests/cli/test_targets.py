"""Where pictures go is checked before any is drawn: by every command that writes at its end, and by %imagine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.error import UsageError

import zimage_kit as zk
from zimage_kit import cli
from zimage_kit.cli.library import _short
from zimage_kit.notebook.magic import imagine

ENDS = [".png", ".jpg", ".webp"]


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ZIMAGE_SESSION", "inline")
    return tmp_path / "outputs"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test in which a picture was to be drawn; the commands would tell of it as of any other error."""
    asked: list[object] = []

    def never(*given: object, **options: object) -> None:
        asked.append(given)
        raise RuntimeError("it was drawn")

    monkeypatch.setattr(zk.Session, "submit", never)
    monkeypatch.setattr(zk.Session, "start", never)
    yield
    assert not asked


def places(folder: Path, ending: str) -> list[Path]:
    """Paths that cannot be written: a folder, below a file, in the system's own place, names that are too long."""
    (folder / f"folder{ending}").mkdir()
    (folder / "file").touch()
    long = "x" * 300
    return [folder / f"folder{ending}", folder / "file" / f"x{ending}", Path(f"/proc/x{ending}"),
            folder / f"{long}{ending}", folder / long / f"x{ending}", folder / "x.gif", folder / "x"]  # fmt: skip


@pytest.mark.parametrize("ending", ENDS)
def test_a_picture_that_cannot_be_written_is_not_drawn(tmp_path: Path, drawn: None, ending: str) -> None:
    for path in places(tmp_path, ending):
        assert cli.call(["run", "a boat", "--inline", "--model", "nano", "-o", str(path)]) == 1, path
        with pytest.raises(UsageError, match="%%imagine: .*(written|folder|suffix)"):
            imagine(f"--model nano -o {path} a boat")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".html", ".csv", ".json"])
def test_a_grid_that_cannot_be_written_is_not_drawn(tmp_path: Path, drawn: None, ending: str) -> None:
    for path in places(tmp_path, ending):
        assert cli.call(["grid", "a boat", "--inline", "--x", "seed=1,2", "-o", str(path)]) == 1, path


def test_without_a_path_the_outputs_folder_is_looked_at(outputs: Path, drawn: None) -> None:
    outputs.touch()  # a file in its place
    assert cli.call(["run", "a boat", "--inline", "--model", "nano"]) == 1
    assert cli.call(["grid", "a boat", "--inline", "--x", "seed=1,2"]) == 1
    with pytest.raises(UsageError, match="cannot be written"):
        imagine("--model nano --save a boat")


def test_a_rerun_that_cannot_be_written_is_not_drawn(
    tmp_path: Path, outputs: Path, request: pytest.FixtureRequest
) -> None:
    picture = tmp_path / "boat.png"
    line = ["run", "a boat", "--inline", "--model", "nano", "--size", "64x64", "--steps", "1", "-o", str(picture)]
    assert cli.call(line) == 0
    request.getfixturevalue("drawn")
    for path in places(tmp_path, ".jpg"):
        assert cli.call(["recipe", "rerun", str(picture), "--inline", "-o", str(path)]) == 1, path
    outputs.touch()
    assert cli.call(["recipe", "rerun", str(picture), "--inline"]) == 1


def test_a_line_is_cut_between_characters_as_readers_count_them() -> None:
    family = "👨‍👩‍👧"
    assert _short(family * 61) == family * 59 + "…" and _short(family * 60) == family * 60
    assert _short("e\u0301" * 61) == "e\u0301" * 59 + "…"
