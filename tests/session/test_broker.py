"""The broker tells whoever listens, and keeps nothing for those who do not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from distributed.batched import BatchedSend

from zimage_kit.session.shared.broker import Broker
from zimage_kit.session.shared.broker_state import Client, QueuedJob


class Line:
    """A process's connection; what is not listened to stays in its buffer."""

    def __init__(self) -> None:
        self.buffer: list[dict[str, Any]] = []
        self.gone = False

    def closed(self) -> bool:
        return self.gone

    def send(self, message: dict[str, Any]) -> None:
        self.buffer.append(message)

    def listen(self) -> list[dict[str, Any]]:
        heard, self.buffer = self.buffer, []
        return heard


def test_who_does_not_listen_misses_steps_but_nothing_else() -> None:
    """Previews for a notebook that hangs would pile up for as long as it does."""
    scheduler = SimpleNamespace(handlers={}, stream_handlers={})
    broker = Broker(cast(Any, scheduler))
    awake, asleep, gone = Line(), Line(), Line()
    gone.gone = True
    listeners = {Client(str(number), "", cast(BatchedSend, line)) for number, line in enumerate((awake, asleep, gone))}
    task = {"id": "job", "priority": "batch", "keep": False, "request": "{}", "assets": {}}
    broker._state.add(QueuedJob(task, "", "", "0", listeners))
    heard = []
    for step in range(1000):
        scheduler.stream_handlers["zimage-event"](worker="w", event={"kind": "step", "job": "job", "step": step})
        heard += awake.listen()
    scheduler.stream_handlers["zimage-event"](worker="w", event={"kind": "stage", "job": "job"})
    assert [message["event"]["step"] for message in heard] == list(range(1000))
    assert len(asleep.buffer) < 100
    assert asleep.buffer[-1]["event"]["kind"] == "stage"
    assert gone.buffer == []


def test_an_event_of_a_job_that_is_over_is_nobodys_business() -> None:
    scheduler = SimpleNamespace(handlers={}, stream_handlers={})
    Broker(cast(Any, scheduler))
    scheduler.stream_handlers["zimage-event"](worker="w", event={"kind": "step", "job": "long gone"})
    scheduler.stream_handlers["zimage-begun"](worker="w", job="long gone")
    assert set(scheduler.handlers) == {"zimage_attach"}


@pytest.mark.parametrize("seam", ["send", "assign"])
def test_a_fault_of_the_scheduler_ends_the_jobs_that_it_meets(seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    async def met() -> tuple[Line, Broker]:
        scheduler = SimpleNamespace(handlers={}, stream_handlers={}, worker_send=lambda *_: None, workers={"w": 1})
        broker, line = Broker(cast(Any, scheduler)), Line()
        client = Client("c", "", cast(BatchedSend, line))
        status = {
            "model": None,
            "name": "w",
            "state": "idle",
            "fingerprints": {},
            "model_loads": 0,
            "models": [],
            "machine": "m",
        }
        scheduler.stream_handlers["zimage-report"](worker="w", number=0, worker_status=status, gpus=[])
        await asyncio.sleep(0)
        if seam == "send":
            scheduler.worker_send = fault
        else:
            monkeypatch.setattr(broker._state, "assign", fault)
        for job in ("first", "second"):
            task = {"id": job, "priority": "batch", "keep": False, "request": "{}", "assets": {}}
            scheduler.stream_handlers["zimage-submit"](client=client, task=task, prompt="", model="")
        for _ in range(5):
            await asyncio.sleep(0)
        for timer in broker._timers.values():
            timer.cancel()
        return line, broker

    line, broker = asyncio.run(met())
    outcomes = [message for message in line.buffer if message["op"] == "outcome"]
    assert all("a mistake of ours" in message["outcome"]["seen"] for message in outcomes)
    ended = [message["job"] for message in outcomes]
    assert sorted(set(ended)) == sorted(ended), "a job ends once"
    assert set(ended) >= ({"first", "second"} if seam == "assign" else {"first"})
    assert all(
        "a mistake of ours" in message["outcome"]["seen"] for message in line.buffer if message["op"] == "outcome"
    )
    assert all(slot.queued is None or slot.queued.id in broker._state.jobs for slot in broker._state.slots.values())
