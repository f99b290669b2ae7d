"""The autoencoder in slabs computes what the whole one does, whatever the slabs are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from zimage_kit import nano
from zimage_kit.engine import autoencoder, fused


def flux() -> Any:
    """The layout of Z-Image's autoencoder with few channels: attention in the middle, several groups in each norm."""
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=8,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


@pytest.fixture(scope="module", params=["nano", "flux"])
def vae(request: pytest.FixtureRequest) -> Any:
    if request.param == "flux":
        return flux()
    return AutoencoderKL.from_pretrained(str(nano.DIRECTORY / "vae")).eval()


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that a small picture has many, of which the last is smaller."""
    monkeypatch.setattr(fused, "SLAB_PIXELS", 1 << 9)
    monkeypatch.setattr(autoencoder, "QUERIES", 100)
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("height", "width"), [(24, 32), (20, 12), (33, 17), (2, 2)])
def test_pixels_of_latents_are_those_of_the_whole(vae: Any, height: int, width: int) -> None:
    latents = torch.randn(1, 16, height, width, generator=torch.Generator().manual_seed(1))
    whole = vae.decode(latents, return_dict=False)[0]
    torch.testing.assert_close(autoencoder.decode(vae, latents), whole, rtol=0, atol=3e-5)


@pytest.mark.parametrize(("height", "width"), [(24, 32), (20, 12), (33, 17), (2, 2)])
def test_latents_of_pixels_are_those_of_the_whole(vae: Any, height: int, width: int) -> None:
    pixels = torch.rand(1, 3, 8 * height, 8 * width, generator=torch.Generator().manual_seed(2)) * 2 - 1
    whole = vae.encode(pixels).latent_dist
    found = autoencoder.SlabbedAutoencoder(vae).encode(pixels).latent_dist
    torch.testing.assert_close(found.mean, whole.mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.logvar, whole.logvar, rtol=0, atol=1e-4)


def test_what_is_given_stays_as_it_was(vae: Any) -> None:
    latents = torch.randn(1, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    before = latents.clone()
    autoencoder.decode(vae, latents)
    assert torch.equal(latents, before)
