"""The plan: what of a model stays on the device and what is streamed to it. Pure: facts in, plan out.

Everything that draws (encoder, transformer, autoencoder) need not be on the device together, and a transformer's blocks
can be copied one by one while others compute (`blocks`). So the exact model runs from 4 GB up, and how much memory
there is changes when weights are copied, never what is computed. Made anew for each model and picture size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import BadRequest, OutOfMemory
from ..models.directories import ComponentSize
from ..text.units import gigabytes
from .needs import SMALLEST, Extras, Layout, Machine, Needs
from .settings import AUTO, Settings

SPARE_BYTES = 400_000_000
"""Left free of the memory that a plan may take: what other programs need in the meantime, and the allocator's gaps."""
HOST_SHARE, PAGED_SHARE = 0.7, 0.9
"""How much of the free RAM may be pinned, and taken at all."""


@dataclass(frozen=True)
class Plan:
    """Where a model goes and in what precision, what it will take there, and why.

    `device` ("cpu", "cuda:0", "mps"), `device_class` (what pixels depend on: "cpu", "cuda 9.0", "mps"), `dtype` (a name
    of torch's), `precision` ("", "int8", "fp8": how weights wait; with speed "fast", what is multiplied). The encoder,
    a ControlNet and the transformer's blocks are resident or streamed. `second`: another card that holds encoder,
    autoencoder and the last `second_blocks` of the resident ones, or "". What is streamed waits in page-locked memory
    (`pinned`), or is read from the model's files (`mapped`). `weight_bytes` stay there, `peak_bytes` is the most that
    is taken while one picture is made, of `room_bytes` (None: of all the RAM there is), both with the `context_bytes`
    of CUDA itself; `host_bytes` wait in RAM; `seconds` is the time of one picture's evaluations by the rates of the
    machine (0: not known), without encoding and decoding.
    `exact`: the pixels are those of the whole model in this dtype. `notes` are sentences for the trace about what was
    chosen for the user.
    """

    device: str
    dtype: str
    device_class: str = ""
    speed: str = "exact"
    precision: str = ""
    second: str = ""
    encoder: str = "resident"
    controlnet: str = "resident"
    resident_blocks: int = 0
    second_blocks: int = 0
    streamed_blocks: int = 0
    room_bytes: int | None = None
    context_bytes: int = 0
    pinned: bool = True
    mapped: bool = False
    exact: bool = True
    weight_bytes: int = 0
    peak_bytes: int = 0
    second_peak_bytes: int = 0
    host_bytes: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def placement(self) -> str:
        """In a few words: "resident", or what is streamed."""
        if not self.streamed_blocks:
            where = f"resident on {self.device} and {self.second}" if self.second else "resident"
            return where if self.encoder == "resident" else f"transformer {where}, encoder streamed"
        return f"{self.streamed_blocks} of {self.resident_blocks + self.streamed_blocks} blocks streamed"

    @property
    def facts(self) -> dict[str, Any]:
        """What traces, the status and the doctor tell of it, as JSON values."""
        names = ("speed", "exact", "dtype", "placement", "encoder", "resident_blocks", "streamed_blocks")
        sizes = {"peak_bytes": self.peak_bytes, "host_bytes": self.host_bytes}
        return {**{name: getattr(self, name) for name in names}, **sizes, "seconds": round(self.seconds, 2) or None}


