"""The mask painter's side in Python: what the browser paints is kept by its content, and what comes back is shown."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import zimage_kit as zk
from zimage_kit import Session
from zimage_kit.errors import BadRequest
from zimage_kit.recipe import asset
from zimage_kit.stages import extensions
from zimage_kit.studio.translations import catalogue, languages

painter: Any = import_module(f"{extensions.load_module('refine').__name__}.painter")
MaskPainter = painter.MaskPainter


def painted(size: tuple[int, int] = (64, 48)) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse((10, 10, 40, 40), fill=255, outline=128)
    return mask


def paint(one: Any, mask: Image.Image) -> Any:
    """As the browser does; what it is answered."""
    answers: list[Any] = []
    one.send = answers.append
    one._told(one, {"do": "paint", "number": 7}, [memoryview(painter.packed(mask))])
    return answers


def test_a_mask_is_packed_and_comes_out_as_it_was() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8)
    for mask in (painted(), Image.fromarray(noise), Image.new("L", (2048, 2048), 255), Image.new("L", (1, 1))):
        there = painter.unpacked(painter.packed(mask))
        assert (there.size, there.tobytes()) == (mask.size, mask.tobytes())
    whole = painter.packed(painted())
    assert len(whole) < 1500
    for broken in (b"", b"\1", whole[:-4], whole + whole[-4:], b"\xff" * 40):
        with pytest.raises(BadRequest, match="damaged"):
            painter.unpacked(broken)


def test_what_is_painted_is_an_asset_of_the_outputs_folder(home: Path) -> None:
    one = MaskPainter(size=(64, 48), value={"feather": 3, "invert": True, "mask": None})
    seen: list[dict[str, Any]] = []
    one.observe(lambda change: seen.append(change["new"]), "value")
    assert paint(one, painted()) == [{"do": "kept", "number": 7, "failed": ""}]
    found = asset.parsed(one.value["mask"])
    assert found is not None and found.name == "mask.png"
    assert seen == [one.value] and set(one.value) == {"mask", "feather"}, "what is shown is inverted already"
    with Image.open(asset.find(found)) as file:
        assert (file.format, file.mode, file.tobytes()) == ("PNG", "L", painted().tobytes())
    assert one.stage(prompt="a boat").mask_at((64, 48)).tobytes() == painted().tobytes()
    one._told(one, {"do": "feather", "feather": 20}, [])
    assert one.value["feather"] == 20 and one.value["mask"] == str(found)
    paint(one, Image.new("L", (64, 48)))
    assert set(one.value) == {"feather"} and one.drawn == b""


def test_a_mask_that_was_set_is_shown_inverted_if_it_says_so(tmp_path: Path) -> None:
    painted().save(tmp_path / "mask.png")
    one = MaskPainter(size=(64, 48))
    one.value = {"mask": str(tmp_path / "mask.png")}
    assert painter.unpacked(one.drawn).tobytes() == painted().tobytes()
    one.value = {"mask": str(asset.of_file(tmp_path / "mask.png")), "invert": True}
    assert painter.unpacked(one.drawn).getpixel((0, 0)) == 255
    one.value = {"mask": str(tmp_path / "none.png")}
    assert "none.png does not exist" in one.problem and one.value["mask"].endswith("none.png")
    one.value = {}
    assert (one.problem, one.drawn) == ("", b"")


def test_it_goes_with_a_picture_in_any_cell(session: Session, tmp_path: Path) -> None:
    boat = session.run("a red boat", model="nano", width=64, height=64, steps=1, seed=1)
    for picture in (boat, boat.image, boat.save(tmp_path / "boat.png"), Image.new("RGBA", (64, 64))):
        one = zk.stages.inpaint.control(picture)
        assert one.size == (64, 64) and Image.open(io.BytesIO(one.backdrop)).size == (64, 64)
    paint(one, painted((64, 64)))
    assert "% of 64x64" in repr(one)
    assert Image.open(io.BytesIO(one._repr_mimebundle_()[0]["image/jpeg"])).size == (64, 64)
    made = session.apply(boat, zk.stages.inpaint(**one.value, steps=1))
    outside = np.asarray(painted((64, 64))) == 0
    assert np.array_equal(np.asarray(made.image)[outside], np.asarray(boat.image)[outside])
    with pytest.raises(BadRequest):
        one.stage(strength=2)


@pytest.mark.parametrize("language", languages())
def test_every_text_is_used_and_every_text_that_is_used_is_there(language: Any) -> None:
    script = (Path(painter.__file__).parent / "painter.js").read_text("utf-8")
    texts = {key.removeprefix("painter.") for key in catalogue(painter.TEXTS, language) if key.startswith("painter.")}
    assert texts and [key for key in texts if key not in script] == []
