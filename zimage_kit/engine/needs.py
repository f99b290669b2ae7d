"""What one picture takes of a machine: bytes by what is resident, and seconds by the rates of its parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..models.directories import ComponentSize

CONTEXT_BYTES = 600_000_000
"""What a process holds on a CUDA card before it has any tensor, where that was not measured."""
LIBRARY_BYTES = 350_000_000
"""What comes to that with the first picture: kernels that are loaded when first called, workspaces (measured)."""
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
PACKED_SHARE = 0.52
"""Of a block's 16 bits, when its weights wait in 8."""


@dataclass(frozen=True)
class Machine:
    """What was found: CUDA devices, whether they compute in bfloat16 natively, their generation, Apple's GPU.

    `cuda_capability`: of the first CUDA device, such as "9.0". `free_bytes`: of the device, with what this process
    holds of it already, its CUDA context of `context_bytes` included (None: not limited); `host_bytes`: RAM that is
    available, with what the model holds of it already. `second_free_bytes` and `second_context_bytes`: of a second card
    for the same picture. `copy_rate`: bytes a second from RAM to the device; `compute_rate`: floating-point operations
    a second in the type that it computes in (0: not known).
    """

    cuda_devices: int = 0
    cuda_bfloat16: bool = False
    mps: bool = False
    cuda_capability: str = ""
    free_bytes: int | None = None
    context_bytes: int = CONTEXT_BYTES
    host_bytes: int | None = None
    second_free_bytes: int | None = None
    second_context_bytes: int = CONTEXT_BYTES
    copy_rate: float = 0.0
    compute_rate: float = 0.0


@dataclass(frozen=True)
class Extras:
    """What else needs the device for this picture: ControlNets, and bytes of LoRAs and of stages' networks.

    `results`: how many hidden states of one ControlNet are kept while another one's are made.
    """

    controlnet: ComponentSize = field(default_factory=ComponentSize)
    results: int = 0
    loras: int = 0
    stages: int = 0


@dataclass(frozen=True)
class Layout:
    """What is resident: blocks of the transformer, the text encoder, a ControlNet; more blocks on a second card."""

    blocks: int
    encoder: bool
    controlnet: bool
    second: int = 0


SMALLEST = Layout(0, False, False)


