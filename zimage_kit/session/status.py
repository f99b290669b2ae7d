"""Status of a session: its workers with their models, its running and waiting jobs, the GPUs and who uses them.

Plain values that go through JSON: each worker reports its part to the broker, which sends the whole to its clients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from ..engine.gpus import Gpu
from ..engine.task import Priority
from ..engine.worker_status import WorkerStatus
from ..text.line_breaks import shortened
from ..text.tables import facts, table
from ..text.units import gigabytes

SHOWN_JOBS = 20
"""Rows in a notebook's table of jobs; there may be hundreds of jobs."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


class JobStatus(_Facts):
    """A running or waiting job. `owner`: the notebook or program that submitted it.

    `seconds` since it began, or was submitted; `position`: how many jobs are ahead (0: next), None while it runs.
    """

    id: str
    state: Literal["queued", "running"]
    prompt: str
    model: str
    owner: str = ""
    priority: Priority = "interactive"
    keep: bool = False
    position: int | None = None
    step: int | None = None
    steps: int | None = None
    seconds: float = 0.0


class Status(_Facts):
    """The status of a session. `model_loads` counts since it started, and includes workers that have ended.

    `state` "not answering": it did not answer within two seconds; "no worker": its worker is starting, or cannot start
    (the log says why).
    """

    engine: Literal["inline", "shared"]
    state: Literal["idle", "loading", "running", "no worker", "not answering", "closed"]
    model_loads: int = 0
    workers: tuple[WorkerStatus, ...] = ()
    jobs: tuple[JobStatus, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    clients: int = 1
    started: float | None = None
    address: str = ""
    idle_unload: float | None = None

    @property
    def _first(self) -> WorkerStatus | None:
        """The first worker with a model, else the first worker; the properties below describe it."""
        return next((worker for worker in self.workers if worker.model), self.workers[0] if self.workers else None)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def model(self) -> str | None:
        """The loaded model, of the first worker that has one."""
        return self._first.model if self._first else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def device(self) -> str | None:
        """Its device; None until torch has been asked."""
        return self._first.device if self._first else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def dtype(self) -> str | None:
        """The type it computes in."""
        return self._first.dtype if self._first else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def load_seconds(self) -> float | None:
        """How long it took to load, in seconds."""
        return self._first.load_seconds if self._first else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def running(self) -> str | None:
        """The id of the running job; of several, the first."""
        return next((job.id for job in self.jobs if job.state == "running"), None)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def queued(self) -> int:
        """How many jobs are waiting."""
        return sum(job.state == "queued" for job in self.jobs)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def memory_bytes(self) -> int:
        """Bytes that all loaded models take."""
        return sum(worker.resident_bytes for worker in self.workers)

    def lines(self) -> Iterator[str]:
        """The status as text, a line for each worker, job and GPU."""
        where = f" at {self.address}" if self.address else ""
        loads = f"{self.model_loads} model load{'s' * (self.model_loads != 1)}"
        yield f"{self.engine} session{where}: {self.state}, {self.queued} queued, {loads}, {self.clients} attached"
        for worker in self.workers:
            yield f"  worker {worker.name} (pid {worker.pid}): {_of_worker(worker)}"
        for job in self.jobs:
            yield f"  job {job.id}: {_of_job(job)}"
        ours = {(worker.host, worker.pid) for worker in self.workers}
        for gpu in self.gpus:
            heat = "" if gpu.temperature is None else f", {gpu.temperature} °C"
            power = "" if gpu.power is None else f", {gpu.power:.0f} W"
            yield f"  {gpu.name} ({gpu.host}): {gigabytes(gpu.used)} of {gigabytes(gpu.total)} used{heat}{power}"
            for holder in gpu.holders:
                whose = ", this session" if (gpu.host, holder.pid) in ours else ""
                yield f"    {gigabytes(holder.bytes)} held by pid {holder.pid} ({holder.command}{whose})"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """In a notebook: tables of the session, its workers, jobs and GPUs."""
        session = facts(
            (("session", f"{self.engine}, {self.state}"), ("at", self.address), ("model loads", str(self.model_loads)),
             ("waiting", str(self.queued)), ("attached", str(self.clients)))
        )  # fmt: skip
        parts = [session]
        if self.workers:
            rows = [(worker.name, worker.pid, _of_worker(worker)) for worker in self.workers]
            parts.append(table(("worker", "pid", "state"), rows))
        if self.jobs:
            shown = [(job.id, _of_job(job)) for job in self.jobs[:SHOWN_JOBS]]
            more = len(self.jobs) - len(shown)
            parts.append(table(("job", "state"), [*shown, *([("", f"and {more} more")] if more else [])]))
        if self.gpus:
            heads = ("card", "memory", "°C", "W", "held by")
            parts.append(table(heads, [self._of_gpu(gpu) for gpu in self.gpus]))
        return "".join(parts)

    def _of_gpu(self, gpu: Gpu) -> tuple[object, ...]:
        ours = {(worker.host, worker.pid) for worker in self.workers}
        held = "\n".join(
            f"{gigabytes(holder.bytes)}: "
            + ("this session" if (gpu.host, holder.pid) in ours else f"{holder.command} (pid {holder.pid})")
            for holder in gpu.holders
        )
        memory = f"{gigabytes(gpu.used)} of {gigabytes(gpu.total)}"
        return f"{gpu.name} ({gpu.host})", memory, gpu.temperature, gpu.power, held

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        """A notebook shows the same lines."""
        printer.text(str(self))  # type: ignore[attr-defined]


def _of_worker(worker: WorkerStatus) -> str:
    holds = "no model"
    if worker.model:
        took = "" if worker.load_seconds is None else f", loaded in {worker.load_seconds:.1f} s"
        peak = f" (peak {gigabytes(worker.peak_bytes)})" if worker.peak_bytes else ""
        how = f", {worker.plan['speed']}" if "speed" in worker.plan else ""
        holds = f"{worker.model} on {worker.device} in {worker.dtype}, {worker.placement}{how}{took}, "
        holds += f"{gigabytes(worker.resident_bytes)}{peak}"
    seen = f", last seen {worker.last_seen:.0f} s ago" if worker.last_seen > 10 else ""
    return f"{worker.state}, {holds}{seen}"


def _of_job(job: JobStatus) -> str:
    if job.state == "running":
        where = f"step {job.step} of {job.steps}" if job.step else "running"
    else:
        where = f"queued, {job.position} ahead"
    prompt = shortened(job.prompt, 48)
    kept = ", kept" if job.keep else ""
    batch = ", batch" if job.priority == "batch" else ""
    return f"{where}, {prompt!r} for {job.owner or 'this process'}{batch}{kept}"
