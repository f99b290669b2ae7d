"""Lets a network compute on two devices: what a block is given is brought to where its weights are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .transformer import States


class Crossing:
    """Brings what a module is given to the device on which it computes.

    What many blocks of a pass are given crosses once and is kept until the pass ends. The first argument, the hidden
    states, which no two of them share, is not kept.
    """

    def __init__(self) -> None:
        self._crossed: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def within(self, network: nn.Module) -> list[Any]:
        """Forget what crossed when a pass of the network begins and ends; returns the hooks' handles."""
        return [
            network.register_forward_pre_hook(lambda *_: self._crossed.clear()),
            network.register_forward_hook(lambda *_: self._crossed.clear()),
        ]

    def into(self, module: nn.Module, device: torch.device) -> Any:
        """Hook a module; returns the hook's handle."""

        def cross(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.device == device:
                return value
            key = id(value), device
            if key not in self._crossed:  # with the value itself, so that its id stays its own
                self._crossed[key] = value, value.to(device, non_blocking=True)
            return self._crossed[key][1]

        def before(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
            first = (
                each.to(device, non_blocking=True) if isinstance(each, Tensor | States) else each for each in given[:1]
            )
            return (*first, *map(cross, given[1:])), {name: cross(value) for name, value in named.items()}

        return module.register_forward_pre_hook(before, with_kwargs=True)
