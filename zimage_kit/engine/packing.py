"""Weights in 8 bits while they wait: int8 or float8 (e4m3), with a scale for each row of a matrix.

What computes is 16 or 32 bits wide as before: a matrix is spread out again just before its block computes. Half the
bytes are kept and copied; each weight is rounded once, whether its block is streamed or resident, so that how much
memory there is still changes no pixel. Vectors, and the matrices that modulation comes from, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

ALIGNMENT = 256
"""Bytes; what CUDA's own allocations have, so that a product picks the same kernel for a view as for a tensor."""
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
        end = 0
        for name, place in places.items():
            rows = place.shape[0] if self._packs(name) else 0
            scales = end + _aligned(prod(place.shape) * (1 if rows else dtype.itemsize))
            self._begins[name] = end, scales
            end = scales + _aligned(rows * 4)
        self.bytes = end

    def pack(self, name: str, weight: Tensor, into: Tensor) -> None:
        """Write a weight to its place in `into`, a buffer of `bytes` bytes."""
        numbers, scales = self._views(name, into)
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
            numbers, scales = self._views(name, packed)
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
            for view in (whole, None if packed is None else self._views(name, packed)[0]):
                if view is not None:
                    view.mul_(factor)
            return
        old = self._scales[name]
        self._scales[name] = old * factor
        if whole is not None:  # from its numbers again, so that it is rounded once
            numbers = self._rounded(whole.float() / old.to(whole.device)).to(self._dtype).float()
            whole.copy_(numbers * self._scales[name].to(whole.device))
        if packed is not None and (scales := self._views(name, packed)[1]) is not None:
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

    def _views(self, name: str, packed: Tensor) -> tuple[Tensor, Tensor | None]:
        shape, (begin, scales) = self._places[name].shape, self._begins[name]
        if not self._packs(name):
            return packed[begin : begin + prod(shape) * self._dtype.itemsize].view(self._dtype).view(shape), None
        numbers = packed[begin : begin + prod(shape)].view(self._stored).view(shape)
        return numbers, packed[scales : scales + 4 * shape[0]].view(torch.float32).view(-1, 1)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
