"""The panel's jobs: submitted and followed in threads, so that the kernel is free, and cancelled together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..artifact import Artifact
from ..errors import JobCancelled
from ..events import Event
from ..request import Request
from ..stage import Stage

if TYPE_CHECKING:
    from ..job import Job
    from ..session import Session


@dataclass(frozen=True)
class Ears:
    """Who is told what, each in the thread that follows the job.

    `event`: an event, and which picture of how many it is about; `picture`: a finished one; `running`: how many jobs
    are under way now; `end`: what was asked for at once is over, cancelled or not; `error`: it went wrong.
    """

    event: Callable[[Event, int, int], None]
    picture: Callable[[Artifact], None]
    running: Callable[[int], None]
    end: Callable[[bool], None]
    error: Callable[[Exception], None]


class Jobs:
    """What this panel has asked of the session and waits for."""

    def __init__(self, session: Session, ears: Ears) -> None:
        self._session, self._ears = session, ears
        self._lock = threading.Lock()
        self._running: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._running)

    def make(self, requests: Sequence[Request]) -> None:
        """Make a picture of each. Returns at once; the first is interactive, those behind it let others go first."""
        self._spawn(lambda: self._make(requests))

    def apply(self, artifact: Artifact, *stages: Stage) -> None:
        """Run stages on a picture. Returns at once."""
        self._spawn(lambda: self._apply(artifact, stages))

    def cancel(self) -> None:
        """Cancel all of them, those that wait too."""
        with self._lock:
            jobs = list(self._running)
        for job in jobs:
            self._session.cancel(job)

    def _spawn(self, work: Callable[[], bool]) -> None:
        def run() -> None:
            try:
                cancelled = work()
            except Exception as error:
                self._ears.error(error)
            else:
                self._ears.end(cancelled)

        threading.Thread(target=run, name="zimage-job", daemon=True).start()

    def _make(self, requests: Sequence[Request]) -> bool:
        jobs: list[Job] = []
        try:
            for request in requests:
                jobs.append(self._session.submit(request, priority="batch" if jobs else "interactive"))
                self._begins(jobs[-1].id)
            return self._follow(jobs)
        finally:  # after an error: what was asked for with it is not wanted any more
            for job in jobs:
                job.cancel()
                self._ends(job.id)

    def _follow(self, jobs: Sequence[Job]) -> bool:
        """Until all are over; True if one of them was cancelled. Raises the first error."""
        cancelled = False
        for number, job in enumerate(jobs, 1):
            try:
                for event in job.events():
                    self._ears.event(event, number, len(jobs))
                artifact = job.result()
            except JobCancelled:
                cancelled = True
                continue
            finally:
                self._ends(job.id)
            artifact._session = self._session
            self._ears.picture(artifact)
        return cancelled

    def _apply(self, artifact: Artifact, stages: Sequence[Stage]) -> bool:
        heard: set[str] = set()

        def hear(event: Event) -> None:
            if event.job not in heard:
                heard.add(event.job)
                self._begins(event.job)
            self._ears.event(event, 1, 1)

        try:
            self._ears.picture(self._session.apply(artifact, *stages, on_event=hear))
        except JobCancelled:
            return True
        finally:
            for job in heard:
                self._ends(job)
        return False

    def _begins(self, job: str) -> None:
        with self._lock:
            self._running[job] = None
            self._ears.running(len(self._running))

    def _ends(self, job: str) -> None:
        with self._lock:
            if job in self._running:
                del self._running[job]
                self._ears.running(len(self._running))
