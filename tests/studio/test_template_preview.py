"""Templates in the panel, without a browser: the preview below the prompt, batches, and how a recipe is used again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from zimage_kit import Request, Session
from zimage_kit.recipe import templates
from zimage_kit.studio.panel.form import Form
from zimage_kit.studio.panel.studio import Studio
from zimage_kit.studio.translations import Texts

MANY = "a {red|blue|green|white|yellow} {boat|duck|house|tree|star}"


@pytest.fixture
def form(session: Session) -> Form:
    return Form(Texts("en"), session.models(), lambda: None)


@pytest.fixture
def studio(session: Session) -> Iterator[Studio]:
    studio = Studio(session, language="en", save=False, name="")
    yield studio
    studio.close()


def hidden(control: Any) -> bool:
    return "zk-hidden" in control._dom_classes


def shown(form: Form) -> list[str]:
    return [button.description for button in form.preview.prompts.children]


def test_a_plain_prompt_has_no_preview(form: Form) -> None:
    form.prompt.value = 'a {colour} boat {"a": 1}'
    assert hidden(form.preview.template) and hidden(form.preview.back)


def test_ten_of_many_and_ten_others(form: Form) -> None:
    preview = form.preview
    form.prompt.value = MANY
    assert not hidden(preview.template) and hidden(preview.body)
    assert "25 combinations" in preview.line.value
    preview.fold.value = True
    first = shown(form)
    assert len(set(first)) == 10
    assert set(first) <= {each.prompt for each in templates.every(MANY)}
    preview.others.click()
    assert len(set(shown(form))) == 10 and shown(form) != first
    form.prompt.value = "a {red|blue} boat"
    assert shown(form) == ["a red boat", "a blue boat"] and hidden(preview.others)


def test_a_click_takes_a_prompt_and_the_template_comes_back(form: Form) -> None:
    preview = form.preview
    form.prompt.value = r"a {red|blue} \{x|y\}"
    preview.fold.value = True
    preview.prompts.children[1].click()
    assert templates.resolve(form.request().prompt, 7) == "a blue {x|y}", "what looks like a choice is none"
    assert hidden(preview.template) and not hidden(preview.back)
    preview.back.click()
    assert form.prompt.value == r"a {red|blue} \{x|y\}"
    assert hidden(preview.back) and not hidden(preview.template)


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "template &#x27;a ▸{red|blue&#x27;: a brace is not closed. Close it"), ("zh", "大括号没有闭合")],
)
def test_what_is_wrong_is_said_while_it_is_typed(session: Session, language: str, told: str) -> None:
    form = Form(Texts(language), session.models(), lambda: None)
    form.preview.fold.value = True
    form.prompt.value = "a {red|blue"
    assert told in form.preview.line.value
    assert hidden(form.preview.fold) and hidden(form.preview.body)
    if language == "zh":
        form.prompt.value = "a __boats__"
        assert "已有的词表；若要下划线本身，请写 \\__" in form.preview.line.value
    form.prompt.value = "a {red|blue} boat"
    assert not hidden(form.preview.fold) and shown(form) == ["a red boat", "a blue boat"]


def test_a_batch_chooses_by_seeds_and_its_recipes_say_so(studio: Studio, small: Request) -> None:
    studio.request = small.but(prompt=MANY)
    studio.form.count.value = 4
    studio.generate()
    for thread in [each for each in threading.enumerate() if each.name == "zimage-job"]:
        thread.join(60)
    assert studio.problem.error is None
    made = [artifact.request for artifact in studio.artifacts]
    assert [(each.seed, each.prompt) for each in made] == [
        (seed, templates.resolve(MANY, seed)) for seed in range(7, 11)
    ]
    result = next(iter(studio.results))
    assert f"{made[0].prompt} ← {MANY}" in result.caption(studio.texts)
    assert MANY in result.about(studio.texts, [])["recipe"]
    assert studio.form.history == [MANY]
    for how, prompt in (("seed", made[0].prompt), ("exactly", made[0].prompt), ("template", MANY)):
        studio.bar._handle_custom_msg({"do": "use", "id": "r1", "how": how}, [])
        assert (studio.form.prompt.value, studio.form.seed.value) == (prompt, 7), how
    assert studio.session.check(studio.request).request == made[0]
