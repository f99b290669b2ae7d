"""Placement: exact on a CPU, bfloat16 where the GPU has it, and never float16."""

from __future__ import annotations

import pytest

from zimage_kit.engine.placement import Machine, choose
from zimage_kit.errors import BadRequest

CUDA = Machine(cuda_devices=2, cuda_bfloat16=True)


@pytest.mark.parametrize(
    ("machine", "wanted", "chosen"),
    [
        (Machine(), {}, ("cpu", "float32")),
        (CUDA, {}, ("cuda:0", "bfloat16")),
        (CUDA, {"device": "cuda:1"}, ("cuda:1", "bfloat16")),
        (CUDA, {"device": "cpu"}, ("cpu", "float32")),
        (CUDA, {"dtype": "float32"}, ("cuda:0", "float32")),
        (Machine(cuda_devices=1), {}, ("cuda:0", "float32")),
        (Machine(mps=True), {}, ("mps", "bfloat16")),
        (Machine(), {"dtype": "bfloat16"}, ("cpu", "bfloat16")),
    ],
)
def test_the_choice(machine: Machine, wanted: dict[str, str], chosen: tuple[str, str]) -> None:
    placement = choose(machine, **wanted)
    assert (placement.device, placement.dtype) == chosen


def test_a_card_without_bfloat16_is_told_in_a_note() -> None:
    assert "no bfloat16" in choose(Machine(cuda_devices=1)).notes[0]
    assert choose(CUDA).notes == ()


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"device": "cuda"}, "device='cuda:0'; expected cpu"),
        ({"device": "tpu"}, "device='tpu'; expected cpu"),
        ({"dtype": "float16"}, "float16 overflows"),
        ({"dtype": "int8"}, "expected float32 or bfloat16"),
    ],
)
def test_what_is_not_there_is_refused(wanted: dict[str, str], line: str) -> None:
    with pytest.raises(BadRequest, match=line):
        choose(Machine(), **wanted)
