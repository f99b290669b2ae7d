"""With speed "stock" the pixels are diffusers', bit for bit; it evaluates as often as it says, and reruns recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ZImagePipeline
from PIL import Image
from transformers import AutoTokenizer

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.engine.denoise import schedule
from zimage_kit.engine.pipeline import ResidentPipeline
from zimage_kit.models.spec import resolve
from zimage_kit.models.tokens import count_tokens

PROMPTS = ("a red hot-air balloon over the sea", "星空下的红色灯笼", "two cats, one white and one black")

Stock = Callable[..., list[Image.Image]]


@pytest.fixture(scope="module")
def stock(model_directory: Path) -> Stock:
    """`stock(prompts, seeds, …)`: plain diffusers, its own schedule, one CPU generator a picture."""
    pipe = ZImagePipeline.from_pretrained(str(model_directory), dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def draw(prompts: list[str], seeds: list[int], **options: Any) -> list[Image.Image]:
        arguments = {"height": 256, "width": 256, "num_inference_steps": 8, "guidance_scale": 0.0, **options}
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        images: list[Image.Image] = pipe(list(prompts), generator=generators, **arguments).images
        return images

    return draw


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_one_picture_is_bit_equal_to_stock_diffusers(plain: Session, stock: Stock, model: str) -> None:
    artifact = plain.run(PROMPTS[0], seed=7, model=model, fresh=True)
    assert same(artifact.image, stock([PROMPTS[0]], [7])[0])


def test_each_of_a_run_of_several_is_bit_equal_to_stock_diffusers(plain: Session, stock: Stock, model: str) -> None:
    artifacts = list(plain.run(PROMPTS, seed=[42, 43, 44], model=model, fresh=True))
    for artifact, prompt, seed in zip(artifacts, PROMPTS, (42, 43, 44), strict=True):
        assert same(artifact.image, stock([prompt], [seed])[0]), prompt


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"width": 320, "height": 192}, {"width": 320, "height": 192}),
        ({"steps": 3}, {"num_inference_steps": 3}),
        ({"steps": 1}, {"num_inference_steps": 1}),
        ({"guidance": 2.0}, {"guidance_scale": 2.0}),
        ({"guidance": 2.0, "negative_prompt": "red"}, {"guidance_scale": 2.0, "negative_prompt": ["red"]}),
    ],
    ids=["wide", "three steps", "one step", "guidance", "negative prompt"],
)
def test_sizes_steps_and_guidance_are_bit_equal_too(
    plain: Session, stock: Stock, model: str, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    artifact = plain.run(PROMPTS[2], seed=3, model=model, fresh=True, **fields)
    assert same(artifact.image, stock([PROMPTS[2]], [3], **options)[0])


def test_a_picture_does_not_depend_on_what_was_drawn_before(session: Session, model: str) -> None:
    request = Request(prompt=PROMPTS[0], seed=1, model=model, steps=2)
    first = session.run(request, fresh=True)
    session.run(PROMPTS[1], seed=9, model=model, steps=3, guidance=1.5, width=192, height=320)
    assert same(first.image, session.run(request, fresh=True).image)


@pytest.fixture
def evaluations(plain: Session, model: str) -> Iterator[list[int]]:
    """Counts the transformer's forward passes."""
    plain.run("x", seed=0, model=model, steps=1)
    pipeline = plain._engine._resident.pipeline  # type: ignore[attr-defined]
    count: list[int] = []
    hook = pipeline.diffusers_pipeline.transformer.register_forward_hook(lambda *_: count.append(1))
    yield count
    hook.remove()


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 9])
def test_steps_counts_evaluations_of_the_transformer(
    plain: Session, model: str, evaluations: list[int], steps: int
) -> None:
    events: list[zk.Event] = []
    artifact = plain.run("x", seed=0, model=model, steps=steps, on_event=events.append, fresh=True)
    assert len(evaluations) == steps
    assert len(artifact.trace.sigmas) == len(artifact.trace.step_milliseconds) == steps
    assert [event.step for event in events if event.kind == "step"] == list(range(1, steps + 1))


def test_the_schedule_is_the_one_that_the_model_was_distilled_for(session: Session, model: str) -> None:
    trained = (1.0, 0.9545, 0.9, 0.8333, 0.75, 0.6429, 0.5, 0.3)
    assert session.run("x", seed=0, model=model).trace.sigmas == pytest.approx(trained, abs=1e-4)
    assert schedule(8) == pytest.approx(np.linspace(1, 1 / 8, 8))
    assert schedule(1) == [1.0]


