"""Control: what a picture becomes, and several conditions that act together on one picture."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from safetensors.torch import load_file, save_file

import zimage_kit as zk
from zimage_kit import Context, Request, Session
from zimage_kit.engine.controlnet import ControlNets
from zimage_kit.engine.preflight import check
from zimage_kit.errors import BadRequest
from zimage_kit.models.spec import NANO
from zimage_kit.stages import contract, extensions
from zimage_kit.stages.stage import Call

control: Any = extensions.load_module("control")
pictures = control.pictures
Control, Pose = zk.stages.control, zk.stages.pose


def difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())


def photograph(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A red disc before a coloured sky, with the noise of a camera."""
    width, height = size
    sky = np.linspace(60, 220, height)[:, None, None] * np.array([0.5, 0.8, 1.0])
    pixels = np.broadcast_to(sky, (height, width, 3)) + np.random.default_rng(1).normal(0, 2, (height, width, 3))
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    ImageDraw.Draw(image).ellipse(box, fill=(180, 20, 30))
    return image.filter(ImageFilter.GaussianBlur(0.7))


def drawing(ink: str = "black", paper: str = "white") -> Image.Image:
    image = Image.new("RGB", (256, 256), paper)
    ImageDraw.Draw(image).ellipse((60, 60, 200, 200), outline=ink, width=3)
    return image


def depth() -> Image.Image:
    return Image.fromarray(np.tile(np.linspace(0, 255, 256).astype(np.uint8), (256, 1)))


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Path]:
    """A picture as a file."""

    def keep(image: Image.Image, name: str = "picture.png", **how: Any) -> Path:
        image.save(tmp_path / name, **how)
        return tmp_path / name

    return keep


def test_it_keeps_the_contract() -> None:
    contract.check("control")


@pytest.mark.parametrize("kind", ["canny", "scribble"])
def test_outlines_of_a_photograph_are_white_on_black(kind: str, kept: Callable[..., Path]) -> None:
    made = Control(picture=kept(photograph()), type=kind).control_picture(320, 240)
    pixels = np.asarray(made)
    assert pixels.shape == (240, 320, 3) and set(np.unique(pixels)) == {0, 255}
    assert 0.002 < (pixels > 0).mean() < 0.1
    rows, columns = np.nonzero(pixels[..., 0])
    for found, wanted in zip((rows.min(), rows.max(), columns.min(), columns.max()), (60, 180, 80, 240), strict=True):
        assert abs(found - wanted) <= 8, "the outline is the disc's"


def test_lower_thresholds_find_more_edges(kept: Callable[..., Path]) -> None:
    path = kept(photograph().filter(ImageFilter.GaussianBlur(6)))
    few, more = (
        Control(picture=path, low=low, high=high).control_picture(320, 240) for low, high in ((100, 200), (5, 20))
    )
    assert np.asarray(few).sum() < np.asarray(more).sum()


def test_grey_has_the_photographs_light(kept: Callable[..., Path]) -> None:
    image = photograph()
    made = Control(picture=kept(image), type="gray").control_picture(320, 240)
    assert difference(made, image.convert("L").convert("RGB")) == 0


@pytest.mark.parametrize(
    ("image", "kind", "made"),
    [
        (photograph(), "canny", False),
        (photograph().convert("L"), "canny", False),
        (drawing(), "canny", True),
        (drawing("white", "black"), "scribble", True),
        (drawing("white", "black"), "mlsd", True),
        (depth(), "depth", True),
        (depth(), "canny", False),
        (photograph(), "depth", False),
        (photograph(), "hed", False),
        (drawing("white", "black").filter(ImageFilter.GaussianBlur(2)), "hed", True),
    ],
)
def test_a_photograph_is_told_from_a_map(image: Image.Image, kind: str, made: bool) -> None:
    assert pictures.looks_made(image.convert("RGB"), kind) is made


