"""Job: one picture in the making, to follow, wait for, await or cancel."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Literal

from ..engine.events import LAST, Event
from ..errors import ZImageError
from ..recipe.artifact import Artifact
from ..recipe.request import Request
from ..text.tables import facts
from .engine import Engine
from .progress import told

_HEARTBEAT_SECONDS = 0.5  # waits are this short so that Ctrl-C is noticed on every system


class Job:
    """One picture in the making. `await job` and `job.result()` give the artifact or raise the job's error.

    An interrupt (Ctrl-C, a notebook's stop button) while waiting cancels the job if this process submitted it.
    """

    def __init__(self, request: Request | None, engine: Engine, id: str | None = None) -> None:
        self.id = id or uuid.uuid4().hex[:12]
        self._request, self._own = request, id is None
        self._engine = engine
        self._events: list[Event] = []
        self._new_event = threading.Condition()
        self._outcome: Future[Artifact] = Future()

    @property
    def request(self) -> Request:
        """The resolved request."""
        if self._request is None:  # a job of another process, followed from here
            self._request = self._engine.follow(self.id, self.hear, self.finish)
        return self._request

    @property
    def state(self) -> Literal["queued", "running", "done", "failed", "cancelled"]:
        """queued, running, done, failed or cancelled."""
        with self._new_event:
            kind = self._events[-1].kind if self._events else "queued"
        return "running" if kind in ("loading", "step", "stage") else kind  # type: ignore[return-value]

    def events(self) -> Iterator[Event]:
        """Iterate over all events from the first to the last, waiting for new ones. May be called late or again."""
        try:  # around all of it: an interrupt may come between two waits
            seen = 0
            while True:
                with self._new_event:
                    while len(self._events) == seen:
                        self._new_event.wait(_HEARTBEAT_SECONDS)
                    event = self._events[seen]
                seen += 1
                yield event
                if event.kind in LAST:
                    return
        except KeyboardInterrupt:
            self._interrupted()
            raise

    def cancel(self) -> bool:
        """Stop the job before it begins or before its next step. False: it is already over.

        Raises SessionDied when the session does not answer in time; the job may or may not have stopped then.
        """
        return self._engine.cancel(self.id)

    def abandon(self) -> None:
        """Cancel without waiting for an answer."""
        self._engine.cancel(self.id, wait=False)

    def result(self, timeout: float | None = None) -> Artifact:
        """Wait for the artifact. Raises the job's error, and TimeoutError after `timeout` seconds (the job goes on)."""
        try:
            if timeout is not None:
                return self._outcome.result(timeout)
            while True:
                try:
                    return self._outcome.result(_HEARTBEAT_SECONDS)
                except TimeoutError:
                    continue
        except KeyboardInterrupt:
            self._interrupted()
            raise

    def __await__(self) -> Generator[Any, None, Artifact]:
        return self._wait().__await__()

    async def _wait(self) -> Artifact:
        outcome = asyncio.wrap_future(self._outcome)
        try:
            # in short waits: a kernel notices its stop button only once its event loop wakes up
            while not (await asyncio.wait((outcome,), timeout=_HEARTBEAT_SECONDS))[0]:
                pass
            return outcome.result()
        except asyncio.CancelledError:
            with suppress(ZImageError):
                self.cancel()
            raise

    def _interrupted(self) -> None:
        if self._own:
            with suppress(ZImageError):  # the interrupt is what matters
                self.cancel()

    def __repr__(self) -> str:
        return f"<Job {self.id}: {self.state}>"

    def _repr_html_(self) -> str:
        """In a notebook: the job as it is now; the table does not update."""
        with self._new_event:
            last = self._events[-1] if self._events else None
        now = told(last) if last is not None else None
        done = last.message if last is not None and last.kind in LAST else now[2] if now else ""
        prompt = self._request.prompt if self._request is not None else None
        return facts((("job", self.id), ("state", self.state), ("so far", done), ("prompt", prompt)))

    def hear(self, event: Event) -> None:
        """Receive an event from the engine."""
        with self._new_event:
            self._events.append(event)
            self._new_event.notify_all()

    def finish(self, outcome: Artifact | ZImageError, last: Event) -> None:
        """Receive the outcome and the last event, once. The event first, so that `state` is final with the outcome."""
        self.hear(last)
        with suppress(InvalidStateError):  # the future was cancelled where it was awaited
            if isinstance(outcome, ZImageError):
                self._outcome.set_exception(outcome)
            else:
                self._outcome.set_result(outcome)
