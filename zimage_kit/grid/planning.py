"""Planning: turns a user's arguments (base, axes or a table, layout, labels, title) into a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from ..errors import BadRequest
from ..recipe.request import Request
from .axis_names import canonical, slots
from .axis_table import table_of
from .axis_templates import with_combinations
from .axis_values import is_one_value, values_of
from .changes import with_fields
from .dimensions import dimensions_of
from .plan import Labels, Plan, check_size, labels_by_value

GRID_SEED = 42
"""Seed of every cell if neither the base nor an axis gives one, so that a grid is reproducible."""
_OPTIONS = ("rows", "columns", "pages", "inner", "zip", "labels", "title", "yes")
"""Keyword options of `Session.grid`."""


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
    """A plan from a user's arguments. `axes` maps names to values, or is a table (pandas, CSV) with a cell per row.

    `more` holds axes given as keywords; a single value for a field there is not an axis but changes the base. `layout`
    maps roles to names of axes; several names are zipped. `zipped`: all axes, or the named ones, go in step. A prompt
    that is a template is an axis of its combinations. Raises BadRequest.
    """
    if not isinstance(base, Request | str):
        raise BadRequest(f"a grid of {type(base).__name__}", expected="a request or a prompt")
    request = base if isinstance(base, Request) else Request(prompt=base)
    columns = table_of(axes)
    both = sorted(set(axes if columns is None else columns).intersection(more or ())) if axes is not None else []
    if both:
        raise BadRequest(f"two axes with the same name, {both[0]}", expected="each once")
    if columns is not None:
        given, zipped = {**columns, **(more or {})}, tuple(columns) if zipped is False else zipped
    else:
        given = {**(axes or {}), **(more or {})}
    given = {name: list(values) if isinstance(values, Iterator) else values for name, values in given.items()}
    chosen: dict[str, dict[str, str]] = {}
    templates: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    if columns is None and zipped is False:  # a table's rows, and axes in step, have their places
        given, chosen, templates, notes = with_combinations(request, given, layout or {})
    slot_names = slots(request)
    for name in ("prompt", "negative_prompt"):  # their values may have slots of their own
        if name in given:
            slot_names |= frozenset().union(
                *(slots(Request(prompt=str(text))) for text in values_of(name, given[name]) if text)
            )
    _no_options(slot_names - set(given), title)
    names = {given_name: canonical(given_name, request, slot_names) for given_name in given}
    if len(set(names.values())) < len(names):
        raise BadRequest("two axes with the same name", expected=f"each once ({', '.join(given)})")
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
    if request.seed is None:
        request = request.but(seed=GRID_SEED)
        if "seed" in own_slots or None in values.get("seed", [None]):
            notes += (f"no seed was given: {GRID_SEED}, so that the grid is reproducible",)
    dimensions = dimensions_of(values, names, layout or {}, zipped)
    named = labels_by_value({**chosen, **(labels or {})}, names, values, own_slots)
    found = Plan(request, dimensions, own_slots, named, title, notes, templates)
    check_size(found)
    return found


def _no_options(open_slots: frozenset[str], title: Any) -> None:
    """Refuse slots without values that share their name with an option of `Session.grid`: no keyword can fill them."""
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
    """Refuse options that name a field with a single value, which is not an axis."""
    for option, wanted in options.items():
        for name in (wanted,) if isinstance(wanted, str) else wanted or ():
            if names.get(name, name) in fixed:
                raise BadRequest(
                    f"{option}={name!r}: {name} has one value",
                    expected="an axis",
                    mend=f"Give it a list of values: {name}=[{fixed[names.get(name, name)]!r}].",
                )
