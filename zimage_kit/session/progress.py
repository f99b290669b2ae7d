"""Progress displays: a bar on a terminal, lines in a log, a bar with a preview in a notebook's cell.

`session.run` shows one by itself in a terminal or notebook; ZIMAGE_PROGRESS=0 switches that off.
"""

from __future__ import annotations

import base64
import contextlib
import html
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..engine.events import LAST, Event
from ..text.tables import notebook
from ..text.units import duration, gigabytes

PATIENCE_SECONDS = 0.3
"""A cell shows no bar for a picture that is done sooner (from the cache): it would only flicker."""


class Bar(Protocol):
    """A progress display."""

    def update(self, done: float, total: float, text: str = "") -> None:
        """Show `done` of `total`; `text` says what is being done."""


@dataclass
class _Lines:
    """Progress as lines, for logs and pipes: each new text once, at most one line every `seconds`."""

    seconds: float = 0.0
    last: float = field(default=-1e9)
    shown: str = ""

    def update(self, done: float, total: float, text: str = "") -> None:
        if not text or text == self.shown:
            return
        now = time.monotonic()
        soon = 0 <= now - self.last < self.seconds  # the clock of a virtual machine can step back
        if not soon or done >= total:
            self.last, self.shown = now, text
            print(text, file=sys.stderr, flush=True)


class _Silent:
    def update(self, done: float, total: float, text: str = "") -> None:
        pass


class _Rich:
    """Progress as a bar that redraws itself."""

    def __init__(self, progress: Any, title: str) -> None:
        self.progress = progress
        self.task = progress.add_task(title, total=None)

    def update(self, done: float, total: float, text: str = "") -> None:
        self.progress.update(self.task, completed=done, total=total, description=text or None)


@contextlib.contextmanager
def progress(title: str, quiet: bool = False, line_seconds: float = 0.0) -> Iterator[Bar]:
    """A bar on a terminal, lines elsewhere (at most one every `line_seconds`), nothing when `quiet`.

    A cell's `!command` has a terminal, but the page that shows it can't erase: lines there, too.
    """
    if quiet:
        yield _Silent()
    elif not sys.stderr.isatty() or "JPY_PARENT_PID" in os.environ:  # jupyter_client 8.10 sets it for kernels
        yield _Lines(line_seconds)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as live:
            yield _Rich(live, title)


def told(event: Event) -> tuple[float, float, str] | None:
    """(done, total, text) of an event; total is 1 where it is unknown. None for an event without progress."""
    match event.kind:
        case "queued" if event.position:
            return 0, 1, f"waiting; {event.position} ahead"
        case "loading" if event.bytes_total:
            return event.bytes_done or 0, event.bytes_total, f"{event.message} ({gigabytes(event.bytes_total)} in all)"
        case "loading":
            return 0, 1, event.message or "loading"
        case "step" if event.steps and event.step:
            return event.step, event.steps, f"{event.message or 'step'} {event.step} of {event.steps}"
        case "stage":
            return 1, 1, event.message
    return None


def seconds_left(event: Event) -> float | None:
    """Seconds until the last step, at the speed of the steps so far; None where that is unknown."""
    seconds = event.seconds if event.drawing is None else event.drawing  # without the time to load the model
    if event.kind != "step" or not event.step or not event.steps or seconds is None:
        return None
    return seconds / event.step * (event.steps - event.step)


class Watcher(Protocol):
    """Shows a job's events to the user who waits for it."""

    def hear(self, event: Event, prefix: str = "") -> None:
        """Show one event, `prefix` before its text. Called in the thread that waits."""

    def close(self) -> None:
        """Remove the display."""


class _NoWatcher:
    """Shows nothing."""

    def hear(self, event: Event, prefix: str = "") -> None:
        pass

    def close(self) -> None:
        pass


class _Terminal:
    """The bar of `zimage run`, for programs that wait on a terminal."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._bar: Bar | None = None

    def hear(self, event: Event, prefix: str = "") -> None:
        if event.kind in LAST or (now := told(event)) is None:
            return
        if self._bar is None:
            self._bar = self._stack.enter_context(progress("queued"))
        self._bar.update(now[0], now[1], prefix + now[2])

    def close(self) -> None:
        self._stack.close()
        self._bar = None


class _Cell:
    """A bar with a preview in the cell that waits; removed at the end."""

    def __init__(self, shell: Any) -> None:
        self._publish = shell.display_pub.publish
        self._id, self._shown, self._began = f"zimage-{uuid.uuid4().hex}", False, time.monotonic()

    def hear(self, event: Event, prefix: str = "") -> None:
        now = told(event)
        if event.kind in LAST or now is None:
            return
        if not self._shown and time.monotonic() - self._began < PATIENCE_SECONDS and event.kind == "step":
            return
        self._show({"text/html": _bar(event, prefix, *now), "text/plain": prefix + now[2]})

    def close(self) -> None:
        if self._shown:
            self._show({})

    def update(self, done: float, total: float, text: str = "") -> None:
        """Show `done` of `total`, without a preview."""
        if self._shown or time.monotonic() - self._began >= PATIENCE_SECONDS:
            self._show({"text/html": f"<div>{_meter(done, total)} {html.escape(text)}</div>", "text/plain": text})

    def _show(self, data: dict[str, str]) -> None:
        self._publish(data, {}, transient={"display_id": self._id}, update=self._shown)
        self._shown = True


def _bar(event: Event, prefix: str, done: float, total: float, text: str) -> str:
    left = seconds_left(event)
    line = html.escape(prefix + text + ("" if left is None else f" · {duration(left)} left"))
    picture = ""
    if event.preview:
        source = base64.b64encode(event.preview).decode()
        picture = f'<br><img src="data:image/jpeg;base64,{source}" alt="the picture in the making" width="256">'
    return f"<div>{_meter(done, total)} {line}{picture}</div>"


def _meter(done: float, total: float) -> str:
    known = f'value="{done}" max="{total}"' if total > 1 or done else ""
    return f'<progress {known} aria-label="progress" style="width:16em;vertical-align:middle"></progress>'


def watcher() -> Watcher:
    """The watcher for a notebook's cell or a terminal; one that shows nothing elsewhere.

    Elsewhere: another thread than the main one, a pipe, or ZIMAGE_PROGRESS=0.
    """
    if os.environ.get("ZIMAGE_PROGRESS") == "0" or threading.current_thread() is not threading.main_thread():
        return _NoWatcher()
    shell = notebook()
    if shell is not None:
        return _Cell(shell)
    return _Terminal() if sys.stderr is not None and sys.stderr.isatty() else _NoWatcher()


@contextlib.contextmanager
def counter() -> Iterator[Bar]:
    """A bar for a count of cells, shown where `watcher` shows one."""
    shell = notebook()
    if os.environ.get("ZIMAGE_PROGRESS") == "0" or threading.current_thread() is not threading.main_thread():
        yield _Silent()
    elif shell is not None:
        with contextlib.closing(_Cell(shell)) as cell:
            yield cell
    else:
        with progress("cells", quiet=sys.stderr is None or not sys.stderr.isatty()) as bar:
            yield bar
