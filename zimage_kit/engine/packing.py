"""Weights in 8 bits: int8 or float8 (e4m3), with a scale for each row of a matrix.

They wait so, and what computes is 16 or 32 bits wide as before: a matrix is spread out again just before its block
computes. Or they are multiplied as they are, see `eight`. Half the bytes are kept and copied; each weight is rounded
once, whether its block is streamed or resident, so that how much memory there is still changes no pixel. Vectors, and
the matrices that modulation comes from, stay as they are. Weights that are multiplied with the same input lie side by
side, and so do their scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

ALIGNMENT = 256
"""Bytes; what CUDA's own allocations have, so that a product picks the same kernel for a view as for a tensor."""
FUSED = (
    ("attention.to_q.weight", "attention.to_k.weight", "attention.to_v.weight"),
    ("feed_forward.w1.weight", "feed_forward.w3.weight"),
    ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
)
"""Weights that are multiplied with the same input, of Z-Image's blocks and Qwen3's layers."""
_FOLLOWERS = frozenset(name for group in FUSED for name in group[1:])
_PACKED = (".to_q.", ".to_k.", ".to_v.", ".to_out.", ".w1.", ".w2.", ".w3.", "_proj.")
_LARGEST = {"int8": 127.0, "fp8": 448.0}


@dataclass(frozen=True)
class Place:
    """Where a weight lies in its block's buffer: first element, shape."""

    offset: int
    shape: tuple[int, ...]

    def view(self, buffer: Tensor) -> Tensor:
        """The weight in a block's buffer."""
        return buffer.narrow(0, self.offset, prod(self.shape)).view(self.shape)


class Packing:
    """How one block's weights lie in a buffer of bytes.

    The scales of their rows are kept here too, so that packing what was unpacked gives the same bytes.
    """

    def __init__(self, places: Mapping[str, Place], dtype: torch.dtype, precision: str) -> None:
        self._places, self._dtype, self._largest = places, dtype, _LARGEST[precision]
        self._stored = torch.int8 if precision == "int8" else torch.float8_e4m3fn
        self._scales: dict[str, Tensor] = {}
        self._begins: dict[str, tuple[int, int]] = {}  # of the numbers, of the scales
        begins, end = {}, 0
        for name, place in places.items():
            begins[name] = end if name in _FOLLOWERS else _aligned(end)
            end = begins[name] + prod(place.shape) * (1 if self._packs(name) else dtype.itemsize)
        for name, place in places.items():
            scales = -(-end // 4) * 4 if name in _FOLLOWERS else _aligned(end)
            self._begins[name] = begins[name], scales
            end = scales + 4 * (place.shape[0] if self._packs(name) else 0)
        self.bytes = _aligned(end)

    def pack(self, name: str, weight: Tensor, into: Tensor) -> None:
        """Write a weight to its place in `into`, a buffer of `bytes` bytes."""
        numbers, scales = self.views(name, into)
        if scales is None:
            numbers.copy_(weight)
            return
        found = weight.float()
        scale = self._scale(name, found)
        scales.copy_(scale)
        numbers.copy_(self._rounded(found / scale.to(found.device)))

    def unpack(self, packed: Tensor, out: Tensor) -> None:
        """Spread all weights out into a block's buffer, on the same device."""
        for name, place in self._places.items():
            numbers, scales = self.views(name, packed)
            target = place.view(out)
            if scales is None:
                target.copy_(numbers)
            elif numbers.dtype == torch.int8:
                torch.mul(numbers, scales, out=target)
            else:  # not multiplied by torch
                target.copy_(numbers)
                target.mul_(scales)

    def round(self, name: str, weight: Tensor) -> Tensor:
        """The weight as it is after packing and unpacking."""
        if not self._packs(name):
            return weight
        found = weight.float()
        scale = self._scale(name, found).to(found.device)
        return (self._rounded(found / scale).to(self._dtype).float() * scale).to(self._dtype)

    def multiply(self, name: str, factor: float, whole: Tensor | None, packed: Tensor | None) -> None:
        """Scale a weight by a power of two: as it computes (`whole`) or in the buffer that holds it `packed`."""
        if name not in self._scales:  # not packed
            for view in (whole, None if packed is None else self.views(name, packed)[0]):
                if view is not None:
                    view.mul_(factor)
            return
        old = self._scales[name]
        self._scales[name] = old * factor
        if whole is not None:  # from its numbers again, so that it is rounded once
            numbers = self._rounded(whole.float() / old.to(whole.device)).to(self._dtype).float()
            whole.copy_(numbers * self._scales[name].to(whole.device))
        if packed is not None and (scales := self.views(name, packed)[1]) is not None:
            scales *= factor

    def _packs(self, name: str) -> bool:
        return len(self._places[name].shape) == 2 and any(part in name for part in _PACKED)

    def _scale(self, name: str, weight: Tensor) -> Tensor:
        if name not in self._scales:
            most = weight.abs().amax(1, keepdim=True) / self._largest
            self._scales[name] = most.clamp_(min=torch.finfo(torch.float32).tiny).cpu()  # a row of zeros stays zero
        return self._scales[name]

    def _rounded(self, ratio: Tensor) -> Tensor:
        ratio = ratio.clamp_(-self._largest, self._largest)
        return (ratio.round_() if self._stored is torch.int8 else ratio).to(self._stored)

    def views(self, name: str, packed: Tensor) -> tuple[Tensor, Tensor | None]:
        """A weight in a packed buffer: numbers [rows, columns] and scales [rows, 1], or as it is and None."""
        shape, (begin, scales) = self._places[name].shape, self._begins[name]
        if not self._packs(name):
            return packed[begin : begin + prod(shape) * self._dtype.itemsize].view(self._dtype).view(shape), None
        numbers = packed[begin : begin + prod(shape)].view(self._stored).view(shape)
        return numbers, packed[scales : scales + 4 * shape[0]].view(torch.float32).view(-1, 1)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
