"""nano's LoRA: paper-cuts are legible, training moves the LoRA only, and stock diffusers draws with what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ZImagePipeline
from PIL import Image

from zimage_kit.nano import DIRECTORY, architecture, data, papercut, scenes
from zimage_kit.nano.batched import Batched
from zimage_kit.nano.train import export, lora
from zimage_kit.nano.train.common import Setup
from zimage_kit.nano.train.denoiser import Latents

pytestmark = pytest.mark.training

CPU = torch.device("cpu")


def test_a_paper_cut_is_red_on_cream_whatever_the_scene_was() -> None:
    for seed in range(12):
        scene = scenes.sample(seed, count=1)
        cut = np.asarray(papercut.render(scene)).astype(int)
        assert cut.shape == (scene.height, scene.width, 3)
        assert (cut[..., 0] >= cut[..., 1]).mean() > 0.999  # no green, no blue
        assert (cut[..., 1] >= cut[..., 2] - 16).all()
        assert np.array_equal(cut, np.asarray(papercut.render(scene)))
        assert cut[:20].mean() > 150  # the paper, with whatever hangs in the sky
        assert cut.std() > 15


def test_captions_now_and_then_say_that_it_is_a_paper_cut() -> None:
    tokenizer = architecture.tokenizer()
    made = lora.chunk(2, tokenizer.backend_tokenizer, int(tokenizer.pad_token_id))
    width, height = scenes.SIZES[made.bucket]
    assert made.pictures.shape == (data.CHUNK, height, width, 3)
    assert made.tokens.shape == (data.CHUNK, data.CAPTIONS, data.PROMPT_TOKENS)
    rng = np.random.default_rng(0)
    told = [text for seed in range(60) for text in lora._told(scenes.sample(seed), rng)]
    assert 0.08 < np.mean(["paper-cut" in text or "剪纸" in text for text in told]) < 0.25


def test_a_fresh_lora_changes_nothing_and_fits_its_size() -> None:
    torch.manual_seed(2)
    model = architecture.transformer().eval().requires_grad_(False)
    x, caption, pad = torch.randn(1, 256, 64), torch.randn(1, 32, 256), torch.zeros(1, 32, dtype=torch.bool)
    about = (torch.tensor([0]), torch.tensor([0.3]), caption, pad)
    with torch.inference_mode():
        before = Batched(model)(x, *about)
    parts = lora.attach(model)
    assert len(parts) == 9 * 7
    assert 2 * sum(p.numel() for p in parts.parameters()) < 900_000
    assert {p for p in model.parameters() if p.requires_grad} == set(parts.parameters())
    with torch.no_grad():
        assert torch.equal(Batched(model)(x, *about), before)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which the LoRA was trained for two runs of a step or two."""
    folder = tmp_path_factory.mktemp("lora")
    setup = Setup(folder, 0.5, 600.0, 1, False, CPU, batch=2)
    export.begin(setup, DIRECTORY)
    with pytest.MonkeyPatch.context() as patch:
        # encoding takes a CPU longer than everything else here
        patch.setattr(Latents, "encoded", lambda _, some: torch.randn(sum(map(len, some)), 256, 64).half())
        lora.run(setup)
        first = setup.load("lora")
        lora.run(setup)
    second = setup.load("lora")
    assert first is not None
    assert second is not None
    assert second["step"] > first["step"] > 0
    return folder


def test_stock_diffusers_draws_with_the_export_as_training_does(state: Path, tmp_path: Path) -> None:
    setup = Setup(state, 0.5, 600.0, 1, False, CPU)
    kept = setup.load("lora")
    assert kept is not None
    torch.manual_seed(4)
    for name, value in kept["average"].items():
        if name.endswith(".b"):
            value.normal_(std=0.05)
    setup.save("lora", kept)
    lora.export(setup, tmp_path)
    file = tmp_path / "papercut.safetensors"
    assert file.stat().st_size <= 1_000_000
    pipe = ZImagePipeline.from_pretrained(DIRECTORY, dtype=torch.float32, local_files_only=True)
    x, caption, t = torch.randn(1, 16, 1, 32, 32), torch.randn(32, 256), torch.tensor([0.3])
    pipe.load_lora_weights(tmp_path, weight_name=file.name, adapter_name="papercut", local_files_only=True)
    made = {}
    for weight in (0.5, 1.0):
        pipe.set_adapters(["papercut"], [weight])
        with torch.inference_mode():
            made[weight] = pipe.transformer([x[0]], t, [caption]).sample[0]
    ours = export.parts(setup)["transformer"]
    parts = lora.attach(ours)
    parts.load_state_dict(kept["average"])
    for weight, expected in made.items():
        for part in parts.values():
            part.strength = weight
        with torch.no_grad():
            torch.testing.assert_close(ours([x[0]], t, [caption]).sample[0], expected, atol=5e-3, rtol=5e-3)
    assert (made[1.0] - made[0.5]).abs().mean() > 0.01


def test_a_look_shows_the_weights_side_by_side(state: Path, tmp_path: Path) -> None:
    lora.check(Setup(state, 0.5, 600.0, 1, False, CPU), tmp_path, pictures=2)
    with Image.open(tmp_path / "lora.png") as sheet:
        assert sheet.size == (8 * 192, 192)
