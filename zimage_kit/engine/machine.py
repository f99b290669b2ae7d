"""The machine as torch sees it: the facts that a plan is made of."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import lru_cache

import torch

from .cards import EFFICIENCY, card_of
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
    first = device.partition(",")[0].strip()
    if first == AUTO:
        first = "cuda" if count else "mps" if found.mps else "cpu"
    compute_rate, copy_rate = _rates(first)
    return replace(found, compute_rate=compute_rate, copy_rate=copy_rate)


@lru_cache(maxsize=8)
def _rates(device: str) -> tuple[float, float]:
    """Operations a second, and bytes a second from RAM: by a CUDA card's name, else of a product that is tried here."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        try:
            card = card_of(torch.cuda.get_device_name(device), 0.0)
        except (AssertionError, RuntimeError):  # no such card; `plan` says so
            return 0.0, 0.0
        return card.tflops * 1e12 * EFFICIENCY, card.copy_rate
    return (measured_rate(kind), 0.0) if kind in ("cpu", "mps") else (0.0, 0.0)


def measured_rate(device: str, side: int = 1024) -> float:
    """Operations a second of a matrix product on "cpu" (float32) or "mps" (bfloat16); takes a tenth of a second."""
    numbers = torch.ones(side, side, dtype=torch.bfloat16 if device == "mps" else torch.float32, device=device)
    seconds = []
    for _ in range(3):  # the first is slower
        begin = time.perf_counter()
        float((numbers @ numbers)[0, 0])  # waits for it
        seconds.append(time.perf_counter() - begin)
    return 2 * side**3 / min(seconds)


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
