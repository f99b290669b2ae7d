"""The panel's jobs: submitted and followed in threads, so that the kernel is free, and cancelled together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...engine.events import Event
from ...errors import JobCancelled
from ...recipe.artifact import Artifact
from ...recipe.request import Request
from ...stages.stage import Stage

if TYPE_CHECKING:
    from ...session.job import Job
    from ...session.session import Session


@dataclass(frozen=True)
class Ears:
    """Who is told what, each in the thread that follows the job.

    `event`: an event, and which picture of how many it is about; `picture`: a finished one; `running`: how many jobs
    are under way now; `end`: what was asked for at once is over, cancelled or not; `error`: it went wrong, and so many
    of the pictures behind it were given up.
    """

    event: Callable[[Event, int, int], None]
    picture: Callable[[Artifact], None]
    running: Callable[[int], None]
    end: Callable[[bool], None]
    error: Callable[[Exception, int], None]


class Jobs:
    """What this panel has asked of the session and waits for."""

    def __init__(self, session: Session, ears: Ears) -> None:
        self._session, self._ears = session, ears
        self._lock = threading.Lock()
        self._running: dict[str, None] = {}
        self._stops: set[threading.Event] = set()  # of what is being submitted or followed

    def __len__(self) -> int:
        return len(self._running)

    def make(self, requests: Sequence[Request]) -> None:
        """Make a picture of each. Returns at once; the first is interactive, those behind it let others go first."""
        self._spawn(lambda stop: self._make(requests, stop))

    def apply(self, artifact: Artifact, *stages: Stage) -> None:
        """Run stages on a picture. Returns at once."""
        self._spawn(lambda stop: self._apply(artifact, stages, stop))

    def cancel(self) -> None:
        """Cancel all of them, those that wait too."""
        with self._lock:
            jobs = list(self._running)
            for stop in self._stops:
                stop.set()
        for job in jobs:
            self._session.cancel(job)

    def tell(self) -> None:
        """Say again how many are under way."""
        with self._lock:
            self._ears.running(len(self._running))

    def _spawn(self, work: Callable[[threading.Event], bool]) -> None:
        stop = threading.Event()
        with self._lock:
            self._stops.add(stop)

        def run() -> None:
            try:
                self._ears.end(work(stop))
            except _GivenUp as given_up:
                self._ears.error(given_up.reason, given_up.count)
            except Exception as error:
                self._ears.error(error, 0)
            finally:
                with self._lock:
                    self._stops.discard(stop)

        threading.Thread(target=run, name="zimage-job", daemon=True).start()

    def _make(self, requests: Sequence[Request], stop: threading.Event) -> bool:
        jobs: list[Job] = []
        done = 0
        try:
            for request in requests:
                if stop.is_set():
                    break
                jobs.append(self._session.submit(request, priority="batch" if jobs else "interactive"))
                self._begins(jobs[-1].id)
            if stop.is_set():  # after the last look of `cancel`
                self._drop(jobs)
            for job in jobs:
                done += 1
                self._follow(job, done, len(jobs), stop)
            return stop.is_set()
        except Exception as error:  # what was asked for together with it is not wanted any more
            left = len(jobs) - done
            self._drop(jobs)
            raise _GivenUp(error, left) from error

    def _drop(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.cancel()
            self._ends(job.id)

    def _follow(self, job: Job, number: int, count: int, stop: threading.Event) -> None:
        """Until it is over. Raises what went wrong; a cancel is none, whoever asked for it."""
        try:
            for event in job.events():
                self._ears.event(event, number, count)
            artifact = job.result()
        except JobCancelled:
            stop.set()
            return
        finally:
            self._ends(job.id)
        artifact._session = self._session
        self._ears.picture(artifact)

    def _apply(self, artifact: Artifact, stages: Sequence[Stage], stop: threading.Event) -> bool:
        heard: set[str] = set()

        def hear(event: Event) -> None:
            if event.job not in heard:
                heard.add(event.job)
                self._begins(event.job)
            if stop.is_set():
                self._session.cancel(event.job)
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


class _GivenUp(Exception):
    """An error of one picture, and how many behind it were not made."""

    def __init__(self, reason: Exception, count: int) -> None:
        super().__init__(str(reason))
        self.reason, self.count = reason, count
