"""What grids cost on this machine with nano, beside the pictures themselves.

    python -m tests.session.grid_bench --output measured.json            about four minutes
    python -m tests.session.grid_bench --output measured.json --quick    the same way with few cells, to try the script

Starts a session of one worker and lets a second machine (another loopback address) join it, both with one thread for
torch. Prints a Markdown table and writes every number to the JSON file.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: each worker has one

import zimage_kit as zk
from zimage_kit import Grid, Request, Session
from zimage_kit.session.shared import launch

COLOURS = ["red", "blue", "green", "yellow", "white", "purple"]
HEAD = "| what | measured | promised | kept |\n|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """One line of the table. `least`: the promise is a lower bound."""

    what: str
    unit: str
    value: float
    promised: float | None = None
    least: bool = False

    @property
    def kept(self) -> bool | None:
        if self.promised is None:
            return None
        return self.value >= self.promised if self.least else self.value <= self.promised

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return {name: getattr(self, name) for name in ("what", "unit", "value", "promised", "least", "kept")}

    def line(self) -> str:
        """As a line of Markdown."""
        bound = "" if self.promised is None else f"{self.promised:g} {self.unit}".strip()
        kept = {None: "", True: "yes", False: "**no**"}[self.kept]
        return f"| {self.what} | {self.value:.2f} {self.unit} | {bound} | {kept} |".replace("  ", " ")


def wall(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that something takes, and what comes of it."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


@contextmanager
def surroundings() -> Iterator[Path]:
    """A place for a session and its pictures; no process and no file is left."""
    with tempfile.TemporaryDirectory(prefix="zimage-grid-bench-") as name:
        folder = Path(name)
        os.environ |= {"ZIMAGE_STATE": str(folder / "state"), "ZIMAGE_OUTPUTS": str(folder / "outputs")}
        os.environ["ZIMAGE_PROGRESS"] = "0"
        try:
            yield folder
        finally:
            file = launch.state_folder() / launch.FILE
            if file.exists():
                launch.kill(launch.read_session_file(file))


@contextmanager
def second_machine(folder: Path, session: Session) -> Iterator[None]:
    """Another loopback address whose worker joins; it leaves at the end."""
    copied = shutil.copy(launch.state_folder() / launch.FILE, folder / "copied.json")
    command = launch.server_command("--join", str(copied), "--host", "127.0.0.3")
    settings = {**os.environ, "ZIMAGE_STATE": str(folder / "second")}
    with (folder / "second.log").open("ab") as log:
        machine = subprocess.Popen(command, stdout=log, stderr=log, env=settings, start_new_session=True)
    try:
        while len(session.status().workers) < 2:
            time.sleep(0.05)
        yield
    finally:
        machine.terminate()
        machine.wait(30)


def overhead(session: Session, base: Request, cells: int) -> Iterator[Row]:
    """A grid, and the same pictures by `session.run` in the same run; what each needs beside the pictures' own time."""
    extra: dict[str, list[float]] = {"grid": [], "run": []}
    for turn in range(3):
        first = 1000 * (turn + 1)
        seeds = range(first, first + cells)
        took, grid = wall(lambda seeds=seeds: session.grid(base, seed=seeds, yes=True).wait())  # type: ignore[misc]
        own = sum(cell.trace.milliseconds["total"] for cell in grid) / 1e3
        extra["grid"].append((took - own) / cells * 1e3)
        seeds = range(first + 500, first + 500 + cells)
        took, made = wall(lambda seeds=seeds: list(session.run([base.but(seed=seed) for seed in seeds])))  # type: ignore[misc]
        own = sum(artifact.trace.milliseconds["total"] for artifact in made) / 1e3
        extra["run"].append((took - own) / cells * 1e3)
    size = f"{base.width}x{base.height}, {base.steps} steps"
    mean = {name: statistics.median(values) for name, values in extra.items()}
    yield Row(f"a cell beyond its picture ({size}; {cells} cells, kept as PNG)", "ms", mean["grid"], 15)
    yield Row("the same pictures by `session.run([…])`, not saved", "ms", mean["run"])


