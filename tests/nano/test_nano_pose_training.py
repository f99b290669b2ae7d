"""The pose ControlNet's training: batched as the stock classes compute it, its own weights alone move, it exports."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ZImageControlNetModel, ZImageControlNetPipeline, ZImagePipeline
from PIL import Image

from zimage_kit.nano import DIRECTORY, architecture, captions, data, joints, posed, scenes
from zimage_kit.nano.batched import Batched, Controlled, patchify, unpatchify
from zimage_kit.nano.train import check_pose, controlnet, distil, export
from zimage_kit.nano.train import joints as joints_piece
from zimage_kit.nano.train.common import Setup

pytestmark = pytest.mark.training

CPU = torch.device("cpu")


def setup_in(folder: Path) -> Setup:
    return Setup(folder, 0.5, 600.0, 1, False, CPU, batch=2)


# --- the batched ControlNet


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """The stock denoiser and ControlNet with random weights everywhere, also where they begin at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = [module().eval().requires_grad_(False) for module in (architecture.transformer, architecture.controlnet)]
        for module in made:
            for name, p in module.named_parameters():
                if "pad_token" in name or "_proj" in name:
                    p.normal_(std=0.05)
    return made[0], made[1]


def stock(pair: tuple[Any, Any], z: torch.Tensor, t: torch.Tensor, caption: list[Any], control: torch.Tensor) -> Any:
    denoiser, net = pair
    ZImageControlNetModel.from_transformer(net, denoiser)
    pictures = [*z.unsqueeze(2)]
    samples = net(pictures, t, caption, [*control.unsqueeze(2)], conditioning_scale=0.9)
    return torch.stack(denoiser(pictures, t, caption, controlnet_block_samples=samples).sample).squeeze(2)


