"""A worker imports what it needs as soon as it is there, not when the first picture is asked for."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from programs import Place, eventually

from zimage_kit import Request, Session
from zimage_kit.engine.resident import IMPORTING, ResidentModel
from zimage_kit.errors import JobCancelled
from zimage_kit.session.inline import InlineEngine


@pytest.mark.skipif(sys.platform != "linux", reason="reads what a process has mapped")
def test_a_worker_has_torch_before_it_is_asked(place: Place, small: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_ZIMAGE__READY", "True")
    session = place.session()
    (worker,) = eventually(lambda: session.status().workers, "a worker")
    mapped = Path(f"/proc/{worker.pid}/maps")
    eventually(lambda: "libtorch_cpu" in mapped.read_text(), "torch in the worker", 60)
    found = session.status().workers[0]
    assert found.model is None and found.resident_bytes == 0, "what it draws is not known yet"
    assert "import" not in session.run(small, on_event=lambda event: None).trace.milliseconds


def test_who_asks_meanwhile_is_told_and_can_cancel(small: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    monkeypatch.setattr(ResidentModel, "get_ready", lambda self: (begun.set(), go.wait(60)))
    engine = InlineEngine()
    engine.get_ready()
    assert begun.wait(10)
    with Session(engine, "inline") as session:
        job = session.submit(small)
        job.cancel()
        assert [event.message for event in job.events() if event.kind == "loading"] == [IMPORTING]
        with pytest.raises(JobCancelled):
            job.result(10)
        begin = time.monotonic()
    assert time.monotonic() - begin < 5, "closing waited for the import"
    go.set()
