"""Templates: what they say is what is drawn, the same on every machine, and the recipe has both."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.engine.preflight import check
from zimage_kit.errors import BadRequest
from zimage_kit.recipe import template_syntax, templates
from zimage_kit.recipe.artifact import read

TEMPLATES = [
    "a {red|blue} boat",
    "{2$$a|b|c}",
    "{1-3$$ and $$a|b|c} at {dawn|}",
    "{-2$$a|b|c}, {2-$$d|e|f}",
    "{a|{b|{c|d} e}} f",
    "{0.5::a|2::b|0::c}",
    r"{a\|b|\{c\}} \__d__",
    "海上的{红|蓝}船，{|月夜}",
]


@pytest.fixture
def lists(home: Path) -> Path:
    """The folder of word lists, with some."""
    folder = home / "zimage" / "wordlists"
    (folder / "places").mkdir(parents=True)
    (folder / "animals.txt").write_text("\ufeff# those that swim\nduck\n\n  goose \n{grey|harbour} seal\n", "utf-8")
    (folder / "places" / "sea.txt").write_text("3::the sea\nthe shore with a __animals__\n", "utf-8")
    return folder


@pytest.mark.parametrize("text", TEMPLATES)
def test_what_is_drawn_is_among_all_combinations(text: str) -> None:
    found = templates.every(text)
    prompts = {each.prompt for each in found}
    assert templates.is_template(text)
    assert len(prompts) == len(found) == templates.count(text)
    drawn = {templates.resolve(text, seed) for seed in range(300)}
    assert drawn == prompts, "every combination is drawn, and nothing else"
    assert not any(template_syntax._groups(prompt) for prompt in prompts if "\\" not in text)


def test_a_choice_is_the_same_on_every_machine() -> None:
    """The very words: they were drawn when this was written, and a recipe of then draws them again."""
    text = "a {red|blue|green} {2$$boat|duck|house|tree} {0.5::at dawn|2::at night}"
    assert [templates.resolve(text, seed) for seed in (0, 7, 2**53 - 1)] == [
        "a red boat, house at night",
        "a red house, tree at night",
        "a red duck, house at night",
    ]
    assert templates.resolve(text, 7, "negative_prompt") != templates.resolve(text, 7)


def test_weights_are_how_often() -> None:
    found = Counter(templates.resolve("{0.5::a|2::b|c|0::d}", seed) for seed in range(3500))
    assert found["d"] == 0
    assert found["a"] == pytest.approx(500, abs=75)
    assert found["b"] == pytest.approx(2000, abs=120)
    assert found["c"] == pytest.approx(1000, abs=100)
    assert {templates.resolve("{2$$9::a|b|c}", seed) for seed in range(99)} == {"a, b", "a, c", "b, c"}


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("{a|b} {c|d}", ["a c", "a d", "b c", "b d"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{2$$ and $$a|b|c}", ["a and b", "a and c", "b and c"]),
        ("{1-2$$a|b}", ["a", "b", "a, b"]),
        ("{0-1$$a|b} c", ["c", "a c", "b c"]),
        ("a {|red} boat", ["a boat", "a red boat"]),
        ("a boat {|at night}, {oil|}", ["a boat, oil", "a boat,", "a boat at night, oil", "a boat at night,"]),
        ("{ a | b }", ["a", "b"]),
        (r"\{a|b\} {c|d}", ["{a|b} c", "{a|b} d"]),
        (r"\__a__ {b|c\|d}", ["__a__ b", "__a__ c|d"]),
        ("{a|b {c}}", ["a", "b {c}"]),
        ("{a|a|b}", ["a", "b"]),
    ],
)
def test_all_combinations(text: str, prompts: list[str]) -> None:
    assert [each.prompt for each in templates.every(text)] == prompts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red boat",
        "a {colour} boat",
        '{"a": {"b": [1]}}',
        "a | b",
        r"a \(b\) C:\new",
        "{a",
        "b} __ c_d__e",
        "50$$",
    ],
)
def test_a_plain_prompt_stays_as_it_is(text: str) -> None:
    assert not templates.is_template(text)
    assert templates.resolve(text, 7) == text == templates.escape(text)
    assert templates.count(text) == 1


@pytest.mark.parametrize("text", [*TEMPLATES, "{a|b", r"\\{a|b}\|", "____a____", r"\__x", "${a=b} {c|d}"])
def test_an_escaped_text_means_itself(text: str) -> None:
    assert templates.resolve(templates.escape(text), 7) == text


def test_word_lists(lists: Path) -> None:
    assert [each.prompt for each in templates.every("__animals__")] == ["duck", "goose", "grey seal", "harbour seal"]
    assert templates.count("a __animals__ by __places/sea__") == 4 * 5
    assert templates.count("{2$$__animals__}") == 1 + 2 + 2, "two different entries"
    drawn = Counter(templates.resolve("__places/sea__", seed) for seed in range(400))
    assert drawn["the sea"] == pytest.approx(300, abs=40)
    assert set(drawn) == {each.prompt for each in templates.every("__places/sea__")}


def test_another_folder_of_word_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "颜色.txt").write_text("红\n蓝\n", "utf-8")
    monkeypatch.setenv("ZIMAGE_WORDLISTS", str(tmp_path))
    assert [each.prompt for each in templates.every("__颜色__船")] == ["红船", "蓝船"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a {red|blue boat", r"template 'a ▸\{red\|blue boat': a brace is not closed. Close it"),
        ("a {x|{red|blue} boat", r"'a ▸\{x\|"),
        ("{3$$a|b}", r"'▸\{3\$\$a\|b}': 3 of 2 alternatives. Ask for 2 at most"),
        ("{2-1$$a|b}", "Write the smaller first"),
        ("{0::a|0::b}", "every weight is 0"),
        ("a __animal__", r"'a ▸__animal__': there is no word list 'animal' in .*; expected .* Did you mean animals\?"),
        ("__qqq__", r"Known: animals, .*, places/sea"),
        ("__circle__", "circle → other → circle"),
        ("__empty__", "is empty; expected one entry a line"),
        ("__latin__", "is not UTF-8"),
        ("__wrong__", r"template '▸\{a\|b' \(word list wrong\): a brace"),
        ("${a=x} {a|b}", "no variables"),
        ("{a|" * 60 + "b" + "}" * 60, "more than 50 braces"),
    ],
)
def test_an_error_shows_where_and_says_what_to_do(text: str, told: str, lists: Path) -> None:
    for name, content in {"circle": "a\n__other__", "other": "__circle__", "empty": "# no", "wrong": "{a|b"}.items():
        (lists / f"{name}.txt").write_text(content)
    (lists / "latin.txt").write_bytes("blå".encode("latin-1"))
    with pytest.raises(BadRequest, match=told):
        templates.resolve(text, 7)


def test_too_many_combinations_are_counted_and_not_listed() -> None:
    text = "{0|1|2|3|4|5|6|7|8|9}" * 12
    assert templates.count(text) == 10**12
    with pytest.raises(BadRequest, match="has 1000000000000 combinations; expected at most 10000"):
        templates.every(text)
    assert len(set(templates.some(text))) == 10


def test_a_request_has_both(model: str) -> None:
    asked = Request(prompt="a {red|blue} boat", model=model, seed=7)
    found = check(asked).request
    assert found.prompt in ("a red boat", "a blue boat")
    assert (found.template, found.template_seed) == (asked.prompt, 7)
    assert check(found).request == found, "what is resolved is not resolved again"
    assert check(Request.from_json(found.to_json())).request == found
    assert check(found.but(seed=8)).request.prompt == found.prompt
    assert templates.as_template(found).opened(("width", "height", "steps", "guidance")) == asked.but(model=found.model)
    others = {check(asked.but(seed=seed)).request.prompt for seed in range(20)}
    assert len(others) == 2
    fixed = {check(asked.but(seed=seed, template_seed=3)).request.prompt for seed in range(20)}
    assert len(fixed) == 1


def test_another_prompt_forgets_the_template(model: str) -> None:
    found = check(Request(prompt="a {red|blue} boat", model=model, seed=7)).request
    assert found.but(prompt="a house").template == ""
    assert found.but(prompt=found.prompt).template == found.template
    assert check(found.but(prompt="a {red|red} house")).request.prompt == "a red house"


def test_a_drawn_brace_is_not_a_choice_when_it_is_made_again(model: str) -> None:
    found = check(Request(prompt=r"the word \{a|b\}", model=model, seed=7)).request
    assert found.prompt == "the word {a|b}"
    assert check(found).request.prompt == found.prompt
    again = templates.as_prompts(found)
    assert again.template == ""
    assert check(again).request.prompt == found.prompt


def test_a_recipe_from_before_templates_means_what_it_says(artifact: zk.Artifact, tmp_path: Path, model: str) -> None:
    old = zk.Artifact(artifact.image, artifact.request.but(prompt="the word {a|b}", model=model), artifact.trace)
    found = read(old.save(tmp_path / "old.png")).request
    assert check(found).request.prompt == "the word {a|b}"


def test_a_template_from_the_prompt_to_the_recipe(session: Session, model: str, tmp_path: Path) -> None:
    small = {"model": model, "width": 64, "height": 64, "steps": 2}
    made = session.run("a {red|blue} boat", seed=7, **small)
    plain = session.run(made.request.prompt, seed=7, **small, fresh=True)
    assert made.request.prompt in ("a red boat", "a blue boat")
    assert made.trace.identity == plain.trace.identity
    assert plain.request.template == ""
    file = read(made.save(tmp_path / "boat.png"))
    assert (file.request.template, file.request.template_seed) == ("a {red|blue} boat", 7)
    assert file.request.prompt == made.request.prompt
    again = session.run(file.request, fresh=True)
    assert again.image.tobytes() == made.image.tobytes() == plain.image.tobytes()
    assert session.run(templates.as_template(file.request)).request == made.request


def test_each_picture_of_a_batch_makes_its_own_choice(session: Session, model: str) -> None:
    request = Request(prompt="a {red|blue|green|white} boat", model=model, width=64, height=64, steps=1)
    made = list(session.run([request] * 4, seed=range(4)))
    assert [each.request.prompt for each in made] == [templates.resolve(request.prompt, seed) for seed in range(4)]
    assert len({each.request.prompt for each in made}) > 1


def test_scouting_chooses_once_for_all_seeds(session: Session, model: str) -> None:
    request = Request(prompt="a {red|blue|green|white} boat", model=model, width=64, height=64, steps=2, seed=1)
    found = session.scout(request, look_at=3, keep=2, steps=1)
    prompt = templates.resolve(request.prompt, 1)
    assert {(each.request.prompt, each.request.template) for each in found.pictures} == {(prompt, request.prompt)}
    assert session.check(found.request.but(seed=9)).request.prompt == prompt
