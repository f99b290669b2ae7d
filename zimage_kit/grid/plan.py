"""Plan: a base request and what varies, laid out in up to four dimensions. Data only; JSON both ways.

A dimension is a row of points, and a point is a handful of changes to the base: one axis gives points with one change,
axes that are zipped give points with several, a table gives one point for each of its rows.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import JsonValue

from ..errors import BadRequest, closest
from ..recipe.request import Request
from .axes import Point, canonical, changed, is_one_value, label_of, not_utf8, slots, values_of, with_fields

Role = Literal["rows", "columns", "pages", "inner"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Top to bottom, left to right, sheet after sheet, and side by side inside of a cell."""

GRID_SEED = 42
"""Of every cell where neither the base nor an axis names one: the same grid is the same pictures."""

LARGEST_GRID = 10_000
"""Cells."""

_OPTIONS = ("rows", "columns", "pages", "inner", "zip", "labels", "title", "yes")
"""Of `Session.grid`."""

Labels = Mapping[str, Mapping[str, str] | Sequence[str]]


@dataclass(frozen=True)
class Place:
    """Where a cell stands: numbers from 0, and 0 for a dimension that the grid does not have."""

    row: int = 0
    column: int = 0
    page: int = 0
    inner: int = 0


@dataclass(frozen=True)
class Plan:
    """`dimensions` are points by role, only those that are used; `slot_names` the axes that are slots of the prompts.

    `labels` name values otherwise: axis -> {value as JSON text: label}. Layout, labels and title change no picture.
    """

    base: Request
    dimensions: Mapping[Role, tuple[Point, ...]]
    slot_names: frozenset[str] = frozenset()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    title: str = ""
    notes: tuple[str, ...] = ()

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
        """What a value is called."""
        own = self.labels.get(name, {}).get(_text(value))
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
        """All changes that hold at a place."""
        numbers = {"rows": place.row, "columns": place.column, "pages": place.page, "inner": place.inner}
        return {key: value for role in ROLES for key, value in self.points(role)[numbers[role]].items()}

    def request(self, place: Place) -> Request:
        """The request of a cell, not resolved yet. Raises BadRequest."""
        return changed(self.base, self.point(place), self.slot_names)

    def where(self, place: Place) -> str:
        """A cell's name for people: its labels."""
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
        return replace(self, dimensions=_in_order(found, left))

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
                raise ValueError("dimensions that are not known, or empty")
            if not all(isinstance(labels, dict) for labels in (data["labels"], *data["labels"].values())):
                raise ValueError("labels that are no names")
            found = cls(
                base=Request(**data["base"]),
                dimensions=dimensions,
                slot_names=frozenset(data["slots"]),
                labels=data["labels"],
                title=str(data["title"]),
                notes=tuple(map(str, data["notes"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadRequest(f"this is no grid of ours ({error})", mend="Give a file that grid.save wrote.") from None
        _check_size(found)
        return found


def plan(
    base: Request | str,
    axes: Any = None,
    more: Mapping[str, Any] | None = None,
    *,
    layout: Mapping[str, str | Sequence[str] | None] | None = None,
    zipped: bool | Sequence[str] = False,
    labels: Labels | None = None,
    title: str = "",
) -> Plan:
    """A plan from what a user gives. `axes`: names to values, a table (pandas, or a CSV file) with a cell in each row.

    `more` are axes too (keywords), but a field's single value there is no axis: it changes the base. `layout` gives
    roles names of axes (several: they are zipped). `zipped`: all axes go in step, or those that are named. Raises
    BadRequest.
    """
    if not isinstance(base, Request | str):
        raise BadRequest(f"a grid of {type(base).__name__}", expected="a request or a prompt")
    request = base if isinstance(base, Request) else Request(prompt=base)
    columns = table_of(axes)
    both = sorted(set(axes if columns is None else columns).intersection(more or ())) if axes is not None else []
    if both:
        raise BadRequest(f"two axes of one name, {both[0]}", expected="each once")
    if columns is not None:
        given, zipped = {**columns, **(more or {})}, tuple(columns) if zipped is False else zipped
    else:
        given = {**(axes or {}), **(more or {})}
    given = {name: list(values) if isinstance(values, Iterator) else values for name, values in given.items()}
    slot_names = slots(request)
    for name in ("prompt", "negative_prompt"):  # whose values may bring slots of their own
        if name in given:
            slot_names |= frozenset().union(
                *(slots(Request(prompt=str(text))) for text in values_of(name, given[name]) if text)
            )
    _no_options(slot_names - set(given), title)
    names = {given_name: canonical(given_name, request, slot_names) for given_name in given}
    if len(set(names.values())) < len(names):
        raise BadRequest("two axes of one name", expected=f"each once ({', '.join(given)})")
    own_slots = frozenset(names.values()) & slot_names
    sides = [name for name in ("width", "height") if name in names.values()]
    if "size" in names.values() and sides and not own_slots & {"size", *sides}:
        raise BadRequest(f"axes size and {sides[0]}", expected="size alone, or width and height")
    values = {names[each]: values_of(names[each], given[each], names[each] in own_slots) for each in given}
    fixed: dict[str, JsonValue] = {}
    for each in more or ():
        if (name := names[each]) not in own_slots and is_one_value(name, given[each], values[name]):
            (fixed[name],) = values.pop(name)
    _no_axes(fixed, names, {**(layout or {}), "zip": None if isinstance(zipped, bool) else zipped, "labels": labels})
    if not values:
        raise BadRequest("a grid without axes", mend="Give it one: session.grid(…, seed=range(4)).")
    request = with_fields(request, {name: value for name, value in fixed.items() if value is not None})
    notes: tuple[str, ...] = ()
    if request.seed is None:
        request = request.but(seed=GRID_SEED)
        if "seed" in own_slots or None in values.get("seed", [None]):
            notes = (f"no seed was given: {GRID_SEED}, so that the same grid is the same pictures",)
    dimensions = _dimensions(values, names, layout or {}, zipped)
    found = Plan(request, dimensions, own_slots, _labels(labels or {}, names, values, own_slots), title, notes)
    _check_size(found)
    return found


def _check_size(plan: Plan) -> None:
    if (size := math.prod(plan.shape)) > LARGEST_GRID:
        raise BadRequest(f"a grid of {size} cells", expected=f"at most {LARGEST_GRID}", mend="Make it in parts.")


def _no_options(open_slots: frozenset[str], title: Any) -> None:
    """Refuse slots without values that are called like an option of `Session.grid`: a keyword cannot fill them."""
    taken = sorted(open_slots.intersection(_OPTIONS))
    if taken:
        raise BadRequest(
            f"the prompt's slot {{{taken[0]}}} has no values, and {taken[0]}= is an option of the grid",
            expected="values in a mapping",
            mend=f'Give it as the second argument: {{"{taken[0]}": […]}}.',
            axis=taken[0],
        )
    if not isinstance(title, str):
        raise BadRequest(f"title={title!r}", expected="a text")


def _no_axes(fixed: Mapping[str, JsonValue], names: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Refuse options that name what has one value and is no axis."""
    for option, wanted in options.items():
        for name in (wanted,) if isinstance(wanted, str) else wanted or ():
            if names.get(name, name) in fixed:
                raise BadRequest(
                    f"{option}={name!r}: {name} has one value",
                    expected="an axis",
                    mend=f"Give it a list of values: {name}=[{fixed[names.get(name, name)]!r}].",
                )


def relabelled(old: Plan, labels: Labels) -> Plan:
    """The same plan with other labels. Raises BadRequest."""
    values: dict[str, list[JsonValue]] = {}
    for role in old.dimensions:
        for point in old.dimensions[role]:
            for name, value in point.items():
                known = values.setdefault(name, [])
                if value not in known:
                    known.append(value)
    return replace(old, labels={**old.labels, **_labels(labels, {}, values, old.slot_names)})


def table_of(axes: Any) -> dict[str, list[Any]] | None:
    """A table's columns, empty cells as None; None for what is no table. Of a grid's own table only the axes."""
    from .table import axes_among

    if isinstance(axes, str | Path):
        names, rows = _read_csv(Path(axes).expanduser())
    elif hasattr(axes, "to_dict") and hasattr(axes, "columns"):  # pandas
        names = [str(name) for name in axes.columns]
        rows = axes.astype(object).where(axes.notna(), None).to_numpy().tolist()
    elif axes is not None and not isinstance(axes, Mapping):
        raise BadRequest(f"axes of type {type(axes).__name__}", expected="names with values, a table or a CSV file")
    else:
        return None
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadRequest(f"a table with two columns {twice!r}", expected="each once")
    return {name: [row[names.index(name)] for row in rows] for name in axes_among(names)}


def _read_csv(path: Path) -> tuple[list[str], list[list[str | None]]]:
    """Names and rows; a row of empty values is one, a blank line is none."""
    from .table import unguarded

    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise not_utf8(str(path)) from None
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path} cannot be read ({error})", expected="a CSV file in UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                seen = f"line {reader.line_num} of {path} has {len(row)} values"
                raise BadRequest(seen, expected=f"{len(rows[0])}, one for each name in the first line")
            rows += [row] if row else []
    except csv.Error as error:
        raise BadRequest(f"line {reader.line_num} of {path}: {error}", expected="a CSV file") from None
    if len(rows) < 2:
        raise BadRequest(f"{path} has {len(rows)} lines", expected="a line of axis names and one line for each cell")
    return [name.strip() for name in rows[0]], [[unguarded(value) or None for value in row] for row in rows[1:]]


def _dimensions(
    values: dict[str, list[JsonValue]],
    names: Mapping[str, str],
    layout: Mapping[str, str | Sequence[str] | None],
    zipped: bool | Sequence[str],
) -> dict[Role, tuple[Point, ...]]:
    """Axes as dimensions: those of one role or one zip together, and what is left takes the places that are left."""

    def known(name: str) -> str:
        if name not in names and name not in values:
            raise BadRequest(f"no axis {name!r}", mend=closest(name, names))
        return names.get(name, name)

    together: list[tuple[str, ...]] = []
    if zipped is True:
        together.append(tuple(values))
    elif zipped:
        together.append(tuple(known(name) for name in ((zipped,) if isinstance(zipped, str) else zipped)))
    found: dict[Role, tuple[Point, ...]] = {}
    used: set[str] = set()
    for role, wanted in layout.items():
        chosen = tuple(known(name) for name in ((wanted,) if isinstance(wanted, str) else wanted or ()))
        for group in together:
            if set(group) & set(chosen):
                chosen = tuple(dict.fromkeys((*chosen, *group)))
        if not chosen:
            continue
        if used & set(chosen):
            raise BadRequest(f"{role}={wanted!r}: an axis can have one place only")
        found[role] = _zip(chosen, values)  # type: ignore[index]
        used |= set(chosen)
    single = used.union(*together)
    left = [group for group in together if not set(group) & used] + [(name,) for name in values if name not in single]
    left.sort(key=lambda group: list(values).index(group[0]))
    return _in_order(found, [_zip(group, values) for group in left])


def _zip(names: Sequence[str], values: Mapping[str, list[JsonValue]]) -> tuple[Point, ...]:
    counts = {name: len(values[name]) for name in names}
    longest = max(counts.values())
    if any(count not in (1, longest) for count in counts.values()):
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise BadRequest(f"axes that go in step have different numbers of values ({told})", expected="as many each")
    rows = [{name: values[name][index if counts[name] > 1 else 0] for name in names} for index in range(longest)]
    # an empty cell of a table leaves the base as it is
    return tuple({name: value for name, value in row.items() if value is not None} for row in rows)


def _in_order(
    found: Mapping[Role, tuple[Point, ...]], left: Sequence[tuple[Point, ...]]
) -> dict[Role, tuple[Point, ...]]:
    """Roles for the dimensions that have none: one alone goes from left to right, others begin with the rows."""
    if len(found) + len(left) > len(ROLES):
        raise BadRequest(
            f"{len(found) + len(left)} dimensions",
            expected=f"at most {len(ROLES)} (rows, columns, pages, inner)",
            mend='Let some axes go in step: columns=("seed", "steps").',
        )
    free = [role for role in ROLES if role not in found]
    if not found and len(left) == 1:
        free = ["columns"]
    both = {**found, **dict(zip(free, left, strict=False))}
    return {role: both[role] for role in ROLES if role in both}


def _labels(
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
                _text(values_of(name, [value], name in slot_names)[0]): str(label) for value, label in each.items()
            }
        elif len(each) != len(values[name]):
            raise BadRequest(f"{len(each)} labels for {given}", expected=f"{len(values[name])}, one for each value")
        else:
            pairs = {_text(value): str(label) for value, label in zip(values[name], each, strict=True)}
        found[name] = pairs
    return found


def _text(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