def plan(
    machine: Machine,
    model: Mapping[str, ComponentSize] | None = None,
    size: tuple[int, int] = (0, 0),
    settings: Settings | None = None,
    extras: Extras | None = None,
    spare: int = SPARE_BYTES,
    steps: int = 8,
) -> Plan:
    """The plan for a model (None: for no model) and a picture of `size` pixels: as much resident as fits.

    float32 on a CPU, bfloat16 on a GPU that has it, else float16, scaled so that nothing
    overflows. `spare` bytes of a card stay free.
    Raises BadRequest for a device that is not there, and OutOfMemory where not even the smallest plan fits.
    """
    settings, extras = settings or Settings(), extras or Extras()
    device, second = _devices(machine, settings.device)
    kind = device.partition(":")[0]
    speed = settings.speed if settings.speed != AUTO else "exact"
    precision: str = settings.precision if settings.precision != AUTO else ""
    dtype, notes = _dtype(machine, settings, device)
    if speed == "half":
        dtype, notes = _half(settings, kind), ()
    if speed == "fast":
        precision = _multiplied(machine, kind, dtype, precision)
    base = Plan(
        device=device,
        dtype=dtype,
        speed=speed,
        device_class=f"cuda {machine.cuda_capability}".strip() if kind == "cuda" else kind,
        precision=precision,
        second=second,
        exact=not precision,
        notes=notes,
    )
    if not model:
        return base

    def needs_for(size: tuple[int, int]) -> Needs:
        return Needs.of(model, size, machine, extras, base.dtype, base.speed, precision, kind == "cuda", bool(second))

    needs = needs_for(size)
    room = _room(machine, settings, kind, spare)
    other = machine.second_free_bytes - spare if second and machine.second_free_bytes is not None else None
    layout = needs.choose(room, other)
    if layout is None:
        smaller = next((each for each in _smaller(size) if needs_for(each).choose(room, other)), None)
        capped = settings.memory_bytes == (room or 0) + (spare if kind == "cuda" else 0)
        cap = f"memory={settings.memory}" if capped else ""
        raise _too_little(needs, size, (device, second), (room, other), cap, smaller)
    ram = machine.host_bytes
    if kind != "cuda" and ram is not None:  # device and host are one memory
        ram -= needs.peak(layout)
    waiting = _waiting(needs.host(layout), needs.staging(kind == "cuda"), ram, device)
    streamed = len(needs.blocks) - layout.blocks - layout.second
    return replace(
        base,
        encoder="resident" if layout.encoder else "streamed",
        controlnet="resident" if layout.controlnet or not extras.controlnet.blocks else "streamed",
        resident_blocks=layout.blocks + layout.second,
        second_blocks=layout.second,
        streamed_blocks=streamed,
        room_bytes=room if kind == "cuda" or settings.memory_bytes is not None else None,
        context_bytes=machine.context_bytes if kind == "cuda" else 0,
        pinned=waiting == "pinned",
        mapped=waiting == "mapped",
        weight_bytes=needs.weights(layout) + (needs.second_weights(layout) if second else 0),
        peak_bytes=needs.peak(layout),
        second_peak_bytes=needs.second_peak(layout) if second else 0,
        host_bytes=needs.staging(kind == "cuda") if waiting == "mapped" else needs.host(layout),
        seconds=needs.seconds(machine, layout, size, steps),
        notes=(*notes, *_notes(layout, streamed, needs, waiting, base)),
    )


def _too_little(
    needs: Needs,
    size: tuple[int, int],
    devices: tuple[str, str],
    rooms: tuple[int | None, int | None],
    cap: str,
    smaller: tuple[int, int] | None,
) -> OutOfMemory:
    """The error for a picture that does not fit with every block streamed, and what would help.

    `cap`: the user's setting, where that is the limit. `smaller`: a size that fits.
    """
    least, room = needs.peak(SMALLEST), max(0, rooms[0] or 0)
    takes, has = gigabytes(least), gigabytes(room)
    if takes == has:
        takes, has = f"{least / 1e6:.0f} MB", f"{room / 1e6:.0f} MB"
    more = free = ""
    if devices[1]:
        more = f" and {gigabytes(needs.second_peak(SMALLEST))} on {devices[1]}"
        free = f" and {gigabytes(max(0, rooms[1] or 0))}"
    ways = [f"use {smaller[0]}x{smaller[1]} or less"] if smaller else []
    ways.append("allow more memory" if cap else "close other programs that use this device")
    mend = ", or ".join(ways)
    return OutOfMemory(
        f"{size[0]}x{size[1]} needs {takes} on {devices[0]}{more} even with every block streamed, "
        f"but {cap or f'{has} are free'}{free}",
        mend=f"{mend[0].upper()}{mend[1:]}.",
        device=devices[0],
        bytes=least,
    )


