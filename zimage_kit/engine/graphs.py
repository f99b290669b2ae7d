"""The layers of small pictures as CUDA graphs: one launch where there are a thousand.

A processor takes 25 to 40 ms to launch the layers one by one, whatever the picture's size. A Hopper card computes them
for 512x512 in 15 to 20. A graph keeps what was launched, with the addresses of all it reads and writes; so what changes
is copied to where the graph expects it, and a graph is used for its own weights only. Bit-equal to launching (nano's
layers; those of the real size were not compared).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from .adapters import adapters_of, low_rank
from .memory import means_out_of_memory
from .needs import HIDDEN_STATES, WORKSPACE_BYTES
from .plan import Plan
from .residency import Residency
from .transformer import Modulation, States

_MOST_TOKENS = 3072
"""Beyond, the card takes longer than launching does."""
_MOST = 8
"""Graphs that are kept. They share memory for what a pass needs; each has its own for what it is given."""
NAME = "graphs"

Key = tuple[Any, ...]


class Graphs:
    """The graphs of one model's layers on a device. Use from one thread.

    `problem`: why there are none ("": nothing is wrong).
    """

    def __init__(self, device: str, residency: Residency) -> None:
        self.problem = ""
        self._device, self._residency = torch.device(device), residency
        self._room, self._weights = 0, None  # type: int, Key | None
        self._kept: OrderedDict[Key, _Graph] = OrderedDict()
        self._launched: Key | None = None
        self._pool: Any = None
        self._stream: Any = None

    def within(self, plan: Plan) -> Graphs | None:
        """These, for a picture with this plan; None where its layers are launched."""
        if self._device.type != "cuda" or plan.streamed_blocks or plan.second or self.problem:
            return None
        self._room = 1 << 62 if plan.room_bytes is None else plan.room_bytes - plan.peak_bytes
        self._weights = None
        return self

    def run(self, layers: Sequence[Any], states: States) -> States:
        """The states behind the layers. What is returned is overwritten by the next call.

        The first pass of its kind is launched, which loads every kernel; the second makes the graph.
        """
        tokens, dtype = [len(each) for each in states.hidden], states.hidden[0].dtype
        if sum(tokens) >= _MOST_TOKENS or self.problem:
            return launched(layers, states)
        if self._weights is None:  # they stay where they are while a picture is drawn
            self._weights = addresses(layers)
        if not self._weights:
            return launched(layers, states)
        key = (*tokens, dtype, *self._weights)
        if key not in self._kept and (key != self._launched or not self._make(key, layers, states)):
            self._launched = key
            return launched(layers, states)
        self._kept.move_to_end(key)
        self._residency.get(NAME)
        return self._kept[key].run(layers, states)

    def free(self) -> None:
        """Give their memory back."""
        self._kept.clear()
        self._launched = self._pool = None

    def _make(self, key: Key, layers: Sequence[Any], states: States) -> bool:
        """Keep the graph of this pass. False: there is no room for it, or it cannot be made."""
        hidden = sum(each.nbytes for each in states.hidden)
        own = 2 * hidden  # what it is given; rotations and weights are less than hidden states
        if round(HIDDEN_STATES * hidden) + own + WORKSPACE_BYTES > self._room:
            return False
        while len(self._kept) >= _MOST:
            self._kept.popitem(last=False)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        before = torch.cuda.memory_reserved(self._device)
        try:
            self._kept[key] = _Graph(layers, states, self._pool, self._stream)
        except Exception as error:
            if means_out_of_memory(error):
                self._room = 0
            else:  # drawing goes on without, and says so
                self.problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self._residency.drop(NAME)
            self.free()
            return False
        taken = max(0, torch.cuda.memory_reserved(self._device) - before)
        held = next((each.bytes for each in self._residency.entries if each.name == NAME), 0)
        self._residency.put(NAME, "graph", self, held + taken, self.free)
        return True


def launched(layers: Sequence[Any], states: States) -> States:
    """The states behind the layers, one launched after the other."""
    for block in layers:
        states = block(states)
    return states


def addresses(layers: Sequence[Any]) -> Key:
    """Where everything lies that the layers compute with, and LoRAs' factors; nothing with LoRAs of other kinds."""
    found: list[Any] = []
    for block in layers:
        heads, wide = block.attention, block.feed_forward
        norms = (heads.norm_q, heads.norm_k)  # the others' weights are given to a graph
        if any(adapters_of(norm) for norm in norms):
            return ()
        found.append(heads.norm_q.weight.data_ptr())
        for layer in (heads.to_q, heads.to_k, heads.to_v, heads.to_out[0], wide.w1, wide.w2, wide.w3):
            added, weight = low_rank(layer), layer.weight
            if added is None:
                return ()
            found.append(weight.eight.numbers.data_ptr() if hasattr(weight, "eight") else weight.data_ptr())
            found += ((down.data_ptr(), up.data_ptr(), len(down), factor) for down, up, factor in added)
    return tuple(found)


class _Graph:
    """One pass through the layers, from `hidden`, `rotations` and the norms' weights to `hidden`."""

    def __init__(self, layers: Sequence[Any], states: States, pool: Any, stream: Any) -> None:
        self._hidden = tuple(torch.empty_like(each) for each in states.hidden)
        self._rotations = tuple(torch.empty_like(each) for each in states.rotations)
        dim = states.hidden[0].shape[-1]
        device = states.hidden[0].device
        self._weights = torch.empty((len(layers), 4, dim), dtype=torch.float32, device=device)
        assert states.modulation is not None
        modulation = Modulation.given(states.modulation.embeddings, layers, self._weights)
        given = replace(states, hidden=self._hidden, rotations=self._rotations, modulation=modulation)
        self._graph: Any = torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            torch.mm(*states.hidden[0].new_zeros((2, 16, 16)))  # cuBLAS's workspace is not of the pool
            self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                for kept, made in zip(self._hidden, launched(layers, given).hidden, strict=True):
                    kept.copy_(made)
            except BaseException:
                with suppress(RuntimeError):  # what ended the capture is told
                    self._graph.capture_end()
                raise
            self._graph.capture_end()
        torch.cuda.current_stream(device).wait_stream(stream)

    def run(self, layers: Sequence[Any], states: States) -> States:
        """The states behind the layers, in memory that the next call overwrites."""
        assert states.modulation is not None
        pairs = zip((*self._hidden, *self._rotations), (*states.hidden, *states.rotations), strict=True)
        for kept, given in pairs:
            kept.copy_(given)
        torch.stack([states.modulation.weights(block) for block in layers], out=self._weights)
        self._graph.replay()
        return replace(states, hidden=self._hidden)
