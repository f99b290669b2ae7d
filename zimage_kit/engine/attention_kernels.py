"""Attention of all tokens to all in Triton, for Hopper: no plan for each number of tokens, and in 8 bits where wished.

The softmax is computed on the way, as in FlashAttention-2 (Dao 2023): a program has some tokens' queries and goes
through all keys and values. Tiles come and go by Hopper's tensor memory accelerator, which fills what lies beyond the
last token with zeros. In 8 bits (float8 e4m3) queries and keys have one scale for all, since their norm bounds them,
and values one for each head; sums are of 32 bits. `attention` chooses, and has what these are tested against.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from math import e, log2, sqrt
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from . import kernels
from .eight import LARGEST

_FLOAT8 = torch.float8_e4m3fn
_LARGEST = LARGEST[_FLOAT8]
_ROWS, _COLUMNS, _EIGHT_COLUMNS = 64, 64, 128
"""Queries that one program has, and keys that it takes at once (the fastest of ten pairs on an H200)."""
_WARPS, _STAGES = 4, 3
_TOKENS = 64
"""That one program rounds to 8 bits."""


@triton.jit
def _attend(
    q_tiles, k_tiles, v_tiles, out_tiles, q_weight, k_weight, v_largest, N, scale, Q: tl.constexpr, K: tl.constexpr,
    V: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, LARGEST: tl.constexpr,
    V_LARGEST: tl.constexpr,
):  # fmt: skip
    begin, head = tl.program_id(0) * ROWS, tl.program_id(1)
    if LARGEST > 0:
        at = tl.arange(0, D)
        scale *= tl.max(tl.abs(tl.load(q_weight + at)).to(tl.float32), 0) / LARGEST
        scale *= tl.max(tl.abs(tl.load(k_weight + at)).to(tl.float32), 0) / LARGEST
    q = q_tiles.load([begin, Q + head * D])
    most = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    found = tl.zeros([ROWS, D], tl.float32)
    whole = N // COLUMNS * COLUMNS
    for first in tl.range(0, whole, COLUMNS):
        k = k_tiles.load([first, K + head * D])
        v = _values(v_tiles, first, V, head, D, LARGEST)
        most, total, found = _update(q, k, v, most, total, found, N - first, scale, COLUMNS, False, LARGEST)
    if whole < N:
        k = k_tiles.load([whole, K + head * D])
        v = _values(v_tiles, whole, V, head, D, LARGEST)
        most, total, found = _update(q, k, v, most, total, found, N - whole, scale, COLUMNS, True, LARGEST)
    found = found / total[:, None]
    if LARGEST > 0:
        found *= tl.load(v_largest + head) / V_LARGEST
    out_tiles.store([begin, head * D], found.to(out_tiles.dtype))


@triton.jit
def _values(v_tiles, first, V: tl.constexpr, head, D: tl.constexpr, LARGEST: tl.constexpr):
    if LARGEST > 0:  # tensor cores take 8 bits of neighbouring tokens, so these were transposed
        return v_tiles.load([head * D, first]).T
    return v_tiles.load([first, V + head * D])


@triton.jit
def _update(
    q, k, v, most, total, found, left, scale, COLUMNS: tl.constexpr, LAST: tl.constexpr, LARGEST: tl.constexpr
):  # fmt: skip
    """The greatest logit (of base 2), the weights' sum and that of weighted values, with these keys and values too."""
    logits = tl.dot(q, k.T)
    if LAST:
        logits = tl.where(tl.arange(0, COLUMNS)[None, :] < left, logits, float("-inf"))
    now = tl.maximum(most, tl.max(logits, 1) * scale)
    # float8 has its 3 bits between 2^-6 and 448, so weights of at most 256 keep more of the small ones than those of 1
    weights = tl.exp2(logits * scale - now[:, None] + (8.0 if LARGEST > 0 else 0.0))
    shrunk = tl.exp2(most - now)
    found = tl.dot(weights.to(v.dtype), v, found * shrunk[:, None])
    return now, total * shrunk + tl.sum(weights, 1), found


