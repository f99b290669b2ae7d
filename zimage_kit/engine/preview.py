"""Previews: a small JPEG from latents, by a linear map from latent channels to colours. Takes milliseconds."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from PIL import Image

_ENLARGED, _LARGEST = 4, 512
LARGEST_BYTES = 40_000
"""Bytes of a preview. The first ones are mostly noise, which JPEG compresses badly, and every client gets them."""


@dataclass(frozen=True)
class Preview:
    """A model's map from the scheduler's latents to RGB in -1 … 1: `matrix` [16, 3] and `bias` [3, 1, 1]."""

    matrix: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, numbers: tuple[list[list[float]], list[float]] | None, device: str) -> Preview | None:
        """Make one from plain numbers; None for a model without a map, which has no previews."""
        if numbers is None:
            return None
        matrix, bias = (torch.tensor(part, dtype=torch.float32, device=device) for part in numbers)
        return cls(matrix, bias.reshape(3, 1, 1))

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """RGB uint8 [h, w, 3] of the first of `latents` [n, 16, h, w], on their device. Does not wait for it."""
        rgb = torch.einsum("chw,cr->rhw", latents[0].float(), self.matrix) + self.bias
        return ((rgb + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def as_jpeg(pixels: torch.Tensor) -> bytes:
    """JPEG of pixels [h, w, 3] on the CPU, enlarged 4 times to at most 512 pixels a side, within `LARGEST_BYTES`.

    Quality 85, or lower where that is too large.
    """
    small = Image.fromarray(pixels.numpy())
    scale = min(_ENLARGED, _LARGEST / max(small.size))
    size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
    enlarged = small.resize(size, Image.Resampling.BILINEAR)
    for quality in (85, 70, 50, 30, 15, 5):
        out = io.BytesIO()
        enlarged.save(out, "JPEG", quality=quality)
        if out.tell() <= LARGEST_BYTES:
            break
    return out.getvalue()
