"""The feed: follows a grid and updates its board, in a thread of its own, at most five times a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ...engine.events import Event
from ...errors import ZImageError
from ...grid import Cell, Grid
from ...grid.cell_store import Mark
from ..translations import Texts
from .board import Board, short_key

INTERVAL_SECONDS = 0.2
PACK = 48
"""Small pictures in a message: half a megabyte."""
TRIES = 5
"""How often a picture that is not there is looked for before the next change: its file may be on its way."""


class Feed:
    """From `begin` to `close`. `on_end`: the grid is not being made any more; `on_error`: what went wrong.

    Its thread lives while there are changes to send.
    """

    def __init__(
        self,
        grid: Grid,
        board: Board,
        texts: Texts,
        on_end: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.grid, self._board, self._texts, self._on_end, self._on_error = grid, board, texts, on_end, on_error
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._changed, self._updating, self._closed = False, False, False
        self._steps: dict[int, Event] = {}
        self._previews: dict[int, bytes] = {}
        self._marks: dict[str, Mark] = {}
        self._gone: dict[str, int] = {}  # short key -> how often its picture was not there
        self._was_running = False
        self._since = time.monotonic(), 0
        self._unlisten: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Send the grid's state to the board, and every change from now on."""
        self._unlisten = self.grid.listen(self._on_change)
        self.restart()

    def restart(self) -> None:
        """The grid is being made (again)."""
        self._since = time.monotonic(), sum(cell.state == "done" for cell in self.grid.cells)
        self._was_running = self.grid.state == "running"
        self.wake()

    def close(self) -> None:
        """Stop updating the board."""
        self._unlisten()
        with self._writing, self._lock:  # in the order in which an update takes them
            self._closed = True

    def send_marks(self) -> None:
        """Send ratings and the winner now."""
        with self._writing, self._board.hold_sync():
            self._marks.clear()
            self._send_marks("".join(cell.state[0] for cell in self.grid.cells))

    def wake(self) -> None:
        """Something has changed."""
        with self._lock:
            self._changed = True
            if self._updating or self._closed:
                return
            self._updating = True
        threading.Thread(target=self._update_board, name="zimage-grid-view", daemon=True).start()

    def _on_change(self, cell: Cell, event: Event | None) -> None:
        """Listener of the grid, called in the thread that follows the cell's job."""
        with self._lock:
            if event is None:
                self._steps.pop(cell.index, None)
                self._previews.pop(cell.index, None)
            else:
                self._steps[cell.index] = event
                if event.preview:
                    self._previews[cell.index] = event.preview
        self.wake()

    def _update_board(self) -> None:
        while True:
            with self._lock:
                if not self._changed or self._closed:
                    self._updating = False
                    return
                self._changed = False
            try:
                self.flush()
            except Exception as error:
                self._on_error(error)
            time.sleep(INTERVAL_SECONDS)
            if any(tries < TRIES for tries in self._gone.values()):
                with self._lock:
                    self._changed = True

    def flush(self) -> None:
        """Bring the board up to date."""
        board, cells = self._board, self.grid.cells
        running = self.grid.state == "running"  # read before the cells: an end meanwhile triggers another update
        keys = [short_key(cell.key) for cell in cells]
        states = "".join(cell.state[0] for cell in cells)
        unsent = [
            cell
            for cell, letter in zip(cells, states, strict=True)
            if letter == "d" and short_key(cell.key) not in board.sent
        ]
        there = {short_key(cell.key) for cell in unsent}
        self._gone = {key: tries for key, tries in self._gone.items() if key in there}
        self._send(unsent[:PACK])
        with self._writing, board.hold_sync():
            if self._closed:
                return
            if board.keys_of != keys:
                board.keys_of = keys
            board.states = states
            board.running = self._running_cells(states)
            board.errors = {str(cell.index): _error_text(cell.error) for cell in cells if cell.error is not None}
            self._send_marks(states)
            board.progress = self._progress(states, running)
        for start in range(PACK, len(unsent), PACK):
            self._send(unsent[start : start + PACK])
        if self._was_running and not running:
            self._on_end()
        self._was_running = running

    def _send(self, cells: list[Cell]) -> None:
        pictures = {short_key(cell.key): cell.thumb or b"" for cell in cells}
        for key, picture in list(pictures.items()):
            if picture:
                self._gone.pop(key, None)
                continue
            self._gone[key] = self._gone.get(key, 0) + 1
            if self._gone[key] != TRIES:  # the page is told once that it is gone
                del pictures[key]
        with self._writing:
            if pictures and not self._closed:
                self._board.send_pictures(pictures)

    def _running_cells(self, states: str) -> dict[str, dict[str, Any]]:
        with self._lock:
            events = {index: event for index, event in self._steps.items() if states[index] == "r"}
            previews = dict(self._previews)
        return {
            str(index): {
                "step": event.step or 0 if event.kind == "step" else 0,
                "steps": event.steps or 0 if event.kind == "step" else 0,
                "text": self._step_text(event),
                "preview": previews.get(index, b""),
            }
            for index, event in events.items()
        }

    def _step_text(self, event: Event) -> str:
        if event.kind == "step":
            return self._texts("grid.step", step=event.step, steps=event.steps)
        return self._texts("panel.loading") if event.kind == "loading" else event.message

    def _send_marks(self, states: str) -> None:
        cells, store = self.grid.cells, self.grid.store
        for cell, letter in zip(cells, states, strict=True):
            if letter == "d" and cell.key not in self._marks:
                self._marks[cell.key] = store.mark(cell.key)
        marks = [
            self._marks.get(cell.key, Mark()) if letter == "d" else Mark()
            for cell, letter in zip(cells, states, strict=True)
        ]
        self._board.ratings = "".join(str(mark.rating) for mark in marks)
        self._board.winners = [index for index, mark in enumerate(marks) if mark.winner]

    def _progress(self, states: str, running: bool) -> dict[str, Any]:
        t, count = self._texts, len(states)
        done, failed = states.count("d"), states.count("f")
        parts = [t("grid.done", done=done, count=count)]
        if failed:
            parts.append(t("grid.failed", count=failed))
        began, before = self._since
        made, left = done - before, count - done - failed
        if running and made > 0 and left:
            parts.append(t("grid.left", left=t.duration((time.monotonic() - began) / made * left)))
        elif left and not running:
            parts.append(t("grid.stopped"))
        return {
            "running": running,
            "done": done,
            "failed": failed,
            "count": count,
            "left": left,
            "text": " · ".join(parts),
        }


def _error_text(error: ZImageError) -> str:
    """The text of a failed cell: what was seen, what was expected, what to do."""
    seen = f"{error.seen}; expected {error.expected}" if error.expected else error.seen
    return f"{seen}\n{error.mend}" if error.mend else str(seen)
