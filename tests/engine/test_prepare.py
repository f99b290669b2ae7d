"""Kernels are built before the first picture; where that cannot be, the plain functions run and it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zimage_kit as zk
from zimage_kit.engine import fused, prepare
from zimage_kit.engine.plan import Plan
from zimage_kit.errors import JobFailed
from zimage_kit.nano import DIRECTORY

ON_GPU = Plan("cuda:0", "bfloat16", speed="exact")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "plain_because", "")


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "kernels", lambda: None)
    with prepare.preparing(DIRECTORY, ON_GPU):
        pass
    assert fused.plain_because == "Triton is not installed"


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("Failed to find C compiler.\nPlease specify one")

    monkeypatch.setattr(fused, "kernels", lambda: object())
    monkeypatch.setattr(prepare, "calls", lambda *_: [fails])
    monkeypatch.setattr(prepare, "libraries", lambda *_: None)
    with prepare.preparing(DIRECTORY, ON_GPU):
        loaded = True
    assert loaded
    assert fused.plain_because == "RuntimeError: Failed to find C compiler. Please specify one"


@pytest.mark.parametrize("plan", [Plan("cpu", "float32", speed="exact"), Plan("cuda:0", "bfloat16", speed="stock")])
def test_nothing_is_built_where_nothing_runs(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_build", lambda *_: pytest.fail("built"))
    with prepare.preparing(DIRECTORY, plan):
        pass
    assert not fused.plain_because


def test_the_trace_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with zk.connect("inline", device="cpu", speed="exact") as session:
        monkeypatch.setattr(fused, "plain_because", "a reason")
        made = session.run("a cat", model="nano", width=64, height=64, steps=1, seed=1, fresh=True)
        assert any("slower ones ran (a reason)" in note for note in made.trace.notes)


def test_libraries_are_called_with_shapes_that_fit() -> None:
    prepare.libraries(torch.device("cpu"), torch.float32)


def test_fast_has_no_plain_modules(tmp_path: Path) -> None:
    with zk.connect("inline", device="cpu", speed="fast") as session:
        session.run("a cat", model="nano", width=64, height=64, steps=1, seed=1)
        engine: Any = session._engine
        with pytest.raises(JobFailed, match="fast"):
            _ = engine._resident.pipeline.diffusers_pipeline
