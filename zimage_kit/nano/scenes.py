"""Scenes: what is in a picture, drawn at random and rendered; the ground truth of training and of evaluation.

A scene is a function of its seed. Combinations of kind, colour, background and style that hash to `HELD_OUT` are never
trained on: the evaluation asks for exactly those.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from zimage_kit.nano import backgrounds, people
from zimage_kit.nano.drawing import Painter, Pen, Points
from zimage_kit.nano.lexicon import BACKGROUNDS, COLOURS, KINDS, POSES
from zimage_kit.nano.things import FACING, THINGS

SIZES: tuple[tuple[int, int], ...] = ((256, 256), (320, 192), (192, 320), (288, 224), (224, 288))
SIZE_SHARES = (0.56, 0.11, 0.11, 0.11, 0.11)
STYLE_SHARES = {"flat": 0.68, "ink": 0.17, "neon": 0.15}
HELD_OUT = 16  # one combination in so many

FOOT = {"car": 0.315, "bridge": 0.36, "umbrella": 0.48, "train": 0.36, "bicycle": 0.36, "fan": 0.32}
"""Where a thing touches the ground, in its unit box, if not at 0.5."""
FLYING = ("bird", "butterfly", "balloon", "lantern", "kite", "moon", "sun", "star", "cloud", "rocket", "dragon")
# How tall or wide a thing is, as a share of the picture's shorter side, for one thing and for two.
EXTENT = {
    "small": ((0.28, 0.34), (0.26, 0.31)),
    "medium": ((0.44, 0.53), (0.38, 0.45)),
    "large": ((0.64, 0.74), (0.52, 0.58)),
}
SIZE_SHARE = {"small": 0.20, "medium": 0.48, "large": 0.32}
NATURAL: dict[str, tuple[str, ...]] = {
    "cat": ("orange", "white", "black"), "dog": ("orange", "white", "black"), "rabbit": ("white", "pink"),
    "bird": ("blue", "red", "yellow"), "fish": ("red", "orange", "blue"), "butterfly": ("blue", "purple", "orange"),
    "tree": ("green",), "bamboo": ("green",), "flower": ("red", "pink", "yellow"), "mushroom": ("red",),
    "apple": ("red", "green"), "house": ("red", "white", "yellow"), "pagoda": ("red",), "bridge": ("red", "white"),
    "boat": ("blue", "red", "white"), "car": ("red", "blue", "yellow"), "balloon": ("red", "orange", "blue"),
    "teacup": ("white", "blue", "red"), "lantern": ("red",), "umbrella": ("red", "blue"), "kite": ("red", "yellow"),
    "mountain": ("blue", "green"), "moon": ("yellow", "white"), "person": ("red", "blue", "pink", "green"),
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One thing in a scene; x, y is the centre of its unit box and `extent` that box's side, all in pixels."""

    kind: str
    colour: str
    size: str
    place: str
    x: float
    y: float
    extent: float
    flip: bool
    pose: str = ""
    figure: str = ""
    keypoints: Points | None = None
    """A person's 18 OpenPose points in pixels of the picture."""


@dataclass(frozen=True)
class Scene:
    """A background in a style with none, one or two things; `width` and `height` in pixels."""

    width: int
    height: int
    background: str
    style: str
    things: tuple[Thing, ...]
    seed: int
    hour: str = "day"
    """day or night; a background that is itself a time of day has no other."""


def held_out(kind: str, colour: str, background: str, style: str) -> bool:
    """Tell whether this combination is kept out of training."""
    return zlib.crc32(f"{kind} {colour} {background} {style}".encode()) % HELD_OUT == 0


def sample(seed: int, novel: bool = False, count: int | None = None, size: tuple[int, int] | None = None) -> Scene:
    """Return the scene of this seed: one that training may see or, if `novel`, one all of whose things it never saw.

    `count` fixes the number of things (0, 1 or 2) and `size` the (width, height).
    """
    rng = np.random.default_rng((seed, int(novel)))
    if count is None:
        count = int(rng.choice(3, p=(0.03, 0.57, 0.40)))
    width, height = size or SIZES[int(rng.choice(len(SIZES), p=SIZE_SHARES))]
    while True:
        style = str(rng.choice(list(STYLE_SHARES), p=list(STYLE_SHARES.values())))
        background = str(rng.choice(list(BACKGROUNDS)))
        chosen = [_kind_and_colour(rng) for _ in range(count)]
        if count == 2 and rng.random() < 0.10:
            chosen[1] = chosen[0] if rng.random() < 0.5 else (chosen[0][0], str(rng.choice(list(COLOURS))))
        if any(held_out(kind, colour, background, style) != novel for kind, colour in chosen):
            continue
        if count < 2 or "person" not in (chosen[0][0], chosen[1][0]) or chosen[0][0] != chosen[1][0]:
            break
    things = tuple(
        _place(rng, i, kind, colour, count, width, height, background) for i, (kind, colour) in enumerate(chosen)
    )
    return Scene(width, height, background, style, things, seed)


