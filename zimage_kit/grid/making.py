"""Before a grid is made: its cells are checked against the session, and what it will cost is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..artifact import Artifact
from ..display import notebook
from ..errors import BadRequest, ZImageError
from ..preflight import Checked
from .cell import Cell
from .cells import CellStore, Fingerprints, cell_key
from .pace import Asked, Estimate, Pace
from .plan import Plan
from .run import Work

if TYPE_CHECKING:
    from ..job import Job
    from ..session import Session

ASK_ABOVE = 200
"""New cells."""


class Bench:
    """What a runner needs of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(self, checked: Checked) -> Job:
        """A job of low priority for a checked request."""
        return self._session._start(checked, fresh=False, keep=False, priority="batch")

    def extend(self, base: Artifact, checked: Checked) -> Job:
        """The same from a picture that has the request's first stages already."""
        return self._session._extend(base, checked.request, checked.notes, "batch")

    def workers(self) -> int:
        """How many of them work for the session."""
        return len(self._session.status().workers)

    def gone(self) -> bool:
        """Whether the session itself has ended."""
        return self._session._engine.closed


def pace_of(store: CellStore) -> Pace:
    """What was measured of pictures in this store."""
    return Pace(store.folder.parent / "pace.json")


def cost(session: Session, store: CellStore, works: Sequence[Work], cells: int) -> Estimate:
    """What it costs to make these works, of a grid of so many cells."""
    own = {work.key for work in works}
    beneath = {work.base[0]: work for work in works if work.base is not None and work.base[0] not in own}
    asked = [Asked(work.checked.request, work.model, drawn=work.base is None) for work in works]
    asked += [
        Asked(work.base[1].request, work.model)
        for key, work in beneath.items()
        if work.base is not None and not store.has(key)
    ]
    return pace_of(store).estimate(cells, len(works), asked, Bench(session).workers())


def elsewhere_of(session: Session) -> Fingerprints:
    """Fingerprints of models that are not on this disk, as the session's workers tell them."""
    found: dict[str, set[str]] = {}
    for worker in session.status().workers:
        for name, told in worker.fingerprints.items():
            found.setdefault(name, set()).add(told)
    return {name: "+".join(sorted(each)) for name, each in found.items()}


def check_cells(session: Session, cells: Sequence[Cell], elsewhere: Fingerprints, plan: Plan) -> None:
    """Resolve every cell and give it its key. Raises the first problem with the cell's name, and how many have one."""
    problems: list[tuple[Cell, ZImageError]] = []
    for cell in cells:
        try:
            cell.checked = session._checked(plan.request(cell.place), {})
            cell.key = cell_key(cell.checked, elsewhere)
        except ZImageError as error:
            problems.append((cell, error))
    if problems:
        cell, first = problems[0]
        more = f" ({len(problems)} of {len(cells)} cells cannot be made.)" if len(problems) > 1 else ""
        raise type(first)(
            f"cell {cell.label!r}: {first.seen}",
            expected=first.expected,
            mend=f"{first.mend}{more}".strip(),
            **first.facts,
        )


def tell_cost(estimate: Estimate, new: int, yes: bool) -> None:
    """Say what a grid will cost, and ask when it is much. Raises BadRequest for a no, or where nobody can be asked."""
    if new <= ASK_ABOVE or yes:
        if notebook() is not None or (sys.stderr is not None and sys.stderr.isatty()):
            print(estimate, file=sys.stdout if notebook() is not None else sys.stderr)
        return
    try:
        answer = input(f"{estimate}. Make them? [y/N] ")
    except (EOFError, OSError, RuntimeError):  # no terminal; a notebook without a user
        answer = ""
    if answer.strip().lower() not in ("y", "yes", "是", "好"):
        raise BadRequest(f"{estimate}, and nobody said yes", mend="Give yes=True (--yes), or fewer values.")
