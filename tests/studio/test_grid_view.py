"""The view of a grid without a page: what the board is told, what is asked of it, and what it costs to tell."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grids import finished
from PIL import Image

from zimage_kit import Artifact, Request, Session, Stage
from zimage_kit.errors import ZImageError
from zimage_kit.grid import Grid, plan
from zimage_kit.grid.grid import make_grid
from zimage_kit.stages.stage import registry, stage
from zimage_kit.studio.grid_view import export
from zimage_kit.studio.grid_view import word_diff as worddiff
from zimage_kit.studio.grid_view.board import Board, short_key
from zimage_kit.studio.grid_view.feed import PACK, TRIES
from zimage_kit.studio.grid_view.names import Names, recipes
from zimage_kit.studio.grid_view.pair import PairPane, difference, same_size
from zimage_kit.studio.grid_view.view import LARGEST_SHEET, GridView, small_sheet
from zimage_kit.studio.translations import Texts

EN = Texts("en")


def eventually(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@pytest.fixture
def shown() -> Iterator[Callable[[Grid], GridView]]:
    """Views that are closed at the end, and leave no thread."""
    views: list[GridView] = []

    def show(grid: Grid) -> GridView:
        views.append(GridView(grid, "en"))
        return views[-1]

    yield show
    for view in views:
        view.close()
    own = lambda: [each for each in threading.enumerate() if each.name.startswith("zimage-grid-view")]  # noqa: E731
    eventually(lambda: not own(), "a closed view ends its threads")


@pytest.fixture(scope="module", autouse=True)
def loaded(session: Session, model: str) -> None:
    """What is waited for in these tests is drawing, not loading, which takes as long as it takes on a busy machine."""
    session.run("a boat", model=model, width=64, height=64, steps=1)


def ask(view: GridView, /, **message: Any) -> None:
    """As the page does, until it is answered."""
    view.board._handle_custom_msg({"of": view.board.plan["id"], **message}, [])
    view._worker.submit(lambda: None).result(30)


def told(view: GridView, text: str) -> None:
    eventually(lambda: view.board.progress.get("text") == text, f"{view.board.progress} instead of {text}")


# what the board is told


def test_a_finished_grid_is_told_at_once_with_every_picture(shown: Callable[[Grid], GridView]) -> None:
    grid = finished("a {colour} boat", colour=["red", "blue"], seed=range(60), failed=[3], missing=[4], ratings={1: 4})
    grid.pick(grid.cells[2])
    view = shown(grid)
    told(view, "118 of 120 · 1 failed · stopped")
    board = view.board
    eventually(lambda: len(board.sent) == 118, "all pictures are sent")
    assert board.states == "ddd" + "fw" + "d" * 115
    assert board.ratings[:3] == "040" and board.winners == [2]
    assert board.errors == {"3": "stage caption broke: ValueError: the text has no letters\nGive it a text."}
    packs = [getattr(board, f"pack{number}") for number in range(board.packs)]
    assert [len(pack) for pack in packs] == [PACK, PACK, 118 - 2 * PACK]
    small = packs[0][short_key(grid.cells[0].key)]
    assert Image.open(io.BytesIO(small)).size == (64, 64)
    assert {f"pack{number}" for number in range(board.packs)} <= set(board.keys), "a page opened later has them, too"


def test_a_picture_that_is_missing_is_looked_for_again_and_only_then_called_gone(
    shown: Callable[[Grid], GridView], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = finished("a boat", seed=range(60))
    late, lost = grid.cells[0].key, grid.cells[55].key
    tries = {late: 0, lost: 0}
    real = type(grid.store).thumb

    def thumb(store: Any, key: str) -> bytes | None:
        if key not in tries:
            return real(store, key)
        tries[key] += 1
        return None if key == lost or tries[key] < 3 else real(store, key)

    monkeypatch.setattr(type(grid.store), "thumb", thumb)
    board = shown(grid).board
    eventually(lambda: short_key(late) in board.sent, "it comes after all")
    eventually(lambda: tries[lost] == TRIES, "and the other is given up for now")
    packs = [getattr(board, f"pack{number}") for number in range(board.packs)]
    assert [pack[short_key(lost)] for pack in packs if short_key(lost) in pack] == [b""], "told once that it is gone"
    assert all(pack.get(short_key(late)) != b"" for pack in packs)
    assert len(board.sent) == 59 and short_key(lost) not in board.sent


def test_recipes_are_told_once_and_then_only_what_differs() -> None:
    grid = finished("a {colour} boat", colour=["red", "blue"], seed=range(3))
    data = recipes(grid.cells, Names(EN))
    assert set(data["vary"]) == {"prompt", "seed"} and data["same"]["steps"] == "8"
    assert data["vary"]["seed"] == {"values": ["0", "1", "2"], "of": [0, 1, 2, 0, 1, 2]}
    assert data["vary"]["prompt"]["values"] == ["a red boat", "a blue boat"]
    assert data["labels"]["seed"] == "Seed" and next(iter(data["labels"])) == "prompt"


def test_names_of_axes_are_in_the_users_language() -> None:
    request = Request(prompt="a {colour} boat", loras=[("ink", 1.0)], stages=[{"kind": "upscale"}, {"kind": "upscale"}])
    english, chinese = Names(EN), Names(Texts("zh"))
    choices = {name: label for label, name in english.choices(request)}
    assert choices["colour"] == "colour" and choices["seed"] == "Seed" and choices["lora.weight"] == "Weight"
    assert choices["stages.upscale.factor"].startswith("Upscale · ")
    assert choices["stages.upscale.2.factor"].startswith("Upscale 2 · ")
    assert chinese.of("seed") == "种子" and chinese.of("stages.upscale") != english.of("stages.upscale")
    assert english.of("anything else") == "anything else"


def test_more_pictures_than_there_are_places_for_are_sent_all_the_same() -> None:
    board = Board(EN)
    for number in range(150):
        board.send_pictures({f"key{number}": b"jpeg"})
    assert board.packs == 150 and board.pack149 == {"key149": b"jpeg"}
    assert sum(key.startswith("pack") and key != "packs" for key in board.keys) >= 150
    board.close()


# what is asked of it


def test_ratings_and_the_winner_go_through_the_grid(shown: Callable[[Grid], GridView]) -> None:
    grid = finished(seed=range(4))
    view = shown(grid)
    ask(view, do="rate", cell=1, rating=5)
    ask(view, do="pick", cell=2)
    assert (grid.cells[1].rating, grid.winner) == (5, grid.cells[2])
    assert view.board.ratings == "0500" and view.board.winners == [2], "told before the page hears that it is done"
    ask(view, do="pick", cell=None)
    ask(view, do="rate", cell=1, rating=0)
    assert grid.winner is None and view.board.ratings == "0000"


def test_what_goes_wrong_stands_in_the_box_and_the_page_is_answered(shown: Callable[[Grid], GridView]) -> None:
    view = shown(finished(seed=range(4), failed=[0]))
    heard: list[Any] = []
    view.board.send = lambda message, buffers=None: heard.append(message)
    ask(view, do="rate", cell=0, rating=5)
    assert "is failed" in str(view.problem.error) and heard == [{"heard": True}]
    ask(view, do="rate", cell=1, rating=5)
    assert view.problem.error is None


def test_a_column_is_taken_away_and_brought_back(shown: Callable[[Grid], GridView]) -> None:
    grid = finished("a {colour} boat", colour=["red", "blue"], seed=range(3))
    view = shown(grid)
    assert view.grid is grid and not view.board.undoable
    ask(view, do="without", role="columns", number=1)
    assert view.grid.shape == (2, 2) and view.board.undoable and view.board.plan["columns"] == ["seed 0", "seed 2"]
    told(view, "4 of 4")
    ask(view, do="rate", cell=0, rating=2, of=0)  # asked of the grid before, while the kernel was busy
    assert grid.cells[0].rating == 2
    ask(view, do="undo")
    assert view.grid is grid and not view.board.undoable
    ask(view, do="undo")
    assert view.grid is grid


def test_two_cells_are_compared(shown: Callable[[Grid], GridView]) -> None:
    grid = finished("a {colour} boat on a lake", colour=["red", "blue <b>"], steps=[4, 8])
    view = shown(grid)
    ask(view, do="compare", cells=[0, 3])
    assert view.pair_pane.is_open and view.problem.error is None
    assert "red" in view.pair_pane.slider.texts["before"] and "of the pixels differ" in view.pair_pane.difference.value
    page = view.pair_pane.recipes.value
    assert "<td>4</td><td>8</td>" in page and "red</del>" in page and "blue &lt;b&gt;</ins>" in page
    ask(view, do="compare", cells=[0, 0])
    assert "The recipes are the same." in view.pair_pane.recipes.value


def test_a_comparison_draws_nothing(shown: Callable[[Grid], GridView], monkeypatch: pytest.MonkeyPatch) -> None:
    """The slider can compare a picture with itself before its last stage, which draws it again: not here."""

    def never(*given: object, **options: object) -> None:
        raise AssertionError("something is drawn")

    for owner, name in ((Artifact, "before"), (Session, "submit"), (Session, "start"), (Session, "extend")):
        monkeypatch.setattr(owner, name, never)
    base = Request(prompt="a boat", stages=[{"kind": "upscale"}])
    view = shown(finished(base, **{"stages.upscale": [True, False]}, seed=[1, 2]))
    ask(view, do="compare", cells=[0, 3])
    assert view.problem.error is None and view.pair_pane.is_open and view.pair_pane.slider.before


def test_the_full_picture_comes_when_it_is_asked_for(shown: Callable[[Grid], GridView]) -> None:
    grid = finished(seed=range(2), picture=(320, 64))
    view, sent = shown(grid), list[Any]()
    view.board.send = lambda message, buffers=None: sent.append((message, buffers))
    ask(view, do="full", cell=1)
    (message, (content,)), _ = sent
    assert message == {"full": short_key(grid.cells[1].key), "about": "320 × 64 · 1.2 s"}
    assert Image.open(io.BytesIO(content)).size == (320, 64)


# what leaves it


def exported(view: GridView, ending: str, sent: list[Any]) -> tuple[dict[str, Any], bytes]:
    """The file that the page gets, put together from its pieces."""
    sent.clear()
    ask(view, do="export", ending=ending, view="this page")
    view._export._worker.submit(lambda: None).result(60)
    pieces = [(message, buffers) for message, buffers in sent if "file" in message]
    assert [message["part"] for message, _ in pieces] == list(range(pieces[0][0]["parts"]))
    assert {message["view"] for message, _ in pieces} == {"this page"}
    return pieces[0][0], b"".join(bytes(buffer) for _, (buffer,) in pieces)


def test_a_grid_leaves_as_a_sheet_a_page_or_a_table(
    shown: Callable[[Grid], GridView], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = finished("a {colour} boat", title="Boats", colour=["red", "blue"], seed=range(3))
    view, sent, told = shown(grid), list[Any](), list[Any]()
    view.board.send = lambda message, buffers=None: sent.append((message, buffers))
    view.board.observe(lambda change: told.append((change.new, threading.current_thread())), "exporting")
    monkeypatch.setattr(export, "PIECE", 1000)
    monkeypatch.setattr(export, "INTERVAL_SECONDS", 0)
    for ending, kind in ((".png", "image/png"), (".jpg", "image/jpeg"), (".html", "text/html"), (".csv", "text/csv")):
        about, content = exported(view, ending, sent)
        assert (about["file"], about["type"]) == (f"grid-boats{ending}", kind) and about["parts"] > 1
        (tmp_path / about["file"]).write_bytes(content)
        if ending == ".csv":
            assert content.decode("utf-8-sig").startswith("colour,seed,")
        else:
            assert Grid.open(tmp_path / about["file"]).cells[0].key == grid.cells[0].key
    counts = [state.get("done") for state, _ in told if state.get("ending") == ".png"]
    assert counts == [0, 1, 2, 3, 4, 5, 6] and told[-1][0] == {}
    assert not {thread for _, thread in told} & {threading.main_thread()}
    assert b'<html lang="en">' in (tmp_path / "grid-boats.html").read_bytes()


def test_several_sheets_leave_as_one_file(shown: Callable[[Grid], GridView]) -> None:
    grid = finished("a {colour} boat", colour=["red", "blue"], seed=range(3), layout={"pages": "seed"})
    view, sent = shown(grid), list[Any]()
    view.board.send = lambda message, buffers=None: sent.append((message, buffers))
    about, content = exported(view, ".jpg", sent)
    assert (about["file"], about["type"]) == ("grid-a-colour-boat.zip", "application/zip")
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert names == [f"grid-a-colour-boat-{number}.jpg" for number in (1, 2, 3)]


def test_what_a_file_cannot_be_made_of_stands_in_the_box(
    shown: Callable[[Grid], GridView], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = shown(finished(seed=range(3)))
    monkeypatch.setattr(export, "contents", lambda *given, **options: 1 / 0)
    ask(view, do="export", ending=".png", view="")
    view._export._worker.submit(lambda: None).result(60)
    assert isinstance(view.problem.error, ZeroDivisionError) and view.board.exporting == {}


def test_a_cells_recipe_goes_into_the_form_or_to_the_page(session: Session, model: str) -> None:
    small = Request(prompt="a {colour} boat", model=model, width=64, height=64)
    grid = make_grid(session, plan(small, {"colour": ["red", "blue"], "steps": [1, None]}), yes=True).wait(60)
    used: list[tuple[Request, threading.Thread]] = []
    view = GridView(grid, "en", use=lambda request: used.append((request, threading.current_thread())))
    alone = GridView(grid, "en")
    try:
        assert view.board.fills and not alone.board.fills
        ask(view, do="use", cell=2)
        ask(view, do="use", cell=3)
        assert [request.prompt for request, _ in used] == ["a blue boat"] * 2
        assert [request.steps for request, _ in used] == [1, None], "what nobody gave is open"
        assert used[0][0].seed == grid.cells[2].request.seed
        assert {thread for _, thread in used} == {threading.main_thread()}, "which the form's widgets expect"
        sent: list[Any] = []
        alone.board.send = lambda message, buffers=None: sent.append(message)
        ask(alone, do="recipe", cell=2)
        assert sent[0]["recipe"] == 2 and Request(**json.loads(sent[0]["text"])) == grid.cells[2].request
    finally:
        view.close()
        alone.close()


# a grid that is being made


@pytest.fixture
def stormy() -> Iterator[list[bool]]:
    """A stage that fails for one mood while it storms."""
    storm = [True]

    class Mood(Stage):
        """Fails."""

        kind = "view_mood"
        mood: str = "good"

        def after(self, image: Any, ctx: Any) -> Any:
            """Fail."""
            if self.mood == "bad" and storm:
                raise RuntimeError("too much wind")
            return image.copy()

    stage(Mood)
    yield storm
    registry.remove("view_mood")


def test_a_failed_cell_is_told_and_tried_again(
    shown: Callable[[Grid], GridView], session: Session, model: str, stormy: list[bool]
) -> None:
    small = Request(prompt="a boat", model=model, width=64, height=64, steps=2, stages=[{"kind": "view_mood"}])
    grid = make_grid(session, plan(small, {"stages.view_mood.mood": ["good", "bad"], "seed": [1, 2]}), yes=True)
    view = shown(grid)
    told(view, "2 of 4 · 2 failed")
    assert "too much wind" in view.board.errors["2"] and set(view.board.errors) == {"2", "3"}
    stormy.clear()
    ask(view, do="retry", cell=2)
    told(view, "3 of 4 · 1 failed")
    ask(view, do="retry_all")
    told(view, "4 of 4")
    assert view.board.errors == {} and not view.board.progress["running"]


def test_a_column_with_another_value_is_made_and_undone(
    shown: Callable[[Grid], GridView], session: Session, model: str
) -> None:
    small = Request(prompt="a {colour} boat", model=model, width=64, height=64, steps=2)
    grid = make_grid(session, plan(small, {"colour": ["red", "blue"], "seed": [1, 2]}), yes=True).wait(60)
    view = shown(grid)
    ask(view, do="rerun", role="columns", number=0, name="steps", value="3")
    told(view, "6 of 6")
    assert view.grid.computed == 2 and [cell.request.steps for cell in view.grid.cells[:3]] == [2, 3, 2]
    ask(view, do="rerun", role="columns", number=0, name="steps", value=" ")
    assert "no value for Steps" in str(view.problem.error) and view.grid.shape == (2, 3)
    ask(view, do="undo")
    assert view.grid is grid
    told(view, "4 of 4")


def test_a_stopped_grid_goes_on(shown: Callable[[Grid], GridView], session: Session, model: str) -> None:
    small = Request(prompt="a boat", model=model, width=128, height=128, steps=30)
    grid = make_grid(session, plan(small, {"seed": list(range(3))}), yes=True)
    view = shown(grid)
    eventually(lambda: view.board.running, "a cell is in the making")
    (one, *_) = view.board.running.values()
    assert one["steps"] == 30 or one["text"]
    ask(view, do="stop")
    eventually(lambda: "stopped" in view.board.progress["text"], "it stops")
    ask(view, do="go_on")
    told(view, "3 of 3")


def test_a_value_that_cannot_be_stops_nothing(
    shown: Callable[[Grid], GridView], session: Session, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Request(prompt="a boat", model=model, width=128, height=128, steps=30)
    grid = make_grid(session, plan(small, {"seed": list(range(4))}), yes=True)
    cancelled: list[Grid] = []
    monkeypatch.setattr(Grid, "cancel", lambda grid: cancelled.append(grid))
    view = shown(grid)
    for name, value in (("steps", "many"), ("model", "no such model"), ("seed", ""), ("nonsense", "1")):
        ask(view, do="rerun", role="columns", number=0, name=name, value=value)
        assert isinstance(view.problem.error, ZImageError), name
    for line in (1, 7):
        ask(view, do="without", role="rows", number=line)
        assert isinstance(view.problem.error, ZImageError), line
    assert cancelled == [] and view.grid is grid and not view.board.undoable
    monkeypatch.undo()
    ask(view, do="rerun", role="columns", number=0, name="steps", value="2")
    assert view.problem.error is None and view.grid.shape == (5,), "one that can be goes on with the rest"
    told(view, "5 of 5")


@pytest.mark.parametrize("slot", ["row", "column", "role", "name", "self"])
def test_a_column_of_a_slot_called_as_an_option_is_changed(
    shown: Callable[[Grid], GridView], session: Session, model: str, slot: str
) -> None:
    small = Request(prompt=f"a {{{slot}}} boat", model=model, width=64, height=64, steps=1)
    view = shown(make_grid(session, plan(small, {slot: ["red", "blue"]}), yes=True).wait(60))
    ask(view, do="rerun", role="columns", number=0, name=slot, value="green")
    assert view.problem.error is None
    told(view, "3 of 3")
    assert view.grid.labels("columns") == ("red", "green", "blue")


# pictures and words


def picture(*pixels: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.array([pixels], dtype=np.uint8))


def test_the_difference_of_two_pictures_is_amplified_by_a_power_of_two() -> None:
    figures, shown, gain = difference(picture((10, 10, 10), (0, 0, 0)), picture((10, 10, 10), (0, 9, 3)))
    assert (figures.largest, gain) == (9, 16)
    assert np.asarray(shown).tolist() == [[[0, 0, 0], [0, 144, 48]]]
    same = difference(picture((1, 2, 3)), picture((1, 2, 3)))
    assert (same[0].largest, same[2]) == (0, 1)


def test_pictures_of_two_sizes_are_compared_at_the_smaller_one_and_of_two_shapes_not_at_all() -> None:
    small, large, wide = (Image.new("RGB", size) for size in ((64, 64), (128, 128), (128, 64)))
    pair = same_size(large, small)
    assert pair is not None and [image.size for image in pair] == [(64, 64), (64, 64)]
    assert same_size(small, wide) is None
    pane = PairPane(EN, Names(EN))
    assert "different shapes, 64 × 64 and 128 × 64" in pane._difference(small, wide)
    assert "Compared at 64 × 64" in pane._difference(large, small)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a red boat", "a blue boat", [("a ", "a "), ("red", "blue"), (" boat", " boat")]),
        ("海上生明月", "海上升明月", [("海上", "海上"), ("生", "升"), ("明月", "明月")]),
        ("a boat", "a boat at sea", [("a boat", "a boat"), ("", " at sea")]),
        ("don't go", "don't", [("don't", "don't"), (" go", "")]),
        ("", "", []),
    ],
)
def test_prompts_differ_by_words_and_in_chinese_by_characters(
    one: str, other: str, expected: list[tuple[str, str]]
) -> None:
    assert worddiff.diff_pieces(one, other) == expected


def test_neighbouring_words_that_change_are_one_change() -> None:
    found = worddiff.diff_pieces("a red boat sails", "a blue kite sails")
    assert found == [("a ", "a "), ("red boat", "blue kite"), (" sails", " sails")]


def test_the_words_are_marked_and_said() -> None:
    page = worddiff.diff_html("a <red> boat", "a <blue> boat", EN)
    assert page.count("<del>") == page.count("<ins>") == 1 and "&lt;" in page and "removed:" in page


# what a saved notebook keeps


def test_the_sheet_that_is_kept_is_small() -> None:
    noise = Image.effect_noise((3000, 3000), 90).convert("RGB")
    content = small_sheet(noise)
    assert len(content) <= LARGEST_SHEET
    assert min(Image.open(io.BytesIO(content)).size) > 300
    assert Image.open(io.BytesIO(small_sheet(Image.new("RGBA", (200, 100))))).size == (200, 100)


def test_a_grid_outside_of_a_notebook_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    grid = finished(seed=range(2))
    grid._ipython_display_()
    assert capsys.readouterr().out == f"{grid!r}\n"


def test_a_picture_whose_file_is_gone_leaves_the_rest_to_be_seen(shown: Callable[[Grid], GridView]) -> None:
    grid = finished(seed=range(3))
    assert grid.cells[1].path is not None
    grid.cells[1].path.with_suffix(".jpg").unlink()
    grid.cells[1].path.unlink()
    view = shown(grid)
    told(view, "3 of 3")
    eventually(lambda: view.board.packs == 2, "the gone one is told of after the others")
    assert len(view.board.sent) == 2 and len(view.board.pack0) == 2
    assert view.board.pack1 == {short_key(grid.cells[1].key): b""} and view.problem.error is None


def test_closing_a_view_in_the_middle_of_an_update_blocks_neither(shown: Callable[[Grid], GridView]) -> None:
    feed = shown(finished("a {thing}", thing=["cat", "dog"]))._feed
    with feed._writing:  # as an update holds it while it asks for what runs
        closing = threading.Thread(target=feed.close)
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        assert feed._lock.acquire(timeout=5), "an update waits for this while it writes"
        feed._lock.release()
    closing.join(5)
    assert not closing.is_alive()
