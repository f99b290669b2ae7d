"""Eight programs at once draw a thousand pictures while they, their worker and their session are killed.

    python -m tests.soak.load --output measured.json            about ten minutes on two cores
    python -m tests.soak.load --jobs 60 --quiet 40 --clients 3  the same way, to try the script

First the load, with a program killed every few seconds, the worker every minute and the session twice; then a quiet
part, in which memory is watched; then the end, after which nothing may be left. All in a folder of its own. Prints a
Markdown report; the exit status is 1 if one of its promises was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import psutil

import zimage_kit as zk
from zimage_kit.errors import ZImageError
from zimage_kit.recipe.artifact import picture_digest
from zimage_kit.session.shared import launch

from . import kept

MANIFEST = 'name = "soak"\napi = 1\nstages = ["soak_break"]\n'
STAGES = '''
from zimage_kit import Stage, stage


@stage
class Break(Stage):
    """A mistake in a user's extension."""

    kind = "soak_break"

    def after(self, image, ctx):
        """None: an error."""
        return image.resize((image.width // 0, 1))
'''
REACHABLE = 60.0
SETTLE = 40
"""Pictures of the quiet part after which memory is first looked at."""
FLAT = 0.05
"""How much more memory a process may have at the end of the quiet part."""
KILLED, LOCKS = -9, 6
MORE = 4
"""Handles and threads together, likewise."""


@dataclass
class Place:
    """The folder of a soak: its session, its programs, what they wrote."""

    root: Path
    programs: dict[subprocess.Popen[bytes], Path] = field(default_factory=dict)
    started: int = 0

    def __post_init__(self) -> None:
        extension = self.root / "extensions" / "soak"
        for folder in (extension, self.outputs, *(self.root / name for name in ("home", "journals", "inputs", "tmp"))):
            folder.mkdir(parents=True)
        (extension / "extension.toml").write_text(MANIFEST)
        (extension / "__init__.py").write_text(STAGES)
        os.environ.update(
            HOME=str(self.root / "home"), HF_HOME=str(self.root / "home" / "huggingface"),
            ZIMAGE_STATE=str(self.state), ZIMAGE_EXTENSIONS=str(self.root / "extensions"),
            ZIMAGE_OUTPUTS=str(self.outputs), SOAK_INPUTS=str(self.root / "inputs"), TMPDIR=str(self.root / "tmp"),
        )  # fmt: skip

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    def start(self) -> None:
        """One more program."""
        self.started += 1
        journal = self.root / "journals" / f"{self.started:04d}.jsonl"
        command = [sys.executable, "-m", "tests.soak.client", str(journal), str(self.started)]
        with journal.with_suffix(".log").open("ab") as log:
            program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.programs[program] = journal

    def lines(self) -> list[dict[str, Any]]:
        """All that was written down."""
        found = []
        for journal in sorted((self.root / "journals").glob("*.jsonl")):
            found += [json.loads(line) for line in journal.read_text().splitlines()]
        return found

    def processes(self) -> dict[psutil.Process, str]:
        """Those of the session with what each is: server, worker or helper; they carry this place's state folder."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("ZIMAGE_STATE") != str(self.state) or process.pid == os.getpid():
                    continue
                line = " ".join(process.cmdline())
                if process.status() != psutil.STATUS_ZOMBIE:
                    found[process] = (
                        "program" if "tests.soak.client" in line
                        else "server" if launch.SERVER in line
                        else "worker" if "spawn_main" in line
                        else "other"
                    )  # fmt: skip
        return found

    def shared_memory(self) -> set[str]:
        """The files in shared memory that its processes have."""
        found: set[str] = set()
        for process in self.processes():
            with suppress(psutil.Error):
                found |= {each.path for each in process.memory_maps() if each.path.startswith("/dev/shm/")}
        return found

    def of(self, role: str) -> list[psutil.Process]:
        return [process for process, what in self.processes().items() if what == role]


@contextmanager
def session() -> Iterator[zk.Session]:
    """A line of the conductor's own, whatever has just been killed."""
    deadline = time.monotonic() + REACHABLE
    while True:
        try:
            connected = zk.connect()
            connected.status()
            break
        except ZImageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    try:
        yield connected
    finally:
        connected.close()


def load(place: Place, jobs: int, clients: int, chance: random.Random, shared: set[str]) -> dict[str, Any]:
    """The loaded part: until so many jobs have begun. What was killed, and how long it took.

    `shared` gets the names of what the processes have in shared memory.
    """
    begin = time.monotonic()
    killed: Counter[str] = Counter()
    servers_killed = list[int]()
    next_program, next_worker = begin + 6.0, begin + 60.0
    servers = [jobs // 3, 2 * jobs // 3]
    begun, problems = 0, list[str]()
    while begun < jobs and len(problems) <= clients:  # programs that all fail never get that far
        time.sleep(1.0)
        now, begun = time.monotonic(), sum("began" in line for line in place.lines())
        for program in list(place.programs):
            if program.poll() is not None:
                if program.returncode != KILLED:
                    problems.append(f"{place.programs[program].name}: its program ended with {program.returncode}")
                del place.programs[program]
        while len(place.programs) < clients:
            place.start()
        if now > next_program:
            program = chance.choice(list(place.programs))
            program.kill()
            killed["programs"] += 1
            next_program = now + chance.uniform(3, 7)
        if now > next_worker and (workers := place.of("worker")):
            chance.choice(workers).kill()
            killed["workers"] += 1
            next_worker = now + 60.0
        if servers and begun > servers[0] and (running := place.of("server")):
            for process in running:
                with suppress(psutil.Error):
                    process.kill()
                servers_killed.append(process.pid)
            killed["sessions"] += 1
            servers.pop(0)
        if int(now) % 30 == 0:
            shared |= place.shared_memory()
            print(f"{now - begin:6.0f} s: {begun} jobs, killed {dict(killed)}", file=sys.stderr, flush=True)
    print("the programs end what they are at", file=sys.stderr, flush=True)
    for program in place.programs:
        assert program.stdin is not None
        program.stdin.close()
    for program, journal in place.programs.items():
        try:
            if program.wait(180) not in (0, KILLED):
                problems.append(f"{journal.name}: its program ended with {program.returncode}")
        except subprocess.TimeoutExpired:
            problems.append(f"{journal.name}: its program did not end")
            program.kill()
    seconds = round(time.monotonic() - begin)
    return {
        "seconds": seconds,
        "killed": dict(killed),
        "programs": place.started,
        "problems": problems,
        "servers": servers_killed,
    }


def settled() -> float:
    """Wait until no job runs or waits; the seconds. Raises TimeoutError."""
    begin = time.monotonic()
    with session() as own:
        while own.status().jobs:
            if time.monotonic() - begin > 300:
                raise TimeoutError(f"these jobs never end: {own.status().jobs}")
            time.sleep(0.2)
    return time.monotonic() - begin


def ends(lines: list[dict[str, Any]]) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How the jobs ended, by what they were; and what contradicts "each job ends once"."""
    does = {line["began"]: line["does"] for line in lines if "began" in line}
    left = {line["kept"] for line in lines if "kept" in line}
    ended: dict[str, list[str]] = {}
    for line in lines:
        if "ended" in line:
            ended.setdefault(line["ended"], []).append(line["state"])
    found: Counter[tuple[str, str]] = Counter()
    problems = [line["problem"] for line in lines if "problem" in line]
    for job, what in does.items():
        states = ended.get(job, [])
        if len(states) > 1:
            problems.append(f"{what} {job} ended {states}")
        state = states[0] if states else "its program was killed"
        if job not in left:  # these are looked at one by one
            found[what, state] += 1
        if state == "failed" and what != "broken stage":
            problems += [f"{what} {job}: {line}" for line in lines if line.get("ended") == job]
        if state == "done" and what == "broken stage":
            problems.append(f"{what} {job} is done")
    return found, problems


def pictures(place: Place, lines: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Whether every picture that was done is a file with the same pixels; how many, and which are not."""
    library = zk.library(place.outputs)
    for removal in library.trash():  # a program was killed between a removal and its undo
        library.restore(removal)
    wanted = {line["file"]: line["pixels"] for line in lines if line.get("state") == "done" and line["file"]}
    lost = []
    for name, pixels in wanted.items():
        path = Path(name)
        found = [path, *path.parent.glob(f"{path.stem}-*{path.suffix}")]
        if not any(each.exists() and picture_digest(zk.open(each).image) == pixels for each in found):
            lost.append(f"{name} is lost")
    lost += [f"{name}: {why}" for name, why in library.problems().items()]
    library.close()
    return len(wanted), lost


def reruns(place: Place, count: int, chance: random.Random) -> Counter[str]:
    """Verdicts on so many pictures, drawn again."""
    library = zk.library(place.outputs)
    every = [each for each in library.search(limit=None) if each.seed is not None and each.model]
    library.close()
    verdicts: Counter[str] = Counter()
    with session() as own:
        for each in chance.sample(every, min(count, len(every))):
            artifact = zk.open(each.path)
            if not artifact.request.source:
                verdicts[artifact.verify(own).state] += 1
    return verdicts


@dataclass(frozen=True)
class Look:
    """What a process holds: bytes of its own, file handles, threads."""

    memory: int
    handles: int
    threads: int


def looks(place: Place, role: str) -> Look:
    """All processes of a role together."""
    found = [(p.memory_full_info().uss, p.num_fds(), p.num_threads()) for p in place.of(role)]
    return Look(*(sum(column) for column in zip(*found, strict=True)))


def quiet(place: Place, jobs: int) -> dict[str, tuple[Look, Look]]:
    """Pictures one after another with nothing killed: each role after SETTLE, and at the end."""
    first: dict[str, Look] = {}
    roles = ("server", "worker")
    with session() as own:
        for number in range(jobs):
            if number == min(SETTLE, jobs // 2):
                first = {role: looks(place, role) for role in roles}
            stages = [{"kind": "upscale"}] if number % 4 == 0 else []
            request = zk.Request(
                prompt="a red boat", model="nano", width=96, height=96, steps=2, seed=number, stages=stages
            )
            own.run(request, on_event=lambda event: None).save()
        return {role: (first[role], looks(place, role)) for role in roles}


def left(place: Place, shared: set[str]) -> list[str]:
    """What a session that was stopped leaves behind and should not; `shared`: its names in shared memory."""
    deadline = time.monotonic() + 15
    while (running := place.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    found = [f"process {process.pid} ({role})" for process, role in running.items()]
    known = {launch.LOG, launch.LOCK, f"{launch.LOG}.1"}
    files = {each for each in place.state.rglob("*") if each.is_file() and each.name not in known}
    locks = {each for each in files if each.suffix in (".lock", ".dirlock") and not each.stat().st_size}
    found += [f"state: {each.relative_to(place.state)}" for each in files - locks]
    if len(locks) > LOCKS:  # Dask's, empty; the next session removes those of a killed one
        found += [f"state: {len(locks)} locks"]
    found += [f"temporary: {each.name}" for each in (place.root / "tmp").iterdir() if each.name[:13] != "torchinductor"]
    found += [f"shared memory: {name}" for name in shared if Path(name).exists()]
    return found + [f"half a file: {path.relative_to(place.outputs)}" for path in place.outputs.rglob(".zimage-*.part")]


def report(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    counts: dict[str, Counter[str]] = {}
    for what, state, number in found["ends"]:
        counts.setdefault(what, Counter())[state] += number
    states = sorted({state for each in counts.values() for state in each})
    rows = [f"| jobs | {' | '.join(states)} |", "|---|" + "---:|" * len(states)]
    rows += [f"| {what} | {' | '.join(str(each[state] or '–') for state in states)} |" for what, each in counts.items()]
    rows += ["", "| quiet part | first | at the end | change |", "|---|---:|---:|---:|"]
    for role, (one, other) in found["quiet"].items():
        change = other.memory / one.memory - 1
        rows.append(f"| {role}: memory | {one.memory / 1e6:.0f} MB | {other.memory / 1e6:.0f} MB | {change:+.1%} |")
        rows.append(f"| {role}: handles, threads | {one.handles}, {one.threads} | {other.handles}, {other.threads} | |")
    rows += ["", *(f"{name}: {found[name]}" for name in ("load", "pictures", "reruns", "problems", "left"))]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--quiet", type=int, default=240, help="pictures of the quiet part")
    parser.add_argument("--reruns", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a JSON file for every figure")
    parser.add_argument(
        "--folder", type=Path, help="an empty folder to work in, and to keep [default: a temporary one]"
    )
    given = parser.parse_args(arguments)
    chance, shared = random.Random(given.seed), set[str]()
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        place = Place(given.folder or Path(temporary))
        try:
            with kept.Watch(place.lines, session) as watch:
                loaded = load(place, given.jobs, given.clients, chance, shared)
                loaded["settled"] = round(settled(), 1)
            lines = place.lines()
            counts, problems = ends(lines)
            left_over, more = kept.ends(lines, watch.states, set(loaded.pop("servers")), kept.seeds(place.outputs))
            counts.update({("kept", state): number for state, number in left_over.items()})
            problems += loaded.pop("problems") + more
            number, lost = pictures(place, lines)
            verdicts = reruns(place, given.reruns, chance)
            watched = quiet(place, given.quiet)
            shared |= place.shared_memory()
            subprocess.run([sys.executable, "-m", "zimage_kit", "session", "stop"], check=True)
        finally:
            for program in place.programs:
                program.kill()
                program.wait()
            if (place.state / launch.FILE).exists():
                launch.kill(launch.read_session_file(place.state / launch.FILE))
        rest = left(place, shared)
    found = {
        "load": loaded, "ends": [(*key, number) for key, number in sorted(counts.items())],
        "pictures": number, "reruns": dict(verdicts), "quiet": watched, "problems": problems + lost, "left": rest,
    }  # fmt: skip
    print(report(found))
    if given.output:
        plain = {**found, "quiet": {role: [vars(each) for each in pair] for role, pair in watched.items()}}
        given.output.write_text(json.dumps(plain, indent=1, ensure_ascii=False))
    grown = [role for role, (one, other) in watched.items() if other.memory > one.memory * (1 + FLAT)]
    more = [
        role
        for role, (one, other) in watched.items()
        if other.handles + other.threads - one.handles - one.threads > MORE
    ]
    bad = [*problems, *lost, *rest, *grown, *more, *(state for state in verdicts if state != "identical")]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
