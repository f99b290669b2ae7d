"""The text encoder up to the layer that is used: Z-Image takes the hidden states before its last one.

So the last layer and the norm after it need no memory, and `load` does not read their weights. `encode` is the encoder
as flat code, for as many tokens as there are: later tokens do not act on earlier ones, so padding changes nothing but
the rounding. Equal to transformers' Qwen3 (5.24) up to the order of rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.tokens import prompt_tokens
from . import fused
from .attention import unplanned
from .eight import Eight
from .half import ENCODED
from .transformer import also_take, project

PROMPT_TOKENS = 512
"""Of a prompt that are read, with its chat template's: what Z-Image was trained with."""


class Reached(Exception):
    """The encoder has come to its last layer; `hidden` [1, tokens, width] is what that would have been given."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class EndOfPass(nn.Module):
    """Stands where the encoder's last layer was."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        """Ends the pass."""
        raise Reached(hidden)


class TextEncoder(nn.Module):
    """An encoder that ends in EndOfPass, as diffusers' pipelines use it: `hidden_states[-2]` is what they read."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are now; streamed ones are in host memory."""
        return next(self.parameters()).device

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Any:
        """The hidden states of tokens [1, n]; in float16 times `half.ENCODED`."""
        try:
            self.encoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        except Reached as end:
            half = self.dtype == torch.float16
            hidden = (end.hidden * ENCODED).half() if half else end.hidden
            return SimpleNamespace(hidden_states=(hidden, None))
        raise RuntimeError("this text encoder has a last layer: it was not loaded by `load_networks`")


@dataclass(frozen=True)
class Tokens:
    """What a layer is given and gives: hidden states [n, width], and the rotations' tables [n, head_dim] each."""

    hidden: Tensor
    cos: Tensor
    sin: Tensor


def flatten(encoder: Any) -> None:
    """Let a loaded Qwen3Model's layers take `Tokens` too."""
    for layer in encoder.layers:
        if not isinstance(layer, EndOfPass):
            also_take(layer, Tokens, advance)


def token_ids(directory: Path, prompt: str) -> Tensor:
    """A prompt's token ids [n] in the chat template of a model, cut off where diffusers' pipeline does."""
    return torch.tensor(prompt_tokens(prompt, directory)[:PROMPT_TOKENS])


def encode(encoder: Any, ids: Tensor) -> Tensor:
    """The hidden states [n, width] of token ids [n] before the last layer. Its module was given to `flatten`."""
    hidden = encoder.embed_tokens(ids)
    cos, sin = encoder.rotary_emb(hidden[None], torch.arange(len(ids), device=hidden.device)[None])
    tokens = Tokens(hidden, cos[0], sin[0])
    with unplanned(hidden.device):
        for layer in encoder.layers[:-1]:
            tokens = layer(tokens)
    return tokens.hidden


def advance(layer: Any, tokens: Tokens) -> Tokens:
    """One Qwen3DecoderLayer: x + attention(norm(x)), then the same with the feed-forward."""
    first, second, mlp = layer.input_layernorm, layer.post_attention_layernorm, layer.mlp
    found = attention(layer.self_attn, fused.norm(tokens.hidden, first.weight, first.variance_epsilon), tokens)
    x, normed = fused.add_norm(tokens.hidden, found, None, 0.0, second.weight, second.variance_epsilon)
    found = project(fused.silu_gate(project(normed, (mlp.gate_proj, mlp.up_proj))), (mlp.down_proj,))
    return replace(tokens, hidden=x + found)


def attention(layer: Any, x: Tensor | Eight, tokens: Tokens) -> Tensor:
    """Of x [n, width], each token to itself and those before it; several heads of q share one of k and v."""
    size = layer.head_dim
    q_heads, k_heads = layer.q_proj.out_features // size, layer.k_proj.out_features // size
    heads = project(x, (layer.q_proj, layer.k_proj, layer.v_proj)).view(len(x), q_heads + 2 * k_heads, size)
    norm, turning = layer.q_norm, heads[:, : q_heads + k_heads]
    fused.turn_halves(turning, tokens.cos, tokens.sin, norm.weight, layer.k_norm.weight, q_heads, norm.variance_epsilon)
    q, k, v = torch.split(heads.transpose(0, 1)[None], [q_heads, k_heads, k_heads], dim=1)
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)  # 1 heads n head_dim
    return project(found[0].transpose(0, 1).flatten(1), (layer.o_proj,))
