"""Products in 8 bits: weights with a scale for each row, inputs rounded with a scale for each of theirs.

float8 (e4m3) on cards that have it (Ada, Hopper, Blackwell), int8 on others: both multiply twice as fast as 16 bits.
Every number is rounded once, and sums are of 32 bits. One scale for a whole matrix harms Z-Image visibly; one for a row
does not (LPIPS 0.04 against bfloat16, published).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import fused

_MULTIPLE = 16
"""The kernels take matrices whose sides are multiples of this; others are multiplied in 32 bits."""


@dataclass(frozen=True)
class Eight:
    """A matrix [out, in]: int8 or float8 `numbers`, times their row's of `scales`, float32 [out, 1]."""

    numbers: Tensor
    scales: Tensor


def of(weights: Sequence[Any]) -> list[Eight] | None:
    """The matrices of parameters that have them in 8 bits, joined where they lie side by side; None for others."""
    found: list[Eight] = [weight.eight for weight in weights if hasattr(weight, "eight")]
    if len(found) < len(weights):
        return None
    numbers, scales = joined([each.numbers for each in found]), joined([each.scales for each in found])
    return found if numbers is None or scales is None else [Eight(numbers, scales)]


def product(x: Tensor, weights: Sequence[Eight]) -> Tensor:
    """Multiply x [rows, in] with each of the weights, side by side: [rows, out] in x's type."""
    numbers, scales = fused.quantise(x, weights[0].numbers.dtype)
    made = [_product(numbers, scales, weight, x.dtype) for weight in weights]
    return made[0] if len(made) == 1 else torch.cat(made, dim=-1)


def _product(x: Tensor, scales: Tensor, weight: Eight, dtype: torch.dtype) -> Tensor:
    fits = not any(side % _MULTIPLE for side in weight.numbers.shape)
    if x.is_cuda and fits and x.dtype == torch.int8 and len(x) > _MULTIPLE:
        sums: Tensor = torch._int_mm(x, weight.numbers.t())
        return (sums.float() * scales * weight.scales.t()).to(dtype)
    if x.is_cuda and fits and x.dtype == torch.float8_e4m3fn:
        return torch._scaled_mm(
            x, weight.numbers.t(), scale_a=scales, scale_b=weight.scales.t(), out_dtype=dtype, use_fast_accum=True
        )
    return ((x.float() @ weight.numbers.float().t()) * scales * weight.scales.t()).to(dtype)


def joined(parts: Sequence[Tensor]) -> Tensor | None:
    """Matrices [rows, columns] that lie side by side in one buffer, as one; None where they do not."""
    first = parts[0]
    if len(parts) == 1:
        return first
    rows, width, end = 0, first.shape[1], first.data_ptr()
    for part in parts:
        if part.data_ptr() != end or not part.is_contiguous():
            return None
        rows, end = rows + part.shape[0], end + part.nbytes
    if parts[-1].untyped_storage().data_ptr() != first.untyped_storage().data_ptr():
        return None
    return first.as_strided((rows, width), (width, 1))
