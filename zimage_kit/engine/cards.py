"""GPUs and how Z-Image-Turbo fits on them: from a card's name to its memory, from memory to a plan. No torch.

The plans are estimates (weights counted, activations measured on one 141 GB card), not measurements on each card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import BadRequest


@dataclass(frozen=True)
class Card:
    """A graphics card: its name, memory in GB (as sold), and whether it computes in bfloat16 (None: unknown)."""

    name: str
    gigabytes: float
    bfloat16: bool | None = True


@dataclass(frozen=True)
class Plan:
    """How Z-Image-Turbo fits at 1024x1024 on `at_least` GB. `needs`: the estimated GPU memory in GB, as text."""

    at_least: float
    title: str
    how: str
    needs: str
    runs: bool = True


PLANS = (
    Plan(23, "everything resident", "all of the model in bf16 on the card", "22-23 GB"),
    Plan(
        15, "encoder parked", "the transformer in bf16 on the card; the text encoder in RAM between prompts", "13-14 GB"
    ),
    Plan(11, "8-bit transformer", "the transformer in 8 bits; the text encoder in RAM between prompts", "8-9 GB"),
    Plan(7.5, "4-bit or streamed", "the transformer in 4 bits, or streamed in blocks; tiled decoding", "6-7 GB"),
    Plan(5.5, "4-bit and streamed", "768x768 to 1024x1024, 4 bits, the encoder streamed, tiled decoding", "5 GB"),
    Plan(0, "too small", "Z-Image-Turbo does not fit; nano runs on the CPU", "more than there is", runs=False),
)

# GB as sold. For a card sold in several sizes, the user must give the size.
_SOLD: dict[str, tuple[float, ...]] = {
    "gtx 1060": (3, 6), "gtx 1070": (8,), "gtx 1080": (8,), "gtx 1080 ti": (11,),
    "gtx 1650": (4,), "gtx 1660": (6,), "gtx 1660 super": (6,), "gtx 1660 ti": (6,),
    "rtx 2060": (6, 12), "rtx 2070": (8,), "rtx 2080": (8,), "rtx 2080 ti": (11,),
    "rtx 3050": (6, 8), "rtx 3060": (8, 12), "rtx 3060 ti": (8,), "rtx 3070": (8,), "rtx 3070 ti": (8,),
    "rtx 3080": (10, 12), "rtx 3080 ti": (12,), "rtx 3090": (24,), "rtx 3090 ti": (24,),
    "rtx 4050": (6,), "rtx 4060": (8,), "rtx 4060 ti": (8, 16), "rtx 4070": (12,), "rtx 4070 super": (12,),
    "rtx 4070 ti": (12,), "rtx 4070 ti super": (16,), "rtx 4080": (16,), "rtx 4080 super": (16,),
    "rtx 4090": (24,), "rtx 4090 d": (24,),
    "rtx 5050": (8,), "rtx 5060": (8,), "rtx 5060 ti": (8, 16), "rtx 5070": (12,), "rtx 5070 ti": (16,),
    "rtx 5080": (16,), "rtx 5090": (32,), "rtx 5090 d": (32,),
    "rtx a2000": (6, 12), "rtx a4000": (16,), "rtx a5000": (24,), "rtx a6000": (48,), "rtx 6000 ada": (48,),
    "t4": (16,), "v100": (16, 32), "p100": (16,), "a10": (24,), "l4": (24,), "l40": (48,), "l40s": (48,),
    "a40": (48,), "a100": (40, 80), "h100": (80,), "h200": (141,),
}  # fmt: skip
_NO_BFLOAT16 = re.compile(r"^(gtx|rtx 20|t4|v100|p100)")


def parse_card(text: str) -> Card:
    """Read `RTX 3060 12GB`, `4070 Ti S`, `A6000` or just `12GB`.

    Raises BadRequest when the name is unknown and no memory is given, or when the card was sold in several sizes.
    """
    size = re.search(r"(\d+(?:\.\d+)?)\s*(?:gb|gib|g)\b", text, re.IGNORECASE)
    name = _normal(text[: size.start()] + text[size.end() :] if size else text)
    sold = _SOLD.get(name)
    if size is None and sold is None:
        raise BadRequest(
            f"card={text!r}: unknown card",
            mend='Give its memory too, as in --card "RTX 3060 12GB" or --card 12GB.',
        )
    if size is None and sold is not None and len(sold) > 1:
        sizes = " or ".join(f"{s:g}GB" for s in sold)
        raise BadRequest(f"card={text!r}: sold with {sizes}", mend=f'Say which, as in --card "{text} {sold[-1]:g}GB".')
    gigabytes = float(size[1]) if size else (sold or (0.0,))[0]
    known = bool(name) and (sold is not None or name.startswith(("gtx", "rtx")))
    return Card(text.strip(), gigabytes, (not _NO_BFLOAT16.match(name)) if known else None)


def plan_for(gigabytes: float) -> Plan:
    """The plan for a card with this much memory (GB): the first of `PLANS` that fits."""
    return next(plan for plan in PLANS if gigabytes >= plan.at_least)


def advise(card: Card) -> list[str]:
    """What to expect of a card, as sentences; estimates are marked as such."""
    plan = plan_for(card.gigabytes)
    lines = [f"{card.name}, {card.gigabytes:g} GB: {plan.title} (estimate): {plan.how}; takes {plan.needs}."]
    if plan.runs and plan.at_least < 11:
        lines.append("Close other programs that use the card, and make one picture at a time.")
    if plan.runs and card.gigabytes < 15:
        lines.append("At least 32 GB of RAM, for what does not fit on the card (estimate).")
    if card.bfloat16 is False:
        lines.append(
            "This generation has no bfloat16: half precision (fp16) overflows in this model and gives black "
            "pictures, so it has to compute in fp32, which takes twice the memory (estimate)."
        )
    if plan.runs:
        lines.append("1024x1024 is the native size; up to 1536 works; for 2048 enlarge a 1024 picture.")
    return lines


def _normal(text: str) -> str:
    """`NVIDIA GeForce RTX 4070 TI S` -> `rtx 4070 ti super`; a bare number gets its family (gtx, rtx)."""
    words = re.sub(r"nvidia|geforce|tesla|laptop|gpu|desktop", " ", text.lower())
    words = re.sub(r"(\d{4})\s*(ti)?\s*(super|s|d)?\b", r"\1 \2 \3", words.replace("-", " "))
    words = re.sub(r"\bs$", "super", " ".join(words.split()))
    if re.match(r"1[06]\d0", words):
        words = f"gtx {words}"
    elif re.match(r"[2345]0\d0", words) or re.match(r"a[2456]000", words):
        words = f"rtx {words}"
    return words
