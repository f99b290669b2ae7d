"""The worker: an inline engine in a Dask worker, which runs the broker's tasks and reports their events.

A Dask preload (`dask worker … --preload zimage_kit.session.shared.worker`), so any Dask deployment can start one. Its
settings come from Dask's configuration: `zimage.device`, `zimage.dtype` and so on. Our own sessions also set
`zimage.umask`, for the pictures that a worker saves, and `zimage.private`: no HTTP port. As soon as it is there it
imports torch and loads the default model; with `zimage.ready` false, with its first job only.
"""

from __future__ import annotations

import logging
import os
import platform
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dask.config
from distributed import Worker, WorkerPlugin

from ...engine.events import Event
from ...engine.gpus import list_gpus
from ...engine.preflight import check, check_applied
from ...engine.settings import Settings
from ...engine.task import Task
from ...errors import BadRequest, JobCancelled, JobFailed, ZImageError
from ...files import content_digest
from ...models.loras import lora_file
from ...models.spec import fingerprints_here
from ...recipe.artifact import Artifact
from ..inline import InlineEngine
from ..outcome import keep, last_event
from . import wire

_FLUSH_SECONDS = 0.5  # before a faulty worker exits, for its last messages to go out
_log = logging.getLogger("distributed.zimage")
RESOURCE = "zimage"
"""The Dask resource that marks a worker as ours; the broker ignores all others."""


async def dask_setup(worker: Worker) -> None:
    """Turn a Dask worker into one of ours; Dask calls this."""
    umask = dask.config.get("zimage.umask", None)
    if umask is not None:
        os.umask(umask)
    if dask.config.get("zimage.private", False):
        worker.http_server.stop()  # Dask's pages do not require a certificate
    for resources in (worker.state.total_resources, worker.state.available_resources):
        resources[RESOURCE] = 1
    await worker.plugin_add(EngineWorker(), name=RESOURCE)


def renumbered(device: str | None, cards: str | None) -> str | None:
    """The device that was asked for, as this process numbers its cards: it sees only `cards`, from cuda:0 on.

    `cards` is CUDA_VISIBLE_DEVICES. Of a pair of which only one is there the pair is left, for the plan to refuse.
    """
    if not device or not cards:
        return device
    if "," in device:
        return "cuda:0,cuda:1" if cards.count(",") == 1 else device
    return device if "," in cards else device.partition(":")[0]


