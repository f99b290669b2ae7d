"""The plan: what of a model stays on the device and what is streamed to it. Pure: facts in, plan out.

Everything that draws (encoder, transformer, autoencoder) need not be on the device together, and a transformer's blocks
can be copied one by one while others compute (`blocks`). So the exact model runs from 4 GB up, and how much memory
there is changes when weights are copied, never what is computed. Made anew for each model and picture size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import BadRequest, OutOfMemory
from ..models.directories import ComponentSize
from ..text.units import gigabytes
from .settings import AUTO, Settings

CONTEXT_BYTES = 600_000_000
"""What a process holds on a CUDA card before it has any tensor, where that was not measured."""
LIBRARY_BYTES = 200_000_000
"""What comes to that with the first picture: kernels that are loaded when first called, workspaces (measured)."""
SPARE_BYTES = 400_000_000
"""Left free of the memory that a plan may take: what other programs need in the meantime, and the allocator's gaps."""
DECODE_BYTES = 2500
"""For each pixel, in bfloat16: the autoencoder's largest layer (2.6 GB at 1024x1024, measured)."""
SLAB_DECODE_BYTES, SLAB_DECODE_BASE = 1024, 250_000_000
"""The same in slabs, for each pixel and in all (measured)."""
HIDDEN_STATES, WORKSPACE_BYTES = 15.75, 75_000_000
"""Hidden states of one token (16x16 pixels, or one of the prompt) that a block holds at once, each as wide as the
transformer, and what libraries take in all (measured in bfloat16: 121 kB a token, 75 MB)."""
CONTROL_STATES = 3
"""The same of each of a ControlNet's blocks, whose results are kept until the transformer has added them."""
LORA_STATES = 8
"""The same of a LoRA beside a block's products."""
PROMPT_TOKENS = 512
ENCODE_BYTES = 80_000_000
"""Of the text encoder's hidden states for one prompt, in bfloat16."""
HOST_SHARE = 0.7
"""How much of the free RAM may be pinned."""


@dataclass(frozen=True)
class Machine:
    """What was found: CUDA devices, whether they compute in bfloat16 natively, their generation, Apple's GPU.

    `cuda_capability`: of the first CUDA device, such as "9.0". `free_bytes`: of the device, with what this process
    holds of it already, its CUDA context of `context_bytes` included (None: not limited); `host_bytes`: RAM that is
    available. `copy_rate`: bytes a second from RAM
    to the device; `compute_rate`: floating-point operations a second in half precision (0: not known).
    """

    cuda_devices: int = 0
    cuda_bfloat16: bool = False
    mps: bool = False
    cuda_capability: str = ""
    free_bytes: int | None = None
    context_bytes: int = CONTEXT_BYTES
    host_bytes: int | None = None
    copy_rate: float = 0.0
    compute_rate: float = 0.0


@dataclass(frozen=True)
class Extras:
    """What else needs the device for this picture: a ControlNet, and bytes of LoRAs and of stages' networks."""

    controlnet: ComponentSize = field(default_factory=ComponentSize)
    loras: int = 0
    stages: int = 0


