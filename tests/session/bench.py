"""What the shared session costs on this machine with nano, each figure beside the inline engine where there is one.

    python -m tests.session.bench --output measured.json            about six minutes
    python -m tests.session.bench --output measured.json --quick    the same way with few rounds, to try the script

Starts sessions in a folder of its own and ends them. Prints a Markdown table of medians and writes every number to the
JSON file. A time from one process to another is taken by the clock of the machine that both are on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: both engines with as many threads

import psutil
from PIL import Image

import zimage_kit as zk
from zimage_kit import Event, Job, Request, Session
from zimage_kit.session.shared import launch

MANIFEST = 'name = "bench"\napi = 1\nstages = ["bench_size", "bench_tell"]\n'
STAGES = '''
import time

from zimage_kit import Stage, stage


@stage
class Size(Stage):
    """A picture of `side` x `side` pixels."""

    kind = "bench_size"
    side: int = 1024

    def after(self, image, ctx):
        """The same picture in another size."""
        return image.resize((self.side, self.side), 0)


@stage
class Tell(Stage):
    """Says `count` times what time it is."""

    kind = "bench_tell"
    count: int = 1

    def after(self, image, ctx):
        """The same picture."""
        for _ in range(self.count):
            time.sleep(0.01)
            ctx.progress(repr(time.time()))
        return image
'''
FIRST = """
import time
import zimage_kit as zk
session = zk.connect()
connected = time.monotonic()
print("connected", flush=True)
while not session.status().workers:
    time.sleep(0.01)
print("worker", flush=True)
time.sleep(max(0.0, connected + 5 - time.monotonic()))  # the user types
print("asked", flush=True)
session.run("a cat", seed=1)
print("picture", flush=True)
"""
ATTACH = "import zimage_kit as zk; zk.connect()"


@dataclass(frozen=True)
class Row:
    """One line of the table: medians of `samples` (and of the same on the inline engine), `promised` at most."""

    what: str
    unit: str
    samples: list[float]
    inline: list[float] | None = None
    promised: float | None = None
    of: Callable[[Sequence[float]], float] = statistics.median

    @property
    def measured(self) -> dict[str, float | None]:
        return {"shared": self.of(self.samples), "inline": self.of(self.inline) if self.inline else None}

    @property
    def kept(self) -> bool | None:
        return None if self.promised is None else self.of(self.samples) <= self.promised

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("what", "unit", "samples", "inline", "promised", "measured", "kept")
        return {**{name: getattr(self, name) for name in names}, "count": len(self.samples)}

    def line(self) -> str:
        """As a line of Markdown."""
        values = (*self.measured.values(), self.promised)
        said = ("" if value is None else f"{value:.{2 if abs(value) < 10 else 0}f} {self.unit}" for value in values)
        kept = {None: "", True: "yes", False: "**no**"}[self.kept]
        return f"| {' | '.join((self.what, *said, kept, str(len(self.samples))))} |"


HEAD = "| what | shared | inline | promised | kept | count |\n|---|---|---|---|---|---|"


def percentile_95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


def wall(work: Callable[[], object]) -> float:
    """Milliseconds that something takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def session_file() -> Path:
    return launch.state_folder() / launch.FILE


def end_session() -> None:
    if session_file().exists():
        launch.kill(launch.read_session_file(session_file()))


@contextmanager
def surroundings() -> Iterator[Path]:
    """A place for a session of our own, and the two stages; no process and no file is left."""
    with tempfile.TemporaryDirectory(prefix="zimage-bench-") as name:
        folder = Path(name)
        (folder / "bench").mkdir()
        (folder / "bench" / "extension.toml").write_text(MANIFEST)
        (folder / "bench" / "__init__.py").write_text(STAGES)
        os.environ.update(ZIMAGE_STATE=str(folder / "state"), ZIMAGE_EXTENSIONS=str(folder))
        os.environ.pop("ZIMAGE_SESSION", None)
        try:
            yield folder
        finally:
            end_session()


def first_connects(rounds: int) -> Iterator[Row]:
    """Whole processes that find no session, from their start to what they print."""
    taken: dict[str, list[float]] = {"connected": [], "worker": [], "asked": [], "picture": []}
    for _ in range(rounds):
        begin = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", FIRST], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                taken[line.strip()].append(time.perf_counter() - begin)
        if process.returncode:
            raise SystemExit("the first connect failed")
        end_session()
    yield Row("first connect, from a process's start until `zk.connect()` returns", "s", taken["connected"], None, 4)
    yield Row("the same, until a worker is there to load a model", "s", taken["worker"], None, 4)
    first = [after - before for before, after in zip(taken["asked"], taken["picture"], strict=True)]
    yield Row("the first picture (nano), asked for five seconds after connecting", "s", first, None, 2)


