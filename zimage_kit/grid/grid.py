"""Grid: a labelled array of pictures, of which only those are made that are not there yet."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..engine.events import Event
from ..errors import BadRequest
from ..recipe.artifact import Artifact
from ..session.progress import counter
from ..text.tables import notebook
from ..text.units import duration
from .cell import Cell, Cells
from .cell_store import CellStore, Fingerprints, is_key
from .estimate import Estimate
from .plan import ROLES, Labels, Place, Plan, Role
from .preparation import ASK_ABOVE, Bench, check_cells, cost, elsewhere_of, pace_of, tell_cost
from .runner import Runner, in_order
from .variants import line_of, with_again, without

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image
    from pydantic import JsonValue

    from ..session.session import Session
    from .diversity import Diversity

_HEARTBEAT_SECONDS = 0.5  # waits are this short, so that Ctrl-C is heard on every system
_GLANCE_SECONDS = 0.02
_STILL, _FIRST = "the grid is still being made", "grid.wait(), or grid.cancel() first."

OnProgress = Callable[[float, float, str], None]
Hear = Callable[[Cell, Event | None], None]
"""Told of a cell whose state has changed, or (with an event) which is in the making; from the thread that makes it."""


class Grid:
    """`cells` in reading order; `grid[row, column]` (and page, inner, as far as it has them) is one of them.

    It is being made from the moment it is there; `wait()` waits for it. `computed` are the cells that it had to run,
    `failed` those that went wrong (their `error` says how), `drawn` how often the model drew for it. Shows itself in a
    notebook as a view that fills; `save` writes a contact sheet, a page, a table or a file that reopens it.
    """

    def __init__(self, plan: Plan, cells: Sequence[Cell], store: CellStore, session: Session | None) -> None:
        self.plan, self.cells, self.store = plan, Cells(cells), store
        self._session = session
        self._elsewhere: Fingerprints = {}
        self._news = threading.Condition()
        self._listeners: list[Hear] = []
        self._runner: Runner | None = None
        self._problem: BaseException | None = None
        self._cancelled = False
        self._beginning = threading.Lock()
        self._drawn_before = 0
        self._settled: list[float] = []  # when each cell of this run was over
        self._by_place = {cell.place: cell for cell in self.cells}
        for cell in self.cells:
            if store.has(cell.key):
                cell.state = "done"

    @classmethod
    def open(cls, path: str | os.PathLike[str], session: Session | None = None) -> Grid:
        """A grid again from a file that `save` wrote (JSON, PNG, JPEG, HTML), with those pictures that are there.

        `retry()` makes those that are missing, on `session` or on `zk.connect()`. Raises BadRequest for other files.
        """
        from .files import read_recipe_of_grid

        data = read_recipe_of_grid(Path(path).expanduser())
        plan, store = Plan.from_data(data), CellStore()
        places = list(plan.places())
        keys = data.get("cells") or [""] * len(places)
        if not isinstance(keys, list) or len(keys) != len(places) or not all(is_key(key) for key in keys):
            raise BadRequest(f"{path} does not name its {len(places)} cells", mend="Give a file that grid.save wrote.")
        cells = []
        for index, (place, key) in enumerate(zip(places, keys, strict=True)):
            cell = Cell(index, place, plan.point(place), plan.where(place), str(key), store)
            cell._asked = plan.request(place)
            cells.append(cell)
        return cls(plan, cells, store, session)

    # what it is

    @property
    def title(self) -> str:
        """Above the sheet; empty for none."""
        return self.plan.title

    @property
    def shape(self) -> tuple[int, ...]:
        """How many rows, columns, pages and inner places, as far as it has them."""
        return self.plan.shape

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of what varies."""
        return self.plan.axes

    def labels(self, role: Role) -> tuple[str, ...]:
        """What the rows, columns, pages or inner places are called; empty where there are none."""
        return self.plan.labels_of(role)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen for the user."""
        return self.plan.notes

    def __getitem__(self, index: int | tuple[int, ...]) -> Cell:
        """A cell by its numbers, one for each dimension in the order of `shape`. Raises IndexError."""
        numbers = index if isinstance(index, tuple) else (index,)
        roles = [role for role in ROLES if role in self.plan.dimensions]
        if len(numbers) != len(roles):
            raise IndexError(f"{len(numbers)} numbers for a grid of {' x '.join(map(str, self.shape))}")
        names = {"rows": "row", "columns": "column", "pages": "page", "inner": "inner"}
        found = {}
        for role, number, count in zip(roles, numbers, self.shape, strict=True):
            if not -count <= number < count:
                raise IndexError(f"{names[role]} {number} of {count}")
            found[names[role]] = number % count
        place = {"row": 0, "column": 0, "page": 0, "inner": 0, **found}
        return self._by_place[Place(**place)]

    def at(self, **values: Any) -> Cells:
        """The cells in which these axes have these values: `grid.at(colour="red", seed=2)`."""
        short = {name.removeprefix("stages."): name for name in self.axes} | {name: name for name in self.axes}
        unknown = sorted(set(values) - set(short))
        if unknown:
            raise BadRequest(f"no axis {unknown[0]!r}", expected=", ".join(self.axes))
        wanted = {short[name]: self.plan.normal(short[name], value) for name, value in values.items()}
        return Cells([cell for cell in self.cells if all(cell.values.get(name) == wanted[name] for name in wanted)])

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    # how it goes

    @property
    def state(self) -> str:
        """running, done, failed (some cells did), stopped (some are missing) ."""
        if self._running:
            return "running"
        if all(cell.state == "done" for cell in self.cells):
            return "done"
        return "failed" if any(cell.state == "failed" for cell in self.cells) else "stopped"

    @property
    def _running(self) -> bool:
        return self._runner is not None

    @property
    def computed(self) -> Cells:
        """The cells that this grid had to run, so far."""
        return Cells([cell for cell in self.cells if cell.computed])

    @property
    def failed(self) -> Cells:
        """The cells that went wrong."""
        return Cells([cell for cell in self.cells if cell.state == "failed"])

    @property
    def done(self) -> Cells:
        """The cells whose pictures are there."""
        return Cells([cell for cell in self.cells if cell.state == "done"])

    @property
    def drawn(self) -> int:
        """How often the model drew for this grid; cells that differ in their finishing alone share a drawing."""
        return self._drawn_before + (self._runner.drawn if self._runner else 0)

    @property
    def artifacts(self) -> list[Artifact | None]:
        """The pictures in reading order; None where there is none (yet)."""
        return [cell.artifact for cell in self.cells]

    @property
    def winner(self) -> Cell | None:
        """The cell that was picked as the best."""
        return next((cell for cell in self.cells if cell.state == "done" and cell.winner), None)

    def pick(self, cell: Cell | None) -> None:
        """Make this cell the winner, or none. Raises BadRequest for one without a picture."""
        if cell is not None:
            cell.winner = True
        for other in self.cells:
            if other.state == "done" and other.winner and (cell is None or other.key != cell.key):
                other.winner = False

    @property
    def problem(self) -> BaseException | None:
        """What ended it before its time, such as a full disk; None when nothing did, or while it runs."""
        return self._problem

    def listen(self, hear: Hear) -> Callable[[], None]:
        """Hear of every change, from whichever thread makes it; returns what ends that."""
        with self._news:
            self._listeners.append(hear)

        def stop() -> None:
            with self._news:
                self._listeners = [each for each in self._listeners if each is not hear]

        return stop

    def wait(self, timeout: float | None = None, on_progress: OnProgress | None = None) -> Grid:
        """Until nothing is left to be made; returns the grid, failed cells and all.

        It shows how far it is, unless `on_progress` is told: cells that are over, cells in all, a sentence. An
        interrupt stops the grid; what was made stays. Raises what ended it before its time (a full disk, a session
        that was stopped), and TimeoutError after `timeout` seconds, which leaves it running.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with ExitStack() as stack:
            tell = on_progress or stack.enter_context(counter()).update
            try:
                while self._goes_on(end):
                    tell(*self.progress())
            except KeyboardInterrupt:
                self.cancel()
                raise
        if self._running:
            raise TimeoutError(f"the grid was not done within {timeout:g} s")
        if self._problem is not None:
            raise self._problem
        self._tell_failed()
        return self

    def __await__(self) -> Generator[Any, None, Grid]:
        """`await grid` waits without blocking the kernel; cancelled, it stops the grid."""
        return self._awaited().__await__()

    async def _awaited(self) -> Grid:
        try:
            while self._running:
                await asyncio.sleep(_GLANCE_SECONDS)
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.wait(on_progress=lambda *_: None)

    def _goes_on(self, end: float | None) -> bool:
        """Wait for news, not for long; False once nothing is being made any more, or when `end` has come."""
        left = _HEARTBEAT_SECONDS if end is None else min(_HEARTBEAT_SECONDS, end - time.monotonic())
        with self._news:
            if self._running and left > 0:
                self._news.wait(left)
        return self._running and left > 0

    def progress(self) -> tuple[int, int, str]:
        """Cells that are there, cells in all, and the sentence about it."""
        done, failed = len(self.done), len(self.failed)
        text = f"{done} of {len(self)} cells" + (f", {failed} failed" if failed else "")
        left, times = len(self) - done - failed, self._settled
        if self._running and left and len(times) > 1:  # from the first one on, since before it a model may have loaded
            text += f" · {duration((times[-1] - times[0]) / (len(times) - 1) * left)} left"
        return done + failed, len(self), text

    def cancel(self) -> None:
        """Stop making cells. What was made stays, and `retry()` goes on."""
        runner = self._runner
        if runner is not None:
            self._cancelled = True
            runner.stop()

    def retry(self, *cells: Cell, yes: bool = False) -> Grid:
        """Make what failed or is missing, or these cells; returns at once. Raises BadRequest while it runs."""
        if not self._beginning.acquire(blocking=False):
            raise BadRequest(_STILL, mend=_FIRST)
        try:
            if self._running:
                raise BadRequest(_STILL, mend=_FIRST)
            wanted = [cell for cell in (cells or self.cells) if self._is_missing(cell, thoroughly=bool(cells))]
            self._check(self._connected(), wanted)
            missing = [cell for cell in wanted if cell.state == "done" or not self.store.readable(cell.key)]
            self._begin(missing, yes)  # before anything is changed: it may ask, and the answer may be no
            for cell in wanted:
                if cell not in missing:
                    cell.state, cell.error = "done", None
        finally:
            self._beginning.release()
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
        from .plan import relabelled

        plan = self.plan.arranged(**roles)
        plan = replace(plan, title=plan.title if title is None else title)
        if labels is not None:
            plan = relabelled(plan, labels)
        return self._like(plan)

    def rerun(self, row: int | None = None, column: int | None = None, **changes: Any) -> Grid:
        """A grid with one more row or column: the one given, with these changes, beside it. Only that is made.

        `grid.rerun(column=2, steps=12)`; names are those of axes. Raises BadRequest.
        """
        return make_grid(
            self._connected(), with_again(self.plan, *line_of(self.plan, row, column), changes), yes=True, quiet=True
        )

    def without(self, row: int | None = None, column: int | None = None) -> Grid:
        """The grid without one row or column; nothing is made or lost."""
        return self._like(without(self.plan, *line_of(self.plan, row, column)))

    def _like(self, plan: Plan) -> Grid:
        """A grid of cells that this one has, under another plan. Raises BadRequest while they are being made."""
        if self._running:
            raise BadRequest(_STILL, mend=_FIRST)
        mine = {_frozen(cell.values): cell for cell in self.cells}
        cells = []
        for index, place in enumerate(plan.places()):
            point = plan.point(place)
            old = mine[_frozen(point)]
            cell = Cell(index, place, point, plan.where(place), old.key, self.store)
            cell.checked, cell._asked, cell.error, cell.state = old.checked, old._asked, old.error, old.state
            cells.append(cell)
        grid = Grid(plan, cells, self.store, self._session)
        grid._elsewhere = self._elsewhere
        return grid

    # how it leaves

    def recipe(self) -> dict[str, Any]:
        """Plan and keys of the cells as JSON values: what `save` puts into every file, and `open` reads."""
        return {**self.plan.data(), "cells": [cell.key for cell in self.cells]}

    def save(self, path: str | os.PathLike[str] | None = None, **options: Any) -> list[Path]:
        """Write what there is into a file of the kind that its ending says, and return the files' paths.

        Without a path: a contact sheet `YYYY-MM-DD/HHMMSS-grid-slug.png` in the outputs folder.

        .png, .jpg: contact sheets, with the options of `sheets` (and quality=92 for .jpg); several sheets become
        name-1.png, name-2.png … .html: a page that needs nothing but a browser (max_bytes=80_000_000, quality=88).
        .csv: the table (only=names of columns). .json: the recipe. All but the table hold the recipe, and `Grid.open`
        opens them. Each file is there whole or not at all. Raises CannotWrite, and BadRequest for other options.
        """
        from .files import dated_path, save

        return save(self, dated_path(self) if path is None else Path(path), **options)

    def sheet(self, page: int = 0, **options: Any) -> Image.Image:
        """A contact sheet as a picture (RGB), the first unless another `page` is asked for; options as for `sheets`."""
        from .sheet import drawn, layouts_of

        layouts = layouts_of(self, **options)
        if not 0 <= page < len(layouts):
            raise BadRequest(f"page={page}", expected=f"0 to {len(layouts) - 1}")
        return drawn(layouts[page])

    def sheets(
        self,
        *,
        cell: int | None = None,
        label_size: float | None = None,
        max_megapixels: float = 40.0,
        fit: Literal["scale", "pages"] = "scale",
    ) -> list[Image.Image]:
        """All contact sheets as pictures (RGB), one for each page.

        cell: pixels of a picture's longer side; by default its own, up to 1024. label_size: pixels of the labels'
        letters; by default they follow the pictures. What is beyond `max_megapixels` is scaled down, or with
        fit="pages" spread over several sheets, and a warning says so. Cells without a picture say why. Raises
        BadRequest.
        """
        from .sheet import draw_sheets

        return draw_sheets(self, cell=cell, label_size=label_size, max_megapixels=max_megapixels, fit=fit)

    def rows(self) -> list[dict[str, JsonValue]]:
        """A row for each cell, in reading order, as JSON values.

        Axes by their names, then labels of the place (page, row, column, inner), state, error, seed, model, size,
        pixels (of the picture), seconds, peak_bytes, rating, winner, path, and recipe (a request as JSON).
        """
        from .table import rows

        return rows(self)

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; `frame[list(grid.axes)]` is a table that makes the same cells again.

        Raises ZImageError where pandas is not installed.
        """
        from .table import frame

        return frame(self)

    def diversity(self, axis: str = "seed") -> Diversity:
        """How much the pictures along an axis differ, as a mean colour difference; it prints its own definition.

        Raises BadRequest for an axis that the grid does not have, and for one without two pictures to compare.
        """
        from .diversity import diversity

        return diversity(self, axis)

    def estimate(self) -> Estimate:
        """What it costs to make what is missing."""
        session = self._connected()
        missing = [cell for cell in self.cells if cell.state != "done"]
        self._check(session, missing)
        return cost(session, self.store, in_order(missing, self.store, self._elsewhere), len(self))

    def _check(self, session: Session, cells: Sequence[Cell]) -> None:
        self._elsewhere = self._elsewhere or elsewhere_of(session)
        check_cells(session, cells, self._elsewhere, self.plan)

    def _connected(self) -> Session:
        if self._session is None:
            from zimage_kit import connect  # the package's front door: a grid read from a file has no session yet

            self._session = connect()
        return self._session

    # making it

    def _begin(self, cells: Sequence[Cell], yes: bool, quiet: bool = False) -> None:
        works = in_order(cells, self.store, self._elsewhere)
        if works and (not quiet or len(works) > ASK_ABOVE):
            tell_cost(cost(self._connected(), self.store, works, len(self)), len(works), yes)
        self._settled, self._problem, self._cancelled = [], None, False
        if not works:
            return
        for cell in cells:
            # what cannot be read goes; what another notebook has made in the meantime stays
            if self.store.has(cell.key) and (cell.state == "done" or not self.store.readable(cell.key)):
                self.store.forget(cell.key)
            cell.state, cell.error = "waiting", None
            self._hear(cell, None)
        self._runner = Runner(Bench(self._connected()), works, self.store, pace_of(self.store), self._hear, self._ended)
        self._runner.start()

    def _hear(self, cell: Cell, event: Event | None) -> None:
        with self._news:
            listeners = list(self._listeners)
            if event is None:
                if cell.state != "waiting":
                    self._settled.append(time.monotonic())
                self._news.notify_all()
        self._say(listeners, cell, event)

    def _say(self, listeners: Sequence[Hear], cell: Cell, event: Event | None) -> None:
        """Tell those who listen. One that raises is told of once and hears no more; the grid goes on."""
        for hear in listeners:
            try:
                hear(cell, event)
            except Exception:
                logging.getLogger("zimage_kit").exception("a listener of a grid broke and hears no more of it")
                with self._news:
                    self._listeners = [each for each in self._listeners if each is not hear]

    def _ended(self) -> None:
        with self._news:
            runner, self._runner = self._runner, None
            if runner is not None:
                self._drawn_before += runner.drawn
                self._problem = runner.problem
            self._news.notify_all()
            listeners = list(self._listeners)
        self._say(listeners, self.cells[0], None)

    def _tell_failed(self) -> None:
        failed, waiting = self.failed, [cell for cell in self.cells if cell.state == "waiting"]
        if waiting and not self._cancelled:
            logging.getLogger("zimage_kit").warning(
                "%d of %d cells were not made: their jobs were cancelled. grid.retry() makes them.",
                len(waiting),
                len(self),
            )
        if failed:
            one = failed[0]
            logging.getLogger("zimage_kit").warning(
                "%d of %d cells failed, the first: %s: %s grid.retry() tries them again.",
                len(failed), len(self), one.label, one.error,
            )  # fmt: skip

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
    grid = prepare_grid(session, plan)
    for note in plan.notes:
        session._warn([note])
    grid._begin([cell for cell in grid.cells if cell.state != "done"], yes, quiet)
    return grid


def prepare_grid(session: Session, plan: Plan) -> Grid:
    """A grid of a plan on a session, checked and not begun: it has the pictures that are there, `retry` makes the rest.

    Raises BadRequest, naming the cell.
    """
    store = CellStore()
    cells = [
        Cell(index, place, plan.point(place), plan.where(place), "", store) for index, place in enumerate(plan.places())
    ]
    elsewhere = elsewhere_of(session)
    check_cells(session, cells, elsewhere, plan)
    grid = Grid(plan, cells, store, session)
    grid._elsewhere = elsewhere
    return grid


def _frozen(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in values.items()))
