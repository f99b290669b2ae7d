"""A pose from a photo, by controlnet-aux's OpenPose detector, which is imported only when it is used.

The detector and its weights are for non-commercial use only, as their authors say; presets, JSON and drawing are not
concerned.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zimage_kit.errors import BadRequest
from zimage_kit.files import content_digest, expanded
from zimage_kit.models.extras import EXTRAS
from zimage_kit.recipe import picture
from zimage_kit.recipe.identity import digest

from .openpose import Figure, figure_of
from .skeleton import Points

NEEDS = ("controlnet_aux", "matplotlib")
INSTALL = 'pip install "zimage-kit[pose]"'
LONGEST_SIDE = 1024
"""Pixels. The detector works on about 368 pixels inside; larger photographs only cost time."""


def missing() -> str:
    """Why no photograph can be read here, in one line with what to do; "" if one can. Imports nothing."""
    absent = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    return f"pose.photo needs {' and '.join(absent)}. Run: {INSTALL}" if absent else ""


def weights_folder() -> Path:
    """Where the detector's weights lie: $ZIMAGE_OPENPOSE, or where `zimage models download openpose` puts them.

    Raises ModelMissing and BadRequest; asks no network.
    """
    given = os.environ.get("ZIMAGE_OPENPOSE")
    if not given:
        return EXTRAS["openpose"].require()
    folder = expanded(Path(given))
    if not (folder / "body_pose_model.pth").is_file():
        raise BadRequest(f"ZIMAGE_OPENPOSE={given}", expected="a folder with body_pose_model.pth")
    return folder


def read_photo(path: Path) -> Image.Image:
    """The photograph, upright, RGB, at most `LONGEST_SIDE` long. Raises BadRequest."""
    try:
        with picture.opened(path) as file:
            image = picture.plain(file)[0].convert("RGB")
    except picture.UNREADABLE as error:
        raise BadRequest(f"pose.photo={path} cannot be read ({error})", expected="a picture of a person") from None
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return image


def load_detector(folder: Path) -> Any:
    """controlnet-aux's detector with the weights that the folder has: body, and hands and face where they are there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it warns of a dozen things that are not ours to mend
        from controlnet_aux.open_pose import OpenposeDetector
        from controlnet_aux.open_pose.body import Body
        from controlnet_aux.open_pose.face import Face
        from controlnet_aux.open_pose.hand import Hand
    hand, face = folder / "hand_pose_model.pth", folder / "facenet.pth"
    return OpenposeDetector(
        Body(str(folder / "body_pose_model.pth")),
        Hand(str(hand)) if hand.is_file() else None,
        Face(str(face)) if face.is_file() else None,
    )


def identity(folder: Path) -> str:
    """What tells this detector from another: its weights and the package that runs them."""
    files = sorted(folder.glob("*.pth"))
    return digest([version("controlnet-aux"), *(f"{file.name} {content_digest(file)}" for file in files)])


def people_in(image: Image.Image, detector: Any) -> list[Figure]:
    """Everyone in a picture, the largest first; coordinates as fractions of it. Raises BadRequest for nobody."""
    has_hand, has_face = (getattr(detector, f"{part}_estimation", None) is not None for part in ("hand", "face"))
    found = detector.detect_poses(np.asarray(image), include_hand=has_hand, include_face=has_face)
    figures = []
    for person in found:
        body = _rows(person.body.keypoints)
        hands = (_rows(person.left_hand), _rows(person.right_hand))
        if body is not None and body[:, 2].any():
            figures.append(figure_of(body, hands, _rows(person.face)))
    if not figures:
        raise BadRequest(
            "no person was found in the photo", mend="Use a photo that shows a whole person, or draw the pose."
        )
    return sorted(figures, key=lambda figure: -float(np.ptp(figure.body[figure.body[:, 2] > 0, 1])))


def _rows(keypoints: Any) -> Points | None:
    """(n, 3) from the detector's keypoints, of which missing ones are None."""
    if not keypoints:
        return None
    return np.array([(0, 0, 0) if point is None else (point.x, point.y, 1.0) for point in keypoints], np.float64)
