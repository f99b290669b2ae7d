"""Hints under the prompt: what they say and do without a page, and in Chromium as somebody types."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opened import OpenOne
from playwright.sync_api import expect

from zimage_kit import Request, Session
from zimage_kit.studio.panel.coaching import AFTER_SECONDS, MOST, Coaching, hint_html
from zimage_kit.studio.panel.studio import Studio

FULL = "masterpiece, best quality, 8k, a red boat, no people"


@pytest.fixture
def studio(session: Session) -> Iterator[Studio]:
    studio = Studio(session, language="en", save=False)
    yield studio
    studio.close()


def told(studio: Studio, prompt: str | None = None) -> list[str]:
    """The rules of the hints that are shown now."""
    coaching = studio.form.coaching
    if prompt is not None:
        studio.form.prompt.value = prompt
        coaching.look()
    shown = [not hidden(row.box) for row in coaching.rows]
    assert shown == [number < len(coaching.hints) for number in range(MOST)]
    return [hint.rule for hint in coaching.hints]


def hidden(control: Any) -> bool:
    return "zk-hidden" in control._dom_classes


def row(studio: Studio, rule: str) -> Any:
    coaching = studio.form.coaching
    return coaching.rows[[hint.rule for hint in coaching.hints].index(rule)]


def test_hints_come_by_themselves_once_nobody_types(studio: Studio) -> None:
    studio.form.prompt.value = FULL
    assert studio.form.coaching.hints == [], "not at each letter"
    end = time.monotonic() + 100 * AFTER_SECONDS
    while not studio.form.coaching.hints:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert told(studio) == ["stuffed", "negative"]
    assert "2 hints" in studio.form.coaching._told.value
    text = row(studio, "negative").text.value
    assert "<mark>no people</mark>" in text and "8k, a red boat</p>" in text
    assert studio.problem.error is None


def test_what_the_line_above_says_is_not_said_twice(studio: Studio) -> None:
    assert told(studio, "a gramophone " * 200) == ["stuffed"]
    assert "gramophone" in studio.form.tokens.value and "zk-over" in studio.form.tokens.value


def test_a_rewrite_goes_into_the_prompt_and_comes_back(studio: Studio) -> None:
    told(studio, FULL)
    row(studio, "stuffed").accept.click()
    assert studio.form.prompt.value == "a red boat, no people" and told(studio) == ["negative"]
    undo = studio.form.coaching.undo
    assert not hidden(undo)
    undo.click()
    assert studio.form.prompt.value == FULL and told(studio) == ["stuffed", "negative"] and hidden(undo)
    row(studio, "negative").accept.click()
    told(studio, "another prompt")
    assert hidden(undo), "there is nothing to take back once it was edited"
    assert hidden(studio.form.coaching.rows[0].box)
    told(studio, "a man on the left and a woman on the right")
    assert hidden(row(studio, "people").accept), "only its author knows"


def test_dismissed_is_for_this_prompt_and_not_again_for_the_panel(studio: Studio) -> None:
    told(studio, FULL)
    row(studio, "negative").dismiss.click()
    assert told(studio) == ["stuffed"] == told(studio, FULL + ", dusk")
    assert told(studio, "a green hill and a house, no dogs") == ["negative"], "another prompt"
    row(studio, "negative").never.click()
    assert told(studio) == [] == told(studio, "a tower without windows")
    kept = studio.form.state()
    studio.language = "zh"
    assert told(studio, "海滩，没有人") == [], "the panel in another language is the same panel"
    assert studio.form.state()["coach"] == kept["coach"] == {"on": True, "never": ["negative"]}
    studio.form.coaching.switch.value = False
    assert told(studio, "画一只猫") == [], "switched off"
    studio.form.coaching.switch.value = True
    assert told(studio, "海滩，没有人") == ["negative"], "off and on brings it back"
    assert "请写" in row(studio, "negative").text.value


def test_they_follow_the_model_and_a_recipe(studio: Studio) -> None:
    studio.request = Request(prompt="a beach, no people", model="turbo")
    assert told(studio, "a beach, no people") == ["negative"]
    studio.form.model.value = "base"
    studio.form.coaching.look()
    assert told(studio) == [], "it takes negatives"
    state = {**studio.form.state(), "coach": {"on": False, "never": []}}
    studio.form.restore(state)
    assert not studio.form.coaching.switch.value
    studio.form.restore({})
    assert isinstance(studio.form.coaching, Coaching) and studio.form.coaching.switch.value, "kept by an older version"


def test_a_prompt_is_shown_as_text(studio: Studio) -> None:
    told(studio, 'a <b>boat</b>, no <img src=x onerror="alert(1)">people')
    for hint in studio.form.coaching.hints:
        assert "<img" not in hint_html(hint) and "<b>" not in hint_html(hint)
    told(studio, FULL)
    assert "{" not in row(studio, "stuffed").accept.tooltip


def test_typed_in_the_page_they_appear_and_leave_the_focus_alone(notebook: OpenOne) -> None:
    opened = notebook(
        ["import zimage_kit as zk; session = zk.connect()", "studio = session.studio(save=False); studio"]
    )
    root = opened.page.locator(".zk-studio")
    prompt = root.locator(".zk-prompt textarea")
    prompt.click()
    opened.page.keyboard.type("a red boat, no people")
    hint = root.locator(".zk-hint:visible")
    expect(hint).to_have_count(1)
    expect(hint.locator("mark")).to_have_text("no people")
    expect(prompt).to_be_focused()
    expect(root.locator(".zk-coach [aria-live=polite], .zk-coach .zk-live")).to_contain_text("1 hint on this prompt")
    expect(root.locator(".zk-coach .zk-live")).to_have_attribute("aria-live", "polite")
    for theme in ("light", "dark"):
        opened.dress(theme)  # type: ignore[arg-type]
        opened.shot(f"coach_{theme}", root)
    opened.dress("light")
    accept = hint.get_by_role("button", name="Accept")
    accept.focus()
    opened.page.keyboard.press("Enter")
    expect(prompt).to_have_value("a red boat")
    opened.wait("studio.form.prompt.value == 'a red boat'")
    expect(hint).to_have_count(0)
    undo = root.get_by_role("button", name="Undo", exact=True)
    expect(undo).to_be_focused()
    opened.page.keyboard.press("Enter")
    expect(prompt).to_have_value("a red boat, no people")
    hint.get_by_role("button", name="Dismiss").click()
    expect(hint).to_have_count(0)
    root.get_by_role("checkbox", name="Hints").uncheck()
    prompt.fill("a red boat, no dogs")
    opened.wait("studio.form.prompt.value.endswith('dogs') and not studio.form.coaching.hints")
    expect(hint).to_have_count(0)


def test_a_screen_reader_meets_no_barrier_in_them(notebook: OpenOne) -> None:
    opened = notebook(
        ["import zimage_kit as zk; session = zk.connect()", "studio = session.studio(save=False); studio"]
    )
    opened.page.locator(".zk-prompt textarea").fill("masterpiece, best quality, 8k, a red boat, no people")
    expect(opened.page.locator(".zk-hint:visible")).to_have_count(2)
    assert opened.axe(".zk-studio") == []
