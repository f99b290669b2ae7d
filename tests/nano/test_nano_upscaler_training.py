"""nano's 2x network: drawn larger the scenes stay the same, it trains and resumes, and spandrel runs what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zimage_kit.nano import DIRECTORY, evaluate_upscaler, packed, scenes, upscaler
from zimage_kit.nano.lexicon import STYLES
from zimage_kit.nano.train import export
from zimage_kit.nano.train import upscaler as piece
from zimage_kit.nano.train.common import Setup

pytestmark = pytest.mark.training


def seed_of(style: str) -> int:
    return next(seed for seed in range(100) if scenes.sample(seed).style == style)


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_at_twice_the_size_is_the_same_scene(style: str) -> None:
    scene = scenes.sample(seed_of(style), size=(256, 256))
    small, large = scenes.render(scene), scenes.render(scene, enlarged=2)
    assert large.size == (512, 512)
    assert upscaler.psnr(large.resize((256, 256), Image.Resampling.BOX), small) > 26


def test_shrinking_wearing_and_blurring_keep_pictures_pictures() -> None:
    torch.manual_seed(1)
    y = torch.rand(4, 3, 64, 96)
    x = piece.shrunk(y)
    assert x.shape == (4, 3, 32, 48)
    assert x.min() >= 0
    assert x.max() <= 1
    for out in (x, piece.blurred(x)):
        assert out.shape == x.shape
        torch.testing.assert_close(out.mean((2, 3)), y.mean((2, 3)), atol=0.02, rtol=0.02)
    flat = torch.full((2, 3, 16, 16), 0.3)
    torch.testing.assert_close(piece.blurred(flat), flat)


def test_it_trains_goes_on_and_spandrel_runs_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece, "worn", lambda x, vae: x)  # the autoencoder takes a CPU longer than everything else
    setup = Setup(tmp_path, 0.5, 600.0, 1, False, torch.device("cpu"), batch=2)
    export.begin(setup, DIRECTORY)
    piece.run(setup)
    first = setup.load("upscaler")
    piece.run(setup)
    second = setup.load("upscaler")
    assert first is not None
    assert second is not None
    assert second["step"] > first["step"] > 0
    piece.export(setup, tmp_path / "made")
    file = tmp_path / "made" / "nano_x2.safetensors.xz"
    assert file.stat().st_size <= 1_500_000
    network = upscaler.load(file)
    picture = Image.effect_noise((48, 32), 40).convert("RGB")
    assert upscaler.enlarge(network, picture).size == (96, 64)

    spandrel = pytest.importorskip("spandrel")
    loaded = spandrel.ModelLoader().load_from_state_dict(packed.load(file))
    assert (loaded.architecture.id, loaded.scale, loaded.tags) == ("ESRGAN", 2, ["24nf", "2nb", "unshuffle"])
    x = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model.float()(x), network(x), atol=1e-5, rtol=1e-5)


def test_the_card_says_what_is_gained() -> None:
    told = evaluate_upscaler.table(
        {"clean": {"bicubic": 30.0, "network": 34.5}, "rebuilt": {"bicubic": 29.0, "network": 30.0}}, 20
    )
    assert "+4.50 dB (promised: 3 dB)" in told
    assert "Means of 20 scenes." in told
    assert upscaler.psnr(Image.new("L", (4, 4), 0), Image.new("L", (4, 4), 255)) == pytest.approx(0.0)
    assert np.isfinite(upscaler.psnr(Image.new("L", (4, 4)), Image.new("L", (4, 4))))
