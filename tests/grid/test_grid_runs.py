"""Grids make what is new and nothing else. Model runs are counted in the pipeline itself, not timed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image, ImageOps

import zimage_kit as zk
from zimage_kit import Context, Grid, Request, Session, Stage
from zimage_kit.engine.events import Event
from zimage_kit.engine.pipeline import ResidentPipeline
from zimage_kit.errors import BadRequest, CannotWrite, JobFailed
from zimage_kit.grid import Cell, preparation
from zimage_kit.recipe.artifact import picture_digest
from zimage_kit.stages.stage import registry

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 1}
"""A picture of some forty milliseconds."""


class Runs:
    """How often the pipeline was asked to draw, and what."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self) -> int:
        """Since the last time it was asked."""
        count, self.calls = len(self.calls), []
        return count


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, session: Session) -> Runs:
    session.unload()  # and with the model the pictures of other tests
    runs, draw = Runs(), ResidentPipeline.draw

    def counted(self: ResidentPipeline, call: Any, *rest: Any, **more: Any) -> Any:
        runs.calls.append(call)
        return draw(self, call, *rest, **more)

    monkeypatch.setattr(ResidentPipeline, "draw", counted)
    return runs


@pytest.fixture
def base(model: str) -> Request:
    return Request(prompt="a {colour} balloon", model=model, **SMALL)


@pytest.fixture
def moody() -> Iterator[type[Stage]]:
    """A stage that fails for one of its values, and whose version can go up."""

    class Moody(Stage):
        """Mirrors the picture, unless it is in a bad mood."""

        kind = "moody"
        version = 1
        broken: ClassVar[bool] = True

        mood: str = "good"

        def after(self, image: Image.Image, ctx: Context) -> Image.Image:
            if self.mood == "bad" and type(self).broken:
                raise ValueError("not today")
            return ImageOps.mirror(image)

    registry.add(Moody)
    yield Moody
    registry.remove("moody")


COLOURS = ["red", "blue", "green", "yellow", "white"]


def test_twenty_cells_are_twenty_runs_and_then_only_what_is_new(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=COLOURS, seed=range(4)).wait()
    assert (runs(), grid.shape, grid.computed, grid.drawn, grid.failed, grid.state) == (20, (5, 4), 20, 20, 0, "done")

    changed = session.grid(base, colour=[*COLOURS[:4], "purple"], seed=range(4)).wait()
    assert (runs(), changed.computed) == (4, 4)
    assert {cell.values["colour"] for cell in changed.computed} == {"purple"}

    fewer = session.grid(base, colour=COLOURS, seed=range(3)).wait()  # a column is dropped
    assert (runs(), fewer.computed, len(fewer)) == (0, 0, 15)

    turned = session.grid(base, colour=COLOURS, seed=range(4), rows="seed", labels={"colour": list("ABCDE")}).wait()
    assert (runs(), turned.computed, turned.shape) == (0, 0, (4, 5))
    assert turned.labels("columns") == tuple("ABCDE")
    assert [cell.key for cell in turned.at(seed=2)] == [cell.key for cell in grid.at(seed=2)]


def test_another_layout_label_and_title_run_nothing(
    session: Session, base: Request, runs: Runs, tmp_path: Path
) -> None:
    grid = session.grid(base, colour=COLOURS[:2], seed=range(2)).wait()
    runs()
    for other in (
        grid.arranged(rows="seed", title="Balloons"),
        grid.arranged(labels={"colour": ["a", "海"]}),
        grid.without(column=0),
    ):
        assert other.state == "done"
        assert {cell.key for cell in other} <= {cell.key for cell in grid}
        other.save(tmp_path / "sheet.png", label_size=40)
        other.save(tmp_path / "sheet.html")
        other.save(tmp_path / "sheet.csv")
    assert runs() == 0


