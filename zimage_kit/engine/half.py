"""float16 without overflow, for cards that have no bfloat16.

In Z-Image the outputs of attention and feed-forward go straight into an RMS norm, RMSNorm(y; eps) =
RMSNorm(2^-k y; 2^-2k eps). So their weights are multiplied by powers of two, which rounds nothing, and the norm's eps
along with them: the same function, with every number in range. In the text encoder, whose residual stream has no norm
behind it, that stream is kept in float32.

The powers come from the weights: with the norms before them, an input x has |x| <= sqrt(width) |gain|, and no product
can be larger than the norm of a row times that. (Published pictures turn black in float16 since feed-forward outputs
reach 9e5; float16 ends at 65504.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, log2, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import Block

MARGIN = 4.0
"""How much larger an input may be by modulation, which multiplies by 1 + scale (trained scales are near 0)."""
LARGEST = 32768.0
"""What no product may exceed: half of float16's largest number."""
ENCODED = 2.0**-6
"""The text encoder's hidden states times this are what a transformer in float16 is given: a few of them exceed 1e4."""
_ROWS = 512  # looked at together


@contextmanager
def summed_in_half(wanted: bool) -> Iterator[None]:
    """Let products of float16 be summed in float16 inside: GeForce cards do it at twice the rate of float32.

    The bounds above hold for every part of a sum too, so that none overflows.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_fp16_accumulation
    matmul.allow_fp16_accumulation = wanted or before
    try:
        yield
    finally:
        matmul.allow_fp16_accumulation = before


def fit_block(block: Block) -> None:
    """Scale a block of a transformer or ControlNet, and the eps of its norms."""
    module: Any = block.module
    found = block.whole()
    margin = MARGIN if getattr(module, "modulation", True) else 1.0
    before = [found[f"{part}_norm1.weight"] for part in ("attention", "ffn")]
    into = [margin * sqrt(len(gain)) for gain in before]

    value = _rows(found["attention.to_v.weight"], before[0]) * into[0]
    scaled = _fit(block, "attention.to_v.weight", "attention.to_out.0.weight", found, value)
    module.attention_norm2.eps *= scaled**2

    gate = _rows(found["feed_forward.w1.weight"], before[1]) * into[1]
    hidden = gate * _rows(found["feed_forward.w3.weight"], before[1]) * into[1]  # |silu(x)| <= |x|
    scaled = _fit(block, "feed_forward.w3.weight", "feed_forward.w2.weight", found, hidden)
    module.ffn_norm2.eps *= scaled**2


def fit_layer(block: Block) -> None:
    """Scale a layer of the text encoder; its results are scaled back in float32 as they are added."""
    module: Any = block.module
    found = block.whole()
    gain = found["input_layernorm.weight"]
    value = _rows(found["self_attn.v_proj.weight"], gain) * sqrt(len(gain))
    groups = found["self_attn.o_proj.weight"].shape[1] // len(value)
    value = value.view(-1, module.self_attn.head_dim).repeat_interleave(groups, 0).flatten()
    scaled = _fit(block, "self_attn.v_proj.weight", "self_attn.o_proj.weight", found, value)
    _widen(module.self_attn.o_proj, 1 / scaled)

    gain = found["post_attention_layernorm.weight"]
    most = sqrt(len(gain))
    hidden = (_rows(found["mlp.gate_proj.weight"], gain) * most) * (_rows(found["mlp.up_proj.weight"], gain) * most)
    scaled = _fit(block, "mlp.up_proj.weight", "mlp.down_proj.weight", found, hidden)
    _widen(module.mlp.down_proj, 1 / scaled)

    for norm in (module.input_layernorm, module.post_attention_layernorm):
        norm.register_forward_hook(lambda _, __, y: y.half())


def fit_encoder(encoder: Any) -> None:
    """Let the text encoder's residual stream be float32; its layers are fitted one by one."""
    _widen(encoder.embed_tokens, 1.0)
    encoder.rotary_emb.register_forward_hook(lambda _, __, tables: tuple(each.half() for each in tables))


def fit_transformer(transformer: Any) -> None:
    """Let the transformer take hidden states that are scaled by ENCODED."""
    transformer.cap_embedder[0].eps *= ENCODED**2


def _fit(block: Block, first: str, second: str, weights: dict[str, Tensor], between: Tensor) -> float:
    """Scale two weights so that what is `between` them (its bound for each element) and what comes out are in range.

    Returns the factor of what comes out.
    """
    out = float((_rows(weights[second]) * between.square().sum().sqrt()).max())
    one = _factor(float(between.max()))
    two = _factor(out * one)
    for name, factor in ((first, one), (second, two)):
        if factor != 1:
            block.multiply(name, factor)
    return one * two


def _factor(bound: float) -> float:
    """The power of two, at most 1, that brings a bound into range."""
    return 2.0 ** -max(0, ceil(log2(bound / LARGEST))) if bound else 1.0


def _rows(weight: Tensor, gain: Tensor | None = None) -> Tensor:
    """The Euclidean norm of each row of weight * gain, in float32."""
    scale = 1.0 if gain is None else gain.float()
    begins = range(0, len(weight), _ROWS)
    return torch.cat([(weight[i : i + _ROWS].float() * scale).square().sum(1) for i in begins]).sqrt()


def _widen(module: nn.Module, factor: float) -> None:
    """Let a module's output be float32, times `factor`."""
    module.register_forward_hook(lambda _, __, y: y.float() * factor)
