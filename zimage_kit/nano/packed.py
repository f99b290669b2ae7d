"""Weights of networks beside the model, packed: safetensors in LZMA, read into float32.

Those that only measure are kept in 8 bits: a matrix's rows are int8, each with a scale, and everything else is in half
precision. The network that finds joints says the same with them: of 250 people in 200 drawn scenes its error is 0.255%
of the picture's height, in half precision 0.254%. The judge decides one of 350 drawn scenes otherwise. The network that
enlarges draws, so it is kept in half precision, its matrices with seven of the ten bits behind the point: on 20 scenes
that is 43.57 dB, with all ten 43.50. Upper bytes stand apart from lower ones, since these pack well.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load as opened
from safetensors.torch import save as closed
from torch import Tensor

_SCALE, _LOW, _HIGH = ".scale", ".low", ".high"
_SPARED = 3
"""Bits of a matrix's numbers in half precision that are 0."""


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict (floating-point tensors) in 8 bits."""
    kept: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.dim() < 2:
            kept[name] = value.half().contiguous()
            continue
        scale = value.float().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        rows = value.float() / scale.view(-1, *(1,) * (value.dim() - 1))
        kept[name], kept[name + _SCALE] = rows.round().to(torch.int8).contiguous(), scale
    _write(kept, path)


def save_half(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict in half precision, its matrices rounded to 10 - _SPARED bits behind the point."""
    kept: dict[str, Tensor] = {}
    for name, value in state.items():
        flat = value.half().flatten().clone(memory_format=torch.contiguous_format)  # it may lie as channels last
        if value.dim() >= 2:  # its bits without the sign, as a whole number: the next one that _SPARED bits end as 0
            bits = flat.view(torch.int16).int() & 0xFFFF
            size = ((bits & 0x7FFF) + (1 << _SPARED - 1) >> _SPARED << _SPARED) | (bits & 0x8000)
            flat = size.to(torch.int16).view(torch.float16)
        bytes_ = flat.view(torch.uint8).view(*value.shape, 2)
        kept |= {name + _LOW: bytes_[..., 0].contiguous(), name + _HIGH: bytes_[..., 1].contiguous()}
    _write(kept, path)


def _write(kept: Mapping[str, Tensor], path: Path) -> None:
    path.write_bytes(lzma.compress(closed(dict(kept)), preset=9 | lzma.PRESET_EXTREME))


def load(path: Path) -> dict[str, Tensor]:
    """The state dict in float32, whichever way it was written."""
    found = opened(lzma.decompress(path.read_bytes()))
    state = {}
    for name, value in found.items():
        if name.endswith(_LOW):
            whole = name.removesuffix(_LOW)
            state[whole] = torch.stack((value, found[whole + _HIGH]), -1).view(torch.float16)[..., 0].float()
        elif name + _SCALE in found:
            state[name] = value.float() * found[name + _SCALE].view(-1, *(1,) * (value.dim() - 1))
        elif not name.endswith((_SCALE, _HIGH)):
            state[name] = value.float()
    return state
