"""What nobody gave stays open: a recipe that is used again follows another model; presets keep what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import Request, Session, cli
from zimage_kit.errors import BadRequest


def test_what_was_derived_is_recorded_and_opens_again(session: Session, tmp_path: Path) -> None:
    asked = Request(prompt="a girl", steps=1, width=128).then(zk.stages.pose(preset="waving", scale=0.5))
    made = session.run(asked, model="nano")
    assert set(made.trace.derived) == {"height", "guidance", "seed", "stages.0.body"}
    again = zk.open(made.save(tmp_path / "a.png"))
    opened = again.reopened()
    assert (opened.prompt, opened.model, opened.steps, opened.width, opened.height) == ("a girl", "nano", 1, 128, None)
    assert opened.seed == made.request.seed and again.reopened(seed=False).seed is None
    assert "body" not in opened.stages[0].fields() and opened.stages[0].fields()["scale"] == 0.5
    assert session.run(opened).image.tobytes() == made.image.tobytes(), "with the same model it is the same picture"
    assert opened.but(model="turbo", stages=()).height is None, "and follows another"


def test_a_recipe_that_is_run_as_it_is_was_given_whole(session: Session) -> None:
    made = session.run("a cat", model="nano", steps=1, width=64, height=64)
    again = session.run(made.request, fresh=True)
    assert again.trace.derived == () and again.reopened() == made.request
    assert set(
        session.run("a cat", model="nano", steps=1, width=64, height=64, seed=made.request.seed).trace.derived
    ) == {"guidance"}, "a picture from the cache says what this request gave"


def test_stages_that_are_applied_later_open_too(session: Session) -> None:
    drawn = session.run("a cat", model="nano", steps=1, width=64, height=64)
    refined = drawn.then(zk.stages.refine(strength=0.5))
    assert {"seed", "stages.0.model", "stages.0.steps", "stages.0.seed"} <= set(refined.trace.derived)
    opened = refined.reopened(seed=False)
    assert opened.stages[0].fields()["strength"] == 0.5 and "model" not in opened.stages[0].fields()


def test_in_a_shared_session_as_well(running: Path) -> None:
    with zk.connect() as shared:
        made = shared.run(Request(prompt="a girl", model="nano", steps=1).then(zk.stages.pose(preset="waving")))
        assert {"width", "height", "seed", "stages.0.body"} <= set(made.trace.derived)
        assert "stages.1.factor" not in made.then(zk.stages.upscale(factor=2)).trace.derived


def test_presets(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_PRESETS", str(tmp_path / "presets"))
    made = session.run(Request(prompt="a poster", model="nano", steps=2, width=64, height=64))
    path = zk.save_preset("海报 1", made.reopened(seed=False))
    assert json.loads(path.read_text("utf-8")) == {
        "prompt": "a poster", "model": "nano", "width": 64, "height": 64, "steps": 2,
    }  # fmt: skip
    assert zk.presets() == ("海报 1",) and zk.preset("海报 1").steps == 2
    with pytest.raises(BadRequest, match="already"):
        zk.save_preset("海报 1", made.request)
    assert zk.save_preset("海报 1", made.request, replace=True) == path
    with pytest.raises(BadRequest, match="Did you mean '?海报 1"):
        zk.preset("海报 2")
    for name in ("", ".", "..", "../x", "a/b", "a\0", " a", "x" * 81, "a\n"):
        with pytest.raises(BadRequest, match="no name"):
            zk.preset(name)
    path.write_text("{")
    with pytest.raises(BadRequest, match="not JSON"):
        zk.preset("海报 1")


def test_presets_on_the_command_line(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZIMAGE_PRESETS", str(tmp_path / "presets"))
    made = session.run(Request(prompt="a cat", model="nano", steps=1, width=64, height=64))
    made.save(tmp_path / "cat.png")
    assert cli.call(["recipe", "save", "small", str(tmp_path / "cat.png")]) == 0
    assert cli.call(["recipe", "save", "small", str(tmp_path / "cat.png")]) == 2
    assert cli.call(["recipe", "save", "small", str(tmp_path / "cat.png"), "--replace"]) == 0
    capsys.readouterr()
    assert cli.call(["recipe", "presets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["small"] == {
        "prompt": "a cat", "model": "nano", "steps": 1, "width": 64, "height": 64,
    }  # fmt: skip
    out = tmp_path / "dog.png"
    assert cli.call(["run", "a dog", "--preset", "small", "--inline", "--seed", "5", "--output", str(out)]) == 0
    dog = zk.open(out)
    assert (dog.request.prompt, dog.request.width, dog.request.steps, dog.request.seed) == ("a dog", 64, 1, 5)
    assert "steps" not in dog.trace.derived and "guidance" in dog.trace.derived
    assert cli.call(["recipe", "presets", "--forget", "small"]) == 0 and zk.presets() == ()
    assert cli.call(["run", "--preset", "small"]) == 2
