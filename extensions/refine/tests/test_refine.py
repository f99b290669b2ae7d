"""Refine: what diffusers' img2img makes, with the strength exact, and its traps closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session
from zimage_kit.errors import BadRequest, ModelMissing


@pytest.fixture(scope="module")
def draft(session: Session) -> Artifact:
    return session.run("a red balloon over the sea", seed=7, model="nano", width=128, height=128)


def difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())


@pytest.mark.parametrize(("strength", "steps"), [(0.5, 4), (0.25, 2), (1.0, 8)])
def test_the_pixels_are_those_of_diffusers_img2img(
    plain: Session, draft: Artifact, strength: float, steps: int
) -> None:
    from diffusers import ZImageImg2ImgPipeline

    made = plain.apply(draft, zk.stages.refine(strength=strength))
    assert made.request.stages[0].steps == steps
    engine = plain._engine
    stock = ZImageImg2ImgPipeline(**engine._resident.pipeline.diffusers_pipeline.components)  # type: ignore[attr-defined]
    stock.set_progress_bar_config(disable=True)
    picture = stock(
        draft.request.prompt, image=draft.image, strength=strength, num_inference_steps=8, guidance_scale=0.0,
        generator=torch.Generator().manual_seed(7),
    ).images[0]  # fmt: skip
    assert difference(made.image, picture) == 0


def test_every_strength_is_exact_and_makes_the_steps_that_it_says(session: Session, draft: Artifact) -> None:
    events: list[tuple[int | None, int | None]] = []
    seen = set()
    for strength in (0.30, 0.31, 0.32):  # diffusers rounds all three to two steps of eight
        made = session.apply(
            draft,
            zk.stages.refine(strength=strength, steps=3),
            on_event=lambda event: events.append((event.step, event.steps)) if event.kind == "step" else None,
        )
        seen.add(made.image.tobytes())
    assert len(seen) == 3
    assert events == [(1, 3), (2, 3), (3, 3)] * 3


def test_more_strength_changes_more(draft: Artifact) -> None:
    changes = [
        float(
            np.abs(np.asarray(draft.then(zk.stages.refine(strength=s)).image, float) - np.asarray(draft.image)).mean()
        )
        for s in (0.0, 0.2, 0.6, 1.0)
    ]
    assert changes[0] == 0
    assert changes == sorted(changes)


def test_the_same_recipe_gives_the_same_pixels_and_another_seed_others(session: Session, draft: Artifact) -> None:
    request = draft.request.then(zk.stages.refine(strength=0.6))
    made = session.run(request)
    assert made.verify().state == "identical"
    assert (
        session.run(draft.request.then(zk.stages.refine(strength=0.6, seed=8))).image.tobytes() != made.image.tobytes()
    )


def test_a_run_of_several_is_each_alone(session: Session) -> None:
    boat = Request(prompt="a red boat", model="nano", steps=3, width=128, height=128)
    wanted = boat.then(zk.stages.refine(strength=0.5))
    together = [artifact.image.tobytes() for artifact in session.run([wanted] * 3, seed=[4, 5, 6], fresh=True)]
    alone = [session.run(wanted, seed=seed, fresh=True).image.tobytes() for seed in (6, 5, 4)][::-1]
    assert together == alone


def test_larger_before_is_larger_after_in_multiples_of_sixteen(draft: Artifact) -> None:
    assert draft.then(zk.stages.refine(strength=0.3, scale=1.3)).image.size == (160, 160)


def test_alpha_is_kept(session: Session, draft: Artifact) -> None:
    picture = draft.image.copy()
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    made = session.apply(picture, zk.stages.refine(strength=0.5, prompt="a red balloon"))
    assert made.image.mode == "RGBA"
    assert difference(made.image.getchannel("A"), picture.getchannel("A")) == 0


def test_another_model_makes_the_second_pass_and_the_trace_names_it(
    session: Session, draft: Artifact, copied_model: Path
) -> None:
    made = draft.then(zk.stages.refine(strength=0.5, model=str(copied_model)))
    assert str(copied_model) in made.trace.models
    assert difference(made.image, draft.then(zk.stages.refine(strength=0.5)).image) == 0  # its weights are a copy
    assert any("was unloaded for" in note for note in made.trace.notes)
    assert session.run(draft.request, fresh=True).image.tobytes() == draft.image.tobytes()


def test_a_lora_of_the_picture_is_held_in_the_second_pass(session: Session, draft: Artifact) -> None:
    plain = session.run(draft.request.then(zk.stages.refine(strength=0.6)))
    styled = session.run(draft.request.but(loras=["papercut"]).then(zk.stages.refine(strength=0.6)))
    assert "lora papercut.safetensors" in " ".join(styled.trace.notes)
    assert difference(plain.image, styled.image) > 50


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"scale": 4.0}, BadRequest, "refine would draw 1024x1024; expected nano draws up to 512"),
        ({"negative_prompt": "blurry"}, BadRequest, "would be ignored: nano runs without guidance"),
        ({"model": "turbo"}, ModelMissing, "zimage models download turbo"),
        ({"model": "nanno"}, BadRequest, "Did you mean nano?"),
        ({"prompt": "word " * 200}, BadRequest, "expected at most 128"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_drawn(
    session: Session, draft: Artifact, fields: dict[str, object], error: type[Exception], said: str
) -> None:
    events: list[str] = []
    with pytest.raises(error, match=said.replace("?", r"\?")):
        large = draft.request.but(width=256, height=256)
        session.run(large.then(zk.stages.refine(**fields)), on_event=lambda e: events.append(e.kind))
    assert "step" not in events


def test_a_picture_without_a_prompt_needs_one(session: Session, draft: Artifact) -> None:
    with pytest.raises(BadRequest, match="Use refine"):
        session.apply(draft.image, zk.stages.refine())
    made = session.apply(draft.image, zk.stages.refine(prompt="a red balloon over the sea", seed=3))
    assert made.request.stages[0].model == "nano", "the recipe says with what"
    assert made.image.size == draft.image.size


def test_it_can_be_cancelled_between_two_steps(session: Session, draft: Artifact) -> None:
    from zimage_kit.errors import JobCancelled

    job = session.submit(draft.request.then(zk.stages.refine(strength=1.0, steps=60)))
    for event in job.events():
        if event.kind == "step":
            job.cancel()
    with pytest.raises(JobCancelled):
        job.result()
