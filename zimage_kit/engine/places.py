"""Where a plan keeps each network's weights, and in what type."""

from __future__ import annotations

import torch

from .blocks import spread
from .controlnet import NAME as CONTROLNET
from .load import Home, Keeping
from .plan import Plan


def keeping(plan: Plan, component: str) -> Keeping:
    """How a component's weights are kept: the autoencoder in float32 where the others are in float16, and as it is."""
    wide = component == "vae" and plan.dtype == "float16"
    fast = plan.speed == "fast"
    packed = plan.precision if component == "transformer" or not fast else ""
    device, second = torch.device(plan.device), torch.device(plan.second) if plan.second else None
    return Keeping(
        second if second is not None and component in ("text_encoder", "vae") else device,
        torch.float32 if wide else getattr(torch, plan.dtype),
        second,
        packed,
        fast and component == "transformer",
        plan.pinned,
        copies=plan.pinned and device.type == "cuda",
    )


def homes(plan: Plan, component: str, count: int) -> tuple[Home, ...]:
    """Where each of a component's `count` blocks is."""
    waits: Home = "files" if plan.mapped else "host"
    if component == "transformer":
        first = count - plan.second_blocks
        resident = spread(first, first - plan.streamed_blocks)
        return tuple("second" if i >= first else "device" if i in resident else waits for i in range(count))
    streamed = {"text_encoder": plan.encoder, CONTROLNET: plan.controlnet}.get(component) == "streamed"
    return tuple(waits if streamed else "device" for _ in range(count))
