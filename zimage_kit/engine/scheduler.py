"""The scheduler: noise levels, shifted as the model's configuration says, and Euler's step between two of them.

Bit-equal to diffusers' FlowMatchEulerDiscreteScheduler (0.42) where that has no other spacing set; see `known`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

_OTHERS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "stochastic_sampling", "invert_sigmas")
_DEFAULTS: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "shift_terminal": None,
    "time_shift_type": "exponential",
    "use_dynamic_shifting": False,
}


def known(configuration: Mapping[str, Any]) -> bool:
    """Whether a scheduler's configuration asks for no more than is here."""
    return not any(configuration.get(name) for name in _OTHERS)


class Scheduler:
    """For one picture at a time; called like diffusers' own.

    `sigmas`: the picture's noise levels and a 0 behind them; `timesteps`: the levels times 1000.
    """

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self.config = {**_DEFAULTS, **configuration}
        self.sigmas, self.timesteps = torch.zeros(1), torch.zeros(0)
        self._step = 0

    def set_timesteps(self, sigmas: Sequence[float], mu: float, device: torch.device) -> None:
        """Take the levels before their shift; `mu` is the shift where it depends on the picture's size."""
        config = self.config
        levels: Any = numpy.array(sigmas, dtype=numpy.float32)
        if not config["use_dynamic_shifting"]:
            levels = config["shift"] * levels / (1 + (config["shift"] - 1) * levels)
        elif config["time_shift_type"] == "exponential":
            levels = math.exp(mu) / (math.exp(mu) + (1 / levels - 1))
        else:
            levels = mu / (mu + (1 / levels - 1))
        if config["shift_terminal"]:  # the last level is this one
            rest = 1 - levels
            levels = 1 - rest / (rest[-1] / (1 - config["shift_terminal"]))
        shifted = torch.from_numpy(levels).to(device, torch.float32)
        self.timesteps = shifted * config["num_train_timesteps"]
        self.sigmas, self._step = torch.cat([shifted, shifted.new_zeros(1)]), 0

    def set_begin_index(self, begin: int) -> None:
        """Begin at this level."""
        self._step = begin

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """The sample with noise at the present level."""
        sigma = self.sigmas.to(sample.device, sample.dtype)[self._step]
        return sigma * noise + (1.0 - sigma) * sample

    def step(self, velocity: Tensor, timestep: Tensor, sample: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        """The sample at the next level, in the velocity's type."""
        now, after = self.sigmas[self._step : self._step + 2]
        self._step += 1
        return ((sample.float() + (after - now) * velocity).to(velocity.dtype),)
