"""Runner: makes a grid's missing cells in the order that changes models and LoRAs least.

A few threads submit jobs of low priority, so that other work in the session goes first, and store each picture as soon
as it is done. The only state is files: after a crash the next run continues where this one ended.
"""

from __future__ import annotations

import atexit
import threading
import time
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from ..engine.events import Event
from ..engine.preflight import Checked, stage_notes
from ..errors import JobCancelled, JobFailed, SessionDied, ZImageError
from ..recipe.artifact import Artifact
from ..stages.extensions import stage_class
from .cell import Cell
from .cell_store import (
    CellStore,
    Fingerprints,
    cell_key,
    key_of,
    lora_fingerprints,
    model_fingerprint,
    models_read_once,
)
from .estimate import CostModel

if TYPE_CHECKING:
    from ..session.job import Job

MOST_THREADS = 33
_PATIENCE_SECONDS, _SHUT_DOWN_SECONDS = 1.0, 10.0


class JobSource(Protocol):
    """What a runner needs of a session."""

    def start(self, checked: Checked) -> Job:
        """A job of low priority for a checked request."""

    def extend(self, base: Artifact, checked: Checked) -> Job:
        """The same from a picture that has the request's first stages already."""

    def worker_count(self) -> int:
        """Number of the session's workers."""

    def closed(self) -> bool:
        """Whether the session itself has ended."""


@dataclass
class PictureTask:
    """A picture to be made, and the cells that show it.

    `model`: the fingerprint of the model's files, empty if unknown. `base`: key and request of the picture that its
    last stages work on, where other tasks may share that one. `retried`: a worker died under it once.
    """

    key: str
    checked: Checked
    model: str = ""
    cells: list[Cell] = field(default_factory=list)
    base: tuple[str, Checked] | None = None
    retried: bool = False

    @property
    def weights(self) -> tuple[object, ...]:
        """What has to be loaded for it: the model, then its LoRAs."""
        request = self.checked.request
        return request.model, tuple(sorted(str(lora.path) for lora in request.loras))


def ordered_tasks(cells: Iterable[Cell], store: CellStore, remote: Fingerprints) -> list[PictureTask]:
    """The pictures to be made for these cells, each once, ordered so that what is expensive to change changes least.

    By model, then LoRAs, then size, then base picture; within these in the grid's order.
    """
    tasks: dict[str, PictureTask] = {}
    with models_read_once():
        for cell in cells:
            if cell.checked is not None:
                tasks.setdefault(
                    cell.key, PictureTask(cell.key, cell.checked, model_fingerprint(cell.checked, remote))
                ).cells.append(cell)
        bases = {key: base for key, task in tasks.items() if (base := _base_of(task.checked, remote)) is not None}
    shared: dict[str, int] = {}
    for base_key, _ in bases.values():
        shared[base_key] = shared.get(base_key, 0) + 1
    for key, (base_key, checked) in bases.items():
        if shared[base_key] > 1 or base_key in tasks or store.has(base_key):
            tasks[key].base = base_key, checked
    groups: dict[object, int] = {}

    def rank(task: PictureTask) -> tuple[int, ...]:
        request = task.checked.request
        drawn = bases[task.key][0] if task.key in bases else task.key
        parts = (*task.weights, (request.width, request.height), drawn)
        return tuple(groups.setdefault((depth, part), len(groups)) for depth, part in enumerate(parts))

    return sorted(tasks.values(), key=rank)


def _base_of(checked: Checked, remote: Fingerprints) -> tuple[str, Checked] | None:
    """Key and request of the picture before the last stages that only have an `after`; None if there are none."""
    stages = checked.request.stages
    kept = len(stages)
    while kept and (cls := stage_class(stages[kept - 1].kind)) is not None and not cls.conditions():
        kept -= 1
    if kept == len(stages):
        return None
    request = checked.request.but(stages=stages[:kept])
    own = stage_notes(request) if checked.warnings else []  # of the stages that it has, not of those to come
    notes = tuple(note for note in checked.notes if note in own or note not in checked.warnings)
    base = replace(checked, request=request, notes=notes, warnings=tuple(own))
    return cell_key(base, remote), base


