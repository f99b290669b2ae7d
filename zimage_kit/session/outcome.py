"""How a job ends: its last event, and saving the picture if it is to be kept."""

from __future__ import annotations

from typing import Literal

from ..engine.events import Event
from ..engine.task import Task
from ..errors import JobCancelled, JobFailed, ZImageError, printable
from ..recipe.artifact import Artifact


def keep(task: Task, outcome: Artifact | ZImageError) -> Artifact | ZImageError:
    """Save the picture of a kept job. Returns the outcome, or the error that prevented saving."""
    if isinstance(outcome, ZImageError):
        return outcome
    try:
        with task.as_its_client():  # for its inputs
            outcome.save(folder=task.folder)
    except ZImageError as error:
        return error.with_traceback(None)
    except Exception as error:  # from an encoder or a disk; the job must end all the same
        return JobFailed(f"the picture could not be saved ({type(error).__name__}: {printable(error)})")
    return outcome


def last_event(task_id: str, outcome: Artifact | ZImageError, seconds: float | None = None) -> Event:
    """The last event of a job with this outcome."""
    if isinstance(outcome, Artifact):
        saved = "" if outcome.path is None else f"saved {outcome.path}"
        return Event(kind="done", job=task_id, message=saved, seconds=seconds)
    kind: Literal["cancelled", "failed"] = "cancelled" if isinstance(outcome, JobCancelled) else "failed"
    return Event(kind=kind, job=task_id, message=str(outcome), seconds=seconds)
