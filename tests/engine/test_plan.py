"""The plan: exact on a CPU, bfloat16 where the GPU has it, and never float16."""

from __future__ import annotations

import pytest

from zimage_kit.engine.plan import Machine, plan
from zimage_kit.engine.settings import Settings
from zimage_kit.errors import BadRequest, OutOfMemory

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
    found = plan(machine, settings=Settings(**wanted))
    assert (found.device, found.dtype) == chosen


def test_a_card_without_bfloat16_is_told_in_a_note() -> None:
    assert "no bfloat16" in plan(Machine(cuda_devices=1)).notes[0]
    assert plan(CUDA).notes == ()


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"device": "cuda"}, "device='cuda:0'; expected cpu"),
        ({"device": "tpu"}, "device='tpu'; expected cpu"),
        ({"dtype": "float16"}, "float16 overflows"),
        ({"dtype": "int8"}, "expected 'auto', 'float32' or 'bfloat16'"),
    ],
)
def test_what_is_not_there_is_refused(wanted: dict[str, str], line: str) -> None:
    with pytest.raises(BadRequest, match=line):
        plan(Machine(), settings=Settings(**wanted))


def test_memory_caps_what_a_model_may_take_and_names_both_numbers() -> None:
    parameters = {"transformer": 6_155_000_000, "text_encoder": 4_022_000_000, "vae": 84_000_000}
    whole = plan(CUDA, parameters, (1024, 1024))
    assert whole.weight_bytes == 2 * sum(parameters.values())
    assert 22e9 < whole.peak_bytes < 24e9, "stock diffusers' peak is 23.3 GB"
    with pytest.raises(OutOfMemory, match=r"needs 23\.1 GB in bfloat16 for 1024x1024, but memory=8GB"):
        plan(CUDA, parameters, (1024, 1024), Settings(memory="8GB"))
    assert plan(CUDA, parameters, (1024, 1024), Settings(memory="24GB")) == whole


def test_settings_are_read_and_refused_in_a_line() -> None:
    assert Settings(memory="8 GiB").memory_bytes == 8 << 30
    assert Settings(memory="1500mb").memory_bytes == 1_500_000_000
    assert Settings().given() == {}
    assert Settings(device="cpu", dtype=None).given() == {"device": "cpu"}
    for fields, line in (({"memory": "much"}, "For example 8GB"), ({"speed": "fast"}, "speed='fast'")):
        with pytest.raises(BadRequest, match=line):
            Settings(**fields)
