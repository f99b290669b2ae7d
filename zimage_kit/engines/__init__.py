"""Engines: where jobs run. `Engine` is the one narrow wall between a session and the process that holds the model.

In goes a Task, out come events and one outcome. `inline` is this process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from ..artifact import Artifact
from ..errors import ZImageError
from ..events import Event
from ..execute import Task

__all__ = ["Engine", "Finish", "Listen", "Status"]

Listen = Callable[[Event], None]
"""Told of each event of a task, in order, from the engine's thread; the last one is passed to Finish instead."""

Finish = Callable[[Artifact | ZImageError, Event], None]
"""Told once, of the outcome and the last event together."""


@dataclass(frozen=True)
class Status:
    """How an engine is. `memory_bytes` is what torch holds on the device (0 on a CPU), times are seconds."""

    engine: str
    state: Literal["idle", "loading", "running", "closed"]
    device: str | None
    dtype: str | None
    model: str | None
    model_loads: int
    load_seconds: float | None
    running: str | None
    queued: int
    memory_bytes: int


class Engine(Protocol):
    """Runs tasks one after the other. Every method may be called from any thread."""

    def submit(self, task: Task, listen: Listen, finish: Finish) -> None:
        """Queue a task. Raises SessionDied when the engine is closed."""

    def cancel(self, task_id: str) -> bool:
        """Ask for a task to stop, a running one before its next step. False: it is not there (any more)."""

    def status(self) -> Status:
        """How the engine is, at once."""

    def unload(self) -> None:
        """Give the model's memory back once the tasks before it are done; returns when it is done."""

    def restart(self) -> None:
        """Cancel everything and begin anew without a model."""

    def close(self) -> None:
        """Cancel everything, give the memory back and take no more tasks."""
