"""What every piece of training shares: clock and learning rate, files and log, Muon, and an average of the weights."""

from __future__ import annotations

import copy
import functools
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SEED = 20261121


@dataclass
class Setup:
    """One run of a piece. Files go to `state`; `seconds` is this run's time, `total` the whole schedule's.

    `batch` and `rate` (the peak learning rate) are None for the piece's own.
    """

    state: Path
    seconds: float
    total: float
    workers: int
    compiled: bool
    device: torch.device
    batch: int | None = None
    rate: float | None = None

    def note(self, piece: str, **facts: Any) -> None:
        """Print one line of the log and append it to `log.jsonl`."""
        line = {"piece": piece, **{k: round(v, 5) if isinstance(v, float) else v for k, v in facts.items()}}
        print(json.dumps(line), flush=True)
        with (self.state / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Write a checkpoint so that a broken run leaves the previous one whole."""
        target = self.state / f"{name}.pt"
        torch.save(content, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)

    def load(self, name: str) -> dict[str, Any] | None:
        """Return a checkpoint on the CPU, or None where there is none."""
        path = self.state / f"{name}.pt"
        return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def quick_norms(module: nn.Module) -> None:
    """Let one-group GroupNorms reduce with many blocks a picture; PyTorch's own kernel takes one block a group."""
    for part in module.modules():
        if isinstance(part, nn.GroupNorm) and part.num_groups == 1:
            part.forward = functools.partial(_one_group, part)  # type: ignore[method-assign]


def _one_group(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x.float(), (1, 2, 3), correction=0, keepdim=True)
    scale = norm.weight[:, None, None] * (variance + norm.eps).rsqrt()
    return ((x - mean) * scale + norm.bias[:, None, None]).to(x.dtype)


class Clock:
    """Time as the schedule's measure: `progress` runs from 0 to 1 over `total` seconds, across runs.

    The clock starts with the first `tick`, so that compiling and the first scenes do not count.
    """

    def __init__(self, setup: Setup, done: float = 0.0) -> None:
        self.setup, self.before = setup, done
        self.started: float | None = None

    def tick(self) -> bool:
        """Tell whether there is time for another step."""
        if self.started is None:
            self.started = time.monotonic()
        return self.spent < self.setup.seconds and self.progress < 1

    @property
    def spent(self) -> float:
        """Seconds since the first `tick` of this run."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    @property
    def done(self) -> float:
        """Seconds of the whole schedule that are behind us."""
        return self.before + self.spent

    @property
    def progress(self) -> float:
        """The share of the whole schedule that is behind us, 0 to 1."""
        return min(1.0, self.done / self.setup.total)

    def rate(self, peak: float, floor: float = 0.02, warmup: float = 0.02) -> float:
        """Return a learning rate: linear warm-up, then a cosine down to `floor` of the peak."""
        p = self.progress
        if p < warmup:
            return peak * max(p, 1e-4) / warmup
        return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (p - warmup) / (1 - warmup))))


class Average:
    """An exponential moving average of a module's weights, in a copy that can be evaluated."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.live: list[Tensor] = list(module.parameters())
        self.kept: list[Tensor] = list(self.module.parameters())
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the live weights; the first steps move faster, so that random weights are soon forgotten."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.kept, self.live, 1 - decay)


class Muon:
    """Muon (Jordan et al. 2024): momentum made orthogonal by five Newton-Schulz steps, all matrices of a shape at once.

    A convolution counts as the matrix (out, in x height x width). The update is scaled by 0.2 sqrt(longer side), so
    that AdamW's learning rates fit.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], momentum: float = 0.95) -> None:
        self.momentum = momentum
        self.groups: dict[tuple[int, int], list[nn.Parameter]] = {}
        for p in parameters:
            self.groups.setdefault((p.shape[0], p[0].numel()), []).append(p)
        self.buffers = {shape: torch.zeros(len(ps), *shape, device=ps[0].device) for shape, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every matrix that has a gradient."""
        for shape, parameters in self.groups.items():
            present = [i for i, p in enumerate(parameters) if p.grad is not None]
            if not present:
                continue
            grad = torch.stack([parameters[i].grad.reshape(shape).float() for i in present])  # type: ignore[union-attr]
            buffer = self.buffers[shape]
            chosen = buffer[present].lerp_(grad, 1 - self.momentum)
            buffer[present] = chosen
            update = _orthogonal(grad.lerp(chosen, self.momentum))
            scale = -rate * 0.2 * max(shape) ** 0.5
            for i, j in enumerate(present):
                parameters[j].add_(update[i].reshape(parameters[j].shape), alpha=scale)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the momenta, by the matrices' shape."""
        return {f"{a}x{b}": buffer for (a, b), buffer in self.buffers.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the momenta back."""
        for (a, b), buffer in self.buffers.items():
            buffer.copy_(state[f"{a}x{b}"])


def _orthogonal(g: Tensor) -> Tensor:
    """Return the nearest semi-orthogonal matrices, roughly: a quintic Newton-Schulz iteration in bfloat16."""
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    out: Tensor = (x.mT if tall else x).float()
    return out


class Pair:
    """Muon for the hidden matrices and AdamW for everything else, stepped together."""

    def __init__(
        self, matrices: list[nn.Parameter], rest: list[nn.Parameter], betas: tuple[float, float] = (0.9, 0.98)
    ) -> None:
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(rest, lr=1e-3, betas=betas, weight_decay=0.0, fused=rest[0].is_cuda)
        self.all = matrices + rest

    def step(self, rate: float, adam_rate: float | None = None, clip: float = 1.0) -> None:
        """Clip the gradients' norm, move all parameters and drop their gradients; one rate serves both by default."""
        torch.nn.utils.clip_grad_norm_(self.all, clip)
        self.muon.step(rate)
        for group in self.adam.param_groups:
            group["lr"] = rate if adam_rate is None else adam_rate
        self.adam.step()
        for p in self.all:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state of both back."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
