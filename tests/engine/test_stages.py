"""execute: stages run in the recipe's order, nothing is denoised twice, and no picture is changed in place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

import zimage_kit as zk
from zimage_kit import Artifact, Call, Context, Field, Request, Session, Stage
from zimage_kit.engine.execute import PictureCache
from zimage_kit.errors import BadRequest, ExtensionProblem, JobFailed
from zimage_kit.stages.stage import registry, stage


class Bar(Stage):
    """A bar over the upper `share` of the picture."""

    kind = "test_bar"

    share: float = Field(0.25, ge=0.0, le=1.0, description="of the height")
    colour: str = Field("red", description="a colour name")

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        ImageDraw.Draw(image).rectangle((0, 0, image.width, round(image.height * self.share)), fill=self.colour)
        return image  # the copy that it was given


class Mirror(Stage):
    """Left becomes right."""

    kind = "test_mirror"

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        ctx.note("mirrored")
        return ImageOps.mirror(image)


class Fewer(Stage):
    """Half the steps, before the generation."""

    kind = "test_fewer"

    def before(self, call: Call, ctx: Context) -> Call:
        return call.but(steps=call.steps // 2)


class Bad(Stage):
    """Returns what it should not, or raises."""

    kind = "test_bad"

    how: str = Field("none", description="none, mode or raise")

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        if self.how == "raise":
            raise RuntimeError("the stage broke")
        return image.convert("L") if self.how == "mode" else None  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def stages() -> Iterator[None]:
    for cls in (Bar, Mirror, Fewer, Bad):
        stage(cls)
    yield
    for cls in (Bar, Mirror, Fewer, Bad):
        registry.remove(cls.kind)


@pytest.fixture
def base(session: Session, model: str) -> Request:
    """A recipe of its own for each test, so that no test finds another's picture in the cache."""
    return Request(prompt="a red balloon", model=model, width=64, height=96, steps=4)


def pixels(artifact: Artifact) -> np.ndarray:
    return np.asarray(artifact.image)


def test_stages_run_in_order_and_are_told_and_measured(session: Session, base: Request) -> None:
    request = base.but(seed=101).then(Bar(share=0.5), Mirror())
    events: list[zk.Event] = []
    plain = session.run(base.but(seed=101))
    artifact = session.run(request, on_event=events.append, fresh=True)
    expected = plain.image.copy()
    ImageDraw.Draw(expected).rectangle((0, 0, 64, 48), fill="red")
    assert np.array_equal(pixels(artifact), np.asarray(ImageOps.mirror(expected)))
    told = [(e.step, e.steps, e.message, e.seconds is not None) for e in events if e.kind == "stage"]
    bar, mirror = (1, 2, "test_bar"), (2, 2, "test_mirror")
    assert told == [(*bar, False), (*bar, True), (*mirror, False), (*mirror, True)]
    assert {"stage 1 test_bar", "stage 2 test_mirror"} <= set(artifact.trace.milliseconds)
    assert artifact.trace.stage_versions == {"test_bar": 1, "test_mirror": 1}
    assert "mirrored" in artifact.trace.notes


def test_changing_a_later_stage_does_not_denoise_again(session: Session, base: Request) -> None:
    request = base.but(seed=102)
    first = session.run(request.then(Mirror(), Bar(colour="red")))
    events: list[zk.Event] = []
    second = session.run(request.then(Mirror(), Bar(colour="blue")), on_event=events.append)
    assert not any(event.kind == "step" for event in events)
    assert [event.message for event in events if event.kind == "stage"] == ["test_bar", "test_bar"]
    assert second.trace.cached
    assert not first.trace.cached
    assert second.trace.sigmas == first.trace.sigmas
    assert "denoise" not in second.trace.milliseconds
    fresh = session.run(second.request, fresh=True)
    assert np.array_equal(pixels(second), pixels(fresh))
    assert not fresh.trace.cached


def test_a_stage_that_conditions_is_part_of_what_is_denoised(session: Session, base: Request) -> None:
    request = base.but(seed=103)
    whole = session.run(request)
    half = session.run(request.then(Fewer()))
    assert (len(whole.trace.sigmas), len(half.trace.sigmas)) == (4, 2)
    assert not half.trace.cached
    assert not np.array_equal(pixels(whole), pixels(half))
    assert np.array_equal(pixels(half), pixels(session.run(request.but(steps=2))))
    assert session.run(request.then(Fewer(), Bar())).trace.cached


