"""Grids on the shared session: killed kernels, several notebooks, several machines, workers that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from programs import Place, eventually

from zimage_kit import Request, Session
from zimage_kit.errors import SessionDied
from zimage_kit.grid.cell_store import CellStore

COLOURS = ["red", "blue", "green", "yellow", "white"]

NOTEBOOK = """
base, killed_after = zk.Request.from_json(sys.argv[1]), int(sys.argv[2])
session = zk.connect()

def hear(cell, event):
    if event is None and len(grid.done) >= killed_after:
        say("seven", len(grid.done))
        os.kill(os.getpid(), 9)

grid = session.grid(base, colour=json.loads(sys.argv[3]), seed=range(4))
grid.listen(hear)
grid.wait()
say("done", len(grid.computed), len(grid.failed), grid.drawn)
"""
NEVER = 999


@pytest.fixture
def base(small: Request) -> Request:
    return small.but(prompt="a {colour} balloon", steps=12, seed=None)


def pictures() -> list[Path]:
    return sorted(CellStore().folder.glob("??/*.png"))


def test_a_kernel_killed_after_seven_cells_leaves_thirteen_to_make(
    place: Place, shared: Session, base: Request
) -> None:
    words = base.but(prompt="a {colour} kite").to_json(), 7, json.dumps(COLOURS)
    before = set(pictures())
    killed = place.program(NOTEBOOK, *words)
    killed.hears("seven")
    assert killed.ends() == -signal.SIGKILL
    assert len(set(pictures()) - before) == 7
    eventually(lambda: not shared.status().jobs, "the dead kernel's jobs are gone")
    again = place.program(NOTEBOOK, words[0], NEVER, words[2])
    assert again.hears("done") == ["done", 13, 0, 13]
    third = place.program(NOTEBOOK, words[0], NEVER, words[2])
    assert third.hears("done") == ["done", 0, 0, 0]


def test_a_cell_of_another_notebook_is_the_same_picture(place: Place, shared: Session, base: Request) -> None:
    base = base.but(prompt="a {colour} boat")
    other = place.program(NOTEBOOK, base.to_json(), NEVER, json.dumps(COLOURS[:2]))
    assert other.hears("done") == ["done", 8, 0, 8]
    mine = shared.grid(base, colour=COLOURS[:3], seed=range(4)).wait()
    assert (mine.computed, mine.drawn) == (4, 4)
    assert {cell.values["colour"] for cell in mine.computed} == {"green"}


def test_two_notebooks_that_make_one_grid_at_once_draw_each_cell_once(
    place: Place, shared: Session, base: Request
) -> None:
    base = base.but(prompt="a {colour} fish")
    grids = [place.session().grid(base, colour=COLOURS[:2], seed=range(4)) for _ in range(2)]
    for grid in grids:
        grid.wait(60)
        assert (grid.state, grid.failed) == ("done", 0)
    assert sum(grid.drawn for grid in grids) == 8


def test_somebody_elses_picture_goes_before_a_grid(place: Place, shared: Session, base: Request) -> None:
    base = base.but(prompt="a {colour} cat")
    grid = place.session().grid(base, colour=COLOURS, seed=range(4))
    eventually(lambda: grid.done, "the first cell is there")
    shared.run(base.but(prompt="a house", seed=5))
    assert grid.state == "running"
    assert len(grid.done) <= 5
    assert {job.priority for job in shared.status().jobs} == {"batch"}
    grid.cancel()
    grid.wait(30)
    eventually(lambda: not shared.status().jobs, "nothing of it is left in the session")


def test_a_worker_that_dies_costs_no_cell(shared: Session, base: Request) -> None:
    grid = shared.grid(base.but(prompt="a {colour} flower"), colour=COLOURS[:2], seed=range(3))
    eventually(lambda: grid.done, "the first cell is there")
    psutil.Process(shared.status().workers[0].pid).kill()
    grid.wait(120)
    assert (grid.state, grid.failed, len(grid.done)) == ("done", 0, 6)


def test_a_session_that_is_stopped_ends_the_grid_and_is_not_started_by_it(
    place: Place, shared: Session, base: Request
) -> None:
    grid = shared.grid(base.but(prompt="a {colour} lantern"), colour=COLOURS[:2], seed=range(4))
    eventually(lambda: grid.done, "the first cell is there")
    other = place.session()
    other._engine.stop()  # type: ignore[attr-defined]
    with pytest.raises(SessionDied):
        grid.wait(60)
    assert grid.state == "stopped"
    assert grid.failed == 0
    there = len(grid.done)
    eventually(lambda: not place.file.exists(), "the session is gone")
    eventually(lambda: place.processes() == [], "every process of the session is gone")
    assert not place.file.exists(), "a session was started again"
    grid.retry().wait(120)  # asked for: this starts one
    assert (grid.state, len(grid.computed)) == ("done", 8)
    assert 1 <= there < 8


def test_workers_say_what_identifies_their_models(shared: Session, base: Request, model: str) -> None:
    eventually(lambda: shared.status().workers, "a worker is there")
    (worker,) = shared.status().workers
    if model == "nano":
        grid = shared.grid(base.but(prompt="a {colour} hat", steps=1), colour=["red"]).wait(60)
        assert grid[0].trace is not None
        assert worker.fingerprints["nano"] == grid[0].trace.fingerprint


def test_the_command_goes_on_where_it_was(place: Place, shared: Session, base: Request, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    command = [sys.executable, "-m", "zimage_kit", "grid", "a {colour} mushroom", "--model", base.model or "", "--size"]
    command += ["64x64", "--steps", "12", "--x", "seed=0-3", "--y", "colour=red,blue,green", "-o", str(sheet), "--json"]
    before = set(pictures())
    first = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: len(set(pictures()) - before) >= 3, "three cells are there")
    first.send_signal(signal.SIGINT)
    assert first.wait(30) == 130
    first.communicate()
    assert not sheet.exists()
    eventually(lambda: not shared.status().jobs, "its jobs are gone")
    there = len(set(pictures()) - before)
    assert 3 <= there < 12
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(done.stdout)
    assert (told["cells"], told["computed"], told["failed"]) == (12, 12 - there, [])
    assert told["files"] == [str(sheet)]
    assert sheet.exists()


def test_a_grid_can_be_awaited(shared: Session, base: Request) -> None:
    import asyncio

    async def both() -> tuple[int, int]:
        ticks, stop = 0, threading.Event()

        async def tick() -> None:
            nonlocal ticks
            while not stop.is_set():
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.ensure_future(tick())
        grid = await shared.grid(base.but(prompt="a {colour} star"), colour=["red"], seed=range(2))
        stop.set()
        await ticking
        return len(grid.done), ticks

    done, ticks = asyncio.run(both())
    assert done == 2
    assert ticks > 5, "the kernel was not free meanwhile"
