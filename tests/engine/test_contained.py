"""A stage that changes its process does not change the pictures after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from zimage_kit import Field, Request, Session, Stage, stage
from zimage_kit.engine.contained import contained
from zimage_kit.stages.stage import registry

CHANGES = {
    "threads": "torch's number of threads",
    "type": "torch's default type",
    "device": "torch's default device",
    "precision": "the precision of products",
    "deterministic": "deterministic algorithms",
    "attention": "flash attention, memory-efficient attention, plain attention",
}


def change(what: str) -> None:
    import torch

    cuda = torch.backends.cuda
    match what:
        case "threads":
            torch.set_num_threads(torch.get_num_threads() + 1)
        case "type":
            torch.set_default_dtype(torch.float64)
        case "device":
            torch.set_default_device("meta")
        case "precision":
            torch.set_float32_matmul_precision("medium")
        case "deterministic":
            torch.use_deterministic_algorithms(True)
        case "attention":
            for switch in (cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_math_sdp):
                switch(False)


@pytest.fixture
def careless() -> Iterator[type[Stage]]:
    @stage
    class Careless(Stage):
        """Changes what is not its own, before and after."""

        kind = "probe_careless"
        does: str = Field(description="what")
        raises: bool = False

        def before(self, call: Any, ctx: Any) -> Any:
            change(self.does)
            return call

        def after(self, image: Image.Image, ctx: Any) -> Image.Image:
            change(self.does)
            if self.raises:
                raise RuntimeError("in the middle")
            return image.copy()

    yield Careless
    registry.remove("probe_careless")


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("raises", [False, True])
def test_the_next_picture_is_the_same_and_the_stage_is_named(
    careless: type[Stage], session: Session, model: str, what: str, raises: bool
) -> None:
    base = Request(prompt="a red boat", model=model, width=64, height=64, steps=2, seed=1)
    before = session.run(base, fresh=True)
    job = session.submit(base.then(careless(does=what, raises=raises)), fresh=True)
    problem = job._outcome.exception(60)
    assert (problem is not None) is raises, problem
    if not raises:
        assert f"probe_careless changed {CHANGES[what]} of the process that draws" in str(job.result().trace.notes)
    assert session.run(base, fresh=True).image.tobytes() == before.image.tobytes()


def test_what_changes_nothing_is_not_named() -> None:
    said: list[str] = []
    with contained("nobody", said.append):
        pass
    assert said == []
