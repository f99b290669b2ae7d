"""Inpaint: what is drawn again, that everything else stays bit for bit, and what lies beyond a picture's edges."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session, nano
from zimage_kit.engine.autoencoder import mask_of
from zimage_kit.engine.denoise import Begun, Kept
from zimage_kit.engine.preflight import check
from zimage_kit.errors import BadRequest
from zimage_kit.nano import judge
from zimage_kit.stages import contract, extensions

Inpaint = zk.stages.inpaint
inpaint: Any = import_module(f"{extensions.load_module('refine').__name__}.inpaint")
BOX = (48, 72, 216, 236)
Keep = Callable[..., Path]


@pytest.fixture(scope="module")
def boat(session: Session) -> Artifact:
    return session.run("a red boat on the sea", seed=3, model="nano")


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    def save(image: Image.Image, name: str = "mask.png") -> Path:
        image.save(tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def mask(keep: Keep) -> Path:
    return keep(painted())


def painted(size: tuple[int, int] = (256, 256), box: tuple[int, int, int, int] = BOX, mode: str = "L") -> Image.Image:
    image = Image.new(mode, size)
    ImageDraw.Draw(image).rectangle(box, fill="white")
    return image


def changed(one: Image.Image, other: Image.Image) -> np.ndarray[Any, Any]:
    return np.abs(np.asarray(one.convert("RGB"), int) - np.asarray(other.convert("RGB"), int)).max(axis=2)


def outside() -> np.ndarray[Any, Any]:
    return np.asarray(painted()) == 0


@pytest.mark.parametrize("only_masked", [False, True])
def test_a_red_boat_becomes_blue_and_the_rest_stays(
    session: Session, boat: Artifact, mask: Path, only_masked: bool
) -> None:
    made = session.apply(boat, Inpaint(mask=mask, prompt="a blue boat on the sea", only_masked=only_masked))
    gaps = changed(made.image, boat.image)
    assert gaps[outside()].max() == 0 < 20 < gaps[~outside()].mean()
    before, after = (_colour(each.image) for each in (boat, made))
    assert (before, after) == ("red", "blue")
    assert session.apply(boat, made.request.stages[0]).image.tobytes() == made.image.tobytes()


def _colour(image: Image.Image) -> str:
    _, (verdict,) = judge.look(judge.load(nano.DIRECTORY / judge.FILE), [image])
    return verdict.colours["boat"][0]


def test_what_stays_is_in_every_step_what_the_picture_has_at_that_level() -> None:
    picture = Begun(torch.randn(1, 16, 8, 8), torch.randn(1, 16, 8, 8))
    levels = mask_of(painted((64, 64), (0, 0, 31, 63)))
    assert levels.shape == (1, 1, 8, 8) and levels[..., :4].min() == 1 and levels[..., 4:].max() == 0
    drawn = torch.randn(1, 16, 8, 8)
    found = Kept(picture, levels).blend(drawn, torch.tensor(0.25))
    assert torch.equal(found[..., :4], drawn[..., :4])
    assert torch.allclose(found[..., 4:], (0.75 * picture.clean + 0.25 * picture.noise)[..., 4:])
    assert torch.equal(Kept(picture, levels).blend(drawn, torch.tensor(0.0))[..., 4:], picture.clean[..., 4:])


def test_strength_says_how_much_may_change(session: Session, boat: Artifact, mask: Path) -> None:
    little, much = (session.apply(boat, Inpaint(mask=mask, strength=strength)) for strength in (0.2, 1.0))
    assert changed(little.image, boat.image).mean() < changed(much.image, boat.image).mean()
    assert (little.request.stages[0].steps, much.request.stages[0].steps) == (2, 8)
    nothing = session.apply(boat, Inpaint(mask="nowhere.png", strength=0))
    assert nothing.image.tobytes() == boat.image.tobytes()


def test_masks_as_people_have_them(session: Session, boat: Artifact, mask: Path, keep: Keep) -> None:
    quick = {"prompt": "a blue boat on the sea", "steps": 2, "strength": 0.5}
    wanted = session.apply(boat, Inpaint(mask=mask, **quick)).image.tobytes()
    black = Image.eval(painted(), lambda level: 255 - level)
    clear = Image.new("RGBA", (256, 256), (255, 255, 255, 0))
    clear.paste(Image.new("RGBA", (256, 256), "white"), mask=painted())
    for name, image, more in (
        ("inverted.png", black, {"invert": True}),
        ("rgb.png", painted(mode="RGB"), {}),
        ("one_bit.png", painted().convert("1"), {}),
        ("alpha.png", clear, {}),
    ):
        made = session.apply(boat, Inpaint(mask=keep(image, name), **quick, **more))
        assert made.image.tobytes() == wanted, name
    large = painted((512, 512), tuple(2 * side for side in BOX))  # type: ignore[arg-type]
    again = session.apply(boat, Inpaint(mask=keep(large, "large.png"), **quick))
    assert changed(again.image, boat.image)[outside()].max() == 0


def test_an_edge_is_feathered_within_the_mask(session: Session, boat: Artifact, mask: Path) -> None:
    hard, soft = (
        session.apply(boat, Inpaint(mask=mask, prompt="a blue boat", feather=feather)).image for feather in (0, 24)
    )
    left = slice(BOX[0], BOX[0] + 4)
    near = [changed(each, boat.image)[BOX[1] + 30 : BOX[3] - 30, left].mean() for each in (hard, soft)]
    assert near[1] < near[0]
    assert all(changed(each, boat.image)[outside()].max() == 0 for each in (hard, soft))


@pytest.mark.parametrize("wide", [1, 5, 40])
def test_a_thin_stroke_is_drawn_however_wide_its_edge_may_be(
    session: Session, boat: Artifact, keep: Keep, wide: int
) -> None:
    stroke = keep(painted(box=(60, 200, 200, 199 + wide)), "stroke.png")
    made = session.apply(boat, Inpaint(mask=stroke, prompt="a yellow boat", feather=32))
    gaps = changed(made.image, boat.image)
    there = np.asarray(Image.open(stroke)) > 0
    assert gaps[~there].max() == 0 < 5 < gaps[there].mean()


def test_a_thin_stroke_counts_whole_beside_a_thick_one() -> None:
    mask = painted(box=(100, 20, 230, 230))  # wide
    drawing = ImageDraw.Draw(mask)
    drawing.rectangle((20, 20, 24, 230), fill=255)  # thin, alone
    drawing.rectangle((90, 20, 93, 230), fill=255)  # thin, within the other's feather
    drawing.rectangle((40, 100, 100, 104), fill=255)  # thin, and joined to the wide one
    levels = inpaint._feathered(mask, 32)
    assert levels[125, 22] > 0.9 and levels[125, 91] > 0.9 and levels[102, 60] > 0.9
    assert levels[125, 165] > 0.9 and levels[125, 104] < 0.5, "the wide one fades over all its feather"
    assert not levels[np.asarray(mask) == 0].any()
    assert np.array_equal(inpaint._feathered(painted(), 0), np.asarray(painted()) / np.float32(255))


def test_a_mask_of_another_shape_is_stretched_and_the_trace_says_so(
    session: Session, boat: Artifact, keep: Keep
) -> None:
    quick = {"prompt": "a blue boat", "steps": 1, "strength": 0.3}
    notes = session.apply(boat, Inpaint(mask=keep(painted((300, 200))), **quick)).trace.notes
    assert "inpaint: the mask, 300x200, was stretched to 256x256" in notes
    notes = session.apply(boat, Inpaint(mask=keep(painted((512, 512), BOX)), **quick)).trace.notes
    assert not [note for note in notes if "stretched" in note]


@pytest.mark.parametrize(("by", "size"), [((32, 0, 32, 0), (320, 256)), ((0, 64, 0, 0), (256, 320))])
def test_a_picture_goes_on_beyond_its_edges(
    session: Session, boat: Artifact, by: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    made = session.apply(boat, Inpaint(extend=by))
    assert made.image.size == size
    old = made.image.crop((by[0], by[1], by[0] + 256, by[1] + 256))
    middle = (slice(32 if by[1] else 0, None), slice(32, -32) if by[0] else slice(None))
    assert changed(old, boat.image)[middle].max() == 0
    assert len(np.unique(np.asarray(made.image)[: by[1] or None, : by[0] or None].reshape(-1, 3), axis=0)) > 50


def test_an_alpha_channel_is_kept(session: Session, boat: Artifact, mask: Path) -> None:
    image = boat.image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L"))
    stage = Inpaint(mask=mask, prompt="a blue boat", steps=1, strength=0.3, extend="16")
    made = session.apply(image, stage.model_copy(update={"model": "nano"})).image
    assert (made.mode, made.size) == ("RGBA", (288, 288))
    alpha = np.asarray(made.getchannel("A"))
    assert np.array_equal(alpha[16:-16, 16:-16], np.asarray(Image.linear_gradient("L"))) and alpha[:16].min() == 255


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "inpaint has no mask"),
        ({"mask": "nowhere.png"}, "nowhere.png does not exist"),
        ({"mask": __file__}, "cannot be read"),
        ({"extend": (0, 0, 0, 0)}, "left, top, right and bottom"),
        ({"extend": (-16, 0, 0, 0)}, "left, top, right and bottom"),
        ({"extend": "wide"}, "extend"),
        ({"mask": __file__, "negative_prompt": "dull"}, "cannot be read|would be ignored"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_loaded(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        check(Request(prompt="a cat", model="nano").then(Inpaint(**fields)))


def test_a_mask_without_white_is_told(session: Session, boat: Artifact, keep: Keep) -> None:
    with pytest.raises(BadRequest, match="no white"):
        session.apply(boat, Inpaint(mask=keep(Image.new("L", (256, 256)))))


def test_the_mask_is_part_of_the_identity(session: Session, boat: Artifact, keep: Keep) -> None:
    stage = Inpaint(mask=keep(painted()), prompt="a blue boat", steps=1)
    request = boat.request.then(stage)
    first = session.run(request)
    assert session.run(request).image.tobytes() == first.image.tobytes()
    keep(painted(box=(0, 0, 100, 60)))
    second = session.run(request)
    assert second.image.tobytes() != first.image.tobytes()
    differing = {name for name in first.trace.identity if first.trace.identity[name] != second.trace.identity[name]}
    assert differing == {"stage 1 inpaint mask"}


def test_it_keeps_the_contract() -> None:
    contract.check("inpaint")
