"""Streamed blocks compute what resident ones do, in every combination; a cap on the CPU stands for a small card."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zimage_kit as zk
from zimage_kit import Artifact, Context, Request, Session, Stage
from zimage_kit.engine import pipeline
from zimage_kit.engine.blocks import Block, Streamer, lay_out, spread
from zimage_kit.engine.crossing import Crossing
from zimage_kit.engine.load import Keeping, load_networks
from zimage_kit.engine.plan import Plan
from zimage_kit.errors import OutOfMemory
from zimage_kit.models.spec import NANO
from zimage_kit.nano import DIRECTORY
from zimage_kit.stages.stage import registry

SIZE = {"width": 128, "height": 128, "steps": 3, "seed": 1}


@pytest.fixture(scope="module")
def small() -> Iterator[Session]:
    """A session in which nearly every block of nano is streamed."""
    with zk.connect("inline", device="cpu", memory="110MB") as session:
        yield session


def plan_of(session: Session) -> Plan:
    engine: Any = session._engine
    plan: Plan = engine._resident.pipeline.plan
    return plan


def same(one: Artifact, other: Artifact) -> bool:
    return np.array_equal(np.asarray(one.image), np.asarray(other.image))


LORA = next(iter(sorted(NANO.loras.glob("*.safetensors")))) if NANO.loras else None
KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "guidance": {"guidance": 2.0, "negative_prompt": "red"},
    "a LoRA": {"loras": [(str(LORA), 0.8)]},
    "a pose": {"stages": [{"kind": "pose", "preset": ["waving"]}]},
    "a pose and a LoRA": {"stages": [{"kind": "pose", "preset": ["waving"]}], "loras": [(str(LORA), 0.5)]},
    "refined": {"stages": [{"kind": "refine", "strength": 0.5}]},
    "upscaled": {"stages": [{"kind": "upscale", "weights": "nano"}]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_blocks_draw_the_picture_of_resident_ones(session: Session, small: Session, kind: str) -> None:
    request = Request(prompt="a girl on the grass", model="nano", **SIZE, **KINDS[kind])
    streamed = small.run(request, fresh=True)
    assert plan_of(small).streamed_blocks >= 5
    assert plan_of(small).encoder == "streamed"
    assert any("blocks are copied" in note for note in streamed.trace.notes)
    assert same(streamed, session.run(request, fresh=True))
    assert plan_of(session).streamed_blocks == 0


def test_sizes_in_any_order_move_blocks_and_change_no_pixel(session: Session, small: Session) -> None:
    counts = set()
    for side in (64, 112, 96, 128, 64):
        request = Request(prompt="a boat", model="nano", **{**SIZE, "width": side, "height": side})
        assert same(small.run(request, fresh=True), session.run(request, fresh=True)), side
        counts.add(plan_of(small).streamed_blocks)
    assert len(counts) > 1, "every size had the same plan, so nothing was moved"


def test_a_cap_that_nothing_fits_is_refused_with_numbers_before_anything_is_loaded() -> None:
    with (
        zk.connect("inline", device="cpu", memory="20MB") as session,
        pytest.raises(OutOfMemory, match=r"needs \d+ MB on cpu even with every block streamed, but memory=20MB"),
    ):
        session.run("a boat", model="nano", **SIZE)


def test_out_of_memory_takes_a_smaller_plan_once_and_says_so(
    session: Session, small: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(prompt="a boat", model="nano", **{**SIZE, "width": 64, "height": 64})
    small.run(request)
    real, tries = pipeline.denoise, []

    def runs_out_once(*given: Any, **more: Any) -> Any:
        tries.append(plan_of(small).resident_blocks)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(*given, **more)

    monkeypatch.setattr(pipeline, "denoise", runs_out_once)
    monkeypatch.setattr(pipeline, "STEP_DOWN_BYTES", 0)  # a CPU's plan leaves nothing free
    made = small.run(request, fresh=True)
    assert len(tries) == 2
    assert any("out of memory with" in note and "drawn again" in note for note in made.trace.notes)
    assert same(made, session.run(request, fresh=True))
    assert not any("out of memory" in note for note in small.run(request, fresh=True).trace.notes)


def test_pictures_after_one_that_ran_out_leave_as_much_free_and_do_not_run_out_first(
    small: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(prompt="a boat", model="nano", **{**SIZE, "width": 64, "height": 64})
    small.run(request)
    engine: Any = small._engine
    pipe, real, plans = engine._resident.pipeline, pipeline.denoise, list[int]()
    replan, least = pipe._replan, pipeline.SPARE_BYTES

    def replan_and_tell(size: tuple[int, int], extras: Any, spare: int) -> Plan:
        plans.append(spare)
        if size[0] > 64 and spare > least:
            raise OutOfMemory("more than there is", mend="", device="cpu", bytes=spare)
        plan: Plan = replan(size, extras, spare)
        return plan

    def needs_more_room(*given: Any, **more: Any) -> Any:
        if plans[-1] == least and given[2].shape[-1] == 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(*given, **more)

    monkeypatch.setattr(pipeline, "denoise", needs_more_room)
    monkeypatch.setattr(pipe, "_replan", replan_and_tell)
    monkeypatch.setattr(pipe, "_spare", least)
    more = least + pipeline.STEP_DOWN_BYTES
    small.run(request, fresh=True)
    assert plans == [least, more]
    small.run(request, fresh=True)
    assert plans == [least, more, more]
    small.run(request.but(width=128, height=128), fresh=True)  # for which there is not so much
    assert plans[3:] == [more, least]


def test_running_out_twice_is_an_error_and_the_session_goes_on(small: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_out(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "denoise", runs_out)
        with pytest.raises(OutOfMemory):
            small.run("a boat", model="nano", fresh=True, **SIZE)
    assert small.run("a boat", model="nano", fresh=True, **SIZE).image.size == (128, 128)


def test_a_stage_that_needs_the_devices_memory_gets_the_models(small: Session) -> None:
    left: list[int] = []

    class Greedy(Stage):
        """Runs out of memory as long as blocks of the model are on the device."""

        kind = "test_greedy"

        def after(self, image: Image.Image, ctx: Context) -> Image.Image:
            engine: Any = small._engine
            networks = engine._resident.pipeline._networks.values()
            left.append(sum(len(each.blocks) - len(each.waiting) for each in networks))
            if left[-1]:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    registry.add(Greedy)
    try:
        request = Request(prompt="a boat", model="nano", **{**SIZE, "width": 64, "height": 64})
        plain, made = small.run(request), small.run(request.then(Greedy()))
    finally:
        registry.remove("test_greedy")
    assert left[0] > 0 and left[1:] == [0]
    assert np.array_equal(np.asarray(made.image), np.asarray(plain.image)[:, ::-1])
    assert any("which made room" in note for note in made.trace.notes)
    assert same(small.run(request, fresh=True), plain), "the blocks come back"


# The parts


def test_weights_of_one_product_lie_side_by_side() -> None:
    names = ["norm.weight", "feed_forward.w1.weight", "feed_forward.w2.weight", "feed_forward.w3.weight"]
    names += [f"attention.to_{part}.weight" for part in "qkv"]
    places, elements = lay_out({name: (4, 64) if "norm" not in name else (3,) for name in names}, 4)
    q, k, v = (places[f"attention.to_{part}.weight"].offset for part in "qkv")
    assert (k - q, v - k) == (256, 256)
    assert places["feed_forward.w3.weight"].offset - places["feed_forward.w1.weight"].offset == 256
    spans = sorted((place.offset, place.offset + int(np.prod(place.shape))) for place in places.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] <= elements


@pytest.mark.parametrize("count", [1, 9, 34])
def test_resident_blocks_are_spread_evenly_and_one_more_moves_no_other(count: int) -> None:
    before: frozenset[int] = frozenset()
    for resident in range(count + 1):
        kept = spread(count, resident)
        assert len(kept) == resident and kept >= before and kept <= frozenset(range(count))
        before = kept
        places = sorted(kept)
        gaps = [second - first for first, second in pairwise([*places, *(place + count for place in places[:1])])]
        assert max(gaps, default=0) <= 2 * min(gaps, default=0) + 1


def test_blocks_may_be_called_in_any_order_and_again() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(16, 16) for _ in range(5)]
    wanted = [each.weight.detach().clone() for each in layers]
    values = [[weight.detach().clone() for weight in each.parameters()] for each in layers]
    blocks = [Block(each, torch.float32) for each in layers]
    for block, weights in zip(blocks, values, strict=True):
        block.keep(torch.empty(block.elements))
        for target, weight in zip(block.weights.values(), weights, strict=True):
            target.data.copy_(weight)
    streamer = Streamer(torch.device("cpu"), torch.float32)
    streamer.stream("test", blocks)
    x = torch.randn(2, 16)
    for number in (0, 1, 2, 3, 4, 0, 2, 2, 4, 1, 0, 3):
        torch.testing.assert_close(layers[number](x), x @ wanted[number].T + values[number][1], rtol=0, atol=1e-6)
    streamer.stream("test", ())
    assert [torch.equal(each.weight, weight) for each, weight in zip(layers, wanted, strict=True)] == [True] * 5


def test_what_crosses_to_a_second_device_is_not_kept_after_its_pass() -> None:
    """Hidden states of every step were: half a gigabyte at 1024x1024."""

    class Block(nn.Module):
        def forward(self, hidden: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
            assert hidden.device == shared.device
            seen.append(shared)
            return hidden + shared

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(Block() for _ in range(4))

        def forward(self, hidden: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                hidden = block(hidden, shared)
            return hidden

    seen: list[torch.Tensor] = []
    network, crossing, elsewhere = Network(), Crossing(), torch.device("meta")
    crossing.within(network)
    for block in network.blocks[2:]:
        crossing.into(block, elsewhere)
    hidden, shared = torch.zeros(2, 3), torch.ones(3)
    kept = [weakref.ref(hidden), weakref.ref(shared)]
    found = network(hidden, shared)
    assert found.device == elsewhere
    assert seen[2] is seen[3], "what both are given crosses once"
    kept += [weakref.ref(found), *map(weakref.ref, seen)]
    del hidden, shared, found
    seen.clear()
    assert [ref() for ref in kept] == [None] * len(kept)


@pytest.mark.parametrize("precision", ["", "int8"])
def test_a_block_that_waited_goes_back_to_where_it_was_and_takes_no_more_memory(precision: str) -> None:
    """Filling and locking new memory for it took seconds whenever pictures of several sizes followed each other."""
    waits, there = ("host",), ("device",)
    keeping = Keeping(torch.device("cpu"), torch.float32, precision=precision, copies=True)
    wanted = {"transformer": (keeping, lambda count: waits * count)}
    network = load_networks(DIRECTORY, wanted, lambda name, done: None)["transformer"]
    count, taken = len(network.blocks), network.host_bytes
    places = [block.buffer.data_ptr() for block in network.blocks if block.buffer is not None]
    weights = [{name: weight.clone() for name, weight in block.whole().items()} for block in network.blocks]
    network.place(there * 4 + waits * (count - 4))
    assert network.host_bytes == taken
    assert len(network.waiting) == count - 4
    network.place(waits * count)
    assert [block.buffer.data_ptr() for block in network.blocks if block.buffer is not None] == places
    for block, before in zip(network.blocks, weights, strict=True):
        assert all(torch.equal(weight, before[name]) for name, weight in block.whole().items())
    network.place(there * 4 + waits * (count - 4))
    network.place(there * 4 + ("files",) * (count - 4))
    assert network.host_bytes == 0, "where RAM is short no copies stay"
    for block, before in zip(network.blocks, weights, strict=True):
        assert all(torch.equal(weight, before[name]) for name, weight in block.whole().items())
    network.close()


def test_device_buffers_are_as_large_as_what_this_picture_streams() -> None:
    """Those of a ControlNet that is kept but not used are not counted; used, they make the buffers grow."""

    class Linear(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = nn.Linear(4, width, bias=False)

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layer(hidden)
            return found

    def waiting(width: int) -> Block:
        block = Block(Linear(width), torch.float32)
        block.keep(torch.arange(block.elements, dtype=torch.float32))
        return block

    streamer = Streamer(torch.device("cpu"), torch.float32)
    small, large = [waiting(64), waiting(64)], [waiting(640), waiting(640)]
    streamer.stream("transformer", small)
    streamer.stream("controlnet", large)
    hidden = torch.ones(1, 4)

    def taken() -> list[int]:
        return [len(buffer.tensor) for buffer in streamer._buffers]

    for _ in range(2):
        for block in small:
            assert block.module(hidden)[0, -1] == block.elements * 4 - 10
    assert taken() == [small[0].bytes] * 2
    smaller_ones = {buffer.tensor.data_ptr() for buffer in streamer._buffers}
    for block in large:
        assert block.module(hidden)[0, -1] == block.elements * 4 - 10
    seen = {block.module.layer.weight.data_ptr() for block in small}
    assert not seen & smaller_ones, "a block that computed in a smaller buffer keeps its memory beside the larger ones"
    for block in small + large:
        assert block.module(hidden)[0, -1] == block.elements * 4 - 10
    assert taken() == [large[0].bytes] * 2
    streamer.free()
    for block in small + small:  # after it, the first of the others is expected next, but does not come
        assert block.module(hidden)[0, -1] == block.elements * 4 - 10
    assert taken() == [small[0].bytes] * 2