@dataclass(frozen=True)
class Plan:
    """Where a model goes and in what precision, what it will take there, and why.

    `device` ("cpu", "cuda:0", "mps"), `device_class` (what pixels depend on: "cpu", "cuda 9.0", "mps"), `dtype` (a name
    of torch's). The encoder, a ControlNet and the transformer's blocks are resident or streamed; `pinned`: the streamed
    ones wait in page-locked memory. `weight_bytes` stay on the device, `peak_bytes` is the most that is taken while one
    picture is made, of `room_bytes` (None: no limit), both with the `context_bytes` of CUDA itself; `host_bytes` wait
    in RAM; `seconds` is the time of one picture by the rates of the machine (0: not known).
    `exact`: the pixels are those of the whole model in this dtype. `notes` are sentences for the trace about what was
    chosen for the user.
    """

    device: str
    dtype: str
    device_class: str = ""
    speed: str = "stock"
    encoder: str = "resident"
    controlnet: str = "resident"
    resident_blocks: int = 0
    streamed_blocks: int = 0
    room_bytes: int | None = None
    context_bytes: int = 0
    pinned: bool = True
    exact: bool = True
    weight_bytes: int = 0
    peak_bytes: int = 0
    host_bytes: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def placement(self) -> str:
        """In a few words: "resident", or what is streamed."""
        if not self.streamed_blocks:
            return "resident" if self.encoder == "resident" else "transformer resident, encoder streamed"
        return f"{self.streamed_blocks} of {self.resident_blocks + self.streamed_blocks} blocks streamed"


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

    float32 on a CPU (bit-equal to stock diffusers), bfloat16 on a GPU that has it. `spare` bytes of a card stay free.
    Raises BadRequest for a device that is not there, and OutOfMemory where not even the smallest plan fits.
    """
    settings, extras = settings or Settings(), extras or Extras()
    device = _device(machine, settings.device)
    kind = device.partition(":")[0]
    dtype, notes = _dtype(machine, settings, device)
    base = Plan(
        device=device,
        dtype=dtype,
        speed=settings.speed if settings.speed != AUTO else "stock" if kind == "cpu" else "exact",
        device_class=f"cuda {machine.cuda_capability}".strip() if kind == "cuda" else kind,
        notes=notes,
    )
    if not model:
        return base
    needs = Needs.of(model, size, base, extras, machine.context_bytes)
    room = _room(machine, settings, kind, spare)
    layout = needs.choose(room)
    if layout is None:
        least = needs.peak(SMALLEST)
        given = f"memory={settings.memory}" if settings.memory != AUTO else f"{gigabytes(max(0, room or 0))} are free"
        raise OutOfMemory(
            f"{size[0]}x{size[1]} needs {gigabytes(least)} on {device} even with every block streamed, but {given}",
            mend="Use a smaller size, close other programs that use this device, or allow more memory.",
            device=device,
            bytes=least,
        )
    streamed = len(needs.blocks) - layout.blocks
    host = needs.host(layout)
    if kind == "cuda" and machine.host_bytes is not None and host > machine.host_bytes:
        raise OutOfMemory(
            f"what does not fit on {device} takes {gigabytes(host)} of RAM, "
            f"but {gigabytes(machine.host_bytes)} are free",
            mend="Close other programs, use a smaller size, or a machine with more RAM.",
            device=device,
            bytes=host,
        )
    pinned = machine.host_bytes is None or host <= HOST_SHARE * machine.host_bytes
    return replace(
        base,
        encoder="resident" if layout.encoder else "streamed",
        controlnet="resident" if layout.controlnet or not extras.controlnet.blocks else "streamed",
        resident_blocks=layout.blocks,
        streamed_blocks=streamed,
        room_bytes=room,
        context_bytes=machine.context_bytes if kind == "cuda" else 0,
        pinned=pinned,
        weight_bytes=needs.weights(layout),
        peak_bytes=needs.peak(layout),
        host_bytes=host,
        seconds=needs.seconds(machine, layout, size, steps),
        notes=(*notes, *_notes(layout, streamed, len(needs.blocks), pinned, host)),
    )


@dataclass(frozen=True)
class Layout:
    """What is resident: so many of the transformer's blocks, the text encoder, a ControlNet."""

    blocks: int
    encoder: bool
    controlnet: bool


SMALLEST = Layout(0, False, False)