def test_what_a_stage_does_to_its_picture_stays_with_it(session: Session, base: Request) -> None:
    request = base.but(seed=104)
    before = session.run(request)
    kept = before.image.tobytes()
    session.run(request.then(Bar(share=1.0)))
    assert before.image.tobytes() == kept
    assert session.run(request).image.tobytes() == kept


def test_then_applies_a_stage_without_denoising(session: Session, base: Request) -> None:
    artifact = session.run(base.but(seed=105))
    chained = artifact.then(Bar()).then(Mirror())
    at_once = session.run(base.but(seed=105).then(Bar(), Mirror()), fresh=True)
    assert chained.request == at_once.request
    assert np.array_equal(pixels(chained), pixels(at_once))
    assert chained.trace.milliseconds["total"] > artifact.trace.milliseconds["total"]
    assert chained.verify().state == "identical"


def test_apply_works_on_any_picture_and_needs_no_model(
    session: Session, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.new("RGBA", (50, 30), (0, 0, 255, 255))
    before = picture.tobytes()
    loads = session.status().model_loads
    artifact = session.apply(picture, Bar(share=0.5))
    assert artifact.image.getpixel((0, 0)) == (255, 0, 0)
    assert artifact.image.getpixel((0, 29)) == (0, 0, 255)
    assert (picture.mode, picture.tobytes()) == ("RGBA", before)
    assert [data.kind for data in artifact.request.stages] == ["test_bar"]
    assert session.status().model_loads == loads
    monkeypatch.setenv("ZIMAGE_SESSION", "inline")  # where this process's stages are known
    again = Artifact.from_image(picture).then(Bar(share=0.5))
    assert again.request == artifact.request
    file = artifact.save()
    assert [data.kind for data in session.apply(file, Mirror()).request.stages] == ["test_bar", "test_mirror"]


def test_a_stage_that_only_conditions_cannot_be_applied_to_a_picture(session: Session) -> None:
    with pytest.raises(BadRequest, match=r"session\.run\(request\.then\(stage\)\)"):
        session.apply(Image.new("RGB", (16, 16)), Fewer())
    with pytest.raises(BadRequest, match="no stage to apply"):
        session.apply(Image.new("RGB", (16, 16)))


def test_a_recipe_with_stages_comes_back_from_its_png(session: Session, base: Request) -> None:
    artifact = session.run(base.but(seed=106).then(Bar(share=0.1, colour="teal"), Mirror()))
    opened = zk.open(artifact.save())
    assert opened.request == artifact.request
    assert opened.verify(session).state == "identical"


@pytest.mark.parametrize(("how", "seen"), [("none", "returned NoneType"), ("mode", "returned a picture of mode L")])
def test_a_stage_that_returns_no_rgb_picture_is_named(session: Session, base: Request, how: str, seen: str) -> None:
    with pytest.raises(ExtensionProblem, match=f"stage test_bad {seen}; expected a picture of mode RGB"):
        session.run(base.but(seed=107).then(Bad(how=how)))


def test_a_stage_that_raises_fails_its_job_only(session: Session, base: Request) -> None:
    job = session.submit(base.but(seed=108).then(Bad(how="raise")))
    with pytest.raises(JobFailed, match="RuntimeError: the stage broke") as caught:
        job.result(60)
    assert "test_stages.py" in caught.value.facts["traceback"]
    assert job.state == "failed"
    assert session.run(base.but(seed=108)).trace.cached  # what was denoised before it broke is kept


def test_the_cache_forgets_the_longest_unused_and_stays_within_its_bytes() -> None:
    cache = PictureCache(limit=3 * 100)
    pictures = {key: Image.new("RGB", (5, 10)) for key in "abc"}
    trace = zk.Trace()
    for key in "ab":
        cache.put(key, pictures[key], trace)
    assert cache.get("a") is not None
    cache.put("c", pictures["c"], trace)
    assert cache.get("b") is None
    assert cache.get("a") == (pictures["a"], trace)
    cache.put("big", Image.new("RGB", (100, 100)), trace)
    assert cache.get("a") is None
    assert cache.get("big") is not None
    cache.clear()
    assert cache.get("big") is None
