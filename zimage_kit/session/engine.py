"""Engines: where jobs run. `Engine` is the one narrow wall between a session and the process that holds the model.

In goes a Task, out come events and one outcome. `inline` is this process; `shared` is a session of processes for all
notebooks, on this machine or on many: turns, ledger and desk give the jobs out, server keeps the workers, worker runs
an inline engine in each, launch finds and starts the session, link is a kernel's line to it, wire what crosses it.
`resident` is the model that a process holds, `outcome` how a job ends.
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
"""Told once, of the outcome and the last event together."""


class Engine(Protocol):
    """Runs tasks, one at a time on each device. Every method may be called from any thread but the engine's own."""

    def submit(self, task: Task, listen: Listen, finish: Finish) -> None:
        """Queue a task. Raises SessionDied when the engine is closed."""

    def follow(self, task_id: str, listen: Listen, finish: Finish) -> Request:
        """Hear of a task that someone else submitted: how it is now, and all that follows. Returns its request.

        Raises BadRequest when it is not there (any more).
        """

    def cancel(self, task_id: str, wait: bool = True) -> bool:
        """Ask for a task to stop, a running one before its next step. False: it is not there (any more).

        Raises SessionDied when nobody answers in time. `wait` False: only ask; from any thread.
        """

    def status(self) -> Status:
        """How the engine is, within 2 seconds."""

    @property
    def closed(self) -> bool:
        """True when it takes no more tasks of this process: it was closed, or its session is gone."""

    def models(self) -> frozenset[str] | None:
        """Names of the models that its workers have on their disks; None: it uses this machine's disk."""

    def unload(self) -> None:
        """Give the model's memory back once what runs is done; returns when it is done."""

    def restart(self) -> None:
        """Cancel everything and begin anew without a model."""

    def close(self) -> None:
        """Cancel this process's jobs and take no more tasks. An engine of this process gives its memory back."""
