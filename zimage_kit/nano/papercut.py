"""Scenes as paper-cuts (剪纸): the style of nano's LoRA, which no training scene of the base model has.

The same shapes as ever, cut from three reds and laid on cream paper: light tones become light red, dark ones deep red,
the lightest are cut out, and seams are cut where shapes meet. Large pieces carry a row of notches along their edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from zimage_kit.nano import scenes
from zimage_kit.nano.drawing import RGB, SUPERSAMPLING, Painter, Points, Shape, colour_of, mix

PAPER: RGB = (252, 241, 217)
DEEP, RED, LIGHT = (128, 14, 26), (200, 30, 40), (231, 104, 88)
LAYERS: tuple[RGB, ...] = ((214, 118, 104), (232, 160, 140), (244, 200, 178), (250, 226, 202))
"""Coloured papers of the background, dark to light."""
SHADOW: RGB = (196, 140, 118)


def _light(rgb: RGB) -> float:
    return (0.30 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]) / 255


class Scissors(Painter):
    """A painter who cuts: backgrounds from pale papers, things from red ones."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height, "flat")
        self.cut = Image.new("L", self.canvas.size)
        self.cut_draw = ImageDraw.Draw(self.cut)
        self.top = Image.new("RGB", self.canvas.size, PAPER)
        self.top_draw = ImageDraw.Draw(self.top)

    def sky(self, top: RGB, bottom: RGB) -> None:
        """Lay a sheet: cream by day, rose at night."""
        light = (_light(top) + _light(bottom)) / 2
        self.draw.rectangle((0, 0, *self.canvas.size), fill=mix(LAYERS[1], PAPER, min(1.0, max(0.0, light / 0.72))))

    def scenery(self, shapes: Iterable[Shape]) -> None:
        """Lay papers of the background over each other, the lightest shapes cut out of them."""
        for shape in shapes:
            light = _light(colour_of(shape.tone, "white"))
            tone = PAPER if light > 0.93 else LAYERS[min(3, int(light * 4.4))]
            self.draw.polygon(self._flat(shape), fill=tone)

    def mist(self) -> None:
        """Nothing: paper has no mist."""

    def thing(self, shapes: Iterable[Shape], colour: str) -> None:
        """Cut a thing of red papers; the colour is only heard in how light they are."""
        for shape in shapes:
            light = _light(colour_of(shape.tone, colour))
            tone = DEEP if light < 0.26 else RED if light < 0.56 else LIGHT if light < 0.83 else PAPER
            points = self._flat(shape)
            self.cut_draw.polygon(points, fill=255)
            self.top_draw.polygon(points, fill=tone)
            if shape.edge:
                self._contour(self.top_draw, points, RED if tone == PAPER else PAPER, 2)
                self._contour(self.cut_draw, points, 255, 1)  # type: ignore[arg-type]
            if shape.edge and tone != PAPER:
                self._notches(shape)

    def _notches(self, shape: Shape) -> None:
        """Cut a row of crescents inside the edge of a shape that has room for them."""
        points = shape.points * self.scale
        low, high = points.min(0), points.max(0)
        if (high - low).min() < 38 * self.scale or _filled(points) < 0.45:
            return
        centre = (low + high) / 2
        inner = centre + (points - centre) * (1 - 10.0 * self.scale / (high - low))
        for at, along in _steps(inner, 15.0 * self.scale):
            across = np.array((-along[1], along[0]))
            tip, half = 2.6 * self.scale, 4.6 * self.scale
            leaf = (at - along * half, at + across * tip, at + along * half, at - across * tip * 0.2)
            self.top_draw.polygon([float(v) for point in leaf for v in point], fill=PAPER)

    def picture(self) -> Image.Image:
        """Return the finished picture, RGB: the cut pieces lie a little above the paper."""
        fall = round(1.5 * self.scale)
        shadow = ImageChops.offset(self.cut, fall, fall).filter(ImageFilter.GaussianBlur(1.5 * self.scale))
        below = Image.composite(Image.new("RGB", self.canvas.size, SHADOW), self.canvas, shadow.point(_softer))
        out = Image.composite(self.top, below, self.cut).reduce(SUPERSAMPLING * self.enlarged)
        return ImageChops.multiply(out, _grain(out.size))


def _softer(value: int) -> int:
    return value // 2


def _filled(points: Points) -> float:
    """Return the share of its bounding box that a polygon fills."""
    x, y = points.T
    area = 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
    return area / max(1e-6, float(np.prod(points.max(0) - points.min(0))))


def _steps(points: Points, step: float) -> list[tuple[Points, Points]]:
    """Return (place, direction) at even distances along a closed line."""
    closed = np.concatenate((points, points[:1]))
    gaps = np.hypot(*np.diff(closed, axis=0).T)
    length = np.concatenate(((0.0,), np.cumsum(gaps)))
    count = max(1, int(length[-1] / step))
    out = []
    for at in (np.arange(count) + 0.5) * length[-1] / count:
        i = min(int(np.searchsorted(length, at, side="right")) - 1, len(gaps) - 1)
        along = (closed[i + 1] - closed[i]) / max(1e-6, gaps[i])
        out.append((closed[i] + along * (at - length[i]), along))
    return out


_grains: dict[tuple[int, int], Image.Image] = {}


def _grain(size: tuple[int, int]) -> Image.Image:
    """Return handmade paper: nearly white, a little darker towards the corners."""
    if size not in _grains:
        y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
        shade = 255 * (1 - 0.06 * np.clip(np.hypot(x, y) - 0.7, 0, 1))
        _grains[size] = Image.fromarray(np.stack((shade, shade, shade), -1).round().astype(np.uint8))
    return _grains[size]


def render(scene: scenes.Scene) -> Image.Image:
    """Return the scene as a paper-cut, RGB, in its own size, whatever style it has."""
    return scenes.render(replace(scene, style="flat"), painter=Scissors(scene.width, scene.height))
