"""Enlarging in overlapping, blended tiles, so that large pictures fit into memory without visible seams.

When memory runs out the tiles become smaller; what was done with too little memory is never used.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zimage_kit.engine.memory import free_memory, out_of_memory, release
from zimage_kit.errors import BadRequest

from .networks import Network

OVERLAP = 32
"""Pixels of the smaller picture that neighbouring tiles share, beside what is blended."""
GRID = 16
SMALLEST = 64
SAFE = 2.0
"""Of 255. Half precision is used where it is not further than this from float32 at any pixel that was looked at."""
LARGEST_SHARE, LARGEST_BYTES = 0.6, 2_000_000_000
"""Of free memory, and bytes: what the work itself may take."""


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

    `tile` is the side of a tile in pixels of the smaller picture; None: as free memory allows. Raises OutOfMemory when
    even the smallest tile does not fit.
    """
    with torch.inference_mode():
        pixels = torch.from_numpy(np.asarray(image, np.uint8).copy()).permute(2, 0, 1)[None]
        if dtype != torch.float32 and coarseness(network, pixels, device, dtype) > SAFE:
            return enlarge(image, network, device, torch.float32, tile, check, report)
        side = tile or fitting(network, pixels, device, dtype)
        while True:
            try:
                made = _in_tiles(pixels, network, device, dtype, side, check, report)
            except Exception as error:
                problem = out_of_memory(error, device, f"enlarging tiles of {side} pixels")
                if problem is None:
                    raise
                error.__traceback__ = None  # its frames hold what has to be freed
            else:
                break
            release(device)
            if side <= SMALLEST:
                raise problem
            side = max(SMALLEST, min(side, max(pixels.shape[-2:])) // 2)
            report(f"out of memory; retrying with tiles of {side} pixels")
        if made is None:
            if dtype == torch.float32:
                raise BadRequest("the network produced NaN or infinite values", mend="Check its file.")
            return enlarge(image, network, device, torch.float32, tile, check, report)
        result, count = made
    name = str(dtype).removeprefix("torch.")
    return Image.fromarray(result.numpy()), f"{name}, " + (f"{count} tiles of {side} pixels" if count > 1 else "whole")


def fitting(network: Network, pixels: Tensor, device: str, dtype: torch.dtype) -> int:
    """The side of the largest tile that fits, by what a small one takes on this device: the whole picture, at best."""
    allowed = min(LARGEST_SHARE * free_memory(device), LARGEST_BYTES)
    if dtype not in network.appetite:
        network.appetite[dtype] = bytes_per_pixel(network, device, dtype)
    each = network.appetite[dtype]
    height, width = pixels.shape[-2:]
    if height * width * each <= allowed:
        return int(max(height, width))
    return int(max(SMALLEST, int((allowed / each) ** 0.5) // 16 * 16 - 2 * OVERLAP))


def coarseness(network: Network, pixels: Tensor, device: str, dtype: torch.dtype) -> float:
    """How far this type is from float32, of 255 and at most: measured on the middle of the first picture."""
    if dtype not in network.error:
        top, left = (max(0, side // 2 - 64) // GRID * GRID for side in pixels.shape[-2:])
        piece = pixels[..., top : top + 128, left : left + 128].to(device) / 255
        exact = network.run(piece.float()).clamp(0, 1)
        rough = network.run(piece.to(dtype)).float().clamp(0, 1)
        network.error[dtype] = float((exact - rough).abs().max().nan_to_num(1.0)) * 255
    return network.error[dtype]


def bytes_per_pixel(network: Network, device: str, dtype: torch.dtype) -> float:
    """Working memory for each pixel of the smaller picture: measured on CUDA; elsewhere what a wide RRDBNet takes."""
    if not device.startswith("cuda"):
        return 64.0 * dtype.itemsize * network.scale**2 * 5
    probe = torch.rand(1, 3, 128, 128, device=device, dtype=dtype)
    network.run(probe)  # so that what is allocated once does not count
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    network.run(probe)
    return max(1.0, (torch.cuda.max_memory_allocated(device) - before) / (128 * 128))


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
