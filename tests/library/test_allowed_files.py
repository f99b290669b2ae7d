"""A page that others reach names files in some folders only: pictures, LoRAs, models, fonts, networks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit import Request, Session, files
from zimage_kit.engine.preflight import check
from zimage_kit.errors import BadRequest
from zimage_kit.grid.axis_table import table_of
from zimage_kit.grid.axis_values import parse_values
from zimage_kit.recipe import asset

OUTSIDE = "in none of the folders that may be named here.*--files FOLDER"


@pytest.fixture
def allowed(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose files may be named, beside the outputs; the folder above it has a picture as well."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    for path in (tmp_path / "secret.png", folder / "mask.png"):
        Image.new("L", (64, 64), 255).save(path)
    monkeypatch.setenv(files.ALLOWED, os.pathsep.join(map(str, (folder, home / "outputs"))))
    return folder


@pytest.fixture
def ways(allowed: Path) -> list[Path]:
    """Ways to name the secret."""
    (allowed / "link.png").symlink_to(allowed.parent / "secret.png")
    (allowed / "up").symlink_to(allowed.parent)
    (allowed / "circle").symlink_to(allowed / "circle")
    return [allowed.parent / "secret.png", allowed / ".." / "secret.png", allowed / "link.png",
            allowed / "up" / "secret.png", allowed / "circle", Path("/etc/passwd"), Path("~root/x.png")]  # fmt: skip


def test_a_picture_outside_is_refused_however_it_is_named(allowed: Path, ways: list[Path], model: str) -> None:
    base = Request(prompt="a boat", model="nano", width=64, height=64, steps=1, seed=1)
    inside = check(base.then(zk.stages.inpaint(mask=allowed / "mask.png", prompt="a cat")))
    assert asset.named(inside.request)[0].name == "mask.png"
    for path in ways:
        with pytest.raises(BadRequest, match=OUTSIDE):
            check(base.then(zk.stages.inpaint(mask=path, prompt="a cat")))
        with pytest.raises(BadRequest, match=OUTSIDE):
            asset.file_of(path)


def test_loras_models_networks_and_fonts_outside_are_refused(allowed: Path, ways: list[Path]) -> None:
    base = Request(prompt="a boat", model="nano", width=64, height=64, steps=1, seed=1)
    for path in ways:
        for request in (
            base.but(loras=[(str(path), 1.0)]),
            base.but(model=str(path)),
            base.then(zk.stages.upscale(weights=str(path))),
            base.then(zk.stages.text_overlay(text="x", font=str(path))),
        ):
            with pytest.raises(BadRequest, match=OUTSIDE):
                check(request)
    assert check(base.but(loras=["papercut"])).request.loras, "a name in a LoRA folder is no path"


def test_axes_grids_poses_and_pictures_outside_are_refused(allowed: Path, ways: list[Path]) -> None:
    (allowed / "prompts.txt").write_text("a boat\na cat")
    assert parse_values("prompt", f"@{allowed / 'prompts.txt'}") == ["a boat", "a cat"]
    for path in ways:
        with pytest.raises(BadRequest, match=OUTSIDE):
            parse_values("prompt", f"@{path}")
        for named in (table_of, zk.Grid.open, zk.open):
            with pytest.raises(BadRequest, match=OUTSIDE):
                named(path)
        fields = ("pose", "people"), ("pose", "photo"), ("pose", "controlnet"), ("control", "picture")
        for kind, field in fields:
            request = Request(prompt="a boat", model="nano", seed=1, stages=[{"kind": kind, field: str(path)}])
            with pytest.raises(BadRequest, match=OUTSIDE):
                check(request)


def test_the_library_compares_with_no_picture_outside(allowed: Path, ways: list[Path], home: Path) -> None:
    (home / "outputs").mkdir()
    Image.new("L", (64, 64), 255).save(home / "outputs" / "mine.png")
    library = zk.library()
    assert library.search(like="mine.png").total == 1
    assert library.search(like=allowed / "mask.png").total == 1
    for path in ways:
        with pytest.raises(BadRequest, match=OUTSIDE):
            library.search(like=path)
    library.close()


def test_a_process_without_restriction_names_what_it_likes(session: Session, tmp_path: Path) -> None:
    assert files.ALLOWED not in os.environ
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    assert asset.file_of(tmp_path / "mask.png").is_file()
