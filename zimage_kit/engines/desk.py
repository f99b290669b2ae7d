"""The desk: the queue of a shared session. It sits in Dask's scheduler, deals jobs to workers and tells their events.

A preload of Dask's (`dask scheduler --preload zimage_kit.engines.desk`). Dask brings the processes, the encrypted
connections and the news of who is gone; whose turn it is and who hears what is decided here. Everything runs in the
scheduler's event loop, and what is sent are plain values (`wire`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import dask.config
from distributed import Scheduler, SchedulerPlugin
from distributed.batched import BatchedSend
from distributed.core import Status as ServerStatus

from zimage_kit import __version__

from ..errors import BadRequest, JobCancelled, SessionDied, ZImageError
from ..status import JobStatus, Status, WorkerStatus
from . import wire
from .outcome import last_event
from .turns import Turns
from .worker import RESOURCE

REPORT_SECONDS = 1.2
"""How long a worker may take to say how it is; then what it said last is told."""
NO_WORKER_SECONDS = 60.0
"""How long jobs wait for any worker at all before they fail."""
_BACKLOG, _REMEMBERED = 64, 200
_LOG = "Why is in the session's log, which `zimage session status` names."
_log = logging.getLogger("distributed.zimage")


@dataclass(eq=False)
class _Guest:
    """A process that is attached: a notebook, a script, a command."""

    name: str
    label: str
    stream: BatchedSend

    def send(self, **message: Any) -> None:
        if not self.stream.closed():
            self.stream.send(message)


@dataclass(eq=False)
class _Seat:
    """A worker, what it said last, and the job that it has."""

    address: str
    told: wire.Message
    entry: _Entry | None = None
    gpus: list[wire.Message] = field(default_factory=list)
    served: int = 0
    awaited: dict[int, asyncio.Future[None]] = field(default_factory=dict)


@dataclass(eq=False)
class _Entry:
    """A job, from its coming to its outcome."""

    task: wire.Message
    prompt: str
    model: str
    owner: str
    hearers: set[_Guest]
    came: float = field(default_factory=time.monotonic)
    seat: _Seat | None = None
    position: int | None = None
    last: wire.Message = field(default_factory=dict)
    refused: dict[str, wire.Message] = field(default_factory=dict)  # address of a worker -> why

    @property
    def id(self) -> str:
        return str(self.task["id"])


def dask_setup(scheduler: Scheduler) -> None:
    """Put the desk into a scheduler; Dask calls this."""
    scheduler.add_plugin(Desk(scheduler), name=Desk.name)


class Desk(SchedulerPlugin):
    """One for each session. `zimage.idle-unload` of Dask's configuration: seconds without a job, then unload."""

    name = "zimage"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._guests: set[_Guest] = set()
        self._seats: dict[str, _Seat] = {}
        self._entries: dict[str, _Entry] = {}
        self._over: OrderedDict[str, wire.Message] = OrderedDict()
        self._turns = Turns()
        self._numbers = count(1)
        self._dealt = count(1)
        self._gone_loads = 0
        self._started = time.time()
        self._idle_unload: float | None = dask.config.get("zimage.idle-unload", None)
        self._settling = False
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        scheduler.handlers["zimage_attach"] = self.attach
        scheduler.stream_handlers.update(
            {
                "zimage-submit": self._safely(self._submit),
                "zimage-ask": self._ask,
                "zimage-event": self._safely(self._event),
                "zimage-free": self._safely(self._free),
                "zimage-outcome": self._safely(self._outcome),
                "zimage-refused": self._safely(self._refused),
                "zimage-report": self._safely(self._report),
            }
        )

    # guests

    async def attach(self, comm: Any, label: str, name: str) -> ServerStatus:
        """Serve one process until its connection ends, in whatever way; then its jobs are cancelled."""
        guest = _Guest(name, label, BatchedSend(interval="1ms", loop=self._scheduler.loop))
        guest.stream.start(comm)
        self._guests.add(guest)
        guest.send(op="welcome", version=__version__, models=self._models(), settings=self._settings())
        try:
            await self._scheduler.handle_stream(comm, extra={"guest": guest})
        finally:
            self._leave(guest)
        return ServerStatus.dont_reply

    def _leave(self, guest: _Guest) -> None:
        self._guests.discard(guest)
        for entry in list(self._entries.values()):
            entry.hearers.discard(guest)
            if entry.owner == guest.name and not entry.task["keep"]:
                self._stop(entry, "its owner is gone")
        self._turns.forget(guest.name)
        self._settle_soon()

    def _submit(self, guest: _Guest, task: wire.Message, prompt: str, model: str) -> None:
        entry = _Entry(task, prompt, model, guest.name, {guest})
        self._entries[entry.id] = entry
        self._turns.add(entry.id, guest.name, task["priority"])
        self._settle_soon()

    def _ask(self, guest: _Guest, number: int, what: str, **arguments: Any) -> None:
        """A question with an answer, which may take its time."""
        questions: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._status,
            "cancel": self._cancel,
            "follow": self._follow,
            "unload": self._unload,
            "restart": self._restart,
            "stop": self._end,
        }

        async def answer() -> None:
            try:
                guest.send(op="answer", number=number, value=await questions[what](guest=guest, **arguments))
            except ZImageError as error:
                guest.send(op="answer", number=number, failed=wire.error_out(error))
            except Exception as error:
                _log.exception("the question %s of %s", what, guest.label)
                reason = f"the session could not answer {what!r} ({type(error).__name__}: {error})"
                guest.send(op="answer", number=number, failed=wire.error_out(ZImageError(reason)))

        self._spawn(answer())

    async def _cancel(self, guest: _Guest, job: str) -> bool:
        entry = self._entries.get(job)
        if entry is None:
            return False
        self._stop(entry, "it was cancelled")
        self._settle_soon()
        return True

    async def _follow(self, guest: _Guest, job: str) -> wire.Message:
        entry = self._entries.get(job)
        if entry is not None:
            entry.hearers.add(guest)
            if entry.last:  # on the way that all events take, so that none overtakes it
                guest.send(op="event", event=entry.last)
            return {"request": entry.task["request"]}
        if job in self._over:
            return self._over[job]
        raise BadRequest(f"there is no job {job} (any more)", mend="session.status().jobs lists those there are.")

    async def _status(self, guest: _Guest) -> wire.Message:
        reports = {seat: self._question(seat, "zimage-report") for seat in self._seats.values()}
        if reports:
            await asyncio.wait(reports.values(), timeout=REPORT_SECONDS)
        workers, gpus = [], {}
        for seat in self._seats.values():  # others may have come, and some gone, while we waited
            workers.append(self._worker_status(seat, answered=seat not in reports or reports[seat].done()))
            gpus.update({(gpu["host"], gpu["index"]): gpu for gpu in seat.gpus})
        running = [entry for entry in self._entries.values() if entry.seat is not None]
        waiting = [self._entries[job] for job in self._turns.order()]
        states = {worker.state for worker in workers}
        known = ("running", "loading", "idle", "not answering")
        return Status(
            engine="shared",
            state=next((state for state in known if state in states), "no worker"),
            model_loads=self._model_loads(),
            workers=tuple(workers),
            jobs=tuple(self._job_status(entry) for entry in (*running, *waiting)),
            gpus=tuple(gpus.values()),
            clients=len(self._guests),
            started=self._started,
            address=self._scheduler.address,
            idle_unload=self._idle_unload,
        ).model_dump(mode="json")

    async def _unload(self, guest: _Guest | None = None) -> None:
        """Every worker gives its memory back once what it runs is done."""
        waiting = [self._question(seat, "zimage-unload") for seat in self._seats.values()]
        if waiting:
            await asyncio.wait(waiting)

    async def _restart(self, guest: _Guest) -> None:
        """Cancel everything and start the workers' processes anew."""
        for entry in list(self._entries.values()):
            self._end_entry(entry, JobCancelled(f"job {entry.id} was cancelled: the session was restarted"))
        addresses = list(self._seats)
        outcome = await self._scheduler.restart_workers(
            addresses, timeout=30, on_error="return", stimulus_id="zimage-restart"
        )
        self._gone_loads = 0
        stuck = [address for address, how in outcome.items() if how != "OK"]
        if stuck:
            raise SessionDied(f"{len(stuck)} of {len(addresses)} workers did not come back", mend=_LOG)

    async def _end(self, guest: _Guest) -> None:
        """End the session: the answer goes out first."""
        for entry in list(self._entries.values()):
            self._end_entry(entry, SessionDied(f"job {entry.id} ended: the session was stopped"))
        asyncio.get_running_loop().call_later(0.05, lambda: self._spawn(self._scheduler.close(reason="zimage-stop")))

    # workers

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A Dask worker came; if it is one of ours, ask how it is. It gets jobs once it has said so."""
        if RESOURCE in scheduler.workers[worker].resources:
            scheduler.worker_send(worker, {"op": "zimage-report", "number": 0})

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """A worker is gone: the job that it had is lost, the others go on."""
        seat = self._seats.pop(worker, None)
        if seat is None:
            return
        self._gone_loads += seat.told["model_loads"]
        for awaited in seat.awaited.values():
            awaited.cancel()
        for entry in [entry for entry in self._entries.values() if entry.seat is seat]:
            error = SessionDied(
                f"the worker {seat.told['name']} died while it ran job {entry.id}",
                mend=f"Run it again: a new worker starts by itself. {_LOG}",
                worker=seat.told["name"],
            )
            self._end_entry(entry, error)
        self._settle_soon()

    def _report(self, worker: str, number: int, worker_status: wire.Message, gpus: list[wire.Message]) -> None:
        seat = self._seats.get(worker)
        if seat is None:
            if worker not in self._scheduler.workers:
                return  # it is gone already
            seat = self._seats[worker] = _Seat(worker, worker_status)
        models = self._models()
        seat.told, seat.gpus = worker_status, gpus
        if self._models() != models:
            for guest in self._guests:
                guest.send(op="models", models=self._models())
        awaited = seat.awaited.pop(number, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)
        self._settle_soon()

    def _event(self, worker: str, event: wire.Message) -> None:
        entry = self._entries.get(event["job"])
        if entry is not None:
            self._tell(entry, event)

    def _free(self, worker: str, job: str, worker_status: wire.Message) -> None:
        seat = self._seats.get(worker)
        if seat is not None:
            seat.told = worker_status
            if seat.entry is not None and seat.entry.id == job:
                seat.entry = None
                self._settle_soon()

    def _outcome(self, worker: str, outcome: wire.Message, event: wire.Message) -> None:
        entry = self._entries.get(event["job"])
        if entry is not None:
            self._close_entry(entry, outcome, event)

    def _refused(self, worker: str, job: str, error: wire.Message) -> None:
        """A worker lacks what the job needs: another one may have it."""
        entry, seat = self._entries.get(job), self._seats.get(worker)
        if seat is not None and seat.entry is not None and seat.entry.id == job:
            seat.entry = None
        if entry is not None:
            entry.refused[worker], entry.seat = error, None
            if all(address in entry.refused for address in self._seats):
                self._end_entry(entry, wire.error_in(error))
            else:
                self._turns.put_back(job, entry.owner, entry.task["priority"])
        self._settle_soon()

    # jobs

    def _settle_soon(self) -> None:
        """Deal jobs and tell positions once everything that has just come in is heard."""
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = False
        self._tell_positions()
        if self._deal():
            self._tell_positions()
        busy = bool(self._entries)
        self._alarm("no worker", NO_WORKER_SECONDS if busy and not self._seats else None, self._no_worker)
        loaded = any(seat.told["model"] for seat in self._seats.values())
        self._alarm("idle", None if busy or not loaded else self._idle_unload, lambda: self._spawn(self._unload()))

    def _deal(self) -> bool:
        """Give free workers the jobs whose turn it is: one that has the model first, then one that has none."""
        dealt = False
        for job in self._turns.order():
            entry = self._entries[job]
            free = [seat for seat in self._seats.values() if seat.entry is None]
            if not free:
                break
            able = [seat for seat in free if seat.address not in entry.refused]
            if not able:
                continue

            def fit(seat: _Seat, model: str = entry.model) -> tuple[bool, bool, int]:
                return seat.told["model"] != model, seat.told["model"] is not None, seat.served

            seat = min(able, key=fit)
            self._turns.take(job)
            seat.entry, entry.seat, seat.served = entry, seat, next(self._dealt)
            entry.came, entry.position = time.monotonic(), None
            self._scheduler.worker_send(seat.address, {"op": "zimage-run", "task": entry.task})
            dealt = True
        return dealt

    def _tell_positions(self) -> None:
        """Tell each process the places of its jobs, as far as they have changed."""
        busy = [seat for seat in self._seats.values() if seat.entry is not None]
        ahead = len(busy) if len(busy) == len(self._seats) else 0  # with a free worker the first one is about to begin
        news: dict[_Guest, dict[str, int]] = {}
        for position, job in enumerate(self._turns.order(), ahead):
            entry = self._entries[job]
            if entry.position != position:
                entry.position = position
                entry.last = {"kind": "queued", "job": job, "position": position}
                for guest in entry.hearers:
                    news.setdefault(guest, {})[job] = position
        for guest, positions in news.items():
            guest.send(op="positions", positions=positions)

    def _tell(self, entry: _Entry, event: wire.Message) -> None:
        entry.last = event
        for guest in entry.hearers:
            # who does not listen (a stopped process) misses steps, so that nothing piles up here
            if event["kind"] != "step" or len(guest.stream.buffer) < _BACKLOG:
                guest.send(op="event", event=event)

    def _stop(self, entry: _Entry, why: str) -> None:
        """A waiting job ends here and now, a running one before its next step."""
        if entry.seat is not None:
            self._scheduler.worker_send(entry.seat.address, {"op": "zimage-cancel", "job": entry.id})
        else:
            self._end_entry(entry, JobCancelled(f"job {entry.id} was cancelled before it began: {why}"))

    def _end_entry(self, entry: _Entry, error: ZImageError) -> None:
        self._close_entry(entry, wire.error_out(error), wire.event_out(last_event(entry.id, error)))

    def _close_entry(self, entry: _Entry, outcome: wire.Message, event: wire.Message) -> None:
        """The job is over: tell everyone who listens, and remember how it ended."""
        self._turns.remove(entry.id)
        if entry.seat is not None and entry.seat.entry is entry:
            entry.seat.entry = None
        del self._entries[entry.id]
        for guest in entry.hearers:
            guest.send(op="outcome", outcome=outcome, event=event)
        self._over[entry.id] = {"request": entry.task["request"], "event": event, "path": outcome.get("path")}
        while len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)

    def _no_worker(self) -> None:
        for entry in list(self._entries.values()):
            self._end_entry(entry, SessionDied(f"no worker came within {NO_WORKER_SECONDS:.0f} s", mend=_LOG))

    # the rest

    def _models(self) -> list[str]:
        return sorted({name for seat in self._seats.values() for name in seat.told["models"]})

    def _model_loads(self) -> int:
        return self._gone_loads + sum(int(seat.told["model_loads"]) for seat in self._seats.values())

    def _settings(self) -> wire.Message:
        return {name: dask.config.get(f"zimage.{name}", None) for name in ("device", "dtype")}

    def _worker_status(self, seat: _Seat, answered: bool) -> WorkerStatus:
        state = seat.told["state"]
        if not answered:
            state = "not answering"
        elif seat.entry is None:
            state = "idle"
        elif state == "idle":
            state = "running"
        known = self._scheduler.workers.get(seat.address)
        last_seen = 0.0 if known is None else round(max(0.0, time.time() - known.last_seen), 1)
        running = None if seat.entry is None else seat.entry.id
        told = {**seat.told, "state": state, "running": running, "last_seen": last_seen}
        return WorkerStatus(**told)

    def _job_status(self, entry: _Entry) -> JobStatus:
        owner = next((guest.label for guest in self._guests if guest.name == entry.owner), "nobody any more")
        return JobStatus(
            id=entry.id,
            state="queued" if entry.seat is None else "running",
            prompt=entry.prompt,
            model=entry.model,
            owner=owner,
            priority=entry.task["priority"],
            keep=entry.task["keep"],
            position=entry.position,
            step=entry.last.get("step") if entry.last.get("kind") == "step" else None,
            steps=entry.last.get("steps") if entry.last.get("kind") == "step" else None,
            seconds=round(time.monotonic() - entry.came, 3),
        )

    def _question(self, seat: _Seat, operation: str) -> asyncio.Future[None]:
        """Ask a worker; done when it has reported (cancelled when it is gone)."""
        number = next(self._numbers)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seat.awaited[number] = answered
        self._scheduler.worker_send(seat.address, {"op": operation, "number": number})
        return answered

    def _safely(self, handle: Callable[..., None]) -> Callable[..., None]:
        """A handler whose failure is logged and does not cut the connection that it came from."""

        def handled(**message: Any) -> None:
            try:
                handle(**message)
            except Exception:
                _log.exception("while handling a message")

        return handled

    def _alarm(self, name: str, seconds: float | None, ring: Callable[[], object]) -> None:
        """Ring after `seconds` in which this was asked for without a break; None: not any more."""
        if seconds is None:
            alarm = self._alarms.pop(name, None)
            if alarm is not None:
                alarm.cancel()
        elif name not in self._alarms:
            self._alarms[name] = asyncio.get_running_loop().call_later(seconds, partial(self._ring, name, ring))

    def _ring(self, name: str, ring: Callable[[], object]) -> None:
        self._alarms.pop(name, None)
        ring()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
