"""The panel's jobs: submitted and followed in threads, so that the kernel is free.

Each picture of a batch is a job of its own: one that fails, or is cancelled, leaves the others; one whose worker died
is submitted once more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from ...engine.events import LAST, Event
from ...errors import BadRequest, JobCancelled, SessionDied, ZImageError
from ...recipe.artifact import Artifact
from ...recipe.request import Request
from ...stages.stage import Stage
from ..translations import Texts

if TYPE_CHECKING:
    from ...session.job import Job
    from ...session.session import Session


@dataclass(frozen=True)
class Tally:
    """How a batch ended: how many pictures were made, failed, or were cancelled."""

    made: int = 0
    failed: int = 0
    cancelled: int = 0

    def told(self, texts: Texts) -> str:
        """In a few words; none of a single failure, which the error box tells."""
        counts = {"made": self.made, "failed": self.failed, "cancelled": self.cancelled}
        if sum(counts.values()) > 1 and self.failed + self.cancelled and self.made + self.failed:
            return " · ".join(texts(f"panel.some_{name}", count=count) for name, count in counts.items() if count)
        return "" if self.failed else texts("panel.cancelled" if self.cancelled else "panel.done")


@dataclass(frozen=True)
class Place:
    """Where a batch is: the picture that is being made, from 1, of how many, and seconds left for all, if known."""

    number: int = 1
    count: int = 1
    seconds_left: float | None = None


@dataclass(frozen=True)
class JobCallbacks:
    """What the panel does about its jobs. Each is called in the thread that follows the job.

    `on_event`: an event of a picture and where its batch is. `on_picture`: a finished one. `on_running_count`: how many
    jobs are under way. `on_end`: all pictures of one click are over. `on_error`: what went wrong, and how many pictures
    of the batch were not begun because of it. `on_submitted`: the session has all pictures of one click.
    """

    on_event: Callable[[Event, Place], None]
    on_picture: Callable[[Artifact], object]
    on_running_count: Callable[[int], None]
    on_end: Callable[[Tally], None]
    on_error: Callable[[Exception, int], None]
    on_submitted: Callable[[], None]


@dataclass(eq=False)
class _Picture:
    request: Request
    job: Job | None = None
    retried: bool = False
    over: bool = False


@dataclass(eq=False)
class _Batch:
    """The pictures of one click."""

    pictures: list[_Picture]
    stop: threading.Event = field(default_factory=threading.Event)
    made: int = 0
    failed: int = 0
    cancelled: int = 0
    began: float | None = None
    delivery: threading.Lock = field(default_factory=threading.Lock)

    @property
    def over(self) -> int:
        return self.made + self.failed + self.cancelled

    def place(self, event: Event) -> Place:
        """Where it is, seen from an event of one of its pictures."""
        count = len(self.pictures)
        if event.kind not in ("step", "stage"):
            return Place(min(self.over + 1, count), count)
        now = time.monotonic()
        if self.began is None:
            self.began = now - (event.drawing or 0.0)  # without the time to load the model
        share = (event.step or 0) / event.steps if event.kind == "step" and event.steps else 1.0
        done = self.over + share
        left = (now - self.began) / done * (count - done) if done and count > 1 else None
        return Place(min(self.over + 1, count), count, left)

    def count_outcome(self, outcome: Artifact | Exception) -> None:
        if isinstance(outcome, Artifact):
            self.made += 1
        elif isinstance(outcome, JobCancelled):
            self.cancelled += 1
        else:
            self.failed += 1


class Jobs:
    """The jobs that this panel has submitted and follows.

    `keep` says, when so many pictures are asked for, whether the session shall go on with them and save them when this
    process ends. `unmade` are the requests that failed, or were lost with a session, until they are tried again or
    dropped.
    """

    def __init__(
        self, session: Session, callbacks: JobCallbacks, keep: Callable[[int], bool] = lambda count: False
    ) -> None:
        self._session, self._callbacks, self._keep = session, callbacks, keep
        self._lock = threading.Lock()
        self._running: dict[str, Request | None] = {}
        self._batches: list[_Batch] = []
        self.unmade: list[Request] = []

    def __len__(self) -> int:
        return len(self._running)

    @property
    def running(self) -> dict[str, Request | None]:
        """The jobs under way by their ids; None: stages that are applied to a picture."""
        return dict(self._running)

    def make(self, requests: Sequence[Request]) -> None:
        """Make a picture of each. Returns at once. The first has interactive priority, the others batch priority."""
        batch = _Batch([_Picture(request) for request in requests])
        self._spawn(batch, lambda: self._submit(batch))

    def find(self, find: Callable[[Callable[[Event], None]], Sequence[Request]]) -> None:
        """Make what `find` returns after jobs of its own, whose events it hands over. Returns at once."""
        batch = _Batch([])

        def work() -> None:
            with self._hearing(batch) as hear:
                batch.pictures += map(_Picture, find(hear))
            self._submit(batch)

        self._spawn(batch, work)

    def apply(self, artifact: Artifact, *stages: Stage) -> None:
        """Run stages on a picture. Returns at once."""
        batch = _Batch([_Picture(artifact.request)])
        self._spawn(batch, lambda: self._apply(artifact, stages, batch))

    def resume(self, jobs: Iterable[tuple[str, Request]]) -> None:
        """Follow jobs of an earlier panel again; what the session does not know any more becomes `unmade`."""
        pictures = []
        for id_, request in jobs:
            try:
                pictures.append(_Picture(request, self._session.job(id_)))
            except BadRequest:
                self.unmade.append(request)
        if pictures:
            for picture in pictures:
                self._job_began(picture.job.id, picture.request)  # type: ignore[union-attr]
            batch = _Batch(pictures)
            self._spawn(batch, lambda: self._follow_all(batch))

    def cancel(self) -> None:
        """Cancel all of them, queued ones too."""
        with self._lock:
            jobs = list(self._running)
            for batch in self._batches:
                batch.stop.set()
        for job in jobs:
            self._session.cancel(job)

    def skip(self) -> None:
        """Cancel the picture that is being made; the others go on."""
        with self._lock:
            jobs = [each.job for batch in self._batches for each in batch.pictures if each.job is not None]
        running = [job for job in jobs if job.state == "running" and job.id in self._running]
        waiting = [job for job in jobs if job.id in self._running]
        for job in running[:1] or waiting[:1]:
            job.cancel()
        if not running and not waiting:  # stages that are applied to a picture
            self.cancel()

    def retry(self) -> None:
        """Make what failed or was lost."""
        requests, self.unmade = self.unmade, []
        if requests:
            self.make(requests)

    def drop(self) -> None:
        """Forget what failed or was lost."""
        self.unmade = []

    def leave(self) -> None:
        """Follow no job any more, and cancel none: another panel takes them over."""
        with self._lock:
            self._callbacks = JobCallbacks(*[lambda *_: None for _ in fields(JobCallbacks)])

    def report_running(self) -> None:
        """Call `on_running_count` again."""
        with self._lock:
            self._callbacks.on_running_count(len(self._running))

    def _spawn(self, batch: _Batch, work: Callable[[], None]) -> None:
        with self._lock:
            self._batches.append(batch)

        def run() -> None:
            try:
                work()
                self._callbacks.on_end(Tally(batch.made, batch.failed, batch.cancelled))
            except JobCancelled:
                self._callbacks.on_end(Tally(batch.made, batch.failed, len(batch.pictures) - batch.made))
            except Exception as error:
                self._callbacks.on_error(error, len(batch.pictures) - batch.over - 1)
            finally:
                with self._lock:
                    self._batches.remove(batch)

        threading.Thread(target=run, name="zimage-job", daemon=True).start()

    def _submit(self, batch: _Batch) -> None:
        """Submit all, then follow them. If one cannot be submitted, none of them is made."""
        keep = self._keep(len(batch.pictures))
        try:
            for number, picture in enumerate(batch.pictures):
                if batch.stop.is_set():
                    break
                picture.job = self._session.submit(
                    picture.request, priority="batch" if number else "interactive", keep=keep
                )
                self._job_began(picture.job.id, picture.request)
            if batch.stop.is_set():  # after the last look of `cancel`
                self._drop(batch)
        except Exception:
            self._drop(batch)
            raise
        batch.cancelled = sum(picture.job is None for picture in batch.pictures)
        self._callbacks.on_submitted()
        self._follow_all(batch)

    def _drop(self, batch: _Batch) -> None:
        for picture in batch.pictures:
            if picture.job is not None:
                picture.job.cancel()
                self._job_ended(picture.job.id)

    def _follow_all(self, batch: _Batch) -> None:
        """Follow each in a thread, since they end in any order; returns when all are over."""
        followers = [
            threading.Thread(target=self._follow, args=(picture, batch), name="zimage-job", daemon=True)
            for picture in batch.pictures
            if picture.job is not None
        ]
        for thread in followers:
            thread.start()
        for thread in followers:
            thread.join()

    def _follow(self, picture: _Picture, batch: _Batch) -> None:
        """Follow one picture to its end, and once more if its worker died."""
        while True:
            with batch.delivery:  # another thread may have delivered it by now: it would count as under way for ever
                if picture.over:
                    return
                assert picture.job is not None
                self._job_began(picture.job.id, picture.request)
            with suppress(ZImageError):  # the outcome tells it too
                for event in picture.job.events():
                    self._callbacks.on_event(event, batch.place(event))
            with batch.delivery:  # threads wake up in any order: those before it that are over come first
                for each in batch.pictures[: batch.pictures.index(picture) + 1]:
                    if not each.over and each.job is not None and each.job.state in LAST:
                        self._deliver(each, batch)

    def _deliver(self, picture: _Picture, batch: _Batch) -> None:
        """Report how a picture ended."""
        assert picture.job is not None
        outcome: Artifact | Exception
        try:
            outcome = picture.job.result()
        except Exception as error:
            outcome = error
        worker_died = isinstance(outcome, SessionDied) and "worker" in outcome.facts
        if worker_died and not picture.retried and not batch.stop.is_set():
            picture.retried = True  # a new worker starts by itself
            self._job_ended(picture.job.id)
            try:
                picture.job = self._session.submit(picture.request, keep=self._keep(len(batch.pictures)))
            except Exception as error:
                outcome = error
            else:
                return
        picture.over = True
        batch.count_outcome(outcome)
        try:
            if isinstance(outcome, Artifact):
                outcome.connect(self._session)
                self._callbacks.on_picture(outcome)
        finally:  # after it: what is kept names it always, as a job, a picture, or both
            self._job_ended(picture.job.id)
        if not isinstance(outcome, Artifact | JobCancelled):
            self.unmade.append(picture.request)
            self._callbacks.on_error(outcome, 0)

    def _apply(self, artifact: Artifact, stages: Sequence[Stage], batch: _Batch) -> None:
        with self._hearing(batch) as hear:
            made = self._session.apply(artifact, *stages, on_event=hear)
            batch.count_outcome(made)
            self._callbacks.on_picture(made)

    @contextmanager
    def _hearing(self, batch: _Batch) -> Iterator[Callable[[Event], None]]:
        """What hears the events of jobs that somebody else waits for; they count as this panel's until the end."""
        followed: set[str] = set()

        def hear(event: Event) -> None:
            if event.job not in followed:
                followed.add(event.job)
                self._job_began(event.job, None)
            if batch.stop.is_set():
                self._session.cancel(event.job)
                raise JobCancelled("cancelled in the panel")
            self._callbacks.on_event(event, Place())

        try:
            yield hear
        finally:
            for job in followed:
                self._job_ended(job)

    def _job_began(self, job: str, request: Request | None) -> None:
        with self._lock:
            if job not in self._running:
                self._running[job] = request
                self._callbacks.on_running_count(len(self._running))

    def _job_ended(self, job: str) -> None:
        with self._lock:
            if job in self._running:
                del self._running[job]
                self._callbacks.on_running_count(len(self._running))
