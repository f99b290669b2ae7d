"""The layouts in which trainers write LoRAs for Z-Image, made into the one that peft reads.

A file names, for each layer, its two matrices (lora_A or lora_down, lora_B or lora_up), often an alpha, and for DoRA a
magnitude; a LoKr file names Kronecker factors. Trainers differ in what they call layers: with a prefix, with
underscores for dots, or by the names of the original model, whose q, k and v are one layer. Known are the names that
diffusers, peft, kohya's scripts, ai-toolkit, OneTrainer, DiffSynth-Studio, musubi-tuner and LyCORIS write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_PREFIXES = (
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "unet.",
    "lora_unet_", "lora_transformer_", "lycoris_", "lora_",
)  # fmt: skip
_KEY = re.compile(
    r"(?P<layer>.+?)\.(?P<part>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up|alpha|dora_scale"
    r"|lora_magnitude_vector|lokr_w[12](?:_[ab])?|lokr_t2|hada_\w+|diff(?:_b)?)(?:\.(?!bias)\w+)?(?:\.weight)?"
)
_PARTS = {"lora_A": "A", "lora_down": "A", "lora.down": "A", "lora_B": "B", "lora_up": "B", "lora.up": "B"}
_PARTS |= {"dora_scale": "magnitude", "lora_magnitude_vector": "magnitude"}
_ALIASES = (
    (re.compile(r"\.attention\.to_out\.0$"), (".attention.out", ".attention.to_out")),
    (re.compile(r"\.adaLN_modulation\.0$"), (".adaLN_modulation",)),
    (re.compile(r"^all_x_embedder\.2-1$"), ("x_embedder",)),
    (re.compile(r"^all_final_layer\.2-1\."), ("final_layer.",)),
)
"""Other names of modules: what is replaced in diffusers' name, and by what."""


@dataclass
class Converted:
    """A file's content for peft, and what became of its layers.

    `state`: tensors by `transformer.LAYER.lora_A.weight` and so on, alphas multiplied in. `fitting`: the file's layers
    that are in it; `strange`: those that the model does not have; `unusable`: others, with the reason.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    fitting: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)


def convert(tensors: Mapping[str, Tensor], modules: Iterable[str], metadata: Mapping[str, str]) -> Converted:
    """A file's tensors, for linear layers of these names in diffusers' words. `metadata`: of the safetensors file."""
    names, config, found = _Names(modules), _config(metadata), Converted()
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            found.strange.append(key)
            continue
        part = _PARTS.get(match["part"], match["part"])
        layers.setdefault(match["layer"], {})[part] = tensor
    dora = any("magnitude" in parts for parts in layers.values())
    lokr = any(part.startswith("lokr_") for parts in layers.values() for part in parts)
    for layer, parts in layers.items():
        targets = names.find(layer)
        if not targets:
            found.strange.append(_short(layer))
            continue
        if problem := _problem(parts, len(targets), dora, lokr):
            found.unusable[_short(layer)] = problem
            continue
        if "A" in parts:
            _put_lora(found.state, targets, parts, _scale(parts, config, _short(layer)))
        else:
            _put_lokr(found.state, targets[0], parts)
        found.fitting.append(_short(layer))
    # diffusers tells the layout by the first name
    found.state = dict(sorted(found.state.items(), key=lambda item: ".lora_A." not in item[0]))
    return found


class _Names:
    """Finds modules by what trainers call them."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._modules: dict[str, tuple[str, ...]] = {name: (name,) for name in modules}
        for name in list(self._modules):
            for pattern, others in _ALIASES:
                for other in others if pattern.search(name) else ():
                    self._modules.setdefault(pattern.sub(other, name), (name,))
            if name.endswith(".attention.to_q"):
                block = name.removesuffix("to_q")
                self._modules[f"{block}qkv"] = self._modules[f"{block}to_qkv"] = (
                    name, f"{block}to_k", f"{block}to_v",
                )  # fmt: skip
        self._flat = {name.replace(".", "_"): name for name in self._modules}

    def find(self, layer: str) -> tuple[str, ...]:
        """The modules of a layer: one, or q, k and v; none if it is no layer of this model."""
        short = _short(layer)
        return self._modules.get(short, self._modules.get(self._flat.get(short.replace(".", "_"), ""), ()))


def _short(layer: str) -> str:
    """A layer's name without the prefixes of trainers."""
    while (prefix := next((each for each in _PREFIXES if layer.startswith(each)), None)) is not None:
        layer = layer.removeprefix(prefix)
    return layer


