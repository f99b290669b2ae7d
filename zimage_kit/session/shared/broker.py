"""The broker of a shared session: queues jobs, assigns them to workers, and passes events on to clients.

A Dask preload (`dask scheduler --preload zimage_kit.session.shared.broker`) that runs in the scheduler's event loop.
Dask provides the processes, the encrypted connections and the notice when one ends; `broker_state` decides which job is
next. All messages are plain values (`wire`).
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

from ...engine.settings import Settings
from ...errors import JobCancelled, JobFailed, SessionDied, ZImageError, printable
from ..outcome import last_event
from ..status import Status
from . import wire
from .broker_state import BrokerState, Client, QueuedJob, WorkerSlot, worker_status
from .worker import RESOURCE

REPORT_SECONDS = 1.2
"""How long a worker may take to report its status; after that its last report is used."""
NO_WORKER_SECONDS = 60.0
"""How long jobs wait for any worker at all before they fail."""
_BACKLOG = 64
_LOG = "The session's log says why; `zimage session status` names the file."
_log = logging.getLogger("distributed.zimage")


def dask_setup(scheduler: Scheduler) -> None:
    """Add the broker to a scheduler; Dask calls this."""
    scheduler.add_plugin(Broker(scheduler), name=Broker.name)


class Broker(SchedulerPlugin):
    """One per session. `zimage.idle-unload` in Dask's configuration: seconds without a job, then unload."""

    name = "zimage"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._state = BrokerState()
        self._numbers = count(1)
        self._started = time.time()
        self._idle_unload: float | None = dask.config.get("zimage.idle-unload", None)
        self._scheduled = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
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

    # clients

    async def attach(self, comm: Any, label: str, name: str, protocol: int = 1) -> ServerStatus:
        """Serve one client until its connection ends, however it ends; then cancel its jobs, except kept ones."""
        client = Client(name, label, BatchedSend(interval="1ms", loop=self._scheduler.loop))
        client.stream.start(comm)
        self._state.clients.add(client)
        settings = {name: dask.config.get(f"zimage.{name}", None) for name in Settings.model_fields}
        greeting = {"version": __version__, "protocol": wire.PROTOCOL, **self._state.what_is_where()}
        client.send(op="welcome", settings=settings, **greeting)
        try:
            await self._scheduler.handle_stream(comm, extra={"client": client})
        finally:
            for queued in self._state.remove_client(client):
                self._stop(queued, "its owner is gone")
            self._schedule_soon()
        return ServerStatus.dont_reply

    def _submit(self, client: Client, task: wire.Message, prompt: str, model: str) -> None:
        try:
            self._state.add(QueuedJob(task, prompt, model, client.name, {client}))
        except Exception as error:  # from a program of another version; without an outcome it would wait forever
            _log.exception("a job of %s", client.label)
            failed = JobFailed(f"the session cannot take this job ({type(error).__name__}: {error})")
            last = last_event(str(task.get("id")), failed)
            client.send(op="outcome", job=last.job, outcome=wire.error_out(failed), event=wire.event_out(last))
        self._schedule_soon()

    def _ask(self, client: Client, number: int, what: str, **arguments: Any) -> None:
        """Answer a client's request, without blocking the messages that follow."""
        questions: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._status,
            "cancel": self._cancel,
            "hasten": self._hasten,
            "follow": self._follow,
            "unload": self._unload,
            "restart": self._restart,
            "stop": self._stop_session,
        }

        async def answer() -> None:
            try:
                client.send(op="answer", number=number, value=await questions[what](client=client, **arguments))
            except ZImageError as error:
                client.send(op="answer", number=number, failed=wire.error_out(error))
            except Exception as error:
                _log.exception("the question %s of %s", what, client.label)
                reason = f"the session could not answer {what!r} ({type(error).__name__}: {error})"
                client.send(op="answer", number=number, failed=wire.error_out(ZImageError(reason)))

        self._spawn(answer())

    async def _cancel(self, client: Client, job: str) -> bool:
        queued = self._state.jobs.get(job)
        if queued is None:
            return False
        self._stop(queued, "it was cancelled")
        self._schedule_soon()
        return True

    async def _hasten(self, client: Client, job: str) -> bool:
        self._schedule_soon()
        return (queued := self._state.jobs.get(job)) is not None and self._state.hasten(queued, client.name)

    async def _follow(self, client: Client, job: str) -> wire.Message:
        queued = self._state.jobs.get(job)
        if queued is None:
            return self._state.finished(job)
        queued.listeners.add(client)
        if queued.last:  # through the same stream as all events, so that none overtakes it
            client.send(op="event", event=queued.last)
        return {"request": queued.task["request"]}

    async def _status(self, client: Client) -> wire.Message:
        slots = self._state.slots
        reports = {slot: self._ask_worker(slot, "zimage-report") for slot in slots.values()}
        if reports:
            await asyncio.wait(reports.values(), timeout=REPORT_SECONDS)
        workers, gpus = [], {}
        for slot in slots.values():  # others may have come, and some gone, while we waited
            answered = slot not in reports or reports[slot].done()
            workers.append(worker_status(slot, answered, self._last_seen(slot)))
            gpus.update({(gpu["host"], gpu["index"]): gpu for gpu in slot.gpus})
        states = {worker.state for worker in workers}
        known = ("running", "loading", "idle", "not answering")
        return Status(
            engine="shared",
            state=next((state for state in known if state in states), "no worker"),
            model_loads=self._state.model_loads(),
            workers=tuple(workers),
            jobs=tuple(self._state.job_statuses()),
            gpus=tuple(gpus.values()),
            clients=len(self._state.clients),
            started=self._started,
            address=self._scheduler.address,
            idle_unload=self._idle_unload,
        ).model_dump(mode="json")

    def _last_seen(self, slot: WorkerSlot) -> float:
        known = self._scheduler.workers.get(slot.address)
        return 0.0 if known is None else round(max(0.0, time.time() - known.last_seen), 1)

    async def _unload(self, client: Client | None = None) -> None:
        """Every worker frees its memory once its running job has ended."""
        waiting = [self._ask_worker(slot, "zimage-unload") for slot in self._state.slots.values()]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, ZImageError):
                raise outcome

    async def _restart(self, client: Client) -> None:
        """Cancel everything and restart the workers' processes."""
        for queued in list(self._state.jobs.values()):
            self._end_job(queued, JobCancelled(f"job {queued.id} was cancelled: the session was restarted"))
        addresses = list(self._state.slots)
        outcome = await self._scheduler.restart_workers(
            addresses, timeout=30, on_error="return", stimulus_id="zimage-restart"
        )
        self._state.past_loads = 0
        stuck = [address for address, how in outcome.items() if how != "OK"]
        deadline = time.monotonic() + 10 * REPORT_SECONDS
        while len(self._state.slots) < len(addresses) - len(stuck) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)  # they are back but have not reported yet
        if stuck:
            raise SessionDied(f"{len(stuck)} of {len(addresses)} workers did not come back", mend=_LOG)

    async def _stop_session(self, client: Client) -> None:
        """End the session, after the answer has gone out."""
        for queued in list(self._state.jobs.values()):
            self._end_job(queued, SessionDied(f"job {queued.id} ended: the session was stopped"))
        asyncio.get_running_loop().call_later(0.05, lambda: self._spawn(self._scheduler.close(reason="zimage-stop")))

    # workers

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A Dask worker has joined. If it is one of ours, ask for its report; it gets jobs once that has come."""
        if RESOURCE in scheduler.workers[worker].resources:
            scheduler.worker_send(worker, {"op": "zimage-report", "number": 0})

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """A worker is gone: its job fails, the others go on."""
        gone = self._state.remove_worker(worker)
        if gone is None:
            return
        slot, lost = gone
        for awaited in slot.awaited.values():
            awaited.cancel()
        for queued in lost:
            error = SessionDied(
                f"the worker {slot.reported['name']} died while it ran job {queued.id}",
                mend=f"Run it again: a new worker starts by itself. {_LOG}",
                worker=slot.reported["name"],
            )
            self._end_job(queued, error)
        self._schedule_soon()

    def _report(
        self,
        worker: str,
        number: int,
        worker_status: wire.Message,
        gpus: list[wire.Message],
        failed: wire.Message | None = None,
    ) -> None:
        known, slot = self._state.what_is_where(), self._state.slots.get(worker)
        if slot is None:
            if worker not in self._scheduler.workers:
                return  # the worker is already gone
            slot = self._state.slots[worker] = WorkerSlot(worker, worker_status)
        slot.reported, slot.gpus = worker_status, gpus
        if (now := self._state.what_is_where()) != known:
            for client in self._state.clients:
                client.send(op="models", **now)
        awaited = slot.awaited.pop(number, None)
        if awaited is not None and not awaited.done():
            if failed is None:
                awaited.set_result(None)
            else:
                awaited.set_exception(wire.error_in(failed))
        self._schedule_soon()

    def _begun(self, worker: str, job: str) -> None:
        queued = self._state.jobs.get(job)
        if queued is not None:
            queued.begun = True

    def _event(self, worker: str, event: wire.Message, worker_status: wire.Message | None = None) -> None:
        slot = self._state.slots.get(worker)
        if slot is not None and worker_status is not None:
            slot.reported = worker_status
        queued = self._state.jobs.get(event["job"])
        if queued is not None:
            queued.last = event
            for client in queued.listeners:
                # a client that does not read (a stopped process) misses steps, so that its buffer stays small
                if event["kind"] != "step" or len(client.stream.buffer) < _BACKLOG:
                    client.send(op="event", event=event)

    def _free(self, worker: str, job: str, worker_status: wire.Message) -> None:
        slot = self._state.slots.get(worker)
        if slot is not None:
            slot.reported = worker_status
            if slot.queued is not None and slot.queued.id == job:
                slot.queued = None
                self._schedule_soon()

    def _outcome(self, worker: str, outcome: wire.Message, event: wire.Message) -> None:
        queued = self._state.jobs.get(event["job"])
        if queued is not None:
            self._close_job(queued, outcome, event)

    def _refused(self, worker: str, job: str, error: wire.Message) -> None:
        """A worker lacks what the job needs: another one may have it."""
        slot = self._state.slots.get(worker)
        if slot is not None and slot.queued is not None and slot.queued.id == job:
            queued = slot.queued
            if queued.stopped:
                self._end_job(queued, JobCancelled(f"job {job} was cancelled before it began"))
            elif not self._state.return_job(queued, slot, error):
                self._end_job(queued, wire.error_in(error))
            self._schedule_soon()

    # jobs

    def _schedule_soon(self) -> None:
        """Assign jobs and send positions once all messages that have just arrived are handled."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._schedule)

    def _schedule(self) -> None:
        self._scheduled = False
        try:
            self._assign()
        except Exception as error:  # a mistake of ours, which would come again: nobody may wait for ever
            _log.exception("while assigning jobs")
            for queued in [queued for queued in self._state.jobs.values() if queued.slot is None]:
                self._end_job(queued, JobFailed(f"the session cannot assign jobs ({printable(error)})", mend=_LOG))

    def _assign(self) -> None:
        """Send each free worker its next job, and everyone their positions."""
        self._send_positions()
        assigned = list(self._state.assign())
        for queued, slot in assigned:
            try:
                self._scheduler.worker_send(slot.address, {"op": "zimage-run", "task": queued.task})
            except Exception as error:
                _log.exception("while sending job %s", queued.id)
                self._end_job(queued, JobFailed(f"the job could not be sent ({printable(error)})", mend=_LOG))
                self._schedule_soon()
        if assigned:
            self._send_positions()
        slots, busy = self._state.slots, bool(self._state.jobs)
        self._set_timer("no worker", NO_WORKER_SECONDS if busy and not slots else None, self._no_worker)
        loaded = any(slot.reported["model"] for slot in slots.values())
        self._set_timer("idle", None if busy or not loaded else self._idle_unload, lambda: self._spawn(self._unload()))

    def _send_positions(self) -> None:
        for client, positions in self._state.changed_positions().items():
            client.send(op="positions", positions=positions)

    def _stop(self, queued: QueuedJob, why: str) -> None:
        """Stop a job: a waiting one at once, a running one before its next step."""
        if queued.slot is not None:
            queued.stopped = True
            self._scheduler.worker_send(queued.slot.address, {"op": "zimage-cancel", "job": queued.id})
        else:
            self._end_job(queued, JobCancelled(f"job {queued.id} was cancelled before it began: {why}"))

    def _end_job(self, queued: QueuedJob, error: ZImageError) -> None:
        self._close_job(queued, wire.error_out(error), wire.event_out(last_event(queued.id, error)))

    def _close_job(self, queued: QueuedJob, outcome: wire.Message, event: wire.Message) -> None:
        """End a job and send its outcome to every client that follows it."""
        self._state.close(queued, outcome, event)
        for client in queued.listeners:
            client.send(op="outcome", job=queued.id, outcome=outcome, event=event)

    def _no_worker(self) -> None:
        for queued in list(self._state.jobs.values()):
            self._end_job(queued, SessionDied(f"no worker started within {NO_WORKER_SECONDS:.0f} s", mend=_LOG))

    # helpers

    def _ask_worker(self, slot: WorkerSlot, operation: str) -> asyncio.Future[None]:
        """Send a worker a request. The future is done when it has reported, and cancelled when it is gone."""
        number = next(self._numbers)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        slot.awaited[number] = answered
        self._scheduler.worker_send(slot.address, {"op": operation, "number": number})
        return answered

    def _safely(self, handle: Callable[..., None]) -> Callable[..., None]:
        """Wrap a handler: a failure is logged and ends the message's job, but does not close the connection."""

        def handled(**message: Any) -> None:
            try:
                handle(**message)
            except Exception as error:
                _log.exception("while handling a message")
                job = message.get("job") or (message.get("event") or {}).get("job")
                queued = self._state.jobs.get(str(job))
                if queued is not None:
                    reason = f"{type(error).__name__}: {error}"
                    self._end_job(queued, JobFailed(f"the session lost track of job {job} ({reason})", mend=_LOG))
                    self._schedule_soon()

        return handled

    def _set_timer(self, name: str, seconds: float | None, action: Callable[[], object]) -> None:
        """Run `action` in `seconds` unless the timer is cancelled before (None). One that runs already goes on."""
        if seconds is None:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()
        elif name not in self._timers:
            self._timers[name] = asyncio.get_running_loop().call_later(seconds, partial(self._fire, name, action))

    def _fire(self, name: str, action: Callable[[], object]) -> None:
        self._timers.pop(name, None)
        action()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
