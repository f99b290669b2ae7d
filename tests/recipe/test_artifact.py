"""A PNG carries the recipe and gives it back; what it does not say is told, not guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from PIL.PngImagePlugin import PngInfo

import zimage_kit as zk
from zimage_kit import Artifact
from zimage_kit.errors import NoRecipe
from zimage_kit.recipe.identity import differences
from zimage_kit.recipe.verdict import compare, judge


def png_with(path: Path, **chunks: str) -> Path:
    info = PngInfo()
    for key, text in chunks.items():
        info.add_itxt(key, text)
    Image.new("RGB", (64, 64), "teal").save(path, pnginfo=info)
    return path


def test_a_png_gives_back_picture_request_and_trace(artifact: Artifact, tmp_path: Path) -> None:
    again = zk.open(artifact.save(tmp_path / "x.png"))
    assert again.request == artifact.request
    assert again.trace == artifact.trace
    assert np.array_equal(np.asarray(again.image), np.asarray(artifact.image))


def test_other_programs_read_the_chunks(artifact: Artifact, tmp_path: Path) -> None:
    path = artifact.save(tmp_path / "x.png")
    with Image.open(path) as file:
        texts = dict(file.info)
    assert set(texts) >= {"zimage_kit", "parameters", "Software"}
    assert json.loads(texts["zimage_kit"])["request"]["prompt"] == "海上生明月, a boat"
    assert texts["Software"] == f"zimage_kit {zk.__version__}"
    assert texts["parameters"].splitlines() == [
        "海上生明月, a boat",
        "Steps: 8, Sampler: Euler, Schedule type: Flow match, CFG scale: 1, Seed: 7, Size: 64x64, "
        f"Model hash: 0123456789abcdef, Model: nano, Version: zimage_kit {zk.__version__}",
    ]


def test_a_recipe_with_a_stage_that_is_not_installed_can_still_be_read(artifact: Artifact, tmp_path: Path) -> None:
    request = artifact.request.then({"kind": "from_elsewhere", "strength": 3})
    path = Artifact(artifact.image, request, artifact.trace).save(tmp_path / "x.png")
    assert zk.open(path).request.stages[0].fields() == {"strength": 3}


def test_pictures_without_a_recipe_say_so(tmp_path: Path) -> None:
    with pytest.raises(NoRecipe, match="carries no recipe"):
        zk.open(png_with(tmp_path / "bare.png"))
    with pytest.raises(NoRecipe, match="ComfyUI"):
        zk.open(png_with(tmp_path / "comfy.png", prompt='{"3": {}}', workflow="{}"))
    with pytest.raises(NoRecipe, match="no file"):
        zk.open(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(NoRecipe, match="not a readable picture"):
        zk.open(tmp_path / "text.png")


@pytest.mark.parametrize(
    "recipe", ["{", "[]", "{}", '{"request": {"version": 99}, "trace": {}}', '{"request": {"prompt": 3}, "trace": {}}']
)
def test_a_recipe_from_the_future_or_a_broken_one_is_told(tmp_path: Path, recipe: str) -> None:
    with pytest.raises(NoRecipe, match="cannot read") as caught:
        zk.open(png_with(tmp_path / "x.png", zimage_kit=recipe))
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_told(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(artifact.png_bytes()[:-2000])
    with pytest.raises(NoRecipe, match="not a readable picture"):
        zk.open(tmp_path / "x.png")


def test_from_image_names_the_picture_and_leaves_it_alone() -> None:
    original = Image.new("RGBA", (64, 64), (1, 2, 3, 4))
    before = original.tobytes()
    artifact = Artifact.from_image(original)
    assert (artifact.image.mode, original.mode, original.tobytes()) == ("RGBA", "RGBA", before)
    assert len(artifact.request.source or "") == 64
    opaque = Artifact.from_image(original.convert("RGB"))
    assert opaque.image.mode == "RGB"
    assert Artifact.from_image(opaque.image.convert("RGBA")).request == opaque.request, "alpha that hides nothing"


def test_a_notebook_keeps_a_small_picture(artifact: Artifact) -> None:
    shown = artifact._repr_mimebundle_()
    assert set(shown) == {"image/jpeg", "text/plain"}
    assert shown["image/jpeg"].startswith(b"\xff\xd8")
    assert "seed 7" in shown["text/plain"]


def test_diff_names_fields_and_pixels(artifact: Artifact) -> None:
    other = Artifact(artifact.image.filter(ImageFilter.GaussianBlur(3)), artifact.request.but(seed=8), artifact.trace)
    difference = artifact.diff(other)
    assert difference.fields == {"seed": (7, 8)}
    assert difference.pixels is not None
    assert difference.pixels.largest > 0
    assert "seed: 7 -> 8" in str(difference)


def test_the_verdict_says_what_changed_around_the_recipe() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    nudged = image.point([min(255, value + 1) for value in range(256)] * 3)
    then, now = {"device": "cpu", "torch": "2.11"}, {"device": "cuda:0", "torch": "2.15"}
    assert judge(image, image.copy(), differences(then, now)).state == "identical"
    near = judge(image, image.point([v + (v == 100) for v in range(256)] * 3), differences(then, now))
    assert near.state == "within tolerance"
    assert bool(near)
    assert "device was cpu, is cuda:0; torch was 2.11, is 2.15" in str(near)
    far = judge(image, nudged, ())
    assert far.state == "different"
    assert not far
    assert "the file was changed" in str(far)
    assert judge(image, image.resize((64, 64)), ()).state == "different"


def test_comparing_gives_the_share_of_pixels_that_differ() -> None:
    one = Image.new("RGB", (10, 10))
    other = one.copy()
    other.putpixel((3, 4), (0, 30, 0))
    pixels = compare(one, other)
    assert (pixels.largest, pixels.share, pixels.mean) == (30, 0.01, pytest.approx(0.1))
