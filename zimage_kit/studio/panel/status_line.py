"""The status line: model and device, GPU memory, temperature, queue, and who uses the memory."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Iterator

import ipywidgets as w

from ...engine.cards import card_of, plan_for
from ...engine.gpus import Gpu
from ...errors import OutOfMemory
from ...session.status import Status
from ...text.units import gigabytes
from ..translations import Texts

LOOK_SECONDS = 2.0
"""Polling interval, while a page shows the panel."""
GONE_SECONDS = 25.0
"""A page that has not reported for this long no longer shows the panel."""


class StatusLine:
    """Polls the session in a thread that lives as long as a page shows the panel."""

    def __init__(self, look: Callable[[], Status], texts: Texts) -> None:
        self._look, self._texts = look, texts
        self.box = w.HTML().add_class("zk-status")
        self._lock = threading.Lock()
        self._shown_at, self._looking, self._closed = 0.0, False, False

    def page_shown(self) -> None:
        """A page reports, every ten seconds, that it shows the panel."""
        with self._lock:
            self._shown_at = time.monotonic()
            if self._looking or self._closed:
                return
            self._looking = True
        threading.Thread(target=self._keep_looking, name="zimage-status", daemon=True).start()

    def close(self) -> None:
        """Stop polling."""
        self._closed = True

    def _keep_looking(self) -> None:
        while True:
            with self._lock:
                if self._closed or time.monotonic() - self._shown_at > GONE_SECONDS:
                    self._looking = False
                    return
            try:
                self.box.value = status_html(self._look(), self._texts)
            except Exception as error:  # shown instead of the status until the session answers again
                self.box.value = html.escape(f"{type(error).__name__}: {error}")
            time.sleep(LOOK_SECONDS)


def status_html(status: Status, texts: Texts) -> str:
    """The status as an HTML list; everything that comes from outside is escaped."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in _items(status, texts)) + "</ul>"


def _items(status: Status, t: Texts) -> Iterator[str]:
    held = [worker for worker in status.workers if worker.model]
    yield f"<b>{html.escape(t.get(f'state.{status.state}', status.state))}</b>"
    for worker in held:
        parts = (worker.device, worker.dtype, worker.placement, worker.plan.get("speed"))
        where = ", ".join(part for part in parts if part)
        size = f" · {gigabytes(worker.resident_bytes)}" if worker.resident_bytes else ""
        if most := worker.plan.get("peak_bytes"):
            size += f" · {html.escape(t('status.most', bytes=gigabytes(most)))}"
        yield f"<b>{html.escape(_short(worker.model or ''))}</b> {html.escape(where)}{size}"
    if not held:
        yield html.escape(t("status.no_model"))
    for gpu in status.gpus:
        share = gpu.used / gpu.total if gpu.total else 0.0
        memory = t("status.memory", used=gigabytes(gpu.used), total=gigabytes(gpu.total))
        name = html.escape(f"{gpu.name}: {memory}", quote=True)
        yield (
            f'{html.escape(gpu.name)} <meter min="0" max="1" high="0.92" value="{share:.3f}" '
            f'aria-label="{name}"></meter> {html.escape(memory)}'
        )
        if not held:
            yield html.escape(_expected(gpu, t))
        if gpu.temperature is not None:
            yield html.escape(t("status.heat", degrees=gpu.temperature))
        ours = {(worker.host, worker.pid) for worker in status.workers}
        for holder in gpu.holders:
            whose = t("status.session") if (gpu.host, holder.pid) in ours else f"{holder.command} (pid {holder.pid})"
            yield html.escape(t("status.holder", who=whose, bytes=gigabytes(holder.bytes)))
    running = [job for job in status.jobs if job.state == "running"]
    for job in running:
        owner = job.owner or t("status.here")
        step = f"{job.step}/{job.steps}"
        yield html.escape(t("status.runs", owner=owner, step=step) if job.steps else t("status.prepares", owner=owner))
    yield html.escape(t("status.queue", count=status.queued))
    if status.clients > 1:
        yield html.escape(t("status.clients", count=status.clients))


def _expected(gpu: Gpu, t: Texts) -> str:
    """What Z-Image-Turbo would be on this card, by the plan that the doctor tells too."""
    try:
        found = plan_for(card_of(gpu.name, round(gpu.total / 2**30), bfloat16=gpu.bfloat16))
    except OutOfMemory:
        return t("status.too_small")
    streamed, blocks = found.streamed_blocks, found.resident_blocks + found.streamed_blocks
    where = t("status.streamed", streamed=streamed, blocks=blocks) if streamed else t("status.whole")
    about = t("status.about", time=t.duration(found.seconds)) if found.seconds else ""
    return t("status.turbo", where=where, about=about)


def _short(model: str) -> str:
    """A folder's own name, or the name."""
    return model.rstrip("/").rpartition("/")[2] or model
