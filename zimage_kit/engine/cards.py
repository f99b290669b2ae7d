"""Graphics cards: names to memory, computing rate and bus, and what `plan` makes of Z-Image-Turbo on them. No torch.

Rates are the makers' (architecture white papers of Turing, Ampere, Ada, Hopper and Blackwell): dense matrix products in
half precision with float32 accumulation. What comes of them is computed, not measured on the card, and marked so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import BadRequest, OutOfMemory
from ..models.published import TURBO_SIZES
from ..text.units import duration, gigabytes
from .needs import CONTEXT_BYTES, Machine
from .plan import Plan, plan
from .settings import Settings

SIZE = (1024, 1024)
EFFICIENCY = 0.65
"""Of a card's published rate that Z-Image's products and attention reach: reports of ComfyUI and Forge on an RTX 3060,
a 3090 Ti and a 4070 Ti come to 0.87, 0.72 and 0.63."""
DESKTOP_BYTES = 500_000_000
"""What a desktop holds of a card that drives a screen (estimate)."""
_BUS = {3: 12e9, 4: 24e9, 5: 48e9}
"""Bytes a second from pinned memory over 16 lanes of PCI Express, by generation; an H100 on generation 5 gave 55e9."""


@dataclass(frozen=True)
class Card:
    """A graphics card: its name, memory in GB (as sold), and whether it computes in bfloat16 (None: not known).

    `tflops`: dense products in half precision, in float32 for a GTX, which has no tensor cores (0: not known).
    `copy_rate`: bytes a second from RAM (0: not known).
    """

    name: str
    gigabytes: float
    bfloat16: bool | None = True
    tflops: float = 0.0
    copy_rate: float = 0.0


# Name: GB as sold (for a card sold in several sizes, the user must give it), TFLOP/s, generation and lanes of the bus.
_KNOWN: dict[str, tuple[tuple[float, ...], float, int, int]] = {
    "gtx 1060": ((3, 6), 4.4, 3, 16), "gtx 1070": ((8,), 6.5, 3, 16), "gtx 1080": ((8,), 8.9, 3, 16),
    "gtx 1080 ti": ((11,), 11.3, 3, 16), "gtx 1650": ((4,), 3.0, 3, 16), "gtx 1660": ((6,), 5.0, 3, 16),
    "gtx 1660 super": ((6,), 5.0, 3, 16), "gtx 1660 ti": ((6,), 5.4, 3, 16),
    "rtx 2060": ((6, 12), 25.8, 3, 16), "rtx 2070": ((8,), 29.9, 3, 16), "rtx 2080": ((8,), 40.3, 3, 16),
    "rtx 2080 ti": ((11,), 53.8, 3, 16),
    "rtx 3050": ((6, 8), 18.2, 4, 8), "rtx 3060": ((8, 12), 25.5, 4, 16), "rtx 3060 ti": ((8,), 32.4, 4, 16),
    "rtx 3070": ((8,), 40.6, 4, 16), "rtx 3070 ti": ((8,), 43.5, 4, 16), "rtx 3080": ((10, 12), 59.5, 4, 16),
    "rtx 3080 ti": ((12,), 68.2, 4, 16), "rtx 3090": ((24,), 71.2, 4, 16), "rtx 3090 ti": ((24,), 80.0, 4, 16),
    "rtx 4050": ((6,), 18.0, 4, 8), "rtx 4060": ((8,), 30.2, 4, 8), "rtx 4060 ti": ((8, 16), 44.1, 4, 8),
    "rtx 4070": ((12,), 58.3, 4, 16), "rtx 4070 super": ((12,), 71.0, 4, 16), "rtx 4070 ti": ((12,), 80.2, 4, 16),
    "rtx 4070 ti super": ((16,), 88.2, 4, 16), "rtx 4080": ((16,), 97.5, 4, 16),
    "rtx 4080 super": ((16,), 104.4, 4, 16),
    "rtx 4090": ((24,), 165.2, 4, 16), "rtx 4090 d": ((24,), 147.1, 4, 16),
    "rtx 5050": ((8,), 26.3, 5, 8), "rtx 5060": ((8,), 38.4, 5, 8), "rtx 5060 ti": ((8, 16), 47.4, 5, 8),
    "rtx 5070": ((12,), 61.7, 5, 16), "rtx 5070 ti": ((16,), 87.9, 5, 16), "rtx 5080": ((16,), 112.6, 5, 16),
    "rtx 5090": ((32,), 209.5, 5, 16), "rtx 5090 d": ((32,), 209.5, 5, 16),
    "rtx a2000": ((6, 12), 31.9, 4, 16), "rtx a4000": ((16,), 76.7, 4, 16), "rtx a5000": ((24,), 111.1, 4, 16),
    "rtx a6000": ((48,), 154.8, 4, 16), "rtx 6000 ada": ((48,), 364.2, 4, 16),
    "t4": ((16,), 65.0, 3, 16), "v100": ((16, 32), 112.0, 3, 16), "p100": ((16,), 9.3, 3, 16),
    "a10": ((24,), 125.0, 4, 16), "l4": ((24,), 121.0, 4, 16), "l40": ((48,), 181.1, 4, 16),
    "l40s": ((48,), 362.1, 4, 16), "a40": ((48,), 149.7, 4, 16),
    "a100": ((40, 80), 312.0, 4, 16), "h100": ((80,), 989.0, 5, 16), "h200": ((141,), 989.0, 5, 16),
}  # fmt: skip
_NO_BFLOAT16 = re.compile(r"^(gtx|rtx 20|t4|v100|p100)")
LAPTOP = 0.6
"""A laptop's card of the same name has fewer units and less power: about so much of the rate (estimate)."""


