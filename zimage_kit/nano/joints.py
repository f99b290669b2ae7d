"""Finding people's joints in nano's pictures: a small network that measures what the pose ControlNet does.

It gives a map per point of the person at the left and of the one at the right (one person alone is the first of the
two), at a quarter of the picture's side; a point is where its map is brightest, between the cells.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from zimage_kit.nano import packed
from zimage_kit.nano.judge import Residual

PEOPLE, POINTS = 2, 18
SPREAD = 1.0  # of the blot that a point makes in its map, in cells
REACH = 3  # cells around the brightest one that say where the point is


class Joints(nn.Module):
    """Pictures (n, 3, h, w) in [-1, 1], sides multiples of 32, to maps (n, 2, 18, h / 4, w / 4) of log likelihood."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 48, 72, 72)
        self.stem = nn.Conv2d(5, widths[0], 3, 2, 1)
        self.down = nn.ModuleList(Residual(a, b, 2) for a, b in pairwise(widths))
        self.deep = Residual(widths[-1], widths[-1], 1)
        self.narrow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in (3, 2, 1))
        self.up = nn.ModuleList(Residual(widths[i], widths[i], 1) for i in (3, 2, 1))
        self.head = nn.Conv2d(widths[1], PEOPLE * POINTS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps; two more channels tell each pixel where it is."""
        n, _, h, w = x.shape
        across = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).expand(n, 1, h, w)
        down = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)[:, None].expand(n, 1, h, w)
        y = F.silu(self.stem(torch.cat((x, across, down), 1)))
        kept = []
        for part in self.down:
            y = part(y)
            kept.append(y)
        y = self.deep(y)
        for narrow, part, beside in zip(self.narrow, self.up, kept[-2::-1], strict=True):
            y = part(F.interpolate(narrow(y), scale_factor=2.0) + beside)
        maps: Tensor = self.head(y).float()
        return maps.flatten(2).log_softmax(2).reshape(n, PEOPLE, POINTS, *maps.shape[2:])


def loss(maps: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy of the points that are there; labels (n, 2 x 18 x 3) as `posed.lesson` has them."""
    n, _, _, h, w = maps.shape
    rows = labels.reshape(n, PEOPLE, POINTS, 3)
    across = _blot(rows[..., 0] * w - 0.5, w)
    down = _blot(rows[..., 1] * h - 0.5, h)
    each = -torch.einsum("npkhw,npkh,npkw->npk", maps, down, across)
    there = rows[..., 2]
    return (each * there).sum() / there.sum().clamp(min=1)


def _blot(at: Tensor, cells: int) -> Tensor:
    return (-((torch.arange(cells, device=at.device) - at[..., None]) / SPREAD).pow(2) / 2).softmax(-1)


def points_of(maps: Tensor) -> Tensor:
    """Return where the points are, (n, 2, 18, 2): fractions of width and height."""
    h, w = maps.shape[3:]
    flat = maps.flatten(3)
    best = flat.argmax(3)
    y, x = best // w, best % w
    rows, columns = torch.arange(h, device=maps.device), torch.arange(w, device=maps.device)
    near_y = (rows - y[..., None]).abs() <= REACH
    near_x = (columns - x[..., None]).abs() <= REACH
    share = maps.exp() * near_y[..., :, None] * near_x[..., None, :]
    share = share / share.sum((3, 4), keepdim=True)
    return torch.stack((((share.sum(3) * (columns + 0.5)).sum(3)) / w, ((share.sum(4) * (rows + 0.5)).sum(3)) / h), -1)


FILE = "joints.safetensors.xz"


def load(path: Path) -> Joints:
    """Return the network whose weights lie at `path`, in float32 on the CPU."""
    joints = Joints()
    joints.load_state_dict(packed.load(path))
    return joints.eval()


@torch.inference_mode()
def find(joints: Joints, pictures: list[Image.Image]) -> NDArray[np.float64]:
    """Return the points of two people in each picture, (n, 2, 18, 2), as fractions; who is not there is anywhere."""
    found = []
    for picture in pictures:
        x = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        found.append(points_of(joints(x))[0].double().numpy())
    return np.stack(found)


def distances(found: NDArray[np.float64], bodies: list[NDArray[np.float64]], ratio: float) -> NDArray[np.float64]:
    """Return how far the found points (2, 18, 2) are from the bodies asked for, (people, 18), in picture heights.

    `bodies` are left to right, rows (x, y, confidence); `ratio` is the picture's width by its height.
    """
    gaps = np.stack([found[i] - body[:, :2] for i, body in enumerate(bodies)]) * (ratio, 1.0)
    return np.hypot(gaps[..., 0], gaps[..., 1])
