"""Codes of GGUF files, unpacked by PyTorch as the gguf package does."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from zimage_kit.engine import unpack
from zimage_kit.models.weights import PACKED


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("kind", list(unpack.CODES))
def test_every_code_is_that_of_the_package_bit_for_bit(kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any bytes, and scales of both signs; also where a chunk is less than all rows."""
    random = np.random.default_rng(0)
    weights, size, _ = unpack.CODES[kind]
    codes = random.integers(0, 256, (rows, 512 // weights, size), dtype=np.uint8)
    halves = {"Q6_K": [size - 2], "Q4_K": [0, 2], "Q5_K": [0, 2]}.get(kind, [0])
    for place in halves:
        codes[..., place : place + 2] = random.normal(size=(*codes.shape[:2], 1)).astype("<f2").view(np.uint8)
    codes = codes.reshape(rows, -1)
    monkeypatch.setattr(unpack, "CHUNK", 1024)
    found = unpack.unpack(torch.from_numpy(codes), kind, torch.device("cpu"))
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), gguf.quants.dequantize(codes, gguf.GGMLQuantizationType[kind]))


def test_all_that_are_usual_are_here() -> None:
    assert {"Q8_0", "Q6_K", "Q5_K", "Q4_K"} <= set(unpack.CODES) <= set(PACKED)