def test_a_jpeg_of_a_drawing_is_still_a_drawing(kept: Callable[..., Path]) -> None:
    with Image.open(kept(drawing(), "drawing.jpg", quality=60)) as image:
        assert pictures.looks_made(image.convert("RGB"), "scribble")


def test_black_on_white_is_inverted_and_told(kept: Callable[..., Path]) -> None:
    call, notes = conditioned(Control(picture=kept(drawing()), type="scribble"), 256, 256)
    assert difference(call.controls[0].picture, drawing("white", "black")) == 0
    assert notes == ["control: scribble from picture.png; black on white, so inverted"]


def test_depth_is_taken_as_it_is_even_if_it_is_bright(kept: Callable[..., Path]) -> None:
    near = Image.new("L", (256, 256), 230)
    made = Control(picture=kept(near), type="depth").control_picture(256, 256)
    assert difference(made, near.convert("RGB")) == 0


def test_a_photograph_is_no_depth_picture_unless_one_says_so(kept: Callable[..., Path]) -> None:
    path = kept(photograph())
    with pytest.raises(BadRequest, match="looks like a photograph, not like a depth picture"):
        check(Request(prompt="a cat", model="nano").then(Control(picture=path, type="depth")))
    assert Control(picture=path, type="depth", source="map").control_picture(320, 240).size == (320, 240)
    with pytest.raises(BadRequest, match="the network that makes one"):
        Control(picture=path, type="depth", source="photo")


def test_shapes_that_differ(kept: Callable[..., Path]) -> None:
    path = kept(Image.new("RGB", (300, 100), "white"))
    asked = {"picture": path, "type": "gray"}
    assert np.asarray(Control(**asked, fit="crop").control_picture(128, 128)).min() == 255
    padded = np.asarray(Control(**asked, fit="pad").control_picture(128, 128))
    assert padded[:40].max() == padded[-40:].max() == 0 and padded[60:68].min() == 255
    assert np.asarray(Control(**asked, fit="stretch").control_picture(128, 128)).min() == 255
    _, notes = conditioned(Control(**asked), 128, 128)
    assert notes == ["control: gray made of picture.png; its middle, since it is 300x100"]


