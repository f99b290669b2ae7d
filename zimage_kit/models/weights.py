"""Where a network's weights are: in its own folder, or in files as other programs keep them, under their names there.

A component's folder holds safetensors files in diffusers' layout, or FILES: a list of files elsewhere, which stay as
they are. Those may be in the layout of the model's authors, as ComfyUI has them (q, k and v as one matrix; the
autoencoder in CompVis' names), alone or several components in one file, in float8 with or without scales, or in GGUF.
Only headers are read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ..files import parsed_json

FILES = "files.json"
"""In a component's folder: the files elsewhere that hold its weights, absolute paths."""
PACKED = (
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
)  # fmt: skip
"""Codes of GGUF files that the gguf package unpacks."""
READABLE = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", *PACKED)
"""Types of numbers, as safetensors and GGUF name them; others are codes that nothing here unpacks."""
ENDINGS = (".safetensors", ".gguf")
_LARGEST_HEADER = 64 << 20
_SCALES = (".scale_weight", ".weight_scale")
_ASIDE = (*_SCALES, ".scale_input", ".input_scale", "scaled_fp8", ".comfy_quant")
"""Endings of tensors that belong to a weight."""


@dataclass(frozen=True)
class Weight:
    """A weight [shape], as it lies in a file: a tensor, or some `rows` (from, to) of it.

    `scale`: the name of a tensor that it is multiplied with, for float8; "" for none. `dtype`: one of READABLE, or what
    the file says.
    """

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    rows: tuple[int, int] | None = None
    scale: str = ""


def header(path: Path) -> dict[str, Any]:
    """Names, types and shapes in a safetensors or GGUF file; empty for a broken one, of which its loader says more.

    Each but "__metadata__" has `dtype`, a text, and `shape`, a list of whole numbers; safetensors' own `data_offsets`.
    """
    if path.suffix == ".gguf":
        try:
            tensors = gguf_tensors(path)
        except ValueError:
            return {}
        shapes = {name: [int(side) for side in reversed(each.shape)] for name, each in tensors.items()}
        return {name: {"dtype": each.tensor_type.name, "shape": shapes[name]} for name, each in tensors.items()}
    with path.open("rb") as file:
        try:
            length = int.from_bytes(file.read(8), "little")
            found = parsed_json(file.read(length)) if length <= _LARGEST_HEADER else None
        except ValueError:
            return {}
    if not isinstance(found, dict):
        return {}
    return found if all(_is_tensor(each) for name, each in found.items() if name != "__metadata__") else {}


