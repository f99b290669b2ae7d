"""Measures device memory and time, frees memory, and recognises out-of-memory errors.

torch is imported only for a GPU, or where it is imported already.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from ..errors import OutOfMemory, printable
from . import gpus


class Profiler:
    """Milliseconds and peak bytes of the named parts of one job, in the order in which they ended."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self.peak_bytes: dict[str, int] = {}
        self._peaks: list[int] = []
        self._inside = ""

    @contextmanager
    def part(self, name: str, device: Callable[[], str]) -> Iterator[None]:
        """Measure what runs inside; waits for the device at both ends (`device` may be known only at the end).

        Parts may be nested; an outer part's peak is at least that of its inner ones.
        """
        name, inner = self._inside + name, len(self._peaks)
        reset_peak(device())
        begin = time.perf_counter()
        try:
            yield
        finally:
            synchronize(device())
            self.milliseconds[name] = round((time.perf_counter() - begin) * 1e3, 3)
            self.peak_bytes[name] = max(peak(device()), *self._peaks[inner:], 0)
            self._peaks.append(self.peak_bytes[name])

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Prefix the names of parts measured inside with `name: `."""
        before, self._inside = self._inside, f"{self._inside}{name}: "
        try:
            yield
        finally:
            self._inside = before


def synchronize(device: str) -> None:
    """Wait until a GPU has finished its queued work."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    elif device == "mps":
        import torch

        torch.mps.synchronize()


def reset_peak(device: str) -> None:
    """Reset the peak on CUDA; a process's high-water mark, used elsewhere, cannot be reset."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: str) -> int:
    """Bytes: CUDA's peak of allocated memory since `reset_peak`, else the process's high-water mark (0: unknown)."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def allocated(device: str) -> int:
    """Bytes that torch holds on a GPU now; 0 on a CPU, where nothing is counted."""
    if "torch" not in sys.modules:
        return 0
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.memory_allocated(device))
    return int(torch.mps.current_allocated_memory()) if device == "mps" else 0


def free_memory(device: str) -> int:
    """Bytes that can still be allocated: on CUDA including torch's own reserve, else the machine's available memory."""
    if device.startswith("cuda"):
        import torch

        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserve)
    return int(psutil.virtual_memory().available)


def held_by_others(device: str) -> str:
    """Which other programs hold memory of a CUDA card, as sentences; "" for none, and for other devices."""
    if not device.startswith("cuda"):
        return ""
    import torch

    return gpus.held_by_others(str(getattr(torch.cuda.get_device_properties(device), "uuid", "")))


def limit_memory(device: str, most: int | None) -> None:
    """Let torch hold at most so many bytes on a CUDA card (None: all): beyond, it gives back what it has set aside."""
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(1.0 if most is None else max(0.01, min(1.0, most / total)), device)


def device_fault(device: str) -> str:
    """Why this process cannot use a GPU any more, or "". After some CUDA errors every further call fails."""
    try:
        synchronize(device)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return ""


def release(device: str) -> None:
    """Return freed memory to the system."""
    gc.collect()
    if sys.platform == "linux":
        # glibc keeps freed memory for reuse; on a CPU that is most of a model
        with suppress(AttributeError):  # another C library has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
    if "torch" not in sys.modules:
        return
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


_MEMORY_RAN_OUT = re.compile(
    r"allocat\w* memory|DefaultCPUAllocator|not enough memory|out of memory|CU\w+_STATUS_ALLOC_FAILED", re.IGNORECASE
)
"""Messages of torch's allocators, CUDA, MPS, cuBLAS and cuDNN; not all of them raise OutOfMemoryError."""


def out_of_memory(error: BaseException, device: str, request: str) -> OutOfMemory | None:
    """Our OutOfMemory if this error means that memory ran out, else None. `request` says for what, in a few words."""
    if not means_out_of_memory(error):
        return None
    facts: dict[str, Any] = {"device": device}
    if device.startswith("cuda"):
        import torch

        facts["free_bytes"], facts["total_bytes"] = torch.cuda.mem_get_info(device)
    mend = "Use a smaller size or close other programs that use this device; the session stays usable."
    free = f" ({facts['free_bytes'] / 1e9:.1f} GB free)" if "free_bytes" in facts else ""
    return OutOfMemory(
        f"{device} ran out of memory{free} for {request}",
        mend=f"{mend} {held_by_others(device)}".strip(),
        **facts,
    )


def means_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library says that memory ran out."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    if "torch" not in sys.modules or not isinstance(error, RuntimeError):
        return False
    import torch

    return isinstance(error, torch.OutOfMemoryError) or bool(_MEMORY_RAN_OUT.search(printable(error)))
