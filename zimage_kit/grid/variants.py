"""Variants of a plan: one row or column more or less. Unchanged cells keep their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BadRequest
from .axis_names import canonical
from .axis_values import values_of
from .dimensions import Role
from .plan import Plan

_SUCH = "Such as grid.rerun(column=2, steps=12)."


def line_of(plan: Plan, row: int | None = None, column: int | None = None) -> tuple[Role, int]:
    """The row or column that is meant. Raises BadRequest for none, both, or one out of range."""
    role: Role = "columns" if row is None else "rows"
    number = column if row is None else row
    if (row is None) == (column is None) or number is None:
        raise BadRequest("give a row or a column", mend=_SUCH)
    count = len(plan.dimensions.get(role, ()))
    if not 0 <= number < count:
        raise BadRequest(
            f"{role.removesuffix('s')} {number}", expected=f"0 to {count - 1}" if count else "the other one"
        )
    return role, number


def all_changes(changes: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """Changes given as a mapping and as keywords. Raises BadRequest for a name that is in both."""
    if not isinstance(changes, Mapping | None):
        raise BadRequest(f"changes={changes!r}", expected="a mapping of names to values", mend=_SUCH)
    found = dict(changes or {})
    if both := sorted(set(found) & set(more)):
        raise BadRequest(f"two values for {both[0]}", expected="one")
    return {**found, **more}


def with_line_repeated(plan: Plan, role: Role, number: int, changes: Mapping[str, Any]) -> Plan:
    """The plan with a row or column repeated beside itself, with changes. Raises BadRequest."""
    if not changes:
        raise BadRequest("rerun without changes", mend=_SUCH)
    points = list(plan.points(role))
    point = dict(points[number])
    for given, value in changes.items():
        name = canonical(given, plan.base, plan.slot_names)
        other = next((each for each in plan.dimensions if each != role and name in plan.axes_of(each)), None)
        if other is not None:
            raise BadRequest(f"rerun with another {name}", expected=f"what does not vary along the {other} already")
        (point[name],) = values_of(name, [value], name in plan.slot_names)
    points.insert(number + 1, point)
    return plan.with_points(role, points)


def without_line(plan: Plan, role: Role, number: int) -> Plan:
    """The plan without a row or column. Raises BadRequest for the last one."""
    points = [point for index, point in enumerate(plan.points(role)) if index != number]
    if not points:
        raise BadRequest(f"a grid without its last {role.removesuffix('s')}")
    return plan.with_points(role, points)
