"""The `Engine` protocol: the one narrow interface between a session and the process that holds the model.

A Task goes in; events and one outcome come out. `inline` runs jobs in this process. `shared/` runs them in processes
that all of a user's programs share, on one machine or several: `fair_queue`, `broker_state` and `broker` assign the
jobs, `server` keeps the workers running, `worker` wraps an inline engine, `launch` finds and starts the session,
`connection` is a client's end of the line, and `wire` converts what crosses it. `outcome` says how a job ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..engine.events import Event, Listen
from ..engine.task import Task
from ..errors import ZImageError
from ..recipe.artifact import Artifact
from ..recipe.request import Request
from .status import Status

__all__ = ["Engine", "Finish", "Listen", "Status"]

Finish = Callable[[Artifact | ZImageError, Event], None]
"""Called once, with the outcome and the last event."""


class Engine(Protocol):
    """Runs tasks, one at a time on each device. Call its methods from any thread except the engine's own."""

    def submit(self, task: Task, listen: Listen, finish: Finish) -> None:
        """Queue a task. Raises SessionDied when the engine is closed."""

    def follow(self, task_id: str, listen: Listen, finish: Finish) -> Request:
        """Follow a task that someone else submitted: its latest event, and all that come after. Returns its request.

        Raises BadRequest when there is no such task (any more).
        """

    def cancel(self, task_id: str, wait: bool = True) -> bool:
        """Stop a task; a running one stops before its next step. False: there is no such task (any more).

        With `wait` False, send the request and return; then any thread may call it. Raises SessionDied when the session
        does not answer in time.
        """

    def hasten(self, task_id: str) -> bool:
        """Put a waiting task before the other waiting tasks of its owner. False: it does not wait (any more)."""

    def status(self) -> Status:
        """The engine's status, within 2 seconds."""

    @property
    def closed(self) -> bool:
        """True when it accepts no more tasks from this process: it was closed, or its session is gone."""

    def models(self) -> frozenset[str] | None:
        """Names of the models on its workers' disks; None: it uses this machine's disk."""

    def unload(self) -> None:
        """Free the model's memory once the running job has ended; returns when that is done."""

    def restart(self) -> None:
        """Cancel everything and start again without a model."""

    def close(self) -> None:
        """Cancel this process's jobs and accept no more tasks. An inline engine also frees its memory."""
