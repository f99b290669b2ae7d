"""The status line: which model, where, how full the card is, how hot, who waits and who holds the memory."""

from __future__ import annotations

import html
from collections.abc import Iterator

from ..status import Status
from ..units import gigabytes
from .texts import Texts


def line(status: Status, texts: Texts) -> str:
    """The status as an HTML list; everything that comes from outside is escaped."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in _items(status, texts)) + "</ul>"


def _items(status: Status, t: Texts) -> Iterator[str]:
    held = [worker for worker in status.workers if worker.model]
    yield f"<b>{html.escape(t.get(f'state.{status.state}', status.state))}</b>"
    for worker in held:
        where = f"{worker.device}, {worker.dtype}, {worker.placement}"
        size = f" · {gigabytes(worker.resident_bytes)}" if worker.resident_bytes else ""
        yield f"<b>{html.escape(_short(worker.model or ''))}</b> {html.escape(where)}{size}"
    if not held:
        yield html.escape(t("status.no_model"))
    for gpu in status.gpus:
        share = gpu.used / gpu.total if gpu.total else 0.0
        told = t("status.memory", used=gigabytes(gpu.used), total=gigabytes(gpu.total))
        name = html.escape(f"{gpu.name}: {told}", quote=True)
        yield (
            f'{html.escape(gpu.name)} <meter min="0" max="1" high="0.92" value="{share:.3f}" '
            f'aria-label="{name}"></meter> {html.escape(told)}'
        )
        if gpu.temperature is not None:
            yield html.escape(t("status.heat", degrees=gpu.temperature))
        ours = {(worker.host, worker.pid) for worker in status.workers}
        for holder in gpu.holders:
            whose = t("status.session") if (gpu.host, holder.pid) in ours else f"{holder.command} (pid {holder.pid})"
            yield html.escape(t("status.holder", who=whose, bytes=gigabytes(holder.bytes)))
    running = [job for job in status.jobs if job.state == "running"]
    for job in running:
        step = f"{job.step or 0}/{job.steps}" if job.steps else ""
        yield html.escape(t("status.runs", owner=job.owner or t("status.here"), step=step))
    yield html.escape(t("status.queue", count=status.queued))
    if status.clients > 1:
        yield html.escape(t("status.clients", count=status.clients))


def _short(model: str) -> str:
    """A folder's own name, or the name."""
    return model.rstrip("/").rpartition("/")[2] or model
