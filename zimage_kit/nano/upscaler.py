"""The 2x network: a small RRDBNet (Wang et al. 2018), laid out and its weights named as Real-ESRGAN's x2plus is.

It works at half of the picture's size, on patches of 2x2 pixels, and enlarges four times; spandrel recognises it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from zimage_kit.nano import packed

WIDTH = 24
GROWTH = 32  # of a dense block; spandrel knows no other
BLOCKS = 1
WEIGHTS = Path(__file__).parent / "upscale" / "nano_x2.safetensors.xz"


class _Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for number in range(4):
            setattr(self, f"conv{number + 1}", nn.Conv2d(WIDTH + number * GROWTH, GROWTH, 3, 1, 1))
        self.conv5 = nn.Conv2d(WIDTH + 4 * GROWTH, WIDTH, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        known = [x]
        for number in range(4):
            known.append(_active(getattr(self, f"conv{number + 1}")(torch.cat(known, 1))))
        out: Tensor = x + 0.2 * self.conv5(torch.cat(known, 1))
        return out


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = _Dense(), _Dense(), _Dense()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))
        return out


class Upscaler(nn.Module):
    """Pictures (n, 3, h, w) in 0..1, sides even, to (n, 3, 2h, 2w), about in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(12, WIDTH, 3, 1, 1)
        self.body = nn.Sequential(*(_Block() for _ in range(BLOCKS)))
        self.conv_body = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.conv_up1 = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.conv_up2 = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.conv_hr = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.conv_last = nn.Conv2d(WIDTH, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged pictures."""
        y = self.conv_first(F.pixel_unshuffle(x, 2))
        y = y + self.conv_body(self.body(y))
        y = _active(self.conv_up1(F.interpolate(y, scale_factor=2.0)))
        y = _active(self.conv_up2(F.interpolate(y, scale_factor=2.0)))
        out: Tensor = self.conv_last(_active(self.conv_hr(y)))
        return out


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def load(path: Path = WEIGHTS) -> Upscaler:
    """Return the network whose weights lie at `path`, packed in half precision, in float32 on the CPU."""
    upscaler = Upscaler()
    upscaler.load_state_dict(packed.load(path))
    return upscaler.eval()


@torch.inference_mode()
def enlarge(upscaler: Upscaler, picture: Image.Image) -> Image.Image:
    """Return the picture at twice its size; its sides have to be even."""
    x = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None].float() / 255
    y = upscaler(x)[0].clamp(0, 1) * 255
    return Image.fromarray(y.round().byte().permute(1, 2, 0).numpy())


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Return how alike two pictures of one size are, in dB."""
    error = float(np.mean((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-6)))
