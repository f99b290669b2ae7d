"""Scenes of people in any pose, with their skeletons, and edges: what the ControlNet learns from and is measured on.

Three quarters show one person, the rest two people, a person with a thing, or nobody. Half of the poses are named ones
with more play than `scenes` gives them, half are any that a body can take. A scene is a function of its seed; the
combinations that `scenes.held_out` names, and every pose from `FIRST_HELD_OUT` on, are kept out of training.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from zimage_kit.nano import captions, people, scenes
from zimage_kit.nano.data import CAPTIONS, CHUNK, PROMPT_TOKENS, Chunk, tokens_of
from zimage_kit.nano.drawing import Points
from zimage_kit.nano.lexicon import COLOURS, FACING_POSES, POSES
from zimage_kit.nano.scenes import Scene, Thing
from zimage_kit.stages import extensions

FIRST_HELD_OUT = 97_000_000
CONTENTS = {"one": 0.70, "two": 0.17, "with a thing": 0.08, "nobody": 0.05}
EDGED = 0.40  # share of control pictures that are edges, of any scene, and not skeletons
SCRIBBLED = 0.35  # share of those that are strokes
THRESHOLDS = (100, 200)  # the control stage's own, of Canny's edges
TOLD = 0.30  # share of named poses that a caption tells
WRONG = 0.03  # share of captions that tell another pose than the skeleton shows: the skeleton decides
SHIN_LIMITS = (-120.0, 130.0)
FACE_BESIDE_NOSE = people.FACE[1:]


def sample(seed: int, novel: bool = False, contents: str | None = None, size: tuple[int, int] | None = None) -> Scene:
    """Return the scene of this seed: one that training may see or, if `novel`, one whose things it never saw together.

    `contents` is a name in `CONTENTS`, `size` (width, height). A person in no named pose has the pose "".
    """
    rng = np.random.default_rng((seed, int(novel), 17))
    if contents is None:
        contents = str(rng.choice(list(CONTENTS), p=list(CONTENTS.values())))
    wanted = {"one": (1, 1), "two": (1, 1), "with a thing": (2, 1), "nobody": (int(rng.integers(3)), 0)}[contents]
    while True:
        scene = scenes.sample(int(rng.integers(1 << 40)), novel, wanted[0], size)
        if sum(thing.kind == "person" for thing in scene.things) == wanted[1]:
            break
    if contents == "two":
        scene = replace(scene, things=(*scene.things, _other(scene, novel, rng)))
    things = list(scene.things)
    for index, thing in enumerate(things):
        if thing.kind == "person":
            things[index] = _figure(thing, scene, index if len(things) > 1 else None, rng)
    return replace(scene, things=tuple(things), seed=seed)


def _other(scene: Scene, novel: bool, rng: np.random.Generator) -> Thing:
    """Return a second person for a scene, in a colour that goes with its background and style."""
    while True:
        colour = str(rng.choice(list(COLOURS)))
        if scenes.held_out("person", colour, scene.background, scene.style) == novel:
            return replace(scene.things[0], colour=colour, figure=str(rng.choice(("girl", "boy"))))


def _figure(person: Thing, scene: Scene, side: int | None, rng: np.random.Generator) -> Thing:
    """Return the person in a new pose, at a place and in a size where all of it is in the picture.

    `side` is 0 for the left half, 1 for the right, None for the whole width.
    """
    pose, unit, mirrored = _pose(rng)
    low = np.minimum(unit.min(0) - 0.07, unit[0] - (0.15, 0.20))
    high = np.maximum(unit.max(0) + 0.07, unit[0] + (0.15, 0.20))
    width, height = scene.width, scene.height
    ground = rng.uniform(0.84, 0.95) * height
    extent = rng.uniform(0.50, 0.86) * height
    room = width * (1.0 if side is None else 0.54) - 4
    extent = min(extent, room / (high - low)[0], (ground - 2) / (0.5 - low[1]))
    left = {None: 0.0, 0: 0.0, 1: 0.46 * width}[side] + 2
    least = left - low[0] * extent
    most = max(least, left + room - high[0] * extent)
    centre = rng.normal({None: 0.5, 0: 0.27, 1: 0.73}[side], 0.05) * width
    x = rng.uniform(least, most) if rng.random() < 0.5 else min(max(centre, least), most)
    y = ground - 0.5 * extent
    place = "left" if x < 0.38 * width else "right" if x > 0.62 * width else "middle"
    size = "large" if extent > 0.74 * min(width, height) else "medium"
    points, left = unit * extent + (x, y), mirrored and pose in FACING_POSES
    return replace(person, size=size, place=place, x=x, y=y, extent=extent, pose=pose, flip=left, keypoints=points)


def _pose(rng: np.random.Generator) -> tuple[str, Points, bool]:
    """Return the name of a pose, "" for a free one, its (18, 2) points in the unit box, and whether it is mirrored."""
    build = people.Build(
        arms=rng.uniform(0.90, 1.12),
        legs=rng.uniform(0.88, 1.12),
        torso=rng.uniform(0.92, 1.08),
        shoulders=rng.uniform(0.90, 1.12),
        lean=rng.normal(0, 6) if rng.random() < 0.5 else 0.0,
        tilt=rng.normal(0, 7) if rng.random() < 0.4 else 0.0,
    )
    if rng.random() < 0.5:
        pose = str(rng.choice(list(POSES)))
        play = rng.normal(0, 11.0, (2, 4)).clip(-28, 28) * (1, 1, 0.6, 0.6)
        left, right = (tuple(np.add(angles, more)) for angles, more in zip(people.ANGLES[pose], play, strict=True))
        lift = 0.08 if pose == "jumping" else 0.0
        mirrored = bool(rng.random() < 0.5)
        return pose, people.keypoints((left, right), mirrored, lift, build), mirrored
    right = _limbs(rng)
    left = _limbs(rng) if rng.random() < 0.8 else right
    lift = rng.uniform(0.02, 0.12) if rng.random() < 0.12 else 0.0
    limbs = (tuple(-angle for angle in left), right)
    return "", people.keypoints(limbs, False, lift, build), False  # type: ignore[arg-type]


def _limbs(rng: np.random.Generator) -> people.Limbs:
    """Return the angles of a free arm and leg on the picture's right: anything from at rest to fully stretched out."""
    arm = rng.normal(14, 14) if rng.random() < 0.3 else rng.uniform(-30, 182)
    elbow = rng.normal(0, 20) if rng.random() < 0.45 else rng.uniform(-145, 145)
    thigh = rng.normal(6, 8) if rng.random() < 0.45 else rng.uniform(-28, 98)
    knee = rng.normal(-2, 8) if rng.random() < 0.55 else rng.uniform(-115, 75)
    return (arm, arm + elbow, thigh, min(max(thigh + knee, SHIN_LIMITS[0]), SHIN_LIMITS[1]))


