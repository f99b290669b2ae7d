"""OpenPose's JSON: figures of 18 points, with hands and face where there are any, read from and written to other tools.

Inside, coordinates are fractions of the canvas from its top left corner; a point with confidence 0 is missing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from zimage_kit.files import check_allowed, expanded, no_file

from .skeleton import Points

BODY, HAND, FACE = 18, 21, 70
# OpenPose's other body model has 25 points: a middle hip after the first eight, and feet at the end.
_OF_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
_LARGEST_FRACTION = 2.0
"""Coordinates beyond this are pixels: a point of a figure may lie outside of the picture, but not by a whole one."""

_LARGEST_CANVAS, _LARGEST_FILE = 1_000_000, 1 << 26
"""Pixels of a side; bytes."""

Numbers = tuple[float, ...]
_log = logging.getLogger("zimage_kit")


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


def read(given: Any, canvas: tuple[int, int] | None = None) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
    """The people of an OpenPose JSON, coordinates as fractions, and (width, height) of its canvas where it names one.

    `given` is a path, JSON text, the parsed object, or a list of people; `canvas` is what the coordinates refer to in a
    JSON that does not say so. People without any seen point are left out, and a warning says so. Raises ValueError in
    the words of `zimage_kit.recipe.request.explain`: what was expected, and after a | what to do.
    """
    if isinstance(given, Path) or (isinstance(given, str) and not given.lstrip("\ufeff \n\r\t").startswith(("{", "["))):
        check_allowed(Path(given))
        try:
            given = _decoded(_content(expanded(Path(given))))
        except (OSError, ValueError) as error:
            raise ValueError(f"a file with OpenPose JSON ({error})") from None
    if isinstance(given, str):
        try:
            given = json.loads(given.lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"OpenPose JSON ({error})") from None
    if isinstance(given, Sequence) and len(given) == 1 and isinstance(given[0], Mapping) and "people" in given[0]:
        given = given[0]  # some tools write a list of frames
    data: Mapping[str, Any] = given if isinstance(given, Mapping) else {"people": given}
    people = data.get("people", _of_editor(data.get("keypoints")))
    if not isinstance(people, Sequence) or isinstance(people, str):
        raise ValueError('OpenPose JSON with "people"|Export it from a pose editor, or name a preset.')
    if not people:
        raise ValueError("at least one person")
    sides = data.get("canvas_width", data.get("width")), data.get("canvas_height", data.get("height"))
    if all(isinstance(side, int | float) and side > 0 for side in sides):
        if not all(1 <= side <= _LARGEST_CANVAS for side in sides):
            raise ValueError(f"a canvas of 1 to {_LARGEST_CANVAS} pixels a side")
        canvas = int(sides[0] or 0), int(sides[1] or 0)
    found = [_as_fractions(_person(each), canvas) for each in people]
    seen = [each for each in found if any(each["pose_keypoints_2d"][2::3]) or len(each["pose_keypoints_2d"]) < 3]
    if seen and len(seen) < len(found):
        _log.warning(
            "pose: %d of %d people have no point that was seen and are left out", len(found) - len(seen), len(found)
        )
    return seen or found, canvas


def _content(path: Path) -> bytes:
    """A file's bytes. Raises OSError for what is no file (a device has no end), and ValueError for a very large one."""
    if seen := no_file(path):
        raise OSError(f"{path} {seen}")
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size >> 20} MiB")
    return path.read_bytes()


def _decoded(content: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 where a byte order mark says so."""
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if marked else "utf-8-sig")


def _of_editor(keypoints: Any) -> Any:
    """People as an older pose editor writes them: for each a list of [x, y], or null where a point is missing."""
    if not isinstance(keypoints, Sequence) or isinstance(keypoints, str):
        return None
    if not all(isinstance(point, list | tuple | None) for point in _joined(keypoints)):
        raise ValueError('"keypoints" with [x, y] or null for each point of each person')
    rows = [[(*point[:2], 1.0) if point else (0.0, 0.0, 0.0) for point in person or ()] for person in keypoints]
    return [{"pose_keypoints_2d": [number for point in person for number in point]} for person in rows]


def _joined(keypoints: Sequence[Any]) -> Iterator[Any]:
    """The points of all people; of what is no list of points, itself."""
    for person in keypoints:
        yield from person if isinstance(person, list | tuple) else () if person is None else (person,)


def _person(given: Any) -> dict[str, Any]:
    if isinstance(given, Figure):
        return given.model_dump()
    if not isinstance(given, Mapping) or not given.get("pose_keypoints_2d"):
        raise ValueError('each person as an object with "pose_keypoints_2d"')
    if not isinstance(given["pose_keypoints_2d"], Sequence) or isinstance(given["pose_keypoints_2d"], str):
        raise ValueError("numbers in pose_keypoints_2d")
    return dict(given)


def _as_fractions(person: dict[str, Any], canvas: tuple[int, int] | None) -> dict[str, Any]:
    """With coordinates as fractions. Points that were not seen carry any numbers, and decide nothing."""
    rows = {}
    for key in Figure.model_fields:
        values = person.get(key)
        try:
            if values and len(values) % 3 == 0:
                rows[key] = points_of(values).copy()
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"numbers in {key}") from None
    for points in rows.values():
        points[points[:, 2] <= 0] = 0
    largest = max((float(np.abs(points[:, :2]).max()) for points in rows.values()), default=0.0)
    if largest > _LARGEST_FRACTION and canvas is None:
        raise ValueError(
            "coordinates as fractions, or in pixels of a canvas that is named"
            '|Add "canvas_width" and "canvas_height" to the JSON, or give canvas=(width, height).'
        )
    scale = canvas if largest > _LARGEST_FRACTION and canvas is not None else (1, 1)
    return {**person, **{key: (points / (*scale, 1)).ravel().tolist() for key, points in rows.items()}}


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
