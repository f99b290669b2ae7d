"""Dimensions: the axes of a grid as rows, columns, pages and inner places. Numbers count from 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import JsonValue

from ..errors import BadRequest, closest

Role = Literal["rows", "columns", "pages", "inner"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Top to bottom, left to right, sheet after sheet, and side by side within a cell."""

Point = Mapping[str, JsonValue]
"""One point on a dimension of a grid: axis names and their values there."""


@dataclass(frozen=True)
class Place:
    """Where a cell stands: numbers from 0, also for a dimension that the grid does not have."""

    row: int = 0
    column: int = 0
    page: int = 0
    inner: int = 0


def dimensions_of(
    values: dict[str, list[JsonValue]],
    names: Mapping[str, str],
    layout: Mapping[str, str | Sequence[str] | None],
    zipped: bool | Sequence[str],
) -> dict[Role, tuple[Point, ...]]:
    """Axes as dimensions: those of one role, or zipped, form one; the others get the roles that are left."""

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
    return assign_roles(found, [_zip(group, values) for group in left])


def _zip(names: Sequence[str], values: Mapping[str, list[JsonValue]]) -> tuple[Point, ...]:
    counts = {name: len(values[name]) for name in names}
    longest = max(counts.values())
    if any(count not in (1, longest) for count in counts.values()):
        counted = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise BadRequest(f"axes that go in step have different numbers of values ({counted})", expected="as many each")
    rows = [{name: values[name][index if counts[name] > 1 else 0] for name in names} for index in range(longest)]
    # an empty cell of a table keeps the base's value
    return tuple({name: value for name, value in row.items() if value is not None} for row in rows)


def assign_roles(
    found: Mapping[Role, tuple[Point, ...]], left: Sequence[tuple[Point, ...]]
) -> dict[Role, tuple[Point, ...]]:
    """Give roles to the dimensions without one: a single one becomes columns; several begin with rows."""
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