def _smaller(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Sizes of about this shape, down to a quarter of the sides, in multiples of 64 pixels."""
    for eighths in range(7, 1, -1):
        width, height = (max(64, side * eighths // 8 // 64 * 64) for side in size)
        yield width, height


def _room(machine: Machine, settings: Settings, kind: str, spare: int) -> int | None:
    """Bytes that a plan may take on the device, or None for no limit. A CPU and Apple's GPU share the RAM."""
    limits = [settings.memory_bytes] if settings.memory_bytes is not None else []
    if kind == "cuda" and machine.free_bytes is not None:
        limits.append(machine.free_bytes)
    if kind != "cuda" and machine.host_bytes is not None:
        limits.append(round(PAGED_SHARE * machine.host_bytes))
    return min(limits) - (spare if kind == "cuda" else 0) if limits else None


def _waiting(host: int, staging: int, free: int | None, device: str) -> Literal["pinned", "pageable", "mapped"]:
    """How what is not on the device waits. Raises OutOfMemory where the RAM does not even do for reading it."""
    if free is None or host <= HOST_SHARE * free:
        return "pinned"
    if host <= PAGED_SHARE * free:
        return "pageable"
    if staging <= PAGED_SHARE * free:
        return "mapped"
    raise OutOfMemory(
        f"what does not fit on {device} takes {gigabytes(staging)} of RAM even if it is read from the model's files, "
        f"but {gigabytes(free)} are free",
        mend="Close other programs, use a smaller size, or a machine with more RAM.",
        device=device,
        bytes=staging,
    )


def _notes(layout: Layout, streamed: int, needs: Needs, waiting: str, base: Plan) -> list[str]:
    """What the trace says about the placement."""
    notes = []
    if layout.second:
        notes.append(f"{layout.second} of {len(needs.blocks)} blocks, text encoder and VAE are on {base.second}")
    elif base.second:
        notes.append(f"text encoder and VAE are on {base.second}")
    if streamed:
        notes.append(
            f"{streamed} of {len(needs.blocks)} blocks are copied to the device in each step, since not all fit there"
        )
    if not layout.encoder:
        notes.append("the text encoder is copied to the device layer by layer for each new prompt")
    host = gigabytes(needs.host(layout))
    if waiting == "pageable":
        notes.append(f"RAM is short: {host} wait in pageable memory, from which copies are slower")
    if waiting == "mapped":
        notes.append(
            f"RAM is short: {host} are read from the model's files whenever they are needed, as fast as the disk allows"
        )
    if base.speed == "fast":
        notes.append(f"the transformer multiplies in {base.precision}: other pixels than exact")
    elif base.precision:
        notes.append(f"weights are rounded to {base.precision}: half the RAM and half the copying, other pixels")
    return notes


def _dtype(machine: Machine, settings: Settings, device: str) -> tuple[str, tuple[str, ...]]:
    kind = device.partition(":")[0]
    if settings.dtype != AUTO:
        return settings.dtype, ()
    if kind == "cpu":
        return "float32", ()
    if kind == "cuda" and not machine.cuda_bfloat16:
        return "float16", (f"{device} has no bfloat16: float16 is used, scaled so that nothing overflows",)
    return "bfloat16", ()


def _half(settings: Settings, kind: str) -> str:
    """The type of speed "half". Raises BadRequest where float16 is not asked for, or products are not so summed."""
    if kind != "cuda" or settings.dtype not in (AUTO, "float16"):
        where = f"on {kind}" if kind != "cuda" else f"in {settings.dtype}"
        raise BadRequest(f"speed='half' {where}", expected="float16 on an NVIDIA card", mend="Leave speed out.")
    return "float16"


def _multiplied(machine: Machine, kind: str, dtype: str, wanted: str) -> str:
    """The 8 bits that are multiplied: as `wanted`, else float8 on Ada, Hopper and newer, int8 on others.

    Raises BadRequest where there are no such products.
    """
    if dtype == "float16" or kind == "mps":
        where = "in float16" if dtype == "float16" else "on mps"
        raise BadRequest(f"speed='fast' {where}", expected="an NVIDIA card with bfloat16", mend="Leave speed out.")
    major, _, minor = machine.cuda_capability.partition(".")
    old = kind == "cuda" and (int(major or 0), int(minor or 0)) < (8, 9)
    return wanted or ("int8" if old else "fp8")


def _devices(machine: Machine, wanted: str) -> tuple[str, str]:
    """The device that was asked for, with its number, and a second one for the same picture ("": none)."""
    first, comma, second = (part.strip() for part in wanted.partition(","))
    found = _device(machine, first), _device(machine, second) if comma else ""
    if comma and (found[0] == found[1] or not all(each.startswith("cuda") for each in found)):
        raise BadRequest(f"device={wanted!r}", expected="two different CUDA cards", mend="For example cuda:0,cuda:1.")
    return found


def _device(machine: Machine, wanted: str) -> str:
    """The device that was asked for, with its number; for "auto" the best there is."""
    device = wanted
    if wanted == AUTO:
        device = "cuda" if machine.cuda_devices else "mps" if machine.mps else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cuda":
        device = f"cuda:{index or 0}"
    available = ["cpu", *(f"cuda:{i}" for i in range(machine.cuda_devices)), *(["mps"] if machine.mps else [])]
    if device not in available:
        mend = "Leave it out to let it be chosen."
        raise BadRequest(f"device={device!r}", expected=" or ".join(available), mend=mend)
    return device
