"""Blocks of a network, each in one flat buffer, so that a single copy brings one onto the device.

q, k, v and w1, w3 lie side by side: one view is the fused weight. A block is either resident (its buffer is on the
device) or streamed (its buffer is in host memory, and two device buffers are filled in turn while others compute).
Measured on an H100 (docs/measurements.md): a pass takes the longer of computing and copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

ALIGNMENT = 256
"""Bytes; what CUDA's own allocations have, so that a product picks the same kernel for a view as for a tensor."""
_FUSED = (
    ("attention.to_q.weight", "attention.to_k.weight", "attention.to_v.weight"),
    ("feed_forward.w1.weight", "feed_forward.w3.weight"),
    ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
)
"""Weights that are multiplied with the same input, of Z-Image's blocks and Qwen3's layers."""


@dataclass(frozen=True)
class Place:
    """Where a weight lies in its block's buffer: first element, shape."""

    offset: int
    shape: tuple[int, ...]

    def view(self, buffer: Tensor) -> Tensor:
        """The weight in a block's buffer."""
        return buffer.narrow(0, self.offset, prod(self.shape)).view(self.shape)


def lay_out(shapes: Mapping[str, Sequence[int]], itemsize: int) -> tuple[dict[str, Place], int]:
    """The place of every weight of a block, and the elements of its buffer. Each fused group lies unbroken, first."""
    names = [name for group in _FUSED for name in group if name in shapes]
    names += [name for name in shapes if name not in names]
    followers = {name for group in _FUSED for name in group[1:]}
    places, end = {}, 0
    for name in names:
        shape = tuple(shapes[name])
        if name not in followers:
            step = ALIGNMENT // itemsize
            end = -(-end // step) * step
        places[name] = Place(end, shape)
        end += prod(shape)
    return places, end


def materialise(module: nn.Module, name: str, data: Tensor) -> nn.Parameter:
    """Give a weight of a module that was built without memory its memory."""
    owner, _, leaf = name.rpartition(".")
    weight = nn.Parameter(data, requires_grad=False)
    module.get_submodule(owner)._parameters[leaf] = weight
    return weight


class Block:
    """A module whose weights are views of one buffer. Adapters that are added to it later keep memory of their own."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        shapes = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
        self.weights = {name: materialise(module, name, torch.empty(0, dtype=dtype)) for name in shapes}
        self.places, self.elements = lay_out(shapes, dtype.itemsize)
        self.buffer: Tensor | None = None  # where the weights are kept: on the device, or in host memory

    @property
    def bytes(self) -> int:
        """Of its buffer."""
        return self.elements * self.dtype.itemsize

    def show(self, buffer: Tensor) -> None:
        """Make the module's weights views of this buffer."""
        for name, weight in self.weights.items():
            weight.data = self.places[name].view(buffer)

    def keep(self, buffer: Tensor) -> None:
        """Let this buffer be the one that holds the weights."""
        self.buffer = buffer
        self.show(buffer)


class Streamer:
    """Lets streamed blocks compute: each is copied into a device buffer while the one before it computes.

    Two buffers, one stream of copies. Which block is next is learnt from the pass before, across steps too, so blocks
    may be called in any order and any number of times; one that was not foreseen is waited for. Nothing here makes the
    host wait for the device. Use from one thread.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._groups: dict[str, list[Block]] = {}
        self._blocks: dict[int, Block] = {}  # by the id of the module, in the order of the groups
        self._hooks: list[Any] = []
        self._next: dict[int, int] = {}
        self._last: int | None = None
        self._buffers: list[_DeviceBuffer] = []
        self._current: _DeviceBuffer | None = None  # in which the last block computed
        cuda: Any = torch.cuda  # untyped
        self._copies: Any = cuda.Stream(device) if device.type == "cuda" else None

    def stream(self, group: str, blocks: Iterable[Block]) -> None:
        """Stream exactly these blocks of a group, whose buffers are in host memory; other groups stay as they are."""
        self.free()
        for hook in self._hooks:
            hook.remove()
        self._groups[group] = list(blocks)
        self._blocks = {id(block.module): block for blocks in self._groups.values() for block in blocks}
        self._hooks = [
            hook
            for block in self._blocks.values()
            for hook in (
                block.module.register_forward_pre_hook(lambda module, _: self._begin(id(module))),
                block.module.register_forward_hook(lambda module, *_: self._end(id(module))),
            )
        ]
        keys = list(self._blocks)
        self._next = dict(zip(keys, [*keys[1:], *keys[:1]], strict=True))

    def free(self) -> None:
        """Give the device buffers back until the next pass; the weights are seen in host memory again."""
        for buffer in self._buffers:
            buffer.wait()
        self._buffers.clear()
        self._last = self._current = None
        for block in self._blocks.values():
            if block.buffer is not None:
                block.show(block.buffer)

    def _begin(self, key: int) -> None:
        """Before a block computes: its copy is waited for (by the device), and the next one's is begun."""
        if not self._buffers:
            largest = max(block.elements for block in self._blocks.values())
            self._buffers = [_DeviceBuffer(largest, self.device, self.dtype, self._copies) for _ in range(2)]
        if self._last is not None:
            self._next[self._last] = key
        self._last = key
        here = next((buffer for buffer in self._buffers if buffer.holds == key), None)
        if here is None:
            here = next(buffer for buffer in self._buffers if buffer is not self._current)
            self._fill(here, key)
        here.acquire()
        self._current = here
        block = self._blocks[key]
        block.show(here.tensor[: block.elements])
        following = self._next[key]
        other = next(buffer for buffer in self._buffers if buffer is not here)
        if following != key and other.holds != following:
            self._fill(other, following)

    def _fill(self, buffer: _DeviceBuffer, key: int) -> None:
        block = self._blocks[key]
        assert block.buffer is not None
        buffer.fill(block.buffer, key)

    def _end(self, key: int) -> None:
        """After a block's kernels were launched: its buffer may be filled anew once they have run."""
        for buffer in self._buffers:
            if buffer.holds == key:
                buffer.release()


class _DeviceBuffer:
    """One of the two. `holds`: the block that is in it or on its way."""

    def __init__(self, elements: int, device: torch.device, dtype: torch.dtype, copies: Any) -> None:
        self.tensor = torch.empty(elements, dtype=dtype, device=device)
        self.holds: int | None = None
        self._copies = copies
        self._filled: Any = None
        self._computed: Any = None
        if copies is not None:
            cuda: Any = torch.cuda  # untyped
            self._filled, self._computed = cuda.Event(), cuda.Event()
            self._computed.record(torch.cuda.current_stream(device))

    def fill(self, source: Tensor, key: int) -> None:
        """Copy a block into it, once what computes with the former one is done."""
        self.holds = key
        target = self.tensor[: source.numel()]
        if self._copies is None:
            target.copy_(source)
            return
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(self._computed)
            target.copy_(source, non_blocking=True)
            self._filled.record(self._copies)

    def acquire(self) -> None:
        """What computes from now on waits for the copy."""
        if self._copies is not None:
            torch.cuda.current_stream(self.tensor.device).wait_event(self._filled)

    def release(self) -> None:
        """What was launched until now is all that computes with it."""
        if self._copies is not None:
            self._computed.record(torch.cuda.current_stream(self.tensor.device))

    def wait(self) -> None:
        """Until its copy and its computing are over, so that its memory can be given to others."""
        if self._copies is not None:
            self._filled.synchronize()
            self._computed.synchronize()


def spread(count: int, resident: int) -> frozenset[int]:
    """Which of `count` blocks stay on the device when `resident` do: evenly, so that copies have time in between."""
    return frozenset(i for i in range(count) if resident and (i * resident) // count != ((i - 1) * resident) // count)
