"""Pose: what is read, what is drawn, and what the ControlNet makes of it; nano's people do follow the skeleton."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zimage_kit as zk
from zimage_kit import Artifact, Context, Request, Session
from zimage_kit.engine.controlnet import ControlNets
from zimage_kit.errors import BadRequest, ModelMissing
from zimage_kit.models.spec import NANO
from zimage_kit.nano import joints
from zimage_kit.stages import extensions
from zimage_kit.stages.stage import ControlNetInput

pose: Any = extensions.load_module("pose")
openpose, presets, skeleton, photo = pose.openpose, pose.presets, pose.skeleton, pose.photo
Pose = zk.stages.pose


def difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())


def figure(x: float = 0.5) -> dict[str, list[float]]:
    """A standing person of OpenPose JSON, with one hand and a face, as fractions; the left ear is not seen."""
    body = presets.points("standing", "adult")
    body[:, 0] = x + body[:, 0] * 0.4
    body[17] = 0
    hand = np.column_stack((np.linspace(x, x + 0.05, 21), np.linspace(0.5, 0.6, 21), np.ones(21)))
    face = np.column_stack((np.linspace(x - 0.02, x + 0.02, 70), np.full(70, 0.1), np.ones(70)))
    return {
        "pose_keypoints_2d": body.ravel().tolist(),
        "hand_left_keypoints_2d": hand.ravel().tolist(),
        "face_keypoints_2d": face.ravel().tolist(),
    }


# What is read


def test_openpose_json_is_read_as_a_file_as_text_and_as_an_object(tmp_path: Path) -> None:
    data = {"people": [figure(0.3), figure(0.7)], "canvas_width": 640, "canvas_height": 480}
    (tmp_path / "two.json").write_text(json.dumps(data))
    one, other, third, fourth = (
        Pose(people=given) for given in (tmp_path / "two.json", json.dumps(data), data, [data])
    )
    assert one == other == third == fourth
    assert one.canvas == (640, 480)
    assert len(one.people) == 2
    assert Pose(people=str(tmp_path / "two.json")) == one


def test_pixels_of_a_canvas_are_fractions_inside_and_come_out_again() -> None:
    stage = Pose(people={"people": [figure()], "canvas_width": 400, "canvas_height": 800})
    text = stage.openpose_json(400, 800)
    data = json.loads(text)
    assert (data["canvas_width"], data["canvas_height"]) == (400, 800)
    assert max(data["people"][0]["pose_keypoints_2d"][0::3]) > 100
    again = Pose(people=text)
    assert np.allclose(again.people[0].body, stage.people[0].body, atol=1e-4)
    assert np.allclose(again.people[0].hands[0], stage.people[0].hands[0], atol=1e-4)
    assert again.people[0].body[17].tolist() == [0, 0, 0], "what is missing stays missing"


def test_the_other_body_model_of_openpose_is_understood() -> None:
    eighteen = presets.points("waving", "adult")
    order = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
    of_25 = np.zeros((25, 3))
    of_25[order] = eighteen
    (person,) = Pose(people=[{"pose_keypoints_2d": of_25.ravel().tolist()}]).people
    assert np.allclose(person.body, eighteen, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"preset": "wavin"}, "Did you mean waving?"),
        ({"preset": "waving", "photo": "me.jpg"}, "one of preset, people and photo"),
        ({"people": "nowhere.json"}, "a file with OpenPose JSON"),
        ({"people": "[1"}, "expected OpenPose JSON"),
        ({"people": []}, "at least one person"),
        ({"people": [{"pose_keypoints_2d": [0.1] * 9}]}, "18 points"),
        ({"people": [{"pose_keypoints_2d": [0.0] * 54}]}, "confidence above 0"),
        ({"people": [{"pose_keypoints_2d": [300.0] * 54}]}, "canvas_width"),
        ({"start": 0.9, "end": 0.2}, "start below end"),
        ({"scale": 3}, "expected 0 to 2"),
    ],
)
def test_what_cannot_be_a_pose_is_told_in_one_line(fields: dict[str, Any], said: str) -> None:
    if fields.get("people") == []:
        assert Pose(**fields) == Pose(), "nobody given is as if nothing were"
        return
    with pytest.raises(BadRequest) as caught:
        Pose(**fields)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# What is drawn


def test_there_are_more_than_ten_named_poses_and_all_fit_into_the_picture() -> None:
    assert {"standing", "waving", "running", "sitting", "arms_up"} <= set(presets.ANGLES)
    assert len(presets.ANGLES) >= 10
    for name in presets.ANGLES:
        for body in ("adult", "small"):
            for size in ((512, 512), (320, 192), (192, 320)):
                (person,) = Pose(preset=name, body=body).figures(*size)
                assert person.body[:, :2].min() >= 0.0, (name, body, size)
                assert person.body[:, :2].max() <= 1.0, (name, body, size)


def in_pixels(**more: Any) -> dict[str, Any]:
    points = np.asarray(figure()["pose_keypoints_2d"], float).reshape(-1, 3) * (512, 512, 1)
    return {"people": [{"pose_keypoints_2d": points.ravel().tolist()}], **more}


SQUARE = {"canvas_width": 512, "canvas_height": 512}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le with a mark"])
def test_files_are_read_in_the_encodings_that_editors_write(tmp_path: Path, encoding: str) -> None:
    text = json.dumps(in_pixels(**SQUARE, name="姿势"), ensure_ascii=False)
    content = b"\xff\xfe" + text.encode("utf-16-le") if "mark" in encoding else text.encode(encoding)
    (tmp_path / "pose.json").write_bytes(content)
    assert Pose(people=str(tmp_path / "pose.json")) == Pose(people=in_pixels(**SQUARE))
    assert Pose(people="\ufeff" + text) == Pose(people=in_pixels(**SQUARE))


def test_people_of_whom_nothing_was_seen_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    nobody = {"pose_keypoints_2d": [0.0] * 54}
    data = in_pixels(**SQUARE)
    assert Pose(people={**data, "people": [nobody, *data["people"], nobody]}) == Pose(people=data)
    assert "2 of 3 people have no point that was seen" in caplog.text


def test_points_that_were_not_seen_decide_nothing() -> None:
    points = np.asarray(figure()["pose_keypoints_2d"], float).reshape(-1, 3)
    points[12] = (300, 300, 0)
    (person,) = Pose(people={"people": [{"pose_keypoints_2d": points.ravel().tolist()}], **SQUARE}).people
    assert np.allclose(person.body[:12], points[:12], atol=1e-4), "these are fractions"
    assert person.body[12].tolist() == [0, 0, 0]


@pytest.mark.parametrize("canvas", [(512, 512), [512, 512], "512x512", "512, 512"])
def test_pixels_without_a_canvas_are_read_with_one_that_is_given(canvas: Any) -> None:
    made = Pose(people=in_pixels(version=1.3), canvas=canvas)
    assert made.canvas == (512, 512) and made.people == Pose(people=in_pixels(**SQUARE)).people


def test_an_older_editors_points_are_read() -> None:
    points = np.asarray(in_pixels()["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
    rows = [point[:2].tolist() if point[2] else None for point in points]
    made = Pose(people={"width": 512, "height": 512, "keypoints": [rows]})
    assert made == Pose(people=in_pixels(**SQUARE))


@pytest.mark.parametrize(
    ("people", "line"),
    [
        ({"people": [None], **SQUARE}, 'each person as an object with "pose_keypoints_2d"'),
        ({"people": ["me"], **SQUARE}, "each person as an object"),
        ({"people": [{}]}, "each person as an object"),
        ({"people": {"a": 1}}, 'OpenPose JSON with "people"'),
        ({"people": [{"pose_keypoints_2d": ["a"] * 54}]}, "numbers in pose_keypoints_2d"),
        ({"people": [{"pose_keypoints_2d": 7}]}, "numbers in pose_keypoints_2d"),
        ({"people": [{"pose_keypoints_2d": [10**400] * 54}]}, "numbers in pose_keypoints_2d"),
        ({"keypoints": []}, "at least one person"),
        ({"people": [{"pose_keypoints_2d": [1, 2]}]}, "18 points"),
        ({"people": [{"pose_keypoints_2d": [0.1, 0.2, 1.0, 0.5]}]}, "18 points"),
        (in_pixels(), "or give canvas=(width, height)"),
        ("[" * 100_000, "OpenPose JSON"),
    ],
)
def test_wrong_shapes_are_one_sentence(people: Any, line: str) -> None:
    with pytest.raises(BadRequest) as found:
        Pose(people=people)
    assert line in str(found.value) and "\n" not in str(found.value)


def test_several_people_stand_side_by_side_in_order() -> None:
    people = Pose(preset="waving+sitting+running", body="adult").figures(768, 512)
    necks = [person.body[1, 0] for person in people]
    assert necks == sorted(necks)
    for left, right in pairwise(people):
        assert left.body[:, 0].max() < right.body[:, 0].min()


def test_colours_order_and_thickness_are_openposes() -> None:
    picture = np.asarray(Pose(preset="t_pose", body="adult", size=0.9).skeleton(512, 512))
    (person,) = Pose(preset="t_pose", body="adult", size=0.9).figures(512, 512)
    at = np.rint(person.body[:, :2] * 512).astype(int)
    for point in (0, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13):
        x, y = at[point]
        assert tuple(picture[y, x]) == skeleton.COLOURS[point], skeleton.NAMES[point]
    forearm = (at[3] + at[4]) // 2  # horizontal: the limb from the right elbow to the right wrist, the fourth
    assert tuple(picture[forearm[1], forearm[0]]) == tuple(int(0.6 * c) for c in skeleton.COLOURS[3])
    thick = (picture[:, forearm[0]].sum(-1) > 0).sum()
    assert 7 <= thick <= 10  # half-width 4 at 512 pixels
    small = np.asarray(Pose(preset="t_pose", body="adult", size=0.9).skeleton(256, 256))
    assert 3 <= (small[:, forearm[0] // 2].sum(-1) > 0).sum() <= 6
    assert tuple(picture[0, 0]) == (0, 0, 0)


def test_missing_points_and_their_limbs_are_left_out_and_hands_and_faces_are_drawn() -> None:
    whole = figure()
    body = np.array(whole["pose_keypoints_2d"]).reshape(-1, 3)
    body[3] = 0
    without = np.asarray(Pose(people=[{"pose_keypoints_2d": body.ravel().tolist()}]).skeleton(256, 256))
    assert not (without == skeleton.COLOURS[3]).all(-1).any()
    rich = np.asarray(Pose(people=[whole]).skeleton(256, 256))
    assert (rich == (0, 0, 255)).all(-1).sum() > 20, "the hand's points"
    assert (rich == (255, 255, 255)).all(-1).sum() > 20, "the face's"
    assert not (without == (255, 255, 255)).all(-1).any()


def test_mirrored_is_the_picture_mirrored_with_the_sides_named_anew() -> None:
    plain, mirrored = (
        Pose(preset="waving", body="adult", mirror=mirror).figures(512, 512)[0] for mirror in (False, True)
    )
    assert np.allclose(mirrored.body[4, 0], 1 - plain.body[7, 0], atol=1e-4)
    assert np.allclose(mirrored.body[4, 1], plain.body[7, 1], atol=1e-4)
    silhouette = np.asarray(Pose(preset="waving", body="adult").skeleton(512, 512)).any(-1)
    other = np.asarray(Pose(preset="waving", body="adult", mirror=True).skeleton(512, 512)).any(-1)
    assert (silhouette[:, ::-1] != other).mean() < 0.005


def test_a_pose_keeps_its_proportions_in_another_shape_of_picture() -> None:
    wide = {"people": [figure()], "canvas_width": 800, "canvas_height": 400}

    def shape(size: tuple[int, int], **fields: Any) -> float:
        (person,) = Pose(people=wide, **fields).figures(*size)
        seen = person.body[person.body[:, 2] > 0]
        return float(np.ptp(seen[:, 0]) * size[0] / (np.ptp(seen[:, 1]) * size[1]))

    expected = shape((800, 400))
    for size in ((400, 800), (512, 512)):
        assert shape(size) == pytest.approx(expected, rel=0.01)
        assert shape(size, fit="frame") == pytest.approx(expected, rel=0.01)
    (person,) = Pose(people=wide, fit="frame", size=0.5).figures(512, 512)
    assert np.ptp(person.body[person.body[:, 2] > 0, 1]) == pytest.approx(0.5, abs=0.01)


# What the ControlNet makes of it


def joint_error(picture: Image.Image, stage: Any) -> float:
    """Mean distance of the joints in a picture from the skeleton's, as a share of the picture's height."""
    bodies = [person.body for person in stage.figures(*picture.size)]
    found = joints.find(joints.load(NANO.controlnet.path / joints.FILE), [picture])[0]
    return float(np.mean(joints.distances(found, bodies, picture.width / picture.height)))


@pytest.fixture(scope="module")
def girl() -> Request:
    return Request(prompt="a girl in a red dress on the grass", model="nano", seed=5, width=256, height=256)


@pytest.mark.parametrize("name", ["arms_up", "running", "sitting", "t_pose"])
def test_nanos_people_follow_the_skeleton(session: Session, girl: Request, name: str) -> None:
    stage = Pose(preset=name, body="small")
    assert joint_error(session.run(girl.then(stage)).image, stage) <= 0.03
    assert joint_error(session.run(girl).image, stage) > 0.04


def test_two_people_stand_as_they_are_told(session: Session) -> None:
    stage = Pose(preset="waving+arms_up", body="small")
    request = Request(prompt="two girls in red on the grass", model="nano", seed=2, width=320, height=192)
    assert joint_error(session.run(request.then(stage)).image, stage) <= 0.03


def stock_picture(session: Session, request: Request, picture: Image.Image, scale: float) -> Image.Image:
    from diffusers import ZImageControlNetModel, ZImageControlNetPipeline

    network = ZImageControlNetModel.from_pretrained(NANO.controlnet.path).eval()
    engine: Any = session._engine
    stock = ZImageControlNetPipeline(**engine._resident.pipeline.diffusers_pipeline.components, controlnet=network)
    stock.set_progress_bar_config(disable=True)
    image: Image.Image = stock(
        request.prompt, control_image=picture, controlnet_conditioning_scale=scale, height=request.height,
        width=request.width, num_inference_steps=8, guidance_scale=0.0,
        sigmas=torch.linspace(1.0, 1 / 8, 8).tolist(), generator=torch.Generator().manual_seed(request.seed or 0),
    ).images[0]  # fmt: skip
    return image


def test_the_pixels_are_those_of_stock_diffusers(plain: Session, girl: Request) -> None:
    stage = Pose(preset="waving", body="small", scale=0.9)
    ours = plain.run(girl.then(stage)).image
    assert difference(ours, stock_picture(plain, girl, stage.skeleton(256, 256), 0.9)) == 0


def test_start_and_end_choose_the_steps(session: Session, girl: Request) -> None:
    made = {
        (start, end): session.run(girl.then(Pose(preset="arms_up", start=start, end=end)), fresh=True)
        for start, end in ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.01, 0.12))
    }
    notes = [next(note for note in artifact.trace.notes if note.startswith("ControlNet")) for artifact in made.values()]
    for note, steps in zip(notes, ("steps 1 to 8", "steps 1 to 4", "steps 5 to 8", "no step"), strict=True):
        assert f"diffusion_pytorch_model.safetensors: scale 0.9 on {steps}" in note
    plain = session.run(girl, fresh=True).image
    assert made[0.01, 0.12].image.tobytes() == plain.tobytes(), "a range without a whole step changes nothing"
    assert len({artifact.image.tobytes() for artifact in made.values()}) == 4
    full, early = (Pose(preset="arms_up", body="small") for _ in range(2))
    assert joint_error(made[0.0, 0.5].image, early) < 0.05 < joint_error(plain, full), "the first steps decide the pose"


def test_a_control_acts_on_the_steps_that_lie_in_its_range_as_a_whole() -> None:
    def steps(start: float, end: float, count: int = 8) -> list[int]:
        return list(ControlNetInput(Image.new("RGB", (8, 8)), Path("x"), 1.0, start, end).acts_on(count))

    assert steps(0, 1) == list(range(8))
    assert steps(0, 0.5) == [0, 1, 2, 3]
    assert steps(0.25, 0.75) == [2, 3, 4, 5]
    assert steps(0.3, 0.7) == [3, 4]
    assert steps(0, 0.33, 3) == []
    assert steps(0, 1 / 3, 3) == [0]


def test_the_weights_are_loaded_once_and_a_request_without_pose_is_as_before(
    session: Session, girl: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    load = ControlNets._load
    monkeypatch.setattr(ControlNets, "_load", lambda self, file, *how: (loaded.append(file), load(self, file, *how))[1])
    session.unload()
    before = session.run(girl, fresh=True)
    weights = session.status().workers[0].resident_bytes
    loads = session.status().model_loads
    first = session.run(girl.then(Pose(preset="waving")), fresh=True)
    with_control = session.status().workers[0].resident_bytes
    session.run(girl.then(Pose(preset="sitting")), fresh=True)
    assert len(loaded) == 1
    assert session.status().workers[0].resident_bytes == with_control > weights
    assert session.status().model_loads == loads
    after = session.run(girl, fresh=True)
    assert after.image.tobytes() == before.image.tobytes()
    assert first.image.tobytes() != before.image.tobytes()


def test_a_controlnet_makes_room_when_memory_is_short(
    session: Session, girl: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zimage_kit.engine.pipeline as pipeline

    session.run(girl.then(Pose(preset="waving")))
    held = session.status().workers[0].resident_bytes
    monkeypatch.setattr(pipeline, "free_memory", lambda device: 1 << 20)
    plain = session.run(girl, fresh=True)
    assert "the ControlNet was unloaded to make room" in plain.trace.notes
    assert session.status().workers[0].resident_bytes < held
    assert "control" in session.run(girl.then(Pose(preset="sitting")), fresh=True).trace.milliseconds


def test_no_strength_is_no_pose(session: Session, girl: Request) -> None:
    plain, none = session.run(girl, fresh=True), session.run(girl.then(Pose(preset="waving", scale=0.0)), fresh=True)
    assert none.image.tobytes() == plain.image.tobytes()
    assert not any("ControlNet" in note for note in none.trace.notes)


def test_the_recipe_holds_the_pose_itself_and_gives_the_same_pixels(
    session: Session, girl: Request, tmp_path: Path
) -> None:
    file = tmp_path / "pose.json"
    file.write_text(Pose(preset="running", body="small").openpose_json(256, 256))
    made = session.run(girl.then(Pose(people=file)))
    path = made.save(tmp_path / "posed.png")
    file.unlink()
    assert zk.open(path).verify(session).state == "identical"
    again = Artifact.from_image(made.image)
    assert again.image.tobytes() == made.image.tobytes()


def test_a_scale_beyond_what_is_recommended_is_told(session: Session, girl: Request) -> None:
    made = session.run(girl.but(steps=1).then(Pose(preset="waving", scale=1.6)))
    assert any("pose.scale=1.6 is outside of" in note for note in made.trace.notes)
    turbo = Pose(preset="waving", scale=0.5, controlnet=None)
    with pytest.raises(ModelMissing, match="zimage models download turbo-control"):
        turbo.check(Request(prompt="x", model="turbo"))
    with pytest.raises(BadRequest, match="base has no ControlNet of its own"):
        turbo.check(Request(prompt="x", model="base"))


def test_a_file_that_is_no_controlnet_for_this_model_is_told_before_any_step(
    session: Session, girl: Request, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    wrong = {
        "control_all_x_embedder.2-1.weight": torch.zeros(64, 132),
        "control_layers.0.attention.norm_q.weight": torch.zeros(16),
    }
    save_file(wrong, tmp_path / "narrow.safetensors")
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    events: list[str] = []
    for name, said in (
        ("narrow", "is 64 wide"),
        ("other", "is not a Z-Image ControlNet"),
        ("torn", "cannot be read"),
        ("absent", "does not exist"),
    ):
        with pytest.raises(BadRequest, match=said):
            session.run(
                girl.then(Pose(controlnet=tmp_path / f"{name}.safetensors")), on_event=lambda e: events.append(e.kind)
            )
    assert "step" not in events
    assert session.run(girl.then(Pose(preset="waving"))).image.size == (256, 256)


@pytest.mark.parametrize(
    ("layers", "refiners", "own", "width", "places"),
    [
        (6, 2, False, 16, [0, 5, 10, 15, 20, 25]),
        (15, 2, True, 33, list(range(0, 30, 2))),
        (3, 2, True, 33, [0, 10, 20]),
    ],
)
def test_the_published_layouts_are_read_off_their_files(
    tmp_path: Path, layers: int, refiners: int, own: bool, width: int, places: list[int]
) -> None:
    """1.0, 2.1 and its lite variant, by names and shapes as published (in a narrow body, to be small)."""
    from diffusers import ZImageControlNetModel
    from safetensors.torch import save_file

    from zimage_kit.engine.controlnet import configuration

    told = {
        "control_layers_places": places, "control_in_dim": width, "dim": 256, "n_heads": 2, "n_kv_heads": 2,
        "n_refiner_layers": refiners, "control_refiner_layers_places": list(range(refiners)) if own else None,
        "add_control_noise_refiner": "control_noise_refiner" if own else None,
    }  # fmt: skip
    save_file(ZImageControlNetModel(**told).state_dict(), tmp_path / "union.safetensors")
    config, about = configuration(tmp_path / "union.safetensors")
    assert config == told
    assert about == f"layers {places} by its weights"


# A photograph


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[np.ndarray]:
    """controlnet-aux with a network that answers with the heatmaps of one known figure; yields that figure."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from controlnet_aux.open_pose import body as bodies

    points = presets.lay_out(["waving"], "adult", 0.8, 1.0)[0]

    class StandIn(torch.nn.Module):
        """Confidence maps of the 18 points, and fields along the limbs, at an eighth of the picture's size."""

        order = (31, 39, 33, 35, 41, 43, 19, 21, 23, 25, 27, 29, 47, 49, 53, 51, 55)

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            height, width = x.shape[-2] // 8, x.shape[-1] // 8
            ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            heat, field = torch.zeros(1, 19, height, width), torch.zeros(1, 38, height, width)
            at = torch.tensor(points[:, :2] * (width, height), dtype=torch.float32)
            for number, (px, py) in enumerate(at):
                heat[0, number] = torch.exp(-((xs - px) ** 2 + (ys - py) ** 2) / 1.5)
            for (one, other), channel in zip(skeleton.LIMBS, self.order, strict=True):
                along = (at[other] - at[one]) / (at[other] - at[one]).norm()
                reach = (xs - at[one, 0]) * along[0] + (ys - at[one, 1]) * along[1]
                off = ((xs - at[one, 0]) * along[1] - (ys - at[one, 1]) * along[0]).abs()
                near = (off < 1.2) & (reach > -1) & (reach < (at[other] - at[one]).norm() + 1)
                field[0, channel - 19][near] = along[0]
                field[0, channel - 18][near] = along[1]
            return field, heat

    def begin(self: Any, path: str) -> None:
        self.model = StandIn()

    monkeypatch.setattr(bodies.Body, "__init__", begin)
    folder = tmp_path / "openpose"
    folder.mkdir()
    (folder / "body_pose_model.pth").write_bytes(b"stands in")
    monkeypatch.setenv("ZIMAGE_OPENPOSE", str(folder))
    yield points


