"""The ledger of a shared session: who is attached, which workers there are, which jobs wait or run, and who is next.

Data and decisions only: nothing is sent and nothing is waited for here, that is the desk's part.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest
from ..status import JobStatus, WorkerStatus
from . import wire
from .turns import Turns

if TYPE_CHECKING:
    import asyncio

    from distributed.batched import BatchedSend

_REMEMBERED = 200


@dataclass(eq=False)
class Guest:
    """A process that is attached: a notebook, a script, a command."""

    name: str
    label: str
    stream: BatchedSend

    def send(self, **message: Any) -> None:
        """Tell it, unless it is gone."""
        if not self.stream.closed():
            self.stream.send(message)


@dataclass(eq=False)
class Seat:
    """A worker, what it said last, the job that it has, and the questions that it has not answered yet."""

    address: str
    told: wire.Message
    entry: Entry | None = None
    gpus: list[wire.Message] = field(default_factory=list)
    served: int = 0
    awaited: dict[int, asyncio.Future[None]] = field(default_factory=dict)


@dataclass(eq=False)
class Entry:
    """A job, from its coming to its outcome. `seat` is the worker that has it, or had it until it was saved.

    `stopped`: it was asked to stop while a worker had it. `begun`: the worker said that it began; `again`: a worker
    died before that, so the job went back into the queue, which happens only once.
    """

    task: wire.Message
    prompt: str
    model: str
    owner: str
    hearers: set[Guest]
    since: float = field(default_factory=time.monotonic)
    seat: Seat | None = None
    stopped: bool = False
    begun: bool = False
    again: bool = False
    position: int | None = None
    last: wire.Message = field(default_factory=dict)
    refused: dict[str, wire.Message] = field(default_factory=dict)  # address of a worker -> why

    @property
    def id(self) -> str:
        """Of its task."""
        return str(self.task["id"])


class Ledger:
    """Guests, seats by address, entries by id; what is over is remembered for a while."""

    def __init__(self) -> None:
        self.guests: set[Guest] = set()
        self.seats: dict[str, Seat] = {}
        self.entries: dict[str, Entry] = {}
        self.gone_loads = 0
        self._over: OrderedDict[str, wire.Message] = OrderedDict()
        self._turns = Turns()
        self._dealt = count(1)

    def add(self, entry: Entry) -> None:
        """A job has come."""
        self._turns.add(entry.id, entry.owner, entry.task["priority"])
        self.entries[entry.id] = entry

    def close(self, entry: Entry, outcome: wire.Message, event: wire.Message) -> None:
        """A job is over."""
        self._turns.remove(entry.id)
        if entry.seat is not None and entry.seat.entry is entry:
            entry.seat.entry = None
        del self.entries[entry.id]
        self._over[entry.id] = {"request": entry.task["request"], "event": event, "path": outcome.get("path")}
        while len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)

    def over(self, job: str) -> wire.Message:
        """How a job ended. Raises BadRequest for one that was never there, or too long ago."""
        if job not in self._over:
            raise BadRequest(f"there is no job {job} (any more)", mend="session.status().jobs lists those there are.")
        return self._over[job]

    def leave(self, guest: Guest) -> list[Entry]:
        """A process is gone. Returns its jobs that have lost their reason with it."""
        self.guests.discard(guest)
        self._turns.forget(guest.name)
        for entry in self.entries.values():
            entry.hearers.discard(guest)
        return [entry for entry in self.entries.values() if entry.owner == guest.name and not entry.task["keep"]]

    def stand_up(self, address: str) -> tuple[Seat, list[Entry]] | None:
        """A worker is gone. Returns it and the jobs that are lost with it; None: it was none of ours.

        A job that it was given, but did not begin, is not lost: it had been given to a dead worker.
        """
        seat = self.seats.pop(address, None)
        if seat is None:
            return None
        self.gone_loads += seat.told["model_loads"]
        lost = [entry for entry in self.entries.values() if entry.seat is seat]
        for entry in [entry for entry in lost if not (entry.begun or entry.again or entry.stopped)]:
            lost.remove(entry)
            entry.again = True
            self._queue_again(entry)
        return seat, lost

    def deal(self) -> Iterator[tuple[Entry, Seat]]:
        """Give free workers the jobs whose turn it is: one that has the model first, then one that has none."""
        for job in self._turns.order():
            free = [seat for seat in self.seats.values() if seat.entry is None]
            if not free:
                return
            entry = self.entries[job]
            able = [seat for seat in free if seat.address not in entry.refused]
            if not able:
                continue

            def fit(seat: Seat, model: str = entry.model) -> tuple[bool, bool, int]:
                return seat.told["model"] != model, seat.told["model"] is not None, seat.served

            seat = min(able, key=fit)
            self._turns.take(job)
            seat.entry, entry.seat, seat.served = entry, seat, next(self._dealt)
            entry.since, entry.position = time.monotonic(), None
            yield entry, seat

    def take_back(self, entry: Entry, seat: Seat, error: wire.Message) -> bool:
        """A worker lacks what a job needs. False: so do all the others."""
        seat.entry = None
        entry.refused[seat.address] = error
        if all(address in entry.refused for address in self.seats):
            return False
        self._queue_again(entry)
        return True

    def _queue_again(self, entry: Entry) -> None:
        entry.seat = None
        self._turns.put_back(entry.id, entry.owner, entry.task["priority"])

    def moved(self) -> dict[Guest, dict[str, int]]:
        """The positions that have changed since the last call, for each process that hears of those jobs."""
        busy = [seat for seat in self.seats.values() if seat.entry is not None]
        ahead = len(busy) if len(busy) == len(self.seats) else 0  # with a free worker the first one is about to begin
        news: dict[Guest, dict[str, int]] = {}
        for position, job in enumerate(self._turns.order(), ahead):
            entry = self.entries[job]
            if entry.position != position:
                entry.position = position
                entry.last = {"kind": "queued", "job": job, "position": position}
                for guest in entry.hearers:
                    news.setdefault(guest, {})[job] = position
        return news

    def models(self) -> list[str]:
        """Names of the models that lie on the workers' disks."""
        return sorted({name for seat in self.seats.values() for name in seat.told["models"]})

    def model_loads(self) -> int:
        """Since the session began, with those of workers that are gone."""
        return self.gone_loads + sum(int(seat.told["model_loads"]) for seat in self.seats.values())

    def job_statuses(self) -> Iterator[JobStatus]:
        """Those that run, and then those that wait in the order of their turns."""
        labels = {guest.name: guest.label for guest in self.guests}
        running = [entry for entry in self.entries.values() if entry.seat is not None]
        for entry in (*running, *(self.entries[job] for job in self._turns.order())):
            step = entry.last if entry.last.get("kind") == "step" else {}
            yield JobStatus(
                id=entry.id,
                state="queued" if entry.seat is None else "running",
                prompt=entry.prompt,
                model=entry.model,
                owner=labels.get(entry.owner, "nobody any more"),
                priority=entry.task["priority"],
                keep=entry.task["keep"],
                position=entry.position,
                step=step.get("step"),
                steps=step.get("steps"),
                seconds=round(time.monotonic() - entry.since, 3),
            )


def worker_status(seat: Seat, answered: bool, last_seen: float) -> WorkerStatus:
    """What a worker said last, with what is known better here. `answered`: whether it did when it was asked now."""
    state = seat.told["state"]
    if not answered:
        state = "not answering"
    elif seat.entry is None:
        state = "idle"
    elif state == "idle":
        state = "running"
    running = None if seat.entry is None else seat.entry.id
    return WorkerStatus(**{**seat.told, "state": state, "running": running, "last_seen": last_seen})
