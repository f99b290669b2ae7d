"""What a panel keeps: form, strip, panes and jobs come back in the next panel of its name."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ipywidgets.widgets.widget import _instances as widgets

from zimage_kit import Request, Session
from zimage_kit.errors import BadRequest
from zimage_kit.studio.panel import keeper
from zimage_kit.studio.panel.keeper import PAGE, Keeper
from zimage_kit.studio.panel.studio import Studio

Open = Callable[..., Studio]


@pytest.fixture
def studio(session: Session) -> Iterator[Open]:
    """Opens panels, by default of one name; closes them at the end."""
    opened: list[Studio] = []

    def open_one(name: str | None = "cell 1", **options: Any) -> Studio:
        opened.append(Studio(session, name=name, **{"language": "en", **options}))
        return opened[-1]

    yield open_one
    for each in opened:
        if not each._closed:
            each.close()


def made(studio: Studio, count: int) -> None:
    end = time.monotonic() + 60
    while len(studio.artifacts) < count or any(each.name == "zimage-job" for each in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)
    studio._saver.submit(lambda: None).result(30)


def lost(studio: Studio) -> None:
    """As if its process had ended: what it kept is written, and it does nothing any more."""
    studio._keeper.changed()
    studio._keeper.flush()
    from zimage_kit.studio.panel import studio as module

    module._open.clear()


def test_a_language_that_nobody_chose_in_the_panel_is_the_users_next_time(
    studio: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`zimage app --lang zh`, after a day of English."""
    for spoken in ("en", "zh", "en"):
        monkeypatch.setenv("ZIMAGE_LANG", spoken)
        panel = studio(language=None)
        assert panel.language == spoken
        lost(panel)
    monkeypatch.setenv("ZIMAGE_LANG", "en")
    panel = studio(language=None)
    panel.language = "zh"
    lost(panel)
    assert studio(language=None).language == "zh", "chosen, it stays"


def test_form_strip_panes_and_history_come_back(studio: Open, small: Request) -> None:
    first = studio()
    first.request = small.but(stages=[{"kind": "upscale"}], loras=[("papercut", 0.5)])
    first.form.count.value = 2
    first.generate()
    made(first, 2)
    first.viewer.selected = "r1"
    first.panes["tray"].add(list(first.results)[1])
    first.panes["compare"].compare(list(first.results)[1])
    first.open_pane("grid")
    first.panes["grid"].fields[0].value, first.panes["grid"].values[0].value = "seed", "1-3"
    first.panes["library"].view.query = {"words": "boat"}
    first.language = "zh"
    lost(first)
    second = studio(language=None)
    assert second.language == "zh"
    assert second.request == first.request and second.form.count.value == 2
    assert [each.request for each in second.artifacts] == [each.request for each in first.artifacts]
    assert second.viewer.selected == "r1" and len(second.viewer.results) == 2
    assert [each.number for each in second.panes["tray"].chosen] == [2]
    assert (second.panes["compare"].left.value, second.panes["compare"].right.value) == ("r2:before", "r2")
    assert second.panes["grid"].is_open and second.panes["grid"].values[0].value == "1-3"
    assert second.panes["library"].view.query == {"words": "boat"} and not second.panes["library"].is_open
    assert second.bar.history == ["a red boat"]


def test_the_same_cell_run_again_takes_over_and_the_old_panel_is_closed(studio: Open, small: Request) -> None:
    first = studio(save=False)
    first.request = small
    first.generate()
    made(first, 1)
    (picture,), request = first.artifacts, first.request
    second = studio(save=False)
    assert first._closed and [each.image.tobytes() for each in second.artifacts] == [picture.image.tobytes()], (
        "pictures that were not saved come along too"
    )
    assert second.request == request


def test_jobs_under_way_are_followed_by_the_panel_that_takes_over(studio: Open, small: Request) -> None:
    first = studio()
    first.request = small.but(steps=60, width=128, height=128)
    first.generate()
    while not first.jobs.running:
        time.sleep(0.002)
    second = studio()
    assert second.jobs.running.keys() == first.jobs.running.keys()
    made(second, 1)
    assert first.artifacts == [] and second.artifacts[0].request.steps == 60


