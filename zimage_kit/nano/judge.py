"""The judge: a small network that says what is in a scene. It measures nano; it is itself measured on real scenes.

Its answers per picture: how many of each kind there are (0, 1, 2), which colours a kind has, where and how large it is
(meaningful for a kind that is there once), which way it faces, background, style, pose (meaningful where a person is)
and hour; and a feature vector in which sets of pictures are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from zimage_kit.nano import packed
from zimage_kit.nano.data import COLUMNS
from zimage_kit.nano.lexicon import BACKGROUNDS, COLOURS, HOURS, KINDS, POSES, STYLES

FEATURES = 160
WIDTH = 96  # of the map in which kinds and colours are looked for
LIMIT = 12.0  # of its logits: their exponentials are multiplied and summed
K, C = len(KINDS), len(COLOURS)
OUTPUTS = (K * 3, K * C, K, K, K, len(BACKGROUNDS), len(STYLES), len(POSES), len(HOURS))


class Residual(nn.Module):
    """Two convolutions with group norms beside a shortcut; `stride` shrinks."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, out)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, out)
        self.skip = nn.Conv2d(width, out, 1, stride, bias=False) if stride > 1 or width != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, out, h / stride, w / stride)."""
        y = F.silu(self.norm1(self.first(x)))
        return F.silu(self.skip(x) + self.norm2(self.second(y)))


class Judge(nn.Module):
    """Pictures (n, 3, h, w) in [-1, 1] to (features (n, 160), answers: one tensor per entry of `OUTPUTS`).

    What belongs to a kind is read where that kind is: from a map at a sixteenth of the picture's size, in which each
    place says how much of each kind and of each colour it shows. A kind has a colour where some place shows both. The
    picture's own answers (background, style, pose, hour) come from the features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(5, 24, 5, 2, 2)
        self.body = nn.Sequential(
            Residual(24, 40, 2), Residual(40, 64, 2), Residual(64, 96, 2), Residual(96, 96, 1), Residual(96, 96, 1)
        )
        self.wider = Residual(96, 112, 2)
        self.near, self.far = nn.Conv2d(96, WIDTH, 1), nn.Conv2d(112, WIDTH, 1)
        self.kinds, self.colours = nn.Conv2d(WIDTH, K, 1), nn.Conv2d(WIDTH, C, 1)
        self.neck = nn.Linear(3 * 112, FEATURES)
        self.whole = nn.Linear(FEATURES, sum(OUTPUTS[5:]) + 3 * K)
        self.each = nn.Parameter(torch.randn(K, WIDTH + 3, 6) * 0.05)
        self.bias = nn.Parameter(torch.tensor(-4.0))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return (features, answers); two more channels tell each pixel where it is."""
        n, _, h, w = x.shape
        across = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).expand(n, 1, h, w)
        down = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)[:, None].expand(n, 1, h, w)
        fine = self.body(F.silu(self.stem(torch.cat((x, across, down), 1))))
        y = self.wider(fine)
        pooled = torch.cat((y.mean((2, 3)), y.amax((2, 3)), y[..., y.shape[-1] // 2 :].mean((2, 3))), 1)
        features = F.silu(self.neck(pooled))
        *picture, counts = self.whole(features).split((*OUTPUTS[5:], 3 * K), 1)
        with torch.autocast(x.device.type, enabled=False):
            local = F.silu(self.near(fine.float()) + F.interpolate(self.far(y.float()), fine.shape[-2:])).flatten(2)
            shows = _at(self.kinds, local).clamp(-LIMIT, LIMIT)
            wears = _at(self.colours, local).clamp(-LIMIT, LIMIT)
            pairs = torch.einsum("nkp,ncp->nkc", shows.exp(), wears.exp()).log() + self.bias
            seen = torch.einsum("nkp,ndp->nkd", shows.softmax(-1), local)
            column = torch.linspace(0, 1, fine.shape[-1], device=x.device).expand(fine.shape[-2:]).flatten()
            where = shows.softmax(-1) @ column
            most, much = shows.amax(-1), shows.sigmoid().sum(-1).add(0.01).log()
            each = torch.cat((seen, torch.stack((most, much, where), -1)), -1)
            each = torch.einsum("nkd,kdo->nko", each, self.each)
        count = (counts + each[..., :3].flatten(1)).float()
        answers = (count, pairs.flatten(1), each[..., 3] + where, each[..., 4], each[..., 5], *picture)
        return features, answers


def _at(layer: nn.Conv2d, places: Tensor) -> Tensor:
    """Return a convolution of 1 x 1 at places (n, d, p)."""
    return F.conv1d(places, layer.weight[..., 0], layer.bias)


def loss(answers: tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """Return the mean loss against rows of `zimage_kit.nano.data.labels_of`."""
    count, pairs, x, extent, facing, background, style, pose, hour = answers
    n = len(labels)
    table = labels[:, : COLUMNS * K].reshape(n, K, COLUMNS)
    total = 24 * F.cross_entropy(count.reshape(n * K, 3), table[..., 0].reshape(-1).long().clamp(max=2))
    truth = labels[:, COLUMNS * K : COLUMNS * K + K * C].reshape(n, K, C)
    there = truth.sum(-1) > 0
    each = F.binary_cross_entropy_with_logits(pairs.reshape(n, K, C), truth, reduction="none").mean(-1)
    total = total + 12 * _mean(each, there) + each.mean()
    for guess, at in ((x, 1), (extent, 2)):
        total = total + _mean((guess - table[..., at]).abs(), table[..., 1] > -9)
    each = F.binary_cross_entropy_with_logits(facing, table[..., 3].clamp(min=0), reduction="none")
    total = total + _mean(each, table[..., 3] >= 0)
    for guess, at in ((background, -4), (style, -3), (pose, -2), (hour, -1)):
        each = F.cross_entropy(guess, labels[:, at].long().clamp(min=0), reduction="none")
        total = total + _mean(each, labels[:, at] >= 0)
    return total


def _mean(values: Tensor, which: Tensor) -> Tensor:
    """Return the mean of the values that count, 0 where none does."""
    return (values * which).sum() / which.sum().clamp(min=1)


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in one picture."""

    count: dict[str, int]
    colours: dict[str, tuple[str, ...]]
    """Per kind that is there, as many colours as there are things, likeliest first."""
    x: dict[str, float]
    extent: dict[str, float]
    """The side of a kind's box as a share of the picture's shorter side."""
    faces_right: dict[str, bool]
    background: str
    style: str
    pose: str
    hour: str


