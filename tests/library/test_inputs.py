"""Inputs in a library's folder: they are no pictures of it, and stay as long as anything uses them."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from zimage_kit import Artifact, cli
from zimage_kit.library.library import Library
from zimage_kit.recipe import asset


def old(outputs: Path, content: bytes) -> tuple[asset.Asset, Path]:
    found = asset.store(content, "mask.png", outputs)
    path = outputs / "assets" / found.place
    os.utime(path, (1e9, 1e9))
    return found, path


@pytest.fixture
def outputs(home: Path) -> Path:
    (home / "outputs").mkdir()
    return home / "outputs"


def test_inputs_are_not_listed_and_cleaned_only_when_nothing_uses_them(outputs: Path, artifact: Artifact) -> None:
    Image.new("L", (8, 8)).save(outputs / "mask.png")
    used, path = old(outputs, (outputs / "mask.png").read_bytes())
    (outputs / "mask.png").unlink()
    _, unused = old(outputs, b"nobody's")
    asset.store(b"of a picture that is to be made", "new.png", outputs)
    stage = {"kind": "inpaint", "mask": str(used)}
    made = Artifact(artifact.image, artifact.request.but(stages=[stage]), artifact.trace)
    saved = made.save(folder=outputs)
    with closing(Library(outputs)) as library:
        assert [each.path for each in library.search()] == [saved] and not library.problems()
        plan = library.clean("100000d")
        assert plan.inputs == (unused,) and "1 input" in str(plan)
        assert unused.exists(), "nothing goes until it is told to"
        plan.remove()
        assert path.exists() and not unused.exists()
        library.remove([saved])
        assert not library.clean("100000d").inputs, "it may come back from the trash"
        library.empty_trash()
        assert library.clean(timedelta(days=1)).inputs == (path,)
    assert cli.call(["library", "clean", "--older-than", "7d", "--yes"]) == 0
    assert not path.exists()
