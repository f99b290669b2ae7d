"""What an extension's code changes in torch rather than in its picture: set back after each call, and said.

A worker draws for hours. A number of threads or a default type that one stage leaves behind would change the pixels of
every later picture, or make it fail. The working folder and the output are left alone: no pixel depends on them, and in
a notebook's own process they are the notebook's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

Part = tuple[str, Callable[[], Any], Callable[[Any], object]]
"""A name, how it is read, and how it is set."""


@contextmanager
def contained(who: str, say: Callable[[str], object]) -> Iterator[None]:
    """Context manager around code of an extension: what it leaves changed is set back, and `say` hears of it.

    `who`: its name in that sentence. Takes some 20 microseconds. Does nothing where torch is not loaded before.
    """
    parts = _of_torch() if "torch" in sys.modules else ()
    before = [read() for _, read, _ in parts]
    try:
        yield
    finally:
        changed = []
        for (name, read, write), value in zip(parts, before, strict=True):
            if read() != value:
                write(value)
                changed.append(name)
        if changed:
            say(f"{who} changed {', '.join(changed)} of the process that draws; that was set back")


@cache
def _of_torch() -> tuple[Part, ...]:
    """Of what torch keeps for the whole process, that which pixels depend on."""
    import torch

    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return (
        ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        ("torch's default type", torch.get_default_dtype, torch.set_default_dtype),
        ("torch's default device", torch.get_default_device, _set_default_device),
        ("torch's gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        ("the precision of products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        ("deterministic algorithms", torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
        ("flash attention", cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        ("memory-efficient attention", cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        ("plain attention", cuda.math_sdp_enabled, cuda.enable_math_sdp),
        ("cuDNN's attention", cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        ("cuDNN", lambda: cudnn.enabled, lambda value: setattr(cudnn, "enabled", value)),
        ("cuDNN's search", lambda: cudnn.benchmark, lambda value: setattr(cudnn, "benchmark", value)),
    )


def _set_default_device(device: Any) -> None:
    import torch

    torch.set_default_device(None if device.type == "cpu" else device)  # None: as if it had never been set