@dataclass(frozen=True)
class Needs:
    """What one picture takes of the device, in bytes, by what is resident there.

    With a second card (`split`) the text encoder and the autoencoder are there.
    """

    blocks: tuple[int, ...]  # of the transformer
    rest: int  # of the transformer
    width: int  # of its hidden states, in numbers
    itemsize: int  # bytes of a number
    block_itemsize: float  # bytes of a weight of a block, on the device
    packed: float  # of a block's bytes, while it waits
    split: bool
    encoder_blocks: tuple[int, ...]
    encoder_rest: int
    control_blocks: tuple[int, ...]
    vae: int
    extra: int  # a ControlNet's rest, LoRAs, networks of stages
    denoise: int
    decode: int
    encode: int
    context: int
    second_context: int

    @classmethod
    def of(
        cls,
        model: Mapping[str, ComponentSize],
        size: tuple[int, int],
        machine: Machine,
        extras: Extras,
        dtype: str,
        speed: str,
        precision: str,
        cuda: bool,
        split: bool,
    ) -> Needs:
        """By the components' sizes; hidden states grow with the picture."""
        width = 4 if dtype == "float32" else 2
        wide = width // 2
        vae = 2 if dtype == "bfloat16" else 4
        empty = ComponentSize()
        transformer, encoder = model.get("transformer", empty), model.get("text_encoder", empty)
        tokens = (size[0] // 16) * (size[1] // 16) + PROMPT_TOKENS
        known = ("transformer", "text_encoder")
        control = extras.controlnet
        block = PACKED_SHARE * 2 if speed == "fast" else width
        states = HIDDEN_STATES + CONTROL_STATES * len(control.blocks) + extras.results
        states += LORA_STATES if extras.loras else 0
        return cls(
            blocks=tuple(round(block * each) for each in transformer.blocks),
            rest=width * transformer.rest,
            width=transformer.width,
            itemsize=width,
            block_itemsize=block,
            packed=PACKED_SHARE * 2 / width if precision and speed != "fast" else 1.0,
            split=split,
            encoder_blocks=tuple(width * block for block in encoder.blocks),
            encoder_rest=width * encoder.rest,
            control_blocks=tuple(round(block * each) for each in control.blocks),
            vae=vae * sum(part.total for name, part in model.items() if name not in known),
            extra=width * control.rest + extras.loras + extras.stages,
            denoise=round(width * tokens * transformer.width * states) + (wide * WORKSPACE_BYTES if cuda else 0),
            decode=decode_bytes(size, speed, dtype),
            encode=round(wide * ENCODE_BYTES * encoder.width / 2560),
            context=machine.context_bytes + LIBRARY_BYTES if cuda else 0,
            second_context=machine.second_context_bytes + LIBRARY_BYTES if cuda else 0,
        )

    def weights(self, layout: Layout) -> int:
        """What stays on the device between pictures. Blocks are about equally large: the largest is counted."""
        kept = self.rest + self.extra + layout.blocks * max(self.blocks, default=0)
        kept += sum(self.control_blocks) if layout.controlnet else 0
        return kept if self.split else kept + self._beside(layout)

    def second_weights(self, layout: Layout) -> int:
        """The same of the second card."""
        return self._beside(layout) + layout.second * max(self.blocks, default=0)

    def peak(self, layout: Layout) -> int:
        """The most at any time: while encoding, denoising or decoding, which follow each other."""
        streamed = [*(self.blocks if layout.blocks + layout.second < len(self.blocks) else ())]
        streamed += () if layout.controlnet else self.control_blocks
        denoising = self._buffers(streamed) + self.denoise
        return self.context + self.weights(layout) + max(denoising, 0 if self.split else self._before_and_after(layout))

    def second_peak(self, layout: Layout) -> int:
        """The same of the second card."""
        denoising = self.denoise if layout.second else 0
        return self.second_context + self.second_weights(layout) + max(denoising, self._before_and_after(layout))

    def host(self, layout: Layout) -> int:
        """What waits in RAM."""
        waiting = (len(self.blocks) - layout.blocks - layout.second) * max(self.blocks, default=0)
        waiting += 0 if layout.controlnet else sum(self.control_blocks)
        waiting += 0 if layout.encoder else sum(self.encoder_blocks)
        return round(self.packed * waiting) + (0 if layout.encoder else self.encoder_rest)

    def staging(self, copied: bool) -> int:
        """What RAM it takes to read blocks from files instead: two of them, if they are `copied`; the embedding."""
        return (self._buffers((*self.blocks, *self.encoder_blocks)) if copied else 0) + self.encoder_rest

    def _buffers(self, streamed: Sequence[int]) -> int:
        """Two that are copied to; and one to compute in, where those hold packed weights."""
        largest = max(streamed, default=0)
        return round(2 * self.packed * largest) + (largest if self.packed < 1 else 0)

    def _beside(self, layout: Layout) -> int:
        return self.vae + (self._whole_encoder if layout.encoder else 0)

    def _before_and_after(self, layout: Layout) -> int:
        return max((0 if layout.encoder else self._buffers(self.encoder_blocks)) + self.encode, self.decode)

    @property
    def _whole_encoder(self) -> int:
        return sum(self.encoder_blocks) + self.encoder_rest

    def choose(self, room: int | None, second_room: int | None = None) -> Layout | None:
        """As much resident as there is room for, first what is used in every step; None where nothing fits."""
        every = len(self.blocks)
        kinds = [(True, True, every), (False, True, every), (False, False, 0)]
        if self.split:
            kinds.insert(1, (True, False, 0))
        for encoder, controlnet, least in kinds:
            beside = self._beside_at_most(encoder, second_room)
            for here in range(every, -1, -1) if beside is not None else ():
                layout = Layout(here, encoder, controlnet, min(beside or 0, every - here))
                if here + layout.second >= least and (room is None or self.peak(layout) <= room):
                    return layout
        return None

    def _beside_at_most(self, encoder: bool, room: int | None) -> int | None:
        """How many blocks the second card has room for (0: there is none); None where encoder and VAE do not fit."""
        if not self.split:
            return 0
        counts = range(len(self.blocks), -1, -1)
        fits = (n for n in counts if room is None or self.second_peak(Layout(0, encoder, True, n)) <= room)
        return next(fits, None)

    def seconds(self, machine: Machine, layout: Layout, size: tuple[int, int], steps: int) -> float:
        """The longer of computing and copying, for `steps` evaluations; 0 where the rates are not known.

        Every block is counted for every token, the two of the context refiner too: 8% more than there is to compute.
        """
        if not machine.compute_rate:
            return 0.0
        tokens = (size[0] // 16) * (size[1] // 16) + 64
        products = 2 * tokens * (sum(self.blocks) + sum(self.control_blocks)) / self.block_itemsize
        attention = 4 * tokens * tokens * self.width * (len(self.blocks) + len(self.control_blocks))
        computing = (products + attention) / machine.compute_rate
        copied = (len(self.blocks) - layout.blocks - layout.second) * max(self.blocks, default=0)
        copied += 0 if layout.controlnet else sum(self.control_blocks)
        copying = self.packed * copied / machine.copy_rate if machine.copy_rate else 0.0
        return steps * max(computing, copying)


def decode_bytes(size: tuple[int, int], speed: str, dtype: str) -> int:
    """What decoding a picture takes beside the weights; in float32 for a model that computes in float16.

    In slabs a small picture takes no more than whole, since it is one slab.
    """
    pixels, wide = size[0] * size[1], 1 if dtype == "bfloat16" else 2
    whole = pixels * DECODE_BYTES
    return wide * (whole if speed == "stock" else min(whole, pixels * SLAB_DECODE_BYTES + SLAB_DECODE_BASE))
