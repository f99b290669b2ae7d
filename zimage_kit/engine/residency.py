"""What holds memory on the device: components, LoRAs, ControlNets, networks of stages. Registered, counted, evicted.

Everything that stays on the device beyond one picture is entered here with its bytes; `unload` empties it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resident:
    """One thing on the device: what it is for ("model", "lora", "controlnet", "stage"), its bytes, how to free it."""

    name: str
    kind: str
    value: Any
    bytes: int
    free: Callable[[], None]


_WORDS = {"controlnet": "the ControlNet", "lora": "a LoRA", "stage": "the network of a stage"}


class Residency:
    """By name, least recently used first. Used by the thread that draws; `entries` may be asked from any thread."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Resident] = OrderedDict()
        self._snapshot: tuple[Resident, ...] = ()

    @property
    def entries(self) -> tuple[Resident, ...]:
        """What is held now, least recently used first."""
        return self._snapshot

    @property
    def bytes(self) -> int:
        """Of everything that is held."""
        return sum(each.bytes for each in self._snapshot)

    def get(self, name: str) -> Any | None:
        """What is held under this name, which counts as a use; None where nothing is."""
        found = self._held.get(name)
        if found is not None:
            self._held.move_to_end(name)
            self._snapshot = tuple(self._held.values())
        return None if found is None else found.value

    def put(self, name: str, kind: str, value: Any, size: int, free: Callable[[], None] = lambda: None) -> None:
        """Enter what has just come onto the device. `free` takes it off again and drops every reference to it."""
        self.drop(name)
        self._held[name] = Resident(name, kind, value, size, free)
        self._snapshot = tuple(self._held.values())

    def drop(self, name: str) -> bool:
        """Free one thing. False: it is not held. Raises what its own `free` raises, once it is no longer entered."""
        found = self._held.pop(name, None)
        self._snapshot = tuple(self._held.values())
        if found is None:
            return False
        found.free()
        return True

    def make_room(self, needed: int, free: Callable[[], int], keep: frozenset[str] = frozenset()) -> list[str]:
        """Evict, least recently used first, until `free()` bytes are at least `needed`; returns what went, in words.

        The model itself and what is named in `keep` stay.
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
        """Free everything, what came last first. What fails to free itself does not keep the rest from it."""
        problems = []
        for name in [each.name for each in reversed(self._snapshot)]:
            try:
                self.drop(name)
            except Exception as error:  # all are tried before the first problem is told
                problems.append(error)
        if problems:
            raise problems[0]
