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
class JobCallbacks:
    """What the panel does about its jobs. Each is called in the thread that follows the job.

    `on_event`: an event, the number of its picture from 1, and the number of pictures. `on_picture`: a finished one.
    `on_running_count`: how many jobs are under way. `on_end`: all pictures of one click are over; True: cancelled.
    `on_error`: what went wrong, and how many of the remaining pictures were cancelled because of it.
    """

    on_event: Callable[[Event, int, int], None]
    on_picture: Callable[[Artifact], None]
    on_running_count: Callable[[int], None]
    on_end: Callable[[bool], None]
    on_error: Callable[[Exception, int], None]


class Jobs:
    """The jobs that this panel has submitted and follows."""

    def __init__(self, session: Session, callbacks: JobCallbacks) -> None:
        self._session, self._callbacks = session, callbacks
        self._lock = threading.Lock()
        self._running: dict[str, None] = {}
        self._stops: set[threading.Event] = set()  # one for each batch being submitted or followed

    def __len__(self) -> int:
        return len(self._running)

    def make(self, requests: Sequence[Request]) -> None:
        """Make a picture of each. Returns at once. The first has interactive priority, the others batch priority."""
        self._spawn(lambda stop: self._make(requests, stop))

    def apply(self, artifact: Artifact, *stages: Stage) -> None:
        """Run stages on a picture. Returns at once."""
        self._spawn(lambda stop: self._apply(artifact, stages, stop))

    def cancel(self) -> None:
        """Cancel all of them, queued ones too."""
        with self._lock:
            jobs = list(self._running)
            for stop in self._stops:
                stop.set()
        for job in jobs:
            self._session.cancel(job)

    def report_running(self) -> None:
        """Call `on_running_count` again."""
        with self._lock:
            self._callbacks.on_running_count(len(self._running))

    def _spawn(self, work: Callable[[threading.Event], bool]) -> None:
        stop = threading.Event()
        with self._lock:
            self._stops.add(stop)

        def run() -> None:
            try:
                self._callbacks.on_end(work(stop))
            except _GivenUp as given_up:
                self._callbacks.on_error(given_up.reason, given_up.count)
            except Exception as error:
                self._callbacks.on_error(error, 0)
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
                self._job_began(jobs[-1].id)
            if stop.is_set():  # after the last look of `cancel`
                self._drop(jobs)
            for job in jobs:
                done += 1
                self._follow(job, done, len(jobs), stop)
            return stop.is_set()
        except Exception as error:  # cancel the rest of the batch
            left = len(jobs) - done
            self._drop(jobs)
            raise _GivenUp(error, left) from error

    def _drop(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.cancel()
            self._job_ended(job.id)

    def _follow(self, job: Job, number: int, count: int, stop: threading.Event) -> None:
        """Follow a job to its end. Raises its error, unless it was cancelled."""
        try:
            for event in job.events():
                self._callbacks.on_event(event, number, count)
            artifact = job.result()
        except JobCancelled:
            stop.set()
            return
        finally:
            self._job_ended(job.id)
        artifact.connect(self._session)
        self._callbacks.on_picture(artifact)

    def _apply(self, artifact: Artifact, stages: Sequence[Stage], stop: threading.Event) -> bool:
        followed: set[str] = set()

        def on_event(event: Event) -> None:
            if event.job not in followed:
                followed.add(event.job)
                self._job_began(event.job)
            if stop.is_set():
                self._session.cancel(event.job)
            self._callbacks.on_event(event, 1, 1)

        try:
            self._callbacks.on_picture(self._session.apply(artifact, *stages, on_event=on_event))
        except JobCancelled:
            return True
        finally:
            for job in followed:
                self._job_ended(job)
        return False

    def _job_began(self, job: str) -> None:
        with self._lock:
            self._running[job] = None
            self._callbacks.on_running_count(len(self._running))

    def _job_ended(self, job: str) -> None:
        with self._lock:
            if job in self._running:
                del self._running[job]
                self._callbacks.on_running_count(len(self._running))


class _GivenUp(Exception):
    """The error of one picture, and the number of pictures after it that were not made."""

    def __init__(self, reason: Exception, count: int) -> None:
        super().__init__(str(reason))
        self.reason, self.count = reason, count
