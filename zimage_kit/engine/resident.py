"""The model that a process holds: where it goes, the pipeline that is loaded, the pictures between stages.

torch and diffusers are imported with the first job that needs them. One thread runs jobs here, any may ask.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from ..errors import JobCancelled, JobFailed, ZImageError
from ..models.directories import fingerprint
from ..models.spec import ModelSpec, models_here, require, resolve
from ..recipe.artifact import Artifact
from .events import Event, Listen
from .execute import PictureCache, Runtime, execute
from .memory import allocated, out_of_memory, release
from .task import Task
from .worker_status import WorkerStatus

if TYPE_CHECKING:
    from .pipeline import ResidentPipeline
    from .placement import Placement


class Resident:
    """At most one model at a time. `device` and `dtype` None: chosen by `placement.choose`.

    `loads` counts how often a model was loaded; `loading` is True while one is.
    """

    def __init__(self, device: str | None = None, dtype: str | None = None) -> None:
        self._wanted = (device, dtype)
        self._placement: Placement | None = None
        self.pipeline: ResidentPipeline | None = None
        self._cache = PictureCache()
        self._held: dict[str, tuple[str, Any]] = {}
        self._peak = 0
        self.loads, self.loading = 0, False

    def run(self, task: Task, emit: Listen, stopped: Callable[[], bool]) -> tuple[Artifact | ZImageError, float]:
        """Run one task; its outcome and the seconds it took. Raises nothing, whatever the task does.

        `stopped` is asked before each step. No traceback is kept: its frames would hold tensors.
        """
        begin = time.perf_counter()
        outcome: Artifact | ZImageError
        try:
            outcome = self._execute(task, emit, stopped, begin)
        except ZImageError as error:
            outcome = error.with_traceback(None)
            outcome.__context__ = None
        except BaseException as error:  # a job must never take the thread with it
            outcome = self._as_ours(error, task)
        seconds = time.perf_counter() - begin
        if isinstance(outcome, JobFailed):
            release(self._device())
        if isinstance(outcome, Artifact):
            self._peak = max(self._peak, *outcome.trace.peak_bytes.values())
        return outcome, seconds

    def drop(self) -> None:
        """Unload the model and forget the pictures; in the thread that runs jobs only."""
        self._cache.clear()
        self._drop_model()

    def _drop_model(self) -> None:
        if self._held:
            self._held.clear()
            release(self._device())
        if self.pipeline is not None:
            self.pipeline.unload()
            self.pipeline, self._peak = None, 0

    def status(self, state: Literal["idle", "loading", "running", "closed"], running: str | None) -> WorkerStatus:
        """How this process is; what it does is known to its engine."""
        pipeline, placement = self.pipeline, self._placement
        weights = pipeline.weight_bytes if pipeline is not None else 0
        return WorkerStatus(
            name="inline",
            host=platform.node(),
            pid=os.getpid(),
            state=state,
            device=placement.device if placement else self._wanted[0],
            dtype=placement.dtype if placement else self._wanted[1],
            model=pipeline.spec.name if pipeline else None,
            placement="resident" if pipeline else None,
            model_loads=self.loads,
            load_seconds=pipeline.load_seconds if pipeline else None,
            running=running,
            resident_bytes=(allocated(placement.device) if placement else 0) or weights,
            peak_bytes=self._peak,
            models=tuple(sorted(models_here())),
        )

    def _device(self) -> str:
        return self._placement.device if self._placement else "cpu"

    def _execute(self, task: Task, emit: Listen, stopped: Callable[[], bool], begin: float) -> Artifact:
        def check() -> None:
            if stopped():
                raise JobCancelled(f"job {task.id} was cancelled")

        spec = task.checked.spec if task.checked else resolve(task.request.model or "nano")
        runtime = Runtime(
            place=lambda: self._place(task, runtime),
            device=self._device,
            pipeline=lambda model=None: self._loaded(resolve(model) if model else spec, task, runtime),
            cache=self._cache,
            held=self._held,
            emit=emit,
            check=check,
            elapsed=lambda: time.perf_counter() - begin,
        )
        check()
        return execute(task, runtime)

    def _place(self, task: Task, runtime: Runtime) -> Placement:
        """Where models go. The first question imports torch and diffusers, which takes seconds, and says so."""
        if self._placement is None:
            runtime.emit(Event(kind="loading", job=task.id, message="importing torch and diffusers"))
            with runtime.parts.part("import", runtime.device):
                from .pipeline import machine
                from .placement import choose
            self._placement = choose(machine(), *self._wanted)
        return self._placement

    def _loaded(self, spec: ModelSpec, task: Task, runtime: Runtime) -> ResidentPipeline:
        """The pipeline of this model as its files are now; another one makes room for it first."""
        directory = require(spec.name)
        there = self.pipeline
        if there is not None and there.spec == spec and there.fingerprint == fingerprint(directory):
            return there
        placement = self._place(task, runtime)
        from .pipeline import ResidentPipeline

        if there is not None:
            why = f"for {spec.name}" if there.spec != spec else "because its files have changed"
            runtime.notes.append(f"{there.spec.name} was unloaded {why}")
            self._drop_model()
        runtime.emit(Event(kind="loading", job=task.id, message=f"loading {spec.name}"))

        def progress(component: str, done: int, total: int) -> None:
            message = f"loading {spec.name}: {component.replace('_', ' ')}" if component else f"loading {spec.name}"
            runtime.emit(Event(kind="loading", job=task.id, message=message, bytes_done=done, bytes_total=total))

        self.loading = True
        try:
            with runtime.parts.part("load", runtime.device):
                self.pipeline = ResidentPipeline(spec, directory, placement, progress)
        finally:
            self.loading = False
        self.loads += 1
        message = f"loaded {spec.name} on {placement.device} in {placement.dtype}"
        runtime.emit(Event(kind="loading", job=task.id, message=message, seconds=self.pipeline.load_seconds))
        return self.pipeline

    def _as_ours(self, error: BaseException, task: Task) -> ZImageError:
        r = task.request
        memory = out_of_memory(error, self._device(), f"{r.width}x{r.height} with {r.model}")
        if memory is not None:
            return memory
        text = "".join(traceback.format_exception(error))
        return JobFailed(
            f"the job broke with {type(error).__name__}: {error}",
            mend="error.facts['traceback'] says where.",
            traceback=text,
        )
