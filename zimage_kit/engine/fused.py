"""What lies between matrix products and convolutions, in plain PyTorch; on a GPU by one or two Triton kernels each.

Norms' weights [width] are float32 and take in what the result is multiplied with. Both ways compute in float32 (the
plain one as PyTorch does) and differ in rounding order only. Where Triton is missing, as on Windows, the plain way
runs. Pictures [1, c, h, w] are channels last in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .eight import LARGEST, Eight

SLAB_PIXELS = 1 << 17
"""Of a picture that are computed together where memory matters."""
plain_because = ""
"""Why the plain functions run on a GPU too; "" where they do not."""


def norm(x: Tensor, weight: Tensor, eps: float, kind: torch.dtype | None = None) -> Tensor | Eight:
    """RMS norm over the last axis of [rows, width], times weight; with `kind` rounded to 8 bits, as `quantise` does."""
    found = _kernels(x)
    if found:
        return found.norm(x, weight, eps, kind)  # type: ignore[no-any-return]
    return _rounded(F.rms_norm(x, x.shape[-1:], weight.to(x.dtype), eps), kind)


def add_norm(
    x: Tensor,
    y: Tensor,
    gate: Tensor | None,
    y_eps: float,
    weight: Tensor,
    eps: float,
    kind: torch.dtype | None = None,
) -> tuple[Tensor, Tensor | Eight]:
    """The sum x + norm(y, gate), and its `norm`: all [rows, width]. Without a gate y is added as it is."""
    found = _kernels(x)
    if found:
        return found.add_norm(x, y, gate, y_eps, weight, eps, kind)  # type: ignore[no-any-return]
    total = x + y if gate is None else add(x, y, gate, y_eps)
    return total, norm(total, weight, eps, kind)


def add(x: Tensor, y: Tensor, gate: Tensor, y_eps: float) -> Tensor:
    """The sum x + norm(y, gate)."""
    found = _kernels(x)
    if found:
        return found.add_norm(x, y, gate, y_eps)[0]  # type: ignore[no-any-return]
    return x + F.rms_norm(y, y.shape[-1:], gate.to(y.dtype), y_eps)


def turn(qkv: Tensor, rotations: Tensor, q_weight: Tensor, k_weight: Tensor, eps: float) -> None:
    """Norm q and k of qkv [tokens, 3, heads, head_dim] per head and turn them, in their place.

    Rotary position embedding: each pair of neighbours, a complex number, is multiplied by `rotations`, complex64
    [tokens, head_dim / 2].
    """
    found = _kernels(qkv)
    if found and not qkv.shape[-1] & qkv.shape[-1] - 1:  # Triton's ranges are powers of two
        found.turn(qkv, rotations, q_weight, k_weight, eps)
        return
    for part, weight in ((0, q_weight), (1, k_weight)):
        x = qkv[:, part]
        x = F.rms_norm(x, x.shape[-1:], weight, eps)
        pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
        qkv[:, part] = torch.view_as_real(pairs * rotations[:, None]).flatten(-2)


def turn_halves(
    heads: Tensor, cos: Tensor, sin: Tensor, q_weight: Tensor, k_weight: Tensor, q: int, eps: float
) -> None:
    """Norm heads [tokens, heads, head_dim] and turn them in their place; the first `q` have q_weight, others k_weight.

    As `turn`, but the two of a pair are half a head apart, and cos and sin [tokens, head_dim] hold every angle twice.
    """
    found = _kernels(heads)
    if found:
        found.turn_halves(heads, cos, sin, q_weight, k_weight, q, eps)
        return
    weights = torch.cat([q_weight.expand(q, -1), k_weight.expand(heads.shape[1] - q, -1)])
    x = F.rms_norm(heads, heads.shape[-1:], None, eps) * weights
    first, second = x.chunk(2, dim=-1)
    rotated = torch.cat([-second, first], dim=-1)
    heads.copy_(x * cos[:, None] + rotated * sin[:, None])


def silu_gate(x: Tensor, kind: torch.dtype | None = None) -> Tensor | Eight:
    """silu(gate) * up, of [gate | up]: [rows, 2 width] to [rows, width]; with `kind` rounded to 8 bits."""
    found = _kernels(x)
    if found:
        return found.silu_gate(x, kind)  # type: ignore[no-any-return]
    gate, up = x.chunk(2, dim=-1)
    return _rounded(F.silu(gate) * up, kind)


def quantise(x: Tensor, kind: torch.dtype) -> Eight:
    """Round x [rows, width] to int8 or float8_e4m3fn, with a scale for each row; zeros stay."""
    found = _kernels(x)
    if found:
        return found.quantise(x, kind)  # type: ignore[no-any-return]
    largest = LARGEST[kind]
    scales = x.float().abs().amax(1, keepdim=True).clamp_(min=1e-12) / largest
    numbers = x.float() / scales
    return Eight((numbers.round_() if kind == torch.int8 else numbers.clamp_(-largest, largest)).to(kind), scales)


def _rounded(x: Tensor, kind: torch.dtype | None) -> Tensor | Eight:
    return x if kind is None else quantise(x, kind)


def group_affine(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """A group norm of the picture x as a factor and a summand for each channel, float32 [c] both."""
    found = _kernels(x)
    if found:
        return found.group_affine(x, groups, weight, bias, eps)  # type: ignore[no-any-return]
    _, channels, height, width = x.shape
    count = channels // groups * height * width
    total = torch.zeros(channels, dtype=torch.float32, device=x.device)
    for top, bottom in slabs(height, width):
        total += x[0, :, top:bottom].sum((1, 2), dtype=torch.float32)
    mean = (total.view(groups, -1).sum(1) / count).repeat_interleave(channels // groups)
    squares = torch.zeros_like(total)
    for top, bottom in slabs(height, width):
        squares += (x[0, :, top:bottom].float() - mean[:, None, None]).square_().sum((1, 2))
    variance = (squares.view(groups, -1).sum(1) / count).repeat_interleave(channels // groups)
    factor = weight.float() * torch.rsqrt(variance + eps)
    return factor, bias.float() - mean * factor


def window(x: Tensor, top: int, bottom: int, affine: tuple[Tensor, Tensor] | None, enlarged: bool) -> Tensor:
    """What a 3x3 convolution needs for its rows `top` to `bottom`: [1, c, bottom - top + 2, w + 2], zeros beyond x.

    Of SiLU(factor x + summand) with an `affine`, of x at twice its size if `enlarged`, or of x.
    """
    found = _kernels(x)
    if found:
        return found.window(x, top, bottom, affine, enlarged)  # type: ignore[no-any-return]
    rows, above = _rows(x, top, bottom, affine, enlarged)
    below = rows.shape[2] - above - (bottom - top)  # of rows that the slab's own convolution sees, those that are there
    rows = rows[:, :, max(0, above - 1) : rows.shape[2] - max(0, below - 1)]
    return F.pad(rows, (1, 1, int(not above), int(not below)))


def window_to_pad(
    x: Tensor, top: int, bottom: int, affine: tuple[Tensor, Tensor] | None, enlarged: bool
) -> tuple[Tensor, int, int]:
    """What gives a 3x3 convolution's rows `top` to `bottom`, the padding that it needs, and the first of them in it.

    As `window`, which on a CPU costs a third of the convolution: there the convolution pads, faster.
    """
    if _kernels(x):
        return window(x, top, bottom, affine, enlarged), 0, 0
    rows, above = _rows(x, top, bottom, affine, enlarged)
    return rows, 1, above


def _rows(x: Tensor, top: int, bottom: int, affine: tuple[Tensor, Tensor] | None, enlarged: bool) -> tuple[Tensor, int]:
    """The rows of a layer's input that its output's rows `top` to `bottom` depend on, and how many are above `top`."""
    scale = 2 if enlarged else 1
    first, last = max(0, (top - 1) // scale), min(x.shape[2], (bottom + scale) // scale)
    rows = x[:, :, first:last]
    if affine is not None:
        rows = F.silu(normal(rows, affine), inplace=True)
    if enlarged:
        rows = F.interpolate(rows, scale_factor=2.0, mode="nearest")
    return rows, top - first * scale


def normal(x: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    """A picture times factor, plus summand."""
    factor, summand = (each.view(1, -1, 1, 1) for each in affine)
    return torch.addcmul(summand, x.float(), factor).to(x.dtype)


def put(out: Tensor, made: Tensor, bias: Tensor, add: bool) -> None:
    """Let `out` be made + bias [c], or `add` that to it: rows of a picture, all as wide as it."""
    found = _kernels(out)
    if found:
        found.put(out, made, bias, add)
        return
    made += bias.view(1, -1, 1, 1)
    if add:
        out += made
    else:
        out.copy_(made)


def slabs(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows from … to, of a layer's output: each slab about SLAB_PIXELS, all of them even so that halves fit."""
    rows = max(2, SLAB_PIXELS // width // 2 * 2)
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


def use_plain(reason: str) -> None:
    """Let the plain functions run from now on, in this process; `reason` is what `plain_because` gives."""
    global plain_because
    plain_because = reason


def _kernels(x: Tensor) -> Any:
    """The module with the kernels where they run for this tensor, else None."""
    return kernels() if x.is_cuda and not plain_because else None


@cache
def kernels() -> Any:
    """The module with the kernels, None without Triton."""
    return import_module(".kernels", __package__) if find_spec("triton") else None
