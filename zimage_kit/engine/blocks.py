"""Blocks of a network, each in one flat buffer, so that a single copy brings one onto the device.

q, k, v and w1, w3 lie side by side: one view is the fused weight. A block is either resident (its buffer is on a
device) or streamed (its buffer is in host memory, or its weights are read from the model's files; two device buffers
are filled in turn while others compute). Measured on an H100 (docs/measurements.md): a pass takes the longer of
computing and copying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from .eight import Eight
from .packing import ALIGNMENT, FUSED, Packing, Place


def lay_out(shapes: Mapping[str, Sequence[int]], itemsize: int) -> tuple[dict[str, Place], int]:
    """The place of every weight of a block, and the elements of its buffer. Each fused group lies unbroken, first."""
    names = [name for group in FUSED for name in group if name in shapes]
    names += [name for name in shapes if name not in names]
    followers = {name for group in FUSED for name in group[1:]}
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


def bring_buffers(module: nn.Module, device: torch.device) -> None:
    """Bring what a module computed from its configuration to a device."""
    for name, buffer in list(module.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        module.get_submodule(owner)._buffers[leaf] = buffer.to(device)


class Block:
    """A module whose weights are views of one buffer. Adapters that are added to it later keep memory of their own.

    Resident: `buffer` holds the weights on a device. Waiting: it holds them in host memory, packed where there is a
    `packing`; or it is None, and they are `read` from files whenever they are needed. `locked`: it is page-locked.
    `copy`: where they waited before they were brought to a device, for when they wait again. `packed_computes`: the
    packed weights are multiplied as they are, so on a device they are packed too; see `eight`.
    """

    def __init__(
        self, module: nn.Module, dtype: torch.dtype, precision: str = "", packed_computes: bool = False
    ) -> None:
        self.module, self.dtype, self.packed_computes = module, dtype, packed_computes
        shapes = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
        self.weights = {name: materialise(module, name, torch.empty(0, dtype=dtype)) for name in shapes}
        self.places, self.elements = lay_out(shapes, dtype.itemsize)
        self.packing = Packing(self.places, dtype, precision) if precision else None
        self.buffer: Tensor | None = None
        self.copy: Tensor | None = None
        self.locked = self._copy_locked = False
        self._sources: dict[str, Callable[[], Tensor]] = {}
        self.factors: dict[str, float] = {}  # powers of two by which weights were multiplied
        self.hide()

    @property
    def bytes(self) -> int:
        """Of the weights as they compute."""
        return self.waiting_bytes if self.packed_computes else self.elements * self.dtype.itemsize

    @property
    def waiting_bytes(self) -> int:
        """Of what is kept and copied while the block waits."""
        return self.packing.bytes if self.packing else self.elements * self.dtype.itemsize

    @property
    def packed(self) -> bool:
        """Whether `buffer` holds the packed weights."""
        return self.packing is not None and self.buffer is not None and self.buffer.dtype == torch.uint8

    def show(self, buffer: Tensor) -> None:
        """Make the module's weights views of this buffer."""
        if not self.packed_computes:
            for name, weight in self.weights.items():
                weight.data = self.places[name].view(buffer)
            return
        assert self.packing is not None
        for name, weight in self.weights.items():
            numbers, scales = self.packing.views(name, buffer)
            if scales is None:
                weight.data = numbers
            else:  # whatever does not know of `eight` makes NaN of it, and is told so
                weight.data = torch.full((), torch.nan, dtype=self.dtype, device=buffer.device).expand(numbers.shape)
                weight.eight = Eight(numbers, scales)  # type: ignore[attr-defined]

    def leave_copy(self) -> None:
        """Leave what waits in host memory there, while the block is on a device."""
        self.copy, self._copy_locked = self.buffer, self.locked

    def wait_again(self) -> None:
        """Let the copy in host memory be the buffer."""
        self.buffer, self.copy, self.locked = self.copy, None, self._copy_locked
        self.rest()

    def hide(self) -> None:
        """Let the module's weights have their shapes and no memory."""
        for name, weight in self.weights.items():
            weight.__dict__.pop("eight", None)
            weight.data = torch.zeros((), dtype=self.dtype).expand(self.places[name].shape)

    def keep(self, buffer: Tensor | None) -> None:
        """Let this buffer be the one that holds the weights (None: the files do)."""
        self.buffer, self.locked = buffer, False
        self.rest()

    def rest(self) -> None:
        """Show what the buffer holds, where it can be seen as it is."""
        if self.buffer is None or (self.packed and not self.packed_computes):
            self.hide()
        else:
            self.show(self.buffer)

    def put(self, name: str, weight: Tensor, source: Callable[[], Tensor]) -> None:
        """Take a weight from its file. `source` reads it again, for a block that keeps no buffer."""
        self._sources[name] = source
        if self.buffer is None:
            return
        if self.packing is None:
            self.weights[name].data.copy_(weight)
        elif self.packed:
            self.packing.pack(name, weight, self.buffer)
        else:
            self.weights[name].data.copy_(self.packing.round(name, weight.to(self.buffer.device)))

    def multiply(self, name: str, factor: float) -> None:
        """Scale a weight by a power of two."""
        self.factors[name] = self.factors.get(name, 1.0) * factor
        whole = None if self.buffer is None or self.packed else self.weights[name].data
        if self.packing is not None:
            self.packing.multiply(name, factor, whole, self.buffer if self.packed else None)
        elif whole is not None:
            whole.mul_(factor)

    def whole(self) -> dict[str, Tensor]:
        """The weights as they compute, read for this where they are not there."""
        if self.buffer is not None and not self.packed:
            buffer = self.buffer
        else:
            self.read(buffer := torch.empty(self.elements, dtype=self.dtype))
        return {name: place.view(buffer) for name, place in self.places.items()}

    def weight(self, name: str) -> Tensor:
        """One of those."""
        if not self.packed or self.packing is None or self.buffer is None:
            return self.whole()[name]
        numbers, scales = self.packing.views(name, self.buffer)
        return numbers if scales is None else (numbers.float() * scales).to(self.dtype)

    def read(self, out: Tensor) -> None:
        """The weights, from wherever they wait, into a buffer of `elements` on the same device or on any."""
        if self.packed:
            assert self.packing is not None and self.buffer is not None
            self.packing.unpack(self.buffer.to(out.device), out)
        elif self.buffer is not None:
            out.copy_(self.buffer)
        else:
            for name, place in self.places.items():
                view, weight, factor = place.view(out), self._sources[name](), self.factors.get(name, 1.0)
                if self.packing is not None:
                    view.copy_(self.packing.round(name, weight.to(out.device).float() * factor))
                else:
                    view.copy_(weight)
                    if factor != 1:
                        view.mul_(factor)

    def write(self, buffer: Tensor) -> None:
        """The weights into a buffer in which they may wait: of `waiting_bytes` bytes, or of `elements`."""
        if self.packing is None or buffer.dtype != torch.uint8:
            self.read(buffer)
        elif self.packed:
            assert self.buffer is not None
            buffer.copy_(self.buffer)
        else:
            whole = torch.empty(self.elements, dtype=self.dtype) if self.buffer is None else self.buffer
            if self.buffer is None:
                self.read(whole)
            for name, place in self.places.items():
                self.packing.pack(name, place.view(whole), buffer)


