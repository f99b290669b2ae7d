"""Plan: a base request and what varies, laid out in up to four dimensions. Data only; JSON both ways.

A dimension is a row of points, and a point is a handful of changes to the base: one axis gives points with one change,
axes that are zipped give points with several, a table gives one point for each of its rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from pydantic import JsonValue

from ..errors import BadRequest
from ..recipe.request import Request
from ..recipe.templates import is_template
from .axis_values import label_of, values_of
from .changes import request_with
from .dimensions import ROLES, Place, Point, Role, assign_roles

LARGEST_GRID = 10_000
"""Cells."""

Labels = Mapping[str, Mapping[str, str] | Sequence[str]]


@dataclass(frozen=True)
class Plan:
    """`dimensions` are points by role, only those that are used; `slot_names` the axes that are slots of the prompts.

    `labels` name values otherwise: axis -> {value as JSON text: label}. `templates` say which template a prompt comes
    from. Layout, labels, title and templates change no picture.
    """

    base: Request
    dimensions: Mapping[Role, tuple[Point, ...]]
    slot_names: frozenset[str] = frozenset()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    title: str = ""
    notes: tuple[str, ...] = ()
    templates: Mapping[str, str] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of all axes, dimension by dimension."""
        return tuple(dict.fromkeys(name for role in self.dimensions for name in self.axes_of(role)))

    def axes_of(self, role: Role) -> tuple[str, ...]:
        """Names of the axes of one dimension, empty for one that the grid does not have."""
        return tuple(dict.fromkeys(name for point in self.dimensions.get(role, ()) for name in point))

    def points(self, role: Role) -> tuple[Point, ...]:
        """The points of a dimension; a single one without changes for one that the grid does not have."""
        return self.dimensions.get(role, ({},))

    def labels_of(self, role: Role) -> tuple[str, ...]:
        """What the points of a dimension are called; empty for one that the grid does not have."""
        return self._all_labels.get(role, ())

    @cached_property
    def _all_labels(self) -> dict[Role, tuple[str, ...]]:
        def label(point: Point) -> str:
            return " · ".join(self.label(name, value) for name, value in point.items()) or "as it is"

        return {role: tuple(map(label, self.dimensions[role])) for role in self.dimensions}

    def normal(self, name: str, value: Any) -> JsonValue:
        """A value of an axis in its normal form. Raises BadRequest."""
        return values_of(name, [value], name in self.slot_names)[0]

    def label(self, name: str, value: JsonValue) -> str:
        """The label of a value."""
        own = self.labels.get(name, {}).get(json_text(value))
        return own or (str(value) or f"no {name}" if name in self.slot_names else label_of(name, value))

    @property
    def shape(self) -> tuple[int, ...]:
        """How many points each used dimension has, in the order rows, columns, pages, inner."""
        return tuple(len(self.dimensions[role]) for role in ROLES if role in self.dimensions)

    def places(self) -> Iterator[Place]:
        """Every cell in reading order: page by page, row by row, column by column."""
        counts = (len(self.points(role)) for role in ("pages", "rows", "columns", "inner"))
        for page, row, column, inner in product(*(range(count) for count in counts)):
            yield Place(row, column, page, inner)

    def point(self, place: Place) -> Point:
        """All axis values at a place."""
        numbers = {"rows": place.row, "columns": place.column, "pages": place.page, "inner": place.inner}
        return {key: value for role in ROLES for key, value in self.points(role)[numbers[role]].items()}

    def request(self, place: Place) -> Request:
        """The request of a cell, not resolved yet. Raises BadRequest."""
        point = self.point(place)
        request = request_with(self.base, point, self.slot_names)
        template = self.templates.get(str(point.get("prompt")), "")
        return request.but(template=template) if template and not is_template(request.prompt) else request

    def where(self, place: Place) -> str:
        """A cell's label: those of its points, joined."""
        numbers = {"rows": place.row, "columns": place.column, "pages": place.page, "inner": place.inner}
        return ", ".join(self.labels_of(role)[numbers[role]] for role in ROLES if role in self.dimensions)

    def arranged(self, **roles: str | Sequence[str] | None) -> Plan:
        """The same cells in another layout: rows, columns, pages, inner name axes of today's dimensions.

        Dimensions that are not named take the places that are left, in order. Raises BadRequest for axes that are not
        there, and for two of one dimension that would have to part.
        """
        today = {frozenset(self.axes_of(role)): role for role in self.dimensions}
        found: dict[Role, tuple[Point, ...]] = {}
        for role, wanted in roles.items():
            names = frozenset((wanted,) if isinstance(wanted, str) else wanted or ())
            if not names:
                continue
            old = next((today[axes] for axes in today if names <= axes), None)
            if old is None:
                known = [name for axes in today for name in axes]
                raise BadRequest(f"{role}={wanted!r}", expected=f"an axis of the grid ({', '.join(known)})")
            if any(self.dimensions[old] is points for points in found.values()):
                raise BadRequest(f"{role}={wanted!r}: these axes are laid out already")
            found[role] = self.dimensions[old]  # type: ignore[index]
        left = [points for points in self.dimensions.values() if not any(points is each for each in found.values())]
        return replace(self, dimensions=assign_roles(found, left))

    def relabelled(self, labels: Labels) -> Plan:
        """The same cells with other labels for some values. Raises BadRequest."""
        values: dict[str, list[JsonValue]] = {}
        for role in self.dimensions:
            for point in self.dimensions[role]:
                for name, value in point.items():
                    known = values.setdefault(name, [])
                    if value not in known:
                        known.append(value)
        return replace(self, labels={**self.labels, **labels_by_value(labels, {}, values, self.slot_names)})

    def with_points(self, role: Role, points: Sequence[Point]) -> Plan:
        """The same with other points in one dimension."""
        return replace(self, dimensions={**self.dimensions, role: tuple(points)})

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "version": 1,
            "title": self.title,
            "base": self.base.model_dump(mode="json"),
            "dimensions": {role: [dict(point) for point in self.dimensions[role]] for role in self.dimensions},
            "slots": sorted(self.slot_names),
            "labels": {name: dict(labels) for name, labels in self.labels.items()},
            "notes": list(self.notes),
            "templates": dict(self.templates),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Plan:
        """What `data` wrote. Raises BadRequest for anything else."""
        try:
            if data["version"] != 1:
                raise BadRequest(
                    f"a grid of version {data['version']}", expected="version 1", mend="Update zimage_kit."
                )
            dimensions = {role: tuple(dict(point) for point in data["dimensions"][role]) for role in data["dimensions"]}
            if not dimensions or not set(dimensions) <= set(ROLES) or not all(dimensions.values()):
                raise ValueError("unknown or empty dimensions")
            if not all(isinstance(labels, dict) for labels in (data["labels"], *data["labels"].values())):
                raise ValueError("labels are not mappings")
            slots = frozenset(data["slots"])
            dimensions = {
                role: tuple(
                    {name: values_of(name, [value], name in slots)[0] for name, value in point.items()}
                    for point in points
                )
                for role, points in dimensions.items()
            }
            found = cls(
                base=Request(**data["base"]),
                dimensions=dimensions,
                slot_names=slots,
                labels=data["labels"],
                title=str(data["title"]),
                notes=tuple(map(str, data["notes"])),
                templates=dict(data.get("templates", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadRequest(f"this is not a saved grid ({error})", mend="Give a file that grid.save wrote.") from None
        check_size(found)
        return found


def check_size(plan: Plan) -> None:
    """Raises BadRequest for more than `LARGEST_GRID` cells."""
    if (size := math.prod(plan.shape)) > LARGEST_GRID:
        raise BadRequest(f"a grid of {size} cells", expected=f"at most {LARGEST_GRID}", mend="Make it in parts.")


def labels_by_value(
    labels: Labels, names: Mapping[str, str], values: Mapping[str, list[JsonValue]], slot_names: frozenset[str]
) -> dict[str, Mapping[str, str]]:
    """Labels by the JSON text of a value; given as a mapping from values, or in the order of the values."""
    found: dict[str, Mapping[str, str]] = {}
    for given, each in labels.items():
        name = names.get(given, given)
        if name not in values:
            raise BadRequest(f"labels for {given!r}", expected=f"an axis of the grid ({', '.join(values)})")
        if isinstance(each, Mapping):
            pairs = {
                json_text(values_of(name, [value], name in slot_names)[0]): str(label) for value, label in each.items()
            }
        elif len(each) != len(values[name]):
            raise BadRequest(f"{len(each)} labels for {given}", expected=f"{len(values[name])}, one for each value")
        else:
            pairs = {json_text(value): str(label) for value, label in zip(values[name], each, strict=True)}
        found[name] = pairs
    return found


def json_text(value: JsonValue) -> str:
    """A value as JSON, the same text for the same value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
