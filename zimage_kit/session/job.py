"""Job: one picture in the making, to follow, wait for, await or cancel."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any, Literal

from ..engine.events import LAST, Event
from ..errors import ZImageError
from ..recipe.artifact import Artifact
from ..recipe.request import Request
from ..text.tables import facts
from .engine import Engine
from .progress import told

_HEARTBEAT_SECONDS = 0.5  # waits are this short, so that Ctrl-C is heard on every system


class Job:
    """One picture in the making. `await job` and `job.result()` give the artifact or raise what went wrong.

    An interrupt (Ctrl-C, a notebook's stop button) while this process waits for a job of its own cancels it.
    """

    def __init__(self, request: Request | None, engine: Engine, id: str | None = None) -> None:
        self.id = id or uuid.uuid4().hex[:12]
        self._request, self._own = request, id is None
        self._engine = engine
        self._events: list[Event] = []
        self._news = threading.Condition()
        self._outcome: Future[Artifact] = Future()

    @property
    def request(self) -> Request:
        """What it was asked for, resolved."""
        if self._request is None:  # a job of another process, followed from here
            self._request = self._engine.follow(self.id, self.hear, self.finish)
        return self._request

    @property
    def state(self) -> Literal["queued", "running", "done", "failed", "cancelled"]:
        """queued, running, done, failed or cancelled."""
        with self._news:
            kind = self._events[-1].kind if self._events else "queued"
        return "running" if kind in ("loading", "step", "stage") else kind  # type: ignore[return-value]

    def events(self) -> Iterator[Event]:
        """Every event from the first to the last, waiting for those to come. May be called late, and more than once."""
        told = 0
        while True:
            with self._cancelled_by_interrupt(), self._news:
                while len(self._events) == told:
                    self._news.wait(_HEARTBEAT_SECONDS)
                event = self._events[told]
            told += 1
            yield event
            if event.kind in LAST:
                return

    def cancel(self) -> bool:
        """Ask it to stop: before it begins, or before its next step. False: it is over already.

        Raises SessionDied when a session does not answer in time, so that nobody knows.
        """
        return self._engine.cancel(self.id)

    def abandon(self) -> None:
        """Cancel without waiting for an answer: nobody is interested any more."""
        self._engine.cancel(self.id, wait=False)

    def result(self, timeout: float | None = None) -> Artifact:
        """Wait for the artifact. Raises what went wrong, and TimeoutError after `timeout` seconds (the job goes on)."""
        with self._cancelled_by_interrupt():
            if timeout is not None:
                return self._outcome.result(timeout)
            while True:
                try:
                    return self._outcome.result(_HEARTBEAT_SECONDS)
                except TimeoutError:
                    continue

    def __await__(self) -> Generator[Any, None, Artifact]:
        return self._wait().__await__()

    async def _wait(self) -> Artifact:
        outcome = asyncio.wrap_future(self._outcome)
        try:
            # in short turns: a kernel's stop button is heard only once its event loop wakes up
            while not (await asyncio.wait((outcome,), timeout=_HEARTBEAT_SECONDS))[0]:
                pass
            return outcome.result()
        except asyncio.CancelledError:
            with suppress(ZImageError):
                self.cancel()
            raise

    @contextmanager
    def _cancelled_by_interrupt(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            if self._own:
                with suppress(ZImageError):  # the interrupt is what matters
                    self.cancel()
            raise

    def __repr__(self) -> str:
        return f"<Job {self.id}: {self.state}>"

    def _repr_html_(self) -> str:
        """In a notebook: how it is now, not how it will be."""
        with self._news:
            last = self._events[-1] if self._events else None
        now = told(last) if last is not None else None
        done = last.message if last is not None and last.kind in LAST else now[2] if now else ""
        prompt = self._request.prompt if self._request is not None else None
        return facts((("job", self.id), ("state", self.state), ("so far", done), ("prompt", prompt)))

    def hear(self, event: Event) -> None:
        """The engine tells an event."""
        with self._news:
            self._events.append(event)
            self._news.notify_all()

    def finish(self, outcome: Artifact | ZImageError, last: Event) -> None:
        """The engine reports the last event and the outcome, once: whoever has the outcome sees the state it led to."""
        self.hear(last)
        with suppress(InvalidStateError):  # whoever awaited it cancelled the future
            if isinstance(outcome, ZImageError):
                self._outcome.set_exception(outcome)
            else:
                self._outcome.set_result(outcome)