@dataclass(frozen=True)
class Needs:
    """What one picture takes of the device, in bytes, by what is resident there."""

    blocks: tuple[int, ...]  # of the transformer
    rest: int  # of the transformer
    width: int  # of its hidden states, in numbers
    itemsize: int  # bytes of a number
    encoder_blocks: tuple[int, ...]
    encoder_rest: int
    control_blocks: tuple[int, ...]
    vae: int
    extra: int  # a ControlNet's rest, LoRAs, networks of stages
    denoise: int
    decode: int
    encode: int
    context: int

    @classmethod
    def of(
        cls, model: Mapping[str, ComponentSize], size: tuple[int, int], base: Plan, extras: Extras, context: int
    ) -> Needs:
        """By the components' sizes; hidden states grow with the picture."""
        width = 4 if base.dtype == "float32" else 2
        wide = width // 2
        empty = ComponentSize()
        transformer, encoder = model.get("transformer", empty), model.get("text_encoder", empty)
        tokens = (size[0] // 16) * (size[1] // 16) + PROMPT_TOKENS
        known = ("transformer", "text_encoder")
        control = extras.controlnet
        states = HIDDEN_STATES + CONTROL_STATES * len(control.blocks) + (LORA_STATES if extras.loras else 0)
        cuda = base.device.startswith("cuda")
        return cls(
            blocks=tuple(width * block for block in transformer.blocks),
            rest=width * transformer.rest,
            width=transformer.width,
            itemsize=width,
            encoder_blocks=tuple(width * block for block in encoder.blocks),
            encoder_rest=width * encoder.rest,
            control_blocks=tuple(width * block for block in control.blocks),
            vae=width * sum(part.total for name, part in model.items() if name not in known),
            extra=width * control.rest + extras.loras + extras.stages,
            denoise=round(width * tokens * transformer.width * states) + (wide * WORKSPACE_BYTES if cuda else 0),
            decode=wide * decode_bytes(size, base.speed),
            encode=round(wide * ENCODE_BYTES * encoder.width / 2560),
            context=context + LIBRARY_BYTES if cuda else 0,
        )

    def weights(self, layout: Layout) -> int:
        """What stays on the device between pictures. Blocks are about equally large: the largest is counted."""
        kept = self.rest + self.vae + self.extra + layout.blocks * max(self.blocks, default=0)
        kept += self._whole_encoder if layout.encoder else 0
        return kept + (sum(self.control_blocks) if layout.controlnet else 0)

    def peak(self, layout: Layout) -> int:
        """The most at any time: while encoding, denoising or decoding, which follow each other."""
        streamed = [*(self.blocks if layout.blocks < len(self.blocks) else ())]
        streamed += () if layout.controlnet else self.control_blocks
        layers = 0 if layout.encoder else 2 * max(self.encoder_blocks, default=0)
        most = max(layers + self.encode, 2 * max(streamed, default=0) + self.denoise, self.decode)
        return self.context + self.weights(layout) + most

    def host(self, layout: Layout) -> int:
        """What waits in RAM."""
        waiting = (len(self.blocks) - layout.blocks) * max(self.blocks, default=0)
        waiting += 0 if layout.encoder else self._whole_encoder
        return waiting + (0 if layout.controlnet else sum(self.control_blocks))

    @property
    def _whole_encoder(self) -> int:
        return sum(self.encoder_blocks) + self.encoder_rest

    def choose(self, room: int | None) -> Layout | None:
        """As much resident as `room` allows, first what is used in every step; None where nothing fits."""
        every = len(self.blocks)
        layouts = [Layout(every, True, True), Layout(every, False, True)]
        layouts += [Layout(count, False, False) for count in range(every, -1, -1)]
        return next((layout for layout in layouts if room is None or self.peak(layout) <= room), None)

    def seconds(self, machine: Machine, layout: Layout, size: tuple[int, int], steps: int) -> float:
        """The longer of computing and copying, for `steps` evaluations; 0 where the rates are not known.

        Every block is counted for every token, the two of the context refiner too: 8% more than there is to compute.
        """
        if not machine.compute_rate:
            return 0.0
        tokens = (size[0] // 16) * (size[1] // 16) + 64
        products = 2 * tokens * (sum(self.blocks) + sum(self.control_blocks)) / self.itemsize
        attention = 4 * tokens * tokens * self.width * (len(self.blocks) + len(self.control_blocks))
        computing = (products + attention) / machine.compute_rate
        copied = (len(self.blocks) - layout.blocks) * max(self.blocks, default=0)
        copied += 0 if layout.controlnet else sum(self.control_blocks)
        copying = copied / machine.copy_rate if machine.copy_rate else 0.0
        return steps * max(computing, copying)


def decode_bytes(size: tuple[int, int], speed: str) -> int:
    """What decoding a picture takes beside the weights, in bfloat16."""
    pixels = size[0] * size[1]
    return pixels * DECODE_BYTES if speed == "stock" else pixels * SLAB_DECODE_BYTES + SLAB_DECODE_BASE


def _room(machine: Machine, settings: Settings, kind: str, spare: int) -> int | None:
    """Bytes that a plan may take on the device, or None for no limit."""
    limits = [settings.memory_bytes] if settings.memory_bytes is not None else []
    if kind == "cuda" and machine.free_bytes is not None:
        limits.append(machine.free_bytes)
    return min(limits) - (spare if kind == "cuda" else 0) if limits else None


def _notes(layout: Layout, streamed: int, blocks: int, pinned: bool, host: int) -> list[str]:
    """What the trace says about the placement."""
    notes = []
    if streamed:
        notes.append(f"{streamed} of {blocks} blocks are copied to the device in each step, since not all fit there")
    if not layout.encoder:
        notes.append("the text encoder is copied to the device layer by layer for each new prompt")
    if not pinned:
        notes.append(f"RAM is short: {gigabytes(host)} wait in pageable memory, from which copies are slower")
    return notes


def _dtype(machine: Machine, settings: Settings, device: str) -> tuple[str, tuple[str, ...]]:
    kind = device.partition(":")[0]
    if settings.dtype != AUTO:
        return settings.dtype, ()
    if kind == "cpu":
        return "float32", ()
    if kind == "cuda" and not machine.cuda_bfloat16:
        return "float32", (f"{device} has no bfloat16, so float32 is used, with twice the memory",)
    return "bfloat16", ()


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