def bodies(scene: Scene) -> list[Points]:
    """Return the skeletons of a scene's people, left to right as the scene has them: rows (x, y, confidence 1).

    x and y are fractions of the picture's width and height, as `pose.skeleton.draw` takes them.
    """
    size = (scene.width, scene.height)
    return [
        np.concatenate((thing.keypoints / size, np.ones((18, 1))), 1)
        for thing in scene.things
        if thing.keypoints is not None
    ]


def skeleton(scene: Scene) -> Image.Image:
    """Return the control picture of a scene, in its size: all points of all its people on black."""
    drawn: Image.Image = _drawing().draw(bodies(scene), scene.width, scene.height)
    return drawn


@functools.cache
def _drawing() -> ModuleType:
    module: ModuleType = extensions.load_module("pose").skeleton
    return module


@functools.cache
def _edging() -> ModuleType:
    module: ModuleType = extensions.load_module("control").pictures
    return module


def edges(picture: Image.Image, strokes: bool = False) -> Image.Image:
    """Return the edges of a picture as the control stage finds them, white on black: Canny's, or broad strokes."""
    made: Image.Image = _edging().scribble(picture) if strokes else _edging().canny(picture, *THRESHOLDS)
    return made


def shown(body: Points, rng: np.random.Generator) -> Points:
    """Return a skeleton as people give them: now and then without the face, a limb or some points, or small-headed."""
    body = body.copy()
    if rng.random() < 0.08:
        body[FACE_BESIDE_NOSE, 2] = 0
    if rng.random() < 0.05:
        first = int(rng.choice((2, 5, 8, 11)))
        body[first + int(rng.integers(2)) : first + 3, 2] = 0
    if rng.random() < 0.05:
        body[rng.random(18) < rng.uniform(0.1, 0.4), 2] = 0
    if rng.random() < 0.15:
        face = body[FACE_BESIDE_NOSE, :2]
        body[FACE_BESIDE_NOSE, :2] = body[0, :2] + (face - body[0, :2]) * rng.uniform(0.4, 0.9)
    return body


