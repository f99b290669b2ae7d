"""An interrupt cancels the job that is waited for, at whatever point of the wait it comes."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from zimage_kit.engine.events import Event
from zimage_kit.session.job import Job


class Recorder:
    """An engine that notes what is cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def cancel(self, id: str, wait: bool = True) -> bool:
        self.cancelled.append(id)
        return True


def interrupted(job: Job, at: int) -> bool:
    """Take two events, with an interrupt at this call or line (counted once the first wait has begun)."""
    passed = 0

    def trace(frame: FrameType, kind: str, _: Any) -> Any:
        nonlocal passed
        own = frame.f_code is Job.events.__code__
        inside = not own or (kind != "return" and frame.f_lineno > Job.events.__code__.co_firstlineno + 2)
        passed += inside
        if inside and passed == at:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    events = job.events()
    sys.settrace(trace)
    try:
        for _ in range(2):
            next(events)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already")
def test_an_interrupt_at_any_point_of_waiting_for_events_cancels_the_job() -> None:
    at = 1
    while True:
        engine: Any = Recorder()
        job = Job(None, engine)
        job._own = True
        for _ in range(2):
            job.hear(Event(kind="step", job=job.id))
        if not interrupted(job, at):
            break
        assert engine.cancelled == [job.id], f"point {at}"
        at += 1
    assert at > 10, "the interrupt came at no point"
