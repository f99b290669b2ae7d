"""Event: what a job reports while it runs. Plain values only, so that it can cross to another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EventKind = Literal["queued", "loading", "step", "stage", "done", "failed", "cancelled"]
LAST: frozenset[str] = frozenset({"done", "failed", "cancelled"})
"""The kinds that end a job: no event follows."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened to a job.

    | kind | fields that are set |
    |---|---|
    | queued | position: jobs ahead (0: next); message when there is more to say |
    | loading | message; for a model bytes_done of bytes_total, measured in memory; seconds once it is loaded |
    | step | step (1 … steps), steps, sigma after it (1 noise, 0 picture), preview, seconds, drawing |
    | stage | step (1 … steps) of the recipe's stages; message: its kind or its progress; seconds once it is done |
    | done | seconds from start to end; message: where a kept picture was saved |
    | failed, cancelled | message: one line |

    `preview` is a small JPEG (at most 40 KB) of the predicted picture, or None for a model without a latent-to-RGB
    matrix. For a step, `seconds` counts from the start of the job and `drawing` from the start of the first step, so
    without loading. A message there is what is counted instead of steps: the seeds of a scout.
    """

    kind: EventKind
    job: str
    position: int | None = None
    step: int | None = None
    steps: int | None = None
    sigma: float | None = None
    preview: bytes | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    message: str = ""
    seconds: float | None = None
    drawing: float | None = None


Listen = Callable[[Event], None]
"""Called with each event of a task except the last, in order, from the engine's thread."""
