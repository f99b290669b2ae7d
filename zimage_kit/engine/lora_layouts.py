"""The layouts in which trainers write LoRAs for Z-Image, made into adapters for the model's modules.

A file names, for each layer, the tensors of one kind (a LoRA's two matrices, a LoHa's four, a LoKr's Kronecker factors,
or a whole difference), often an alpha, for DoRA a magnitude, and perhaps a bias. Trainers differ in what they call
layers: with a prefix, with underscores for dots, or by the names of the original model, whose q, k and v are one layer.
Known are the names that diffusers, peft, kohya's scripts, ai-toolkit, OneTrainer, DiffSynth-Studio, musubi-tuner,
LyCORIS and ComfyUI write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..files import parsed_json
from .adapters import Delta, Dense, Hadamard, Kronecker, LowRank

_PREFIXES = (
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "unet.",
    "lora_unet_", "lora_transformer_", "lycoris_", "lora_",
)  # fmt: skip
_KEY = re.compile(
    r"(?P<layer>.+?)\.(?P<part>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up|alpha|dora_scale"
    r"|lora_magnitude_vector|lokr_w[12](?:_[ab])?|lokr_t2|hada_(?:w[12]_[ab]|t[12])|diff(?:_b)?|[wb]_norm)"
    r"(?:\.(?!bias)\w+)?(?P<bias>\.bias)?(?:\.weight)?"
)
_PARTS = {"lora_A": "A", "lora_down": "A", "lora.down": "A", "lora_B": "B", "lora_up": "B", "lora.up": "B"}
_PARTS |= {"w_norm": "diff", "b_norm": "diff_b"}
_KINDS = {
    "LoRA": ("A", "B"),
    "LoHa": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    "LoKr": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    "a difference": ("diff",),
}
"""The tensors of each kind."""
_ALIASES = (
    (re.compile(r"\.attention\.to_out\.0$"), (".attention.out", ".attention.to_out")),
    (re.compile(r"\.attention\.norm_q$"), (".attention.q_norm",)),
    (re.compile(r"\.attention\.norm_k$"), (".attention.k_norm",)),
    (re.compile(r"\.adaLN_modulation\.0$"), (".adaLN_modulation",)),
    (re.compile(r"^all_x_embedder\.2-1$"), ("x_embedder",)),
    (re.compile(r"^all_final_layer\.2-1\."), ("final_layer.",)),
)
"""Other names of modules: what is replaced in diffusers' name, and by what."""


class Module(NamedTuple):
    """A module of the model that can be adapted: a linear layer, or a norm (`rows` 0) of this `width`."""

    rows: int
    width: int
    bias: bool = False


@dataclass(frozen=True)
class Change:
    """What a file says of one of its layers, which is one module of the model or several, one behind the other.

    `delta` of all their rows, `bias` [rows]; DoRA's `magnitude` [rows, 1] or [1, width]; or `gain` [width] of a norm.
    """

    targets: tuple[str, ...]
    delta: Delta | None = None
    bias: Tensor | None = None
    magnitude: Tensor | None = None
    gain: Tensor | None = None


@dataclass
class Converted:
    """A file's content, and what became of its layers.

    `changes`: of the layers that are `fitting`; `strange`: those that the model does not have; `unusable`: others,
    with the reason.
    """

    changes: list[Change] = field(default_factory=list)
    fitting: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)


class _Unusable(Exception):
    """Why a layer of the model cannot be used."""


def convert(tensors: Mapping[str, Tensor], modules: Mapping[str, Module], metadata: Mapping[str, str]) -> Converted:
    """A file's tensors, for these modules in diffusers' words. `metadata`: of the safetensors file."""
    names, config, found = _Names(modules), _config(metadata), Converted()
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        part = _PARTS.get(match["part"], match["part"]) if match else ""
        if match is None or (match["bias"] and part != "B"):
            found.strange.append(key)
            continue
        layers.setdefault(match["layer"], {})["bias" if match["bias"] else part] = tensor
    taken: set[str] = set()
    for layer, parts in layers.items():
        short, targets = _short(layer), names.find(layer)
        if not targets:
            found.strange.append(short)
            continue
        try:
            if taken & {*targets}:
                raise _Unusable("given twice")
            change = _change(short, targets, parts, [modules[target] for target in targets], config)
        except _Unusable as problem:
            found.unusable[short] = str(problem)
            continue
        except (RuntimeError, ValueError, ArithmeticError) as problem:  # tensors of any shape
            found.unusable[short] = " ".join(str(problem).split())[:100] or type(problem).__name__
            continue
        taken |= {*targets}
        found.changes.append(change)
        found.fitting.append(short)
    return found


class _Names:
    """Finds modules by what trainers call them."""

    def __init__(self, modules: Mapping[str, Module]) -> None:
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


