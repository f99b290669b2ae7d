"""Runner: makes the cells of a grid that are not there, in the order that spares the model most.

A few threads submit jobs of low priority, so that whoever works beside the grid goes first, and keep each picture as
soon as it is there. Nothing is remembered but files: whatever ends this process, the next run goes on behind it.
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
from .cell_store import CellStore, Fingerprints, cell_key, key_of, lora_fingerprints, model_fingerprint
from .estimate import Pace

if TYPE_CHECKING:
    from ..session.job import Job

MOST_THREADS = 33
_PATIENCE_SECONDS, _LEAVE_SECONDS = 1.0, 10.0


class Makes(Protocol):
    """What a runner needs of a session."""

    def start(self, checked: Checked) -> Job:
        """A job of low priority for a checked request."""

    def extend(self, base: Artifact, checked: Checked) -> Job:
        """The same from a picture that has the request's first stages already."""

    def workers(self) -> int:
        """How many of them work for the session."""

    def gone(self) -> bool:
        """Whether the session itself has ended."""


@dataclass
class Work:
    """A picture to be made, and the cells that wait for it.

    `model`: the fingerprint of its files, as far as it is known. `base`: what it is the finishing of; others may share
    that.
    """

    key: str
    checked: Checked
    model: str = ""
    cells: list[Cell] = field(default_factory=list)
    base: tuple[str, Checked] | None = None
    again: bool = False

    @property
    def weights(self) -> tuple[object, ...]:
        """What has to be loaded for it: the model, then its LoRAs."""
        request = self.checked.request
        return request.model, tuple(sorted(str(lora.path) for lora in request.loras))


def in_order(cells: Iterable[Cell], store: CellStore, elsewhere: Fingerprints) -> list[Work]:
    """What has to be made for these cells: each picture once, what is expensive to change changed least.

    Model first, then LoRAs, then size, then what the picture is drawn from; within, the order of the grid.
    """
    works: dict[str, Work] = {}
    for cell in cells:
        if cell.checked is not None:
            works.setdefault(
                cell.key, Work(cell.key, cell.checked, model_fingerprint(cell.checked, elsewhere))
            ).cells.append(cell)
    bases = {key: base for key, work in works.items() if (base := _base_of(work.checked, elsewhere)) is not None}
    shared: dict[str, int] = {}
    for base_key, _ in bases.values():
        shared[base_key] = shared.get(base_key, 0) + 1
    for key, (base_key, checked) in bases.items():
        if shared[base_key] > 1 or base_key in works or store.has(base_key):
            works[key].base = base_key, checked
    groups: dict[object, int] = {}

    def rank(work: Work) -> tuple[int, ...]:
        request = work.checked.request
        drawn = bases[work.key][0] if work.key in bases else work.key
        parts = (*work.weights, (request.width, request.height), drawn)
        return tuple(groups.setdefault((depth, part), len(groups)) for depth, part in enumerate(parts))

    return sorted(works.values(), key=rank)


def _base_of(checked: Checked, elsewhere: Fingerprints) -> tuple[str, Checked] | None:
    """Key and request of the picture before its last stages, those that work on a finished one; None without any."""
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
    return cell_key(base, elsewhere), base


