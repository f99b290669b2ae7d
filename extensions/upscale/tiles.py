"""Enlarging in overlapping, blended tiles, so that large pictures fit into memory without visible seams.

The outcome is a function of the picture, the network and the kind of device; free memory does not enter it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zimage_kit.engine.memory import out_of_memory, release
from zimage_kit.errors import BadRequest, OutOfMemory

from .networks import Network

OVERLAP = 32
"""Pixels of the smaller picture that neighbouring tiles share, beside what is blended."""
GRID = 16
SMALLEST = 64
SAFE = 2.0
"""Of 255. Half precision is used where it is no further than this from float32 anywhere in a test pattern."""
PATTERN = 128
"""Pixels of that pattern's side."""
TILE = 512
"""Pixels of the smaller picture. Not by free memory: tiles are blended, so another size would be another picture."""


def enlarge(
    image: Image.Image,
    network: Network,
    device: str,
    dtype: torch.dtype,
    tile: int | None = None,
    check: Callable[[], None] = lambda: None,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[Image.Image, str]:
    """An RGB picture made `network.scale` times as large, and in words how: in which type, in how many tiles.

    `tile` is the side of a tile in pixels of the smaller picture; None: `TILE`. What is chosen here depends on the
    network, the device and the picture alone, never on free memory. Raises OutOfMemory when a tile does not fit.
    """
    with torch.inference_mode():
        pixels = torch.from_numpy(np.asarray(image, np.uint8).copy()).permute(2, 0, 1)[None]
        if dtype != torch.float32 and coarseness(network, device, dtype) > SAFE:
            dtype = torch.float32
        try:
            made = _in_tiles(pixels, network, device, dtype, tile or TILE, check, report)
        except Exception as error:
            problem = out_of_memory(error, device, f"enlarging tiles of {tile or TILE} pixels")
            if problem is None:
                raise
            error.__traceback__ = None  # its frames hold what has to be freed
            release(device)
            mend = (
                f"Set upscale.tile={max(SMALLEST, (tile or TILE) // 2)}, or close other programs that use this device."
            )
            raise OutOfMemory(problem.seen, mend=mend, **problem.facts) from None
        if made is None:
            if dtype == torch.float32:
                raise BadRequest("the network produced NaN or infinite values", mend="Check its file.")
            return enlarge(image, network, device, torch.float32, tile, check, report)
        result, count = made
    name = str(dtype).removeprefix("torch.")
    side = tile or TILE
    return Image.fromarray(result.numpy()), f"{name}, " + (f"{count} tiles of {side} pixels" if count > 1 else "whole")


def coarseness(network: Network, device: str, dtype: torch.dtype) -> float:
    """How far this type is from float32, of 255 and at most, on a test pattern: the same for whatever picture comes."""
    if dtype not in network.error:
        ramp = torch.linspace(0, 1, PATTERN)
        grain = torch.rand((1, 3, PATTERN, PATTERN), generator=torch.Generator().manual_seed(0))
        pattern = (0.8 * ramp[None, None, :, None] * ramp + 0.2 * grain).to(device)  # 1 3 h w
        exact = network.run(pattern).clamp(0, 1)
        rough = network.run(pattern.to(dtype)).float().clamp(0, 1)
        network.error[dtype] = float((exact - rough).abs().max().nan_to_num(1.0)) * 255
    return network.error[dtype]


def _in_tiles(
    pixels: Tensor,
    network: Network,
    device: str,
    dtype: torch.dtype,
    side: int,
    check: Callable[[], None],
    report: Callable[[str], None],
) -> tuple[Tensor, int] | None:
    """(height, width, 3) uint8 on the CPU and the number of tiles; None where a value is not finite."""
    scale, (height, width) = network.scale, pixels.shape[-2:]
    rows, columns = _spans(height, side), _spans(width, side)
    count = len(rows) * len(columns)
    if count == 1:
        out = network.run(pixels.to(device, dtype) / 255)
        return None if not bool(torch.isfinite(out).all()) else (_bytes(out), 1)
    # On the CPU, in float32: the whole picture need not fit beside the model.
    total = torch.zeros(3, height * scale, width * scale)
    weight = torch.zeros(1, height * scale, width * scale)
    done = 0
    for top, bottom in rows:
        for left, right in columns:
            check()
            done += 1
            report(f"tile {done} of {count}")
            out = network.run(pixels[..., top:bottom, left:right].to(device, dtype) / 255)[0].float().cpu()
            if not bool(torch.isfinite(out).all()):
                return None
            ramp = _ramp(bottom - top, top > 0, bottom < height, scale)[:, None] * _ramp(
                right - left, left > 0, right < width, scale
            )
            place = (slice(None), slice(top * scale, bottom * scale), slice(left * scale, right * scale))
            total[place] += out * ramp
            weight[place] += ramp
    return _bytes((total / weight)[None]), count


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along one side: about equally long, with OVERLAP to each neighbour.

    They begin at multiples of GRID: networks that fold pixels into channels see another picture from an odd column on.
    """
    count = -(-length // side)
    cuts = [min(length, round(length * number / count / GRID) * GRID) for number in range(count)] + [length]
    return [(max(0, a - OVERLAP), min(length, b + OVERLAP)) for a, b in pairwise(cuts)]


def _ramp(length: int, before: bool, after: bool, scale: int) -> Tensor:
    """Weights along a side: nothing in the outer half of the overlap, which lacks surroundings, then rising to 1."""
    ramp: Tensor = torch.ones(length * scale)
    edge = torch.linspace(0, 1, OVERLAP * scale + 2)[1:-1]
    rise: Tensor = torch.cat((torch.zeros(OVERLAP * scale // 2), edge))[: length * scale]
    if before:
        ramp[: len(rise)] = torch.minimum(ramp[: len(rise)], rise)
    if after:
        ramp[-len(rise) :] = torch.minimum(ramp[-len(rise) :], rise.flip(0))
    return ramp


def _bytes(pixels: Tensor) -> Tensor:
    """A float picture (1, 3, h, w) as (h, w, 3) uint8 on the CPU, rounded as Real-ESRGAN rounds."""
    whole: Tensor = (pixels[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return whole.cpu().contiguous()
