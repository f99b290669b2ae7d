"""The model that a process holds: its plan, its loaded pipeline, and the cache of pictures between stages.

torch is imported with the first job that needs it. One thread runs jobs; any may ask for the status.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import JobCancelled, JobFailed, OutOfMemory, ZImageError, printable
from ..models.directories import ComponentSize, component_sizes, content_fingerprint, fingerprint
from ..models.spec import ModelSpec, models_here, require, resolve
from ..recipe.artifact import Artifact
from ..recipe.request import Request
from .events import Event, Listen
from .execute import PictureCache, Runtime, execute
from .memory import allocated, device_fault, held_by_others, out_of_memory, release
from .needs import Extras
from .plan import SPARE_BYTES, Plan, plan
from .preflight import check
from .residency import Residency
from .settings import Settings
from .task import Task
from .worker_status import WorkerStatus

if TYPE_CHECKING:
    from .needs import Machine
    from .pipeline import ResidentPipeline


IMPORTING = "importing torch"


class ResidentModel:
    """Holds at most one model at a time, and what belongs to it.

    `loads` counts how often a model was loaded; `loading` is True while one is being loaded; `fault` says why this
    process cannot use its device any more (a persistent CUDA error), or is empty.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.residency = Residency()
        self._machine: Callable[[str], Machine] | None = None
        self._plan: Plan | None = None  # of the last task that needed one
        self._content = ""  # of the loaded model's files
        self._cache = PictureCache()
        self._peak = 0
        self.loads, self.loading, self.fault = 0, False, ""

    @property
    def pipeline(self) -> ResidentPipeline | None:
        """The loaded pipeline, or None."""
        return next((each.value for each in self.residency.entries if each.kind == "model"), None)

    def run(self, task: Task, emit: Listen, stopped: Callable[[], bool]) -> tuple[Artifact | ZImageError, float]:
        """Run one task; return its outcome and the seconds it took. Never raises.

        `stopped` is asked before each step. No traceback is kept: its frames would keep tensors alive.
        """
        begin = time.perf_counter()
        outcome: Artifact | ZImageError
        try:
            outcome = self._execute(task, emit, stopped, begin)
            self._peak = max(self._peak, *outcome.trace.peak_bytes.values())
        except ZImageError as error:
            outcome = error.with_traceback(None)
            outcome.__context__ = None
        except BaseException as error:  # a job must never end the thread
            outcome = self._job_error(error, task)
        if isinstance(outcome, JobFailed):
            self._recover()
        return outcome, time.perf_counter() - begin

    def _recover(self) -> None:
        """Free what a failed job left behind. If the device fails at that too, note the fault."""
        try:
            release(self._device())
        except Exception as error:
            self.fault = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        self.fault = self.fault or device_fault(self._device())

    def get_ready(self) -> None:
        """Import what the first picture needs. Call it only from the thread that runs jobs."""
        self._machine = _machine()
        from . import pipeline  # noqa: F401  # for what it imports

    def load(self, name: str, emit: Listen, stopped: Callable[[], bool]) -> None:
        """Load a model that nobody has asked for yet; `emit` gets the events, of no job.

        `stopped` is asked while it is read: True ends it with JobCancelled. Raises what loading raises, and leaves
        nothing behind then. Call it only from the thread that runs jobs.
        """

        def watched(event: Event) -> None:
            if stopped():
                raise JobCancelled(f"loading {name} was stopped")
            emit(event)

        checked = check(Request(prompt="a picture", model=name))
        task = Task("", checked.request, checked)
        try:
            self._runtime(task, watched, stopped, time.perf_counter()).pipeline()
        except BaseException:
            self.residency.clear()
            release(self._device())
            raise

    def drop(self) -> None:
        """Unload everything and clear the cache. Call it only from the thread that runs jobs."""
        self._cache.clear()
        self._peak = 0
        try:
            self.residency.clear()
        finally:
            release(self._device())

    def status(self, state: Literal["idle", "loading", "running", "closed"], running: str | None) -> WorkerStatus:
        """The status of this process; the engine supplies `state` and the `running` job. Call it from any thread."""
        held, placed = self.residency.entries, self._plan
        model = next((each.value for each in held if each.kind == "model"), None)
        given = self.settings.given()
        return WorkerStatus(
            name="inline",
            host=platform.node(),
            pid=os.getpid(),
            state=state,
            device=placed.device if placed else given.get("device"),
            dtype=placed.dtype if placed else given.get("dtype"),
            model=model.spec.name if model else None,
            placement=placed.placement if placed and model else None,
            plan=placed.facts if placed and model else {},
            model_loads=self.loads,
            load_seconds=model.load_seconds if model else None,
            running=running,
            resident_bytes=(allocated(placed.device) if placed else 0) or sum(each.bytes for each in held),
            peak_bytes=self._peak,
            held={each.name: each.bytes for each in held},
            settings=given,
            models=tuple(sorted(models_here())),
        )

    def _device(self) -> str:
        return self._plan.device if self._plan else "cpu"

    def _execute(self, task: Task, emit: Listen, stopped: Callable[[], bool], begin: float) -> Artifact:
        runtime = self._runtime(task, emit, stopped, begin)
        runtime.check_cancelled()
        with task.as_its_client():
            return execute(task, runtime)

    def _runtime(self, task: Task, emit: Listen, stopped: Callable[[], bool], begin: float) -> Runtime:
        def check_cancelled() -> None:
            if stopped():
                raise JobCancelled(f"job {task.id} was cancelled")

        def own_model() -> ModelSpec:
            return task.checked.spec if task.checked else resolve(task.request.model or "nano")

        runtime = Runtime(
            plan=lambda: self._plan_for(task, runtime),
            planned=lambda: self._plan,
            device=self._device,
            pipeline=lambda model=None: self._loaded(resolve(model) if model else own_model(), task, runtime),
            cache=self._cache,
            hold=self._hold,
            make_room=self._make_room,
            emit=emit,
            check_cancelled=check_cancelled,
            elapsed=lambda: time.perf_counter() - begin,
            settings=self.settings.given(),
        )
        return runtime

    def _plan_for(self, task: Task, runtime: Runtime, spec: ModelSpec | None = None) -> Plan:
        """Choose where models go. The first call imports torch, which takes seconds, and says so."""
        if self._machine is None:
            runtime.emit(Event(kind="loading", job=task.id, message=IMPORTING))
            with runtime.parts.part("import", runtime.device):
                self._machine = _machine()
        checked = task.checked.spec if task.checked else None
        return self._replan(spec or checked, _size(task), Extras(), SPARE_BYTES)

    def _replan(self, spec: ModelSpec | None, size: tuple[int, int], extras: Extras, spare: int) -> Plan:
        assert self._machine is not None
        model = None if spec is None else _sizes(directory := require(spec.name), fingerprint(directory))
        machine, held = self._machine(self.settings.device), self.pipeline.host_bytes if self.pipeline else 0
        if self.pipeline and not self.pipeline.device.startswith("cuda"):  # device and host are one memory
            held += sum(each.bytes for each in self.residency.entries)
        machine = replace(machine, host_bytes=(machine.host_bytes or 0) + held)
        try:
            self._plan = plan(machine, model, size, self.settings, extras, spare)
        except OutOfMemory as error:
            who = held_by_others(str(error.facts["device"]))
            raise OutOfMemory(error.seen, mend=f"{error.mend} {who}".strip(), **error.facts) from None
        return self._plan

    def _make_room(self) -> bool:
        """Take the model off the device for a stage that needs its memory. False: there is nothing to take."""
        pipeline = self.pipeline
        if pipeline is None or not pipeline.park():
            return False
        release(pipeline.device)
        return True

    def _loaded(self, spec: ModelSpec, task: Task, runtime: Runtime) -> ResidentPipeline:
        """The pipeline of this model with its current files. Unloads another one first."""
        directory = require(spec.name)
        there = self.pipeline
        # weights that were rounded to bfloat16 since keep the fingerprint, but only in bfloat16 the pixels too
        same = there is not None and (there.dtype == "bfloat16" or self._content == content_fingerprint(directory))
        if there is not None and there.spec == spec and there.fingerprint == fingerprint(directory) and same:
            self.residency.get("model")
            return there
        placed = self._plan_for(task, runtime, spec)
        from .pipeline import ResidentPipeline

        if there is not None:
            why = f"for {spec.name}" if there.spec != spec else "because its files have changed"
            runtime.notes.append(f"{there.spec.name} was unloaded {why}")
            del there
            self.residency.clear()
            release(placed.device)
        runtime.emit(Event(kind="loading", job=task.id, message=f"loading {spec.name}"))

        def progress(component: str, done: int, total: int) -> None:
            message = f"loading {spec.name}: {component.replace('_', ' ')}" if component else f"loading {spec.name}"
            runtime.emit(Event(kind="loading", job=task.id, message=message, bytes_done=done, bytes_total=total))

        self.loading, self._content = True, content_fingerprint(directory)
        try:
            with runtime.parts.part("load", runtime.device):
                pipeline = ResidentPipeline(
                    spec,
                    directory,
                    placed,
                    self.residency,
                    progress,
                    partial(self._replan, spec),
                    _size(task) if all(_size(task)) else (1024, 1024),
                )
        finally:
            self.loading = False
        self.loads += 1
        message = f"loaded {spec.name} on {placed.device} in {placed.dtype}"
        runtime.emit(Event(kind="loading", job=task.id, message=message, seconds=pipeline.load_seconds))
        return pipeline

    def _hold(self, stage: str, key: str, load: Callable[[], Any]) -> Any:
        """What a stage keeps on the device under this key. Frees what it kept under another key first."""
        name = f"{stage} network"
        held = self.residency.get(name)
        if held is not None and held[0] == key:
            return held[1]
        if self.residency.drop(name):
            release(self._device())
        before = allocated(self._device())
        value = load()
        size = max(0, allocated(self._device()) - before) or int(getattr(value, "bytes", 0))
        self.residency.put(name, "stage", (key, value), size)
        return value

    def _job_error(self, error: BaseException, task: Task) -> ZImageError:
        r = task.request
        memory: OutOfMemory | None
        try:
            memory = out_of_memory(error, self._device(), f"{r.width}x{r.height} with {r.model}")
        except Exception as second:  # the device cannot even report its free memory
            self.fault = " ".join(f"{type(second).__name__}: {second}".split())[:300]
            memory = None
        if memory is not None:
            return memory
        text = "".join(traceback.format_exception(error))
        return JobFailed(
            f"the job failed with {type(error).__name__}: {printable(error)}",
            mend="error.facts['traceback'] says where.",
            traceback=text,
        )


def _machine() -> Callable[[str], Machine]:
    """Import torch, whose threads are told first how long to spin when they wait for each other.

    By default they do for milliseconds, so that where another program keeps one of two cores busy, each part of a
    picture waits for the system's next turn: 28 s for one of nano's instead of 1.6 (0.1 s more where none does;
    docs/measurements.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    from .machine import machine

    return machine


@lru_cache(maxsize=16)
def _sizes(directory: Path, state: str) -> dict[str, ComponentSize]:
    """The size of each network of a model whose files are in this state."""
    return component_sizes(directory)


def _size(task: Task) -> tuple[int, int]:
    """Of the picture in pixels; (0, 0) before the request was checked."""
    return (task.request.width or 0, task.request.height or 0) if task.checked else (0, 0)
