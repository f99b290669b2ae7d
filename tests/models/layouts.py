"""Weights in the layouts of other programs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from zimage_kit.nano import DIRECTORY


def own(component: str, model: Path = DIRECTORY) -> dict[str, Tensor]:
    """A model's weights in diffusers' and transformers' names; nano's."""
    files = sorted((model / component).glob("*.safetensors"))
    return {name: value for file in files for name, value in load_file(file).items()}


def comfyui(component: str, model: Path = DIRECTORY) -> dict[str, Tensor]:
    """The same in ComfyUI's files."""
    weights, found = own(component, model), {}
    if component == "text_encoder":
        return {f"model.{name.removeprefix('model.')}": value for name, value in weights.items()}
    for name, value in weights.items():
        if component == "transformer":
            if ".attention.to_q." in name:
                parts = [weights[name.replace("to_q", f"to_{part}")] for part in "qkv"]
                name, value = name.replace("to_q", "qkv"), torch.cat(parts)
            elif re.search(r"\.attention\.to_[kv]\.", name):
                continue
            name = name.replace("all_final_layer.2-1.", "final_layer.").replace("all_x_embedder.2-1.", "x_embedder.")
            name = name.replace(".to_out.0.", ".out.").replace(".norm_q.", ".q_norm.").replace(".norm_k.", ".k_norm.")
        else:
            name = re.sub(r"\.mid_block\.resnets\.(\d)", lambda found: f".mid.block_{int(found[1]) + 1}", name)
            name = re.sub(r"decoder\.up_blocks\.(\d)", lambda found: f"decoder.up.{3 - int(found[1])}", name)
            name = re.sub(r"encoder\.down_blocks\.(\d)", r"encoder.down.\1", name)
            name = name.replace(".resnets.", ".block.").replace("samplers.0.", "sample.")
            name = name.replace(".conv_shortcut.", ".nin_shortcut.").replace(".conv_norm_out.", ".norm_out.")
        found[name] = value.contiguous()
    return found


LLAMA = (
    ("embed_tokens.", "token_embd."), ("layers.", "blk."), ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"), ("self_attn.o_proj", "attn_output"), ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"), ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
)  # fmt: skip
"""Names of llama.cpp, in the order in which they are replaced."""
KINDS = ("Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "BF16", "F16", "F32")


def packed(value: Tensor, kind: str) -> Any:
    """A matrix in a GGUF type: rounded where the package can do that, else codes of about that size."""
    numbers, type_ = value.float().numpy(), gguf.GGMLQuantizationType[kind]
    if not kind.endswith("_K"):
        return numbers.astype(kind.replace("F", "float")) if kind[0] == "F" else gguf.quants.quantize(numbers, type_)
    size = gguf.GGML_QUANT_SIZES[type_][1]
    codes = np.random.default_rng(len(numbers)).integers(0, 256, (len(numbers), numbers.shape[1] // 256, size), "u1")
    scales = slice(size - 2, size) if kind == "Q6_K" else slice(0, 4)  # float16, the others hold integers
    codes[..., scales] = np.full((*codes.shape[:2], (scales.stop - scales.start) // 2), 2e-5, "<f2").view("u1")
    return codes.reshape(len(numbers), -1)


def write_gguf(component: str, file: Path, kinds: Sequence[str], model: Path = DIRECTORY) -> dict[str, Tensor]:
    """A transformer or text encoder as GGUF, its matrices in these kinds in turn; and what `gguf` unpacks of it."""
    weights = comfyui(component, model) if component == "transformer" else own(component, model)
    writer, whole = gguf.GGUFWriter(file, "a test"), {}
    for number, (name, value) in enumerate(weights.items()):
        rows = value[0] if name.endswith("_pad_token") else value
        kind = kinds[number % len(kinds)] if rows.ndim > 1 and rows.shape[-1] % 256 == 0 else "F32"
        data = packed(rows, kind)
        whole[name] = torch.from_numpy(gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind]).copy())
        whole[name] = whole[name].view(weights[name].shape)
        theirs = name.removeprefix("model.")
        for old, new in LLAMA if component == "text_encoder" else ():
            theirs = theirs.replace(old, new)
        writer.add_tensor(theirs, data, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return whole
