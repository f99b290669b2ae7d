"""Recipes that other programs write as JSON: InvokeAI, SwarmUI, Fooocus, Draw Things, NovelAI."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .comfyui import comfyui
from .embedded import element
from .foreign import Found, a1111, items, json_object, to_request
from .png import PARAMETERS
from .request import Request

_SIZE = re.compile(r"\D*(\d+)\D+(\d+)\D*")


def read_foreign(texts: Mapping[str, str]) -> tuple[Request, tuple[str, ...]] | None:
    """A request from the texts of a picture, and notes on what became of the rest; None where no program's is there."""
    for reader in READERS:
        found = reader(texts)
        if found is not None:
            return to_request(found)
    return None


def invokeai(texts: Mapping[str, str]) -> Found | None:
    """InvokeAI since version 3 ("invokeai_metadata"), and before ("sd-metadata")."""
    given = json_object(texts.get("invokeai_metadata"))
    if given is None:
        given = (json_object(texts.get("sd-metadata")) or {}).get("image")
        if not isinstance(given, dict):
            return None
        given = {**given, "positive_prompt": given.get("prompt")}
    taken = (
        "positive_prompt",
        "prompt",
        "negative_prompt",
        "steps",
        "seed",
        "width",
        "height",
        "cfg_scale",
        "model",
        "loras",
    )
    found = _found("InvokeAI's metadata", given, taken, "positive_prompt", "negative_prompt", cfg="cfg_scale")
    found.model = _name(given.get("model"))
    loras = [each for each in items(given.get("loras")) if isinstance(each, dict)]
    found.loras = [(_name(each.get("model") or each.get("lora")) or "", each.get("weight", 1)) for each in loras]
    return found


def swarmui(texts: Mapping[str, str]) -> Found | None:
    """SwarmUI's "sui_image_params"."""
    given = (json_object(texts.get(PARAMETERS)) or {}).get("sui_image_params")
    if not isinstance(given, dict):
        return None
    taken = (
        "prompt", "negativeprompt", "steps", "seed", "width", "height", "cfgscale", "model", "loras", "loraweights",
        "swarm_version",
    )  # fmt: skip
    found = _found("SwarmUI's parameters", given, taken, "prompt", "negativeprompt", cfg="cfgscale")
    names, weights = items(given.get("loras")), items(given.get("loraweights"))
    found.loras = [(str(name), weights[i] if i < len(weights) else 1) for i, name in enumerate(names)]
    found.model = _name(given.get("model"))
    return found


def fooocus(texts: Mapping[str, str]) -> Found | None:
    """Fooocus's own scheme of JSON; its other one is A1111's."""
    given = json_object(texts.get(PARAMETERS))
    if given is None or "prompt" not in given or not {"base_model", "guidance_scale", "resolution"} & set(given):
        return None
    combined = [str(value).rpartition(" : ") for key, value in given.items() if key.startswith("lora_combined_")]
    taken = (
        "prompt", "negative_prompt", "steps", "seed", "resolution", "guidance_scale", "base_model", "loras", "version",
        "metadata_scheme", *(key for key in given if key.startswith("lora_combined_")),
    )  # fmt: skip
    found = _found("Fooocus's metadata", given, taken, "prompt", "negative_prompt", cfg="guidance_scale")
    found.width, found.height = _size(given.get("resolution"))
    found.model = _name(given.get("base_model"))
    pairs = [(str(each[0]), each[1]) for each in items(given.get("loras")) if isinstance(each, list) and len(each) > 1]
    found.loras = pairs or [(name, weight) for name, _, weight in combined]  # the same ones, where both are there
    return found


def draw_things(texts: Mapping[str, str]) -> Found | None:
    """Draw Things' JSON in XMP's exif:UserComment, or in EXIF's."""
    told = element(texts.get("xmp", "").partition("<exif:UserComment>")[2], "rdf:li")
    given = json_object(html.unescape(told)) if told is not None else json_object(texts.get(PARAMETERS))
    if given is None or "c" not in given or "sampler" not in given:
        return None
    taken = ("c", "uc", "steps", "seed", "size", "scale", "model", "lora", "v2", "profile")
    found = _found("Draw Things' metadata", given, taken, "c", "uc", cfg="scale")
    found.width, found.height = _size(given.get("size"))
    found.model = _name(given.get("model"))
    loras = [each for each in items(given.get("lora")) if isinstance(each, dict)]
    found.loras = [(_name(each.get("model")) or "", each.get("weight", 1)) for each in loras]
    return found


def novelai(texts: Mapping[str, str]) -> Found | None:
    """NovelAI's "Comment", with the prompt in "Description"; programs that write the same are read too."""
    given = json_object(texts.get("Comment"))
    if given is None or not {"uc", "scale"} <= set(given):
        return None
    prompt = texts.get("Description") or given.get("prompt")
    taken = ("prompt", "uc", "steps", "seed", "width", "height", "scale")
    found = _found("NovelAI's comment", {**given, "prompt": prompt}, taken, "prompt", "uc", cfg="scale")
    found.model = texts.get("Source") or None
    return found


def _of_a1111(texts: Mapping[str, str]) -> Found | None:
    return a1111(texts.get(PARAMETERS, ""))


READERS: Sequence[Callable[[Mapping[str, str]], Found | None]] = (
    _of_a1111, swarmui, fooocus, invokeai, draw_things, novelai, comfyui,
)  # fmt: skip
"""Tried in this order: programs that run on ComfyUI write its graph beside their own."""


def _found(source: str, given: Mapping[str, Any], taken: Sequence[str], prompt: str, negative: str, cfg: str) -> Found:
    """What most have under these names; the rest is told, but for what is empty or a whole table."""
    rest = {
        key: value
        for key, value in given.items()
        if key not in taken and value not in ("", None, [], {}) and not isinstance(value, dict | list)
    }
    return Found(
        source,
        _words(given.get(prompt)),
        _words(given.get(negative)),
        given.get("steps"),
        given.get("seed"),
        given.get("width"),
        given.get("height"),
        given.get(cfg),
        rest=rest,
    )


def _words(value: Any) -> str:
    """A prompt: a text, or a list of parts with a "prompt" each."""
    if isinstance(value, list):
        return ", ".join(str(each["prompt"]) for each in value if isinstance(each, dict) and "prompt" in each)
    return value if isinstance(value, str) else ""


def _name(value: Any) -> str | None:
    """Of a model, that is named or described."""
    if isinstance(value, dict):
        value = value.get("name") or value.get("model_name") or value.get("key")
    return str(value) if value else None


def _size(value: Any) -> tuple[Any, Any]:
    """Width and height of "1024x768" or "(1024, 768)"."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return (match[1], match[2]) if match else (value, value)
