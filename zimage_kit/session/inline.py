"""The inline engine: runs jobs in one background thread of this process, so that no two overlap on the device.

The queue lives here; the model and its execution in `engine.resident`.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from ..engine.events import Event, Listen
from ..engine.gpus import list_gpus
from ..engine.resident import IMPORTING, ResidentModel
from ..engine.settings import Settings
from ..engine.task import Task
from ..engine.worker_status import WorkerStatus
from ..errors import BadRequest, JobCancelled, SessionDied, ZImageError, need_engine
from ..models.spec import default_model
from ..recipe.artifact import Artifact
from ..recipe.request import Request
from .engine import Finish, Status
from .outcome import keep, last_event
from .status import JobStatus

_CLOSE_SECONDS = 30.0
_REOPEN = "zk.connect() opens a new one."
_RESTART = "Restart this program or kernel: after such a CUDA error a process cannot use the GPU any more."
_log = logging.getLogger("zimage_kit")


@dataclass
class _Job:
    task: Task
    on_event: Listen
    on_finish: Finish
    stop: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)
    step: tuple[int | None, int | None] = (None, None)

    def listen(self, event: Event) -> None:
        """Pass an event on, and remember the latest step."""
        self.step = (event.step, event.steps) if event.kind == "step" else (None, None)  # loading is no step
        try:
            self.on_event(event)
        except Exception:  # a listener's failure must not cost the picture
            _log.exception("A listener of job %s failed", self.task.id)

    def finish(self, outcome: Artifact | ZImageError, last: Event) -> None:
        """Report the outcome, once."""
        try:
            self.on_finish(outcome, last)
        except Exception:
            _log.exception("The outcome of job %s could not be reported", self.task.id)


@dataclass
class _Command:
    """An entry of the queue that is not a job, such as unloading."""

    action: Callable[[], None]
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def run(self) -> None:
        """Run the action; keep its exception for the caller that waits."""
        try:
            self.action()
        except BaseException as error:
            self.error = error
        self.done.set()


class InlineEngine:
    """Runs jobs in the order of submission, interactive ones before batch.

    A kept job is saved before it is reported as done; unlike in a shared session it ends with this process. Every
    accepted job has exactly one outcome. After a CUDA error that persists the process cannot use its device: all jobs
    fail, the engine closes, and `on_fault` is called with the reason. Raises EngineMissing in a light client.
    """

    def __init__(self, settings: Settings | None = None, on_fault: Callable[[str], None] | None = None) -> None:
        need_engine("drawing in this process")
        self._resident = ResidentModel(settings)
        self._on_fault, self._reason = on_fault, ""
        self._queue: deque[_Job | _Command] = deque()
        self._wake = threading.Condition()
        self._running: _Job | None = None
        self._closed = self._importing = False
        self._thread = threading.Thread(target=self._work, name="zimage-inline", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def submit(self, task: Task, listen: Listen, finish: Finish) -> None:
        """Queue a task. Raises SessionDied when the engine is closed."""
        job = _Job(task, listen, finish)
        with self._wake:
            self._check_open()
            place = len(self._queue)
            if task.priority == "interactive":  # before the batch jobs, but not past a command
                while place and _is_batch(self._queue[place - 1]):
                    place -= 1
            ahead = sum(isinstance(other, _Job) for other in tuple(self._queue)[:place]) + (self._running is not None)
            listen(Event(kind="queued", job=task.id, position=ahead))
            if self._importing:
                listen(Event(kind="loading", job=task.id, message=IMPORTING))
            self._queue.insert(place, job)
            self._wake.notify()

    def follow(self, task_id: str, listen: Listen, finish: Finish) -> Request:
        """Raise BadRequest: the session keeps this process's jobs itself, so one it asks for here is gone."""
        raise BadRequest(f"there is no job {task_id} (any more)", mend="session.status().jobs lists the current ones.")

    @property
    def closed(self) -> bool:
        """True once `close` was called or the device failed."""
        return self._closed

    def models(self) -> None:
        """None: this engine uses the models on this machine's disk."""

    def cancel(self, task_id: str, wait: bool = True) -> bool:
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

    def hasten(self, task_id: str) -> bool:
        """Put a waiting task before all others that wait, as an interactive one, but not past a command."""
        with self._wake:
            waiting = next((job for job in self._queue if isinstance(job, _Job) and job.task.id == task_id), None)
            if waiting is None:
                return False
            place = self._queue.index(waiting)
            first = place
            while first and isinstance(self._queue[first - 1], _Job):
                first -= 1
            self._queue.remove(waiting)
            waiting.task = replace(waiting.task, priority="interactive")
            self._queue.insert(first, waiting)
        return True

    def status(self) -> Status:
        """The engine's status, at once."""
        with self._wake:
            running, waiting = self._running, [job for job in self._queue if isinstance(job, _Job)]
        jobs = [] if running is None else [_job_status(running, None)]
        jobs += [_job_status(job, position + len(jobs)) for position, job in enumerate(waiting)]
        return Status(
            engine="inline",
            state=self._state,
            model_loads=self._resident.loads,
            workers=(self.worker_status(),),
            jobs=tuple(jobs),
            gpus=tuple(list_gpus()[0]),
        )

    def worker_status(self) -> WorkerStatus:
        """The status of this process as a worker."""
        running = self._running
        return self._resident.status(self._state, running.task.id if running else None)

    def get_ready(self, then: Callable[[], object] = lambda: None) -> None:
        """Let what takes seconds at a first job begin now: importing torch, and loading the default model.

        Returns at once; `then` is called at its end. Jobs that come meanwhile are told how far it is. What comes first
        in the queue and needs no such model stops the loading. If it fails, the first job meets the same error.
        """

        def action() -> None:
            self._importing = True
            try:
                self._resident.get_ready()
            finally:
                self._importing = False
            name = default_model()

            def unwanted() -> bool:
                first = next(iter(tuple(self._queue)), None)
                return self._closed or not (first is None or _draws_with(first, name))

            def tell(event: Event) -> None:
                for entry in tuple(self._queue):
                    if isinstance(entry, _Job):
                        entry.listen(replace(event, job=entry.task.id))

            try:
                if not unwanted():
                    self._resident.load(name, tell, unwanted)
            finally:
                then()

        self._order(action)

    def _order(self, action: Callable[[], None]) -> _Command:
        """Queue what is not a job."""
        command = _Command(action)
        with self._wake:
            self._check_open()
            self._queue.append(command)
            self._wake.notify()
        return command

    def unload(self) -> None:
        """Free the model's memory, after the jobs that are queued already."""
        command = self._order(self._resident.drop)
        while not command.done.wait(0.5):  # in short waits, so that an interrupt is noticed on every system
            if not self._thread.is_alive():
                raise SessionDied("the session was closed before it unloaded")
        if command.error is not None:
            reason = f"{type(command.error).__name__}: {command.error}"
            raise SessionDied(f"the model could not be unloaded ({reason})", mend="Restart this program.")

    def restart(self) -> None:
        """Cancel everything, unload, and count model loads from zero."""
        self.cancel_all()
        self.unload()
        self._resident.loads = 0

    def close(self) -> None:
        """Cancel everything, unload and end the thread. Closing again does nothing."""
        with self._wake:
            if self._closed and not self._thread.is_alive():
                return
            self._closed = True
            self._wake.notify()
        self.cancel_all()
        if threading.current_thread() is not self._thread and not self._importing:
            self._thread.join(_CLOSE_SECONDS)
        atexit.unregister(self.close)

    @property
    def _state(self) -> Literal["idle", "loading", "running", "closed"]:
        if self._closed:
            return "closed"
        if self._resident.loading:
            return "loading"
        return "idle" if self._running is None else "running"

    def _check_open(self) -> None:
        if self._closed:
            raise SessionDied(self._reason or "this session is closed", mend=_RESTART if self._reason else _REOPEN)

    def cancel_all(self) -> None:
        """Stop every job: waiting ones at once, the running one before its next step."""
        with self._wake:
            if self._running is not None:
                self._running.stop.set()
            waiting = [job for job in self._queue if isinstance(job, _Job)]
            for job in waiting:
                self._queue.remove(job)
        for job in waiting:
            _finish_cancelled(job)

    def _work(self) -> None:
        """The thread: run the queue's entries until closed. However it ends, every job gets an outcome."""
        try:
            while (entry := self._next()) is not None:
                if isinstance(entry, _Command):
                    entry.run()
                else:
                    self._run(entry)
                if self._resident.fault:
                    self._give_up(self._failed)
                    return
            self._resident.drop()
        except BaseException as error:  # a bug in zimage_kit
            _log.exception("The engine's thread ended")
            self._give_up(f"the engine's thread ended with {type(error).__name__}: {error}")

    def _next(self) -> _Job | _Command | None:
        """Wait for the next entry; None once closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return None
            entry = self._queue.popleft()
            if isinstance(entry, _Job):
                self._running = entry
                for position, job in enumerate((job for job in self._queue if isinstance(job, _Job)), 1):
                    job.listen(Event(kind="queued", job=job.task.id, position=position))
            return entry

    def _run(self, job: _Job) -> None:
        outcome, seconds = self._resident.run(job.task, job.listen, job.stop.is_set)
        if job.task.keep:
            outcome = keep(job.task, outcome)
        with self._wake:
            self._running = None
            if self._resident.fault:  # closed before anybody hears of the outcome and sends the next job
                self._closed, self._reason = True, self._failed
        job.finish(outcome, last_event(job.task.id, outcome, seconds))

    @property
    def _failed(self) -> str:
        return f"the device of this session failed ({self._resident.fault})"

    def _give_up(self, reason: str) -> None:
        """Close the engine; every running or waiting job fails."""
        with self._wake:
            self._closed, self._reason = True, reason
            entries = [*([self._running] if self._running else []), *self._queue]
            self._running = None
            self._queue.clear()
        for entry in entries:
            if isinstance(entry, _Command):
                entry.error = SessionDied(reason)
                entry.done.set()
            else:
                error = SessionDied(f"job {entry.task.id} was not done: {reason}", mend=_RESTART)
                entry.finish(error, last_event(entry.task.id, error))
        if self._on_fault is not None:
            self._on_fault(reason)


def _draws_with(entry: _Job | _Command, model: str) -> bool:
    checked = entry.task.checked if isinstance(entry, _Job) else None
    return checked is not None and checked.spec.name == model


def _is_batch(entry: _Job | _Command) -> bool:
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