def _kind_and_colour(rng: np.random.Generator) -> tuple[str, str]:
    kinds = list(KINDS)
    weights = np.array([3.0 if kind == "person" else 1.0 for kind in kinds])
    kind = str(rng.choice(kinds, p=weights / weights.sum()))
    colours = NATURAL[kind] if rng.random() < 0.35 else list(COLOURS)
    return kind, str(rng.choice(colours))


def _place(
    rng: np.random.Generator, index: int, kind: str, colour: str, count: int, width: int, height: int, background: str
) -> Thing:
    size = str(rng.choice(list(SIZE_SHARE), p=list(SIZE_SHARE.values())))
    if kind == "person" and size == "small":
        size = "medium"
    low, high = EXTENT[size][count - 1]
    extent = rng.uniform(low, high) * min(width, height)
    if kind == "person":
        extent = min(extent * 1.22, 0.80 * height)
    if count == 2:
        place = ("left", "right")[index]
        x = (0.26, 0.74)[index] + rng.uniform(-0.03, 0.03)
    else:
        place = str(rng.choice(("left", "middle", "right"), p=(0.25, 0.5, 0.25)))
        x = {"left": 0.28, "middle": 0.5, "right": 0.72}[place] + rng.uniform(-0.035, 0.035)
    margin = min(0.5 * extent + 3, 0.5 * width)
    x = min(max(x * width, margin), width - margin)
    y = rng.uniform(0.26, 0.40) * height
    if kind in FLYING:
        y = max(y, 0.54 * extent)
    elif kind == "fish":
        y = rng.uniform(0.66, 0.74) * height if background == "sea" else rng.uniform(0.52, 0.62) * height
    elif kind == "mountain":
        y = rng.uniform(0.80, 0.84) * height - 0.5 * extent
    else:
        y = rng.uniform(0.84, 0.92) * height - FOOT.get(kind, 0.5) * extent
    flip = bool(rng.random() < 0.5)
    if kind != "person":
        return Thing(kind, colour, size, place, x, y, extent, flip and kind not in ("pagoda", "flower", "apple"))
    pose = "standing" if rng.random() < 0.18 else str(rng.choice(list(POSES)))
    left, right = people.ANGLES[pose]
    jitter = rng.normal(0, 5.0, 8).clip(-12, 12)
    limbs = (
        (left[0] + jitter[0], left[1] + jitter[1], left[2] + jitter[2] / 2, left[3] + jitter[3] / 2),
        (right[0] + jitter[4], right[1] + jitter[5], right[2] + jitter[6] / 2, right[3] + jitter[7] / 2),
    )
    figure = str(rng.choice(("girl", "boy")))
    points = people.keypoints(limbs, mirrored=flip, lift=0.08 if pose == "jumping" else 0.0) * extent + (x, y)
    return Thing(kind, colour, size, place, x, y, extent, False, pose, figure, points)


def render(scene: Scene, enlarged: int = 1, painter: Painter | None = None) -> Image.Image:
    """Return the picture of a scene: RGB, `scene.width` x `scene.height`, or so many times larger.

    `painter` may be one with a style of its own.
    """
    rng = np.random.default_rng((scene.seed, 7))
    painter = painter or Painter(scene.width, scene.height, scene.style, enlarged)
    backgrounds.paint(painter, scene.background, rng, scene.hour)
    for thing in sorted(scene.things, key=lambda thing: thing.kind != "mountain"):
        _paint(painter, thing, scene, rng)
    if scene.style == "ink":
        side = 0.062 * min(scene.width, scene.height)
        painter.seal(0.95 * scene.width - side, 0.95 * scene.height - side, side)
    return painter.picture()


def _paint(painter: Painter, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    pen = Pen()
    x, y = painter.place(thing.x, thing.y)
    if thing.keypoints is not None:
        points = (thing.keypoints - (thing.x, thing.y)) / thing.extent
        people.draw(pen, points, thing.figure, seated=thing.pose == "sitting")
    else:
        THINGS[thing.kind](pen, rng)
    grounded = thing.kind not in (*FLYING, "fish", "mountain") and scene.style != "neon"
    if grounded:
        shadow = Pen()
        shadow.ellipse(0, 0, 0.34, 0.035, backgrounds.shadow(scene.background, scene.hour), edge=False)
        painter.scenery(shadow.placed(x, y + FOOT.get(thing.kind, 0.5) * thing.extent, thing.extent))
    painter.thing(pen.placed(x, y, thing.extent, thing.flip and thing.kind in FACING), thing.colour)
