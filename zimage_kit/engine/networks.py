"""The three networks as trees of weights under their published names, for the flat code, which does the computing.

They compute only what that code calls (embedders, rotations, a final layer), bit-equal to diffusers 0.42 and
transformers 5.24. Importing those takes longer than a picture, so their modules are for models of another form (see
`known`), float16, ControlNets, and whoever asks for diffusers' pipeline; `stock` puts them in place of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..files import parsed_json
from ..models.directories import read_index
from . import scheduler

if TYPE_CHECKING:
    from .plan import Plan

MODULATION_WIDTH = 256
"""Of the embedding of a noise level, which modulates the blocks."""
_CLASSES = {
    "scheduler": "FlowMatchEulerDiscreteScheduler",
    "text_encoder": "Qwen3Model",
    "transformer": "ZImageTransformer2DModel",
    "vae": "AutoencoderKL",
}
_FIXED: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "text_encoder": {
        "attention_bias": (None, False),
        "hidden_act": (None, "silu"),
        "rope_scaling": (None,),
        "use_sliding_window": (None, False),
    },
    "transformer": {
        "all_patch_size": (None, [2]),
        "all_f_patch_size": (None, [1]),
        "qk_norm": (None, True),
        "siglip_feat_dim": (None,),
    },
    "vae": {"act_fn": ("silu",)},
}
"""The values of a configuration that are built here; None: it does not say."""
_REQUIRED = {"text_encoder": ("head_dim", "num_key_value_heads"), "vae": ("block_out_channels", "norm_num_groups")}
"""What a configuration has to say, since libraries differ in what they take for granted."""


def usable(directory: Path, plan: Plan) -> bool:
    """Whether a plan computes with the networks that are built here, for the model in a directory."""
    return plan.speed != "stock" and plan.dtype != "float16" and known(directory)


def known(directory: Path) -> bool:
    """Whether the model in a directory in diffusers' layout has the form that is built here; False for a broken one."""
    index = read_index(directory)
    if any(index.get(name, ("", ""))[1] != kind for name, kind in _CLASSES.items()):
        return False
    try:
        found = {name: configuration(directory, name) for name in _CLASSES}
    except (OSError, ValueError):  # whoever loads it tells what is wrong
        return False
    plain = all(found[name].get(key) in allowed for name, keys in _FIXED.items() for key, allowed in keys.items())
    said = all(key in found[name] for name, keys in _REQUIRED.items() for key in keys)
    blocks = {*found["vae"].get("down_block_types", ()), *found["vae"].get("up_block_types", ())}
    return (
        plain
        and said
        and blocks <= {"DownEncoderBlock2D", "UpDecoderBlock2D"}
        and set(found["text_encoder"].get("layer_types") or ()) <= {"full_attention"}
        and _rope(found["text_encoder"]).get("rope_type", "default") == "default"
        and scheduler.known(found["scheduler"])
    )


def configuration(directory: Path, name: str) -> dict[str, Any]:
    """What a component's configuration says."""
    file = "scheduler_config.json" if name == "scheduler" else "config.json"
    found: dict[str, Any] = parsed_json((directory / name / file).read_bytes())
    return found


def build(directory: Path, name: str, **instead: Any) -> nn.Module:
    """The text encoder, transformer or autoencoder, with any values for weights. `instead`: of the configuration."""
    make: Callable[..., nn.Module] = {"text_encoder": Qwen3, "transformer": Transformer, "vae": Autoencoder}[name]
    return make(**{**configuration(directory, name), **instead})


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, the mean in float32. Text encoders call eps `variance_epsilon`."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = self.variance_epsilon = eps

    def forward(self, x: Tensor) -> Tensor:
        """[…, width], in the weight's type."""
        x = x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return x.to(self.weight.dtype) * self.weight


class _Weights(nn.Module):
    """What flat code computes, given one object that holds its inputs; see `transformer.also_take`."""

    def forward(self, given: Any) -> Any:
        """Only by way of the flat code."""
        raise TypeError(f"{type(self).__name__} was given {type(given).__name__}; `flatten` its network first")

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device


