"""Unpacks the codes of GGUF files with PyTorch: on a GPU in seconds, where NumPy takes minutes.

A row is packed in blocks of 32 weights, or of 256 in eight or sixteen parts (the K codes), each with its own scales.
Bit-equal to the gguf package (0.19), which describes the layouts and unpacks the codes that are not here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 1 << 22
"""Weights that are unpacked together: 16 MB in float32."""


def unpack(packed: Tensor, kind: str, device: torch.device) -> Tensor:
    """float32 [rows, columns] on a device, of uint8 [rows, bytes]. Raises KeyError for a code that is not here."""
    weights, size, of_blocks = CODES[kind]
    rows, columns = len(packed), packed.shape[1] // size * weights
    out = torch.empty((rows, columns), dtype=torch.float32, device=device)
    step = max(1, CHUNK // columns)
    for start in range(0, rows, step):
        blocks = packed[start : start + step].to(device).reshape(-1, size)
        out[start : start + step] = of_blocks(blocks).reshape(-1, columns)
    return out


def _half(codes: Tensor) -> Tensor:
    """float32 [blocks, n] of float16 as bytes [blocks, 2 n]."""
    return codes.contiguous().view(torch.float16).float()


def _nibbles(codes: Tensor, parts: int) -> Tensor:
    """[blocks, 2 parts, n]: of each part of n bytes the lower halves, then the upper ones."""
    codes = codes.reshape(len(codes), parts, 1, -1)
    return torch.cat([codes & 15, codes >> 4], 2).reshape(len(codes), 2 * parts, -1)


def _bits(codes: Tensor, width: int, places: int) -> Tensor:
    """[blocks, places, n]: `width` bits of each of n bytes, at place 0, 1, … from the right."""
    shifts = torch.arange(0, width * places, width, dtype=torch.uint8, device=codes.device)
    return (codes[:, None, :] >> shifts[None, :, None]) & ((1 << width) - 1)


def _scales(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Scales and minima of eight parts, 6 bits each in 12 bytes: uint8 [blocks, 8] both."""
    low, middle, high = codes.reshape(-1, 3, 4).unbind(1)
    scales = torch.cat([low & 63, (high & 15) | ((low >> 2) & 48)], 1)
    return scales, torch.cat([middle & 63, (high >> 4) | ((middle >> 2) & 48)], 1)


def _q8_0(blocks: Tensor) -> Tensor:
    return _half(blocks[:, :2]) * blocks[:, 2:].view(torch.int8).float()


def _q4_0(blocks: Tensor) -> Tensor:
    return _half(blocks[:, :2]) * (_nibbles(blocks[:, 2:], 1).flatten(1).to(torch.int8) - 8).float()


def _eighths(blocks: Tensor, codes: Tensor) -> Tensor:
    """Codes [blocks, 8, 32] times their part's scale, less its minimum."""
    both, (scales, minima) = _half(blocks[:, :4]), _scales(blocks[:, 4:16])
    times, less = both[:, :1] * scales.float(), both[:, 1:] * minima.float()
    return times[..., None] * codes.float() - less[..., None]


def _q4_k(blocks: Tensor) -> Tensor:
    return _eighths(blocks, _nibbles(blocks[:, 16:], 4))


def _q5_k(blocks: Tensor) -> Tensor:
    return _eighths(blocks, _nibbles(blocks[:, 48:], 4) | (_bits(blocks[:, 16:48], 1, 8) << 4))


def _q6_k(blocks: Tensor) -> Tensor:
    low = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = torch.cat([low & 15, low >> 4], 2).reshape(len(blocks), 8, 32)
    high = blocks[:, 128:192].reshape(-1, 32)
    codes = (low | (_bits(high, 2, 4).reshape(len(blocks), 8, 32) << 4)).to(torch.int8) - 32
    scales = _half(blocks[:, 208:]) * blocks[:, 192:208].view(torch.int8).float()
    return scales[..., None] * codes.reshape(len(blocks), 16, 16).float()


CODES: dict[str, tuple[int, int, Callable[[Tensor], Tensor]]] = {
    "Q8_0": (32, 34, _q8_0),
    "Q4_0": (32, 18, _q4_0),
    "Q4_K": (256, 144, _q4_k),
    "Q5_K": (256, 176, _q5_k),
    "Q6_K": (256, 210, _q6_k),
}
"""Of each code: the weights of a block, its bytes, and a function from uint8 [blocks, bytes] to its weights."""
