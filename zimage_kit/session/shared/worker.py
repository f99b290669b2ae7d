"""The worker: an inline engine inside a Dask worker, which runs what the desk sends and tells what happens.

A Dask preload (`dask worker … --preload zimage_kit.session.shared.worker`): any Dask deployment can start one. Its
settings come from Dask's configuration: `zimage.device`, `zimage.dtype` and so on. Our own sessions set `zimage.umask`,
that of the files which the user's pictures get, and `zimage.private`: no HTTP port.
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

_LAST_WORDS_SECONDS = 0.5
_log = logging.getLogger("distributed.zimage")
RESOURCE = "zimage"
"""What a Dask worker has that holds a model; the desk deals with no other."""


async def dask_setup(worker: Worker) -> None:
    """Make a Dask worker one of ours; Dask calls this."""
    umask = dask.config.get("zimage.umask", None)
    if umask is not None:
        os.umask(umask)
    if dask.config.get("zimage.private", False):
        worker.http_server.stop()  # Dask's pages ask for no certificate
    for resources in (worker.state.total_resources, worker.state.available_resources):
        resources[RESOURCE] = 1
    await worker.plugin_add(EngineWorker(), name=RESOURCE)


class EngineWorker(WorkerPlugin):
    """The model's home. Work happens in three threads: the engine's, one that begins and ends jobs, one that saves."""

    def setup(self, worker: Worker) -> None:
        """Begin to listen to the desk."""
        self._worker, self._leaving = worker, False
        card = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._name = f"gpu {card} of {platform.node()}" if card else platform.node()
        given = {name: dask.config.get(f"zimage.{name}", None) for name in Settings.model_fields}
        if card and given["device"] is not None and "," not in card:
            given["device"] = given["device"].partition(":")[0]  # "cuda:1" is the only one that this process sees
        self._engine = InlineEngine(Settings(**given), on_fault=self._fault)
        self._fingerprints: dict[str, str] = {}
        self._work = ThreadPoolExecutor(1, "zimage-errands")
        self._saving = ThreadPoolExecutor(1, "zimage-saving")
        self._waiting = ThreadPoolExecutor(4, "zimage-waiting")
        worker.stream_handlers.update(
            {
                "zimage-run": self._do(self._begin),
                "zimage-cancel": self._do(self._cancel),
                "zimage-report": self._do(self._report),
                "zimage-unload": self._unload,
            }
        )

    def teardown(self, worker: Worker) -> None:
        """Stop what runs; the process ends with it. That is no cancelling: the desk tells whoever waits."""
        self._leaving = True
        self._engine.cancel_all()

    def _fault(self, reason: str) -> None:
        """The device is of no use to this process any more: end it, once its messages are out. Another one comes."""
        _log.error("This worker ends itself: %s", reason)
        loop = self._worker.loop
        loop.add_callback(lambda: loop.call_later(_LAST_WORDS_SECONDS, os._exit, 1))

    def _do(self, errand: Callable[..., None]) -> Callable[..., None]:
        """A handler that leaves Dask's event loop free; errands keep their order, so no cancel overtakes its job."""

        def handle(**message: Any) -> None:
            try:
                errand(**message)
            except Exception:
                _log.exception("while handling a message of the broker")

        return lambda **message: (self._work.submit(handle, **message), None)[1]

    def _send(self, **message: Any) -> None:
        """Tell the broker, from any thread."""
        self._worker.loop.add_callback(self._worker.batched_send, message)

    def _begin(self, task: wire.Message) -> None:
        """Check a task against this machine's disk and extensions, and run it. The broker may ask another worker."""
        try:
            found = wire.task_in(task)
            with found.as_its_client():
                ours = _checked(found, task)
        except Exception as error:
            self._send(op="zimage-refused", job=task["id"], error=wire.error_out(_as_ours(error)))
            return

        def listen(event: Event) -> None:
            if event.kind == "queued":
                return  # the broker's own business
            loaded = event.kind == "loading" and event.seconds is not None
            status = {"worker_status": self._status()} if loaded else {}  # with it, so that no step comes before it
            self._send(op="zimage-event", event=wire.event_out(event), **status)
            if loaded:
                self._work.submit(self._report, 0)

        def finish(outcome: Artifact | ZImageError, last: Event) -> None:
            self._send(op="zimage-free", job=ours.id, worker_status=self._status())
            if ours.keep:
                self._saving.submit(self._keep, ours, outcome, last)
            else:
                self._tell(outcome, last)

        self._send(op="zimage-begun", job=ours.id)
        try:
            self._engine.submit(replace(ours, keep=False), listen, finish)
        except ZImageError as error:  # it is about to end itself
            self._tell(error, last_event(ours.id, error))

    def _keep(self, task: Task, outcome: Artifact | ZImageError, last: Event) -> None:
        try:
            kept = keep(task, outcome)
        except Exception as error:
            kept = _as_ours(error)
        self._tell(kept, last_event(task.id, kept, last.seconds))

    def _tell(self, outcome: Artifact | ZImageError, last: Event) -> None:
        """Send an outcome. One that cannot be sent is told as an error: the job has to end."""
        if self._leaving and isinstance(outcome, JobCancelled):
            return
        try:
            sent = wire.outcome_out(outcome)
        except Exception as error:
            problem = _as_ours(error)
            sent, last = wire.error_out(problem), last_event(last.job, problem)
        self._send(op="zimage-outcome", outcome=sent, event=wire.event_out(last))

    def _status(self) -> wire.Message:
        status = self._engine.worker_status().model_dump()
        return {**status, "name": self._name, "fingerprints": self._fingerprints}

    def _cancel(self, job: str) -> None:
        self._engine.cancel(job)

    def _report(self, number: int, failed: wire.Message | None = None) -> None:
        """How this worker is, with the cards of its machine and what identifies its models."""
        self._fingerprints = fingerprints_here()
        gpus = [{**vars(gpu), "holders": [vars(holder) for holder in gpu.holders]} for gpu in list_gpus()[0]]
        self._send(op="zimage-report", number=number, worker_status=self._status(), gpus=gpus, failed=failed)

    def _unload(self, number: int) -> None:
        """Give the memory back once what runs is done, and report."""

        def wait() -> None:
            problem = None
            try:
                self._engine.unload()
            except ZImageError as error:
                problem = wire.error_out(error)
            self._report(number, problem)

        self._waiting.submit(wait)


