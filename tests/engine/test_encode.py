"""The flat text encoder computes what transformers' module does, without padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3Model

from zimage_kit.engine.encode import EndOfPass, TextEncoder, encode, flatten


@pytest.fixture(scope="module")
def encoder() -> Any:
    """A small one with random weights, norms too; two heads of q share one of k and v."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 90, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 4, "head_dim": 16}
    made: Any = Qwen3Model(Qwen3Config(**sizes, num_attention_heads=4, num_key_value_heads=2))
    for name, weight in made.named_parameters():
        weight.data = torch.randn_like(weight) * (0.3 if "norm" in name else weight.shape[-1] ** -0.5) + (
            "norm" in name
        )
    made.layers[-1] = EndOfPass()
    made.eval().requires_grad_(False)
    flatten(made)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("count", [1, 7, 40])
def test_hidden_states(encoder: Any, count: int, dtype: torch.dtype) -> None:
    encoder.to(dtype)
    ids = torch.randint(0, 90, (count,), generator=torch.Generator().manual_seed(count))
    padded = torch.cat([ids, torch.zeros(48 - count, dtype=ids.dtype)])[None]
    mask = torch.arange(48)[None] < count
    wanted = TextEncoder(encoder)(padded, mask).hidden_states[-2][0, :count].float()
    found = encode(encoder, ids)
    assert found.shape == (count, 48) and found.dtype == dtype
    assert (found.float() - wanted).norm() / wanted.norm() < (2e-6 if dtype == torch.float32 else 0.02)
    encoder.to(torch.float32)
