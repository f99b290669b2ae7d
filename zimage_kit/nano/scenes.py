"""Scenes: what is in a picture, drawn at random and rendered; the ground truth of training and of evaluation.

A scene is a function of its seed. Combinations of kind, colour, background and style that hash to `HELD_OUT` are never
trained on: the evaluation asks for exactly those.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from zimage_kit.nano import backgrounds, people
from zimage_kit.nano.drawing import Painter, Pen, Points
from zimage_kit.nano.lexicon import BACKGROUNDS, COLOURS, FACING, FACING_POSES, HOURLY, KINDS, POSES
from zimage_kit.nano.things import THINGS

SIZES: tuple[tuple[int, int], ...] = ((256, 256), (320, 192), (192, 320), (288, 224), (224, 288))
SIZE_SHARES = (0.56, 0.11, 0.11, 0.11, 0.11)
STYLE_SHARES = {"flat": 0.56, "ink": 0.12, "neon": 0.10, "pencil": 0.11, "pixel": 0.11}
NIGHT_SHARE = 0.22  # of the backgrounds that have an hour
LEFT_SHARE = 0.33  # of the things that face a way
HELD_OUT = 16  # one combination in so many

FOOT = {"car": 0.315, "bridge": 0.36, "umbrella": 0.48, "train": 0.36, "bicycle": 0.36, "fan": 0.32}
"""Where a thing touches the ground, in its unit box, if not at 0.5."""
FLYING = ("bird", "butterfly", "balloon", "lantern", "kite", "moon", "sun", "star", "cloud", "rocket", "dragon")
# How tall or wide a thing is, as a share of the picture's shorter side, for one thing and for two.
EXTENT = {
    "small": ((0.28, 0.34), (0.26, 0.31)),
    "medium": ((0.44, 0.53), (0.38, 0.45)),
    "large": ((0.64, 0.74), (0.48, 0.54)),
}
SIZE_SHARE = {"small": 0.15, "medium": 0.62, "large": 0.23}
PLACE_SHARE = {"left": 0.17, "middle": 0.66, "right": 0.17}
NATURAL: dict[str, tuple[str, ...]] = {
    "cat": ("orange", "white", "black", "grey"), "dog": ("brown", "orange", "white", "black"),
    "rabbit": ("white", "grey", "pink"), "bird": ("blue", "red", "yellow"), "fish": ("red", "orange", "blue"),
    "butterfly": ("blue", "purple", "orange"), "panda": ("white",), "crane": ("white",), "dragon": ("green", "red"),
    "tree": ("green",), "bamboo": ("green",), "flower": ("red", "pink", "yellow"), "plum": ("pink", "red", "white"),
    "mushroom": ("red", "brown"), "apple": ("red", "green"), "cake": ("pink", "white", "brown"),
    "house": ("red", "white", "yellow"), "pagoda": ("red",), "temple": ("red", "yellow"),
    "bridge": ("red", "grey", "brown"),
    "boat": ("blue", "red", "white"), "car": ("red", "blue", "yellow"), "train": ("red", "green", "blue"),
    "bicycle": ("red", "blue", "black"), "rocket": ("red", "white"), "robot": ("grey", "blue"), "snowman": ("white",),
    "balloon": ("red", "orange", "blue"), "teacup": ("white", "blue", "red"), "lantern": ("red",),
    "umbrella": ("red", "blue"), "fan": ("red", "pink", "blue"), "book": ("red", "blue", "brown"),
    "chair": ("brown", "red"), "kite": ("red", "yellow"), "mountain": ("blue", "green", "grey"),
    "moon": ("yellow", "white"),
    "sun": ("orange", "yellow", "red"), "star": ("yellow", "white"), "cloud": ("white", "grey"),
    "person": ("red", "blue", "pink", "green"),
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One thing in a scene; x, y is the centre of its unit box and `extent` that box's side, all in pixels.

    `flip`: it faces left, where it faces a way at all.
    """

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


def has_hour(background: str, style: str) -> bool:
    """Tell whether a scene is drawn by day or by night: some backgrounds are an hour themselves, and neon is dark."""
    return background in HOURLY and style != "neon"


def sample(seed: int, novel: bool = False, count: int | None = None, size: tuple[int, int] | None = None) -> Scene:
    """Return the scene of this seed: one that training may see or, if `novel`, one all of whose things it never saw.

    `count` fixes the number of things (0, 1 or 2) and `size` the (width, height).
    """
    rng = np.random.default_rng((seed, int(novel)))
    if count is None:
        count = int(rng.choice(3, p=(0.03, 0.55, 0.42)))
    width, height = size or SIZES[int(rng.choice(len(SIZES), p=SIZE_SHARES))]
    while True:
        style = str(rng.choice(list(STYLE_SHARES), p=list(STYLE_SHARES.values())))
        background = str(rng.choice(list(BACKGROUNDS)))
        chosen = [_kind_and_colour(rng) for _ in range(count)]
        if count == 2 and rng.random() < 0.10:
            chosen[1] = chosen[0] if rng.random() < 0.5 else (chosen[0][0], str(rng.choice(list(COLOURS))))
        if not any(held_out(kind, colour, background, style) != novel for kind, colour in chosen):
            break
    hour = "night" if has_hour(background, style) and rng.random() < NIGHT_SHARE else "day"
    things = [_place(rng, i, kind, colour, count, width, height, background) for i, (kind, colour) in enumerate(chosen)]
    if count == 2 and things[0].kind == things[1].kind:
        things[1] = _alike(things[0], things[1], rng)
    return Scene(width, height, background, style, tuple(things), seed, hour)


def _alike(first: Thing, second: Thing, rng: np.random.Generator) -> Thing:
    """Return the second of two of a kind: more often than not it faces the way, and does what the first does."""
    if rng.random() > 0.7:
        return second
    if first.keypoints is None:
        return replace(second, flip=first.flip)
    unit = (first.keypoints - (first.x, first.y)) / first.extent
    figure = first.figure if rng.random() < 0.6 else second.figure
    points = unit * second.extent + (second.x, second.y)
    return replace(second, pose=first.pose, flip=first.flip, figure=figure, keypoints=points)


def _kind_and_colour(rng: np.random.Generator) -> tuple[str, str]:
    kinds = list(KINDS)
    weights = np.array([7.0 if kind == "person" else 1.0 for kind in kinds])
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
        place = str(rng.choice(list(PLACE_SHARE), p=list(PLACE_SHARE.values())))
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
    flip = bool(rng.random() < LEFT_SHARE)
    if kind != "person":
        return Thing(kind, colour, size, place, x, y, extent, flip and kind in FACING)
    pose = "standing" if rng.random() < 0.12 else str(rng.choice(list(POSES)))
    flip = flip and pose in FACING_POSES  # the others are never mirrored: nothing says so
    left, right = people.ANGLES[pose]
    jitter = rng.normal(0, 5.0, 8).clip(-12, 12)
    limbs = (
        (left[0] + jitter[0], left[1] + jitter[1], left[2] + jitter[2] / 2, left[3] + jitter[3] / 2),
        (right[0] + jitter[4], right[1] + jitter[5], right[2] + jitter[6] / 2, right[3] + jitter[7] / 2),
    )
    figure = str(rng.choice(("girl", "boy")))
    points = people.keypoints(limbs, mirrored=flip, lift=0.08 if pose == "jumping" else 0.0) * extent + (x, y)
    return Thing(kind, colour, size, place, x, y, extent, flip, pose, figure, points)


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
