"""The queue: everyone's jobs in the session, and what can be done about those of this panel."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as w
import traitlets as t

from ....session.status import JobStatus
from ....text.scripts import joined_script, joined_style
from ...translations import Texts
from ..pane import Pane, PaneContext

FOLDER = Path(__file__).parent
LOOK_SECONDS = 1.0
MOST = 200
"""Jobs that are listed."""


class QueueView(anywidget.AnyWidget):
    """The jobs as rows {id, prompt, model, owner, state, own, first}.

    Sends {"do": "cancel" or "hasten", "id": job}. `first`: it is the next of its owner's already.
    """

    _esm = joined_script(FOLDER / "queue.js")
    _css = joined_style(FOLDER / "queue.css")

    texts = t.Dict().tag(sync=True)
    rows: t.List[dict[str, Any]] = t.List().tag(sync=True)
    more = t.Unicode("").tag(sync=True)


class QueuePane(Pane):
    """Lists the session's jobs while it is open; makes again what failed."""

    name = "queue"

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self._closed = False

    def build(self, context: PaneContext) -> Sequence[Any]:
        """The list, and buttons for all of this panel's jobs."""
        texts = context.texts
        self.view = QueueView(texts=texts.section("queue"))
        self.view.on_msg(lambda _, message, __: context.in_background(lambda: self._do(message)))
        self.retry = w.Button(tooltip=texts("queue.retry_help"))
        self.retry.add_class("zk-asks").add_class("zk-asks-retry_failed").add_class("zk-hidden")
        return [self.view, self.retry]

    def receive(self, message: Any) -> bool:
        """Make the failed ones again."""
        if message.get("do") != "retry_failed":
            return False
        self.context.jobs.retry()
        self.jobs_changed()
        return True

    def opened(self) -> None:
        """Begin to look."""
        self.jobs_changed()

    def jobs_changed(self) -> None:
        """Look again now, and then every second while it is open."""
        failed = len(self.context.jobs.unmade)
        self.retry.description = self.context.texts("queue.retry", count=failed)
        self.retry.remove_class("zk-hidden") if failed else self.retry.add_class("zk-hidden")
        if self.is_open:
            self.context.in_background(self._look)

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.is_open or self._closed:
            return
        jobs = self.context.session.status().jobs
        own = self.context.jobs.running
        waiting = [job.id for job in jobs if job.state == "queued" and job.id in own]
        first = waiting[0] if waiting else ""
        self.view.rows = [self._row(job, job.id in own, job.id == first) for job in jobs[:MOST]]
        self.view.more = self.context.texts("queue.more", count=len(jobs) - MOST) if len(jobs) > MOST else ""
        if jobs:
            self._timer = threading.Timer(LOOK_SECONDS, lambda: self.context.in_background(self._look))
            self._timer.daemon, self._timer.name = True, "zimage-queue"
            self._timer.start()

    def _row(self, job: JobStatus, own: bool, first: bool) -> dict[str, Any]:
        texts: Texts = self.context.texts
        if job.state == "running":
            state = texts("grid.step", step=job.step, steps=job.steps) if job.step else texts("state.running")
        else:
            state = texts("panel.waiting", count=job.position) if job.position else texts("panel.next")
        return {
            "id": job.id, "prompt": job.prompt, "model": Path(job.model).name, "state": state, "own": own,
            "owner": texts("queue.mine") if own else job.owner or texts("status.here"),
            "running": job.state == "running", "first": first,
        }  # fmt: skip

    def _do(self, message: dict[str, Any]) -> None:
        match message:
            case {"do": "cancel", "id": str(job)} if job in self.context.jobs.running:
                self.context.session.cancel(job)
            case {"do": "hasten", "id": str(job)} if job in self.context.jobs.running:
                self.context.session.hasten(job)
        self._look()
