"""NVIDIA GPUs through NVML: memory, temperature, and the processes that use them. No torch, no CUDA context."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from ..text.units import gigabytes

_MUCH = 100_000_000
"""Bytes of a card that are worth a word."""


@dataclass(frozen=True)
class Holder:
    """A process with memory on a GPU: its id, its command, bytes (0 where the driver does not report them)."""

    pid: int
    command: str
    bytes: int


@dataclass(frozen=True)
class Gpu:
    """One GPU. Memory in bytes; `temperature` in °C, `power` in watts, `clock` in MHz, None where not reported.

    `bfloat16`: whether its generation (Ampere and later) computes in it. `host`: its machine's name. `uuid`: as the
    driver tells it, which is how torch's devices are found here.
    """

    index: int
    name: str
    driver: str
    total: int
    used: int
    bfloat16: bool
    holders: tuple[Holder, ...]
    temperature: int | None = None
    power: float | None = None
    host: str = ""
    uuid: str = ""
    clock: int | None = None


def list_gpus() -> tuple[list[Gpu], str]:
    """The GPUs, and the reason if there are none. Never raises."""
    if importlib.util.find_spec("pynvml") is None:
        return [], "unknown: the package nvidia-ml-py is missing"
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"none found ({error})"
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        found = [_gpu(pynvml, index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return [], f"the driver cannot list its cards ({error})"
    finally:
        pynvml.nvmlShutdown()
    return found, "" if found else "the driver lists none"


def computes_in_bfloat16() -> bool:
    """Whether plans for this machine compute in bfloat16 by default, as far as can be told without torch."""
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return apple or any(gpu.bfloat16 for gpu in list_gpus()[0])


def held_by_others(uuid: str) -> str:
    """Who else holds much of a card, as sentences for an error; "" where nobody does or the driver does not tell.

    `uuid` as torch tells it; without one, of the only card.
    """
    found, _ = list_gpus()
    cards = [gpu for gpu in found if uuid and gpu.uuid.endswith(uuid)] or (found if len(found) == 1 else [])
    others = [each for gpu in cards for each in gpu.holders if each.pid != os.getpid() and each.bytes >= _MUCH]
    others.sort(key=lambda each: -each.bytes)
    told = [f"{each.command} (pid {each.pid}) holds {gigabytes(each.bytes)} of it." for each in others[:3]]
    return " ".join(told)


def used_memory() -> int | None:
    """Bytes in use on all cards together, by whomever; None where the driver does not tell."""
    found, _ = list_gpus()
    return sum(gpu.used for gpu in found) if found else None


def _gpu(nvml: Any, index: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, _ = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    running = _query(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    power = _query(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle))  # milliwatts
    return Gpu(
        index,
        str(nvml.nvmlDeviceGetName(handle)),
        driver,
        memory.total,
        memory.used,
        major >= 8,
        holders=tuple(Holder(p.pid, _command(p.pid), p.usedGpuMemory or 0) for p in running),
        temperature=_query(nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        power=None if power is None else round(power / 1e3, 1),
        clock=_query(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        host=platform.node(),
        uuid=str(_query(nvml, lambda: nvml.nvmlDeviceGetUUID(handle)) or ""),
    )


def _query(nvml: Any, ask: Callable[[], Any]) -> Any:
    """The answer, or None: some cards and drivers do not report everything."""
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _command(pid: int) -> str:
    """The start of a process's command line: `python -m ipykernel_launcher`."""
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return "another user's process"
    return " ".join([words[0].rsplit("/", 1)[-1], *words[1:3]]) if words else "process"