def test_the_callers_objects_are_left_as_they_were(session: Session, model: str) -> None:
    prompts, seeds = list(PROMPTS[:2]), [1, 2]
    picture = Image.linear_gradient("L")
    before = picture.tobytes()
    assert len(list(session.run(prompts, seed=seeds, model=model, steps=1, width=64, height=64))) == 2
    zk.Artifact.from_image(picture)
    assert (prompts, seeds) == (list(PROMPTS[:2]), [1, 2])
    assert (picture.mode, picture.tobytes()) == ("L", before)


def test_a_recipe_read_from_a_png_gives_the_same_pixels(session: Session, model: str, tmp_path: Path) -> None:
    artifact = session.run(PROMPTS[1], model=model)  # its seed was drawn for it
    path = artifact.save(tmp_path / "x.png")
    opened = zk.open(path)
    assert opened.request == artifact.request
    assert same(session.run(opened.request, fresh=True).image, artifact.image)
    assert opened.verify(session).state == "identical"


def test_verify_notices_an_edited_picture(session: Session, model: str) -> None:
    artifact = session.run(PROMPTS[1], model=model, seed=5, steps=2, width=128, height=128)
    edited = zk.Artifact(artifact.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), artifact.request, artifact.trace)
    verdict = edited.verify(session)
    assert verdict.state == "different"
    assert "the file was changed afterwards" in str(verdict)


def test_two_seeds_are_two_pictures(session: Session, model: str) -> None:
    one, two = session.run([PROMPTS[0]] * 2, seed=[1, 2], model=model, steps=2)
    assert not same(one.image, two.image)


@pytest.mark.parametrize(
    "prompt", ["", "a", *PROMPTS, "emoji 🎈 and <|im_start|> tokens", "月" * 90, " spaces  \n lines\t"]
)
def test_tokens_are_counted_as_the_real_tokenizer_counts_them(model_directory: Path, prompt: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(model_directory / "tokenizer"), local_files_only=True)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=True
    )
    assert count_tokens(prompt, model_directory) == len(tokenizer(text).input_ids)


def test_a_preview_shows_where_the_picture_is_heading(session: Session, model: str, model_directory: Path) -> None:
    if resolve(model).latent_to_rgb(model_directory) is None:
        pytest.skip("this model has no latent-to-RGB matrix")
    import io

    events: list[zk.Event] = []
    session.run("x", seed=0, model=model, on_event=events.append, width=320, height=192, fresh=True)
    previews = [event.preview for event in events if event.kind == "step"]
    assert len(previews) == 8
    for preview in previews:
        assert preview is not None
        with Image.open(io.BytesIO(preview)) as image:
            assert (image.format, image.size) == ("JPEG", (160, 96))


def test_the_trace_says_what_it_took(session: Session, model: str) -> None:
    trace = session.run("a qwrtzx balloon", seed=0, model=model, steps=2, fresh=True).trace
    assert {"encode", "denoise", "decode", "total"} <= set(trace.milliseconds)
    parts = sum(trace.milliseconds[name] for name in ("encode", "denoise", "decode"))
    assert 0 < parts <= trace.milliseconds["total"]
    assert sum(trace.step_milliseconds) <= trace.milliseconds["denoise"]
    assert trace.peak_bytes["total"] > 50e6
    assert (trace.device, trace.dtype, trace.placement) == ("cpu", "float32", "resident")
    assert len(trace.fingerprint) == 16
    assert set(trace.versions) >= {"torch", "diffusers", "transformers"}
    assert trace.unknown_words == ("qwrtzx",)
    assert trace.prompt_tokens is not None


def test_the_resident_pipeline_refuses_a_size_that_a_stage_broke(model: str, model_directory: Path) -> None:
    from zimage_kit.engine.memory import Profiler
    from zimage_kit.engine.plan import Plan
    from zimage_kit.engine.residency import Residency
    from zimage_kit.stages.stage import Call

    pipeline = ResidentPipeline(resolve(model), model_directory, Plan("cpu", "float32"), Residency())
    call = Call(prompt="x", negative_prompt="", width=100, height=64, steps=1, guidance=0.0, seed=1)
    with pytest.raises(zk.ZImageError, match="width=100"):
        pipeline.draw(call, Profiler(), lambda step: None)
    pipeline.residency.clear()
