"""The shared session at the size of the real model: one load for each GPU, two notebooks at once, memory given back.

    python tests/gpu/shared_session.py --output measured.json

Writes a directory in the published layout with random weights (as full_size.py does), starts a session on one GPU and
then on all of them, lets two client processes queue eight pictures each (1024x1024, 8 steps), and writes what it saw to
the JSON file. Promised: two GPUs have 1.9 times the rate of one; one load for each GPU; after `unload` the cards are
back within 600 MB of what an empty process holds; a killed notebook's job makes room within a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zimage_kit as zk
from zimage_kit import Event, Request
from zimage_kit.engine.gpus import list_gpus
from zimage_kit.session.shared.shared_engine import SharedEngine

RATE, LEFT_BYTES, FREED_SECONDS = 1.9, 600_000_000, 1.0


def client(model: str, side: int, count: int, first: int) -> None:
    """A notebook in a process of its own: says that it is ready, waits for the word, queues its pictures, reports."""
    session = zk.connect()
    print("ready", flush=True)
    while (word := sys.stdin.readline().strip()) and word != "end":
        base = Request(prompt="x", model=model, width=side, height=side, steps=8)
        began = time.time()
        jobs = [session.submit(base, prompt=f"{word}, picture {n}", seed=n) for n in range(first, first + count)]
        for job in jobs:
            job.result()
        print(json.dumps({"began": began, "ended": time.time(), "torch": "torch" in sys.modules}), flush=True)


class Client:
    """The other end of `client`."""

    def __init__(self, model: str, side: int, count: int, first: int) -> None:
        command = [sys.executable, __file__, "--client", model, str(side), str(count), str(first)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.read() == "ready"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.say("end")
        self.process.wait(30)


def used() -> list[int]:
    """Bytes used on each card that this session may use."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = list_gpus()[0]
    return [card.used for card in cards if allowed is None or str(card.index) in allowed.split(",")]


def settled() -> list[int]:
    """`used`, once processes that are ending have given everything back."""
    now, before = used(), []
    while now != before:
        time.sleep(1)
        now, before = used(), now
    return now


def empty_process() -> int:
    """Bytes that a process holds on a card which has done nothing but compute one number there."""
    code = "import sys, torch; torch.ones(1, device='cuda').item(); print('there', flush=True); sys.stdin.readline()"
    before = settled()[0]
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "there"
    held = used()[0] - before
    process.communicate("\n")
    return held


def measure(model: str, side: int, count: int, gpus: int) -> dict[str, Any]:
    """One session on so many GPUs (0: the CPU): load, two clients at once, a killed client, unload, stop."""
    before = settled() if gpus else [0]
    session = zk.connect()
    engine = session._engine
    assert isinstance(engine, SharedEngine)
    workers = max(1, gpus)
    deadline = time.monotonic() + 60
    while len(session.status().workers) < workers and time.monotonic() < deadline:
        time.sleep(0.05)
    base = Request(prompt="warm up", model=model, width=side, height=side, steps=8)
    begin = time.perf_counter()
    first = [session.submit(base, seed=seed) for seed in range(workers)]
    events = [list(job.events()) for job in first]
    loaded = time.perf_counter() - begin
    list(session.run([base.but(seed=100 + seed) for seed in range(2 * workers)]))  # kernels chosen, caches warm

    alone = []
    for seed in range(5):
        begin = time.perf_counter()
        session.run(base.but(prompt=f"alone, number {seed}", seed=seed))
        alone.append(time.perf_counter() - begin)

    clients = [Client(model, side, count, first) for first in (1000, 2000)]
    spans = []
    for word in ("a first round", "a second round"):
        for each in clients:
            each.say(word)
        told = [json.loads(each.read()) for each in clients]
        spans.append(max(one["ended"] for one in told) - min(one["began"] for one in told))
    for each in clients:
        each.close()
    status = session.status()
    text = str(status)

    freed = after_a_kill(session, base, workers)
    full = used() if gpus else [0]
    session.unload()
    after = settled() if gpus else [0]
    engine.stop()
    progress = [event for event in events[0] if event.kind == "loading" and event.bytes_total]
    return {
        "gpus": gpus,
        "workers": [worker.model_dump(mode="json") for worker in status.workers],
        "model_loads": status.model_loads,
        "first_pictures_seconds": round(loaded, 2),
        "load_seconds": [worker.load_seconds for worker in status.workers],
        "load_events": len(progress),
        "load_bytes": [progress[0].bytes_done, progress[-1].bytes_done, progress[-1].bytes_total] if progress else [],
        "alone_seconds": round(statistics.median(alone), 4),
        "pictures": 2 * count,
        "seconds": [round(span, 3) for span in spans],
        "rate": round(2 * count / min(spans), 4),
        "clients_loaded_torch": any(one["torch"] for one in told),
        "freed_seconds": round(freed, 3),
        "bytes_before": before,
        "bytes_loaded": full,
        "bytes_unloaded": after,
        "status": text,
    }


