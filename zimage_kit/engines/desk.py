"""The desk of a shared session. It sits in Dask's scheduler, takes jobs in, deals them to workers, tells their events.

A preload of Dask's (`dask scheduler --preload zimage_kit.engines.desk`). Dask brings the processes, the encrypted
connections and the news of who is gone; whose turn it is stands in the ledger. Everything runs in the scheduler's event
loop, and what is sent are plain values (`wire`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any

import dask.config
from distributed import Scheduler, SchedulerPlugin
from distributed.batched import BatchedSend
from distributed.core import Status as ServerStatus

from zimage_kit import __version__

from ..errors import JobCancelled, JobFailed, SessionDied, ZImageError
from ..status import Status
from . import wire
from .ledger import Entry, Guest, Ledger, Seat, worker_status
from .outcome import last_event
from .worker import RESOURCE

REPORT_SECONDS = 1.2
"""How long a worker may take to say how it is; then what it said last is told."""
NO_WORKER_SECONDS = 60.0
"""How long jobs wait for any worker at all before they fail."""
_BACKLOG = 64
_LOG = "Why is in the session's log, which `zimage session status` names."
_log = logging.getLogger("distributed.zimage")


def dask_setup(scheduler: Scheduler) -> None:
    """Put the desk into a scheduler; Dask calls this."""
    scheduler.add_plugin(Desk(scheduler), name=Desk.name)


class Desk(SchedulerPlugin):
    """One for each session. `zimage.idle-unload` of Dask's configuration: seconds without a job, then unload."""

    name = "zimage"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._ledger = Ledger()
        self._numbers = count(1)
        self._started = time.time()
        self._idle_unload: float | None = dask.config.get("zimage.idle-unload", None)
        self._settling = False
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        scheduler.handlers["zimage_attach"] = self.attach
        scheduler.stream_handlers.update(
            {
                "zimage-submit": self._submit,
                "zimage-ask": self._ask,
                "zimage-begun": self._safely(self._begun),
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
        guest = Guest(name, label, BatchedSend(interval="1ms", loop=self._scheduler.loop))
        guest.stream.start(comm)
        self._ledger.guests.add(guest)
        settings = {name: dask.config.get(f"zimage.{name}", None) for name in ("device", "dtype")}
        guest.send(op="welcome", version=__version__, models=self._ledger.models(), settings=settings)
        try:
            await self._scheduler.handle_stream(comm, extra={"guest": guest})
        finally:
            for entry in self._ledger.leave(guest):
                self._stop(entry, "its owner is gone")
            self._settle_soon()
        return ServerStatus.dont_reply

    def _submit(self, guest: Guest, task: wire.Message, prompt: str, model: str) -> None:
        try:
            self._ledger.add(Entry(task, prompt, model, guest.name, {guest}))
        except Exception as error:  # a program of another version; it must not wait for ever
            _log.exception("a job of %s", guest.label)
            failed = JobFailed(f"the session cannot take this job ({type(error).__name__}: {error})")
            last = last_event(str(task.get("id")), failed)
            guest.send(op="outcome", outcome=wire.error_out(failed), event=wire.event_out(last))
        self._settle_soon()

    def _ask(self, guest: Guest, number: int, what: str, **arguments: Any) -> None:
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

    async def _cancel(self, guest: Guest, job: str) -> bool:
        entry = self._ledger.entries.get(job)
        if entry is None:
            return False
        self._stop(entry, "it was cancelled")
        self._settle_soon()
        return True

    async def _follow(self, guest: Guest, job: str) -> wire.Message:
        entry = self._ledger.entries.get(job)
        if entry is None:
            return self._ledger.over(job)
        entry.hearers.add(guest)
        if entry.last:  # on the way that all events take, so that none overtakes it
            guest.send(op="event", event=entry.last)
        return {"request": entry.task["request"]}

    async def _status(self, guest: Guest) -> wire.Message:
        seats = self._ledger.seats
        reports = {seat: self._question(seat, "zimage-report") for seat in seats.values()}
        if reports:
            await asyncio.wait(reports.values(), timeout=REPORT_SECONDS)
        workers, gpus = [], {}
        for seat in seats.values():  # others may have come, and some gone, while we waited
            answered = seat not in reports or reports[seat].done()
            workers.append(worker_status(seat, answered, self._last_seen(seat)))
            gpus.update({(gpu["host"], gpu["index"]): gpu for gpu in seat.gpus})
        states = {worker.state for worker in workers}
        known = ("running", "loading", "idle", "not answering")
        return Status(
            engine="shared",
            state=next((state for state in known if state in states), "no worker"),
            model_loads=self._ledger.model_loads(),
            workers=tuple(workers),
            jobs=tuple(self._ledger.job_statuses()),
            gpus=tuple(gpus.values()),
            clients=len(self._ledger.guests),
            started=self._started,
            address=self._scheduler.address,
            idle_unload=self._idle_unload,
        ).model_dump(mode="json")

    def _last_seen(self, seat: Seat) -> float:
        known = self._scheduler.workers.get(seat.address)
        return 0.0 if known is None else round(max(0.0, time.time() - known.last_seen), 1)

    async def _unload(self, guest: Guest | None = None) -> None:
        """Every worker gives its memory back once what it runs is done."""
        waiting = [self._question(seat, "zimage-unload") for seat in self._ledger.seats.values()]
        if waiting:
            await asyncio.wait(waiting)

    async def _restart(self, guest: Guest) -> None:
        """Cancel everything and start the workers' processes anew."""
        for entry in list(self._ledger.entries.values()):
            self._end_entry(entry, JobCancelled(f"job {entry.id} was cancelled: the session was restarted"))
        addresses = list(self._ledger.seats)
        outcome = await self._scheduler.restart_workers(
            addresses, timeout=30, on_error="return", stimulus_id="zimage-restart"
        )
        self._ledger.gone_loads = 0
        stuck = [address for address, how in outcome.items() if how != "OK"]
        if stuck:
            raise SessionDied(f"{len(stuck)} of {len(addresses)} workers did not come back", mend=_LOG)

    async def _end(self, guest: Guest) -> None:
        """End the session: the answer goes out first."""
        for entry in list(self._ledger.entries.values()):
            self._end_entry(entry, SessionDied(f"job {entry.id} ended: the session was stopped"))
        asyncio.get_running_loop().call_later(0.05, lambda: self._spawn(self._scheduler.close(reason="zimage-stop")))

    # workers

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A Dask worker came; if it is one of ours, ask how it is. It gets jobs once it has said so."""
        if RESOURCE in scheduler.workers[worker].resources:
            scheduler.worker_send(worker, {"op": "zimage-report", "number": 0})

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """A worker is gone: the job that it had is lost, the others go on."""
        gone = self._ledger.stand_up(worker)
        if gone is None:
            return
        seat, lost = gone
        for awaited in seat.awaited.values():
            awaited.cancel()
        for entry in lost:
            error = SessionDied(
                f"the worker {seat.told['name']} died while it ran job {entry.id}",
                mend=f"Run it again: a new worker starts by itself. {_LOG}",
                worker=seat.told["name"],
            )
            self._end_entry(entry, error)
        self._settle_soon()

    def _report(self, worker: str, number: int, worker_status: wire.Message, gpus: list[wire.Message]) -> None:
        models, seat = self._ledger.models(), self._ledger.seats.get(worker)
        if seat is None:
            if worker not in self._scheduler.workers:
                return  # it is gone already
            seat = self._ledger.seats[worker] = Seat(worker, worker_status)
        seat.told, seat.gpus = worker_status, gpus
        if self._ledger.models() != models:
            for guest in self._ledger.guests:
                guest.send(op="models", models=self._ledger.models())
        awaited = seat.awaited.pop(number, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)
        self._settle_soon()

    def _begun(self, worker: str, job: str) -> None:
        entry = self._ledger.entries.get(job)
        if entry is not None:
            entry.begun = True

    def _event(self, worker: str, event: wire.Message) -> None:
        entry = self._ledger.entries.get(event["job"])
        if entry is not None:
            entry.last = event
            for guest in entry.hearers:
                # who does not listen (a stopped process) misses steps, so that nothing piles up here
                if event["kind"] != "step" or len(guest.stream.buffer) < _BACKLOG:
                    guest.send(op="event", event=event)

    def _free(self, worker: str, job: str, worker_status: wire.Message) -> None:
        seat = self._ledger.seats.get(worker)
        if seat is not None:
            seat.told = worker_status
            if seat.entry is not None and seat.entry.id == job:
                seat.entry = None
                self._settle_soon()

    def _outcome(self, worker: str, outcome: wire.Message, event: wire.Message) -> None:
        entry = self._ledger.entries.get(event["job"])
        if entry is not None:
            self._close_entry(entry, outcome, event)

    def _refused(self, worker: str, job: str, error: wire.Message) -> None:
        """A worker lacks what the job needs: another one may have it."""
        seat = self._ledger.seats.get(worker)
        if seat is not None and seat.entry is not None and seat.entry.id == job:
            entry = seat.entry
            if entry.stopped:
                self._end_entry(entry, JobCancelled(f"job {job} was cancelled before it began"))
            elif not self._ledger.take_back(entry, seat, error):
                self._end_entry(entry, wire.error_in(error))
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
        dealt = list(self._ledger.deal())
        for entry, seat in dealt:
            self._scheduler.worker_send(seat.address, {"op": "zimage-run", "task": entry.task})
        if dealt:
            self._tell_positions()
        seats, busy = self._ledger.seats, bool(self._ledger.entries)
        self._alarm("no worker", NO_WORKER_SECONDS if busy and not seats else None, self._no_worker)
        loaded = any(seat.told["model"] for seat in seats.values())
        self._alarm("idle", None if busy or not loaded else self._idle_unload, lambda: self._spawn(self._unload()))

    def _tell_positions(self) -> None:
        for guest, positions in self._ledger.moved().items():
            guest.send(op="positions", positions=positions)

    def _stop(self, entry: Entry, why: str) -> None:
        """A waiting job ends here and now, a running one before its next step."""
        if entry.seat is not None:
            entry.stopped = True
            self._scheduler.worker_send(entry.seat.address, {"op": "zimage-cancel", "job": entry.id})
        else:
            self._end_entry(entry, JobCancelled(f"job {entry.id} was cancelled before it began: {why}"))

    def _end_entry(self, entry: Entry, error: ZImageError) -> None:
        self._close_entry(entry, wire.error_out(error), wire.event_out(last_event(entry.id, error)))

    def _close_entry(self, entry: Entry, outcome: wire.Message, event: wire.Message) -> None:
        """The job is over: tell everyone who listens."""
        self._ledger.close(entry, outcome, event)
        for guest in entry.hearers:
            guest.send(op="outcome", outcome=outcome, event=event)

    def _no_worker(self) -> None:
        for entry in list(self._ledger.entries.values()):
            self._end_entry(entry, SessionDied(f"no worker came within {NO_WORKER_SECONDS:.0f} s", mend=_LOG))

    # the rest

    def _question(self, seat: Seat, operation: str) -> asyncio.Future[None]:
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
