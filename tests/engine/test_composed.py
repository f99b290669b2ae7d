"""Stages compose: pose, drawing, refine, upscale and text in one request, each kept and measured, all made again."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session

KINDS = ("pose", "refine", "upscale", "text_overlay")


@pytest.fixture(scope="module")
def request_() -> Request:
    return Request(
        prompt="a girl in a red dress on the grass", seed=21, model="nano", steps=4, loras=["papercut"]
    ).then(
        zk.stages.pose(preset="dancing", size=0.6),
        zk.stages.refine(strength=0.3),
        zk.stages.upscale(),
        zk.stages.text_overlay(text="春节快乐 {seed}", place="top"),
    )


@pytest.fixture(scope="module")
def made(session: Session, request_: Request) -> Artifact:
    return session.run(request_, fresh=True)


def test_each_stage_has_its_time_and_memory_and_its_picture_in_the_trace(made: Artifact) -> None:
    parts = ("stage 1 pose before", "denoise", "stage 2 refine", "stage 2 refine: denoise", "stage 3 upscale")
    for part in (*parts, "stage 4 text_overlay"):
        assert made.trace.milliseconds[part] > 0
        assert made.trace.peak_bytes[part] > 0
    assert list(made.trace.pictures) == ["drawn", "stage 2 refine", "stage 3 upscale", "stage 4 text_overlay"]
    assert set(made.trace.stage_versions) == set(KINDS)
    notes = "\n".join(made.trace.notes)
    for said in ("ControlNet ", "lora papercut.safetensors", "refine: ", "upscale: nano_x2", "text_overlay: "):
        assert said in notes


def test_changing_the_text_draws_nothing(session: Session, request_: Request, made: Artifact) -> None:
    other = zk.stages.text_overlay(text="Happy New Year", place="top")
    steps: list[str] = []
    again = session.run(
        request_.but(stages=[*request_.stages[:-1], other]), on_event=lambda event: steps.append(event.kind)
    )
    assert "step" not in steps
    assert set(again.trace.milliseconds) == {"stage 4 text_overlay", "total"}
    assert again.trace.cached
    assert again.image.tobytes() != made.image.tobytes()
    assert "ControlNet " in "\n".join(again.trace.notes), "what was said of the stages before is not lost"


def test_changing_a_stage_in_the_middle_goes_on_from_the_picture_before_it(
    session: Session, request_: Request, made: Artifact
) -> None:
    stages = list(request_.stages)
    stages[1] = zk.stages.refine(strength=0.5)
    parts = session.run(request_.but(stages=stages)).trace.milliseconds
    assert "stage 2 refine" in parts
    assert "denoise" not in parts
    stages[0] = zk.stages.pose(preset="waving", size=0.6)
    assert "denoise" in session.run(request_.but(stages=stages)).trace.milliseconds


def test_every_picture_on_the_way_is_at_hand(made: Artifact) -> None:
    sizes = [made.before(count).image.size for count in (1, 2, 3)]
    assert sizes == [(512, 512), (256, 256), (256, 256)]
    assert made.before().before().image.tobytes() == made.before(2).image.tobytes()
    with pytest.raises(zk.ZImageError, match="expected 1 to 4"):
        made.before(5)


def test_the_recipe_in_the_png_makes_all_of_it_again_bit_for_bit(
    session: Session, made: Artifact, tmp_path: Path
) -> None:
    path = made.save(tmp_path / "poster.png")
    session.unload()
    again = zk.open(path)
    assert again.request == made.request
    assert again.verify(session).state == "identical"


def test_before_of_an_applied_picture_is_what_it_was_applied_to(session: Session) -> None:
    art = session.run("a red boat", seed=1, model="nano", steps=2)
    lettered = art.then(zk.stages.upscale(), zk.stages.text_overlay(text="Boat"))
    assert lettered.before(2) is art
    assert lettered.before().image.size == (512, 512)
    assert lettered.before().before().image.tobytes() == art.image.tobytes()


def test_letters_before_a_stage_that_would_change_them_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with zk.connect("inline", dtype="float32") as session:  # one of its own: a session says each sentence once
        _warned_about(session, caplog)


def _warned_about(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    text, refine = zk.stages.text_overlay(text="Boat"), zk.stages.refine(strength=0.3)
    base = Request(prompt="a red boat", seed=1, model="nano", steps=2)
    with caplog.at_level(logging.WARNING, "zimage_kit"):
        wrong = session.run(base.then(text, refine))
    told = "text_overlay comes before refine, which will change what it drew: put it last"
    assert told in wrong.trace.notes
    assert told in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "zimage_kit"):
        right = session.run(base.then(refine, text, zk.stages.text_overlay(text="again", place="top")))
        applied = right.then(zk.stages.upscale())
    assert not any("put it last" in note for note in right.trace.notes)
    assert any("text_overlay comes before upscale" in note for note in applied.trace.notes)
