"""Keeps account of device memory: the model, LoRAs, ControlNets and networks of stages, counted and evicted.

Everything that stays on the device beyond one picture is registered here with its bytes; `unload` frees it all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resident:
    """One entry: its kind ("model", "lora", "controlnet", "stage", "graph"), its bytes, and how to free it."""

    name: str
    kind: str
    value: Any
    bytes: int
    free: Callable[[], None]


_WORDS = {
    "controlnet": "the ControlNet",
    "lora": "a LoRA",
    "stage": "the network of a stage",
    "graph": "the layers' graph",
}


class Residency:
    """The entries by name, least recently used first. For the engine's thread; `entries` may be read from any."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Resident] = OrderedDict()
        self._snapshot: tuple[Resident, ...] = ()

    @property
    def entries(self) -> tuple[Resident, ...]:
        """The current entries, least recently used first."""
        return self._snapshot

    @property
    def bytes(self) -> int:
        """The bytes of all entries."""
        return sum(each.bytes for each in self._snapshot)

    def get(self, name: str) -> Any | None:
        """The value under this name, or None. Counts as a use."""
        found = self._held.get(name)
        if found is not None:
            self._held.move_to_end(name)
            self._snapshot = tuple(self._held.values())
        return None if found is None else found.value

    def put(self, name: str, kind: str, value: Any, size: int, free: Callable[[], None] = lambda: None) -> None:
        """Register what was just loaded; replaces an entry of the same name. `free` drops every reference to it.

        The same value again is not freed: it has other bytes now.
        """
        if name not in self._held or self._held[name].value is not value:
            self.drop(name)
        self._held[name] = Resident(name, kind, value, size, free)
        self._snapshot = tuple(self._held.values())

    def drop(self, name: str) -> bool:
        """Free one entry. False: there is none. Raises what its `free` raises, after removing the entry."""
        found = self._held.pop(name, None)
        self._snapshot = tuple(self._held.values())
        if found is None:
            return False
        found.free()
        return True

    def make_room(self, needed: int, free: Callable[[], int], keep: frozenset[str] = frozenset()) -> list[str]:
        """Evict, least recently used first, until `free()` bytes are at least `needed`. Returns what went, in words.

        The model and the names in `keep` stay.
        """
        gone: list[str] = []
        for each in self._snapshot:
            if free() >= needed:
                break
            if each.kind != "model" and each.name not in keep:
                self.drop(each.name)
                gone.append(_WORDS.get(each.kind, each.name))
        return gone

    def clear(self) -> None:
        """Free everything, most recently used first. If some fail, the rest is freed all the same; raises the first."""
        problems = []
        for name in [each.name for each in reversed(self._snapshot)]:
            try:
                self.drop(name)
            except Exception as error:  # raised after all were tried
                problems.append(error)
        if problems:
            raise problems[0]