def parse_card(text: str) -> Card:
    """Read `RTX 3060 12GB`, `4070 Ti S`, `RTX 4060 Laptop`, `A6000` or just `12GB`.

    Raises BadRequest when the name is unknown and no memory is given, or when the card was sold in several sizes.
    """
    size = re.search(r"(\d+(?:\.\d+)?)\s*(?:gb|gib|g)\b", text, re.IGNORECASE)
    name = _normal(text[: size.start()] + text[size.end() :] if size else text)
    sold = _KNOWN[name][0] if name in _KNOWN else None
    if size is None and sold is None:
        raise BadRequest(
            f"card={text!r}: unknown card",
            mend='Give its memory too, as in --card "RTX 3060 12GB" or --card 12GB.',
        )
    if size is None and sold is not None and len(sold) > 1:
        sizes = " or ".join(f"{s:g}GB" for s in sold)
        raise BadRequest(f"card={text!r}: sold with {sizes}", mend=f'Say which, as in --card "{text} {sold[-1]:g}GB".')
    told = f"{text[: size.start()]}{text[size.end() :]}" if size else text
    return card_of(" ".join(told.split()) or "A card", float(size[1]) if size else (sold or (0.0,))[0], name)


def card_of(text: str, memory: float, name: str | None = None, bfloat16: bool | None = None) -> Card:
    """A card by its name and memory in GB, with what is known of that name."""
    name = _normal(text) if name is None else name
    _, tflops, generation, lanes = _KNOWN.get(name, ((), 0.0, 0, 0))
    known = bool(name) and (name in _KNOWN or name.startswith(("gtx", "rtx")))
    if bfloat16 is None:
        bfloat16 = (not _NO_BFLOAT16.match(name)) if known else None
    laptop = LAPTOP if "laptop" in text.lower() else 1.0
    return Card(text, memory, bfloat16, tflops * laptop, _BUS.get(generation, 0.0) * lanes / 16)


def plan_for(card: Card, size: tuple[int, int] = SIZE) -> Plan:
    """The plan for Z-Image-Turbo on a card that also drives a desktop. Raises OutOfMemory."""
    machine = Machine(
        cuda_devices=1,
        cuda_bfloat16=card.bfloat16 is not False,
        free_bytes=round(card.gigabytes * 2**30) - DESKTOP_BYTES,
        context_bytes=CONTEXT_BYTES,
        copy_rate=card.copy_rate,
        compute_rate=card.tflops * 1e12 * EFFICIENCY,
    )
    return plan(machine, TURBO_SIZES, size)


