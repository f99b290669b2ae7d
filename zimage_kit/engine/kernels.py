"""Elementwise work on a GPU, in Triton: each kernel reads what it needs once and writes what is needed next once.

Between two matrix products or convolutions a plain program launches up to a dozen kernels, each of which moves the
whole of the hidden states through memory. These compute in float32 and round once, at the end. `fused` has the same
functions in plain PyTorch, which is what they are tested against, and chooses between the two.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .eight import LARGEST, Eight

_WARPS = 8
_COLUMNS = 2048
"""Numbers of a row that one program computes, of what goes number by number."""
_CHANNELS, _PIXELS = 128, 64
"""Of a picture that one program computes."""
_ROWS, _TILES = 32, 1024
"""Pixels of which sums are begun together, and the most programs that share a picture's sums."""
_HEADS = 16
"""That one program turns."""


@triton.jit
def _rms(x, weight, eps, D: tl.constexpr):
    return x * tl.rsqrt(tl.sum(x * x, 0) / D + eps) * weight


@triton.jit
def _put_row(value, out, scales, row, at, mask, D: tl.constexpr, LARGEST: tl.constexpr, WHOLE: tl.constexpr):
    """Store a whole row of D numbers: as it is (LARGEST 0), or in 8 bits with a scale of its own."""
    if LARGEST > 0:
        scale = tl.maximum(tl.max(tl.abs(value), 0), 1e-12) / LARGEST
        value = value / scale
        if WHOLE:
            value = tl.floor(value + 0.5)
        value = tl.minimum(tl.maximum(value, -LARGEST), LARGEST)
        tl.store(scales + row, scale)
    tl.store(out + row * D + at, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _norm(
    x, weight, out, scales, eps, D: tl.constexpr, BLOCK: tl.constexpr, LARGEST: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    mask = at < D
    value = tl.load(x + row * D + at, mask=mask, other=0).to(tl.float32)
    found = _rms(value, tl.load(weight + at, mask=mask, other=0).to(tl.float32), eps, D)
    _put_row(found, out, scales, row, at, mask, D, LARGEST, WHOLE)


@triton.jit
def _add_norm(
    x, y, gate, out, weight, normed, scales, y_eps, eps, D: tl.constexpr, BLOCK: tl.constexpr,
    FIRST: tl.constexpr, THEN: tl.constexpr, LARGEST: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    mask = at < D
    value = tl.load(y + row * D + at, mask=mask, other=0).to(tl.float32)
    if FIRST:
        value = _rms(value, tl.load(gate + at, mask=mask, other=0).to(tl.float32), y_eps, D)
    total = (tl.load(x + row * D + at, mask=mask, other=0).to(tl.float32) + value).to(out.dtype.element_ty)
    tl.store(out + row * D + at, total, mask=mask)
    if THEN:
        found = _rms(total.to(tl.float32), tl.load(weight + at, mask=mask, other=0).to(tl.float32), eps, D)
        _put_row(found, normed, scales, row, at, mask, D, LARGEST, WHOLE)


@triton.jit
def _turn(qkv, rotations, q_weight, k_weight, eps, H: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr):
    token, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    head, at = tl.arange(0, HEADS)[:, None], tl.arange(0, D)[None, :]
    mask = head < H
    here = qkv + (token * 3 + part) * H * D + head * D + at
    x = tl.load(here, mask=mask, other=0).to(tl.float32)
    if part == 0:
        weight = tl.load(q_weight + at).to(tl.float32)
    else:
        weight = tl.load(k_weight + at).to(tl.float32)
    x = x * tl.rsqrt(tl.sum(x * x, 1) / D + eps)[:, None] * weight
    real, imaginary = tl.split(tl.reshape(x, (HEADS, D // 2, 2)))  # whole rows are loaded: pairs would be slow
    cos, sin = tl.split(tl.reshape(tl.load(rotations + token * D + tl.arange(0, D)), (1, D // 2, 2)))
    turned = tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos)
    tl.store(here, tl.reshape(turned, (HEADS, D)).to(qkv.dtype.element_ty), mask=mask)


@triton.jit
def _silu_gate(
    x, out, scales, F: tl.constexpr, BLOCK: tl.constexpr, LARGEST: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = at < F
    gate = tl.load(x + row * 2 * F + at, mask=mask, other=0).to(tl.float32)
    up = tl.load(x + row * 2 * F + F + at, mask=mask, other=0).to(tl.float32)
    _put_row(gate * tl.sigmoid(gate) * up, out, scales, row, at, mask, F, LARGEST, WHOLE)


@triton.jit
def _turn_halves(
    heads, cos, sin, q_weight, k_weight, eps, H, Q, stride, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head, at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[:, None], tl.arange(0, D // 2)[None, :]
    mask = head < H
    here = heads + token * stride + head * D + at
    first = tl.load(here, mask=mask, other=0).to(tl.float32)
    second = tl.load(here + D // 2, mask=mask, other=0).to(tl.float32)
    scale = tl.rsqrt((tl.sum(first * first, 1) + tl.sum(second * second, 1)) / D + eps)[:, None]
    of_q = head < Q
    first *= scale * tl.where(of_q, tl.load(q_weight + at), tl.load(k_weight + at)).to(tl.float32)
    at += D // 2
    second *= scale * tl.where(of_q, tl.load(q_weight + at), tl.load(k_weight + at)).to(tl.float32)
    c, s = tl.load(cos + token * D + at).to(tl.float32), tl.load(sin + token * D + at).to(tl.float32)
    tl.store(here, (first * c - second * s).to(heads.dtype.element_ty), mask=mask)
    tl.store(here + D // 2, (second * c + first * s).to(heads.dtype.element_ty), mask=mask)


@triton.jit
def _quantise(x, out, scales, D: tl.constexpr, BLOCK: tl.constexpr, LARGEST: tl.constexpr, WHOLE: tl.constexpr):
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    mask = at < D
    value = tl.load(x + row * D + at, mask=mask, other=0).to(tl.float32)
    _put_row(value, out, scales, row, at, mask, D, LARGEST, WHOLE)


@triton.jit(do_not_specialize=["N", "rows"])
def _moments(x, means, squares, N, rows, C, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    tile = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    first, last = tile * rows, tl.minimum((tile + 1) * rows, N)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for begin in range(first, last, ROWS):
        pixel = begin + tl.arange(0, ROWS)[:, None]
        mask = (pixel < last) & (channel[None, :] < C)
        total += tl.load(x + pixel * C + channel[None, :], mask=mask, other=0).to(tl.float32)
    mean = tl.sum(total, 0) / (last - first).to(tl.float32)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for begin in range(first, last, ROWS):
        pixel = begin + tl.arange(0, ROWS)[:, None]
        mask = (pixel < last) & (channel[None, :] < C)
        apart = tl.load(x + pixel * C + channel[None, :], mask=mask, other=0).to(tl.float32) - mean[None, :]
        total += tl.where(mask, apart * apart, 0)
    tl.store(means + tile * C + channel, mean, mask=channel < C)
    tl.store(squares + tile * C + channel, tl.sum(total, 0), mask=channel < C)


@triton.jit(do_not_specialize=["N", "rows", "tiles"])
def _affine(
    means, squares, weight, bias, factor, summand, N, rows, tiles, eps, C, WIDTH,
    BLOCK: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    at = tl.arange(0, BLOCK)[None, :]
    channel, inside = tl.program_id(0) * WIDTH + at, at < WIDTH
    count = (N * WIDTH).to(tl.float32)
    total = tl.zeros((TILES, BLOCK), tl.float32)
    for begin in range(0, tiles, TILES):
        tile = begin + tl.arange(0, TILES)[:, None]
        there, pixels = (tile < tiles) & inside, tl.minimum(N - tile * rows, rows).to(tl.float32)
        total += tl.where(there, pixels * tl.load(means + tile * C + channel, mask=there, other=0), 0)
    mean = tl.sum(tl.sum(total, 1), 0) / count
    total = tl.zeros((TILES, BLOCK), tl.float32)
    for begin in range(0, tiles, TILES):
        tile = begin + tl.arange(0, TILES)[:, None]
        there, pixels = (tile < tiles) & inside, tl.minimum(N - tile * rows, rows).to(tl.float32)
        apart = tl.load(means + tile * C + channel, mask=there, other=0) - mean
        within = tl.load(squares + tile * C + channel, mask=there, other=0)
        total += tl.where(there, within + pixels * apart * apart, 0)
    variance = tl.sum(tl.sum(total, 1), 0) / count
    scale = tl.load(weight + channel, mask=inside, other=0).to(tl.float32) * tl.rsqrt(variance + eps)
    tl.store(factor + channel, scale, mask=inside)
    shift = tl.load(bias + channel, mask=inside, other=0).to(tl.float32) - mean * scale
    tl.store(summand + channel, shift, mask=inside)


@triton.jit(do_not_specialize=["top", "height", "width", "out_width"])
def _window(
    x, out, factor, summand, top, height, width, out_width, C,
    BLOCK: tl.constexpr, COLUMNS: tl.constexpr, SCALE: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[:, None]
    channel = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)[None, :]
    y, at, known = top + row, column - 1, channel < C
    line = y + 0 * at  # Triton 3.9's interpreter takes no mask with a single number in it
    inside = (line >= 0) & (line < height * SCALE) & (at >= 0) & (at < width * SCALE) & known
    source = ((y // SCALE).to(tl.int64) * width + at // SCALE) * C + channel
    value = tl.load(x + source, mask=inside, other=0).to(tl.float32)
    if NORM:
        value = value * tl.load(factor + channel, mask=known, other=0) + tl.load(summand + channel, mask=known, other=0)
        value = tl.where(inside, value * tl.sigmoid(value), 0)
    target = (row.to(tl.int64) * out_width + column) * C + channel
    tl.store(out + target, value.to(out.dtype.element_ty), mask=(column < out_width) & known)


@triton.jit(do_not_specialize=["N"])
def _put(out, made, bias, N, C, BLOCK: tl.constexpr, PIXELS: tl.constexpr, ADD: tl.constexpr):
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)[:, None]
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    at, mask = pixel * C + channel, (pixel < N) & (channel < C)
    value = tl.load(made + at, mask=mask, other=0).to(tl.float32)
    value += tl.load(bias + channel, mask=channel < C, other=0).to(tl.float32)
    if ADD:
        value += tl.load(out + at, mask=mask, other=0).to(tl.float32)
    tl.store(out + at, value.to(out.dtype.element_ty), mask=mask)


def norm(x: Tensor, weight: Tensor, eps: float, kind: torch.dtype | None = None) -> Tensor | Eight:
    """See `fused.norm`."""
    rows, width = x.shape
    out, scales, rounding = _like(x, kind)
    sizes = {"D": width, "BLOCK": _power(width), **rounding}
    launch(_norm, (rows,), x, weight, out, scales, eps, **sizes, num_warps=_WARPS)
    return out if kind is None else Eight(out, scales)


def add_norm(
    x: Tensor,
    y: Tensor,
    gate: Tensor | None,
    y_eps: float,
    weight: Tensor | None = None,
    eps: float = 0.0,
    kind: torch.dtype | None = None,
) -> tuple[Tensor, Tensor | Eight]:
    """See `fused.add_norm`; without `weight` the second of the two is the first."""
    rows, width = x.shape
    out = torch.empty_like(x)
    normed, scales, rounding = (out, out, _rounding(None)) if weight is None else _like(x, kind)
    given = (x, y, x if gate is None else gate, out, x if weight is None else weight, normed, scales, y_eps, eps)
    sizes = {"D": width, "BLOCK": _power(width), "FIRST": gate is not None, "THEN": weight is not None, **rounding}
    launch(_add_norm, (rows,), *given, **sizes, num_warps=_WARPS)
    return out, normed if kind is None else Eight(normed, scales)


def turn(qkv: Tensor, rotations: Tensor, q_weight: Tensor, k_weight: Tensor, eps: float) -> None:
    """See `fused.turn`."""
    tokens, _, heads, width = qkv.shape
    angles = torch.view_as_real(rotations)
    sizes = {"H": heads, "HEADS": _power(heads), "D": width}
    launch(_turn, (tokens, 2), qkv, angles, q_weight, k_weight, eps, **sizes, num_warps=4)


def silu_gate(x: Tensor, kind: torch.dtype | None = None) -> Tensor | Eight:
    """See `fused.silu_gate`."""
    rows, width = x.shape[0], x.shape[1] // 2
    out, scales, rounding = _like(x[:, :width], kind)
    block = min(_power(width), _COLUMNS) if kind is None else _power(width)  # a row's scale is of all of it
    sizes = {"F": width, "BLOCK": block, **rounding}
    warps = _WARPS if block <= _COLUMNS else 2 * _WARPS
    launch(_silu_gate, (rows, triton.cdiv(width, block)), x, out, scales, **sizes, num_warps=warps)
    return out if kind is None else Eight(out, scales)


def turn_halves(
    heads: Tensor, cos: Tensor, sin: Tensor, q_weight: Tensor, k_weight: Tensor, q: int, eps: float
) -> None:
    """See `fused.turn_halves`."""
    tokens, count, width = heads.shape
    grid = tokens, triton.cdiv(count, _HEADS)
    sizes = {"D": width, "BLOCK": _HEADS}
    given = (heads, cos, sin, q_weight, k_weight, eps, count, q, heads.stride(0))
    launch(_turn_halves, grid, *given, **sizes, num_warps=4)


def quantise(x: Tensor, kind: torch.dtype) -> Eight:
    """See `fused.quantise`."""
    rows, width = x.shape
    out, scales, rounding = _like(x, kind)
    launch(_quantise, (rows,), x, out, scales, D=width, BLOCK=_power(width), **rounding, num_warps=_WARPS)
    return Eight(out, scales)


def group_affine(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See `fused.group_affine`."""
    _, channels, height, width = x.shape
    count, wide = height * width, channels // groups
    rows = max(_ROWS, triton.cdiv(count, _TILES))
    tiles = triton.cdiv(count, rows)
    means, squares = torch.empty((2, tiles, channels), dtype=torch.float32, device=x.device)
    grid = tiles, triton.cdiv(channels, _CHANNELS)
    sizes = {"BLOCK": _CHANNELS, "ROWS": _ROWS}
    launch(_moments, grid, x, means, squares, count, rows, channels, **sizes, num_warps=_WARPS)
    factor, summand = torch.empty((2, channels), dtype=torch.float32, device=x.device)
    block = max(16, _power(wide))
    sizes = {"BLOCK": block, "TILES": max(1, 4096 // block)}
    given = (means, squares, weight, bias, factor, summand, count, rows, tiles, eps, channels, wide)
    launch(_affine, (groups,), *given, **sizes, num_warps=_WARPS)
    return factor, summand


def window(x: Tensor, top: int, bottom: int, affine: tuple[Tensor, Tensor] | None, enlarged: bool) -> Tensor:
    """See `fused.window`."""
    _, channels, height, width = x.shape
    scale = 2 if enlarged else 1
    rows, wide = bottom - top + 2, width * scale + 2
    out = x.new_empty((1, rows, wide, channels))
    factor, summand = affine or (x, x)
    sizes = {"BLOCK": _CHANNELS, "COLUMNS": _PIXELS, "SCALE": scale, "NORM": affine is not None}
    grid = rows, triton.cdiv(wide, _PIXELS), triton.cdiv(channels, _CHANNELS)
    given = (x, out, factor, summand, top - 1, height, width, wide, channels)
    launch(_window, grid, *given, **sizes, num_warps=_WARPS)
    return out.permute(0, 3, 1, 2)


def put(out: Tensor, made: Tensor, bias: Tensor, add: bool) -> None:
    """See `fused.put`."""
    made = made.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = made.shape
    grid = triton.cdiv(height * width, _PIXELS), triton.cdiv(channels, _CHANNELS)
    sizes = {"BLOCK": _CHANNELS, "PIXELS": _PIXELS, "ADD": add}
    launch(_put, grid, out, made, bias, height * width, channels, **sizes, num_warps=_WARPS)


def launch(kernel: Any, grid: tuple[int, ...], *given: Any, **sizes: Any) -> None:
    """Run it where its first tensor is. Unlike PyTorch's, Triton's launches go to the current device."""
    device = getattr(given[0], "base", given[0]).device  # of a tensor, or of one that is described
    if device.type == "cuda" and device.index != torch.cuda.current_device():
        with torch.cuda.device(device):
            kernel[grid](*given, **sizes)
    else:
        kernel[grid](*given, **sizes)


def _like(x: Tensor, kind: torch.dtype | None) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Rows for what is made of x, their scales (not used without `kind`), and what kernels are told about rounding."""
    out = x.new_empty(x.shape, dtype=kind or x.dtype)
    scales = out if kind is None else x.new_empty((len(x), 1), dtype=torch.float32)
    return out, scales, _rounding(kind)


def _rounding(kind: torch.dtype | None) -> dict[str, Any]:
    largest = 0.0 if kind is None else LARGEST[kind]
    return {"LARGEST": largest, "WHOLE": kind == torch.int8}


def _power(width: int) -> int:
    return int(triton.next_power_of_2(width))
