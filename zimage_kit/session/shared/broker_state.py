"""The state of a shared session: its clients, workers, waiting and running jobs, and which job is next.

Data and decisions only. The broker does the sending and waiting.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from ...engine.worker_status import WorkerStatus
from ...errors import BadRequest
from ..status import JobStatus
from . import transit, wire
from .fair_queue import FairQueue

if TYPE_CHECKING:
    import asyncio

    from distributed.batched import BatchedSend

_REMEMBERED = 200


@dataclass(eq=False)
class Client:
    """An attached process: a notebook, a script or a command."""

    name: str
    label: str
    stream: BatchedSend

    def send(self, **message: Any) -> None:
        """Send it a message, unless it is gone."""
        if not self.stream.closed():
            self.stream.send(message)


@dataclass(eq=False)
class WorkerSlot:
    """A worker: its last report, its job, and the requests that it has not answered yet (by number)."""

    address: str
    reported: wire.Message
    queued: QueuedJob | None = None
    gpus: list[wire.Message] = field(default_factory=list)
    served: int = 0
    awaited: dict[int, asyncio.Future[None]] = field(default_factory=dict)


@dataclass(eq=False)
class QueuedJob:
    """A job from its submission to its outcome. `slot`: the worker that has it, or had it while it is being saved.

    `stopped`: it was asked to stop while a worker had it. `begun`: the worker reported that it began. `retried`: a
    worker died before that, so the job went back into the queue, which happens only once.
    """

    task: wire.Message
    prompt: str
    model: str
    owner: str
    listeners: set[Client]
    since: float = field(default_factory=time.monotonic)
    slot: WorkerSlot | None = None
    stopped: bool = False
    begun: bool = False
    retried: bool = False
    position: int | None = None
    last: wire.Message = field(default_factory=dict)
    refused: dict[str, wire.Message] = field(default_factory=dict)  # address of a worker -> why

    @property
    def id(self) -> str:
        """The id of its task."""
        return str(self.task["id"])


class BrokerState:
    """Clients, worker slots by address, jobs by id. The last finished jobs are remembered."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self.slots: dict[str, WorkerSlot] = {}
        self.jobs: dict[str, QueuedJob] = {}
        self.past_loads = 0
        self._finished: OrderedDict[str, wire.Message] = OrderedDict()
        self._queue = FairQueue()
        self._assigned = count(1)

    def add(self, queued: QueuedJob) -> None:
        """Queue a new job."""
        transit.shared(queued.task["assets"], (other.task["assets"] for other in self.jobs.values()))
        self._queue.add(queued.id, queued.owner, queued.task["priority"])
        self.jobs[queued.id] = queued

    def hasten(self, queued: QueuedJob, owner: str) -> bool:
        """Put a waiting job before its owner's others. False: a worker has it, or it is another's."""
        if queued.owner != owner or not self._queue.hasten(queued.id):
            return False
        queued.task["priority"] = "interactive"
        return True

    def close(self, queued: QueuedJob, outcome: wire.Message, event: wire.Message) -> None:
        """Remove a job that is over, and remember how it ended."""
        self._queue.remove(queued.id)
        if queued.slot is not None and queued.slot.queued is queued:
            queued.slot.queued = None
        del self.jobs[queued.id]
        self._finished[queued.id] = {"request": queued.task["request"], "event": event, "path": outcome.get("path")}
        while len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)

    def finished(self, job: str) -> wire.Message:
        """How a job ended. Raises BadRequest if it never existed or ended too long ago."""
        if job not in self._finished:
            raise BadRequest(f"there is no job {job} (any more)", mend="session.status().jobs lists the current ones.")
        return self._finished[job]

    def remove_client(self, client: Client) -> list[QueuedJob]:
        """Remove a client that is gone. Returns its jobs that are not to be kept: they are to be stopped."""
        self.clients.discard(client)
        self._queue.forget(client.name)
        for queued in self.jobs.values():
            queued.listeners.discard(client)
        return [queued for queued in self.jobs.values() if queued.owner == client.name and not queued.task["keep"]]

    def remove_worker(self, address: str) -> tuple[WorkerSlot, list[QueuedJob]] | None:
        """Remove a worker that is gone. Returns it and the jobs lost with it; None: it was not one of ours.

        A job that it was given but did not begin is not lost: it goes back into the queue, once.
        """
        slot = self.slots.pop(address, None)
        if slot is None:
            return None
        self.past_loads += slot.reported["model_loads"]
        lost = [queued for queued in self.jobs.values() if queued.slot is slot]
        for queued in [queued for queued in lost if not (queued.begun or queued.retried or queued.stopped)]:
            lost.remove(queued)
            queued.retried = True
            self._requeue(queued)
        return slot, lost

    def assign(self) -> Iterator[tuple[QueuedJob, WorkerSlot]]:
        """Give the next jobs to free workers, preferring one that has the job's model, then one without a model."""
        for job in self._queue.order():
            free = [slot for slot in self.slots.values() if slot.queued is None]
            if not free:
                return
            queued = self.jobs[job]
            able = [slot for slot in free if slot.address not in queued.refused]
            if not able:
                continue

            def preference(slot: WorkerSlot, model: str = queued.model) -> tuple[bool, bool, int]:
                return slot.reported["model"] != model, slot.reported["model"] is not None, slot.served

            slot = min(able, key=preference)
            self._queue.take(job)
            slot.queued, queued.slot, slot.served = queued, slot, next(self._assigned)
            queued.since, queued.position = time.monotonic(), None
            yield queued, slot

    def return_job(self, queued: QueuedJob, slot: WorkerSlot, error: wire.Message) -> bool:
        """Requeue a job whose worker lacks what it needs. False: all other workers lack it too."""
        slot.queued = None
        queued.refused[slot.address] = error
        if all(address in queued.refused for address in self.slots):
            return False
        self._requeue(queued)
        return True

    def _requeue(self, queued: QueuedJob) -> None:
        queued.slot = None
        self._queue.put_back(queued.id, queued.owner, queued.task["priority"])

    def changed_positions(self) -> dict[Client, dict[str, int]]:
        """The queue positions that have changed since the last call, for each client that follows those jobs."""
        busy = [slot for slot in self.slots.values() if slot.queued is not None]
        ahead = len(busy) if len(busy) == len(self.slots) else 0  # with a free worker the first one is about to begin
        news: dict[Client, dict[str, int]] = {}
        for position, job in enumerate(self._queue.order(), ahead):
            queued = self.jobs[job]
            if queued.position != position:
                queued.position = position
                queued.last = {"kind": "queued", "job": job, "position": position}
                for client in queued.listeners:
                    news.setdefault(client, {})[job] = position
        return news

    def models(self) -> list[str]:
        """Names of the models on the workers' disks."""
        return sorted({name for slot in self.slots.values() for name in slot.reported["models"]})

    def machines(self) -> list[str]:
        """The machines on which workers are, see `wire.machine`."""
        return sorted({slot.reported["machine"] for slot in self.slots.values()})

    def what_is_where(self) -> wire.Message:
        """What clients are told of the workers: their models and machines."""
        return {"models": self.models(), "machines": self.machines()}

    def model_loads(self) -> int:
        """Model loads since the session started, including those of workers that are gone."""
        return self.past_loads + sum(int(slot.reported["model_loads"]) for slot in self.slots.values())

    def job_statuses(self) -> Iterator[JobStatus]:
        """The running jobs, then the waiting ones in the order of the queue."""
        labels = {client.name: client.label for client in self.clients}
        running = [queued for queued in self.jobs.values() if queued.slot is not None]
        for queued in (*running, *(self.jobs[job] for job in self._queue.order())):
            step = queued.last if queued.last.get("kind") == "step" else {}
            yield JobStatus(
                id=queued.id,
                state="queued" if queued.slot is None else "running",
                prompt=queued.prompt,
                model=queued.model,
                owner=labels.get(queued.owner, "a program that has ended"),
                priority=queued.task["priority"],
                keep=queued.task["keep"],
                position=queued.position,
                step=step.get("step"),
                steps=step.get("steps"),
                seconds=round(time.monotonic() - queued.since, 3),
            )


def worker_status(slot: WorkerSlot, answered: bool, last_seen: float) -> WorkerStatus:
    """A worker's last report, corrected by what the broker knows. `answered`: whether it answered just now."""
    state = slot.reported["state"]
    if not answered:
        state = "not answering"
    elif slot.queued is None:
        state = "loading" if state == "loading" else "idle"  # a worker that gets ready, or one whose job has ended
    elif state == "idle":
        state = "running"
    running = None if slot.queued is None else slot.queued.id
    return WorkerStatus(**{**slot.reported, "state": state, "running": running, "last_seen": last_seen})
