"""Jobs of a grid are submitted in its order, whichever thread is slow. No model: jobs are finished by the tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zimage_kit import Artifact, Request, Trace
from zimage_kit.engine.preflight import Checked
from zimage_kit.errors import SessionDied
from zimage_kit.grid.cell import Cell
from zimage_kit.grid.cell_store import CellStore, cell_key
from zimage_kit.grid.dimensions import Place
from zimage_kit.grid.estimate import CostModel
from zimage_kit.grid.runner import Runner, ordered_tasks
from zimage_kit.models.spec import require, resolve

SLOW_SECONDS = 0.3  # long enough for every other thread to overtake
PATIENCE_SECONDS = 20


class FinishedJob:
    """A job that is over as soon as it is asked, or after `delay` has returned."""

    def __init__(self, id: str, outcome: Artifact | Exception, delay: Callable[[], object]) -> None:
        self.id, self._outcome, self._delay = id, outcome, delay

    def events(self) -> Sequence[Any]:
        self._delay()
        return ()

    def result(self) -> Artifact:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def cancel(self) -> bool:
        return False


class Recorder:
    """A session that notes what is submitted. `delays` and `deaths` are by prompt: a death is used up."""

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.delays: dict[str, Callable[[], object]] = {}
        self.deaths: set[str] = set()

    def start(self, checked: Checked) -> Any:
        return self._job(checked.request.prompt, checked)

    def extend(self, base: Artifact, checked: Checked) -> Any:
        return self._job(f"{checked.request.prompt} {checked.request.stages[-1].fields()['text']}", checked)

    def worker_count(self) -> int:
        return 1

    def closed(self) -> bool:
        return False

    def _job(self, name: str, checked: Checked) -> FinishedJob:
        self.submitted.append(name)
        outcome: Artifact | Exception = Artifact(Image.new("RGB", (64, 64)), checked.request, Trace())
        if name in self.deaths:
            self.deaths.remove(name)
            outcome = SessionDied("a worker died")
        return FinishedJob(str(len(self.submitted)), outcome, self.delays.get(name, lambda: None))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr("zimage_kit.grid.runner._PATIENCE_SECONDS", 0.0)
    return Recorder()


def cells_of(requests: Sequence[Request], store: CellStore) -> list[Cell]:
    cells = []
    for index, request in enumerate(requests):
        spec = resolve("nano")
        filled = request.but(model=request.model or "nano", width=64, height=64, steps=1, guidance=0.0, seed=1)
        cell = Cell(index, Place(column=index), {}, request.prompt, "", store)
        cell.checked = Checked(filled, spec, require("nano"), 3, ())
        cell.key = cell_key(cell.checked, {})
        cells.append(cell)
    return cells


def run(session: Recorder, requests: Sequence[Request], store: CellStore, tmp_path: Path) -> list[Cell]:
    cells, ended = cells_of(requests, store), threading.Event()
    tasks = ordered_tasks(cells, store, {})
    Runner(session, tasks, store, CostModel(tmp_path / "pace.json"), lambda *_: None, ended.set).start()
    assert ended.wait(PATIENCE_SECONDS), session.submitted
    assert [cell.state for cell in cells] == ["done"] * len(cells)
    return cells


class SlowStore(CellStore):
    """It takes its time over one key, the first that it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._asked = threading.Lock()

    def has(self, key: str) -> bool:
        if threading.current_thread().name.startswith("zimage-grid") and self._asked.acquire(blocking=False):
            threading.Event().wait(SLOW_SECONDS)
        return super().has(key)


def test_a_slow_thread_is_not_overtaken(recorder: Recorder, tmp_path: Path) -> None:
    prompts = [f"picture {number}" for number in range(6)]
    run(recorder, [Request(prompt=prompt) for prompt in prompts], SlowStore(tmp_path), tmp_path)
    assert recorder.submitted == prompts


def test_the_next_lora_waits_for_the_last_job_of_this_one(recorder: Recorder, tmp_path: Path) -> None:
    """Pictures that share a base are submitted once it is there; meanwhile no job of another LoRA goes ahead."""
    overtaken = threading.Event()
    recorder.delays["plain"] = lambda: overtaken.wait(SLOW_SECONDS)
    finished = [Request(prompt="plain").then({"kind": "text_overlay", "text": text}) for text in ("one", "two")]
    run(recorder, [*finished, Request(prompt="papercut", loras=("papercut",))], CellStore(tmp_path), tmp_path)
    assert recorder.submitted[0] == "plain"
    assert set(recorder.submitted[1:3]) == {"plain one", "plain two"}
    assert recorder.submitted[3] == "papercut"


def test_pictures_that_share_a_base_do_not_hold_up_others_of_their_lora(recorder: Recorder, tmp_path: Path) -> None:
    other = threading.Event()
    recorder.delays["plain"] = lambda: other.wait(PATIENCE_SECONDS)
    recorder.delays["another"] = other.set
    finished = [Request(prompt="plain").then({"kind": "text_overlay", "text": text}) for text in ("one", "two")]
    run(recorder, [*finished, Request(prompt="another")], CellStore(tmp_path), tmp_path)
    assert recorder.submitted.index("another") < recorder.submitted.index("plain one")


def test_what_a_dead_worker_left_is_made_again(recorder: Recorder, tmp_path: Path) -> None:
    prompts = [f"picture {number}" for number in range(5)]
    recorder.deaths = set(prompts[:2])
    run(recorder, [Request(prompt=prompt) for prompt in prompts], CellStore(tmp_path), tmp_path)
    assert sorted(recorder.submitted) == sorted([*prompts, *prompts[:2]])
