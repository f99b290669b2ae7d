"""Plans where a model goes, from the machine, the model's size and the settings. Pure functions.

A plan is made for each model and picture size, so that nothing is fixed for the whole process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import BadRequest, OutOfMemory
from ..text.units import gigabytes
from .settings import AUTO, Settings

WORKING_BYTES = 2500
"""Bytes for each pixel, beside the weights: the VAE's decoder in bfloat16 (2.6 GB at 1024x1024, measured)."""


@dataclass(frozen=True)
class Machine:
    """The devices that torch found: CUDA devices, whether they compute in bfloat16 natively, and Apple's GPU.

    `cuda_capability`: the compute capability of the first CUDA device, such as "9.0".
    """

    cuda_devices: int = 0
    cuda_bfloat16: bool = False
    mps: bool = False
    cuda_capability: str = ""


@dataclass(frozen=True)
class Plan:
    """Where a model goes, in what precision, and the memory that it takes there.

    `device` ("cpu", "cuda:0", "mps"), `device_class` (what pixels depend on: "cpu", "cuda 9.0", "mps"), `dtype`
    (torch's name), `placement` ("resident": all of it on the device), `weight_bytes` and the predicted `peak_bytes` for
    one picture. `notes` are sentences for the trace about what was chosen for the user.
    """

    device: str
    dtype: str
    device_class: str = ""
    placement: str = "resident"
    speed: str = "stock"
    weight_bytes: int = 0
    peak_bytes: int = 0
    notes: tuple[str, ...] = ()


def plan(
    machine: Machine,
    parameters: Mapping[str, int] | None = None,
    size: tuple[int, int] = (0, 0),
    settings: Settings | None = None,
) -> Plan:
    """Plan for a model with this many `parameters` by component (None: no model) and a picture of `size` pixels.

    float32 on a CPU (bit-equal to stock diffusers), bfloat16 on a GPU; float16 is not offered, since Z-Image's
    activations overflow in it. Raises BadRequest for a missing device, and OutOfMemory if the model exceeds the memory
    limit.
    """
    settings = settings or Settings()
    device = _device(machine, settings.device)
    kind = device.partition(":")[0]
    notes: tuple[str, ...] = ()
    dtype: str = settings.dtype
    if dtype == AUTO:
        dtype = "float32" if kind == "cpu" or (kind == "cuda" and not machine.cuda_bfloat16) else "bfloat16"
        if kind == "cuda" and dtype == "float32":
            notes = (f"{device} has no bfloat16, so float32 is used, with twice the memory",)
    weights = sum((parameters or {}).values()) * (4 if dtype == "float32" else 2)
    peak = weights + size[0] * size[1] * WORKING_BYTES * (2 if dtype == "float32" else 1)
    cap = settings.memory_bytes
    if parameters and cap is not None and peak > cap:
        raise OutOfMemory(
            f"the model needs {gigabytes(peak)} in {dtype} for {size[0]}x{size[1]}, but memory={settings.memory}",
            mend="Allow more memory, use a smaller size, or leave memory out.",
            device=device,
            bytes=peak,
        )
    return Plan(
        device=device,
        dtype=dtype,
        device_class=f"cuda {machine.cuda_capability}".strip() if kind == "cuda" else kind,
        weight_bytes=weights,
        peak_bytes=peak if parameters else 0,
        notes=notes,
    )


def _device(machine: Machine, wanted: str) -> str:
    """The requested device with its number; for "auto" the best available one."""
    device = wanted
    if wanted == AUTO:
        device = "cuda" if machine.cuda_devices else "mps" if machine.mps else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cuda":
        device = f"cuda:{index or 0}"
    available = ["cpu", *(f"cuda:{i}" for i in range(machine.cuda_devices)), *(["mps"] if machine.mps else [])]
    if device not in available:
        mend = "Use one of these, or leave it out for the best one."
        raise BadRequest(f"device={device!r}", expected=" or ".join(available), mend=mend)
    return device