class Transformer(_Weights):
    """Z-Image's."""

    def __init__(
        self,
        in_channels: int = 16,
        dim: int = 3840,
        n_layers: int = 30,
        n_refiner_layers: int = 2,
        n_heads: int = 30,
        norm_eps: float = 1e-5,
        cap_feat_dim: int = 2560,
        rope_theta: float = 256.0,
        t_scale: float = 1000.0,
        axes_dims: Sequence[int] = (32, 48, 48),
        axes_lens: Sequence[int] = (1024, 512, 512),
        **_: Any,
    ) -> None:
        super().__init__()
        self.config = SimpleNamespace(in_channels=in_channels)
        self.t_scale = t_scale

        def blocks(count: int, modulation: bool = True) -> nn.ModuleList:
            return nn.ModuleList([TransformerBlock(dim, n_heads, norm_eps, modulation) for _ in range(count)])

        self.all_x_embedder = nn.ModuleDict({"2-1": nn.Linear(4 * in_channels, dim)})
        self.all_final_layer = nn.ModuleDict({"2-1": FinalLayer(dim, 4 * in_channels)})
        self.noise_refiner = blocks(n_refiner_layers)
        self.context_refiner = blocks(n_refiner_layers, modulation=False)
        self.t_embedder = TimeEmbedder(min(dim, MODULATION_WIDTH))
        self.cap_embedder = nn.Sequential(RMSNorm(cap_feat_dim, norm_eps), nn.Linear(cap_feat_dim, dim))
        self.x_pad_token = nn.Parameter(torch.empty(1, dim))
        self.cap_pad_token = nn.Parameter(torch.empty(1, dim))
        self.layers = blocks(n_layers)
        self.rope_embedder = Rotations(rope_theta, axes_dims, axes_lens)


class TransformerBlock(_Weights):
    """Of the transformer's layers or refiners."""

    def __init__(self, dim: int, heads: int, eps: float, modulation: bool) -> None:
        super().__init__()
        self.modulation = modulation
        self.attention = Attention(dim, heads)
        self.feed_forward = _linear(w1=(dim, int(dim / 3 * 8)), w2=(int(dim / 3 * 8), dim), w3=(dim, int(dim / 3 * 8)))
        for name in ("attention_norm1", "ffn_norm1", "attention_norm2", "ffn_norm2"):
            self.add_module(name, RMSNorm(dim, eps))
        if modulation:
            self.adaLN_modulation = nn.Sequential(nn.Linear(min(dim, MODULATION_WIDTH), 4 * dim))


class Attention(_Weights):
    """Of all tokens to all."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k = RMSNorm(dim // heads, 1e-5), RMSNorm(dim // heads, 1e-5)
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(dim, dim, bias=False)])


class FinalLayer(nn.Module):
    """From the last hidden states to patches."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(dim, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(min(dim, MODULATION_WIDTH), dim))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Of x [n, tokens, dim], with the embedding c [n, 256] of the noise level."""
        found: Tensor = self.linear(self.norm_final(x) * (1.0 + self.adaLN_modulation(c)).unsqueeze(1))
        return found