@triton.jit
def _turn(x, weight, cos, sin, eps, D: tl.constexpr, T: tl.constexpr, LARGEST: tl.constexpr):
    """Norm rows [T, D], turn their pairs, and let the most that they can be, sqrt(D) times a weight, be LARGEST."""
    x = x * tl.rsqrt(tl.sum(x * x, 1) / D + eps)[:, None] * (weight / tl.max(tl.abs(weight), 0))[None, :]
    real, imaginary = tl.split(tl.reshape(x, (T, D // 2, 2)))
    turned = tl.reshape(tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos), (T, D))
    return tl.minimum(tl.maximum(turned * LARGEST, -448.0), 448.0)


@triton.jit
def _to_eight(
    qkv, rotations, q_weight, k_weight, q_out, k_out, v_largest, eps, N, H, D: tl.constexpr, T: tl.constexpr,
    LARGEST: tl.constexpr,
):  # fmt: skip
    token, head, at = tl.program_id(0) * T + tl.arange(0, T)[:, None], tl.program_id(1), tl.arange(0, D)
    mask = token < N
    here = qkv + (token.to(tl.int64) * 3 * H + head) * D + at[None, :]
    angles = tl.load(rotations + token * D + at[None, :], mask=mask, other=0)
    cos, sin = tl.split(tl.reshape(angles, (T, D // 2, 2)))
    out = (token.to(tl.int64) * H + head) * D + at[None, :]
    q = tl.load(here, mask=mask, other=0).to(tl.float32)
    q = _turn(q, tl.load(q_weight + at).to(tl.float32), cos, sin, eps, D, T, LARGEST)
    tl.store(q_out + out, q.to(q_out.dtype.element_ty), mask=mask)
    k = tl.load(here + H * D, mask=mask, other=0).to(tl.float32)
    k = _turn(k, tl.load(k_weight + at).to(tl.float32), cos, sin, eps, D, T, LARGEST)
    tl.store(k_out + out, k.to(k_out.dtype.element_ty), mask=mask)
    v = tl.load(here + 2 * H * D, mask=mask, other=0).to(tl.float32)
    tl.atomic_max(v_largest + head, tl.max(tl.max(tl.abs(v), 1), 0))


@triton.jit
def _transpose(
    qkv, v_largest, out, N, H, width, D: tl.constexpr, T: tl.constexpr, LARGEST: tl.constexpr
):  # fmt: skip
    token, head, at = tl.program_id(0) * T + tl.arange(0, T), tl.program_id(1), tl.arange(0, D)
    here = qkv + (token[:, None].to(tl.int64) * 3 * H + 2 * H + head) * D + at[None, :]
    v = tl.load(here, mask=token[:, None] < N, other=0).to(tl.float32)
    v = v * (LARGEST / tl.maximum(tl.load(v_largest + head), 1e-12))
    v = tl.minimum(tl.maximum(v, -LARGEST), LARGEST)
    there = out + (head * D + at[:, None]).to(tl.int64) * width + token[None, :]
    tl.store(there, tl.trans(v).to(out.dtype.element_ty), mask=token[None, :] < width)


def attend(qkv: Tensor) -> Tensor:
    """See `attention.attend`, of queries and keys that are normed and turned."""
    tokens, _, heads, width = qkv.shape
    flat, out = qkv.view(tokens, -1), qkv.new_empty((tokens, heads * width))
    keys = _tiles(flat, _COLUMNS, width)
    places = {"Q": 0, "K": heads * width, "V": 2 * heads * width, "COLUMNS": _COLUMNS, "LARGEST": 0.0}
    _run((_tiles(flat, _ROWS, width), keys, keys, _tiles(out, _ROWS, width)), (out, out, out), heads, width, places)
    return out


def attend_eight(qkv: Tensor, rotations: Tensor, q_weight: Tensor, k_weight: Tensor, eps: float) -> Tensor:
    """See `attention.attend`; in float8."""
    tokens, _, heads, width = qkv.shape
    largest = _LARGEST / sqrt(width)
    q, k = qkv.new_empty((2, tokens, heads * width), dtype=_FLOAT8)
    v_largest = torch.zeros(heads, dtype=torch.float32, device=qkv.device)
    given: tuple[Any, ...] = (
        qkv,
        torch.view_as_real(rotations),
        q_weight,
        k_weight,
        q,
        k,
        v_largest,
        eps,
        tokens,
        heads,
    )
    sizes = {"D": width, "T": _TOKENS, "num_warps": _WARPS}
    kernels.launch(_to_eight, (triton.cdiv(tokens, _TOKENS), heads), *given, **sizes, LARGEST=largest)
    padded = triton.cdiv(tokens, _EIGHT_COLUMNS) * _EIGHT_COLUMNS
    v = qkv.new_empty((heads * width, padded), dtype=_FLOAT8)
    given = (qkv, v_largest, v, tokens, heads, padded)
    kernels.launch(_transpose, (padded // _TOKENS, heads), *given, **sizes, LARGEST=_LARGEST)
    out = qkv.new_empty((tokens, heads * width))
    tiles = _tiles(q, _ROWS, width), _tiles(k, _EIGHT_COLUMNS, width), _tiles(v, width, _EIGHT_COLUMNS)
    places = {"Q": 0, "K": 0, "V": 0, "COLUMNS": _EIGHT_COLUMNS, "LARGEST": largest}
    _run((*tiles, _tiles(out, _ROWS, width)), (q_weight, k_weight, v_largest), heads, width, places)
    return out


def _tiles(matrix: Tensor, rows: int, columns: int) -> TensorDescriptor:
    return TensorDescriptor(matrix, list(matrix.shape), list(matrix.stride()), [rows, columns])


def _run(tiles: tuple[Any, ...], given: tuple[Tensor, ...], heads: int, width: int, places: dict[str, Any]) -> None:
    tokens = len(tiles[-1].base)
    sizes = {"D": width, "ROWS": _ROWS, "V_LARGEST": _LARGEST, "num_warps": _WARPS, "num_stages": _STAGES}
    scale = log2(e) / sqrt(width)
    kernels.launch(_attend, (triton.cdiv(tokens, _ROWS), heads), *tiles, *given, tokens, scale, **sizes, **places)