class Runner:
    """One run over some tasks. `notify` is called for each change of a cell, in the thread that follows its job.

    `problem` is what ended the run early, such as a full disk. `drawn` counts the denoising runs.
    """

    def __init__(
        self,
        session: JobSource,
        tasks: Sequence[PictureTask],
        store: CellStore,
        cost_model: CostModel,
        notify: Callable[[Cell, Event | None], None],
        ended: Callable[[], None],
    ) -> None:
        self._session, self._store, self._cost_model = session, store, cost_model
        self._notify, self._ended = notify, ended
        self._lock = threading.Condition()  # held from taking a task until its job is submitted: keeps the order
        self._waiting = deque(tasks)
        self._position = {task.key: position for position, task in enumerate(tasks)}
        self._unsubmitted: Counter[tuple[object, ...]] = Counter()  # taken, the last job not submitted
        self._bases: dict[str, Future[str]] = {}  # key -> the key under which it is stored
        self._base_keys = {task.base[0] for task in tasks if task.base is not None}
        self._tasks = {task.key: task for task in tasks}
        self._jobs: dict[str, Job] = {}
        self._stopped = self._began = False
        self.problem: BaseException | None = None
        self.drawn = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin. One job more than twice the workers is in flight, so that no worker waits for this process."""
        atexit.register(self._shut_down)  # a thread still at work while the interpreter exits would crash the process
        count = min(2 * max(1, self._session.worker_count()) + 1, MOST_THREADS, len(self._waiting))
        self._threads = [
            threading.Thread(target=self._run_thread, name=f"zimage-grid-{number}", daemon=True)
            for number in range(count)
        ]
        self._left = count
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Submit nothing more, and cancel running jobs before their next step."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            self._lock.notify_all()
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()

    def _shut_down(self) -> None:
        """At exit: stop, and wait for the threads, which must end before the interpreter."""
        self.stop()
        deadline = time.monotonic() + _SHUT_DOWN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run_thread(self) -> None:
        try:
            while self._make_next():
                pass
        finally:
            with self._lock:
                self._left -= 1
                last = self._left == 0
            if last:
                atexit.unregister(self._shut_down)
                self._cost_model.save()
                self._ended()

    def _make_next(self) -> bool:
        """Take the next task and make its picture; False when there is none."""
        with ExitStack() as turn:  # closed once the job is submitted, or there is none to submit yet
            turn.enter_context(self._lock)
            task = self._take()
            if task is None:
                return False
            self._make(task, turn)
        return True

    def _take(self) -> PictureTask | None:
        """The next task. One with other weights waits until every job of the tasks before it is submitted."""
        while self._waiting and self._unsubmitted.keys() - {self._waiting[0].weights}:
            self._lock.wait()
        return self._waiting.popleft() if self._waiting else None

    def _make(self, task: PictureTask, turn: ExitStack) -> None:
        try:
            with turn:
                if task.key in self._base_keys:
                    self._shared_base(task, task.key, task.checked, turn)
                elif not self._store.has(task.key):  # another notebook may have made it meanwhile
                    self._store_picture(task, self._produce(task, turn))
            self._set_state(task, "done")
        except JobCancelled:  # by `stop`, or by another client
            self._set_state(task, "waiting")
        except SessionDied as error:
            if self._session_ended():
                self._set_state(task, "waiting")
                self._give_up(error)
            elif task.retried:
                self._set_state(task, "failed", error)
            else:  # a worker died under it; another job may be to blame
                task.retried = True
                self._set_state(task, "waiting")
                self._put_back(task)
        except _CannotStore as error:
            self._set_state(task, "waiting")
            self._give_up(error.reason)
        except ZImageError as error:
            self._set_state(task, "failed", error)
        except Exception as error:  # a bug must not look like a finished grid
            self._set_state(task, "waiting")
            self._give_up(error)

    def _put_back(self, task: PictureTask) -> None:
        """Queue a task again at its place in the order, and forget bases that failed."""
        with self._lock:
            self._bases = {key: base for key, base in self._bases.items() if not base.done() or not base.exception()}
            if not self._stopped:
                insort(self._waiting, task, key=lambda each: self._position[each.key])
                self._lock.notify_all()

    def _produce(self, task: PictureTask, turn: ExitStack) -> Artifact:
        if task.base is None:
            return self._picture(self._submit(lambda: self._session.start(task.checked), turn), task.cells)
        with self._submits_later(task):
            key = self._shared_base(task, *task.base, turn)
            turn.close()
            base = self._store.read(key)  # read by each task: kept in memory they would add up
            if base is None:
                raise JobFailed("the base picture is missing or unreadable", mend="grid.retry() makes it again.")
            job = self._submit(lambda: self._session.extend(base, task.checked), turn)
        return self._picture(job, task.cells, draws=False)

    @contextmanager
    def _submits_later(self, task: PictureTask) -> Iterator[None]:
        """Meanwhile no job is submitted that needs other weights than this task."""
        self._unsubmitted[task.weights] += 1
        try:
            yield
        finally:
            with self._lock:
                self._unsubmitted[task.weights] -= 1
                self._unsubmitted += Counter()  # without those that are zero
                self._lock.notify_all()

    def _shared_base(self, task: PictureTask, key: str, checked: Checked, turn: ExitStack) -> str:
        """Key of a picture that several tasks are based on, once it is stored.

        The first task that asks makes it, the others wait for it. It may be a cell of the grid itself.
        """
        first = key not in self._bases  # the lock is held, so no other thread asks meanwhile
        promise = self._bases.setdefault(key, Future())
        if first:
            try:
                stored_key = key
                if not self._store.readable(key):
                    own = self._tasks.get(key) or PictureTask(key, checked, task.model)
                    job = self._submit(lambda: self._session.start(checked), turn)
                    stored_key = self._store_picture(own, self._picture(job, task.cells))
                promise.set_result(stored_key)
            except BaseException as error:
                promise.set_exception(error)
                raise
        turn.close()
        return promise.result()

    def _submit(self, submit: Callable[[], Job], turn: ExitStack) -> Job:
        """Submit one job and end this thread's turn."""
        with self._lock:
            if self._stopped:
                raise JobCancelled("the grid was stopped")
            if self._began and self._session.closed():  # submitting would start a new session
                raise SessionDied("the session ended before the grid was done", mend="grid.retry() continues it.")
            job = submit()
            self._began = True
            self._jobs[job.id] = job
        turn.close()
        return job

    def _picture(self, job: Job, cells: Sequence[Cell], draws: bool = True) -> Artifact:
        """Follow a submitted job to its picture. `draws`: the job denoises unless the picture is cached."""
        try:
            for event in job.events():
                if event.kind in ("loading", "step", "stage"):
                    for cell in cells:
                        cell.state = "running"
                        self._notify(cell, event)
            artifact = job.result()
        finally:
            with self._lock:
                del self._jobs[job.id]
        drawn = sum(part.endswith(": denoise") for part in artifact.trace.milliseconds)  # by stages
        with self._lock:
            self.drawn += drawn + (draws and not artifact.trace.cached)
        return artifact

    def _store_picture(self, task: PictureTask, artifact: Artifact) -> str:
        """Store a picture; returns its key, which differs if the worker has other model files than expected."""
        key, drew = task.key, artifact.trace.fingerprint
        if task.model and drew and drew not in task.model.split("+"):  # it is not the picture of this key
            key = key_of(task.checked.request, drew, lora_fingerprints(task.checked))
            for cell in task.cells:
                cell.key = key
        try:
            self._cost_model.record(artifact.request, artifact.trace, self._store.write(key, artifact))
        except ZImageError as error:
            raise _CannotStore(error) from error
        for cell in task.cells:
            cell.computed = True
        return key

    def _set_state(self, task: PictureTask, state: str, error: ZImageError | None = None) -> None:
        for cell in task.cells:
            cell.state, cell.error = state, error  # type: ignore[assignment]
            self._notify(cell, None)

    def _session_ended(self) -> bool:
        """Whether the session ended, not only a worker died. The lost job is reported first, so wait a moment."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._session.closed() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._session.closed()

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self.problem = self.problem or error
        self.stop()


class _CannotStore(Exception):
    """A picture was made and cannot be stored."""

    def __init__(self, reason: ZImageError) -> None:
        super().__init__(str(reason))
        self.reason = reason
