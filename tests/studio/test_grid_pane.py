"""The grid pane without a page: what it says a grid costs, and what it plans for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zimage_kit import Request, Session
from zimage_kit.studio.panel.studio import Studio
from zimage_kit.studio.panes.grid import pane as module
from zimage_kit.studio.panes.grid.pane import GridPane


@pytest.fixture
def pane(session: Session, model: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[GridPane]:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    studio = Studio(session, language="en", save=False)
    studio.request = Request(prompt="a {colour} boat", model=model, width=64, height=64, steps=1, seed=7)
    found: GridPane = studio.panes["grid"]
    yield found
    studio.close()


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many cells were checked, of each grid that was planned."""
    counts: list[int] = []
    real = module.prepare_grid

    def prepare(session: Session, plan: Any, before_each: Callable[[], None]) -> Any:
        counts.append(0)

        def counted() -> None:
            before_each()
            counts[-1] += 1

        return real(session, plan, counted)

    monkeypatch.setattr(module, "prepare_grid", prepare)
    return counts


def says(pane: GridPane, text: str) -> None:
    end = time.monotonic() + 30
    while text not in pane.cost_line.value:
        assert time.monotonic() < end, pane.cost_line.value
        time.sleep(0.005)


def settle(pane: GridPane) -> None:
    """Until what was asked for is done."""
    time.sleep(0.1)
    pane._coster.submit(lambda: None).result(30)


def test_nothing_is_planned_while_the_pane_is_closed_or_for_what_is_shown(pane: GridPane, planned: list[int]) -> None:
    pane.context.use(pane.context.request().but(steps=2))
    settle(pane)
    assert planned == []
    pane.open()
    pane.values[0].value = "red, blue"
    says(pane, "2 cells, 2 new")
    settle(pane)
    before = len(planned)
    pane.form_changed()
    settle(pane)
    assert len(planned) == before, "the same inputs are not planned again"
    pane.context.use(pane.context.request().but(steps=3))
    settle(pane)
    assert planned[before:] == [2]


def test_cells_are_counted_first_and_an_edit_ends_the_rest(pane: GridPane, monkeypatch: pytest.MonkeyPatch) -> None:
    told, checking, go_on = list[tuple[str, threading.Thread]](), threading.Event(), threading.Event()
    real, checked = Session.check, list[Request]()

    def check(self: Session, request: Request) -> Any:
        checked.append(request)
        checking.set()
        assert go_on.wait(30)
        return real(self, request)

    monkeypatch.setattr(Session, "check", check)
    pane.open()
    pane.cost_line.observe(lambda change: told.append((change.new, threading.current_thread())), "value")
    pane.values[0].value = "\n".join(f"colour {number}" for number in range(400))
    assert checking.wait(30)
    says(pane, "400 cells; the time follows")
    pane.values[0].value = "red"
    go_on.set()
    says(pane, "1 cells, 1 new")
    assert len(checked) == 2, "one of the 400, and the one that is wanted now"
    assert not any("400 cells, 400 new" in value for value, _ in told)
    assert not {thread for _, thread in told} & {threading.main_thread()}


def test_four_hundred_cells_are_estimated_soon(pane: GridPane) -> None:
    pane.open()
    pane.values[0].value = "\n".join(f"colour {number}" for number in range(20))
    pane.fields[1].value, pane.values[1].value = "seed", "1-20"
    begin = time.monotonic()
    says(pane, "400 cells, 400 new")
    assert time.monotonic() - begin < 8, "it took 4 to 9 s where each cell looked through the model's files; now 0.6"


def test_a_grid_that_was_made_is_counted_again(pane: GridPane) -> None:
    pane.open()
    pane.values[0].value = "red, blue"
    says(pane, "2 cells, 2 new")
    pane._make_grid(sure=False)
    assert pane.grid is not None
    pane.grid.wait(60)
    pane.opened()
    says(pane, "2 cells, all made already")
