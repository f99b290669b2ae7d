"""A worker imports and loads what it needs as soon as it is there, not when the first picture is asked for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from programs import Place, eventually

from zimage_kit import Request, Session
from zimage_kit.engine import pipeline
from zimage_kit.engine.events import Event
from zimage_kit.engine.resident import IMPORTING, ResidentModel
from zimage_kit.errors import JobCancelled, JobFailed
from zimage_kit.session.inline import InlineEngine


def test_a_worker_has_the_default_model_before_it_is_asked(
    place: Place, small: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_ZIMAGE__READY", "True")
    session = place.session()
    eventually(lambda: session.status().model == "nano", "the model in the worker", 60)
    assert session.status().state == "idle"
    events: list[Event] = []
    took = session.run(small.but(model="nano"), on_event=events.append).trace.milliseconds
    assert not {"import", "load"} & took.keys() and all(event.kind != "loading" for event in events)
    assert session.status().model_loads == 1


def test_loading_is_told_to_who_asks_meanwhile(small: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, kept, begun, go = InlineEngine(), pipeline.preparing, threading.Event(), threading.Event()
    monkeypatch.setattr(pipeline, "preparing", lambda *given: (begun.set(), go.wait(60), kept(*given))[2])
    ended = threading.Event()
    engine.get_ready(ended.set)
    assert begun.wait(60) and engine.status().state == "loading"
    with Session(engine, "inline") as session:
        job = session.submit(small.but(model="nano"))
        go.set()
        told = [event for event in job.events() if event.kind == "loading"]
        assert any(event.bytes_done and event.bytes_total and event.job == job.id for event in told), told
        assert ended.is_set() and "load" not in job.result(60).trace.milliseconds
        assert session.status().model_loads == 1


@pytest.mark.parametrize("what", ["another model", "unload", "close"])
def test_loading_makes_way(what: str, small: Request, copied_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, kept, begun, go = InlineEngine(), pipeline.preparing, threading.Event(), threading.Event()
    monkeypatch.setattr(pipeline, "preparing", lambda *given: (begun.set(), go.wait(60), kept(*given))[2])
    ended = threading.Event()
    engine.get_ready(ended.set)
    assert begun.wait(60)
    with Session(engine, "inline") as session:
        if what == "another model":
            job = session.submit(small.but(model=str(copied_model)))
            go.set()
            assert "load" in job.result(60).trace.milliseconds
            assert (session.status().model, session.status().model_loads) == (str(copied_model), 1)
        else:
            order = threading.Thread(target=session.unload if what == "unload" else session.close)
            order.start()
            eventually(lambda: engine._queue or engine.closed, f"to {what} is ordered")
            go.set()
            order.join(60)
            assert (session.status().model, session.status().model_loads) == (None, 0)
    assert ended.wait(60) and session.status().memory_bytes == 0


def test_a_model_that_cannot_be_loaded_leaves_the_worker_as_it_was(
    small: Request, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> object:
        raise JobFailed("the file is cut")

    ended = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "preparing", broken)
        engine = InlineEngine()
        engine.get_ready(ended.set)
        assert ended.wait(60)
    with Session(engine, "inline") as session:
        assert (session.status().state, session.status().model) == ("idle", None)
        assert session.run(small).trace.milliseconds["load"] > 0


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
