"""Recipes of other programs, read as far as they go: what was taken, changed to fit, and left out is told.

Here is what all have in common, and the text that A1111 writes, which Forge, Civitai and others write too: prompt,
negative prompt, one line of settings that begins with "Steps:", and whatever extensions add after it. `programs` reads
what other programs write as JSON, `comfyui` its graphs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any

from ..errors import ZImageError
from .request import LARGEST_SIDE, SIDE_MULTIPLE, SMALLEST_SIDE, Lora, Request

_SETTING = re.compile(r'(\w[\w /-]{0,99}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_LORA = re.compile(r"\s{0,8},?\s{0,8}<(?:lora|lyco):([^:<>]+)(?::([-+]?[\d.]+))?(?::[^<>]*)?>")
_OURS = "zimage_kit"
_DIGITS = 30
"""Longer numbers are none: seeds have up to 20 digits."""


@dataclass
class Found:
    """What a program's recipe says, in its own values. `source`: in what it was found, in words.

    `steps`, `seed`, `width`, `height`, `cfg`: numbers, or text that should be one; None where it says nothing. `cfg`
    multiplies (cond - uncond) from uncond, and so is 1 + our guidance. `loras`: names and weights. `rest`: what has no
    place in a request; `lines`: the same without a name. `ours`: it names one of our models.
    """

    source: str
    prompt: str = ""
    negative_prompt: str = ""
    steps: Any = None
    seed: Any = None
    width: Any = None
    height: Any = None
    cfg: Any = None
    model: str | None = None
    loras: Sequence[tuple[str, Any]] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()
    ours: bool = False


def to_request(found: Found) -> tuple[Request, tuple[str, ...]]:
    """A request that can be run here, and notes on what became of the rest."""
    notes = [f"recipe read from {found.source}, so a new picture may differ"]
    prompt, tags = _tagged(found.prompt.strip())
    loras, missing = _here([*tags, *found.loras])
    fields: dict[str, Any] = {"prompt": prompt, "negative_prompt": found.negative_prompt.strip(), "loras": loras}
    notes += [f"LoRA {name}: left out, since none of this name is here" for name in missing]
    rest = dict(found.rest)
    for key, name in (("Steps", "steps"), ("Seed", "seed")):
        value = getattr(found, name)
        if (number := _whole(value)) is not None:
            fields[name] = number
        elif value is not None:
            rest = {key: value, **rest}
    size = _whole(found.width), _whole(found.height)
    if size[0] and size[1]:
        fields["width"], fields["height"] = made = nearest((size[0], size[1]))
        if made != size:
            notes.append(f"size {size[0]}x{size[1]}: {made[0]}x{made[1]}, the nearest that can be made")
    elif found.width is not None:
        rest = {"Size": f"{found.width}x{found.height}", **rest}
    if found.cfg is not None:
        try:
            fields["guidance"] = max(round(float(found.cfg) - 1, 6), 0.0)  # in this order: nan stays nan
        except (TypeError, ValueError, OverflowError):
            rest = {"CFG scale": found.cfg, **rest}
    if fields["negative_prompt"] and not fields.get("guidance"):
        said = fields["negative_prompt"]
        fields["negative_prompt"] = ""
        notes.append(f"negative prompt: left out, since it does nothing without guidance: {said}")
    if found.ours:
        fields["model"] = found.model
    else:
        notes.append(f"model {found.model or 'not named'}: ignored, since another program named it")
    request = Request()
    for name, value in fields.items():
        try:
            request = request.but(**{name: value})
        except ZImageError as error:
            notes.append(f"left out: {error}")
    notes += [f"left out: {key}: {value}" for key, value in rest.items()]
    notes += [f"left out: {line}" for line in found.lines]
    return request, tuple(notes)


def a1111(text: str) -> Found | None:
    """What A1111's text says; None if it is none."""
    lines = text.strip().splitlines()
    begins = [i for i, line in enumerate(lines) if line.lstrip().startswith("Steps:")]
    if not begins:
        return None
    at = next((i for i in reversed(begins) if re.match(r"\s*Steps:\s*\d", lines[i])), begins[-1])
    settings = {key.strip(): value.strip().strip('"') for key, value in _SETTING.findall(lines[at])}
    prompt, negative = _prompts("\n".join(lines[:at]))
    found = Found("an A1111 parameters line", prompt, negative, ours=settings.get("Version", "").startswith(_OURS))
    if size := re.fullmatch(r"(\d+)x(\d+)", settings.get("Size", "")):
        found.width, found.height = size.groups()
        del settings["Size"]
    found.steps, found.seed = settings.pop("Steps", None), settings.pop("Seed", None)
    found.cfg, found.model = settings.pop("CFG scale", None), settings.pop("Model", None)
    found.rest = {key: value for key, value in settings.items() if key not in ("Version", "Model hash")}
    found.lines = [line.strip() for line in lines[at + 1 :] if line.strip()]
    return found


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


def _tagged(prompt: str) -> tuple[str, list[tuple[str, Any]]]:
    """The prompt without its LoRA tags, and their names and weights."""
    return _LORA.sub("", prompt).strip(), [(name.strip(), weight or 1) for name, weight in _LORA.findall(prompt)]


def _here(named: Sequence[tuple[str, Any]]) -> tuple[tuple[Lora, ...], list[str]]:
    """The LoRAs that are here by name, and the names of the others."""
    from ..models.loras import lora_file  # from a room above: which LoRAs are here
    from ..models.spec import default_model, resolve

    loras, missing = [], []
    for name, weight in named:
        stem = PureWindowsPath(name).name.removesuffix(".safetensors")  # of either system's paths
        try:
            lora = Lora(path=stem, weight=float(weight))
            lora_file(lora, resolve(default_model()))
            loras.append(lora)
        except (ZImageError, TypeError, ValueError, OverflowError):
            missing.append(name)
    return tuple(loras), missing


def json_object(text: str | None) -> dict[str, Any] | None:
    """An object of JSON; None for anything else."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def items(value: Any) -> list[Any]:
    """The items of a list of JSON; none for anything else."""
    return value if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    """A number without a fraction, also as ASCII text; None for anything else."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal() and len(value) < _DIGITS:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 63 or value != value // 1:
        return None
    return int(value) if abs(value) < 10**_DIGITS else None
