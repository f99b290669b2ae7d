"""Kernels are built before the first picture; where that cannot be, the plain functions run and it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import zimage_kit as zk
from zimage_kit.engine import fused, prepare
from zimage_kit.engine.memory import Profiler
from zimage_kit.engine.plan import Plan
from zimage_kit.engine.rehearse import rehearse
from zimage_kit.errors import JobFailed
from zimage_kit.nano import DIRECTORY
from zimage_kit.stages.stage import Call

ON_GPU, SIZE = Plan("cuda:0", "bfloat16", speed="exact"), (64, 64)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "plain_because", "")


@pytest.fixture
def unrehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "rehearse", lambda *_: None)


def test_without_triton(unrehearsed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "kernels", lambda: None)
    with prepare.preparing(DIRECTORY, ON_GPU, SIZE):
        pass
    assert fused.plain_because == "Triton is not installed"


def test_without_a_compiler(unrehearsed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("Failed to find C compiler.\nPlease specify one")

    monkeypatch.setattr(fused, "kernels", lambda: object())
    monkeypatch.setattr(prepare, "calls", lambda *_: [fails])
    with prepare.preparing(DIRECTORY, ON_GPU, SIZE):
        loaded = True
    assert loaded
    assert fused.plain_because == "RuntimeError: Failed to find C compiler. Please specify one"


@pytest.mark.parametrize("plan", [Plan("cpu", "float32", speed="exact"), Plan("cuda:0", "bfloat16", speed="stock")])
def test_nothing_is_built_where_nothing_runs(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_prepare", lambda *_: pytest.fail("built"))
    with prepare.preparing(DIRECTORY, plan, SIZE):
        pass
    assert not fused.plain_because


def test_the_trace_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with zk.connect("inline", device="cpu", speed="exact") as session:
        monkeypatch.setattr(fused, "plain_because", "a reason")
        made = session.run("a cat", model="nano", width=64, height=64, steps=1, seed=1, fresh=True)
        assert any("slower ones ran (a reason)" in note for note in made.trace.notes)


class Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Which products, attentions and convolutions are computed, and of what shapes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[tuple[Any, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(part in name for part in ("mm", "attention", "convolution")):
            shapes = tuple((tuple(each.shape), each.dtype) for each in args if isinstance(each, torch.Tensor))
            self.seen.add((name, shapes))
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("speed", ["exact", "fast"])
def test_a_rehearsal_computes_whatever_a_picture_does(speed: str) -> None:
    plan, size = Plan("cpu", "float32", speed=speed, precision="int8" if speed == "fast" else ""), (96, 64)
    with Shapes() as rehearsed:
        rehearse(DIRECTORY, plan, size)
    with zk.connect("inline", device="cpu", speed=speed, precision=plan.precision or "auto") as session:
        session.run("a cat", model="nano", width=64, height=64, steps=1, seed=1)
        engine: Any = session._engine
        pipeline = engine._resident.pipeline
        pipeline._embeddings["thirty-two tokens"] = [torch.zeros(32, 256)]
        with Shapes() as drawn:
            call = Call("thirty-two tokens", "", *size, steps=1, guidance=0.0, seed=1)
            pipeline.draw(call, Profiler(), lambda step: None)
    drawn.seen = {each for each in drawn.seen if each[1][0][0] != (1, 3, 16)}  # of the preview
    assert len(drawn.seen) > 20
    assert drawn.seen <= rehearsed.seen, sorted(map(str, drawn.seen - rehearsed.seen))


@pytest.mark.parametrize("short", [{"streamed_blocks": 4}, {"encoder": "streamed"}, {"second": "cuda:1"}])
def test_no_rehearsal_where_memory_is_short(short: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsed: list[Plan] = []
    monkeypatch.setattr(prepare, "rehearse", lambda directory, plan, size: rehearsed.append(plan))
    monkeypatch.setattr(prepare, "_build", lambda *_: None)
    monkeypatch.setattr(fused, "kernels", lambda: object())
    for plan in (replace(ON_GPU, **short), ON_GPU):
        with prepare.preparing(DIRECTORY, plan, SIZE):
            pass
    assert rehearsed == [ON_GPU]


@pytest.mark.parametrize(("error", "told"), [(torch.OutOfMemoryError("CUDA out of memory"), False), (KeyError(), True)])
def test_a_rehearsal_that_fails_stops_nothing(
    error: Exception, told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(prepare, "rehearse", fails)
    monkeypatch.setattr(prepare, "_build", lambda *_: None)
    monkeypatch.setattr(fused, "kernels", lambda: object())
    with prepare.preparing(DIRECTORY, ON_GPU, SIZE):
        pass
    assert ("first picture takes longer" in caplog.text) == told


def test_fast_has_no_plain_modules(tmp_path: Path) -> None:
    with zk.connect("inline", device="cpu", speed="fast") as session:
        session.run("a cat", model="nano", width=64, height=64, steps=1, seed=1)
        engine: Any = session._engine
        with pytest.raises(JobFailed, match="fast"):
            _ = engine._resident.pipeline.diffusers_pipeline
