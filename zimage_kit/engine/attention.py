"""Attention of the transformer's blocks, by whichever kernel is the fastest for the card and the number of tokens.

Measured for 30 heads of 128 on an H200, in milliseconds (tests/gpu/attention.py; docs/measurements.md):

    tokens                       2336    4128    9280
    flash (PyTorch's)            0.297   0.788   3.77
    cuDNN                        0.173   0.459   2.35    and about 50 once for each number of tokens: it makes a plan
    ours                         0.198   0.560   2.71
    ours in float8               0.236   0.453   1.90    with norms and turning, which the others have in a pass before

The choice depends on the card, the weights' type and the number of tokens alone, so that where weights are kept changes
no pixel.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib import import_module
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from . import fused
from .eight import LARGEST

_FLASH = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Kinds of attention, the first that can is taken."""
_PLANNED_TOKENS = 3072
"""From so many on a plan of cuDNN's pays on Hopper and Blackwell: the steps of a picture gain what it takes."""
_WIDTH = 128
"""Of a head, for which our kernels are."""
_MOST_WEIGHT = 448 / 256
"""What float8's largest number stands for, of weights of at most 1: they are multiplied with 256 before rounding."""


def worth_a_plan(device: torch.device, tokens: int) -> bool:
    """Whether attention of so many tokens is computed often enough, and long enough, for cuDNN's plan to pay."""
    return device.type == "cuda" and tokens >= _PLANNED_TOKENS and torch.cuda.get_device_capability(device) >= (9, 0)


def unplanned(device: torch.device) -> AbstractContextManager[Any]:
    """Let PyTorch's attention inside take no kernel that makes a plan for each number of tokens."""
    return sdpa_kernel(_FLASH, set_priority=True) if device.type == "cuda" else nullcontext()


def attend(
    qkv: Tensor,
    rotations: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    eps: float,
    planned: bool = False,
    kind: torch.dtype | None = None,
) -> Tensor:
    """Attention of all tokens to all, from qkv [tokens, 3, heads, width] to [tokens, heads * width].

    Queries and keys are normed per head and turned before it (`fused.turn`), which may happen in their place.
    `planned`: by cuDNN, where it is. `kind`: the 8 bits in which the products are; where those are float8, attention is
    too, on Hopper, and on a CPU, where that is slow but tells what it costs.
    """
    ours = _ours(qkv)
    if ours and kind == torch.float8_e4m3fn:
        return ours.attend_eight(qkv, rotations, q_weight, k_weight, eps)  # type: ignore[no-any-return]
    fused.turn(qkv, rotations, q_weight, k_weight, eps)
    if ours and not planned:
        return ours.attend(qkv)  # type: ignore[no-any-return]
    q, k, v = qkv.permute(1, 2, 0, 3).unsqueeze(1)  # 1 heads tokens width
    if kind == torch.float8_e4m3fn and not qkv.is_cuda:
        return _in_eight(q[0], k[0], v[0], q_weight, k_weight).transpose(0, 1).flatten(1).to(qkv.dtype)
    with sdpa_kernel([SDPBackend.CUDNN_ATTENTION, *_FLASH], set_priority=True) if planned else unplanned(qkv.device):
        return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)


def _in_eight(q: Tensor, k: Tensor, v: Tensor, q_weight: Tensor, k_weight: Tensor) -> Tensor:
    """Attention of [heads, tokens, width] from float8, in plain PyTorch: float32 of the same shape.

    The norm bounds queries and keys by sqrt(width) times its largest weight; values have a scale for each head.
    """
    width = q.shape[-1]
    q, k = (_rounded(x, sqrt(width) * weight.abs().max()) for x, weight in ((q, q_weight), (k, k_weight)))
    logits = q @ k.transpose(1, 2) / sqrt(width)
    weights = torch.exp(logits - logits.amax(2, keepdim=True))
    values = _rounded(v, v.abs().amax((1, 2), keepdim=True))
    found: Tensor = (
        _rounded(weights, torch.tensor(_MOST_WEIGHT, device=q.device)) @ values / weights.sum(2, keepdim=True)
    )
    return found


def _rounded(x: Tensor, most: Tensor) -> Tensor:
    """x, of which nothing is larger than `most`, to float8 and back to float32."""
    largest = LARGEST[torch.float8_e4m3fn]
    scale = largest / most.float().clamp(min=1e-12)
    return (x.float() * scale).clamp(-largest, largest).to(torch.float8_e4m3fn).float() / scale


def _ours(qkv: Tensor) -> Any:
    """The module with our kernels where they are the faster ones for these, else None."""
    if not qkv.is_cuda or fused.plain_because or qkv.dtype == torch.float32 or qkv.shape[-1] != _WIDTH:
        return None
    return kernels() if _hopper(qkv.device) else None


@cache
def _hopper(device: torch.device) -> bool:
    """Whether this is a Hopper card: our kernels use its tensor memory accelerator, and were measured on no other."""
    return torch.cuda.get_device_capability(device)[0] == 9


@cache
def kernels() -> Any:
    """The module with the kernels, None without Triton."""
    return import_module(".attention_kernels", __package__) if fused.kernels() else None
