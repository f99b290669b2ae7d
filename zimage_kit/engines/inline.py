"""The inline engine: one background thread of this process, so that no two jobs ever overlap on the device.

torch and diffusers are imported in that thread, with the first job that needs them.
"""

from __future__ import annotations

import atexit
import os
import platform
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..artifact import Artifact
from ..directories import fingerprint
from ..errors import BadRequest, JobCancelled, JobFailed, SessionDied, ZImageError
from ..events import Event
from ..execute import PictureCache, Room, Task, execute
from ..gpus import list_gpus
from ..memory import allocated, out_of_memory, release
from ..models import ModelSpec, models_here, require, resolve
from ..request import Request
from ..status import JobStatus, WorkerStatus
from . import Finish, Listen, Status

if TYPE_CHECKING:
    from ..pipeline import ResidentPipeline
    from ..placement import Placement

_PATIENCE_SECONDS = 30.0


@dataclass
class _Job:
    task: Task
    tell: Listen
    finish: Finish
    stop: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)
    step: tuple[int | None, int | None] = (None, None)

    def listen(self, event: Event) -> None:
        """Pass an event on, and remember how far the job is."""
        if event.kind == "step":
            self.step = event.step, event.steps
        self.tell(event)


@dataclass
class _Errand:
    """Something that is no job but waits its turn, such as unloading."""

    do: Callable[[], None]
    done: threading.Event = field(default_factory=threading.Event)