class Streamer:
    """Lets streamed blocks compute: each is copied into a device buffer while the one before it computes.

    Two buffers, one stream of copies. Which block is next is learnt from the pass before, across steps too, so blocks
    may be called in any order and any number of times; one that was not foreseen is waited for. Nothing here makes the
    host wait for the device, except for a block that is read from files or that is not page-locked: the host reads it
    while the one before it computes. Use from one thread.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._groups: dict[str, list[Block]] = {}
        self._blocks: dict[int, Block] = {}  # by the id of the module, in the order of the groups
        self._hooks: list[Any] = []
        self._next: dict[int, int] = {}
        self._last: int | None = None
        self._buffers: list[_DeviceBuffer] = []
        self._unpacked: Tensor | None = None
        self._current: _DeviceBuffer | None = None  # in which the last block computed
        cuda: Any = torch.cuda  # untyped
        self._copies: Any = cuda.Stream(device) if device.type == "cuda" else None

    def stream(self, group: str, blocks: Iterable[Block]) -> None:
        """Stream exactly these blocks of a group, which wait in host memory or files; other groups stay as they are."""
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
        """Give the device buffers back until the next pass; the weights are seen where they wait."""
        for buffer in self._buffers:
            buffer.close()
        self._buffers.clear()
        self._last = self._current = self._unpacked = None
        for block in self._blocks.values():
            block.rest()

    def _begin(self, key: int) -> None:
        """Before a block computes: its copy is waited for (by the device), and the next one's is begun."""
        if not self._buffers:
            group = next(each for each in self._groups.values() if any(id(block.module) == key for block in each))
            largest = max(block.waiting_bytes for block in group)
            self._buffers = [_DeviceBuffer(largest, self.device, self._copies) for _ in range(2)]
        if self._last is not None:
            self._next[self._last] = key
        self._last = key
        here = next((buffer for buffer in self._buffers if buffer.holds == key), None)
        if here is None:
            here = next(buffer for buffer in self._buffers if buffer is not self._current)
            if self._blocks[key].waiting_bytes > len(here.tensor):  # whoever sees the smaller buffer would keep it
                for block in self._blocks.values():
                    block.rest()
            here.fill(self._blocks[key], key)
        here.acquire()
        self._current = here
        self._show(self._blocks[key], here)
        if self._blocks[self._next[key]].locked or self._copies is None:
            self._prefetch(key)

    def _show(self, block: Block, here: _DeviceBuffer) -> None:
        if block.packing is None:
            block.show(here.tensor[: block.bytes].view(self.dtype))
            return
        if block.packed_computes:
            block.show(here.tensor)
            return
        if self._unpacked is None:
            most = max(each.elements for each in self._blocks.values())
            self._unpacked = torch.empty(most, dtype=self.dtype, device=self.device)
        block.packing.unpack(here.tensor, self._unpacked)
        block.show(self._unpacked)

    def _prefetch(self, key: int) -> None:
        following = self._next[key]
        other = next(buffer for buffer in self._buffers if buffer is not self._current)
        block = self._blocks[following]
        # a larger one is of a ControlNet, which this picture may not have
        if following != key and other.holds != following and block.waiting_bytes <= len(other.tensor):
            other.fill(block, following)

    def _end(self, key: int) -> None:
        """After a block's kernels were launched: its buffer may be filled anew once they have run."""
        if self._current is not None and self._current.holds == key:
            self._current.release()
            if not self._blocks[self._next[key]].locked:
                self._prefetch(key)


