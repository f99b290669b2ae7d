"""Previews stay small, whatever they show."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from zimage_kit.engine.preview import LARGEST_BYTES, as_jpeg


@pytest.mark.parametrize("side", [32, 128, 192])
def test_a_preview_of_nothing_but_noise_stays_below_40_kilobytes(side: int) -> None:
    noise = torch.randint(0, 256, (side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    told = as_jpeg(noise)
    assert len(told) <= LARGEST_BYTES == 40_000
    assert Image.open(io.BytesIO(told)).size == (min(512, 4 * side),) * 2
