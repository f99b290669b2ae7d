"""Shapes with smooth outlines, and the styles that turn them into pixels.

A thing or a background is drawn once, as a list of `Shape`s whose colour is a name or an RGB triple. `Painter` fills
them flat, as ink on paper, as neon in the dark or with coloured pencils, twice enlarged, and shrinks the result; or it
sets them as pixel art, four units a cell, and enlarges that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from zimage_kit.nano import textures

Points = NDArray[np.float64]
RGB = tuple[int, int, int]
SUPERSAMPLING = 2
CELL = 4  # units a cell of pixel art: a picture of 256 x 256 has 64 x 64 of them

# light, main, dark
PALETTE: dict[str, tuple[RGB, RGB, RGB]] = {
    "red": ((250, 112, 100), (222, 45, 48), (166, 24, 40)),
    "orange": ((255, 183, 94), (247, 138, 25), (201, 96, 12)),
    "yellow": ((255, 238, 140), (252, 209, 44), (217, 160, 22)),
    "green": ((128, 206, 110), (52, 160, 72), (26, 110, 58)),
    "blue": ((112, 170, 246), (40, 104, 222), (24, 66, 160)),
    "purple": ((186, 134, 226), (130, 66, 186), (88, 38, 138)),
    "pink": ((255, 206, 220), (250, 150, 182), (222, 104, 146)),
    "white": ((255, 255, 255), (244, 245, 248), (200, 206, 220)),
    "black": ((96, 95, 106), (42, 41, 48), (20, 19, 24)),
    "brown": ((190, 140, 98), (130, 78, 40), (86, 48, 24)),
    "grey": ((190, 193, 200), (142, 145, 152), (98, 101, 110)),
    "cyan": ((150, 236, 232), (30, 194, 200), (10, 132, 146)),
}
FIXED: dict[str, RGB] = {
    "ink": (38, 34, 44),
    "paper": (255, 252, 244),
    "wood": (150, 98, 60),
    "wood_dark": (108, 68, 44),
    "skin": (250, 208, 174),
    "skin_dark": (230, 176, 142),
    "skin_edge": (142, 84, 64),
    "hair": (62, 42, 38),
    "mouth": (150, 44, 48),
    "cheek": (246, 150, 140),
    "gold": (244, 190, 60),
    "leaf": (92, 178, 88),
    "leaf_dark": (48, 130, 66),
    "glass": (190, 226, 246),
    "window": (255, 222, 120),
    "steel": (176, 184, 198),
    "tyre": (50, 50, 58),
    "cream": (252, 238, 208),
    "tea": (140, 80, 36),
    "trousers": (72, 80, 112),
    "steam": (250, 250, 252),
    "carrot": (246, 122, 36),
    "screen": (112, 224, 232),
}
GRAPHITE: RGB = (84, 82, 92)


@dataclass(frozen=True)
class Shape:
    """A filled polygon; `edge` asks ink and neon for a contour.

    `tone` is light, main or dark (of the thing's colour), a name in `FIXED`, or RGB.
    """

    points: Points
    tone: str | RGB
    edge: bool = True


@dataclass
class Pen:
    """Collects shapes in units of its own: x to the right, y down."""

    shapes: list[Shape] = field(default_factory=list)

    def polygon(self, points: Iterable[tuple[float, float]], tone: str | RGB, edge: bool = True) -> None:
        """Fill straight-sided."""
        self.shapes.append(Shape(np.array(list(points), float), tone, edge))

    def blob(self, points: Sequence[tuple[float, float]], tone: str | RGB, edge: bool = True) -> None:
        """Fill the smooth closed curve through `points` (Catmull-Rom)."""
        self.shapes.append(Shape(_smooth(np.array(points, float), closed=True), tone, edge))

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, tone: str | RGB, edge: bool = True, turn: float = 0.0
    ) -> None:
        """Fill an ellipse; `turn` in degrees, clockwise."""
        self.shapes.append(Shape(_arc(x, y, rx, ry, 0, 360, turn), tone, edge))

    def ring(self, x: float, y: float, outer: float, inner: float, tone: str | RGB) -> None:
        """Fill between two circles about (x, y)."""
        points = np.concatenate((_arc(x, y, outer, outer, 90, 450), _arc(x, y, inner, inner, 450, 90)))
        self.shapes.append(Shape(points, tone))

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, stop: float, tone: str | RGB, edge: bool = True
    ) -> None:
        """Fill the part of an ellipse between two angles (degrees, clockwise from the right) and its chord."""
        self.shapes.append(Shape(_arc(x, y, rx, ry, start, stop), tone, edge))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, tone: str | RGB, radius: float = 0.0, edge: bool = True
    ) -> None:
        """Fill a rectangle, its corners rounded by `radius`."""
        if radius <= 0:
            self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), tone, edge)
            return
        corners = [
            _arc(x1 - radius, y0 + radius, radius, radius, -90, 0),
            _arc(x1 - radius, y1 - radius, radius, radius, 0, 90),
            _arc(x0 + radius, y1 - radius, radius, radius, 90, 180),
            _arc(x0 + radius, y0 + radius, radius, radius, 180, 270),
        ]
        self.shapes.append(Shape(np.concatenate(corners), tone, edge))

    def stroke(
        self,
        points: Sequence[tuple[float, float]],
        width: float,
        tone: str | RGB,
        edge: bool = False,
        tip: float | None = None,
    ) -> None:
        """Draw a smooth line with round ends; `width` runs to `tip` at the far end."""
        path = _smooth(np.array(points, float), closed=False) if len(points) > 2 else np.array(points, float)
        step = np.gradient(path, axis=0)
        normal = np.stack((-step[:, 1], step[:, 0]), 1) / (np.hypot(step[:, 0], step[:, 1])[:, None] + 1e-9)
        half = np.linspace(width, width if tip is None else tip, len(path))[:, None] / 2
        angle_end = np.degrees(np.arctan2(step[-1, 1], step[-1, 0]))
        angle_start = np.degrees(np.arctan2(step[0, 1], step[0, 0]))
        end = _arc(path[-1, 0], path[-1, 1], float(half[-1, 0]), float(half[-1, 0]), angle_end + 90, angle_end - 90)
        start = _arc(path[0, 0], path[0, 1], float(half[0, 0]), float(half[0, 0]), angle_start - 90, angle_start - 270)
        outline = np.concatenate((path + normal * half, end, (path - normal * half)[::-1], start))
        self.shapes.append(Shape(outline, tone, edge))

    def placed(self, x: float, y: float, scale: float, flip: bool = False) -> list[Shape]:
        """Return the shapes moved to (x, y) in pixels and enlarged by `scale` pixels a unit, mirrored on request."""
        size = np.array((-scale if flip else scale, scale))
        return [Shape(shape.points * size + (x, y), shape.tone, shape.edge) for shape in self.shapes]


def _arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, turn: float = 0.0) -> Points:
    angle = np.radians(np.linspace(start, stop, max(6, int(abs(stop - start) / 10))))
    points = np.stack((rx * np.cos(angle), ry * np.sin(angle)), 1)
    if turn:
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        points = points @ np.array(((c, s), (-s, c)))
    moved: Points = points + np.array((x, y))
    return moved


def _smooth(points: Points, closed: bool, pieces: int = 8) -> Points:
    """Return a Catmull-Rom curve through `points`, `pieces` segments between two neighbours."""
    if closed:
        around = np.concatenate((points[-1:], points, points[:2]))
    else:
        around = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
    a, b, c, d = around[:-3, None], around[1:-2, None], around[2:-1, None], around[3:, None]
    t = np.linspace(0, 1, pieces, endpoint=False)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    flat: Points = curve.reshape(-1, 2)
    return flat if closed else np.concatenate((flat, points[-1:]))


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """Return `a` moved towards `b` by `share` in 0..1."""
    r, g, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return (r, g, blue)


def colour_of(tone: str | RGB, colour: str) -> RGB:
    """Return the RGB of a tone for a thing of that colour."""
    if isinstance(tone, tuple):
        return tone
    if tone in ("light", "main", "dark"):
        return PALETTE[colour][("light", "main", "dark").index(tone)]
    return FIXED[tone]


class Painter:
    """A canvas of `width` x `height` units in one style; things are painted back to front.

    A unit is one pixel of the picture, or `enlarged` pixels: the same picture, contours and all, in more detail.
    """

    def __init__(self, width: int, height: int, style: str, enlarged: int = 1) -> None:
        self.size = (width, height)
        self.style = style
        self.enlarged = enlarged
        if style == "pixel":
            self.scale = 1 / CELL
            self.canvas = Image.new("RGB", (-(-width // CELL), -(-height // CELL)))
        else:
            self.scale = SUPERSAMPLING * enlarged
            self.canvas = Image.new("RGB", (width * SUPERSAMPLING * enlarged, height * SUPERSAMPLING * enlarged))
        self.draw = ImageDraw.Draw(self.canvas)
        self.glow = Image.new("RGB", self.canvas.size) if style == "neon" else None
        self.glow_draw = ImageDraw.Draw(self.glow) if self.glow else None
        self.things = Image.new("L", (width * enlarged, height * enlarged)) if style == "pencil" else None
        self.things_draw = ImageDraw.Draw(self.things) if self.things else None

    def sky(self, top: RGB, bottom: RGB) -> None:
        """Fill everything with a vertical gradient."""
        strip = np.linspace(self._back(top), self._back(bottom), 9 if self.style == "pixel" else 64)
        column = Image.fromarray(strip.round().astype(np.uint8)[:, None])
        bands = Image.Resampling.NEAREST if self.style == "pixel" else Image.Resampling.BILINEAR
        self.canvas.paste(column.resize(self.canvas.size, bands))

    def scenery(self, shapes: Iterable[Shape]) -> None:
        """Paint parts of a background: quieter than things in every style."""
        for shape in shapes:
            rgb = colour_of(shape.tone, "white")
            points = self._flat(shape)
            self.draw.polygon(points, fill=self._back(rgb))
            if shape.edge and self.style == "ink":
                self._contour(self.draw, points, (112, 110, 112), 1)
            if shape.edge and self.style == "pencil":
                self._contour(self.draw, points, mix(self._back(rgb), (44, 42, 54), 0.42), 1)
            if shape.edge and self.style == "neon":
                self._contour(self.draw, points, mix((132, 88, 226), rgb, 0.30), 1)

    def mist(self) -> None:
        """Let paper show through above the ground, as in an ink painting; other styles have no mist."""
        if self.style == "ink":
            self.canvas.paste((247, 243, 232), mask=textures.mist(self.canvas.size))
            self.draw = ImageDraw.Draw(self.canvas)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a thing stands that is asked for at (x, y): in pixel art its centre is that of a cell.

        Else its two eyes would differ.
        """
        if self.style != "pixel":
            return x, y
        return (x // CELL + 0.5) * CELL, (y // CELL + 0.5) * CELL

    def thing(self, shapes: Iterable[Shape], colour: str) -> None:
        """Paint a thing of that colour."""
        if self.style == "pixel":
            self._cells(list(shapes), colour)
            return
        for shape in shapes:
            rgb = colour_of(shape.tone, colour)
            points = self._flat(shape)
            if self.style == "flat":
                self.draw.polygon(points, fill=rgb)
            elif self.style == "ink":
                self.draw.polygon(points, fill=_pigment(rgb))
                if shape.edge:
                    self._contour(self.draw, points, (70, 64, 64), 1)
            elif self.style == "pencil":
                self.draw.polygon(points, fill=mix(rgb, (255, 253, 248), 0.06))
                if self.things_draw:
                    self.things_draw.polygon((shape.points * self.enlarged).ravel().tolist(), fill=255)
                if shape.edge:
                    self._contour(self.draw, points, GRAPHITE, 1)
            else:
                self._neon(points, rgb, shape.edge)

    def picture(self) -> Image.Image:
        """Return the finished picture, RGB."""
        if self.style == "neon" and self.glow is not None:
            small = self.glow.reduce(SUPERSAMPLING)
            halo = small.filter(ImageFilter.GaussianBlur(5 * self.enlarged))
            halo = ImageChops.add(halo, small.filter(ImageFilter.GaussianBlur(2 * self.enlarged)))
            return ImageChops.add(self.canvas.reduce(SUPERSAMPLING), halo)
        if self.style == "pixel":
            cell, (width, height) = CELL * self.enlarged, self.canvas.size
            whole = self.canvas.resize((width * cell, height * cell), Image.Resampling.NEAREST)
            return whole.crop((0, 0, self.size[0] * self.enlarged, self.size[1] * self.enlarged))
        out = self.canvas.reduce(SUPERSAMPLING)
        if self.style == "pencil" and self.things is not None:
            paper = textures.drawing_paper(out.size, self.enlarged)
            bare = textures.hatching(out.size, self.enlarged, -28, 7.0, 0.52).copy()
            bare.paste(textures.hatching(out.size, self.enlarged, -52, 5.5, 0.36), mask=self.things)
            bare = ImageChops.multiply(bare, out.convert("L").point(_firmer))
            return Image.composite(paper, out, bare)
        if self.style == "ink":  # colours run a little into the paper
            blurred = out.filter(ImageFilter.GaussianBlur(0.6 * self.enlarged))
            return ImageChops.multiply(blurred, textures.rice_paper(out.size))
        return out

    def seal(self, x: float, y: float, side: float) -> None:
        """Stamp the small red seal of an ink painting, `side` pixels wide, its corner at (x, y)."""
        pen = Pen()
        pen.box(0, 0, 1, 1, (196, 40, 36), 0.12, edge=False)
        for x0, y0, x1, y1 in ((0.2, 0.2, 0.8, 0.32), (0.44, 0.3, 0.56, 0.72), (0.2, 0.68, 0.8, 0.8)):
            pen.box(x0, y0, x1, y1, (248, 232, 214), edge=False)
        for shape in pen.placed(x, y, side):
            self.draw.polygon(self._flat(shape), fill=colour_of(shape.tone, "white"))

    def _flat(self, shape: Shape) -> list[float]:
        points = shape.points * self.scale
        if self.style == "pixel":
            low, high = points.min(0), points.max(0)
            centre, size = (low + high) / 2, high - low
            # Pillow fills every cell that an outline touches: half a cell less keeps eyes and mouths their size.
            points = centre - 0.5 + (points - centre) * (1 - np.minimum(0.7, 0.35 * size) / (size + 1e-9))
            points = np.floor(points + 0.5 + 1e-6)
        values: list[float] = points.ravel().tolist()
        return values

    def _contour(self, draw: ImageDraw.ImageDraw, points: list[float], rgb: RGB, width: int) -> None:
        thick = width * SUPERSAMPLING * self.enlarged // 2 + self.enlarged
        draw.line([*points, *points[:4]], fill=rgb, width=thick, joint="curve")

    def _neon(self, points: list[float], rgb: RGB, edge: bool) -> None:
        dark = max(rgb) < 60
        fill = (10, 9, 16) if dark else mix(rgb, (16, 8, 36), 0.45)
        self.draw.polygon(points, fill=fill)
        if not edge or self.glow_draw is None:
            return
        grey = not dark and max(rgb) < 205 and max(rgb) - min(rgb) < 25  # a dim lamp, or it would be a white one
        bright = (88, 86, 104) if dark else mix(rgb, (255, 255, 255), 0.0 if grey else 0.22)
        self._contour(self.draw, points, bright, 3)
        self.glow_draw.polygon(points, fill=(0, 0, 0))
        self._contour(self.glow_draw, points, mix(bright, (0, 0, 0), 0.75 if dark else 0.62 if grey else 0.15), 4)

    def _cells(self, shapes: list[Shape], colour: str) -> None:
        """Set a thing's cells, with a dark outline of one cell around what has an edge and is thick enough for it."""
        outlines = [self._flat(shape) for shape in shapes]
        body = Image.new("L", self.canvas.size)
        body_draw = ImageDraw.Draw(body)
        for points, shape in zip(outlines, shapes, strict=True):
            if shape.edge and _thickness(shape.points) > 2.4 * CELL:
                body_draw.polygon(points, fill=255)
        rim = _limited(mix(PALETTE[colour][2], FIXED["ink"], 0.60))
        self.canvas.paste(rim, mask=body.filter(ImageFilter.MaxFilter(3)))
        self.draw = ImageDraw.Draw(self.canvas)
        for points, shape in zip(outlines, shapes, strict=True):
            self.draw.polygon(points, fill=_limited(colour_of(shape.tone, colour)))

    def _back(self, rgb: RGB) -> RGB:
        """Return a background colour as this style shows it."""
        if self.style == "flat":
            return rgb
        if self.style == "pixel":
            return _limited(rgb)
        if self.style == "pencil":
            return mix(rgb, (255, 253, 248), 0.34)
        light = (0.30 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]) / 255
        if self.style == "ink":
            if rgb[0] > 1.6 * max(rgb[1], rgb[2]):
                return _pigment(rgb)  # a cinnabar sun stays red
            grey = 128 + 122 * light
            return mix(
                (round(grey), round(grey * 0.985), round(grey * 0.945)), rgb, 0.14 + 0.20 * max(0.0, 0.55 - light)
            )
        base = mix((16, 10, 48), (62, 36, 122), light)
        return mix(base, rgb, 0.12)


def _thickness(points: Points) -> float:
    """Return twice a polygon's area over its outline: the width of a line, the radius of a circle."""
    after = np.roll(points, -1, 0)
    area = abs(float(points[:, 0] @ after[:, 1] - points[:, 1] @ after[:, 0])) / 2
    return 2 * area / (float(np.hypot(*(after - points).T).sum()) + 1e-9)


def _firmer(value: int) -> int:
    """Return how much of the bare paper stays in a colour so light: dark ones are pressed harder onto it."""
    return 100 + value * 155 // 255


def _limited(rgb: RGB) -> RGB:
    """Return the nearest of the 26 x 26 x 26 colours that pixel art has here."""
    r, g, b = (round(10.2 * round(value / 10.2)) for value in rgb)
    return (r, g, b)


def _pigment(rgb: RGB) -> RGB:
    """Return a colour as a mineral pigment on paper: a little greyer and lighter."""
    light = round(0.30 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2])
    return mix(mix(rgb, (light, light, light), 0.18), (250, 246, 234), 0.16)