def _checked(task: Task, message: wire.Message) -> Task:
    """The task as it can run here. Its message's `notes`: what was chosen for the user where it was checked first."""
    try:
        if task.picture is not None:
            _, said = check_applied(task.request, task.done)
            told = {"notes": tuple(dict.fromkeys((*task.trace.notes, *said)))}
            return replace(task, trace=task.trace.model_copy(update=told))
        checked = check(task.request)
        held = {name: digest for name, (_, digest) in message["files"].items()}
        for lora in checked.request.loras:
            file = lora_file(lora, checked.spec)
            if content_digest(file) != held.get(str(lora.path), content_digest(file)):
                raise BadRequest(
                    f"lora {lora.path} is another file on the worker's machine ({file})",
                    mend="Copy yours there, or give its path.",
                )
    except BadRequest as error:
        if "kind" in error.facts:  # the notebook knows this stage, or it would not have been sent
            mend = (
                "A session does not know what a notebook defines: make it an extension (zimage extensions new NAME), "
                'or use connect("inline"). On another machine the extension has to be installed too.'
            )
            raise BadRequest(error.seen, expected="a stage that its worker knows", mend=mend, **error.facts) from None
        raise
    return replace(task, checked=replace(checked, notes=tuple(dict.fromkeys((*message["notes"], *checked.notes)))))


def _as_ours(error: Exception) -> ZImageError:
    if isinstance(error, ZImageError):
        return error
    return JobFailed(f"the worker cannot begin: {type(error).__name__}: {error}", traceback=traceback.format_exc())