def two_workers(session: Session, folder: Path, base: Request, seeds: int) -> Iterator[Row]:
    """Six prompts by four seeds on one worker, and on two."""
    axes: dict[str, Any] = {"colour": COLOURS}
    asked = base.but(prompt="a {colour} balloon over the sea")
    session.grid(asked, axes, seed=[99]).wait()  # warm
    one, _ = wall(lambda: session.grid(asked, axes, seed=range(200, 200 + seeds)).wait())
    with second_machine(folder, session):
        session.grid(asked, axes, seed=[98]).wait()  # it loads the model
        two, _ = wall(lambda: session.grid(asked, axes, seed=range(100, 100 + seeds)).wait())
    yield Row(f"{len(COLOURS)} prompts x {seeds} seeds, one worker", "s", one)
    yield Row("the same on two workers (two loopback machines)", "s", two)
    yield Row("two workers against one", "x", one / two, 1.8, least=True)


def large(session: Session, folder: Path, model: str, side: int) -> Iterator[Row]:
    """A square grid of small pictures: making it, finding it again, and letting it out."""
    asked = Request(prompt="a balloon in the style of {name}", model=model, width=64, height=64, steps=1)
    axes = {"name": [f"painter {number}" for number in range(side)]}
    session.grid(asked, axes, seed=range(side), yes=True).wait()
    count, what = side * side, f"a finished {side}x{side} grid"
    # pictures of nano's own size beneath the same names, so that files are as large as they would be
    grid = _at_full_size(session.grid(asked, axes, seed=range(side)), session, model)
    loads = session.status().model_loads
    again, _ = wall(lambda: session.grid(asked, axes, seed=range(side)).wait())
    yield Row(f"asking for {what} again", "s", again, 2)
    (file,) = grid.save(folder / "grid.json")

    def reopen() -> Grid:
        opened = Grid.open(file)
        assert opened.state == "done"
        assert all(cell.trace and cell.request and cell.thumb for cell in opened)
        return opened

    opened, _ = wall(reopen)
    yield Row(f"reopening {what} from its file, with every recipe and small picture", "s", opened, 2)
    for name, promised in (("html", 10.0), ("png", None), ("jpg", None), ("csv", None)):
        took, paths = wall(lambda name=name: grid.save(folder / f"sheet.{name}"))  # type: ignore[misc]
        megabytes = sum(path.stat().st_size for path in paths) / 1e6
        yield Row(f"{count} cells of 256x256 as .{name} ({megabytes:.1f} MB)", "s", took, promised)
    yield Row("model loads for all of this", "", session.status().model_loads - loads, 0)


def _at_full_size(grid: Grid, session: Session, model: str) -> Grid:
    picture = session.run("a balloon in the style of ink wash", model=model, width=256, height=256, seed=1).image
    for cell in grid:
        artifact = cell.artifact
        assert artifact is not None
        artifact.image = picture.rotate(cell.index)
        grid.store.write(cell.key, artifact)
    return grid


def measure(model: str, folder: Path, quick: bool) -> Iterator[Row]:
    """Every row."""
    session = zk.connect()
    base = Request(prompt="a red balloon over the sea", model=model, width=256, height=256, steps=8)
    session.run(base.but(seed=1))
    yield from overhead(session, base, 2 if quick else 16)
    yield from overhead(session, base.but(width=64, height=64, steps=1), 4 if quick else 100)
    yield from large(session, folder, model, 3 if quick else 20)
    yield from two_workers(session, folder, base, 1 if quick else 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when every promise is kept."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.session.grid_bench", description=about)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="few cells, to try the script")
    parser.add_argument("--model", default="nano")
    options = parser.parse_args(arguments)
    rows = []
    load = [os.getloadavg()[0]]
    with surroundings() as folder:
        for row in measure(options.model, folder, options.quick):
            print(row.line(), file=sys.stderr, flush=True)
            rows.append(row)
    load.append(os.getloadavg()[0])
    machine = {
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "threads": os.environ["OMP_NUM_THREADS"],
        "load_average": [round(value, 2) for value in load],
    }
    data = {"machine": machine, "quick": options.quick, "rows": [row.data() for row in rows]}
    options.output.write_text(json.dumps(data, indent=2) + "\n")
    print("\n".join([HEAD, *(row.line() for row in rows)]))
    return 0 if all(row.kept is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