def test_what_was_lost_with_its_session_is_asked_about_and_made(studio: Open, small: Request) -> None:
    first = studio()
    lost(first)
    state = json.loads(first._keeper.path.read_text("utf-8"))  # type: ignore[union-attr]
    state["jobs"] = [["gone", small.to_json()], ["gone too", small.but(seed=8).to_json()]]
    first._keeper.path.write_text(json.dumps(state), "utf-8")  # type: ignore[union-attr]
    second = studio()
    assert "2 pictures were not made" in second.question._content.value
    make, *_ = second.question._buttons.children
    make.click()
    made(second, 2)
    assert sorted(each.request.seed for each in second.artifacts) == [7, 8]  # type: ignore[type-var]


def test_panels_of_other_names_and_without_one_keep_their_own(studio: Open, small: Request, home: Path) -> None:
    first = studio("a", language=None)
    first.form.prompt.value = "in a"
    lost(first)
    assert studio("b").form.prompt.value == ""
    assert studio("a").form.prompt.value == "in a"
    nameless = studio("")
    nameless.form.prompt.value = "nowhere"
    lost(nameless)
    assert len(list((home / "outputs" / ".zimage" / "panels").iterdir())) == 1, "b has not changed since it was opened"


@pytest.mark.parametrize(
    "damage",
    [
        "not JSON", "[]", '{"version": 99}', '{"version": 1}',
        '{"version": 1, "form": {"model": "nope"}, "strip": ["gone.png"], "panes": {"grid": 7}, "selected": 5}',
        '{"version": 1, "form": 3, "strip": 4, "jobs": [["x"]], "unmade": ["{"]}',
    ],
)  # fmt: skip
def test_a_state_that_cannot_be_read_leaves_a_panel_that_works(studio: Open, small: Request, damage: str) -> None:
    first = studio()
    lost(first)
    path = first._keeper.path
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(damage, "utf-8")
    second = studio()
    second.request = small
    second.generate()
    made(second, 1)


def test_it_is_written_whole_soon_after_a_change_and_read_by_nobody_else(home: Path) -> None:
    count = [0]

    def collect() -> dict[str, Any]:
        count[0] += 1
        return {"count": count[0]}

    keeper = Keeper(PAGE, collect)
    keeper.flush()
    assert keeper.path is not None and not keeper.path.exists(), "nothing has changed"
    for _ in range(5):
        keeper.changed()
    end = time.monotonic() + 30
    while not keeper.path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert keeper.load()["count"] == 1, "several changes are written once"
    assert keeper.path.stat().st_mode & 0o077 == 0
    keeper.changed()
    keeper.close()
    assert keeper.load()["count"] == 2
    keeper.changed()
    keeper.flush()
    assert keeper.load()["count"] == 2


def test_a_page_that_would_lose_something_says_so(session: Session, studio: Open, small: Request) -> None:
    page = studio(PAGE, save=False)
    assert not page.bar.loses
    page.request = small
    page.generate()
    made(page, 1)
    assert page.bar.loses, "the picture is nowhere but here"
    page.forget(next(iter(page.results)))
    assert not page.bar.loses
    page.save.value = True
    page.generate()
    made(page, 1)
    assert not page.bar.loses


def test_each_panel_of_a_cell_has_a_name_and_a_cell_run_again_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shell:
        run = "1"

        def get_parent(self) -> dict[str, Any]:
            return {"metadata": {"cellId": "test cell"}, "header": {"msg_id": self.run}}

    shell = Shell()
    monkeypatch.setattr(keeper, "notebook", lambda: shell)
    monkeypatch.setenv("JPY_SESSION_NAME", "boats.ipynb")
    first = [keeper.own_name() for _ in range(3)]
    assert first == ["boats.ipynb test cell", "boats.ipynb test cell 1", "boats.ipynb test cell 2"]
    shell.run = "2"
    assert [keeper.own_name() for _ in range(3)] == first


