"""`zimage template`, and templates on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import cli
from zimage_kit.recipe import templates

BOAT = "a {red|blue} boat"


def test_the_preview_is_what_run_draws(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["template", BOAT, "--count", "3", "--seed", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["combinations"] == 2
    small = ["--model", model, "--size", "64x64", "--steps", "1"]
    assert cli.call(["run", BOAT, "--count", "3", "--seed", "5", "-o", str(tmp_path / "b.png"), *small]) == 0
    made = [zk.open(tmp_path / f"b-{number}.png").request for number in (1, 2, 3)]
    assert [{"seed": each.seed, "prompt": each.prompt} for each in made] == told["prompts"]
    assert {each.template for each in made} == {BOAT}
    assert f"prompt: {made[0].prompt}" in capsys.readouterr().err


def test_every_combination_once(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--model", model, "--size", "64x64", "--steps", "1", "--all"]
    assert cli.call(["run", BOAT, "-o", str(tmp_path / "b.png"), *small]) == 0
    assert "2 combinations" in capsys.readouterr().err
    made = [zk.open(tmp_path / f"b-{number}.png").request for number in (1, 2)]
    assert [each.prompt for each in made] == ["a red boat", "a blue boat"]
    assert made[0].seed == made[1].seed
    assert {each.template for each in made} == {BOAT}
    assert cli.call(["run", "{0|1|2|3|4|5|6|7|8|9}" * 3, *small]) == 2
    assert "1000 combinations; expected at most 200" in capsys.readouterr().err
    assert cli.call(["run", BOAT, "--count", "2", *small]) == 2


def test_a_choice_of_its_own_seed(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.png"
    small = ["--model", model, "--size", "64x64", "--steps", "1", "--seed", "1", "--template-seed", "6"]
    assert cli.call(["run", BOAT, "-o", str(file), *small]) == 0
    found = zk.open(file).request
    assert (found.seed, found.template_seed, found.prompt) == (1, 6, templates.resolve(BOAT, 6))
    capsys.readouterr()
    assert cli.call(["recipe", "show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert BOAT in shown and found.prompt in shown and "template's seed" in shown


def test_word_lists_are_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["template"]) == 0
    assert "which has none" in capsys.readouterr().out
    folder = home / "zimage" / "wordlists"
    (folder / "sea").mkdir(parents=True)
    (folder / "sea" / "birds.txt").write_text("a gull\na tern\n")
    assert cli.call(["template"]) == 0
    assert "__sea/birds__  2" in capsys.readouterr().out
    assert cli.call(["template", "__birds__"]) == 2
    assert "Did you mean sea/birds?" in capsys.readouterr().err
    assert cli.call(["template", "{__sea/birds__|a duck}", "--all"]) == 0
    assert capsys.readouterr().out.splitlines() == ["a gull", "a tern", "a duck"]