def _is_tensor(entry: Any) -> bool:
    """Whether an entry of a header has what is read of it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return False
    return all(type(number) is int and 0 <= number < 1 << 63 for number in (*shape, *offsets))


def gguf_tensors(path: Path) -> Mapping[str, Any]:
    """The gguf package's tensors of a file, mapped, by name. Raises ValueError for a broken one."""
    stat = path.stat()
    return _gguf_tensors(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _gguf_tensors(path: Path, size: int, modified: int) -> Mapping[str, Any]:
    """Of a file in this state: opening one takes seconds where it has a vocabulary."""
    try:
        return {each.name: each for each in gguf_reader()(path).tensors}
    except (ValueError, LookupError, ArithmeticError, TypeError, RecursionError) as error:  # cut, or of another kind
        raise ValueError(f"{type(error).__name__}: {error}") from None


_MOST_READS = 3_000_000
"""Of a GGUF file's header; one with a vocabulary of 150,000 words takes 800,000."""


@cache
def gguf_reader() -> Any:
    """The gguf package's reader (seen in 0.19), which ends where the file does.

    Its own takes nothing for an answer, and so reads on for as many numbers as a broken header claims. `_get` is where
    all of its reads come through.
    """
    from gguf import GGUFReader

    class Reader(GGUFReader):  # type: ignore[misc, unused-ignore]
        reads = 0

        def _get(self, offset: int, dtype: Any, count: int = 1, *more: Any, **named: Any) -> Any:
            self.reads += 1
            found = super()._get(offset, dtype, count, *more, **named)
            if len(found) != int(count) or self.reads > _MOST_READS:
                raise ValueError(f"{count} numbers at byte {offset} of {len(self.data)}")
            return found

    return Reader


def component_files(folder: Path) -> list[Path]:
    """The files that hold a component's weights: those that FILES lists, else the folder's own."""
    try:
        listed = parsed_json((folder / FILES).read_bytes())
    except FileNotFoundError:
        return sorted(folder.glob("*.safetensors"))
    except ValueError:
        return []
    return [Path(each) for each in listed if isinstance(each, str)] if isinstance(listed, list) else []


def component_weights(folder: Path) -> dict[str, Weight]:
    """A component's weights by their names in diffusers' or transformers' module. The folder's name is the component's.

    Raises OSError for a file that is not there.
    """
    files = component_files(folder)
    if (folder / FILES).exists():
        return weights_in(files, folder.name)
    return in_files(files, lambda name: name.removeprefix("model."))


def in_files(files: Iterable[Path], renamed: Callable[[str], str] = lambda name: name) -> dict[str, Weight]:
    """The tensors of files in the module's own layout."""
    entries = ((file, name, entry) for file in files for name, entry in header(file).items() if name != "__metadata__")
    return {renamed(name): Weight(file, name, tuple(entry["shape"]), entry["dtype"]) for file, name, entry in entries}


_SIGNATURES: dict[str, tuple[tuple[str, str], ...]] = {
    "transformer": (("layers.0.attention.", "cap_embedder.0."),),
    "text_encoder": (("layers.0.self_attn.", "embed_tokens."), ("blk.0.attn_q_norm.", "token_embd.")),
    "vae": (("decoder.conv_in.", "encoder.conv_in."),),
}
"""How names of a component's tensors begin, after a prefix that depends on the program: both of one pair are there."""


def weights_in(files: Sequence[Path], component: str) -> dict[str, Weight]:
    """The weights of transformer, text_encoder or vae in files of any of these layouts; empty where they have none."""
    headers = {file: header(file) for file in files}
    prefix = _prefix({name for names in headers.values() for name in names}, component)
    weights: dict[str, Weight] = {}
    for file, found in headers.items() if prefix is not None else ():
        for name, entry in found.items():
            inner = name.removeprefix(prefix or "")
            if not name.startswith(prefix or "") or name == "__metadata__" or inner.endswith(_ASIDE):
                continue
            scales = (name.removesuffix(".weight") + each for each in _SCALES)
            scale = next((each for each in scales if each in found), "")
            weight = Weight(file, name, tuple(entry["shape"]), entry["dtype"], scale=scale)
            weights |= _LAYOUTS[component](inner, weight)
    return weights


def _prefix(names: Collection[str], component: str) -> str | None:
    """What stands before all names of a component; None where it is not there."""
    for first, other in _SIGNATURES[component]:
        for name in sorted(names):
            at = name.find(first)
            prefix = name[: max(at, 0)]
            if at >= 0 and prefix[-1:] in ("", ".") and any(each.startswith(prefix + other) for each in names):
                return prefix
    return None


_TRANSFORMER = (
    (re.compile(r"^final_layer\."), "all_final_layer.2-1."),
    (re.compile(r"^x_embedder\."), "all_x_embedder.2-1."),
    (re.compile(r"\.attention\.out\."), ".attention.to_out.0."),
    (re.compile(r"\.attention\.([qk])_norm\."), r".attention.norm_\1."),
)
_FUSED = ".attention.qkv.weight"


def _transformer(name: str, weight: Weight) -> dict[str, Weight]:
    """From the names of Z-Image's authors, or diffusers' own."""
    if name == "norm_final.weight":  # nothing uses it
        return {}
    if name.endswith(_FUSED):
        third, layer = weight.shape[0] // 3, name.removesuffix(_FUSED)
        shape = (third, *weight.shape[1:])
        return {
            f"{layer}.attention.to_{part}.weight": replace(weight, shape=shape, rows=(i * third, (i + 1) * third))
            for i, part in enumerate("qkv")
        }
    if name.endswith("_pad_token") and len(weight.shape) == 1:
        weight = replace(weight, shape=(1, *weight.shape))
    return {_renamed(name, _TRANSFORMER): weight}


def _renamed(name: str, table: Sequence[tuple[re.Pattern[str], str]]) -> str:
    for pattern, instead in table:
        name = pattern.sub(instead, name)
    return name


_TEXT_ENCODER = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"^token_embd\.", "embed_tokens."),
        (r"^output_norm\.", "norm."),
        (r"^blk\.(\d+)\.", r"layers.\1."),
        (r"\.attn_output\.", ".self_attn.o_proj."),
        (r"\.attn_([qkv])\.", r".self_attn.\1_proj."),
        (r"\.attn_([qk])_norm\.", r".self_attn.\1_norm."),
        (r"\.attn_norm\.", ".input_layernorm."),
        (r"\.ffn_norm\.", ".post_attention_layernorm."),
        (r"\.ffn_(gate|up|down)\.", r".mlp.\1_proj."),
    )
)
"""From the names of llama.cpp's files."""


_VAE = (
    (re.compile(r"\.mid\.block_1\."), ".mid_block.resnets.0."),
    (re.compile(r"\.mid\.block_2\."), ".mid_block.resnets.1."),
    (re.compile(r"\.mid\.attn_1\.norm\."), ".mid_block.attentions.0.group_norm."),
    (re.compile(r"\.mid\.attn_1\.([qkv])\."), r".mid_block.attentions.0.to_\1."),
    (re.compile(r"\.mid\.attn_1\.proj_out\."), ".mid_block.attentions.0.to_out.0."),
    (re.compile(r"\.norm_out\."), ".conv_norm_out."),
    (re.compile(r"\.nin_shortcut\."), ".conv_shortcut."),
    (re.compile(r"^encoder\.down\.(\d+)\.block\."), r"encoder.down_blocks.\1.resnets."),
    (re.compile(r"^encoder\.down\.(\d+)\.downsample\."), r"encoder.down_blocks.\1.downsamplers.0."),
)
_VAE_LEVELS = 4
_VAE_UP = re.compile(r"^decoder\.up\.(\d+)\.(block|upsample)\.")


def _vae(name: str, weight: Weight) -> dict[str, Weight]:
    """From CompVis' names, which count the decoder's levels from the picture, or diffusers' own."""
    up = _VAE_UP.match(name)
    if up:
        level, rest = _VAE_LEVELS - 1 - int(up[1]), name[up.end() :]
        name = f"decoder.up_blocks.{level}.{'resnets' if up[2] == 'block' else 'upsamplers.0'}.{rest}"
    name = _renamed(name, _VAE)
    if ".attentions." in name and weight.shape[2:] == (1, 1):  # convolutions of one pixel there
        weight = replace(weight, shape=weight.shape[:2])
    return {name: weight}


_LAYOUTS: Mapping[str, Callable[[str, Weight], dict[str, Weight]]] = {
    "transformer": _transformer,
    "text_encoder": lambda name, weight: {_renamed(name, _TEXT_ENCODER): weight},
    "vae": _vae,
}


def components_in(file: Path) -> Sequence[str]:
    """Which of transformer, text_encoder and vae a file holds."""
    names = header(file)
    return [component for component in _SIGNATURES if _prefix(names, component) is not None]