class _DeviceBuffer:
    """One of the two. `holds`: the block that is in it or on its way."""

    def __init__(self, size: int, device: torch.device, copies: Any) -> None:
        self.tensor = torch.empty(size, dtype=torch.uint8, device=device)
        self.holds: int | None = None
        self._copies = copies
        self._staging: Tensor | None = None
        self._locked = False
        self._filled: Any = None
        self._computed: Any = None
        if copies is not None:
            cuda: Any = torch.cuda  # untyped
            self._filled, self._computed = cuda.Event(), cuda.Event()
            self._computed.record(torch.cuda.current_stream(device))

    def fill(self, block: Block, key: int) -> None:
        """Copy a block into it, once what computes with the former one is done."""
        self.holds = key
        if block.waiting_bytes > len(self.tensor):
            self.close()
            self._staging = None
            self.tensor = self.tensor.new_empty(0)  # first, so that there are never two
            self.tensor = self.tensor.new_empty(block.waiting_bytes)
        target = self.tensor[: block.waiting_bytes]
        if self._copies is None:
            block.write(target if block.packing else target.view(block.dtype))
            return
        source = block.buffer if block.buffer is not None else self._read(block)
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(self._computed)
            target.copy_(source.view(torch.uint8), non_blocking=True)
            self._filled.record(self._copies)

    def _read(self, block: Block) -> Tensor:
        """A block that is in files, in page-locked memory."""
        if self._staging is None:
            self._staging = torch.empty(len(self.tensor), dtype=torch.uint8)
            self._locked = lock(self._staging)
        self._filled.synchronize()  # the former one was copied from here
        found = self._staging[: block.waiting_bytes]
        block.write(found if block.packing else found.view(block.dtype))
        return found

    def acquire(self) -> None:
        """What computes from now on waits for the copy."""
        if self._copies is not None:
            torch.cuda.current_stream(self.tensor.device).wait_event(self._filled)

    def release(self) -> None:
        """What was launched until now is all that computes with it."""
        if self._copies is not None:
            self._computed.record(torch.cuda.current_stream(self.tensor.device))

    def close(self) -> None:
        """Wait until its copy and its computing are over, so that its memory can be given to others."""
        if self._copies is not None:
            self._filled.synchronize()
            self._computed.synchronize()
        if self._locked and self._staging is not None:
            unlock(self._staging)
            self._locked = False


def lock(buffer: Tensor) -> bool:
    """Lock host memory, from where a GPU copies while it computes. False where the system refuses.

    Registered rather than allocated as pinned: torch's allocator rounds up to powers of two (354 MB to 512), and
    filling first lets many threads touch the pages.
    """
    if int(_runtime().cudaHostRegister(buffer.data_ptr(), buffer.nbytes, 0)) == 0:
        return True
    with suppress(RuntimeError):  # the refusal, which CUDA would tell the next kernel instead
        torch.zeros(1, device="cuda")
    return False


def unlock(buffer: Tensor) -> None:
    """Undo `lock`; the device must not copy from it any more."""
    _runtime().cudaHostUnregister(buffer.data_ptr())


def _runtime() -> Any:
    """CUDA's runtime library."""
    cuda: Any = torch.cuda  # untyped
    return cuda.cudart()


def spread(count: int, resident: int) -> frozenset[int]:
    """Which of `count` blocks stay on the device when `resident` do: evenly, so that copies have time in between.

    One more is one more of them and moves no other: the first places of a van der Corput sequence (in base 2), whose
    gaps differ by a factor of two at most. Gaps that are as even as can be would save 2% of the time, in rare cases 5%,
    and move most blocks whenever a picture has another size.
    """
    bits = max(count - 1, 1).bit_length()
    halves = (int(f"{i:0{bits}b}"[::-1], 2) * count >> bits for i in range(1 << bits))
    return frozenset(list(dict.fromkeys(halves))[:resident])