def attaches(rounds: int) -> Iterator[Row]:
    """Whole processes beside a session that is there, in turn; then this process again and again."""
    taken: dict[str, list[float]] = {"pass": [], "import zimage_kit": [], ATTACH: []}
    for _ in range(rounds):
        for program, seconds in taken.items():
            seconds.append(wall(partial(subprocess.run, [sys.executable, "-c", program], check=True)) / 1e3)
    yield Row("attach, a whole process: `import zimage_kit as zk; zk.connect()`", "s", taken[ATTACH], None, 0.6)
    yield Row("of that, `import zimage_kit` alone", "s", taken["import zimage_kit"])
    yield Row("of that, Python alone (`pass`)", "s", taken["pass"])
    warm = []
    for _ in range(2 * rounds):
        zk.connect().close()
        warm.append(wall(zk.connect))
    yield Row("attach in a warm process", "ms", warm, None, 80)


def family() -> list[psutil.Process]:
    """The session's processes."""
    server = psutil.Process(launch.read_session_file(session_file()).pid)
    return [server, *server.children(recursive=True)]


def megabytes(process: psutil.Process) -> float:
    """Memory of a process with its share of what it shares (PSS); without what it shares where the system can't say."""
    full = process.memory_full_info()
    return float(getattr(full, "pss", 0) or full.uss) / 1e6


def at_rest(seconds: float, rounds: int, how: str, most: float | None) -> Iterator[Row]:
    """Processor and memory of all the session's processes while nothing is asked of it; at `most` so many MB."""
    cpu = []
    for _ in range(rounds):
        before = {process: process.cpu_times() for process in family()}
        begin = time.perf_counter()
        time.sleep(seconds)
        used = sum(sum(process.cpu_times()[:2]) - sum(times[:2]) for process, times in before.items())
        cpu.append(100 * used / (time.perf_counter() - begin))
    memory = [sum(map(megabytes, family()))]
    yield Row(f"processor at rest, {how}, over {seconds:g} s, of one core", "%", cpu, None, 1.5)
    yield Row(f"memory at rest, {how}, PSS of all processes", "MB", memory, None, most)


def in_turn(sessions: Sequence[Session], rounds: int, work: Callable[[Session], object]) -> list[list[float]]:
    """Milliseconds on each session, one after the other and back: shared, inline, inline, shared, …"""
    taken: list[list[float]] = [[] for _ in sessions]
    for number in range(-1, rounds):  # one round to warm up
        for session, times in list(zip(sessions, taken, strict=True))[:: 1 if number % 2 else -1]:
            took = wall(partial(work, session))
            if number >= 0:
                times.append(took)
    return taken


def pictures(sessions: Sequence[Session], base: Request, rounds: int) -> Iterator[Row]:
    """What a picture costs more in the shared session."""
    large = zk.stages.bench_size(side=1024)
    enlarged = base.but(width=64, height=64, steps=1).then(large)
    given = Image.effect_noise((1024, 1024), 64).convert("RGB")
    works: dict[str, tuple[int, float | None, Callable[[Session], object]]] = {
        "a result of 1024x1024 (64x64 and 1 step, enlarged)": (4, 40, lambda s: s.run(enlarged, fresh=True)),
        "the same with events listened to": (4, None, lambda s: s.run(enlarged, lambda event: None, fresh=True)),
        "a picture of 256x256, 8 steps": (1, None, lambda s: s.run(base, fresh=True)),
        "`apply` on 1024x1024: 3 MB there, 3 MB back": (4, None, lambda s: s.apply(given, large)),
    }
    for what, (times, promised, work) in works.items():
        shared, inline = in_turn(sessions, times * rounds, work)
        yield Row(what, "ms", shared, inline)
        more = statistics.median(shared) - statistics.median(inline)
        yield Row("what the shared session adds (difference of medians)", "ms", [more], None, promised)


def progress(sessions: Sequence[Session], base: Request, count: int) -> Iterator[Row]:
    """From a word of the worker's to its being heard."""
    heard: list[list[float]] = []
    for session in sessions:
        delays: list[float] = []

        def listen(event: Event, delays: list[float] = delays) -> None:
            if event.kind == "stage" and event.message[:1].isdigit():
                delays.append((time.time() - float(event.message)) * 1e3)

        session.run(base.but(width=64, height=64, steps=1).then(zk.stages.bench_tell(count=count)), listen)
        heard.append(delays)
    shared, inline = heard
    yield Row("a progress event, from being told to being heard", "ms", shared, inline, 15)
    yield Row("the same, 95th percentile", "ms", shared, inline, 15, percentile_95)