def told(scene: Scene, rng: np.random.Generator, language: str) -> str:
    """Return a caption ("en" or "zh") that as a rule leaves the poses to the skeletons."""
    things = []
    for thing in scene.things:
        if thing.pose and rng.random() > TOLD:
            thing = replace(thing, pose="")
        elif thing.kind == "person" and rng.random() < WRONG:
            thing = replace(thing, pose=str(rng.choice(list(POSES))))
        things.append(thing)
    tell = captions.english if language == "en" else captions.chinese
    return tell(replace(scene, things=tuple(things)), rng)


def described(scene: Scene, rng: np.random.Generator, language: str) -> str:
    """Return a caption that tells everything but the poses, for measuring."""
    things = tuple(replace(thing, pose="") for thing in scene.things)
    tell = captions.english if language == "en" else captions.chinese
    return tell(replace(scene, things=things), rng, complete=True, stray=False)


def chunk(index: int, tokenizer: Any, pad: int) -> Chunk:
    """Draw chunk `index` for the ControlNet: `CHUNK` pictures, then as many control pictures: skeletons, or edges.

    The labels (n, 1) are 1 where the control picture is black. A few people have a black one: it must change nothing.
    """
    rng, bucket, told_scenes = _begin(index, 19)
    edged = rng.random(CHUNK) < EDGED
    told_scenes = [
        scenes.sample(scene.seed, size=(scene.width, scene.height)) if lines and rng.random() < 0.7 else scene
        for scene, lines in zip(told_scenes, edged, strict=True)
    ]
    pictures = [np.asarray(scenes.render(scene)) for scene in told_scenes]
    tokens = np.empty((CHUNK, CAPTIONS, PROMPT_TOKENS), np.int16)
    black = np.zeros((CHUNK, 1), np.float32)
    for i, scene in enumerate(told_scenes):
        if edged[i]:
            control = np.asarray(edges(Image.fromarray(pictures[i]), bool(rng.random() < SCRIBBLED)))
            black[i] = control.max() == 0
        else:
            given = [] if rng.random() < 0.03 else [shown(body, rng) for body in bodies(scene)]
            control = np.asarray(_drawing().draw(given, scene.width, scene.height))
            black[i] = not any((body[:, 2] > 0).any() for body in given)
        pictures.append(control)
        languages = ["en"] * (CAPTIONS // 2) + ["zh"] * (CAPTIONS // 2)
        tokens[i] = tokens_of((told(scene, rng, language) for language in languages), rng, tokenizer, pad)
    return Chunk(bucket, np.stack(pictures), tokens, black)


def lesson(index: int, tokenizer: Any, pad: int) -> Chunk:
    """Draw chunk `index` for finding joints: no captions; labels (n, 2 x 18 x 3) as `bodies`, zeros for nobody."""
    _, bucket, drawn = _begin(index, 23)
    labels = np.zeros((CHUNK, 2, 18, 3), np.float32)
    for i, scene in enumerate(drawn):
        for number, body in enumerate(bodies(scene)):
            labels[i, number] = body
    pictures = np.stack([np.asarray(scenes.render(scene)) for scene in drawn])
    return Chunk(bucket, pictures, np.empty((CHUNK, 0, 0), np.int16), labels.reshape(CHUNK, -1))


def _begin(index: int, salt: int) -> tuple[np.random.Generator, int, list[Scene]]:
    if (index + 1) * CHUNK > FIRST_HELD_OUT:
        raise ValueError(f"chunk {index} has scenes that are held out, from {FIRST_HELD_OUT} on")
    rng = np.random.default_rng((index, salt))
    bucket = int(rng.choice(len(scenes.SIZES), p=scenes.SIZE_SHARES))
    return rng, bucket, [sample(index * CHUNK + i, size=scenes.SIZES[bucket]) for i in range(CHUNK)]