def test_pictures_are_those_that_run_makes(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red"], seed=[3]).wait()
    alone = session.run(base.but(prompt="a red balloon", seed=3), fresh=True)
    made = grid[0, 0].artifact
    assert made is not None
    assert picture_digest(made.image) == picture_digest(alone.image)
    assert made.request == alone.request == grid[0, 0].request
    assert grid[0, 0].trace == made.trace
    assert zk.open(grid[0, 0].path).verify(session)


def test_a_restarted_session_and_another_model_load_change_no_key(session: Session, base: Request, runs: Runs) -> None:
    session.grid(base, colour=["red"], seed=[0, 1]).wait()
    session.unload()
    assert session.grid(base, colour=["red"], seed=[0, 1]).wait().computed == 0
    assert session.status().model is None  # a finished grid needs no model
    assert runs() == 2


def test_a_stage_whose_version_goes_up_makes_all_anew(
    session: Session, base: Request, runs: Runs, moody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base.then(moody())
    first = session.grid(base, colour=COLOURS[:3], seed=[0, 1]).wait()
    assert (runs(), first.computed) == (6, 6)
    monkeypatch.setattr(moody, "version", 2)
    session.unload()  # nor are the pictures before the stage at hand any more
    second = session.grid(base, colour=COLOURS[:3], seed=[0, 1]).wait()
    assert (runs(), second.computed) == (6, 6)
    assert not {cell.key for cell in first} & {cell.key for cell in second}


def test_letters_as_an_axis_draw_once_for_each_picture_beneath(session: Session, base: Request, runs: Runs) -> None:
    base = base.then(zk.stages.text_overlay(text="-", size=0.2))
    texts = ["one", "two", "海上", "four"]
    grid = session.grid(base, {"text_overlay.text": texts, "colour": ["red", "blue"]}).wait()
    assert (runs(), grid.computed, grid.drawn) == (2, 8, 2)
    assert len({picture_digest(artifact.image) for artifact in grid.artifacts if artifact}) == 8
    session.unload()  # the pictures beneath lie on the disk
    more = session.grid(base, {"text_overlay.text": [*texts, "five"], "colour": ["red", "blue"]}).wait()
    assert (runs(), more.computed, more.drawn) == (0, 2, 0)
    cell = more.at(**{"stages.text_overlay.text": "five", "colour": "red"})[0]
    whole = session.run(cell.request, fresh=True)
    assert cell.artifact is not None
    assert picture_digest(cell.artifact.image) == picture_digest(whole.image)
    assert cell.artifact.request == whole.request
    assert cell.artifact.trace.stage_versions == whole.trace.stage_versions


def test_a_stage_that_is_there_or_not_draws_once(session: Session, base: Request, runs: Runs, moody: Any) -> None:
    grid = session.grid(base.then(moody()), {"stages.moody": [True, False], "colour": ["red", "blue"]}).wait()
    assert (runs(), grid.computed) == (2, 4)
    with_it, without = grid.at(colour="red")
    assert with_it.artifact and without.artifact
    assert picture_digest(ImageOps.mirror(with_it.artifact.image)) == picture_digest(without.artifact.image)


def test_a_failing_cell_leaves_nineteen_good_ones_and_can_be_tried_again(
    session: Session, base: Request, runs: Runs, moody: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = {"colour": COLOURS, "seed": range(4)}
    table = [(colour, seed) for colour in pairs["colour"] for seed in pairs["seed"]]
    moods = ["bad" if pair == ("blue", 2) else "good" for pair in table]
    axes = {"colour": [c for c, _ in table], "seed": [s for _, s in table], "moody.mood": moods}
    grid = session.grid(base.then(moody()), axes, zip=True).wait()
    assert (grid.computed, grid.failed, len(grid.done), grid.state) == (19, 1, 19, "failed")
    (bad,) = grid.failed
    assert isinstance(bad.error, JobFailed)
    assert "not today" in str(bad.error)
    assert bad.values["colour"] == "blue"
    assert "1 of 20 cells failed" in caplog.text
    assert bad.artifact is None
    runs()
    moody.broken = False
    grid.retry().wait()
    assert (grid.state, grid.failed, bad.error, grid.computed) == ("done", 0, None, 20)
    assert runs() <= 1  # the picture beneath may be at hand


def test_cells_with_one_recipe_are_made_once(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red", "red", "blue"]).wait()
    assert runs() == 2
    assert grid[0].key == grid[1].key
    assert (grid.state, len(grid.done)) == ("done", 3)


def test_everything_is_checked_before_anything_runs(session: Session, base: Request, runs: Runs) -> None:
    with pytest.raises(BadRequest, match=r"cell 'red, steps 0': steps=0.*2 of 4 cells"):
        session.grid(base, colour=["red", "blue"], steps=[1, 0])
    with pytest.raises(BadRequest, match="beyond|up to"):
        session.grid(base, colour=["red"], size=["64x64", "2048x2048"])
    assert runs() == 0


def test_above_two_hundred_new_cells_it_asks(
    session: Session, base: Request, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "n")
    with pytest.raises(BadRequest, match="which was not confirmed"):
        session.grid(base, colour=["red"], seed=range(201))
    assert "201 cells, all new" in asked[0]
    assert runs() == 0

    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(BadRequest, match="yes=True"):
        session.grid(base, colour=["red"], seed=range(201))
    monkeypatch.setattr(preparation, "ASK_ABOVE", 2)
    monkeypatch.setattr("builtins.input", lambda text: "y")
    assert session.grid(base, colour=["red"], seed=range(3)).wait().computed == 3
    monkeypatch.setattr("builtins.input", nobody)
    assert session.grid(base, colour=["red"], seed=range(3, 6), yes=True).wait().computed == 3
    assert session.grid(base, colour=["red"], seed=range(6)).wait().computed == 0  # nothing is new: nothing is asked


def test_what_it_costs_is_known_from_what_was_measured(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red"], seed=range(4))
    grid.cancel()
    fresh = session.grid(base, colour=["blue"], seed=range(3)).wait()
    cost = session.grid(base, colour=["blue"], seed=range(3)).estimate()
    assert (cost.cells, cost.new) == (3, 0)
    assert str(cost) == "3 cells, all made already"
    fresh.cells[0].path.unlink()  # type: ignore[union-attr]
    again = Grid(fresh.plan, fresh.cells, fresh.store, session)
    for cell in again.cells:
        cell.state = "done" if again.store.has(cell.key) else "waiting"
    cost = again.estimate()
    assert (cost.cells, cost.new, cost.drawings) == (3, 1, 1)
    assert cost.seconds is not None
    assert 0.001 < cost.seconds < 10
    assert 1_000 < cost.bytes < 100_000


def test_stopped_in_the_middle_it_goes_on_where_it_was(session: Session, base: Request, runs: Runs) -> None:
    third = threading.Event()
    grid = session.grid(base.but(steps=3), colour=COLOURS, seed=range(4))
    grid.listen(lambda cell, event: third.set() if len(grid.done) >= 3 else None)
    assert third.wait(60)
    grid.cancel()
    grid.wait()
    there = len(grid.done)
    assert 3 <= there < 20
    assert grid.state == "stopped"
    assert grid.failed == 0
    runs()
    again = session.grid(base.but(steps=3), colour=COLOURS, seed=range(4)).wait()
    assert (again.computed, runs()) == (20 - there, 20 - there)
    grid.retry().wait()  # and so does the stopped one itself
    assert (grid.state, runs()) == ("done", 0)


def test_an_interrupt_stops_the_grid(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base.but(steps=4), colour=COLOURS, seed=range(4))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grid.wait(on_progress=interrupt)
    grid.wait()
    assert grid.state == "stopped"


def test_waiting_has_an_end(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base.but(steps=4), colour=COLOURS, seed=range(4))
    with pytest.raises(TimeoutError):
        grid.wait(timeout=0.05)
    assert grid.state == "running"
    grid.cancel()
    grid.wait()


def test_a_picture_of_your_own_goes_before_a_grid(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base.but(steps=2), colour=COLOURS, seed=range(4))
    begun = threading.Event()
    grid.listen(lambda cell, event: begun.set())
    assert begun.wait(60)
    session.run(base.but(prompt="a house", seed=1))
    assert grid.state == "running"
    assert len(grid.done) < 10
    grid.cancel()
    grid.wait()


def test_what_is_expensive_to_change_changes_least(
    session: Session, base: Request, runs: Runs, copied_model: Path
) -> None:
    axes = {
        "model": [base.model, str(copied_model)],
        "size": ["64x64", "96x64"],
        "lora": [None, "papercut"],
        "seed": [0, 1],
    }
    loads = session.status().model_loads
    grid = session.grid(base.but(prompt="a balloon"), axes, columns="model", rows="seed", pages="lora").wait()
    assert grid.computed == 16
    assert session.status().model_loads - loads == 2  # one for each model, though it is the innermost axis
    seen = [(bool(call.loras), call.width) for call in runs.calls]
    assert sum(one != other for one, other in pairwise(seen)) == 7  # each kind in one piece, twice
    assert [cell.values["size"] for cell in grid.cells[:2]] == ["64x64", "96x64"]  # and stands where it belongs


def test_previews_and_states_are_told(session: Session, base: Request, runs: Runs) -> None:
    heard: list[tuple[int, str, Event | None]] = []
    busy = session.submit(base.but(prompt="a house", steps=8, seed=0))
    grid = session.grid(base.but(steps=4), colour=["red"], seed=[0, 1])
    stop = grid.listen(lambda cell, event: heard.append((cell.index, cell.state, event)))
    busy.result()
    grid.wait()
    stop()
    for index in (0, 1):
        events = [event for number, _, event in heard if number == index and event is not None]
        assert [event.step for event in events if event.kind == "step"] == [1, 2, 3, 4]
        assert all(event.preview for event in events if event.kind == "step")
    assert next(state for index, state, event in heard if index == 1 and event is None) == "done"


def test_a_disk_that_takes_nothing_more_ends_it_at_once(
    session: Session, base: Request, runs: Runs, home: Path
) -> None:
    (home / "outputs").mkdir()
    (home / "outputs" / "grids").write_text("in the way")
    grid = session.grid(base, colour=COLOURS, seed=range(4))
    with pytest.raises(CannotWrite):
        grid.wait()
    assert runs() <= 4
    assert grid.state == "stopped"
    assert grid.done == 0


def test_a_damaged_file_is_made_again(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red"], seed=[0, 1]).wait()
    path = grid[0, 1].path
    assert path is not None
    path.write_bytes(path.read_bytes()[:40])
    path.with_suffix(".jpg").unlink()
    runs()
    again = session.grid(base, colour=["red"], seed=[0, 1]).wait()
    assert (again.computed, again.state) == (1, "done")
    assert again[0, 1].artifact is not None


def test_what_is_gone_or_damaged_is_made_again_by_retry(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red"], seed=[0, 1, 2]).wait()
    gone, damaged, newer = grid.cells
    assert gone.path and damaged.path and newer.path
    gone.path.unlink()
    content = bytearray(damaged.path.read_bytes())
    place = content.index(b"IDAT") + 20
    content[place : place + 200] = bytes(200)
    damaged.path.write_bytes(content)
    newer.path.write_bytes(newer.path.read_bytes().replace(b'"version":1', b'"version":9'))
    session.unload()
    runs()
    grid.retry().wait()
    assert (runs(), grid.state) == (2, "done")
    assert damaged.artifact is None
    grid.retry(damaged).wait()  # its recipe is whole: that its pixels are not is found by whoever looks at it
    assert runs() <= 1
    assert all(grid.artifacts)


def test_a_listener_that_breaks_hears_no_more_and_the_grid_goes_on(
    session: Session, base: Request, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    grid = session.grid(base, colour=["red"], seed=range(4))

    def broken(cell: Cell, event: Event | None) -> None:
        heard.append(cell.index)
        raise ZeroDivisionError

    grid.listen(broken)
    grid.wait()
    assert (grid.state, len(grid.done), len(heard)) == ("done", 4, 1)
    assert "a listener of a grid failed" in caplog.text


def test_a_picture_that_is_finished_and_shown_as_it_is_is_drawn_and_measured_once(
    session: Session, base: Request, runs: Runs, moody: Any
) -> None:
    axes = {"stages.moody": [True, False], "colour": ["red"], "seed": range(3)}
    grid = session.grid(base.then(moody()), axes).wait()
    assert (runs(), grid.drawn, grid.computed) == (3, 3, 6)
    for cell in grid:
        assert cell.trace is not None
        assert cell.trace.milliseconds["denoise"] > 0
        assert not cell.trace.cached


def test_times_are_kept_when_two_grids_make_the_same_cells_at_once(session: Session, base: Request, runs: Runs) -> None:
    grids = [session.grid(base.but(steps=2), colour=["red"], seed=range(5)) for _ in range(2)]
    for grid in grids:
        grid.wait()
    assert runs() == 5
    assert all(cell.trace is not None and cell.trace.milliseconds["denoise"] > 0 for cell in grids[0])


def test_a_picture_beneath_others_says_nothing_of_their_stages(session: Session, base: Request, runs: Runs) -> None:
    both = base.but(prompt="a red balloon").then(zk.stages.text_overlay(text="hi", size=0.3), zk.stages.upscale())
    with_it, without = session.grid(both, {"stages.upscale": [True, False]}).wait()
    assert with_it.trace and without.trace
    assert any("put it last" in note for note in with_it.trace.notes)
    assert not any("put it last" in note for note in without.trace.notes)
    assert set(without.trace.notes) == set(session.run(without.request, fresh=True).trace.notes)
    assert set(with_it.trace.notes) == set(session.run(with_it.request, fresh=True).trace.notes)


def test_a_second_pass_counts_as_drawing_and_costs_time(session: Session, base: Request, runs: Runs) -> None:
    base = base.but(prompt="a red balloon", steps=4).then(zk.stages.refine(strength=0.5, steps=2))
    first = session.grid(base, {"refine.strength": [0.3, 0.5]}).wait()
    assert (runs(), first.drawn) == (3, 3)
    more = session.grid(base, {"refine.strength": [0.6, 0.7, 0.8]})
    cost = more.estimate()
    more.wait()
    assert (runs(), more.drawn) == (3, 3)
    assert cost.new in (2, 3)
    assert cost.seconds is not None
    assert cost.seconds > 0.01


def test_a_grid_in_the_making_is_not_arranged_or_begun_twice(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base.but(steps=3), colour=COLOURS, seed=range(2))
    for act in (grid.retry, lambda: grid.arranged(title="x"), lambda: grid.without(row=0)):
        with pytest.raises(BadRequest, match="still being made"):
            act()
    grid.cancel()
    grid.wait()
    runs()
    missing, refused = len(grid) - len(grid.done), []

    def retry() -> None:
        try:
            grid.retry()
        except BadRequest as error:
            refused.append(error)

    threads = [threading.Thread(target=retry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grid.wait()
    assert len(refused) == 3
    assert (grid.state, runs()) == ("done", missing)


def test_a_no_changes_nothing(
    session: Session, base: Request, runs: Runs, moody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = session.grid(base.then(moody()), {"moody.mood": ["good", "bad"], "colour": ["red"]}).wait()
    monkeypatch.setattr(preparation, "ASK_ABOVE", 0)
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    with pytest.raises(BadRequest, match="which was not confirmed"):
        grid.retry()
    assert grid.state == "failed"
    assert "not today" in str(grid.failed[0].error)


def test_cells_whose_jobs_somebody_cancelled_are_told(
    session: Session, base: Request, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    grid = session.grid(base.but(steps=4), colour=["red"], seed=range(4))
    begun = threading.Event()
    grid.listen(lambda cell, event: begun.set())
    assert begun.wait(30)
    assert session.cancel(session.status().jobs[-1].id)
    grid.wait()
    assert (grid.state, len(grid.done), grid.failed) == ("stopped", 3, 0)
    assert "1 of 4 cells were not made" in caplog.text


def test_a_file_that_names_other_files_is_refused(session: Session, base: Request, runs: Runs, tmp_path: Path) -> None:
    grid = session.grid(base, colour=["red"], seed=[0]).wait()
    (path,) = grid.save(tmp_path / "grid.json")
    text = path.read_text()
    for key in ("../../../holiday", str(tmp_path / "holiday"), "A" * 40, 3):
        path.write_text(text.replace(json.dumps(grid.cells[0].key), json.dumps(key)))
        with pytest.raises(BadRequest, match="does not name its 1 cells|its cells are no names"):
            Grid.open(path)


def test_a_script_may_end_while_a_grid_is_being_made(model: str, home: Path) -> None:
    code = (
        "import sys, zimage_kit as zk\n"
        "session = zk.connect('inline', device='cpu')\n"
        "base = zk.Request(prompt='a balloon', model=sys.argv[1], width=64, height=64, steps=1)\n"
        "session.grid(base, seed=range(8))\n"
    )
    command = [sys.executable, "-c", code, model]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_ratings_and_winners_belong_to_the_picture(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red", "blue"], seed=[0, 1]).wait()
    grid[1, 0].rating = 4
    grid.pick(grid[0, 1])
    other = session.grid(base, colour=["blue", "red"], seed=[1, 0])
    assert other.at(colour="blue", seed=0)[0].rating == 4
    assert other.winner is not None
    assert other.winner.label == "red, seed 1"
    grid.pick(grid[0, 0])
    assert [cell.winner for cell in grid] == [True, False, False, False]
    grid.pick(None)
    assert grid.winner is None
    for bad in (-1, 6, 2.5, "3"):
        with pytest.raises(BadRequest, match="1 to 5"):
            grid[0, 0].rating = bad  # type: ignore[assignment]
    waiting = Cell(0, grid[0, 0].place, {}, "x", "0" * 40, grid.store)
    with pytest.raises(BadRequest, match="waiting"):
        waiting.rating = 3


def test_a_column_is_run_again_with_another_value(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red", "blue"], seed=[0, 1]).wait()
    runs()
    wider = grid.rerun(column=1, steps=2)
    wider.wait()
    assert (wider.shape, wider.computed, runs()) == ((2, 3), 2, 2)
    assert wider.labels("columns") == ("seed 0", "seed 1", "seed 1 · steps 2")
    assert wider[0, 2].request.steps == 2
    assert wider.without(column=2).labels("columns") == grid.labels("columns")
    taller = grid.rerun(row=0, colour="green").wait()
    assert taller.labels("rows") == ("red", "green", "blue")
    for wrong in (
        {"column": 7, "steps": 2},
        {"steps": 2},
        {"column": 0},
        {"column": 0, "stepps": 2},
        {"row": 0, "seed": 5},
    ):
        with pytest.raises(BadRequest):
            grid.rerun(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("slot", ["row", "column", "rows", "pages", "title", "yes", "changes", "self", "zip"])
def test_a_slot_may_be_called_as_an_option_is(session: Session, base: Request, slot: str) -> None:
    grid = session.grid(base.but(prompt=f"a {{{slot}}} boat"), {slot: ["red", "blue"]}, seed=[0, 1]).wait()
    wider = grid.rerun({slot: "green"}, row=0).wait()
    assert wider.labels("rows") == ("red", "green", "blue") and wider[1, 1].request.prompt == "a green boat"
    assert wider.without(row=1).labels("rows") == ("red", "blue")
    assert [cell.place.row for cell in grid.at(**{slot: "blue"})] == [1, 1]


def test_changes_are_given_once_and_as_a_mapping(session: Session, base: Request) -> None:
    grid = session.grid(base, colour=["red"], seed=[0, 1]).wait()
    with pytest.raises(BadRequest, match="two values for steps"):
        grid.rerun({"steps": 2}, column=0, steps=3)
    with pytest.raises(BadRequest, match="expected a mapping"):
        grid.rerun(1, steps=3)  # type: ignore[arg-type]


def test_a_cell_is_found_by_number_and_by_value(session: Session, base: Request, runs: Runs) -> None:
    grid = session.grid(base, colour=["red", "blue"], seed=[0, 1], inner="seed").wait()
    assert grid.shape == (2, 2)
    assert grid[1, 0].values == {"colour": "blue", "seed": 0}
    assert grid[-1, -1].values == {"colour": "blue", "seed": 1}
    assert grid.at(colour="blue", seed=1) == [grid[1, 1]]
    for wrong in ((2, 0), 0, (0, 0, 0)):
        with pytest.raises(IndexError):
            grid[wrong]
    with pytest.raises(BadRequest, match="no axis"):
        grid.at(color="red")
    assert len(list(grid)) == len(grid) == 4


def test_an_opened_grid_shows_what_is_there_and_makes_the_rest(
    session: Session, base: Request, runs: Runs, tmp_path: Path
) -> None:
    grid = session.grid(base, colour=["red", "blue"], seed=[0, 1]).wait()
    (path,) = grid.save(tmp_path / "balloons.json")
    runs()
    again = Grid.open(path, session)
    assert (again.state, again.shape, runs()) == ("done", (2, 2), 0)
    assert again[1, 1].request == grid[1, 1].request
    assert grid[1, 1].path is not None
    grid[1, 1].path.unlink()
    again = Grid.open(path, session)
    assert (again.state, len(again.done)) == ("stopped", 3)
    assert again[1, 1].request.prompt == "a blue balloon"
    session.unload()
    again.retry().wait()
    assert (again.state, again.computed, runs()) == ("done", 1, 1)