def advise(card: Card) -> list[str]:
    """What to expect of a card, as sentences."""
    head = f"{card.name}, {card.gigabytes:g} GB"
    try:
        found = plan_for(card)
    except OutOfMemory as error:
        return [f"{head}: {error}", "nano runs on the CPU."]
    blocks = found.resident_blocks + found.streamed_blocks
    how = (
        "everything stays on the card"
        if found.placement == "resident"
        else "the transformer stays on the card, the text encoder is copied to it for each new prompt"
        if not found.streamed_blocks
        else f"{found.resident_blocks} of {blocks} blocks stay on the card, the others are copied to it in each step"
    )
    exact = "the exact model" if found.dtype == "bfloat16" else f"the exact model in {found.dtype}"
    lines = [f"{head}: {exact}; {how}. Peak {gigabytes(found.peak_bytes)} (computed)."]
    if found.seconds:
        lines.append(f"About {duration(found.seconds)} a picture of 1024x1024 in 8 steps (computed, not measured).")
    if found.host_bytes:
        lines.append(f"{gigabytes(found.host_bytes)} of RAM hold what is not on the card.")
    if card.bfloat16 is False:
        lines.append(
            "This generation has no bfloat16. Plain half precision (fp16) overflows in this model and gives black "
            "pictures; here its weights are scaled so that nothing overflows, and the function stays the same."
        )
    lines.append("1024x1024 is the native size; up to 1536 works; for 2048 enlarge a 1024 picture.")
    return lines


def plan_without_card(kind: str, free_bytes: int, compute_rate: float = 0.0) -> Plan:
    """The plan for Z-Image-Turbo on a CPU or Apple's GPU ("cpu", "mps") with so much free RAM. Raises OutOfMemory."""
    machine = Machine(mps=kind == "mps", host_bytes=free_bytes, compute_rate=compute_rate)
    return plan(machine, TURBO_SIZES, SIZE, Settings(device=kind))


def advise_without_card(kind: str, free_bytes: int, compute_rate: float = 0.0) -> list[str]:
    """What to expect where there is no NVIDIA card, as sentences."""
    place = {"cpu": "the CPU", "mps": "Apple's GPU"}[kind]
    lines = ["No NVIDIA card: nano makes a picture on the CPU in seconds."]
    try:
        found = plan_without_card(kind, free_bytes, compute_rate)
    except OutOfMemory as error:
        return [*lines, f"Z-Image-Turbo does not run here: {error}"]
    blocks = found.resident_blocks + found.streamed_blocks
    how = (
        f"{found.streamed_blocks} of {blocks} blocks are read from the disk in each step, since RAM is short"
        if found.streamed_blocks
        else "everything stays in RAM"
        if found.encoder == "resident"
        else "the text encoder is read from the disk for each new prompt, since RAM is short"
    )
    lines.append(
        f"Z-Image-Turbo on {place}: the exact model in {found.dtype}; {how}. Peak {gigabytes(found.peak_bytes)} of RAM "
        "(computed)."
    )
    if found.seconds:
        without = " and without what reading takes" if found.streamed_blocks else ""
        lines.append(
            f"About {duration(found.seconds)} a picture of 1024x1024 in 8 steps, by a matrix product measured here"
            f"{without}. A card with 4 GB is many times faster."
        )
    return lines


def _normal(text: str) -> str:
    """`NVIDIA GeForce RTX 4070 TI S` -> `rtx 4070 ti super`; a bare number gets its family (gtx, rtx)."""
    words = re.sub(r"nvidia|geforce|tesla|laptop|gpu|desktop|pcie|sxm\d?|hbm\d?e?|\d+gb", " ", text.lower())
    words = re.sub(r"(\d{4})\s*(ti)?\s*(super|s|d)?\b", r"\1 \2 \3", words.replace("-", " "))
    words = re.sub(r"\bs$", "super", " ".join(words.split()))
    if re.match(r"1[06]\d0", words):
        words = f"gtx {words}"
    elif re.match(r"[2345]0\d0", words) or re.match(r"a[2456]000", words):
        words = f"rtx {words}"
    return words
