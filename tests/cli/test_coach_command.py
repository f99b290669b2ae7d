"""`zimage coach`: marked words on a terminal, a list for programs, and never a failure over a prompt."""

from __future__ import annotations

import io
import json

import pytest

from zimage_kit import cli
from zimage_kit.recipe.coach import coach


def test_json_is_the_list_of_hints_and_empty_for_a_good_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "画一只猫，没有人"
    assert cli.call(["coach", prompt, "--model", "turbo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["rule"] for each in found] == ["order", "negative"]
    assert found == json.loads(json.dumps([hint.model_dump() for hint in coach(prompt, "turbo")]))
    assert cli.call(["coach", "a", "red", "boat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_person_sees_the_words_marked_why_and_the_rewrite(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["coach", "海滩，没有人", "--model", "turbo", "--language", "en"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["海滩，没有人", "      ^^^^^^"], "Chinese takes two columns"
    assert lines[2].startswith("negative: This model runs without guidance") and lines[3] == "  -> 海滩，空无一人"
    assert cli.call(["coach", "a red boat", "--model", "turbo"]) == 0
    told = capsys.readouterr()
    assert told.out == "" and "good prompt" in told.err


def test_a_prompt_comes_from_stdin_with_its_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a cat on a mat\na beach, no people\n"))
    assert cli.call(["coach", "-", "--model", "turbo"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["a beach, no people", "         ^^^^^^^^^"]


@pytest.mark.parametrize(
    "words", [["coach", ""], ["coach"], ["coach", "x", "--language", "fr"], ["coach", "x", "--model", "y"]]
)
def test_wrong_usage_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(words) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1


def test_styles_are_listed_for_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["recipe", "styles", "--model", "nano", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["Ink wash"] == "ink wash painting"
    assert cli.call(["recipe", "styles", "--model", "turbo"]) == 0
    assert "rice paper" in capsys.readouterr().out