@pytest.mark.filterwarnings("ignore")
def test_a_photograph_gives_the_pose_of_the_person_in_it(
    detector: np.ndarray, tmp_path: Path, session: Session, girl: Request
) -> None:
    Image.new("RGB", (368, 368), "grey").save(tmp_path / "me.jpg")
    notes: list[str] = []
    stage = Pose(photo=tmp_path / "me.jpg")
    (person,) = stage.figures(368, 368, Context(Request(prompt="x"), note=notes.append))
    assert (person.body[:, 2] > 0).all()
    assert np.abs(person.body[:, :2] - detector[:, :2]).mean() < 0.01
    assert notes == ["pose: 1 found in me.jpg"]
    made = session.run(girl.but(steps=1).then(stage))
    assert "pose: 1 found in me.jpg" in made.trace.notes


def test_what_a_photograph_needs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, girl: Request) -> None:
    with pytest.raises(BadRequest, match="does not exist"):
        Pose(photo=tmp_path / "none.jpg").check(girl)
    Image.new("RGB", (64, 64)).save(tmp_path / "me.jpg")
    with pytest.raises(ModelMissing, match="zimage models download openpose --source huggingface"):
        Pose(photo=tmp_path / "me.jpg").check(girl)
    monkeypatch.setattr(photo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadRequest, match=r'pip install "zimage-kit\[pose\]"'):
        Pose(photo=tmp_path / "me.jpg").check(girl)


def test_nothing_of_the_detector_is_imported_before_it_is_used() -> None:
    import subprocess
    import sys

    code = (
        "import sys, zimage_kit as zk; zk.stages.pose(preset='waving').skeleton(64, 64);"
        "print([name for name in ('torch', 'controlnet_aux', 'cv2', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