def test_files_as_people_have_them(kept: Callable[..., Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = kept(depth().convert("RGB"), "lying.jpg", exif=exif, quality=95)
    upright = np.asarray(Control(picture=lying, type="depth").control_picture(256, 256))[..., 0]
    assert upright[0].mean() < 10 and upright[-1].mean() > 245, "a phone's photo is turned upright"
    cut = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    cut.paste(drawing().convert("RGBA").crop((50, 50, 210, 210)), (50, 50))
    made = Control(picture=kept(cut), type="scribble").control_picture(256, 256)
    assert difference(made, drawing("white", "black")) == 0, "what is transparent is paper"
    sixteen = Image.fromarray(np.asarray(depth(), np.uint16) * 257)
    assert (
        difference(
            Control(picture=kept(sixteen, "deep.png"), type="depth").control_picture(256, 256), depth().convert("RGB")
        )
        == 0
    )


@pytest.mark.parametrize("kind", ["canny", "scribble"])
@pytest.mark.parametrize("image", [photograph((320, 96)), drawing().resize((256, 64)), Image.new("L", (900, 1), 200)])
def test_bars_of_padding_are_no_part_of_the_picture(image: Image.Image, kind: str, kept: Callable[..., Path]) -> None:
    made = np.asarray(Control(picture=kept(image), type=kind, fit="pad", source=None).control_picture(128, 128))
    rows = made.mean(axis=(1, 2))
    assert rows[:46].max() < 3 and rows[82:].max() < 3, "nor is their border an edge"
    assert (image.height == 1) or 2 < rows[48:80].mean() < 120, "black on white is inverted all the same"


def test_white_lines_on_nothing_are_lines(kept: Callable[..., Path]) -> None:
    cut = Image.new("RGBA", (256, 256), (255, 255, 255, 0))
    cut.paste("white", (0, 0), drawing("white", "black").convert("L"))
    call, notes = conditioned(Control(picture=kept(cut), type="scribble"), 256, 256)
    assert difference(call.controls[0].picture, drawing("white", "black")) == 0
    assert "what is transparent is black, since the rest is white" in notes[0]


def test_what_was_chosen_and_an_empty_picture_are_told(kept: Callable[..., Path]) -> None:
    path = kept(drawing(), "moving.gif", save_all=True, append_images=[photograph((256, 256))])
    assert "the first of 2 frames was taken" in conditioned(Control(picture=path, type="scribble"), 64, 64)[1][0]
    flat = kept(Image.new("RGB", (256, 256), (120, 130, 140)))
    for kind in ("canny", "scribble"):
        assert "no lines were found" in conditioned(Control(picture=flat, type=kind), 64, 64)[1][0]


def test_an_opencv_that_cannot_be_imported_is_one_sentence(
    kept: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    with pytest.raises(BadRequest, match=r"opencv-python cannot be imported \(libGL"):
        Control(picture=kept(photograph()), type="canny").control_picture(64, 64)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"picture": "."}, "control.picture=.* is a folder"),
        ({}, "control has no picture"),
        ({"picture": "~nobody-of-this-name/a.png"}, "control.picture=.*~nobody-of-this-name/a.png does not exist"),
        ({"picture": "a" * 300}, "does not exist"),
        ({"picture": photograph()}, "control.picture=<PIL.*expected a path"),
        ({"picture": "nowhere.png"}, r"control.picture=.*nowhere.png does not exist"),
        ({"picture": __file__}, "cannot be read"),
        ({"picture": "x.png", "start": 0.5, "end": 0.5}, "leave no step"),
        ({"picture": "x.png", "low": 300, "high": 200}, "low=300 is above high=200"),
        ({"picture": "x.png", "type": "openpose"}, "type"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_loaded(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        check(Request(prompt="a cat", model="nano").then(Control(**fields)))


def test_kind_is_taken_for_type(kept: Callable[..., Path]) -> None:
    path = kept(depth())
    assert Control(picture=path, kind="depth") == Control(picture=path, type="depth")
    assert Control(picture=path, kind="depth").data().kind == "control"


def conditioned(stage: Any, width: int, height: int) -> tuple[Call, list[str]]:
    """The call that a stage makes of a plain one, and its notes."""
    request = Request(prompt="a cat", model="nano", width=width, height=height)
    notes: list[str] = []
    call = Call("a cat", "", width, height, 8, 0.0, 1)
    return stage.before(call, Context(request, note=notes.append)), notes


# Several at once


@pytest.fixture
def girl() -> Request:
    return Request(prompt="a girl in a red dress on the grass", model="nano", seed=5, width=256, height=256)


@pytest.fixture
def lines(kept: Callable[..., Path]) -> Path:
    return kept(drawing())


def test_two_halves_of_a_condition_are_the_whole(session: Session, girl: Request, lines: Path) -> None:
    whole = session.run(girl.then(Control(picture=lines, type="scribble", scale=0.8))).image
    half = Control(picture=lines, type="scribble", scale=0.4)
    assert difference(session.run(girl.then(half, half)).image, whole) <= 2
    assert difference(session.run(girl).image, whole) > 50


def test_a_pose_and_a_picture_act_together_in_flat_code_and_in_diffusers(
    session: Session, plain: Session, girl: Request, lines: Path
) -> None:
    both = girl.then(Pose(preset="waving"), Control(picture=lines, type="scribble", scale=0.5, end=0.5))
    made = session.run(both)
    told = [note for note in made.trace.notes if note.startswith("ControlNet")]
    assert ["scale 0.9 on steps 1 to 8" in told[0], "scale 0.5 on steps 1 to 4" in told[1]] == [True, True]
    assert difference(plain.run(both).image, made.image) <= 1
    for alone in (girl.then(both.stages[0]), girl.then(both.stages[1])):
        assert difference(session.run(alone).image, made.image) > 20


def test_one_file_is_loaded_once_and_two_files_side_by_side(
    session: Session, girl: Request, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    load = ControlNets._load
    monkeypatch.setattr(ControlNets, "_load", lambda self, file, *how: (loaded.append(file), load(self, file, *how))[1])
    session.unload()
    folder = NANO.controlnet.path  # type: ignore[union-attr]
    other = Path(shutil.copytree(folder, tmp_path / "other")) / "diffusion_pytorch_model.safetensors"
    weights = {name: weight * (2 if "after_proj" in name else 1) for name, weight in load_file(other).items()}
    save_file({name: weight.contiguous() for name, weight in weights.items()}, other)
    lightly = {"picture": lines, "type": "scribble", "scale": 0.4}
    session.run(girl.then(Pose(preset="waving"), Control(**lightly)))
    assert len(loaded) == 1
    one = held(session)
    doubled = session.run(girl.then(Control(**{**lightly, "scale": 0.8}))).image
    assert difference(session.run(girl.then(Control(**lightly, controlnet=other))).image, doubled) <= 2
    assert [path.parent.name for path in loaded] == ["controlnet", "other"] and held(session) == one, "one at a time"
    mixed = session.run(girl.then(Control(**lightly), Control(**lightly, controlnet=other))).image
    assert held(session) == 2 * one
    assert difference(session.run(girl.then(Control(**{**lightly, "scale": 1.2}))).image, mixed) <= 2
    assert held(session) == one, "what is not used any more has gone"


def held(session: Session) -> int:
    return sum(size for name, size in session.status().workers[0].held.items() if name.startswith("controlnet"))


def test_memory_changes_no_pixel(session: Session, girl: Request, lines: Path) -> None:
    both = girl.but(width=128, height=128)
    both = both.then(Pose(preset="waving"), Control(picture=lines, type="scribble", scale=0.5))
    wanted = session.run(both).image
    with zk.connect("inline", device="cpu", memory="118MB") as small:
        made = small.run(both)
        assert small.status().workers[0].plan["streamed_blocks"]
    assert difference(made.image, wanted) == 0


def test_the_picture_and_how_it_is_read_are_part_of_the_identity(
    session: Session, girl: Request, lines: Path, kept: Callable[..., Path]
) -> None:
    made = session.run(girl.then(Control(picture=lines, type="scribble")))
    names = [name for name in made.trace.identity if name.startswith("stage 1 control")]
    assert {"stage 1 control controlnet", "stage 1 control picture"} <= set(names)
    assert "stage 1 control opencv" not in names, "a drawing is taken as it is"
    kept(drawing().rotate(20, fillcolor="white"))
    assert difference(session.run(girl.then(Control(picture=lines, type="scribble"))).image, made.image) > 5
    kept(photograph())
    found = session.run(girl.then(Control(picture=lines, type="scribble"))).trace.identity
    assert "stage 1 control opencv" in found


def test_nano_says_that_it_knows_skeletons_and_edges_only(
    session: Session, girl: Request, lines: Path, kept: Callable[..., Path]
) -> None:
    notes = session.run(girl.then(Control(picture=lines, type="scribble"))).trace.notes
    assert not any("may guide it little" in note for note in notes)
    notes = session.run(girl.then(Control(picture=kept(depth()), type="depth"))).trace.notes
    assert "nano's ControlNet was trained with pose, canny, scribble, so depth may guide it little" in notes


def test_none_of_it_is_none_of_it(session: Session, girl: Request) -> None:
    without = session.run(girl.then(Control(picture="nowhere.png", scale=0))).image
    assert without.tobytes() == session.run(girl).image.tobytes()
