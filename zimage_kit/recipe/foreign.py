"""Recipes of other programs, read as far as they go: what was taken, changed to fit, and left out is told.

So far the text that A1111 writes, which Forge, Civitai and others write too: prompt, negative prompt, one line of
settings that begins with "Steps:", and whatever extensions add after it.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import ZImageError
from .request import LARGEST_SIDE, SIDE_MULTIPLE, SMALLEST_SIDE, Lora, Request

_SETTING = re.compile(r'\s*([\w][\w /-]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_LORA = re.compile(r"\s*,?\s*<(?:lora|lyco):([^:<>]+)(?::([-+]?[\d.]+))?(?::[^<>]*)?>")
_OURS = "zimage_kit"


def read_a1111(text: str) -> tuple[Request, tuple[str, ...]] | None:
    """A request, and notes on what became of the rest; None if it is not such a text.

    A1111's CFG scale multiplies (cond - uncond) from uncond and so is 1 + our guidance.
    """
    lines = text.strip().splitlines()
    at = next((i for i in reversed(range(len(lines))) if lines[i].lstrip().startswith("Steps:")), None)
    if at is None:
        return None
    settings = {key.strip(): value.strip().strip('"') for key, value in _SETTING.findall(lines[at])}
    ours = settings.get("Version", "").startswith(_OURS)
    notes = ["recipe read from an A1111 parameters line, so a new picture may differ"]
    prompt, negative = _prompts("\n".join(lines[:at]))
    prompt, loras, missing = _loras(prompt)
    fields: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative, "loras": loras}
    notes += [f"LoRA {name}: left out, since none of this name is here" for name in missing]
    for key, name in (("Steps", "steps"), ("Seed", "seed")):
        if (settings.get(key) or "").isdecimal():
            fields[name] = int(settings.pop(key))
    if match := re.fullmatch(r"(\d+)x(\d+)", settings.get("Size", "")):
        size = int(match[1]), int(match[2])
        fields["width"], fields["height"] = nearest(size)
        if (fields["width"], fields["height"]) != size:
            notes.append(f"size {settings['Size']}: {fields['width']}x{fields['height']}, the nearest that can be made")
        del settings["Size"]
    try:
        fields["guidance"] = max(0.0, round(float(settings["CFG scale"]) - 1, 6))
        del settings["CFG scale"]
    except (KeyError, ValueError):
        pass  # stays among the settings, which are told
    if negative and not fields.get("guidance"):
        fields["negative_prompt"] = ""
        notes.append(f"negative prompt: left out, since it does nothing without guidance: {negative}")
    model = settings.pop("Model", None)
    if ours:
        fields["model"] = model
    else:
        notes.append(f"model {model or 'not named'}: ignored, since another program named it")
    request = Request()
    for name, value in fields.items():
        try:
            request = request.but(**{name: value})
        except ZImageError as error:
            notes.append(f"left out: {error}")
    notes += [f"left out: {key}: {value}" for key, value in settings.items() if key not in ("Version", "Model hash")]
    notes += [f"left out: {line.strip()}" for line in lines[at + 1 :] if line.strip()]
    return request, tuple(notes)


def nearest(size: tuple[int, int]) -> tuple[int, int]:
    """The nearest size that a request may have: multiples of 16, and of two as near the one of more alike shape."""
    width, height = size
    scale = min(1.0, LARGEST_SIDE / max(width, height, 1)) * max(1.0, SMALLEST_SIDE / max(1, min(width, height)))

    def around(side: float) -> set[int]:
        low = int(side) // SIDE_MULTIPLE * SIDE_MULTIPLE
        return {min(LARGEST_SIDE, max(SMALLEST_SIDE, each)) for each in (low, low + SIDE_MULTIPLE)}

    def differs(found: tuple[int, int]) -> tuple[float, float]:
        shape = abs(found[0] * height - found[1] * width) / max(1, found[1] * height)
        return abs(found[0] - width * scale) + abs(found[1] - height * scale), shape

    return min(((w, h) for w in around(width * scale) for h in around(height * scale)), key=differs)


def _prompts(body: str) -> tuple[str, str]:
    """Prompt and negative prompt."""
    before, found, after = f"\n{body}".rpartition("\nNegative prompt:")
    return (before.strip(), after.strip()) if found else (body.strip(), "")


def _loras(prompt: str) -> tuple[str, tuple[Lora, ...], list[str]]:
    """The prompt without its LoRA tags, the LoRAs that are here by name, and the names of the others."""
    from ..models.loras import lora_file  # from a room above: which LoRAs are here
    from ..models.spec import default_model, resolve

    loras, missing = [], []
    for name, weight in _LORA.findall(prompt):
        try:
            lora = Lora(path=name.strip(), weight=float(weight or 1))
            lora_file(lora, resolve(default_model()))
            loras.append(lora)
        except (ZImageError, ValueError):
            missing.append(name.strip())
    return _LORA.sub("", prompt).strip(), tuple(loras), missing
