"""The view of a grid: the board, the comparison of two cells, and the error box. Threads only set widget values."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets as w
from PIL import Image

from ...errors import BadRequest
from ...grid import Cell, Grid
from ...grid.grid import begin_grid
from ...grid.variants import line_of, without_line
from ...recipe.request import Request
from ..panel.error_box import ErrorBox
from ..panel.plain_output import PlainOutput
from ..panel.widget_tree import close_tree
from ..panes.compare.slider import jpeg
from ..translations import Language, Texts
from ..translations import language as users_language
from .board import Board, plan_data, short_key
from .export import TYPES, Export
from .feed import Feed
from .names import Names
from .pair import PairPane

LARGEST_SHEET = 300_000
"""Bytes of the contact sheet that a saved notebook keeps."""
SMALLEST_CELL, LARGEST_CELL, SHEET_PIXELS = 48, 256, 4e6
"""Sides of its cells in pixels, and about how many pixels it has in all."""
AT_ONCE = 60
"""Up to so many pictures that are there already it is made before the cell ends: whoever runs a notebook without a
browser (nbclient, Papermill) keeps only what was shown until then."""
STOP_SECONDS = 60.0


class GridView(w.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A grid in the page, updated while it is made. Its cells can be enlarged, rated, compared and retried.

    `grid` is the current one: adding or removing a row or column replaces it, and undo restores the previous one.
    `selected` is the cell that has the focus. `language` is "en" or "zh", by default the user's. `use` is given a
    cell's request, in the kernel's main thread, when somebody goes on from it; without it the page copies it.
    """

    def __init__(
        self, grid: Grid, language: Language | None = None, *, use: Callable[[Request], None] | None = None
    ) -> None:
        super().__init__()
        self.add_class("zk-gridview")
        self._texts = Texts(language or users_language())
        self._names = Names(self._texts)
        self._worker = ThreadPoolExecutor(1, "zimage-grid-view")
        self._plain = PlainOutput(1)
        self._grids: list[Grid] = []  # all that were shown; the page refers to them by index
        self._past: list[tuple[Grid, bool]] = []  # for undo: the grid, and whether it was being made
        self._closed = False
        self._feed: Feed
        self._use = use
        self.board = Board(self._texts, fills=use is not None)
        self._export = Export(self.board, self._texts.language, self._on_error)
        self.problem = ErrorBox(self._texts)
        self.pair_pane = PairPane(self._texts, self._names)
        self.board.on_msg(lambda _, message, buffers: self._run_catching(self._on_message, message))
        self.children = [self.problem.box, self.board, self.pair_pane.box]
        self._show(grid)

    @property
    def grid(self) -> Grid:
        """The grid that is shown."""
        return self._feed.grid

    @property
    def selected(self) -> Cell:
        """The cell that has the focus or had it last."""
        cells = self.grid.cells
        return cells[min(self.board.selected, len(cells) - 1)]

    def undo(self) -> None:
        """Restore the grid before the last row or column was added or removed."""
        if not self._past:
            return
        grid, made = self._past.pop()
        self._stop(self.grid)
        self._wait_until_stopped(grid)
        for cell in grid.cells:  # made by the other grid meanwhile
            if cell.state == "waiting" and cell.key and grid.store.has(cell.key):
                cell.state = "done"
        if made and any(cell.state == "waiting" for cell in grid.cells):
            grid.retry(*[cell for cell in grid.cells if cell.state == "waiting"], yes=True)
        self._show(grid)

    def close(self) -> None:
        """Close the view and end its threads. The grid continues."""
        self._closed = True
        self._feed.close()
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._export.close()
        for part in (*self.children, self.layout):
            close_tree(part)
        super().close()

    def __repr__(self) -> str:
        return f"<GridView of {self.grid!r}>"

    def _ipython_display_(self) -> None:
        """Show the view, and beneath it a place for the contact sheet, which a saved notebook keeps."""
        from IPython.display import display

        self.add_class("zk-with-sheet")
        display({**self._repr_mimebundle_(), "text/plain": repr(self.grid)}, raw=True)  # type: ignore[no-untyped-call]
        self._plain.display()
        grid = self.grid
        if len(grid.done) == len(grid) <= AT_ONCE:  # its state may still be "running" for a moment
            self._keep_sheet()
        elif grid.state != "running":
            self._in_background(self._keep_sheet)

    # which grid

    def _show(self, grid: Grid) -> None:
        if self._grids:
            self._feed.close()
        if grid not in self._grids:
            self._grids.append(grid)
        feed = Feed(grid, self.board, self._texts, lambda: self._in_background(self._on_end), self._on_error)
        self._feed = feed
        board = self.board
        with board.hold_sync():
            board.undoable = bool(self._past)
            board.keys_of = [short_key(cell.key) for cell in grid.cells]
            board.states = "".join(cell.state[0] for cell in grid.cells)
            board.running, board.errors = {}, {}
            board.plan = plan_data(grid, self._grids.index(grid), self._names)
        feed.begin()

    def _replace(self, change: Callable[[], Grid]) -> None:
        """Replace the current grid by the result of `change`; if it was being made, the new one is."""
        old = self.grid
        made = old.state == "running"
        self._stop(old)
        try:
            new = change()
        except BaseException:
            if made:
                self._go_on(old)
            raise
        self._past.append((old, made))
        if made and new.state != "running" and any(cell.state == "waiting" for cell in new.cells):
            new.retry(*[cell for cell in new.cells if cell.state == "waiting"], yes=True)
        self._show(new)

    def _stop(self, grid: Grid) -> None:
        grid.cancel()
        self._wait_until_stopped(grid)

    def _wait_until_stopped(self, grid: Grid) -> None:
        """Wait until the grid is not being made any more. A cancelled job ends before its next step."""
        end = time.monotonic() + STOP_SECONDS
        while grid.state == "running" and time.monotonic() < end:
            time.sleep(0.02)

    def _on_end(self) -> None:
        """The grid is done or was stopped."""
        problem = self.grid.problem
        if problem is not None:
            self.problem.show(problem)
        self._keep_sheet()

    def _keep_sheet(self) -> None:
        """Put the contact sheet into the cell's plain output."""
        grid = self.grid
        if self._closed or not self._plain.displayed or not grid.done:
            return
        side = int(max(SMALLEST_CELL, min(LARGEST_CELL, (SHEET_PIXELS / len(grid)) ** 0.5)))
        self._plain.show({"image/jpeg": small_sheet(grid.sheet(cell=side)), "text/plain": repr(grid)})

    # messages from the page

    def _on_message(self, message: dict[str, Any]) -> None:
        """Runs in the kernel's main thread or a subshell's, so the work is handed to the view's own thread."""
        number = message.get("of", 0)
        grid = self._grids[number] if number in range(len(self._grids)) else self.grid
        if message.get("do") == "use":
            self._on_use(grid.cells[int(message["cell"])])
        else:
            self._in_background(lambda: self._handle(message, grid))

    def _on_use(self, cell: Cell) -> None:
        self.problem.clear()
        try:
            if self._use is not None:
                self._use(cell.reopened())
        finally:
            self.board.send({"heard": True})

    def _handle(self, message: dict[str, Any], grid: Grid) -> None:
        if message.get("do") != "full":
            self.problem.clear()
        try:
            match message:
                case {"do": "full", "cell": int(index)}:
                    self._send_full(grid.cells[index])
                case {"do": "rate", "cell": int(index), "rating": int(rating)}:
                    grid.cells[index].rating = rating
                    self._feed.send_marks()
                case {"do": "pick", "cell": index}:
                    grid.pick(None if index is None else grid.cells[index])
                    self._feed.send_marks()
                case {"do": "export", "ending": str(ending), "view": str(view)} if ending in TYPES:
                    self._export.start(grid, ending, view)
                case {"do": "recipe", "cell": int(index)}:
                    self.board.send({"recipe": index, "text": _indented(grid.cells[index].request)})
                case {"do": "compare", "cells": [int(one), int(other)]}:
                    self.pair_pane.show_pair(grid.cells[one], grid.cells[other])
                case {"do": "undo"}:
                    self.undo()
                case {"do": "stop"}:
                    self.grid.cancel()
                case {"do": "go_on"}:
                    self._go_on(self.grid, *[cell for cell in self.grid.cells if cell.state == "waiting"])
                case {"do": "retry_all"}:
                    self._go_on(self.grid, *self.grid.failed)
                case {"do": "retry", "cell": int(index)}:
                    self._go_on(grid, grid.cells[index])
                case {"do": "without", "role": "rows" | "columns" as role, "number": int(number)}:
                    line = _line(role, number)
                    without_line(grid.plan, *line_of(grid.plan, **line))  # it can be: only then is anything stopped
                    self._replace(lambda: grid.without(**line))
                case {"do": "rerun", "role": "rows" | "columns" as role, "number": int(number)}:
                    self._rerun(grid, _line(role, number), str(message["name"]), str(message["value"]))
        finally:
            self.board.send({"heard": True})

    def _rerun(self, grid: Grid, line: dict[str, int], name: str, value: str) -> None:
        if not value.strip():
            raise BadRequest(f"no value for {self._names.of(name)}", mend="Enter a value.")
        new = grid.prepare_rerun({name: value}, **line)  # it can be: only then is anything stopped
        self._replace(lambda: begin_grid(new, yes=True, quiet=True))

    def _go_on(self, grid: Grid, *cells: Cell) -> None:
        self._wait_until_stopped(grid)
        grid.retry(*cells, yes=True)
        if grid is self.grid:
            self._feed.restart()

    def _send_full(self, cell: Cell) -> None:
        artifact = cell.artifact
        if artifact is None:
            self.board.send({"full": short_key(cell.key), "about": self._texts("board.gone")}, [b""])
            return
        parts = [f"{artifact.image.width} × {artifact.image.height}"]
        if took := artifact.trace.milliseconds.get("total"):
            parts.append(self._texts.duration(took / 1000))
        self.board.send({"full": short_key(cell.key), "about": " · ".join(parts)}, [jpeg(artifact)])

    # threads and errors

    def _in_background(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._worker.submit(self._run_catching, work)

    def _run_catching(self, work: Callable[..., None], *given: Any) -> None:
        try:
            work(*given)
        except Exception as error:
            self._on_error(error)

    def _on_error(self, error: BaseException) -> None:
        if not self._closed:
            self.problem.show(error)


def _line(role: str, number: int) -> dict[str, int]:
    return {"row" if role == "rows" else "column": number}


def _indented(request: Request) -> str:
    return json.dumps(request.model_dump(mode="json"), ensure_ascii=False, indent=2)


def small_sheet(sheet: Image.Image, most: int = LARGEST_SHEET) -> bytes:
    """A contact sheet as a JPEG of at most `most` bytes."""
    image = sheet.convert("RGB")
    image.thumbnail((1600, 4000), Image.Resampling.LANCZOS)
    while True:
        for quality in (85, 75, 62):
            out = io.BytesIO()
            image.save(out, "JPEG", quality=quality, optimize=True)
            if out.tell() <= most or max(image.size) <= 64:
                return out.getvalue()
        image = image.resize((max(1, image.width * 4 // 5), max(1, image.height * 4 // 5)), Image.Resampling.LANCZOS)
