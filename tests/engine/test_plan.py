"""The plan: what is resident and what is streamed, exact on a CPU, bfloat16 where the GPU has it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from zimage_kit.engine.needs import Extras, Machine
from zimage_kit.engine.plan import SPARE_BYTES, Plan, plan
from zimage_kit.engine.settings import Settings
from zimage_kit.errors import BadRequest, OutOfMemory
from zimage_kit.models.directories import ComponentSize
from zimage_kit.models.published import TURBO_SIZES

GIB = 1 << 30
CUDA = Machine(cuda_devices=2, cuda_bfloat16=True)


@pytest.mark.parametrize(
    ("machine", "wanted", "chosen"),
    [
        (Machine(), {}, ("cpu", "float32")),
        (CUDA, {}, ("cuda:0", "bfloat16")),
        (CUDA, {"device": "cuda:1"}, ("cuda:1", "bfloat16")),
        (CUDA, {"device": "cpu"}, ("cpu", "float32")),
        (CUDA, {"dtype": "float32"}, ("cuda:0", "float32")),
        (Machine(cuda_devices=1), {}, ("cuda:0", "float16")),
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
        ({"device": "cpu,cuda"}, "device='cuda:0'; expected cpu"),
        ({"dtype": "int8"}, "expected 'auto', 'float32', 'bfloat16' or 'float16'"),
    ],
)
def test_what_is_not_there_is_refused(wanted: dict[str, str], line: str) -> None:
    with pytest.raises(BadRequest, match=line):
        plan(Machine(), settings=Settings(**wanted))


def on(gib: float, **more: Any) -> Plan:
    """The plan for a picture of 1024x1024 on a card of so many GiB."""
    card = Machine(
        cuda_devices=1, cuda_bfloat16=True, free_bytes=round(gib * GIB), host_bytes=64 * GIB, copy_rate=24e9,
        compute_rate=more.pop("rate", 90e12),
    )  # fmt: skip
    return plan(card, TURBO_SIZES, more.pop("size", (1024, 1024)), Settings(**more), Extras())


SIZES = [round(4 + step * 0.25, 2) for step in range(96)]


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (1024, 1536)])
@pytest.mark.parametrize("rate", [25e12, 90e12, 700e12])
def test_more_memory_is_never_slower_and_no_plan_exceeds_its_memory(size: tuple[int, int], rate: float) -> None:
    plans = [on(gib, size=size, rate=rate) for gib in SIZES]
    for gib, found in zip(SIZES, plans, strict=True):
        assert found.exact
        assert found.peak_bytes <= gib * GIB - SPARE_BYTES
    for less, more in pairwise(plans):
        assert more.resident_blocks >= less.resident_blocks
        assert more.seconds <= less.seconds
        assert more.weight_bytes >= less.weight_bytes
    assert plans[0].streamed_blocks > 20
    assert plans[-1].placement == "resident"


def test_where_computing_takes_longer_than_copying_little_memory_costs_nothing() -> None:
    """An RTX 3060 computes about 25 TFLOP/s: a step of 1024x1024 takes it four times as long as copying the model."""
    assert on(4, rate=25e12).seconds == on(24, rate=25e12).seconds
    assert on(4, rate=700e12).seconds > 2 * on(24, rate=700e12).seconds


def test_a_card_without_bfloat16_computes_the_same_work_in_float16() -> None:
    rates = {"copy_rate": 1e15, "compute_rate": 1e12}
    wide, narrow = (
        plan(Machine(cuda_devices=1, cuda_bfloat16=bfloat16, **rates), TURBO_SIZES, (1024, 1024))
        for bfloat16 in (False, True)
    )
    assert (wide.dtype, narrow.dtype) == ("float16", "bfloat16")
    assert wide.weight_bytes - narrow.weight_bytes == 2 * TURBO_SIZES["vae"].total, "the VAE in float32"
    assert wide.seconds == pytest.approx(narrow.seconds)
    assert 55.6e12 < narrow.seconds * 1e12 / 8 < 1.1 * 55.6e12, "counted operations of one evaluation, with 64 tokens"


def test_memory_caps_by_hand_what_would_be_taken() -> None:
    assert on(24, memory="8GiB").resident_blocks == on(8).resident_blocks
    assert on(4, memory="24GB").resident_blocks == on(4).resident_blocks, "what is not there cannot be had"


def test_a_larger_picture_leaves_less_room_for_blocks() -> None:
    assert on(8, size=(1536, 1536)).resident_blocks < on(8).resident_blocks < on(8, size=(512, 512)).resident_blocks


def test_what_else_is_needed_takes_its_room() -> None:
    card = Machine(cuda_devices=1, cuda_bfloat16=True, free_bytes=12 * GIB, host_bytes=64 * GIB)
    control = ComponentSize((200_000_000,) * 17, 10_000_000)
    alone = plan(card, TURBO_SIZES, (1024, 1024))
    with_pose = plan(card, TURBO_SIZES, (1024, 1024), extras=Extras(controlnet=control, loras=300_000_000))
    assert with_pose.resident_blocks < alone.resident_blocks
    assert (with_pose.controlnet, alone.controlnet) == ("streamed", "resident")
    assert with_pose.peak_bytes <= 12 * GIB - SPARE_BYTES


def test_a_controlnet_comes_before_the_encoder_which_is_used_once() -> None:
    card = Machine(cuda_devices=1, cuda_bfloat16=True, free_bytes=24 * GIB, host_bytes=64 * GIB)
    control = ComponentSize((200_000_000,) * 17, 10_000_000)
    found = plan(card, TURBO_SIZES, (1024, 1024), extras=Extras(controlnet=control))
    assert (found.encoder, found.controlnet, found.streamed_blocks) == ("streamed", "resident", 0)


def test_little_ram_is_told_since_copies_are_slower_from_pageable_memory() -> None:
    card = Machine(cuda_devices=1, cuda_bfloat16=True, free_bytes=6 * GIB, host_bytes=12 * GIB)
    found = plan(replace(card, host_bytes=20 * GIB), TURBO_SIZES, (1024, 1024))
    assert not found.pinned
    assert any("pageable" in note for note in found.notes)
    assert plan(replace(card, host_bytes=64 * GIB), TURBO_SIZES, (1024, 1024)).pinned
    read = plan(card, TURBO_SIZES, (1024, 1024))
    assert read.mapped and read.host_bytes < 2e9
    assert any("read from the model's files" in note for note in read.notes)
    packed = plan(card, TURBO_SIZES, (1024, 1024), Settings(precision="int8"))
    assert not packed.mapped and packed.host_bytes < 0.6 * found.host_bytes
    with pytest.raises(OutOfMemory, match=r"takes 1\.\d GB of RAM even if it is read from the model's files"):
        plan(replace(card, host_bytes=GIB), TURBO_SIZES, (1024, 1024))


def test_two_cards_of_12_gb_hold_what_one_does_not() -> None:
    pair = replace(CUDA, free_bytes=12 * GIB, second_free_bytes=12 * GIB, host_bytes=64 * GIB)
    found = plan(pair, TURBO_SIZES, (1024, 1024), Settings(device="cuda:0,cuda:1"))
    assert (found.second, found.streamed_blocks, found.encoder) == ("cuda:1", 0, "resident")
    assert 0 < found.second_blocks < found.resident_blocks == 34
    assert max(found.peak_bytes, found.second_peak_bytes) <= 12 * GIB - SPARE_BYTES
    assert plan(pair, TURBO_SIZES, (1024, 1024)).streamed_blocks > 0
    small = plan(replace(pair, second_free_bytes=6 * GIB), TURBO_SIZES, (1024, 1024), Settings(device="cuda:0,cuda:1"))
    assert small.second_peak_bytes <= 6 * GIB - SPARE_BYTES
    with pytest.raises(BadRequest, match="two different CUDA cards"):
        plan(pair, settings=Settings(device="cuda:0,cuda:0"))


def test_what_does_not_fit_even_streamed_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        OutOfMemory, match=r"2048x2048 needs 5\.\d GB on cuda:0 even with every block streamed, but 3\.\d GB"
    ):
        on(4, size=(2048, 2048))
    with pytest.raises(
        OutOfMemory, match=r"Use (\d+)x\1 or less, or close other programs that use this device\.$"
    ) as found:
        on(4, size=(2048, 2048))
    side = int(re.search(r"Use (\d+)", found.value.mend)[1])  # type: ignore[index]
    assert on(4, size=(side, side)).streamed_blocks > 0
    with pytest.raises(OutOfMemory):
        on(4, size=(side + 256, side + 256))
    with pytest.raises(OutOfMemory, match=r"but memory=2GB\. Allow more memory\.$"):
        on(24, memory="2GB")


@pytest.mark.parametrize(
    ("speed", "sizes", "whole_from", "least"), [("exact", (40, 28, 24, 20), 30, 3), ("stock", (44, 32, 24, 20), 32, 4)]
)
def test_a_cpu_never_takes_more_than_the_ram_there_is(
    speed: str, sizes: tuple[int, ...], whole_from: int, least: int
) -> None:
    cpu, settings = Machine(host_bytes=64 * GIB), Settings(speed=speed)
    whole = plan(cpu, TURBO_SIZES, (1024, 1024), settings)
    assert (whole.streamed_blocks, whole.room_bytes) == (0, None), "there is nothing to move blocks to"
    for gib in sizes:
        found = plan(replace(cpu, host_bytes=gib * GIB), TURBO_SIZES, (1024, 1024), settings)
        assert found.mapped and (found.streamed_blocks > 0) == (gib < whole_from), gib
        assert found.peak_bytes + found.host_bytes <= gib * GIB
    with pytest.raises(OutOfMemory, match=f"on cpu even with every block streamed, but {least - 1}.9 GB are free"):
        plan(replace(cpu, host_bytes=least * GIB), TURBO_SIZES, (1024, 1024), settings)
    capped = plan(cpu, TURBO_SIZES, (1024, 1024), Settings(memory="12GB", speed=speed))
    assert capped.streamed_blocks > 0 and not capped.mapped, "what is not on the device waits in RAM"
    assert capped.host_bytes + capped.peak_bytes <= 64 * GIB


def test_the_facts_of_a_plan_are_json_values() -> None:
    facts = on(8).facts
    assert json.loads(json.dumps(facts)) == facts
    assert facts["resident_blocks"] + facts["streamed_blocks"] == 34
    assert plan(CUDA, TURBO_SIZES, (1024, 1024)).facts["seconds"] is None, "no rates are known"