class EngineWorker(WorkerPlugin):
    """Holds the engine. Other threads handle messages, save pictures and wait for unloads."""

    def setup(self, worker: Worker) -> None:
        """Start the engine and register the message handlers."""
        self._worker, self._leaving = worker, False
        card = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._name = f"gpu {card} of {platform.node()}" if card else platform.node()
        given = {name: dask.config.get(f"zimage.{name}", None) for name in Settings.model_fields}
        given["device"] = renumbered(given["device"], card)
        self._engine = InlineEngine(Settings(**given), on_fault=self._fault)
        self._gets_ready = bool(dask.config.get("zimage.ready", True))
        self._fingerprints: dict[str, str] = {}
        self._messages = ThreadPoolExecutor(1, "zimage-messages")
        self._saving = ThreadPoolExecutor(1, "zimage-saving")
        self._waiting = ThreadPoolExecutor(4, "zimage-waiting")
        worker.stream_handlers.update(
            {
                "zimage-run": self._in_order(self._begin),
                "zimage-cancel": self._in_order(self._cancel),
                "zimage-report": self._in_order(self._report),
                "zimage-unload": self._unload,
            }
        )

    def teardown(self, worker: Worker) -> None:
        """Stop the running job before the process ends. Its outcome is not sent: the broker reports a lost worker."""
        self._leaving = True
        self._engine.cancel_all()

    def _fault(self, reason: str) -> None:
        """End this process once its messages are out: it cannot use the device any more. Its nanny starts another."""
        _log.error("This worker ends itself: %s", reason)
        loop = self._worker.loop
        loop.add_callback(lambda: loop.call_later(_FLUSH_SECONDS, os._exit, 1))

    def _in_order(self, handler: Callable[..., None]) -> Callable[..., None]:
        """Run a handler off Dask's event loop, in the order of the messages, so that no cancel overtakes its job."""

        def handle(**message: Any) -> None:
            try:
                handler(**message)
            except Exception:
                _log.exception("while handling a message from the broker")

        return lambda **message: (self._messages.submit(handle, **message), None)[1]

    def _send(self, **message: Any) -> None:
        """Send the broker a message, from any thread."""
        self._worker.loop.add_callback(self._worker.batched_send, message)

    def _begin(self, task: wire.Message) -> None:
        """Check a task against this machine's disk and extensions, and run it. On refusal the broker asks another."""
        try:
            found = wire.task_in(task)
            with found.as_its_client():
                ours = _checked(found, task)
        except Exception as error:
            self._send(op="zimage-refused", job=task["id"], error=wire.error_out(_as_zimage_error(error)))
            return

        def listen(event: Event) -> None:
            if event.kind == "queued":
                return  # the broker knows the positions
            loaded = event.kind == "loading" and event.seconds is not None
            status = {"worker_status": self._status()} if loaded else {}  # in one message, so that no step comes first
            self._send(op="zimage-event", event=wire.event_out(event), **status)
            if loaded:
                self._messages.submit(self._report, 0)

        def finish(outcome: Artifact | ZImageError, last: Event) -> None:
            self._send(op="zimage-free", job=ours.id, worker_status=self._status())
            if ours.keep:
                self._saving.submit(self._keep, ours, outcome, last)
            else:
                self._send_outcome(outcome, last)

        if self._engine.closed:
            return  # this process is about to end, and the broker gives the job to the next one
        self._send(op="zimage-begun", job=ours.id)
        try:
            self._engine.submit(replace(ours, keep=False), listen, finish)
        except ZImageError as error:  # the engine is closed, and this process about to end
            self._send_outcome(error, last_event(ours.id, error))

    def _keep(self, task: Task, outcome: Artifact | ZImageError, last: Event) -> None:
        try:
            kept = keep(task, outcome)
        except Exception as error:
            kept = _as_zimage_error(error)
        self._send_outcome(kept, last_event(task.id, kept, last.seconds))

    def _send_outcome(self, outcome: Artifact | ZImageError, last: Event) -> None:
        """Send an outcome. One that cannot be sent becomes an error, since every job must end."""
        if self._leaving and isinstance(outcome, JobCancelled):
            return
        try:
            sent = wire.outcome_out(outcome)
        except Exception as error:
            problem = _as_zimage_error(error)
            sent, last = wire.error_out(problem), last_event(last.job, problem)
        self._send(op="zimage-outcome", outcome=sent, event=wire.event_out(last))

    def _status(self) -> wire.Message:
        status = self._engine.worker_status().model_dump()
        return {**status, "name": self._name, "fingerprints": self._fingerprints, "machine": wire.machine()}

    def _cancel(self, job: str) -> None:
        self._engine.cancel(job)

    def _report(self, number: int, failed: wire.Message | None = None) -> None:
        """Send this worker's status, its models' fingerprints and its machine's GPUs."""
        self._fingerprints = fingerprints_here()
        gpus = [{**vars(gpu), "holders": [vars(holder) for holder in gpu.holders]} for gpu in list_gpus()[0]]
        self._send(op="zimage-report", number=number, worker_status=self._status(), gpus=gpus, failed=failed)
        if self._gets_ready:  # once the session knows this worker, so that this holds up no connecting
            self._gets_ready = False
            self._engine.get_ready(lambda: self._messages.submit(self._report, 0))

    def _unload(self, number: int) -> None:
        """Free the memory once the running job has ended, and report."""

        def wait() -> None:
            problem = None
            try:
                self._engine.unload()
            except ZImageError as error:
                problem = wire.error_out(error)
            self._report(number, problem)

        self._waiting.submit(wait)


def _checked(task: Task, message: wire.Message) -> Task:
    """The task, checked to run here. Keeps the message's `notes` and `derived`: what the client's check chose."""
    try:
        if task.picture is not None:
            _, notes, _ = check_applied(task.request, task.done)
            trace = task.trace.model_copy(update={"notes": tuple(dict.fromkeys((*task.trace.notes, *notes)))})
            return replace(task, trace=trace)
        checked = check(task.request)
        digests = {name: digest for name, (_, digest) in message["files"].items()}
        for lora in checked.request.loras:
            file = lora_file(lora, checked.spec)
            if content_digest(file) != digests.get(str(lora.path), content_digest(file)):
                raise BadRequest(
                    f"lora {lora.path} is a different file on the worker's machine ({file})",
                    mend="Copy yours there, or give its path.",
                )
    except BadRequest as error:
        if "kind" in error.facts:  # the client knows this stage, or it would not have sent it
            mend = (
                "A session does not know stages that a notebook defines: make it an extension (zimage extensions new "
                'NAME), or use connect("inline"). On another machine the extension must be installed too.'
            )
            raise BadRequest(error.seen, expected="a stage that its worker knows", mend=mend, **error.facts) from None
        raise
    told = tuple(dict.fromkeys((*message["notes"], *checked.notes)))
    return replace(task, checked=replace(checked, notes=told, derived=tuple(message["derived"])))


def _as_zimage_error(error: Exception) -> ZImageError:
    if isinstance(error, ZImageError):
        return error
    return JobFailed(f"the worker failed: {type(error).__name__}: {error}", traceback=traceback.format_exc())