class InlineEngine:
    """Jobs in the order in which they came, interactive ones before batch.

    `device` and `dtype` None: chosen by `placement.choose`. A job that is to be kept is saved before it is told as
    done; it ends with this process like any other.
    """

    def __init__(self, device: str | None = None, dtype: str | None = None) -> None:
        self._wanted = (device, dtype)
        self._placement: Placement | None = None
        self._pipeline: ResidentPipeline | None = None
        self._cache = PictureCache()
        self._queue: deque[_Job | _Errand] = deque()
        self._wake = threading.Condition()
        self._running: _Job | None = None
        self._state: Literal["idle", "loading", "running", "closed"] = "idle"
        self._loads = self._peak = 0
        self._thread = threading.Thread(target=self._work, name="zimage-inline", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def submit(self, task: Task, listen: Listen, finish: Finish) -> None:
        """Queue a task. Raises SessionDied when the engine is closed."""
        job = _Job(task, listen, finish)
        with self._wake:
            self._refuse_when_closed()
            place = len(self._queue)
            if task.priority == "interactive":  # before the batch jobs, but not past an errand
                while place and _is_batch(self._queue[place - 1]):
                    place -= 1
            ahead = sum(isinstance(other, _Job) for other in tuple(self._queue)[:place]) + (self._running is not None)
            listen(Event(kind="queued", job=task.id, position=ahead))
            self._queue.insert(place, job)
            self._wake.notify()

    def follow(self, task_id: str, listen: Listen, finish: Finish) -> Request:
        """Jobs of this process are at hand as they are: anything asked for here is over."""
        raise BadRequest(f"there is no job {task_id} (any more)", mend="session.status().jobs lists those there are.")

    def models(self) -> None:
        """None: models are those on this machine's disk."""

    def cancel(self, task_id: str) -> bool:
        """Stop a task: a queued one at once, the running one before its next step."""
        with self._wake:
            if self._running is not None and self._running.task.id == task_id:
                self._running.stop.set()
                return True
            waiting = next((job for job in self._queue if isinstance(job, _Job) and job.task.id == task_id), None)
            if waiting is None:
                return False
            self._queue.remove(waiting)
        _finish_cancelled(waiting)
        return True

    def status(self) -> Status:
        """How the engine is, at once."""
        with self._wake:
            running, waiting = self._running, [job for job in self._queue if isinstance(job, _Job)]
        jobs = [] if running is None else [_job_status(running, None)]
        jobs += [_job_status(job, position + len(jobs)) for position, job in enumerate(waiting)]
        return Status(
            engine="inline",
            state=self._state,
            model_loads=self._loads,
            workers=(self.worker_status(),),
            jobs=tuple(jobs),
            gpus=tuple(list_gpus()[0]),
        )

    def worker_status(self) -> WorkerStatus:
        """How this process is as a worker."""
        pipeline, placement, running = self._pipeline, self._placement, self._running
        weights = pipeline.weight_bytes if pipeline is not None else 0
        return WorkerStatus(
            name="inline",
            host=platform.node(),
            pid=os.getpid(),
            state=self._state,
            device=placement.device if placement else self._wanted[0],
            dtype=placement.dtype if placement else self._wanted[1],
            model=pipeline.spec.name if pipeline else None,
            placement="resident" if pipeline else None,
            model_loads=self._loads,
            load_seconds=pipeline.load_seconds if pipeline else None,
            running=running.task.id if running else None,
            resident_bytes=(allocated(placement.device) if placement else 0) or weights,
            peak_bytes=self._peak,
            models=tuple(sorted(models_here())),
        )

    def unload(self) -> None:
        """Give the model's memory back, after the jobs that came before."""
        errand = _Errand(self._drop)
        with self._wake:
            self._refuse_when_closed()
            self._queue.append(errand)
            self._wake.notify()
        while not errand.done.wait(0.5):  # in short waits, so that an interrupt is heard on every system
            if not self._thread.is_alive():
                raise SessionDied("the session was closed before it unloaded")

    def restart(self) -> None:
        """Cancel everything, unload, and count model loads from zero."""
        self.cancel_all()
        self.unload()
        self._loads = 0

    def close(self) -> None:
        """Cancel everything, unload and end the thread. Closing twice is the same as once."""
        with self._wake:
            if self._state == "closed" and not self._thread.is_alive():
                return
            self._state = "closed"
            self._wake.notify()
        self.cancel_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE_SECONDS)
        atexit.unregister(self.close)

    def _refuse_when_closed(self) -> None:
        if self._state == "closed":
            raise SessionDied("this session is closed", mend="zk.connect() opens a new one.")

    def cancel_all(self) -> None:
        """Stop every job: those that wait at once, the running one before its next step."""
        with self._wake:
            if self._running is not None:
                self._running.stop.set()
            waiting = [job for job in self._queue if isinstance(job, _Job)]
            for job in waiting:
                self._queue.remove(job)
        for job in waiting:
            _finish_cancelled(job)

    def _work(self) -> None:
        """The thread: one entry of the queue after the other until closed."""
        while True:
            with self._wake:
                self._running = None
                if self._state != "closed":
                    self._state = "idle"
                self._wake.wait_for(lambda: self._queue or self._state == "closed")
                if self._state == "closed" and not self._queue:
                    self._drop()
                    return
                entry = self._queue.popleft()
                if isinstance(entry, _Job):
                    self._running = entry
                    self._set_state("running")
                    for position, job in enumerate((job for job in self._queue if isinstance(job, _Job)), 1):
                        job.listen(Event(kind="queued", job=job.task.id, position=position))
            if isinstance(entry, _Job):
                self._run(entry)
            else:
                entry.do()
                entry.done.set()

    def _run(self, job: _Job) -> None:
        """Run one job and tell its outcome. No traceback is kept: its frames would hold tensors."""
        begin = time.perf_counter()
        outcome: Artifact | ZImageError
        try:
            outcome = self._execute(job, begin)
        except ZImageError as error:
            outcome = error.with_traceback(None)
            outcome.__context__ = None
        except BaseException as error:  # a job must never take the thread with it
            outcome = self._as_ours(error, job)
        seconds = time.perf_counter() - begin
        if isinstance(outcome, JobFailed):
            release(self._placement.device if self._placement else "cpu")
        if isinstance(outcome, Artifact):
            self._peak = max(self._peak, *outcome.trace.peak_bytes.values())
        with self._wake:
            self._running = None
        if job.task.keep:
            outcome = keep(job.task, outcome)
        job.finish(outcome, last_event(job.task.id, outcome, seconds))

    def _execute(self, job: _Job, begin: float) -> Artifact:
        def check() -> None:
            if job.stop.is_set():
                raise JobCancelled(f"job {job.task.id} was cancelled")

        spec = job.task.checked.spec if job.task.checked else resolve(job.task.request.model or "nano")
        room = Room(
            place=lambda: self._place(job, room),
            device=lambda: self._placement.device if self._placement else "cpu",
            pipeline=lambda: self._resident(spec, job, room),
            cache=self._cache,
            emit=job.listen,
            check=check,
            elapsed=lambda: time.perf_counter() - begin,
        )
        check()
        return execute(job.task, room)

    def _place(self, job: _Job, room: Room) -> Placement:
        """Where models go. The first question imports torch and diffusers, which takes seconds, and says so."""
        if self._placement is None:
            job.listen(Event(kind="loading", job=job.task.id, message="importing torch and diffusers"))
            with room.parts.part("import", room.device):
                from ..pipeline import machine
                from ..placement import choose
            self._placement = choose(machine(), *self._wanted)
        return self._placement

    def _resident(self, spec: ModelSpec, job: _Job, room: Room) -> ResidentPipeline:
        """The pipeline of this model as its files are now; another one makes room for it first."""
        directory = require(spec.name)
        there = self._pipeline
        if there is not None and there.spec == spec and there.fingerprint == fingerprint(directory):
            return there
        placement = self._place(job, room)
        from ..pipeline import ResidentPipeline

        if there is not None:
            why = f"for {spec.name}" if there.spec != spec else "because its files have changed"
            room.notes.append(f"{there.spec.name} was unloaded {why}")
            self._drop()
        job.listen(Event(kind="loading", job=job.task.id, message=f"loading {spec.name}"))
        self._set_state("loading")

        def progress(component: str, done: int, total: int) -> None:
            message = f"loading {spec.name}: {component.replace('_', ' ')}" if component else f"loading {spec.name}"
            job.listen(Event(kind="loading", job=job.task.id, message=message, bytes_done=done, bytes_total=total))

        with room.parts.part("load", room.device):
            self._pipeline = ResidentPipeline(spec, directory, placement, progress)
        self._loads += 1
        self._set_state("running")
        seconds = self._pipeline.load_seconds
        message = f"loaded {spec.name} on {placement.device} in {placement.dtype}"
        job.listen(Event(kind="loading", job=job.task.id, message=message, seconds=seconds))
        return self._pipeline

    def _set_state(self, state: Literal["loading", "running"]) -> None:
        if self._state != "closed":
            self._state = state

    def _drop(self) -> None:
        """Unload the model and forget the pictures; in the engine's thread only."""
        self._cache.clear()
        if self._pipeline is not None:
            self._pipeline.unload()
            self._pipeline, self._peak = None, 0

    def _as_ours(self, error: BaseException, job: _Job) -> ZImageError:
        device = self._placement.device if self._placement else "cpu"
        r = job.task.request
        memory = out_of_memory(error, device, f"{r.width}x{r.height} with {r.model}")
        if memory is not None:
            return memory
        text = "".join(traceback.format_exception(error))
        return JobFailed(
            f"the job broke with {type(error).__name__}: {error}",
            mend="error.facts['traceback'] says where.",
            traceback=text,
        )


