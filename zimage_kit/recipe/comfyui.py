"""ComfyUI's graphs, followed from the picture back to its text, seed, steps, size, LoRAs and model.

A picture of ComfyUI carries the graph that ran ("prompt": nodes by id, each with its inputs; a list [id, slot] is a
link) and the one of its page ("workflow": a list of nodes with the values of their widgets). The first is read, else
the second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from .foreign import Found, items, json_object

_WIDGETS: dict[str, tuple[str, ...]] = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step",
    ),
    "CLIPTextEncode": ("text",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "RandomNoise": ("noise_seed", ""),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KSamplerSelect": ("sampler_name",),
    "CFGGuider": ("cfg",),
    "ModelSamplingAuraFlow": ("shift",),
    "PrimitiveInt": ("value", ""),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
}  # fmt: skip
"""The inputs that the values of a node's widgets are, in the page's graph; "" for a button beside one."""
_MODELS = ("unet_name", "ckpt_name", "model_name", "gguf_name")
_TEXTS = ("populated_text", "text", "prompt", "string", "value", "text_g", "clip_l", "t5xxl")
_NUMBERS = ("value", "number", "int", "float", "seed")
_STRENGTHS = ("strength_model", "lora_model_strength", "strength")
_SIDES = ("width", "empty_latent_width"), ("height", "empty_latent_height")
_MOST_TEXTS = 100
_TOLD = ("sampler_name", "scheduler", "denoise", "shift")
_MUTED = (2, 4)
"""Modes of nodes that did not run."""


def comfyui(texts: Mapping[str, str]) -> Found | None:
    """What the graph of a picture says; None where it carries none, or one without a sampler."""
    for name, nodes_of in (("prompt", _of_api), ("workflow", _of_page)):
        graph = json_object(texts.get(name))
        if graph and (nodes := nodes_of(graph)) and (found := _followed(nodes)):
            return found
    return None


Nodes = Mapping[str, tuple[str, Mapping[str, Any]]]
"""By id: a node's class, and its inputs."""


def _of_api(graph: Mapping[str, Any]) -> Nodes:
    return {
        str(key): (str(node["class_type"]), node["inputs"])
        for key, node in graph.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node
    }


def _of_page(graph: Mapping[str, Any]) -> Nodes:
    given = (link for link in items(graph.get("links")) if isinstance(link, list) and link[2:])
    links = {str(link[0]): [str(link[1]), link[2]] for link in given}
    nodes = {}
    for node in items(graph.get("nodes")):
        if not isinstance(node, dict) or "id" not in node or node.get("mode") in _MUTED:
            continue
        kind, values = str(node.get("type")), node.get("widgets_values")
        inputs = dict(values) if isinstance(values, dict) else {}
        if isinstance(values, list):
            inputs = {name: value for name, value in zip(_WIDGETS.get(kind, ()), values, strict=False) if name}
        for each in items(node.get("inputs")):
            if isinstance(each, dict) and str(each.get("link")) in links:
                inputs[str(each.get("name"))] = links[str(each["link"])]
        nodes[str(node["id"])] = kind, inputs
    return nodes


def _followed(nodes: Nodes) -> Found | None:
    sampler = _sampler(nodes)
    if sampler is None:
        return None
    inputs = nodes[sampler][1]
    positive, negative = inputs.get("positive"), inputs.get("negative")
    guider = _target(inputs.get("guider"), nodes)
    if guider is not None:
        guides = nodes[guider][1]
        positive, negative = guides.get("positive", guides.get("conditioning")), guides.get("negative")
    said = _text(positive, nodes, "positive", set())
    found = Found("a ComfyUI graph", said or "", _text(negative, nodes, "negative", set()) or "")
    found.seed = _first(sampler, ("seed", "noise_seed"), nodes)
    found.steps, found.cfg = (_first(sampler, (name,), nodes) for name in ("steps", "cfg"))
    latents = _target(inputs.get("latent_image"), nodes)
    if latents is not None:
        found.width, found.height = (_first(latents, names, nodes) for names in _SIDES)
    model = _first(sampler, _MODELS, nodes)
    found.model = str(model) if model is not None else None
    found.loras = list(_loras(sampler, nodes))
    found.rest = {name: value for name in _TOLD if (value := _first(sampler, (name,), nodes)) is not None}
    if said is None and (target := _target(positive, nodes)) is not None:
        found.rest["prompt"] = f"its text was not found in {nodes[target][0]}"
    others = sorted({nodes[each][0] for each in _upstream(sampler, nodes)} - set(_WIDGETS) - set(_PLAIN))
    if others:
        found.rest["nodes"] = ", ".join(others)
    return found


