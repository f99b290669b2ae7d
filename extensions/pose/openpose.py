"""OpenPose's JSON: figures of 18 points, with hands and face where there are any, read from and written to other tools.

Inside, coordinates are fractions of the canvas from its top left corner; a point with confidence 0 is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from .skeleton import Points

BODY, HAND, FACE = 18, 21, 70
# OpenPose's other body model has 25 points: a middle hip after the first eight, and feet at the end.
_OF_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
_LARGEST_FRACTION = 2.0
"""Coordinates beyond this are pixels: a point of a figure may lie outside of the picture, but not by a whole one."""

Numbers = tuple[float, ...]


class Figure(BaseModel):
    """One person in OpenPose's own words: x, y and confidence of each point in turn, x and y as fractions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pose_keypoints_2d: Numbers
    hand_left_keypoints_2d: Numbers = ()
    hand_right_keypoints_2d: Numbers = ()
    face_keypoints_2d: Numbers = ()

    @field_validator("*", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("*")
    @classmethod
    def _short_and_finite(cls, value: Numbers) -> Numbers:
        if not all(np.isfinite(value)):
            raise ValueError("finite numbers")
        return tuple(round(number, 5) for number in value)

    @field_validator("pose_keypoints_2d")
    @classmethod
    def _eighteen(cls, value: Numbers) -> Numbers:
        points = len(value) // 3
        if len(value) % 3 or points not in (BODY, 25):
            raise ValueError("18 points of x, y and confidence (or OpenPose's 25)")
        if points == 25:
            value = tuple(number for point in _OF_25 for number in value[3 * point : 3 * point + 3])
        if not any(value[2::3]):
            raise ValueError("a point with a confidence above 0")
        return value

    @field_validator("hand_left_keypoints_2d", "hand_right_keypoints_2d")
    @classmethod
    def _hand(cls, value: Numbers) -> Numbers:
        if len(value) not in (0, 3 * HAND):
            raise ValueError("21 points of x, y and confidence")
        return value

    @field_validator("face_keypoints_2d")
    @classmethod
    def _face(cls, value: Numbers) -> Numbers:
        if len(value) % 3:
            raise ValueError("x, y and confidence of each point")
        return value

    @property
    def body(self) -> Points:
        """(18, 3) as `skeleton.draw` takes them."""
        return points_of(self.pose_keypoints_2d)

    @property
    def hands(self) -> tuple[Points, ...]:
        """Those that were seen, (21, 3) each."""
        return tuple(points_of(hand) for hand in (self.hand_left_keypoints_2d, self.hand_right_keypoints_2d) if hand)

    @property
    def face(self) -> tuple[Points, ...]:
        """Its points, (n, 3), in a tuple of one, or of none."""
        return (points_of(self.face_keypoints_2d),) if self.face_keypoints_2d else ()

    def moved(self, scale: tuple[float, float], by: tuple[float, float]) -> Figure:
        """Each point at scale * point + by."""
        return Figure(**{name: _moved(values, scale, by) for name, values in self})

    def mirrored(self) -> Figure:
        """Left and right of the picture swapped, and so what is called left and right: they still face the viewer."""
        turned = self.moved((-1.0, 1.0), (1.0, 0.0))
        body = turned.body[list(SWAPPED)]
        return Figure(
            pose_keypoints_2d=tuple(body.ravel().tolist()),
            hand_left_keypoints_2d=turned.hand_right_keypoints_2d,
            hand_right_keypoints_2d=turned.hand_left_keypoints_2d,
            face_keypoints_2d=turned.face_keypoints_2d,
        )


SWAPPED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""Which point stands in each one's place once left and right are swapped."""


def _moved(values: Numbers, scale: tuple[float, float], by: tuple[float, float]) -> Numbers:
    points = points_of(values).copy()
    seen = points[:, 2] > 0
    points[seen, :2] = points[seen, :2] * scale + by
    points[~seen] = 0
    return tuple(points.ravel().tolist())


def points_of(values: Sequence[float]) -> Points:
    """Flat x, y, confidence as rows."""
    return np.asarray(values, np.float64).reshape(-1, 3)


def figure_of(body: Points, hands: Sequence[Points | None] = (None, None), face: Points | None = None) -> Figure:
    """A figure from rows of points: the body's 18, (left, right) hand's 21, a face's."""
    left, right = hands

    def flat(points: Points | None) -> Numbers:
        return () if points is None else tuple(points.ravel().tolist())

    return Figure(
        pose_keypoints_2d=flat(body),
        hand_left_keypoints_2d=flat(left),
        hand_right_keypoints_2d=flat(right),
        face_keypoints_2d=flat(face),
    )


def read(given: Any) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
    """The people of an OpenPose JSON, coordinates as fractions, and (width, height) of its canvas where it names one.

    `given` is a path, JSON text, the parsed object, or a list of people. Raises ValueError in the words of
    `zimage_kit.recipe.request.explain`: what was expected, and after a | what to do.
    """
    if isinstance(given, Path) or (isinstance(given, str) and not given.lstrip().startswith(("{", "["))):
        try:
            given = Path(given).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"a file with OpenPose JSON ({error})") from None
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise ValueError(f"OpenPose JSON ({error})") from None
    if isinstance(given, Sequence) and len(given) == 1 and isinstance(given[0], Mapping) and "people" in given[0]:
        given = given[0]  # some tools write a list of frames
    data: Mapping[str, Any] = given if isinstance(given, Mapping) else {"people": given}
    people = data.get("people")
    if not isinstance(people, Sequence) or isinstance(people, str):
        raise ValueError('OpenPose JSON with "people"|Export it from a pose editor, or name a preset.')
    found = [dict(person.model_dump() if isinstance(person, Figure) else person) for person in people]
    if not found:
        raise ValueError("at least one person")
    width, height = data.get("canvas_width"), data.get("canvas_height")
    canvas = (int(width), int(height)) if width and height else None
    return [_as_fractions(person, canvas) for person in found], canvas


def _as_fractions(person: dict[str, Any], canvas: tuple[int, int] | None) -> dict[str, Any]:
    keys = [key for key in Figure.model_fields if person.get(key)]
    rows = {key: points_of(person[key]) for key in keys if len(person[key]) % 3 == 0}
    largest = max((float(np.abs(points[:, :2]).max()) for points in rows.values() if len(points)), default=0.0)
    if largest <= _LARGEST_FRACTION:
        return person
    if canvas is None:
        raise ValueError(
            "coordinates as fractions, or in pixels of a canvas that is named"
            '|Add "canvas_width" and "canvas_height" to the JSON.'
        )
    for key, points in rows.items():
        person[key] = (points / (canvas[0], canvas[1], 1)).ravel().tolist()
    return person


def write(figures: Sequence[Figure], width: int, height: int) -> str:
    """OpenPose JSON of these figures in pixels of a canvas, as pose editors and ControlNet tools read it."""
    people = []
    for figure in figures:
        person: dict[str, list[float] | None] = {}
        for key, values in figure:
            points = points_of(values) * (width, height, 1)
            person[key] = [round(number, 3) for number in points.ravel().tolist()] or None
        people.append(person)
    return json.dumps({"people": people, "canvas_width": width, "canvas_height": height})
