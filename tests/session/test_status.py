"""A status reads the same after its journey, and in words to people."""

from __future__ import annotations

import json

from zimage_kit.engine.gpus import Gpu, Holder
from zimage_kit.engine.worker_status import WorkerStatus
from zimage_kit.session.status import JobStatus, Status


def full() -> Status:
    worker = WorkerStatus(
        name="box-gpu0",
        host="box",
        pid=77,
        state="running",
        device="cuda:0",
        dtype="bfloat16",
        model="turbo",
        placement="resident",
        plan={"speed": "exact"},
        model_loads=2,
        load_seconds=12.34,
        running="one",
        resident_bytes=20_400_000_000,
        peak_bytes=23_300_000_000,
        models=("nano", "turbo"),
    )
    stuck = WorkerStatus(name="box-gpu1", host="box", pid=78, state="not answering", last_seen=42.4)
    jobs = (
        JobStatus(id="one", state="running", prompt="a cat", model="turbo", owner="a.ipynb", step=3, steps=8),
        JobStatus(
            id="two", state="queued", prompt="x" * 60, model="nano", owner="b", priority="batch", keep=True, position=1
        ),
    )
    gpu = Gpu(
        index=0,
        name="A card",
        driver="580.1",
        host="box",
        bfloat16=True,
        total=24_000_000_000,
        used=21_000_000_000,
        temperature=61,
        power=212.4,
        holders=(Holder(77, "python", 20_900_000_000), Holder(5, "Xorg", 90_000_000)),
    )
    return Status(
        engine="shared",
        state="running",
        model_loads=2,
        workers=(worker, stuck),
        jobs=jobs,
        gpus=(gpu,),
        clients=3,
        address="tls://127.0.0.1:1",
        idle_unload=60.0,
    )


def test_a_status_is_the_same_after_its_journey() -> None:
    status = full()
    assert Status.model_validate(json.loads(status.model_dump_json())) == status
    assert Status.model_validate(status.model_dump(mode="json")) == status


def test_json_also_says_what_is_worked_out() -> None:
    data = json.loads(full().model_dump_json())
    assert (data["model"], data["device"], data["running"], data["queued"]) == ("turbo", "cuda:0", "one", 1)
    assert data["memory_bytes"] == 20_400_000_000


def test_a_status_reads_as_lines_about_workers_jobs_and_cards() -> None:
    assert str(full()).splitlines() == [
        "shared session at tls://127.0.0.1:1: running, 1 queued, 2 model loads, 3 attached",
        "  worker box-gpu0 (pid 77): running, turbo on cuda:0 in bfloat16, resident, exact, loaded in 12.3 s, "
        "20.4 GB (peak 23.3 GB)",
        "  worker box-gpu1 (pid 78): not answering, no model, last seen 42 s ago",
        "  job one: step 3 of 8, 'a cat' for a.ipynb",
        f"  job two: queued, 1 ahead, {'x' * 47 + '…'!r} for b, batch, kept",
        "  A card (box): 21.0 GB of 24.0 GB used, 61 °C, 212 W",
        "    20.9 GB held by pid 77 (python, this session)",
        "    90 MB held by pid 5 (Xorg)",
    ]


def test_a_session_without_anything_reads_well_too() -> None:
    status = Status(engine="inline", state="idle")
    assert str(status) == "inline session: idle, 0 queued, 0 model loads, 1 attached"
    assert (status.model, status.device, status.running, status.queued, status.memory_bytes) == (None, None, None, 0, 0)


def test_of_several_workers_the_one_with_a_model_speaks() -> None:
    empty = WorkerStatus(name="a", host="box", pid=1, state="idle", device="cpu")
    loaded = WorkerStatus(name="b", host="box", pid=2, state="idle", device="cuda:0", model="nano")
    assert Status(engine="shared", state="idle", workers=(empty, loaded)).device == "cuda:0"
    assert Status(engine="shared", state="idle", workers=(empty,)).device == "cpu"
