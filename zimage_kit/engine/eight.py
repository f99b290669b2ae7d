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
from torch import Tensor, nn

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
"""The largest number of each of the types."""
_MULTIPLE = 16
"""The kernels take matrices whose sides are multiples of this; others are multiplied in 32 bits."""


@dataclass(frozen=True)
class Eight:
    """A matrix [rows, in]: int8 or float8 `numbers`, times their row's of `scales`, float32 [rows, 1]."""

    numbers: Tensor
    scales: Tensor

    def __len__(self) -> int:
        return len(self.numbers)


def of(weights: Sequence[Any]) -> list[Eight]:
    """The matrices of parameters that have them in 8 bits, joined where they lie side by side."""
    found: list[Eight] = [weight.eight for weight in weights]
    numbers, scales = joined([each.numbers for each in found]), joined([each.scales for each in found])
    return found if numbers is None or scales is None else [Eight(numbers, scales)]


def kind(*layers: Any) -> torch.dtype | None:
    """The 8 bits in which linear layers take what they are given; None where they, or their LoRAs, take it as it is."""
    return None if any(hasattr(layer, "adapters") for layer in layers) else packed(*layers)


def packed(*layers: Any) -> torch.dtype | None:
    """The 8 bits in which linear layers' weights are, whether LoRAs act on them or not; None where one's are not."""
    if any(type(layer) is not nn.Linear or not hasattr(layer.weight, "eight") for layer in layers):
        return None
    found: torch.dtype = layers[0].weight.eight.numbers.dtype
    return found


def product(x: Eight, weights: Sequence[Eight], dtype: torch.dtype) -> Tensor:
    """Multiply x [rows, in] with each of the weights [out, in], side by side: [rows, sum of out]."""
    made = [_product(x.numbers, x.scales, weight, dtype) for weight in weights]
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
