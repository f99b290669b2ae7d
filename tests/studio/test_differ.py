"""Different ones in the panel: seeds are scouted, pressed again the next ones come, and it can be cancelled."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from panel_jobs import finish

from zimage_kit import Event, Request, Session
from zimage_kit.studio.panel.job_progress import progress_of
from zimage_kit.studio.panel.jobs import Place
from zimage_kit.studio.panel.studio import Studio
from zimage_kit.studio.translations import Texts

SMALL = Request(prompt="a red boat", model="nano", width=64, height=64, steps=3, seed=100)


@pytest.fixture
def studio(session: Session) -> Iterator[Studio]:
    studio = Studio(session, language="en", save=False)
    studio.request = SMALL
    yield studio
    studio.close()
    finish()


def press(studio: Studio) -> None:
    studio.bar._handle_custom_msg({"do": "differ"}, [])


def seeds(studio: Studio) -> list[int]:
    return [each.request.seed or 0 for each in studio.artifacts]


def test_four_come_and_then_four_more_without_another_look(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(studio.jobs, "_callbacks", hearing(studio, said))
    press(studio)
    finish()
    assert studio.problem.error is None
    first = seeds(studio)
    assert len(set(first)) == 4
    assert set(first) <= set(range(100, 124))
    assert said.count("looking at seed 24 of 24") == 1
    said.clear()
    press(studio)
    finish()
    assert len(set(seeds(studio))) == 8
    assert set(seeds(studio)) <= set(range(100, 124))
    assert not [each for each in said if "looking" in each]
    studio.form.steps.value = 2
    press(studio)
    finish()
    assert "looking at seed 24 of 24" in said, "another request is looked at anew"


def hearing(studio: Studio, said: list[str]) -> object:
    from dataclasses import replace

    callbacks = studio.jobs._callbacks

    def on_event(event: Event, place: Place) -> None:
        told = progress_of(event, Texts("en"), {})
        said.append(told["text"] if told else "")
        callbacks.on_event(event, place)

    return replace(callbacks, on_event=on_event)


def test_as_many_as_the_form_asks_for_with_a_new_seed(studio: Studio) -> None:
    studio.form.lock.value = False
    studio.form.count.value = 2
    press(studio)
    finish()
    assert len(set(seeds(studio))) == 2
    assert not set(seeds(studio)) & set(range(90, 130)), "the seed was not kept"
    assert studio.form.seeds.last_seed in range(seeds(studio)[0] - 24, seeds(studio)[0] + 1)


def test_cancelling_while_it_looks_makes_nothing(studio: Studio) -> None:
    studio.request = SMALL.but(width=256, height=256, steps=8)
    press(studio)
    end = time.monotonic() + 30
    while not len(studio.jobs):
        assert time.monotonic() < end
        time.sleep(0.005)
    studio.cancel()
    finish()
    assert seeds(studio) == []
    assert len(studio.jobs) == 0
    assert studio.session.status().queued == 0
    assert studio.problem.error is None


def test_what_cannot_be_made_is_told(studio: Studio) -> None:
    studio.form.loras.add("unfinished", 0.5)
    press(studio)
    finish()
    assert "unfinished" in str(studio.problem.error)
    assert seeds(studio) == []