class TimeEmbedder(nn.Module):
    """From noise levels to what modulates."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(MODULATION_WIDTH, 1024), nn.SiLU(), nn.Linear(1024, width))

    def forward(self, times: Tensor) -> Tensor:
        """[n, width] of times [n]: the cosines and sines of each at 128 frequencies from 1 down to 1e-4."""
        half = MODULATION_WIDTH // 2
        places = torch.arange(half, dtype=torch.float32, device=times.device)
        angles = times[:, None].float() * torch.exp(-math.log(10000) * places / half)[None]
        waves = torch.cat([angles.cos(), angles.sin()], -1)
        found: Tensor = self.mlp(waves.to(next(self.mlp.parameters()).dtype))
        return found


class Rotations:
    """The rotations of positions on three axes, from tables that are made at first use."""

    def __init__(self, theta: float, widths: Sequence[int], lengths: Sequence[int]) -> None:
        self._theta, self._widths, self._lengths = theta, widths, lengths
        self._tables: list[Tensor] = []

    def __call__(self, positions: Tensor) -> Tensor:
        """Complex [tokens, sum of widths / 2] of positions [tokens, 3]."""
        if not self._tables:
            self._tables = [self._table(*each) for each in zip(self._widths, self._lengths, strict=True)]
        if self._tables[0].device != positions.device:
            self._tables = [table.to(positions.device) for table in self._tables]
        return torch.cat([table[positions[:, axis]] for axis, table in enumerate(self._tables)], -1)

    def _table(self, width: int, length: int) -> Tensor:
        frequencies = 1.0 / self._theta ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies).float()
        return torch.polar(torch.ones_like(angles), angles)


class Qwen3(_Weights):
    """The text encoder."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        intermediate_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        num_key_value_heads: int,
        head_dim: int,
        rms_norm_eps: float = 1e-6,
        **more: Any,
    ) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, hidden_size)
        heads = num_attention_heads, num_key_value_heads, head_dim
        layers = [Qwen3Layer(hidden_size, intermediate_size, *heads, rms_norm_eps) for _ in range(num_hidden_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm: nn.Module = RMSNorm(hidden_size, rms_norm_eps)
        self.rotary_emb = Qwen3Rotations(head_dim, _rope(more)["rope_theta"])


def _rope(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Where newer versions of transformers write its values, or older ones did."""
    older = {"rope_theta": configuration.get("rope_theta", 10000.0)}
    return older | (configuration.get("rope_parameters") or {})


class Qwen3Layer(_Weights):
    """Of the text encoder."""

    def __init__(self, width: int, between: int, q_heads: int, k_heads: int, size: int, eps: float) -> None:
        super().__init__()
        q, k = q_heads * size, k_heads * size
        self.self_attn = _linear(q_proj=(width, q), k_proj=(width, k), v_proj=(width, k), o_proj=(q, width))
        self.self_attn.head_dim = size  # type: ignore[assignment]  # modules take what they are given
        self.self_attn.q_norm, self.self_attn.k_norm = RMSNorm(size, eps), RMSNorm(size, eps)
        self.mlp = _linear(gate_proj=(width, between), up_proj=(width, between), down_proj=(between, width))
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(width, eps), RMSNorm(width, eps)


class Qwen3Rotations(nn.Module):
    """Cosines and sines of tokens' positions."""

    inv_freq: Tensor

    def __init__(self, size: int, theta: float) -> None:
        super().__init__()
        frequencies = 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size)
        self.register_buffer("inv_freq", frequencies, persistent=False)

    def forward(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """[n, tokens, size] each, in the type of `like`, of positions [n, tokens]."""
        angles = positions[..., None].float() * self.inv_freq
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


class Autoencoder(_Weights):
    """Between pictures and latents."""

    def __init__(
        self,
        block_out_channels: Sequence[int],
        norm_num_groups: int,
        in_channels: int = 3,
        out_channels: int = 3,
        latent_channels: int = 4,
        layers_per_block: int = 1,
        mid_block_add_attention: bool = True,
        use_quant_conv: bool = True,
        use_post_quant_conv: bool = True,
        scaling_factor: float = 0.18215,
        shift_factor: float | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.config = SimpleNamespace(scaling_factor=scaling_factor, shift_factor=shift_factor)
        widths, groups, latents = block_out_channels, norm_num_groups, latent_channels
        middle = widths[-1], groups, mid_block_add_attention
        self.encoder = Coder((in_channels, widths[0]), (widths[-1], 2 * latents), *middle)
        self.encoder.down_blocks = _sides(widths, layers_per_block, groups, "downsamplers")
        self.decoder = Coder((latents, widths[-1]), (widths[0], out_channels), *middle)
        self.decoder.up_blocks = _sides(widths[::-1], layers_per_block + 1, groups, "upsamplers")
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1) if use_quant_conv else None
        self.post_quant_conv = nn.Conv2d(latents, latents, 1) if use_post_quant_conv else None


class Coder(_Weights):
    """An encoder or decoder but for its blocks; `given` and `made`: channels in and out of the first and last layer."""

    def __init__(
        self, given: tuple[int, int], made: tuple[int, int], middle: int, groups: int, attention: bool
    ) -> None:
        super().__init__()
        self.conv_in = _convolution(*given)
        self.mid_block = _Weights()
        self.mid_block.resnets = nn.ModuleList([Resnet(middle, middle, groups) for _ in range(2)])
        attentions: list[Any] = [PixelAttention(middle, groups) if attention else None]
        self.mid_block.attentions = nn.ModuleList(attentions)
        self.conv_norm_out = nn.GroupNorm(groups, made[0], eps=1e-6)
        self.conv_out = _convolution(*made)


def _sides(widths: Sequence[int], resnets: int, groups: int, moves: str) -> nn.ModuleList:
    """Blocks of these widths, all but the last with a layer that halves or doubles the picture, named `moves`."""
    blocks = nn.ModuleList()
    for number, (before, width) in enumerate(zip([widths[0], *widths], widths, strict=False)):
        block = _Weights()
        block.resnets = nn.ModuleList([Resnet(width if i else before, width, groups) for i in range(resnets)])
        move = _Weights()
        move.conv = _convolution(width, width)
        setattr(block, moves, nn.ModuleList([move]) if number < len(widths) - 1 else None)
        blocks.append(block)
    return blocks


class Resnet(_Weights):
    """Two convolutions, each after a norm; and one of 1x1 where the width changes."""

    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, before, eps=1e-6), _convolution(before, after)
        self.norm2, self.conv2 = nn.GroupNorm(groups, after, eps=1e-6), _convolution(after, after)
        self.conv_shortcut = None if before == after else nn.Conv2d(before, after, 1)


class PixelAttention(_Weights):
    """Of every pixel to every other, in one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _linear(**shapes: tuple[int, int]) -> nn.Module:
    """Linear layers without bias: name -> (in, out)."""
    module = _Weights()
    for name, (before, after) in shapes.items():
        module.add_module(name, nn.Linear(before, after, bias=False))
    return module