class Runner:
    """One run over some works. `tell` hears of each change of a cell, in the thread that made it.

    `problem` is what ended the run before its time, such as a full disk. `drawn` counts how often the model drew.
    """

    def __init__(
        self,
        session: Makes,
        works: Sequence[Work],
        store: CellStore,
        pace: Pace,
        tell: Callable[[Cell, Event | None], None],
        ended: Callable[[], None],
    ) -> None:
        self._session, self._store, self._pace, self._tell, self._ended = session, store, pace, tell, ended
        self._lock = threading.Condition()  # held from taking a work until its job is submitted, so jobs are in order
        self._waiting = deque(works)
        self._position = {work.key: position for position, work in enumerate(works)}
        self._unsubmitted: Counter[tuple[object, ...]] = Counter()  # works taken whose last job is still to come
        self._bases: dict[str, Future[str]] = {}  # key -> the key under which it lies in the store
        self._shared = {work.base[0] for work in works if work.base is not None}
        self._own = {work.key: work for work in works}
        self._jobs: dict[str, Job] = {}
        self._stopped = self._began = False
        self.problem: BaseException | None = None
        self.drawn = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin. Twice as many jobs as workers are under way, so that none waits for us, and one more."""
        atexit.register(self._leave)  # a thread that works while the interpreter ends takes the process down with it
        count = min(2 * max(1, self._session.workers()) + 1, MOST_THREADS, len(self._waiting))
        self._threads = [
            threading.Thread(target=self._work, name=f"zimage-grid-{number}", daemon=True) for number in range(count)
        ]
        self._left = count
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Make nothing more; what runs ends before its next step."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            self._lock.notify_all()
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()

    def _leave(self) -> None:
        """The process ends: what was made stays, and the threads end before it does."""
        self.stop()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        try:
            while self._make_next():
                pass
        finally:
            with self._lock:
                self._left -= 1
                last = self._left == 0
            if last:
                atexit.unregister(self._leave)
                self._pace.save()
                self._ended()

    def _make_next(self) -> bool:
        """Take the next work and make its picture; False when there is none."""
        with ExitStack() as turn:  # closed once the job is submitted, or there is none to submit yet
            turn.enter_context(self._lock)
            work = self._take()
            if work is None:
                return False
            self._make(work, turn)
        return True

    def _take(self) -> Work | None:
        """The next work. Another model or other LoRAs wait until every job of those before them is submitted."""
        while self._waiting and self._unsubmitted.keys() - {self._waiting[0].weights}:
            self._lock.wait()
        return self._waiting.popleft() if self._waiting else None

    def _make(self, work: Work, turn: ExitStack) -> None:
        try:
            with turn:
                if work.key in self._shared:
                    self._base(work, work.key, work.checked, turn)
                elif not self._store.has(work.key):  # another notebook may have made it meanwhile
                    self._keep(work, self._made(work, turn))
            self._settle(work, "done")
        except JobCancelled:  # by us, or by somebody who wants this one not to be made now
            self._settle(work, "waiting")
        except SessionDied as error:
            if self._gone_soon():
                self._settle(work, "waiting")
                self._give_up(error)
            elif work.again:
                self._settle(work, "failed", error)
            else:  # a worker died under it; it may have been somebody else's fault
                work.again = True
                self._settle(work, "waiting")
                self._put_back(work)
        except _CannotKeep as error:
            self._settle(work, "waiting")
            self._give_up(error.reason)
        except ZImageError as error:
            self._settle(work, "failed", error)
        except Exception as error:  # a mistake of ours must not look like a grid that is done
            self._settle(work, "waiting")
            self._give_up(error)

    def _put_back(self, work: Work) -> None:
        """Where it was in the order, whichever of several comes back first; with it go the bases that failed."""
        with self._lock:
            self._bases = {key: base for key, base in self._bases.items() if not base.done() or not base.exception()}
            if not self._stopped:
                insort(self._waiting, work, key=lambda each: self._position[each.key])
                self._lock.notify_all()

    def _made(self, work: Work, turn: ExitStack) -> Artifact:
        if work.base is None:
            return self._picture(self._submit(lambda: self._session.start(work.checked), turn), work.cells)
        with self._submits_later(work):
            key = self._base(work, *work.base, turn)
            turn.close()
            base = self._store.read(key)  # read by each: a long run would hold them all
            if base is None:
                raise JobFailed("the picture beneath is gone, or cannot be read", mend="grid.retry() makes it again.")
            job = self._submit(lambda: self._session.extend(base, work.checked), turn)
        return self._picture(job, work.cells, draws=False)

    @contextmanager
    def _submits_later(self, work: Work) -> Iterator[None]:
        """Meanwhile no job is submitted that needs other weights than this work."""
        self._unsubmitted[work.weights] += 1
        try:
            yield
        finally:
            with self._lock:
                self._unsubmitted[work.weights] -= 1
                self._unsubmitted += Counter()  # without those that are zero
                self._lock.notify_all()

    def _base(self, work: Work, key: str, checked: Checked, turn: ExitStack) -> str:
        """Key of a picture that several works are finishings of, once it lies in the store.

        It is there, is made by the first that asks, or is waited for. It may be a cell of its own as well.
        """
        first = key not in self._bases  # in turn, so nobody else asks meanwhile
        promise = self._bases.setdefault(key, Future())
        if first:
            try:
                lies = key
                if not self._store.readable(key):
                    own = self._own.get(key) or Work(key, checked, work.model)
                    job = self._submit(lambda: self._session.start(checked), turn)
                    lies = self._keep(own, self._picture(job, work.cells))
                promise.set_result(lies)
            except BaseException as error:
                promise.set_exception(error)
                raise
        turn.close()
        return promise.result()

    def _submit(self, submit: Callable[[], Job], turn: ExitStack) -> Job:
        """One job, and the end of this thread's turn."""
        with self._lock:
            if self._stopped:
                raise JobCancelled("the grid was stopped")
            if self._began and self._session.gone():  # the next job would start one that nobody has asked for
                raise SessionDied("the session ended before the grid was done", mend="grid.retry() goes on with it.")
            job = submit()
            self._began = True
            self._jobs[job.id] = job
        turn.close()
        return job

    def _picture(self, job: Job, cells: Sequence[Cell], draws: bool = True) -> Artifact:
        """The picture of a submitted job. `draws`: it denoises, unless its picture is still at hand."""
        try:
            for event in job.events():
                if event.kind in ("loading", "step", "stage"):
                    for cell in cells:
                        cell.state = "running"
                        self._tell(cell, event)
            artifact = job.result()
        finally:
            with self._lock:
                del self._jobs[job.id]
        drawn = sum(part.endswith(": denoise") for part in artifact.trace.milliseconds)  # by stages
        with self._lock:
            self.drawn += drawn + (draws and not artifact.trace.cached)
        return artifact

    def _keep(self, work: Work, artifact: Artifact) -> str:
        """Write a picture down; returns its key, which is another one where a worker has other files."""
        key, drew = work.key, artifact.trace.fingerprint
        if work.model and drew and drew not in work.model.split("+"):  # it is not the picture of this key
            key = key_of(work.checked.request, drew, lora_fingerprints(work.checked))
            for cell in work.cells:
                cell.key = key
        try:
            self._pace.learn(artifact.request, artifact.trace, self._store.write(key, artifact))
        except ZImageError as error:
            raise _CannotKeep(error) from error
        for cell in work.cells:
            cell.computed = True
        return key

    def _settle(self, work: Work, state: str, error: ZImageError | None = None) -> None:
        for cell in work.cells:
            cell.state, cell.error = state, error  # type: ignore[assignment]
            self._tell(cell, None)

    def _gone_soon(self) -> bool:
        """Whether the session has ended, or only a worker has died: of both one hears of the lost job first."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._session.gone() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._session.gone()

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self.problem = self.problem or error
        self.stop()


class _CannotKeep(Exception):
    """A picture was made and cannot be written down."""

    def __init__(self, reason: ZImageError) -> None:
        super().__init__(str(reason))
        self.reason = reason
