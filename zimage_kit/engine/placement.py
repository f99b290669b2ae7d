"""Placement: from what the machine has to where the model goes. Pure: facts in, plan out, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BadRequest

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Machine:
    """What was found: CUDA devices, whether they compute in bfloat16 natively, Apple's GPU."""

    cuda_devices: int = 0
    cuda_bfloat16: bool = False
    mps: bool = False


@dataclass(frozen=True)
class Placement:
    """Where the model goes: `device` ("cpu", "cuda:0", "mps"), `dtype` (a name of torch's), what was chosen and why."""

    device: str
    dtype: str
    notes: tuple[str, ...] = ()


def choose(machine: Machine, device: str | None = None, dtype: str | None = None) -> Placement:
    """The placement for this machine; `device` and `dtype` are the user's own choice and are heeded or refused.

    float32 on a CPU (bit-equal to stock diffusers), bfloat16 on a GPU; float16 is not offered, Z-Image's activations
    overflow in it. Raises BadRequest.
    """
    device = device or ("cuda" if machine.cuda_devices else "mps" if machine.mps else "cpu")
    kind, _, index = device.partition(":")
    available = ["cpu", *(f"cuda:{i}" for i in range(machine.cuda_devices)), *(["mps"] if machine.mps else [])]
    if kind == "cuda":
        device = f"cuda:{index or 0}"
    if device not in available:
        raise BadRequest(
            f"device={device!r}", expected=" or ".join(available), mend="Leave it out to let it be chosen."
        )
    if dtype is not None and dtype not in DTYPES:
        mend = "float16 overflows in this model: take bfloat16." if dtype == "float16" else ""
        raise BadRequest(f"dtype={dtype!r}", expected=" or ".join(DTYPES), mend=mend)
    if dtype is not None:
        return Placement(device, dtype)
    if kind == "cpu":
        return Placement(device, "float32")
    if kind == "cuda" and not machine.cuda_bfloat16:
        return Placement(device, "float32", (f"{device} has no bfloat16, so float32 is used, with twice the memory",))
    return Placement(device, "bfloat16")
