"""Before a grid is made: its cells are checked against the session, and its cost is shown and confirmed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from ..engine.preflight import Checked
from ..errors import BadRequest, ZImageError
from ..recipe.artifact import Artifact
from ..text.tables import notebook
from .cell import Cell
from .cell_store import CellStore, Fingerprints, cell_key, models_read_once
from .estimate import CostModel, Estimate, PlannedPicture
from .plan import Plan
from .runner import PictureTask

if TYPE_CHECKING:
    from ..session.job import Job
    from ..session.session import Session

ASK_ABOVE = 200
"""New cells; above this the user is asked."""


class SessionJobs:
    """What a runner needs of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(self, checked: Checked) -> Job:
        """A job of low priority for a checked request."""
        return self._session.start(checked, priority="batch")

    def extend(self, base: Artifact, checked: Checked) -> Job:
        """The same from a picture that has the request's first stages already."""
        return self._session.extend(base, checked.request, checked.notes, checked.derived, "batch")

    def worker_count(self) -> int:
        """Number of the session's workers."""
        return len(self._session.status().workers)

    def closed(self) -> bool:
        """Whether the session itself has ended."""
        return self._session.closed


def cost_model_of(store: CellStore) -> CostModel:
    """The cost model measured on pictures of this store."""
    return CostModel(store.folder.parent / "pace.json")


def cost(session: Session, store: CellStore, tasks: Sequence[PictureTask], cells: int) -> Estimate:
    """What these tasks cost, for a grid with `cells` cells in all."""
    own = {task.key for task in tasks}
    bases = {task.base[0]: task for task in tasks if task.base is not None and task.base[0] not in own}
    pictures = [PlannedPicture(task.checked.request, task.model, drawn=task.base is None) for task in tasks]
    pictures += [
        PlannedPicture(task.base[1].request, task.model)
        for key, task in bases.items()
        if task.base is not None and not store.has(key)
    ]
    return cost_model_of(store).estimate(cells, len(tasks), pictures, SessionJobs(session).worker_count())


def remote_fingerprints_of(session: Session) -> Fingerprints:
    """Fingerprints of the models on the session's workers, by name."""
    found: dict[str, set[str]] = {}
    for worker in session.status().workers:
        for name, digest in worker.fingerprints.items():
            found.setdefault(name, set()).add(digest)
    return {name: "+".join(sorted(each)) for name, each in found.items()}


def check_cells(
    session: Session,
    cells: Sequence[Cell],
    remote_fingerprints: Fingerprints,
    plan: Plan,
    before_each: Callable[[], None] = lambda: None,
) -> None:
    """Resolve every cell and compute its key. Raises the first error, with the cell's label and their number.

    `before_each` is called before each cell; what it raises ends the check.
    """
    problems: list[tuple[Cell, ZImageError]] = []
    with models_read_once():
        for cell in cells:
            before_each()
            try:
                cell.checked = session.check(plan.request(cell.place))
                cell.key = cell_key(cell.checked, remote_fingerprints)
            except ZImageError as error:
                problems.append((cell, error))
    if problems:
        cell, first = problems[0]
        more = f" ({len(problems)} of {len(cells)} cells cannot be made.)" if len(problems) > 1 else ""
        raise type(first)(
            f"cell {_short(cell.label)!r}: {first.seen}",
            expected=first.expected,
            mend=f"{first.mend}{more}".strip(),
            **first.facts,
        )


def _short(text: str) -> str:
    """A long label without its middle: what it begins with, and what sets it apart at the end."""
    return text if len(text) <= 80 else f"{text[:50]} … {text[-25:]}"


def confirm_cost(estimate: Estimate, new: int, yes: bool) -> None:
    """Print what a grid will cost, and ask above `ASK_ABOVE`. Raises BadRequest for a no, or if no one can answer.

    Prints to stderr, in a notebook to stdout.
    """
    how, at_terminal = _cost_output.get(), sys.stderr is not None and sys.stderr.isatty()
    if new <= ASK_ABOVE or yes:
        if notebook() is not None:
            if threading.current_thread() is threading.main_thread():  # a view's own thread has no cell to print into
                print(estimate)
        elif how == "line" or (how == "usual" and at_terminal):
            print(estimate, file=sys.stderr)
        return
    answer = ""
    if how == "usual" or (how == "line" and sys.stdin is not None and sys.stdin.isatty()):
        with (
            suppress(EOFError, OSError, RuntimeError),
            redirect_stdout(sys.stderr),
        ):  # no terminal; nobody at a notebook
            answer = input(f"{estimate}. Make them? [y/N] ")
    if answer.strip().lower() not in ("y", "yes", "是", "好"):
        raise BadRequest(f"{estimate}, which was not confirmed", mend="Give yes=True (--yes), or fewer values.")


@contextmanager
def cost_output(how: Literal["line", "nothing"]) -> Iterator[None]:
    """Meanwhile a grid's cost is printed to stderr even without a terminal ("line"), or not at all ("nothing")."""
    token = _cost_output.set(how)
    try:
        yield
    finally:
        _cost_output.reset(token)


_cost_output: ContextVar[Literal["usual", "line", "nothing"]] = ContextVar("telling", default="usual")
