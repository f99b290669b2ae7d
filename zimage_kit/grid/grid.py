"""Grid: a labelled array of pictures; only those that do not exist yet are made."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest
from ..files import check_allowed, expanded
from ..text.tables import notebook
from .cell import Cell
from .cell_array import CellArray
from .cell_store import CellStore, Fingerprints, is_key
from .estimate import Estimate
from .grid_run import GridRun, Listener, OnProgress
from .plan import Labels, Plan
from .preparation import ASK_ABOVE, SessionJobs, check_cells, confirm_cost, cost, cost_model_of, remote_fingerprints_of
from .runner import ordered_tasks
from .variants import all_changes, line_of, with_line_repeated, without_line

if TYPE_CHECKING:
    from ..session.session import Session

_STILL, _FIRST = "the grid is still being made", "grid.wait(), or grid.cancel() first."


class Grid(CellArray):
    """`cells` in reading order; `grid[row, column]` (and page, inner, as far as it has them) is one of them.

    It is being made from the moment it is there; `wait()` waits for it. `computed` are the cells that it had to run,
    `failed` those that went wrong (their `error` says how), `drawn` how often the model drew for it. Shows itself in a
    notebook as a view that fills; `save` writes a contact sheet, a page, a table or a file that reopens it.
    """

    def __init__(self, plan: Plan, cells: Sequence[Cell], store: CellStore, session: Session | None) -> None:
        super().__init__(plan, cells)
        self.store = store
        self._session = session
        self._remote_fingerprints: Fingerprints = {}
        self._run = GridRun(self.cells)
        self._retrying = threading.Lock()
        for cell in self.cells:
            if store.has(cell.key):
                cell.state = "done"

    @classmethod
    def open(cls, path: str | os.PathLike[str], session: Session | None = None) -> Grid:
        """Open a grid from a file that `save` wrote (JSON, PNG, JPEG, HTML), with the pictures that exist.

        `retry()` makes the missing ones, on `session` or on `zk.connect()`. Raises BadRequest for other files.
        """
        from .files import read_recipe_of_grid

        check_allowed(Path(path))
        data = read_recipe_of_grid(expanded(Path(path)))
        plan, store = Plan.from_data(data), CellStore()
        places = list(plan.places())
        keys = data.get("cells") or [""] * len(places)
        if not isinstance(keys, list) or len(keys) != len(places) or not all(is_key(key) for key in keys):
            raise BadRequest(f"{path} does not name its {len(places)} cells", mend="Give a file that grid.save wrote.")
        cells = []
        for index, (place, key) in enumerate(zip(places, keys, strict=True)):
            cell = Cell(index, place, plan.point(place), plan.where(place), str(key), store)
            cell._requested = plan.request(place)
            cells.append(cell)
        return cls(plan, cells, store, session)

    # how it goes

    @property
    def state(self) -> str:
        """running, done, failed (some cells did) or stopped (some are missing)."""
        if self._run.running:
            return "running"
        if all(cell.state == "done" for cell in self.cells):
            return "done"
        return "failed" if any(cell.state == "failed" for cell in self.cells) else "stopped"

    @property
    def drawn(self) -> int:
        """How often the model drew for this grid; cells that differ in their finishing alone share a drawing."""
        return self._run.drawn

    @property
    def problem(self) -> BaseException | None:
        """What ended it early, such as a full disk; None if nothing did, or while it runs."""
        return self._run.problem

    def listen(self, hear: Listener) -> Callable[[], None]:
        """Call `hear` for every change, from whichever thread makes it; returns what ends that."""
        return self._run.listen(hear)

    def wait(self, timeout: float | None = None, on_progress: OnProgress | None = None) -> Grid:
        """Wait until nothing is being made; returns the grid, even with failed cells.

        Shows a progress bar, or calls `on_progress` with finished cells, all cells and a sentence. An interrupt
        stops the grid; finished cells stay. Raises what ended it early (a full disk, a stopped session), and
        TimeoutError after `timeout` seconds, which leaves it running.
        """
        self._run.wait(timeout, on_progress)
        return self

    def __await__(self) -> Generator[Any, None, Grid]:
        """`await grid` waits without blocking the kernel; cancelled, it stops the grid."""
        return self._awaited().__await__()

    async def _awaited(self) -> Grid:
        await self._run.wait_async()
        return self

    def progress(self) -> tuple[int, int, str]:
        """Cells that are there, cells in all, and a sentence for people."""
        return self._run.progress()

    def cancel(self) -> None:
        """Stop making cells. Finished ones stay, and `retry()` continues."""
        self._run.cancel()

    def retry(self, *cells: Cell, yes: bool = False) -> Grid:
        """Make what failed or is missing, or these cells; returns at once. Raises BadRequest while it runs."""
        if not self._retrying.acquire(blocking=False):
            raise BadRequest(_STILL, mend=_FIRST)
        try:
            if self._run.running:
                raise BadRequest(_STILL, mend=_FIRST)
            wanted = [cell for cell in (cells or self.cells) if self._is_missing(cell, thoroughly=bool(cells))]
            self._check(self._connected(), wanted)
            missing = [cell for cell in wanted if cell.state == "done" or not self.store.readable(cell.key)]
            self._begin(missing, yes)  # before anything is changed: it may ask, and the answer may be no
            for cell in wanted:
                if cell not in missing:
                    cell.state, cell.error = "done", None
        finally:
            self._retrying.release()
        return self

    def _is_missing(self, cell: Cell, thoroughly: bool) -> bool:
        """Whether a cell has no picture (any more), or one that cannot be read; looking at pixels takes its time."""
        if cell.state != "done":
            return True
        return cell.artifact is None if thoroughly else not self.store.readable(cell.key)

    # another one from this one; cells that are the same are the same pictures

    def arranged(
        self, *, labels: Labels | None = None, title: str | None = None, **roles: str | Sequence[str] | None
    ) -> Grid:
        """The same pictures in another layout (rows, columns, pages, inner name axes), with other labels or title."""
        plan = self.plan.arranged(**roles)
        plan = replace(plan, title=plan.title if title is None else title)
        if labels is not None:
            plan = plan.relabelled(labels)
        return self._like(plan)

    def rerun(
        self, changes: Mapping[str, Any] | None = None, /, *, row: int | None = None, column: int | None = None,
        **more: Any,
    ) -> Grid:  # fmt: skip
        """A grid with one more row or column: the one given, with these changes, beside it. Only that is made.

        `grid.rerun(column=2, steps=12)`; names are those of axes. What is no keyword, or one of these, goes into a
        mapping: `grid.rerun({"row": "the second"}, column=2)`. Raises BadRequest.
        """
        return begin_grid(self.prepare_rerun(changes, row=row, column=column, **more), yes=True, quiet=True)

    def prepare_rerun(
        self, changes: Mapping[str, Any] | None = None, /, *, row: int | None = None, column: int | None = None,
        **more: Any,
    ) -> Grid:  # fmt: skip
        """The same, checked and not begun. Raises BadRequest, and then nothing has happened to this grid."""
        found, line = all_changes(changes, more), line_of(self.plan, row, column)
        return prepare_grid(self._connected(), with_line_repeated(self.plan, *line, found))

    def without(self, row: int | None = None, column: int | None = None) -> Grid:
        """The grid without one row or column; nothing is made or lost."""
        return self._like(without_line(self.plan, *line_of(self.plan, row, column)))

    def _like(self, plan: Plan) -> Grid:
        """A grid of cells that this one has, under another plan. Raises BadRequest while they are being made."""
        if self._run.running:
            raise BadRequest(_STILL, mend=_FIRST)
        mine = {_frozen(cell.values): cell for cell in self.cells}
        cells = []
        for index, place in enumerate(plan.places()):
            point = plan.point(place)
            old = mine[_frozen(point)]
            cell = Cell(index, place, point, plan.where(place), old.key, self.store)
            cell.checked, cell._requested, cell.error, cell.state = old.checked, old._requested, old.error, old.state
            cells.append(cell)
        grid = Grid(plan, cells, self.store, self._session)
        grid._remote_fingerprints = self._remote_fingerprints
        return grid

    def estimate(self) -> Estimate:
        """What it costs to make what is missing."""
        session = self._connected()
        missing = [cell for cell in self.cells if cell.state != "done"]
        if any(cell.checked is None for cell in missing):  # of a grid that was opened
            self._check(session, missing)
        return cost(session, self.store, ordered_tasks(missing, self.store, self._remote_fingerprints), len(self))

    def _check(self, session: Session, cells: Sequence[Cell]) -> None:
        self._remote_fingerprints = self._remote_fingerprints or remote_fingerprints_of(session)
        check_cells(session, cells, self._remote_fingerprints, self.plan)

    def _connected(self) -> Session:
        if self._session is None:
            from zimage_kit import connect  # the package's front door: a grid read from a file has no session yet

            self._session = connect()
        return self._session

    # making it

    def _begin(self, cells: Sequence[Cell], yes: bool, quiet: bool = False) -> None:
        tasks = ordered_tasks(cells, self.store, self._remote_fingerprints)
        if tasks and (not quiet or len(tasks) > ASK_ABOVE):
            confirm_cost(cost(self._connected(), self.store, tasks, len(self)), len(tasks), yes)
        self._run.reset()
        if not tasks:
            return
        for cell in cells:
            # what cannot be read goes; what another notebook has made in the meantime stays
            if self.store.has(cell.key) and (cell.state == "done" or not self.store.readable(cell.key)):
                self.store.forget(cell.key)
            cell.state, cell.error = "waiting", None
            self._run.notify(cell, None)
        self._run.start(SessionJobs(self._connected()), tasks, self.store, cost_model_of(self.store))

    def _ipython_display_(self) -> None:
        """In a notebook the view that fills, or the contact sheet where there are no widgets; elsewhere the line."""
        if notebook() is None:
            print(repr(self))
            return
        try:
            from ..studio.grid_view.view import GridView
        except ImportError:
            from IPython.display import display

            display(self.sheet() if self.done else repr(self))  # type: ignore[no-untyped-call]
        else:
            GridView(self)._ipython_display_()

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"<Grid {shape} ({', '.join(self.axes)}): {len(self.done)} of {len(self)} cells{failed}>"


def make_grid(session: Session, plan: Plan, *, yes: bool = False, quiet: bool = False) -> Grid:
    """A grid of a plan on a session: checked, its cost told, and begun."""
    return begin_grid(prepare_grid(session, plan), yes=yes, quiet=quiet)


def begin_grid(grid: Grid, *, yes: bool = False, quiet: bool = False) -> Grid:
    """Begin a prepared grid; returns it."""
    grid._connected().warn(list(grid.plan.notes))
    grid._begin([cell for cell in grid.cells if cell.state != "done"], yes, quiet)
    return grid


def prepare_grid(session: Session, plan: Plan, before_each: Callable[[], None] = lambda: None) -> Grid:
    """A grid of a plan on a session, checked and not begun: it has the pictures that are there, `retry` makes the rest.

    `before_each` is called before each cell is checked; what it raises ends that. Raises BadRequest, naming the cell.
    """
    store = CellStore()
    cells = [
        Cell(index, place, plan.point(place), plan.where(place), "", store) for index, place in enumerate(plan.places())
    ]
    remote_fingerprints = remote_fingerprints_of(session)
    check_cells(session, cells, remote_fingerprints, plan, before_each)
    grid = Grid(plan, cells, store, session)
    grid._remote_fingerprints = remote_fingerprints
    return grid


def _frozen(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in values.items()))
