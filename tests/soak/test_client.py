"""What a program of the soak writes down of a grid: cells that somebody else has cancelled, told or in silence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zimage_kit as zk
from tests.soak.client import Journal, Program
from zimage_kit.grid.grid_run import GridRun

Cells = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def cells(session: zk.Session, model: str, tmp_path: Path) -> Cells:
    """Follows a grid of four whose jobs somebody else cancels; what was written down."""

    def followed() -> list[dict[str, Any]]:
        base = zk.Request(prompt="a red boat", model=model, width=64, height=64, steps=200)
        grid = session.grid(base, seed=range(1, 5), yes=True)

        def another() -> None:
            deadline = time.monotonic() + 60
            while not over.is_set() and time.monotonic() < deadline:
                for job in session.status().jobs:
                    session.cancel(job.id)
                time.sleep(0.01)

        over = threading.Event()
        program = threading.Thread(target=another)
        program.start()
        Program(Journal(str(tmp_path / "journal")), 1).cells(grid, "g", stopped=False)
        over.set()
        program.join()
        return [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]

    return followed


def test_cells_that_another_program_has_cancelled_and_that_the_user_is_told_of_are_cancelled(cells: Cells) -> None:
    assert [(line["ended"], line["state"]) for line in cells()] == [(f"g-{n}", "cancelled") for n in range(4)]


def test_a_cell_that_waits_in_silence_is_a_problem(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GridRun, "_log_missing", lambda self: None)
    lines = cells()
    assert len(lines) == 4 and all("is waiting" in line["problem"] for line in lines), lines