def test_states_of_long_ago_are_forgotten(home: Path) -> None:
    mine = Keeper("mine", dict)
    mine.changed()
    mine.flush()
    assert mine.path is not None
    old = mine.path.with_name("old.json")
    old.write_text("{}")
    os.utime(old, (0, 0))
    assert mine.load() and not old.exists() and mine.path.exists()


def test_a_panel_that_changes_all_the_time_is_kept_all_the_same() -> None:
    """A batch changes it several times a second, and its process may end at any moment."""
    mine = Keeper("cell 9", lambda: {"kept": True})
    end = time.monotonic() + 10 * keeper._WAIT_SECONDS
    while not mine.load():
        assert time.monotonic() < end
        mine.changed()
        time.sleep(0.02)
    mine.close()


def test_jobs_that_were_just_submitted_are_kept(studio: Open, small: Request) -> None:
    first = studio()
    first.request = small.but(steps=200)
    first.form.count.value = 4
    first.generate()
    end = time.monotonic() + 30
    while len(first._keeper.load().get("jobs", ())) < 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(first.jobs) == 4, "the first of them is still being made"
    first.cancel()


def test_a_job_that_begins_while_the_language_changes_does_not_stand_still(studio: Open) -> None:
    """Each held the lock that the other waited for: the jobs' own, and the panel's."""
    one = studio()
    begins, rebuilt = threading.Event(), threading.Event()
    built = one.form.restore

    def job() -> None:
        with one.jobs._lock:  # as a thread that follows a job holds it while it tells the panel
            begins.set()
            rebuilt.wait(30)
            one.changed()

    follower = threading.Thread(target=job, daemon=True)
    follower.start()
    assert begins.wait(30)
    change = threading.Thread(target=setattr, args=(one, "language", "zh"), daemon=True)
    change.start()
    while one.form.restore == built:  # until the panel is being rebuilt, its lock held
        time.sleep(0.001)
    rebuilt.set()
    for thread in (change, follower):
        thread.join(30)
        assert not thread.is_alive()
    assert one.language == "zh"


def test_what_is_not_shown_any_more_is_closed_with_its_layouts(studio: Open, small: Request) -> None:
    """Each page that is opened fetches every widget that its kernel has."""
    staged = small.but(stages=[{"kind": "upscale"}, {"kind": "refine"}], loras=[("papercut", 0.5)])
    others = set(widgets)  # of tests before this one
    first = studio()
    first.request = staged
    there = len(widgets)
    second = studio()  # the cell once more
    second.language = "zh"
    second.request = staged
    second.form.stages.remove(second.form.stages.forms[0])
    second.form.stages.bring_back()
    assert [stage.kind for stage in second.request.stages] == ["upscale", "refine"]
    assert len(widgets) <= there
    second.form.stages.remove(second.form.stages.forms[0])
    second.request = small
    second.close()
    left = [widget for name, widget in widgets.items() if name not in others]
    assert not [widget for widget in left if "zk-" in " ".join(getattr(widget, "_dom_classes", ()))]


def test_a_panel_that_was_taken_over_keeps_neither_pictures_nor_widgets(studio: Open, small: Request) -> None:
    """A notebook's `Out` refers to every panel that was ever shown; three hundred of them had 250 MB."""
    first = studio()
    first.request = small
    first.generate()
    made(first, 1)
    form, result, picture = weakref.ref(first.form), weakref.ref(next(iter(first.results))), first.artifacts[0]
    second = studio()
    assert second.artifacts == [picture] and first.artifacts == []
    end = time.monotonic() + 30
    while form() or result():
        assert time.monotonic() < end, [gc.get_referrers(each) for each in (form(), result()) if each is not None]
        gc.collect()
        time.sleep(0.05)
    for use in (lambda: first.request, lambda: first.sent, lambda: setattr(first, "request", small)):
        with pytest.raises(BadRequest, match="closed when its cell was run again"):
            use()
    first.announce("a thread comes late")
    first.changed()
    first.close()
