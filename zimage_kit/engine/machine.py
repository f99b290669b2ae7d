"""The machine as torch sees it: the facts that a plan is made of."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import lru_cache

import torch

from .gpus import used_memory
from .memory import allocated, free_memory
from .needs import CONTEXT_BYTES, Machine
from .settings import AUTO


def machine(device: str = AUTO) -> Machine:
    """What this machine offers now, asked of torch; free memory is that of the CUDA device which `device` means."""
    if sys.platform == "linux":  # read once, before the first allocation: whole gaps can be given back
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = Machine(
        cuda_devices=count,
        cuda_bfloat16=count > 0 and torch.cuda.is_bf16_supported(including_emulation=False),
        mps=torch.backends.mps.is_available(),
        cuda_capability=".".join(map(str, torch.cuda.get_device_capability(0))) if count else "",
        host_bytes=free_memory("cpu"),
    )
    free = [facts for part in device.split(",") if (facts := _free(part.strip(), count))]
    if free:
        found = replace(found, free_bytes=free[0][0], context_bytes=free[0][1])
    if len(free) > 1:
        found = replace(found, second_free_bytes=free[1][0], second_context_bytes=free[1][1])
    return found


def _free(device: str, count: int) -> tuple[int, int] | None:
    """Of a CUDA card: what a plan may use, and of that its context's; None for another device."""
    kind, _, number = device.partition(":")
    card = f"cuda:{number or 0}"
    if kind not in (AUTO, "cuda") or not (number or "0").isdecimal() or int(number or 0) >= count:
        return None
    context = _context_bytes(card)
    return context + free_memory(card) + allocated(card), context


@lru_cache(maxsize=8)
def _context_bytes(card: str) -> int:
    """What this process's CUDA context takes, by how the memory in use changes when it begins."""
    before = used_memory()
    torch.zeros(1, device=card)
    after = used_memory()
    if before is None or after is None:
        return CONTEXT_BYTES
    return min(max(after - before - torch.cuda.memory_reserved(card), CONTEXT_BYTES // 3), 3 * CONTEXT_BYTES)