@pytest.mark.parametrize(("length", "told"), [(32, 32), (32, 9), (64, 40)])
@pytest.mark.parametrize("bucket", [0, 1, 3])
def test_a_controlled_batch_gives_what_the_stock_classes_give(
    pair: tuple[Any, Any], bucket: int, length: int, told: int
) -> None:
    generator = torch.Generator().manual_seed(bucket)
    width, height = scenes.SIZES[bucket]
    z, control = (torch.randn(2, 16, height // 8, width // 8, generator=generator) for _ in range(2))
    caption = torch.randn(2, length, architecture.TEXT_WIDTH, generator=generator)
    t, buckets = torch.tensor([0.0, 0.7]), torch.full((2,), bucket)
    pad = (torch.arange(length) >= told).expand(2, length)
    model = Controlled(*pair)
    with torch.inference_mode():
        expected = stock(pair, z, t, [one[:told] for one in caption], control)
        ours = model.controlled(patchify(z), buckets, t, caption, pad, patchify(control), torch.full((2, 1, 1), 0.9))
        without = model(patchify(z), buckets, t, caption, pad)
        plain = Batched(pair[0])(patchify(z), buckets, t, caption, pad)
    assert (unpatchify(without, bucket) - expected).abs().mean() > 0.01
    torch.testing.assert_close(unpatchify(ours, bucket), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(without, plain)


def test_an_untrained_controlnet_changes_nothing() -> None:
    torch.manual_seed(3)
    denoiser = architecture.transformer().eval().requires_grad_(False)
    net = controlnet.fresh(denoiser)
    assert torch.equal(net.control_layers[1].attention.to_q.weight, denoiser.layers[2].attention.to_q.weight)
    x, control, caption = torch.randn(1, 256, 64), torch.randn(1, 256, 64), torch.randn(1, 32, 256)
    about = (torch.tensor([0]), torch.tensor([0.1]), caption, torch.zeros(1, 32, dtype=torch.bool))
    model = Controlled(denoiser, net)
    with torch.no_grad():
        assert torch.equal(model.controlled(x, *about, control), model(x, *about))


# --- scenes


def test_the_scenes_of_the_denoiser_have_not_changed() -> None:
    """What the weights that are shipped were trained on stays known, and training goes on from its own scenes."""
    people = [t for i in range(60) for t in scenes.sample(i).things if t.keypoints is not None]
    assert len(people) == 10
    assert float(np.sum([t.keypoints for t in people])) == pytest.approx(49788.55800194161, abs=1e-6)
    told = captions.english(scenes.sample(3), np.random.default_rng(3))
    assert told == "a fish that is purple in hand-drawn sketch."


def test_a_posed_scene_is_a_function_of_its_seed_and_shows_what_it_is_asked_for() -> None:
    for seed in range(40):
        contents = list(posed.CONTENTS)[seed % 4]
        scene, again = (posed.sample(seed, contents=contents) for _ in range(2))
        bodies = posed.bodies(scene)
        assert len(bodies) == {"one": 1, "two": 2, "with a thing": 1, "nobody": 0}[contents]
        for body, same in zip(bodies, posed.bodies(again), strict=True):
            assert np.array_equal(body, same)
            assert body[:, :2].min() > 0, seed
            assert body[:, :2].max() < 1, seed
        if contents == "two":
            assert bodies[0][1, 0] < bodies[1][1, 0]
    assert {posed.sample(seed).things[0].pose == "" for seed in range(20) if posed.sample(seed).things} == {True, False}


def test_what_is_held_out_is_never_trained_on() -> None:
    for seed in range(60):
        for novel in (False, True):
            scene = posed.sample(seed, novel)
            assert all(
                scenes.held_out(thing.kind, thing.colour, scene.background, scene.style) == novel
                for thing in scene.things
            )
    tokenizer = architecture.tokenizer()
    with pytest.raises(ValueError, match="held out"):
        posed.chunk(posed.FIRST_HELD_OUT // data.CHUNK, tokenizer.backend_tokenizer, 0)
    with pytest.raises(ValueError, match="held out"):
        posed.lesson(posed.FIRST_HELD_OUT // data.CHUNK, tokenizer.backend_tokenizer, 0)


def test_captions_of_posed_people_are_sound_in_both_languages() -> None:
    rng = np.random.default_rng(1)
    together = {"en": 0, "zh": 0}
    for seed in range(120):
        scene = posed.sample(seed, contents="two")
        for language in together:
            assert posed.told(scene, rng, language)
            full = posed.described(scene, rng, language)
            assert not any(word in full for word in ("waving", "running", "挥手", "奔跑"))
        together["en"] += any(word in captions.english(scene, rng) for word in ("two ", "pair of", "couple of", "2 "))
        together["zh"] += any(word in captions.chinese(scene, rng) for word in ("两", "一对", "2"))
    assert all(5 < count < 70 for count in together.values()), together


def test_a_mirrored_pose_that_faces_a_way_faces_left() -> None:
    seen = set()
    for seed in range(300):
        for thing in posed.sample(seed, contents="one").things:
            if thing.pose in ("running", "pointing"):
                hand = 4 if thing.flip else 7  # the one in front
                assert thing.keypoints is not None
                ahead = thing.keypoints[hand, 0] - thing.keypoints[1, 0]
                seen.add((thing.flip, bool(ahead < 0)))
    assert seen == {(True, True), (False, False)}


def test_a_skeleton_may_lack_points_but_never_moves_a_limb() -> None:
    (body,) = posed.bodies(posed.sample(4, contents="one"))
    rng = np.random.default_rng(2)
    drawn = [posed.shown(body, rng) for _ in range(200)]
    assert 10 < sum((one[:, 2] == 0).any() for one in drawn) < 60
    assert all(np.array_equal(one[:14, :2], body[:14, :2]) for one in drawn)


def test_a_chunk_has_scenes_and_their_skeletons_or_edges() -> None:
    tokenizer = architecture.tokenizer()
    made = posed.chunk(5, tokenizer.backend_tokenizer, int(tokenizer.pad_token_id))
    width, height = scenes.SIZES[made.bucket]
    assert made.pictures.shape == (2 * data.CHUNK, height, width, 3)
    controls = made.pictures[data.CHUNK :]
    assert [bool(black) for black in made.labels[:, 0]] == [not one.any() for one in controls]
    assert (controls.reshape(data.CHUNK, -1) == 0).mean() > 0.75
    edged = [one.any() and bool((np.ptp(one, axis=-1) == 0).all()) for one in controls]  # skeletons are coloured
    assert 2 <= sum(edged) <= data.CHUNK - 4
    for picture, control, lines in zip(made.pictures, controls, edged, strict=False):
        if lines:
            found = [posed.edges(Image.fromarray(picture), strokes) for strokes in (False, True)]
            assert any(np.array_equal(np.asarray(one), control) for one in found)
    pictures = posed.lesson(5, None, 0)
    assert pictures.labels.shape == (data.CHUNK, 2 * 18 * 3)


# --- finding joints


def test_points_are_found_between_the_cells() -> None:
    labels = torch.zeros(2, 2, 18, 3)
    labels[..., :2] = torch.rand(2, 2, 18, 2, generator=torch.Generator().manual_seed(4)) * 0.8 + 0.1
    labels[..., 2] = 1
    h, w = 48, 80
    across, down = joints._blot(labels[..., 0] * w - 0.5, w), joints._blot(labels[..., 1] * h - 0.5, h)
    maps = (down[..., :, None] * across[..., None, :]).clamp(min=1e-9).log()
    torch.testing.assert_close(joints.points_of(maps), labels[..., :2], atol=2e-3, rtol=0)
    truth = joints.loss(maps, labels.flatten(1))
    assert truth < joints.loss(maps.roll(2, 4), labels.flatten(1)) - 1


def test_distances_are_in_picture_heights() -> None:
    (body,) = posed.bodies(posed.sample(4, contents="one"))
    found = np.stack([body[:, :2] + (0.1, 0.0)] * 2)
    assert joints.distances(found, [body], 320 / 192) == pytest.approx(np.full((1, 18), 0.1 * 320 / 192))


# --- two steps of everything


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pose")
    export.begin(setup_in(folder), DIRECTORY)
    return folder


def test_a_control_picture_is_encoded_as_the_stock_pipeline_does_it(state: Path) -> None:
    latents = controlnet.Pairs(setup_in(state), first=0)
    latents.close()
    drawn = posed.skeleton(posed.sample(4, contents="one", size=(192, 320)))
    tokens = latents.encoded([np.array(drawn)[None]]).float()
    vae = ZImagePipeline.from_pretrained(DIRECTORY, dtype=torch.float32, local_files_only=True).vae
    x = torch.from_numpy(np.asarray(drawn).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        mode = (vae.encode(x).latent_dist.mode() - vae.config.shift_factor) * vae.config.scaling_factor
    torch.testing.assert_close(unpatchify(tokens, 2), mode, atol=5e-3, rtol=5e-3)


def test_training_moves_the_controlnet_only_and_goes_on_where_it_stopped(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_in(state)
    # encoding takes a CPU longer than everything else here
    monkeypatch.setattr(controlnet.Pairs, "encoded", lambda _, some: torch.randn(sum(map(len, some)), 256, 64).half())
    before = setup.load("distilled")
    controlnet.run(setup)
    first = setup.load("controlnet")
    controlnet.run(setup)
    second = setup.load("controlnet")
    assert before is not None
    assert first is not None
    assert second is not None
    assert second["step"] > first["step"] > 0
    assert second["done"] > first["done"] > 0
    assert all(name.startswith("control_") for name in second["live"])
    assert any(not torch.equal(second["live"][name], first["live"][name]) for name in first["live"])
    assert second["live"]["control_layers.0.after_proj.weight"].any()
    after = setup.load("distilled")
    assert after is not None
    assert all(torch.equal(after["live"][name], value) for name, value in before["live"].items())


def test_the_stock_pipeline_draws_with_the_export(state: Path, tmp_path: Path) -> None:
    setup = setup_in(state)
    joints_piece.run(setup)
    setup.save("controlnet", {"average": controlnet.fresh(architecture.transformer()).state_dict()})
    controlnet.export(setup, tmp_path)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert 8_900_000 < sizes["diffusion_pytorch_model.safetensors"] < 9_100_000
    assert sizes[joints.FILE] <= 520_000
    net = ZImageControlNetModel.from_pretrained(tmp_path)
    base = ZImagePipeline.from_pretrained(DIRECTORY, dtype=torch.float32, local_files_only=True)
    pipe = ZImageControlNetPipeline(**base.components, controlnet=net)
    pipe.set_progress_bar_config(disable=True)
    scene = posed.sample(posed.FIRST_HELD_OUT, novel=True, contents="one", size=(256, 256))
    made = pipe(
        "a girl in red", control_image=posed.skeleton(scene), width=256, height=256, num_inference_steps=2,
        guidance_scale=0.0, generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip
    assert np.asarray(made).std() > 0
    found = joints.find(joints.load(tmp_path / joints.FILE), [made, Image.new("RGB", (320, 192))])
    assert found.shape == (2, 2, 18, 2)
    assert np.isfinite(found).all()
    check_pose.run(setup, tmp_path, pictures=8, steps=1)
    assert {path.name for path in tmp_path.glob("*.png")} == {"pose-one-1.png", "pose-two-1.png"}


def test_noise_levels_are_those_of_the_sampler() -> None:
    torch.manual_seed(1)
    levels = controlnet.levels(4000, CPU)
    on_grid = torch.isclose(levels[:, None], distil.schedule()[:-1]).any(1).float().mean()
    assert 0.75 < float(on_grid) < 0.85
    assert float((levels >= 0.75).float().mean()) > 0.6
    assert math.isclose(float(levels.max()), 1.0)
    assert levels.min() > 0


def test_distilling_begins_anew_when_the_denoiser_has_gone_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`begin` writes both files; a distilled student older than the denoiser must not be gone on from."""
    setup = setup_in(tmp_path)
    export.begin(setup, DIRECTORY)
    kept = setup.load("denoiser")
    assert kept is not None
    moved = {name: value + 1.0 for name, value in kept["average"].items()}
    loaded: list[dict[str, torch.Tensor]] = []

    class Stop(Exception):
        pass

    def seen(_: Any, state: dict[str, torch.Tensor]) -> None:
        loaded.append(state)
        if len(loaded) == 2:  # the teacher, then the student
            raise Stop

    monkeypatch.setattr(distil.Network, "load_state_dict", seen)
    monkeypatch.setattr(distil, "Latents", lambda setup, first: type("Few", (), {"tokenizer": range(50)}))
    for step in (0, 5):
        loaded.clear()
        setup.save("denoiser", {**kept, "average": moved, "step": step})
        with pytest.raises(Stop):
            distil.run(setup)
        student = next(iter(loaded[1].values()))
        assert torch.equal(student, next(iter((moved if step else kept["live"]).values()))), step