def cancels(sessions: Sequence[Session], base: Request, rounds: int) -> Iterator[Row]:
    """How long a job goes on after `cancel()` returned, and how many steps it still told."""
    long = base.but(width=512, height=512, steps=50)
    steps, running, queued = [], [], []
    for session in sessions:
        results = [_cancel_running(session.submit(long.but(seed=seed), fresh=True)) for seed in range(rounds)]
        steps.append([float(after) for after, _ in results])
        running.append([took for _, took in results])
        first = session.submit(long, fresh=True)
        queued.append([_cancel_queued(session.submit(base, fresh=True)) for _ in range(4 * rounds)])
        first.cancel()
    what = "cancel of a running job (512x512)"
    yield Row(f"{what}: steps heard after `cancel()` returned, at most", "steps", steps[0], steps[1], 1, max)
    yield Row(f"{what}: until its state is cancelled", "ms", running[0], running[1])
    yield Row("cancel of a queued job, until its state is cancelled", "ms", queued[0], queued[1], 50)


def _cancel_running(job: Job) -> tuple[int, float]:
    heard: list[tuple[float, Event]] = []
    third = threading.Event()

    def listen() -> None:
        for event in job.events():
            heard.append((time.perf_counter(), event))
            if event.step == 3:
                third.set()

    listener = threading.Thread(target=listen)
    listener.start()
    third.wait(120)
    begin = time.perf_counter()
    job.cancel()
    returned = time.perf_counter()
    listener.join()
    after = sum(event.kind == "step" and when > returned for when, event in heard)
    return after, (heard[-1][0] - begin) * 1e3


def _cancel_queued(job: Job) -> float:
    next(event for event in job.events() if event.kind == "queued")
    begin = time.perf_counter()
    job.cancel()
    while job.state != "cancelled":
        time.sleep(0.0005)
    return (time.perf_counter() - begin) * 1e3


def unloading(session: Session) -> Iterator[Row]:
    """The worker's memory before and after."""
    worker = psutil.Process(session.status().workers[0].pid)
    before = megabytes(worker)
    took = wall(session.unload)
    yield Row("the worker's memory with the model (PSS)", "MB", [before])
    yield Row("the same after `unload()` (torch stays imported)", "MB", [megabytes(worker)])
    yield Row("`unload()` takes", "ms", [took])


def measure(model: str, quick: bool) -> Iterator[Row]:
    """Every row, in an order that loads the model as late as it can."""
    rounds, pause = (1, 1.0) if quick else (5, 20.0)
    base = Request(prompt="a red balloon over the sea", model=model, width=256, height=256, steps=8, seed=7)
    yield from first_connects(rounds)
    shared = zk.connect()
    while not shared.status().workers:
        time.sleep(0.05)
    yield from attaches(2 * rounds)
    shared = zk.connect()
    time.sleep(pause / 4)
    yield from at_rest(pause, min(rounds, 3), "no model loaded", 250)
    with zk.connect("inline", device="cpu") as inline:
        sessions = (shared, inline)
        yield from pictures(sessions, base, 1 if quick else 8)
        yield from progress(sessions, base, 40 * rounds)
        yield from cancels(sessions, base, rounds)
    yield from at_rest(pause, min(rounds, 3), "model loaded", None)
    yield from unloading(shared)
    shared.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when every promise is kept."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.session.bench", description=about)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="few rounds, to try the script")
    parser.add_argument("--model", default="nano")
    options = parser.parse_args(arguments)
    rows = []
    load = [os.getloadavg()]
    with surroundings() as folder:
        for row in measure(options.model, options.quick):
            print(row.line(), file=sys.stderr, flush=True)
            rows.append(row)
    load.append(os.getloadavg())
    machine = {
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "threads": os.environ["OMP_NUM_THREADS"],
        "load_average": [round(values[0], 2) for values in load],  # of the last minute, before and after
    }
    data = {"machine": machine, "folder": str(folder), "quick": options.quick, "rows": [row.data() for row in rows]}
    options.output.write_text(json.dumps(data, indent=2) + "\n")
    print("\n".join([HEAD, *(row.line() for row in rows)]))
    return 0 if all(row.kept is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