_PLAIN = (
    "CLIPLoader", "DualCLIPLoader", "VAELoader", "VAEDecode", "SaveImage", "PreviewImage", "SamplerCustomAdvanced",
    "SamplerCustom", "BasicGuider", "ConditioningZeroOut", "Reroute", "Note", "MarkdownNote", "CLIPLoaderGGUF",
)  # fmt: skip
"""Nodes that change nothing that is not read."""


def _sampler(nodes: Nodes) -> str | None:
    """The node that samples what is saved: of several one after the other, the first, which drew the picture."""

    def samples(key: str) -> bool:
        inputs = nodes[key][1]
        return "latent_image" in inputs and ("positive" in inputs or "guider" in inputs)

    saved = [
        key for key, (kind, inputs) in nodes.items() if "images" in inputs and ("Save" in kind or "Preview" in kind)
    ]
    seen: set[str] = set()  # what depends on nothing that samples
    for start in [*saved, *(key for key in nodes if samples(key))]:
        ran = [key for key in _upstream(start, nodes, seen) if samples(key)]
        if ran:
            return ran[-1]
    return None


def _target(value: Any, nodes: Nodes) -> str | None:
    """The node that a link leads to; None for a value, or a link to nowhere."""
    if isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list | dict) and str(value[0]) in nodes:
        return str(value[0])
    return None


def _upstream(start: str, nodes: Nodes, seen: set[str] | None = None) -> Iterator[str]:
    """The node and all that it depends on, nearest first, each once; without those in `seen`, where they are added."""
    seen = set() if seen is None else seen
    waiting = deque() if start in seen else deque([start])
    seen.add(start)
    while waiting:
        key = waiting.popleft()
        yield key
        for value in nodes[key][1].values():
            target = _target(value, nodes)
            if target is not None and target not in seen:
                seen.add(target)
                waiting.append(target)


def _value(value: Any, nodes: Nodes, seen: set[str]) -> Any:
    """An input's number or text; of a linked one, what the nodes that it comes from hold under one of `_NUMBERS`.

    `seen`: nodes that were asked already and hold none.
    """

    def fits(found: Any) -> bool:
        return isinstance(found, int | float | str)

    target = _target(value, nodes)
    if target is None:
        return value if fits(value) else None
    for key in _upstream(target, nodes, seen):
        for name in _NUMBERS:
            if fits(found := nodes[key][1].get(name)):
                return found
    return None


def _first(start: str, names: tuple[str, ...], nodes: Nodes) -> Any:
    """The nearest value under one of these names, of a node or of what it depends on."""
    seen: set[str] = set()
    for key in _upstream(start, nodes):
        for name in names:
            if name in nodes[key][1]:
                found = _value(nodes[key][1][name], nodes, seen)
                if found is not None:
                    return found
    return None


def _text(value: Any, nodes: Nodes, side: str, seen: set[str]) -> str | None:
    """The text of a conditioning; "" where it is made zero, None where none is found.

    `side`: "positive" or "negative", which is followed through nodes that pass both on. `seen`: such nodes, and those
    that join texts, that were passed: each is once.
    """
    target = _target(value, nodes)
    if target is None:
        return value if isinstance(value, str) else None
    if nodes[target][0] == "ConditioningZeroOut":
        return ""
    for key in _upstream(target, nodes):
        inputs = nodes[key][1]
        joins = "delimiter" in inputs
        if side in inputs or joins:
            if key in seen or len(seen) > _MOST_TEXTS:
                return None
            seen.add(key)
            if not joins:
                return _text(inputs[side], nodes, side, seen)
            parts = [name for name in inputs if name.startswith(("string", "text"))]
            between = _text(inputs["delimiter"], nodes, side, seen) or ""
            return between.join(filter(None, (_text(inputs[name], nodes, side, seen) for name in parts)))
        for name in _TEXTS:
            if isinstance(text := inputs.get(name), str):
                return text
    return None


def _loras(start: str, nodes: Nodes) -> Iterator[tuple[str, Any]]:
    for key in _upstream(start, nodes):
        inputs = nodes[key][1]
        if isinstance(inputs.get("lora_name"), str) and inputs["lora_name"] != "None":
            yield inputs["lora_name"], next((inputs[name] for name in _STRENGTHS if name in inputs), 1)
        for value in inputs.values():  # a node with a list of them
            if isinstance(value, dict) and isinstance(value.get("lora"), str) and value.get("on", True):
                yield value["lora"], value.get("strength", 1)