def after_a_kill(session: zk.Session, base: Request, workers: int) -> float:
    """Seconds from `kill -9` of a process in the middle of its pictures to the first step of the next one's."""
    code = (
        "import sys, zimage_kit as zk\n"
        "session = zk.connect()\n"
        "request = zk.Request.model_validate_json(sys.argv[1])\n"
        "jobs = [session.submit(request, seed=seed) for seed in range(int(sys.argv[2]))]\n"
        "for job in jobs:\n"
        "    next(event for event in job.events() if event.kind == 'step')\n"
        "print('running', flush=True)\n"
        "sys.stdin.read()\n"
    )
    long = base.but(prompt="a long one", steps=100).model_dump_json()
    process = subprocess.Popen(
        [sys.executable, "-c", code, long, str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "running"
    job = session.submit(base, prompt="the next one", seed=3)
    next(event for event in job.events() if event.kind == "queued")
    process.kill()
    begin = time.perf_counter()
    heard: Event = next(event for event in job.events() if event.kind == "step")
    taken = time.perf_counter() - begin
    assert heard.step == 1
    job.result()
    process.communicate()
    return taken


def on(cards: str | None, model: str, side: int, count: int, gpus: int) -> dict[str, Any]:
    """`measure` in a process of its own, which may use these cards only, with a session folder of its own."""
    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "ZIMAGE_STATE": state}
        if cards is not None:
            environment |= {"CUDA_VISIBLE_DEVICES": cards, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        command = [sys.executable, __file__, "--measure", model, str(side), str(count), str(gpus)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when the promises are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="nano's size on the CPU, to try the script")
    parser.add_argument("--folder", type=Path, help="where to write the model; a temporary folder otherwise")
    parser.add_argument("--model", type=Path, help="a directory that is there already, instead of writing one")
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.client:
        model, side, count, first = options.client
        client(model, int(side), int(count), int(first))
        return 0
    if options.measure:
        model, side, count, gpus = options.measure
        print(json.dumps(measure(model, int(side), int(count), int(gpus))))
        return 0

    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="shared-session-"))
    try:
        model = options.model or folder / "model"
        if options.model is None:
            networks = "tiny()" if options.tiny else "full_size()"
            build = f"from full_size import *; write(Path({str(model)!r}), {networks}, '5GB')"
            command = [sys.executable, "-c", build]  # in a process of its own: its memory goes with it
            subprocess.run(command, cwd=Path(__file__).parent, check=True)
        cards = [] if options.tiny else [str(card.index) for card in list_gpus()[0]]
        empty = empty_process() if cards else 0
        side, count = (64, 2) if options.tiny else (1024, 8)
        runs = [on(cards[0] if cards else None, str(model), side, count, min(1, len(cards)))]
        if len(cards) > 1:
            runs.append(on(",".join(cards), str(model), side, count, len(cards)))
        measured: dict[str, Any] = {"runs": runs, "empty_process_bytes": empty}
    finally:
        shutil.rmtree(folder)

    kept = {
        "one load for each GPU": all(run["model_loads"] == max(1, run["gpus"]) for run in runs),
        "freed within a second": all(run["freed_seconds"] <= FREED_SECONDS for run in runs),
        "clients without torch": not any(run["clients_loaded_torch"] for run in runs),
    }
    if cards:
        left = [
            after - before - measured["empty_process_bytes"]
            for run in runs
            for before, after in zip(run["bytes_before"], run["bytes_unloaded"], strict=True)
        ]
        measured["left_bytes"] = left
        kept["memory given back"] = max(left) <= LEFT_BYTES
    if len(runs) > 1:
        measured["rate_ratio"] = round(runs[1]["rate"] / runs[0]["rate"], 4)
        kept["rate"] = measured["rate_ratio"] >= RATE * len(cards) / 2
    measured["kept"] = kept
    text = json.dumps(measured, indent=2)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
