"""How a job ends: what it says last, and saving what is to be kept."""

from __future__ import annotations

from typing import Literal

from ..engine.events import Event
from ..engine.task import Task
from ..errors import JobCancelled, JobFailed, ZImageError, printable
from ..recipe.artifact import Artifact


def keep(task: Task, outcome: Artifact | ZImageError) -> Artifact | ZImageError:
    """Save the picture of a job that is to be kept. What comes back is the outcome, or why it could not be saved."""
    if isinstance(outcome, ZImageError):
        return outcome
    try:
        outcome.save(folder=task.folder)
    except ZImageError as error:
        return error.with_traceback(None)
    except Exception as error:  # an encoder's, a disk's: the job is over all the same
        return JobFailed(f"the picture could not be saved ({type(error).__name__}: {printable(error)})")
    return outcome


def last_event(task_id: str, outcome: Artifact | ZImageError, seconds: float | None = None) -> Event:
    """What a job says last."""
    if isinstance(outcome, Artifact):
        saved = "" if outcome.path is None else f"saved {outcome.path}"
        return Event(kind="done", job=task_id, message=saved, seconds=seconds)
    kind: Literal["cancelled", "failed"] = "cancelled" if isinstance(outcome, JobCancelled) else "failed"
    return Event(kind=kind, job=task_id, message=str(outcome), seconds=seconds)
