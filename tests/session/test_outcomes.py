"""Every accepted job ends in exactly one outcome, whatever raises wherever; nothing hangs and nothing leaks.

These sessions are of this process and need no shared one: each engine here is a test's own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit import Artifact, Call, Context, Event, Request, Session, Stage, files
from zimage_kit.engine import execute as executing
from zimage_kit.engine import memory, pipeline, resident
from zimage_kit.engine.settings import Settings
from zimage_kit.errors import JobCancelled, JobFailed, NoRecipe, OutOfMemory, SessionDied
from zimage_kit.recipe import png
from zimage_kit.session.inline import InlineEngine
from zimage_kit.stages.stage import registry

SMALL = {"model": "nano", "width": 64, "height": 64, "steps": 2, "seed": 1}


class Probe(Stage):
    """Does what a test says, where it says so."""

    kind = "test_probe"
    does: str = "nothing"

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        if self.does == "wait":
            GATE.wait(30)
        if self.does == "break":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if self.does == "exit":
            raise SystemExit(3)
        return image


GATE = threading.Event()


@pytest.fixture(autouse=True)
def probe() -> Iterator[None]:
    registry.add(Probe)
    GATE.clear()
    yield
    GATE.set()
    registry.remove(Probe.kind)


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def own(faults: list[str]) -> Iterator[Session]:
    """A session whose engine no other test uses."""
    session = Session(InlineEngine(Settings(device="cpu"), on_fault=faults.append), "inline")
    yield session
    GATE.set()
    session.close()


def picture() -> Artifact:
    return Artifact.from_image(Image.new("RGB", (16, 16), "red"))


def apply(session: Session, does: str) -> zk.Job:
    base = picture()
    return session.extend(base, base.request.then(Probe(does=does)), ())


def error_of(job: zk.Job, seconds: float = 20) -> BaseException | None:
    return job._outcome.exception(seconds)


# What breaks in the engine


def test_a_device_that_fails_for_good_ends_every_job_and_takes_no_more(
    own: Session, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a sticky CUDA error even giving memory back raises."""

    def broken(device: str) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    running = apply(own, "wait")
    next(event for event in running.events() if event.kind == "stage")
    failing, waiting = apply(own, "break"), apply(own, "nothing")
    monkeypatch.setattr(resident, "release", broken)
    GATE.set()
    assert running.result(20).image.size == (16, 16)
    assert isinstance(error_of(failing), JobFailed)
    assert isinstance(error_of(waiting), SessionDied)
    assert "illegal memory access" in str(error_of(waiting))
    assert len(faults) == 1 and "illegal memory access" in faults[0]
    with pytest.raises(SessionDied, match="illegal memory access.*Restart"):
        apply(own, "nothing")
    assert own.status().state == "closed"


def test_a_job_that_ends_its_thread_is_a_failed_job_and_the_next_one_runs(own: Session) -> None:
    assert isinstance(error_of(apply(own, "exit")), JobFailed)
    assert apply(own, "nothing").result(20).image.size == (16, 16)


def test_an_engine_whose_own_thread_breaks_leaves_nobody_waiting(own: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = own._engine
    monkeypatch.setattr(engine, "_run", lambda job: (_ for _ in ()).throw(RuntimeError("a mistake of ours")))
    jobs = [apply(own, "nothing")]
    assert "a mistake of ours" in str(error_of(jobs[0]))
    with pytest.raises(SessionDied, match="a mistake of ours"):
        apply(own, "nothing")


SEAMS = {
    "load": (pipeline, "_load"),
    "encode": (pipeline.ResidentPipeline, "_embed"),
    "step": (pipeline, "denoise"),
    "decode": (pipeline.ResidentPipeline, "decode"),
    "stages": (executing, "build_stages"),
    "digest": (executing, "picture_digest"),
}


@pytest.mark.parametrize("raised", [RuntimeError("broken"), MemoryError(), KeyboardInterrupt(), OSError(28, "full")])
@pytest.mark.parametrize("seam", SEAMS)
def test_a_fault_at_any_seam_is_one_outcome_and_the_next_job_runs(
    own: Session, monkeypatch: pytest.MonkeyPatch, seam: str, raised: BaseException
) -> None:
    def fault(*_: Any, **__: Any) -> Any:
        raise raised

    where, name = SEAMS[seam]
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fault)
        job = own.submit("x", **SMALL)
        error = error_of(job)
    assert isinstance(error, OutOfMemory if isinstance(raised, MemoryError) else JobFailed)
    assert [event.kind for event in job.events()].count("failed") == 1
    assert job.state == "failed"
    assert own.run("x", **SMALL).image.size == (64, 64)


@pytest.mark.parametrize("raised", [RuntimeError("no codec"), MemoryError("no codec"), OSError(28, "no codec")])
@pytest.mark.parametrize(("where", "name"), [(Artifact, "save"), (png, "encode"), (files, "write_whole")])
def test_a_kept_picture_that_cannot_be_saved_is_a_failed_job(
    own: Session, monkeypatch: pytest.MonkeyPatch, where: object, name: str, raised: BaseException
) -> None:
    def fault(*_: Any, **__: Any) -> Any:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(where, name, fault)
        job = own.submit("x", keep=True, **SMALL)
        assert "no codec" in str(error_of(job))
    assert job.state == "failed"
    assert own.submit("x", keep=True, **SMALL).result(20).path.is_file()


