"""GridRun: what is being made of a grid. Its runner, who listens, how far it is, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ..engine.events import Event
from ..session.progress import counter
from ..text.units import duration
from .cell import Cell, Cells
from .cell_store import CellStore
from .estimate import CostModel
from .runner import JobSource, PictureTask, Runner

_HEARTBEAT_SECONDS = 0.5  # waits are this short, so that Ctrl-C is noticed on every system
_GLANCE_SECONDS = 0.02

OnProgress = Callable[[float, float, str], None]
Listener = Callable[[Cell, Event | None], None]
"""Called with a cell whose state has changed, or (with an event) whose job reports; from the thread that follows it."""


class GridRun:
    """The run of one grid after another: `start` begins it anew. Safe to use from several threads.

    `problem` is what ended the last run early, such as a full disk.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._changed = threading.Condition()
        self._listeners: list[Listener] = []
        self._runner: Runner | None = None
        self._cancelled = False
        self._drawn_before = 0
        self._finished_at: list[float] = []  # when each cell of this run was over
        self.problem: BaseException | None = None

    @property
    def running(self) -> bool:
        """Whether cells are being made."""
        return self._runner is not None

    @property
    def drawn(self) -> int:
        """How often the model drew, in all runs."""
        return self._drawn_before + (self._runner.drawn if self._runner else 0)

    def reset(self) -> None:
        """Forget how the last run ended."""
        self._finished_at, self.problem, self._cancelled = [], None, False

    def start(self, session: JobSource, tasks: Sequence[PictureTask], store: CellStore, cost_model: CostModel) -> None:
        """Make these works. Returns at once."""
        self._runner = Runner(session, tasks, store, cost_model, self.notify, self._end)
        self._runner.start()

    def cancel(self) -> None:
        """Stop making cells."""
        runner = self._runner
        if runner is not None:
            self._cancelled = True
            runner.stop()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every change; returns what ends that."""
        with self._changed:
            self._listeners.append(listener)

        def stop() -> None:
            with self._changed:
                self._listeners = [each for each in self._listeners if each is not listener]

        return stop

    def wait(self, timeout: float | None, on_progress: OnProgress | None) -> None:
        """Until nothing is being made. Raises `problem`, and TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        with ExitStack() as stack:
            report = on_progress or stack.enter_context(counter()).update
            try:
                while self._goes_on(end):
                    report(*self.progress())
            except KeyboardInterrupt:
                self.cancel()
                raise
        if self.running:
            raise TimeoutError(f"the grid was not done within {timeout:g} s")
        if self.problem is not None:
            raise self.problem
        self._log_missing()

    async def wait_async(self) -> None:
        """The same without blocking the kernel; cancelled, it cancels the run."""
        try:
            while self.running:
                await asyncio.sleep(_GLANCE_SECONDS)
        except asyncio.CancelledError:
            self.cancel()
            raise
        self.wait(None, lambda *_: None)

    def _goes_on(self, end: float | None) -> bool:
        """Wait for a change, not for long; False once nothing is being made any more, or when `end` has come."""
        left = _HEARTBEAT_SECONDS if end is None else min(_HEARTBEAT_SECONDS, end - time.monotonic())
        with self._changed:
            if self.running and left > 0:
                self._changed.wait(left)
        return self.running and left > 0

    def progress(self) -> tuple[int, int, str]:
        """Cells that are there, cells in all, and a sentence for people."""
        count = len(self._cells)
        done, failed = self._count("done"), self._count("failed")
        text = f"{done} of {count} cells" + (f", {failed} failed" if failed else "")
        left, times = count - done - failed, self._finished_at
        if self.running and left and len(times) > 1:  # since the first one, before which a model may have loaded
            text += f" · {duration((times[-1] - times[0]) / (len(times) - 1) * left)} left"
        return done + failed, count, text

    def _count(self, state: str) -> int:
        return sum(cell.state == state for cell in self._cells)

    def notify(self, cell: Cell, event: Event | None) -> None:
        """A cell has changed its state, or its job reports an event."""
        with self._changed:
            listeners = list(self._listeners)
            if event is None:
                if cell.state != "waiting":
                    self._finished_at.append(time.monotonic())
                self._changed.notify_all()
        self._call(listeners, cell, event)

    def _call(self, listeners: Sequence[Listener], cell: Cell, event: Event | None) -> None:
        """One that raises is logged and not called again; the grid goes on."""
        for listener in listeners:
            try:
                listener(cell, event)
            except Exception:
                logging.getLogger("zimage_kit").exception("a listener of a grid failed and is not called again")
                with self._changed:
                    self._listeners = [each for each in self._listeners if each is not listener]

    def _end(self) -> None:
        with self._changed:
            runner, self._runner = self._runner, None
            if runner is not None:
                self._drawn_before += runner.drawn
                self.problem = runner.problem
            self._changed.notify_all()
            listeners = list(self._listeners)
        self._call(listeners, self._cells[0], None)

    def _log_missing(self) -> None:
        failed = [cell for cell in self._cells if cell.state == "failed"]
        waiting, count = self._count("waiting"), len(self._cells)
        if waiting and not self._cancelled:
            logging.getLogger("zimage_kit").warning(
                "%d of %d cells were not made: their jobs were cancelled. grid.retry() makes them.", waiting, count
            )
        if failed:
            one = failed[0]
            logging.getLogger("zimage_kit").warning(
                "%d of %d cells failed, the first: %s: %s grid.retry() tries them again.",
                len(failed), count, one.label, one.error,
            )  # fmt: skip
