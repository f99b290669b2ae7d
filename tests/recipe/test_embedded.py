"""Recipes inside JPEG and WebP: they come back whole, other programs find their line, and losses are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session
from zimage_kit.errors import BadRequest, CannotWrite, NoRecipe
from zimage_kit.recipe import embedded
from zimage_kit.recipe.artifact import Trace, read_recipe


def artifact_of(prompt: str, image: Image.Image | None = None) -> Artifact:
    image = image or Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    request = Request(prompt=prompt, model="nano", width=64, height=64, steps=1, guidance=0.0, seed=7)
    return Artifact(image, request, Trace(model="nano", notes=('<&> "quoted"',)))


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".webp", ".JPG"])
@pytest.mark.parametrize("prompt", ["a red boat", "海上的红色热气球 🎈", "</zk:recipe> & <b> \"q\" 's'\nsecond line"])
def test_a_recipe_comes_back_whole(tmp_path: Path, ending: str, prompt: str) -> None:
    made = artifact_of(prompt)
    path = made.save(tmp_path / f"x{ending}")
    found = zk.open(path)
    assert (found.request, found.trace, found.path) == (made.request, made.trace, path)
    assert read_recipe(path)[0] == made.request
    assert np.abs(np.asarray(found.image, int) - np.asarray(made.image, int)).max() <= 12
    with Image.open(path) as file:
        assert file.info["icc_profile"], "sRGB is named"
        line = embedded.texts(file)["parameters"]
    assert line.startswith(prompt) and "Seed: 7" in line


def test_an_editor_may_write_xmp_in_another_way() -> None:
    recipe = json.dumps({"a": '<b> & "c"'})
    packets = (
        '<x xmlns:q="urn:zimage_kit"><q:recipe>{"a": "&lt;b&gt; &amp; \\"c\\""}</q:recipe></x>',
        "<x xmlns:zk='urn:zimage_kit' zk:recipe='{&quot;a&quot;: &quot;&lt;b> &amp; \\&quot;c\\&quot;&quot;}'/>",
    )
    for packet in packets:
        image = Image.new("RGB", (8, 8))
        image.info["xmp"] = packet.encode()
        assert embedded.texts(image) == {"zimage_kit": recipe}, packet
    image.info["xmp"] = b"<x><zk:recipe>{}</zk:recipe></x>"
    assert embedded.texts(image) == {}, "another namespace's"


def test_a_recipe_can_be_left_out_and_quality_chosen(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    made = artifact_of("a secret", noise)
    for ending in (".png", ".jpg", ".webp"):
        content = made.save(tmp_path / f"x{ending}", recipe=False).read_bytes()
        assert b"secret" not in content and "secret".encode("utf-16-be") not in content
        with pytest.raises(NoRecipe, match="carries no recipe"):
            zk.open(tmp_path / f"x{ending}")
    assert len(made.encoded(".jpg", quality=40)) < len(made.encoded(".jpg")) < len(made.encoded(".png"))
    for quality in (0, 80.5, "high"):
        with pytest.raises(BadRequest, match=f"quality='?{quality}"):
            made.encoded(".webp", quality=quality)  # type: ignore[arg-type]


def test_what_is_transparent_becomes_white_in_a_jpeg_and_stays_in_a_webp() -> None:
    clear = artifact_of("x", Image.new("RGBA", (64, 64), (200, 0, 0, 0)))
    assert zk.open(clear.encoded(".jpg")).image.getpixel((5, 5)) == (255, 255, 255)
    assert zk.open(clear.encoded(".webp")).image.mode == "RGBA"


def test_a_recipe_that_is_too_long_for_a_jpeg_is_refused_with_what_holds_it() -> None:
    long = artifact_of("x" * 70_000)
    with pytest.raises(CannotWrite, match="Save it as PNG or WebP"):
        long.encoded(".jpg")
    assert zk.open(long.encoded(".webp")).request == long.request


@pytest.mark.parametrize(("ending", "side"), [(".webp", 16_384), (".jpg", 65_600)])
def test_a_picture_that_a_format_has_no_room_for_is_refused(ending: str, side: int) -> None:
    with pytest.raises(CannotWrite, match=f"{side}x8 pixels.*at most") as found:
        artifact_of("x", Image.new("RGB", (side, 8))).encoded(ending)
    assert "PNG" in found.value.mend


def test_verifying_a_jpeg_says_what_was_lost_and_that_the_picture_is_the_same(session: Session, tmp_path: Path) -> None:
    made = session.run("a red boat", model="nano", width=64, height=64, steps=1, seed=7)
    verdict = zk.open(made.save(tmp_path / "x.jpg", quality=30)).verify(session)
    assert verdict and verdict.state == "within tolerance"
    assert "the file is a JPEG, which does not keep every pixel; made again, the picture is the one" in str(verdict)