def _change(
    layer: str,
    targets: tuple[str, ...],
    parts: Mapping[str, Tensor],
    modules: list[Module],
    config: Mapping[str, Any],
) -> Change:
    """What the tensors of one layer say. Raises _Unusable, and what tensors of wrong shapes make torch raise."""
    kinds = [kind for kind, names in _KINDS.items() if any(name in parts for name in names)]
    if len(kinds) > 1:
        raise _Unusable(" and ".join(kinds) + " at once")
    rows, width = sum(module.rows for module in modules), modules[0].width
    if not modules[0].rows:
        if {*parts} - {"alpha"} != {"diff"}:
            raise _Unusable("of a norm only differences of its weight are read")
        _check_shape(parts["diff"].shape, (width,))
        return Change(targets, gain=parts["diff"])
    delta, scale = None, 1.0
    if kinds:
        delta, scale = _delta(kinds[0], parts, config, layer)
        _check_shape(delta.shape, (rows, width))
    bias = parts.get("diff_b")
    if "bias" in parts:  # of a LoRA's second matrix
        bias = parts["bias"].float() * scale
    if bias is not None:
        if "diff_b" in parts and not all(module.bias for module in modules):
            raise _Unusable("a difference of a bias that this layer does not have")
        _check_shape(bias.shape, (rows,))
    magnitude = _magnitude(parts, rows, width)
    if delta is None and (bias is None or magnitude is not None):
        raise _Unusable("its matrices are missing")
    return Change(targets, delta, None if bias is None else _plain(bias), magnitude)


def _delta(kind: str, parts: Mapping[str, Tensor], config: Mapping[str, Any], layer: str) -> tuple[Delta, float]:
    """A layer's difference, and by what it was scaled: alpha / rank."""
    found = {name: _plain(parts[name]) for name in _KINDS[kind] if name in parts}
    if any(name in found for name in ("hada_t1", "hada_t2", "lokr_t2")):
        raise _Unusable(f"{kind} of a convolution")
    if any(tensor.dim() != 2 for tensor in found.values()):
        raise _Unusable("a tensor that is no matrix")
    if kind == "LoRA":
        if len(found) < 2:
            raise _Unusable("one of its two matrices is missing")
        scale = _scale(parts, config, layer, len(found["A"]))
        return LowRank(*_pair(found["B"], found["A"])).scaled(scale), scale
    if kind == "LoHa":
        if len(found) < 4:
            raise _Unusable("one of its four matrices is missing")
        scale = _scale(parts, config, layer, len(found["hada_w1_b"]))
        one, two = (_pair(found[f"hada_w{i}_a"], found[f"hada_w{i}_b"]) for i in (1, 2))
        _check_shape(LowRank(*two).shape, LowRank(*one).shape)
        return Hadamard(*one, *two).scaled(scale), scale
    if kind == "LoKr":
        return _kronecker(parts, found), 1.0
    return Dense(found["diff"]), 1.0


def _kronecker(parts: Mapping[str, Tensor], found: dict[str, Tensor]) -> Kronecker:
    """Alpha counts only where one of the factors is a product of two (LyCORIS)."""
    if not all(f"lokr_w{i}" in found or {f"lokr_w{i}_a", f"lokr_w{i}_b"} <= {*found} for i in (1, 2)):
        raise _Unusable("a factor is missing")
    rank = next((len(found[name]) for name in ("lokr_w2_b", "lokr_w1_b") if name in found), None)
    first = found["lokr_w1"] if "lokr_w1" in found else found["lokr_w1_a"].float() @ found["lokr_w1_b"].float()
    if "lokr_w2" in found:
        made = Kronecker(first, found["lokr_w2"])
    else:
        made = Kronecker(first, *_pair(found["lokr_w2_a"], found["lokr_w2_b"]))
    return made if rank is None or "alpha" not in parts else made.scaled(float(parts["alpha"]) / rank)


def _magnitude(parts: Mapping[str, Tensor], rows: int, width: int) -> Tensor | None:
    """DoRA's: of the rows [rows, 1], or of the columns [1, width] as LyCORIS may write them."""
    if "lora_magnitude_vector" in parts:
        _check_shape((parts["lora_magnitude_vector"].numel(),), (rows,))
        return _plain(parts["lora_magnitude_vector"].reshape(-1, 1))
    found = parts.get("dora_scale")
    if found is None:
        return None
    if found.dim() > 1 and len(found) == 1 and found.numel() == width:
        return _plain(found.reshape(1, -1))
    if found.numel() != rows:
        raise _Unusable(f"a magnitude of {found.numel()} numbers for {rows} rows and {width} columns")
    return _plain(found.reshape(-1, 1))


def _pair(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Two matrices that can be multiplied."""
    if up.shape[1] != len(down):
        raise _Unusable(f"matrices of rank {up.shape[1]} and {len(down)}")
    return up, down


def _check_shape(seen: Any, expected: tuple[int, ...]) -> None:
    if tuple(seen) != expected:
        raise _Unusable(f"{_times(seen)} in the file, {_times(expected)} in this model")


def _times(shape: Any) -> str:
    return " x ".join(map(str, shape))


def _scale(parts: Mapping[str, Tensor], config: Mapping[str, Any], layer: str, rank: int) -> float:
    """By what the product of the matrices is multiplied: alpha / rank."""
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
        found = parsed_json(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key.removeprefix("transformer."): value for key, value in found.items()}


def _plain(tensor: Tensor) -> Tensor:
    """As a matrix, of a type that is computed in."""
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return wide.reshape(wide.shape[:2]) if wide.dim() > 2 else wide


def read(path: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a .safetensors file. Raises what safetensors raises."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        # copied, since products of numbers that lie at another alignment in a file are rounded otherwise
        return {key: file.get_tensor(key).clone() for key in file.keys()}, metadata  # noqa: SIM118  no dict


def modules_of(transformer: torch.nn.Module) -> dict[str, Module]:
    """The linear layers of a model, and its norms that have a weight, by their names."""
    found = {}
    for name, module in transformer.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Linear):
            found[name] = Module(module.out_features, module.in_features, module.bias is not None)
        elif isinstance(weight, Tensor) and weight.dim() == 1 and hasattr(module, "eps"):
            found[name] = Module(0, len(weight))
    return found