def test_a_listener_that_raises_costs_no_picture(own: Session, caplog: pytest.LogCaptureFixture) -> None:
    engine: Any = own._engine
    done: list[Any] = []
    finished = threading.Event()

    def listen(event: Event) -> None:
        if event.kind != "queued":  # which is told in the thread that submits
            raise ValueError("a listener's mistake")

    def finish(outcome: Any, last: Event) -> None:
        done.append(outcome)
        finished.set()
        raise ValueError("another")

    from zimage_kit.engine.task import Task

    base = picture()
    engine.submit(Task("t", base.request.then(Probe()), picture=base.image), listen, finish)
    assert finished.wait(20)
    assert isinstance(done[0], Artifact)
    assert apply(own, "nothing").result(20).image.size == (16, 16), "the thread goes on"
    assert "outcome of job t could not be reported" in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 8.00 GB)",
        "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_every_library_s_word_for_too_little_memory_is_known(words: str) -> None:
    assert memory.out_of_memory(RuntimeError(words), "cpu", "x") is not None
    assert memory.out_of_memory(RuntimeError("CUDA error: device-side assert triggered"), "cpu", "x") is None


# What people do meanwhile


def test_leaving_a_loop_by_break_cancels_the_rest(own: Session) -> None:
    requests = [Request(prompt=f"x {number}", **SMALL) for number in range(6)]
    for artifact in own.run(requests):
        assert artifact.image.size == (64, 64)
        break
    assert own.status().queued <= 1
    assert own.run("y", **SMALL).image.size == (64, 64)
    assert own.status().queued == 0


def test_whoever_has_the_outcome_sees_the_state_that_it_led_to(own: Session) -> None:
    job, seen = apply(own, "nothing"), []
    job._outcome.add_done_callback(lambda _: seen.append(job.state))
    job.result(20)
    assert seen == ["done"]


def test_the_status_can_be_asked_while_the_model_goes(own: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    own.run("x", **SMALL)
    asked: list[Any] = []
    free = resident.Residency.clear

    def slowly(self: Any) -> None:
        free(self)
        asked.append(own.status())

    monkeypatch.setattr(resident.Residency, "clear", slowly)
    own.unload()
    assert asked[0].model is None
    assert asked[0].workers[0].held == {}


def test_unload_frees_all_that_was_registered(own: Session) -> None:
    own.run("x", **SMALL, loras=[_nano_loras()[0]])
    held = own.status().workers[0].held
    assert {"model"} < set(held)
    assert any(name.startswith("lora_") for name in held)
    assert all(size > 0 for size in held.values())
    own.unload()
    assert own.status().workers[0].held == {}


def _nano_loras() -> list[str]:
    from zimage_kit.models.spec import NANO

    assert NANO.loras is not None
    return [file.stem for file in NANO.loras.glob("*.safetensors")]


def test_painting_on_a_picture_changes_no_other(own: Session) -> None:
    first = own.run("x", **SMALL)
    pixels = first.image.tobytes()
    first.image.paste("red", (0, 0, 32, 32))
    again = own.run("x", **SMALL)
    assert again.trace.cached
    assert again.image.tobytes() == pixels


def test_a_stage_may_draw_with_another_model_before_the_picture_is_drawn(own: Session, copied_model: Path) -> None:
    class Draws(Stage):
        """Looks at what another model draws."""

        kind = "test_draws"

        def before(self, call: Call, ctx: Context) -> Call:
            ctx.draw(call, str(copied_model))
            return call

    registry.add(Draws)
    try:
        made = own.run("x", **SMALL, stages=[Draws()])
    finally:
        registry.remove("test_draws")
    assert made.image.tobytes() == own.run("x", **SMALL, fresh=True).image.tobytes()


def test_a_cancelled_wait_does_not_stop_the_engine(own: Session) -> None:
    job = apply(own, "wait")
    job._outcome.cancel()
    GATE.set()
    assert apply(own, "nothing").result(20).image.size == (16, 16)


def test_cancelling_tells_and_the_next_job_runs(own: Session) -> None:
    running, waiting = apply(own, "wait"), apply(own, "nothing")
    assert waiting.cancel()
    assert isinstance(error_of(waiting), JobCancelled)
    GATE.set()
    assert running.result(20).image.size == (16, 16)


# Pictures of others


def test_stages_work_on_a_picture_whose_model_nobody_knows_here(own: Session, tmp_path: Path) -> None:
    made = own.run("x", **SMALL)
    foreign = Artifact(made.image, made.request.but(model="/gone/model"), made.trace)
    after = own.apply(foreign.save(tmp_path / "x.png"), zk.stages.text_overlay(text="moon"))
    assert after.image.size == (64, 64)
    assert own.apply(foreign, zk.stages.upscale(weights="nano")).image.size == (128, 128)
    assert zk.stages.upscale().resolved(foreign.request).weights == "x2plus"


def test_what_stages_were_put_on_is_not_replaced_by_an_unrelated_drawing(own: Session, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 2, Sampler: Euler, CFG scale: 1, Seed: 5, Size: 64x64")
    Image.new("RGB", (64, 64), "green").save(tmp_path / "a1111.png", pnginfo=info)
    after = own.apply(tmp_path / "a1111.png", zk.stages.text_overlay(text="moon"))
    assert after.before().image.getpixel((1, 1)) == (0, 128, 0)
    opened = zk.open(after.save(tmp_path / "after.png"))
    with pytest.raises(NoRecipe):
        opened.before()