def keep(task: Task, outcome: Artifact | ZImageError) -> Artifact | ZImageError:
    """Save the picture of a job that is to be kept. What comes back is the outcome, or why it could not be saved."""
    if isinstance(outcome, ZImageError):
        return outcome
    try:
        outcome.save(folder=task.folder)
    except ZImageError as error:
        return error.with_traceback(None)
    return outcome


def last_event(task_id: str, outcome: Artifact | ZImageError, seconds: float | None = None) -> Event:
    """What a job says last."""
    if isinstance(outcome, Artifact):
        saved = "" if outcome.path is None else f"saved {outcome.path}"
        return Event(kind="done", job=task_id, message=saved, seconds=seconds)
    kind: Literal["cancelled", "failed"] = "cancelled" if isinstance(outcome, JobCancelled) else "failed"
    return Event(kind=kind, job=task_id, message=str(outcome), seconds=seconds)


def _is_batch(entry: _Job | _Errand) -> bool:
    return isinstance(entry, _Job) and entry.task.priority == "batch"


def _job_status(job: _Job, position: int | None) -> JobStatus:
    task, (step, steps) = job.task, job.step
    return JobStatus(
        id=task.id,
        state="queued" if position is not None else "running",
        prompt=task.request.prompt,
        model=task.request.model or "",
        priority=task.priority,
        keep=task.keep,
        position=position,
        step=step,
        steps=steps,
        seconds=round(time.monotonic() - job.since, 3),
    )


def _finish_cancelled(job: _Job) -> None:
    error = JobCancelled(f"job {job.task.id} was cancelled before it began")
    job.finish(error, last_event(job.task.id, error))