def _problem(parts: Mapping[str, Tensor], count: int, dora: bool, lokr: bool) -> str:
    """Why a layer of the model cannot be used, or "". `dora`, `lokr`: some layer of the file is of that kind."""
    kinds = set(parts)
    if any(kind.startswith("hada_") for kind in kinds):
        return "LoHa"
    if any(kind.startswith("diff") for kind in kinds):
        return "a full difference"
    if any(kind.startswith("lokr_") for kind in kinds):
        if "magnitude" in kinds or "lokr_t2" in kinds:
            return "LoKr with a magnitude, or of a convolution"
        whole = all(f"lokr_w{i}" in kinds or {f"lokr_w{i}_a", f"lokr_w{i}_b"} <= kinds for i in (1, 2))
        return "LoKr of a layer that is several here" if count > 1 else "" if whole else "a factor is missing"
    if lokr:
        return "LoRA in a file of LoKr"  # peft reads a file as one kind
    if not {"A", "B"} <= kinds:
        return "one of its two matrices is missing"
    rows = parts["B"].shape[0]
    if rows % count:
        return f"{rows} rows for {count} layers"
    if "magnitude" in kinds and parts["magnitude"].numel() != rows:
        return "DoRA by columns"
    if dora and "magnitude" not in kinds:
        return "without a magnitude, in a file of DoRA"
    return ""


def _scale(parts: Mapping[str, Tensor], config: Mapping[str, Any], layer: str) -> float:
    """By what the product of the two matrices is multiplied: alpha / rank."""
    rank = parts["A"].shape[0]
    if "alpha" in parts:
        return float(parts["alpha"]) / rank
    if not config.get("lora_alpha"):
        return 1.0
    own = config.get("alpha_pattern") or {}
    alpha = next((own[name] for name in own if f".{layer}".endswith(f".{name.lstrip('^')}")), None)
    return float(alpha or config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank)


def _config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The configuration of peft that diffusers writes into a file; of a pipeline's, what concerns the transformer."""
    try:
        found = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key.removeprefix("transformer."): value for key, value in found.items()}


def _plain(tensor: Tensor) -> Tensor:
    """As a matrix, of a type that is computed in."""
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return wide.reshape(wide.shape[:2]) if wide.dim() > 2 else wide


def _put_lora(state: dict[str, Tensor], targets: tuple[str, ...], parts: Mapping[str, Tensor], scale: float) -> None:
    down, up = _plain(parts["A"]), _plain(parts["B"])
    up = up if scale == 1 else (up.float() * scale).to(up.dtype)
    magnitude = parts["magnitude"].flatten() if "magnitude" in parts else None
    for place, target in enumerate(targets):
        rows = slice(place * len(up) // len(targets), (place + 1) * len(up) // len(targets))
        state[f"transformer.{target}.lora_A.weight"] = down.clone() if place else down
        state[f"transformer.{target}.lora_B.weight"] = up[rows].contiguous()
        if magnitude is not None:
            state[f"transformer.{target}.lora_magnitude_vector"] = _plain(magnitude)[rows].contiguous()


def _put_lokr(state: dict[str, Tensor], target: str, parts: Mapping[str, Tensor]) -> None:
    """Kronecker factors; alpha counts only where one of them is a product of two (LyCORIS)."""
    factors = {name: _plain(tensor) for name, tensor in parts.items() if name.startswith("lokr_")}
    inner = next((factors[name] for name in ("lokr_w2_b", "lokr_w1_b") if name in factors), None)
    if inner is not None and "alpha" in parts:
        first = "lokr_w1" if "lokr_w1" in factors else "lokr_w1_a"
        scale = float(parts["alpha"]) / inner.shape[0]
        factors[first] = (factors[first].float() * scale).to(factors[first].dtype)
    state |= {f"transformer.{target}.{name}": tensor for name, tensor in factors.items()}


def read(path: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a .safetensors file. Raises what safetensors raises."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        # copied, since products of numbers that lie at another alignment in a file are rounded otherwise
        return {key: file.get_tensor(key).clone() for key in file.keys()}, metadata  # noqa: SIM118  no dict


def linear_layers(transformer: torch.nn.Module) -> list[str]:
    """The names of a model's linear layers, whether they have adapters or not."""
    found: dict[str, None] = {}
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and ".lora_" not in name and ".lokr_" not in name:
            found[name.replace(".base_layer", "")] = None
    return list(found)