FILE = "judge.safetensors.xz"


def load(path: Path) -> Judge:
    """Return the judge whose weights lie at `path`, in float32 on the CPU."""
    judge = Judge()
    judge.load_state_dict(packed.load(path))
    return judge.eval()


@torch.inference_mode()
def look(judge: Judge, pictures: list[Image.Image]) -> tuple[NDArray[np.float32], list[Verdict]]:
    """Return features (n, 160) and verdicts of pictures that may differ in size."""
    features, verdicts = [], []
    for picture in pictures:
        x = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        vector, answers = judge(x)
        features.append(vector[0].numpy())
        verdicts.append(_read(tuple(answer[0] for answer in answers)))
    return np.stack(features), verdicts


def _read(answers: tuple[Tensor, ...]) -> Verdict:
    count, pairs, x, extent, facing, background, style, pose, hour = answers
    kinds, colours = list(KINDS), list(COLOURS)
    counts = {kind: int(n) for kind, n in zip(kinds, count.reshape(K, 3).argmax(1), strict=True)}
    order = pairs.reshape(K, C).argsort(1, descending=True)
    logits = pairs.reshape(K, C)
    seen: dict[str, tuple[str, ...]] = {}
    for k, kind in enumerate(kinds):
        if counts[kind]:
            likely = [colours[int(c)] for c in order[k]]
            two = counts[kind] == 2 and float(logits[k, order[k, 1]]) > 0
            seen[kind] = tuple(likely[: 2 if two else 1])
    return Verdict(
        counts,
        seen,
        {kind: float(x[k]) for k, kind in enumerate(kinds)},
        {kind: float(2 ** extent[k]) for k, kind in enumerate(kinds)},
        {kind: float(facing[k]) > 0 for k, kind in enumerate(kinds)},
        list(BACKGROUNDS)[int(background.argmax())],
        list(STYLES)[int(style.argmax())],
        list(POSES)[int(pose.argmax())],
        list(HOURS)[int(hour.argmax())],
    )


def frechet(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the Fréchet distance of two sets of features (n, d), each taken as a Gaussian (Heusel et al. 2017)."""
    mean = a.mean(0) - b.mean(0)
    first, second = (np.cov(x.astype(np.float64), rowvar=False) for x in (a, b))
    values = np.linalg.eigvals(first @ second)
    root = np.sqrt(np.clip(values.real, 0, None)).sum()
    return float(mean @ mean + np.trace(first) + np.trace(second) - 2 * root)
