"""Z-Image's transformer as flat numeric code, from the loaded weights: diffusers' module in fewer steps.

A picture of H x W pixels has h w = H/16 W/16 image tokens, a prompt as many as its text. Both are filled up to a
multiple of 32 (n and m tokens) and go through the layers together, in this order: [n + m, dim]. What does not change
from step to step is computed once for a picture: the prompt's tokens, and the rotations of all positions. q, k, v and
w1, w3 are one product each. A norm's weight takes in what its result is multiplied with: scale and gate are vectors.

Equal to diffusers 0.42 (models/transformers/transformer_z_image.py) up to the order of rounding; like it, pads take
part in attention. LoRAs are computed where peft has put them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MULTIPLE = 32
"""Tokens of a picture and of a prompt are filled up to a multiple of this."""
_PATCH = "2-1"
"""Name of the layers for patches of 2x2 latents, the only ones that published models have."""


@dataclass(frozen=True)
class States:
    """What a block is given and gives: for each prompt its hidden states and rotations, and the step's time.

    `hidden`: [tokens, dim] each; `rotations`: complex, [tokens, 1, head_dim / 2] each; `time`: the embedding of the
    noise level [1, 256], None for blocks that it does not modulate.
    """

    hidden: tuple[Tensor, ...]
    rotations: tuple[Tensor, ...]
    time: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> States:
        """The same on another device."""
        hidden = tuple(each.to(device, non_blocking=non_blocking) for each in self.hidden)
        rotations = tuple(each.to(device, non_blocking=non_blocking) for each in self.rotations)
        return States(hidden, rotations, None if self.time is None else self.time.to(device, non_blocking=non_blocking))


def flatten(module: Any) -> None:
    """Let a loaded ZImageTransformer2DModel's blocks take `States` too; hooks see them like any other input."""
    for block in (*module.noise_refiner, *module.context_refiner, *module.layers):
        block.forward = _either(block, block.forward)


def _either(block: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    def forward(given: Any, *more: Any, **named: Any) -> Any:
        return advance(block, given) if isinstance(given, States) else plain(given, *more, **named)

    return forward


class FlatTransformer:
    """The transformer for one picture: called like diffusers', once for each step. Its module was given to `flatten`.

    Not for two pictures: what is kept between steps depends on the prompts and on the LoRAs that are set.
    """

    def __init__(self, module: Any) -> None:
        self._module, self.dtype = module, module.dtype
        self._prompts: tuple[States, tuple[Tensor, ...]] | None = None

    def __call__(
        self,
        inputs: Sequence[Tensor],
        time: Tensor,
        prompts: Sequence[Tensor],
        controlnet_block_samples: Mapping[int, Tensor] | None = None,
        return_dict: bool = False,
    ) -> tuple[list[Tensor]]:
        """The velocity for each of `inputs` (latents c 1 H/8 W/8, with the prompt of the same place; all one size).

        `time`: 0 noise … 1 picture, the same for all. `prompts`: [tokens, width] each. `controlnet_block_samples`: what
        is added after a layer, by its number, [inputs, n + m or more, dim].
        """
        module, (channels, _, height, width) = self._module, inputs[0].shape
        rows, columns = height // 2, width // 2
        if self._prompts is None:
            self._prompts = self._embedded(prompts, rows, columns)
        captions, rotations = self._prompts
        embedding = module.t_embedder(time[:1] * module.t_scale).to(self.dtype)

        images = tuple(
            _filled(module.all_x_embedder[_PATCH](_patches(each, rows, columns)), module.x_pad_token) for each in inputs
        )
        states = States(images, rotations, embedding)
        for block in module.noise_refiner:
            states = block(states)

        device = states.hidden[0].device
        captions = captions.to(device)
        states = States(
            tuple(torch.cat(pair) for pair in zip(states.hidden, captions.hidden, strict=True)),
            tuple(torch.cat(pair) for pair in zip(states.rotations, captions.rotations, strict=True)),
            states.time,
        )
        for number, block in enumerate(module.layers):
            states = block(states)
            if controlnet_block_samples and number in controlnet_block_samples:
                added = zip(states.hidden, controlnet_block_samples[number], strict=True)
                states = replace(states, hidden=tuple(x + sample[: len(x)].to(x.device) for x, sample in added))

        count = rows * columns
        velocities = []
        for x in states.hidden:
            found = module.all_final_layer[_PATCH](x[None, :count], c=embedding)[0]
            patches = found.view(rows, columns, 2, 2, channels)
            velocities.append(patches.permute(4, 0, 2, 1, 3).reshape(channels, 1, height, width))
        return (velocities,)

    def _embedded(self, prompts: Sequence[Tensor], rows: int, columns: int) -> tuple[States, tuple[Tensor, ...]]:
        """The prompts' tokens, refined, with their rotations; and the rotations of the pictures that go with them."""
        module = self._module
        hidden = tuple(_filled(module.cap_embedder(prompt), module.cap_pad_token) for prompt in prompts)
        places = [torch.arange(1, len(each) + 1, device=each.device) for each in hidden]
        captions = States(hidden, tuple(self._rotation(place[:, None] * _first(place)) for place in places))
        for block in module.context_refiner:
            captions = block(captions)
        images = []
        for place in places:  # a picture follows its prompt
            grid = torch.cartesian_prod(
                place[-1:] + 1, *(torch.arange(side, device=place.device) for side in (rows, columns))
            )
            images.append(self._rotation(F.pad(grid, (0, 0, 0, -len(grid) % _MULTIPLE))))
        return captions, tuple(images)

    def _rotation(self, positions: Tensor) -> Tensor:
        """[tokens, 3] integers: one number on each axis."""
        found: Tensor = self._module.rope_embedder(positions)
        return found.unsqueeze(1)


def advance(block: Any, states: States) -> States:
    """One ZImageTransformerBlock: x + gate norm(attention(scale norm(x))), then the same with the feed-forward."""
    norms = (block.attention_norm1, block.attention_norm2, block.ffn_norm1, block.ffn_norm2)
    weights = [norm.weight for norm in norms]
    if states.time is not None:
        scale, gate, ffn_scale, ffn_gate = block.adaLN_modulation(states.time)[0].float().chunk(4)
        factors = (1 + scale, gate.tanh(), 1 + ffn_scale, ffn_gate.tanh())
        weights = [(w.float() * factor).to(w.dtype) for w, factor in zip(weights, factors, strict=True)]

    def normed(x: Tensor, number: int) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], weights[number], norms[number].eps)

    hidden = []
    for x, rotation in zip(states.hidden, states.rotations, strict=True):
        x = x + normed(attention(block.attention, normed(x, 0), rotation), 1)
        x = x + normed(feed_forward(block.feed_forward, normed(x, 2)), 3)
        hidden.append(x)
    return replace(states, hidden=tuple(hidden))


def attention(layer: Any, x: Tensor, rotation: Tensor) -> Tensor:
    """Of [tokens, dim], all tokens to all: q and k are normed per head and turned."""
    q, k, v = project(x, (layer.to_q, layer.to_k, layer.to_v)).view(len(x), 3, layer.heads, -1).unbind(1)
    q = turned(F.rms_norm(q, q.shape[-1:], layer.norm_q.weight, layer.norm_q.eps), rotation)
    k = turned(F.rms_norm(k, k.shape[-1:], layer.norm_k.weight, layer.norm_k.eps), rotation)
    q, k, v = (each.transpose(0, 1).unsqueeze(0) for each in (q, k, v))  # 1 heads tokens head_dim
    found = F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)
    out: Tensor = layer.to_out[0](found)
    return out


def feed_forward(layer: Any, x: Tensor) -> Tensor:
    """w2(silu(w1 x) w3 x) of [tokens, dim]."""
    gate, up = project(x, (layer.w1, layer.w3)).chunk(2, dim=-1)
    out: Tensor = layer.w2(F.silu(gate) * up)
    return out


def turned(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotary position embedding: each pair of neighbours in [tokens, heads, head_dim], a complex number, is turned."""
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


def project(x: Tensor, layers: Sequence[nn.Module]) -> Tensor:
    """Several linear layers' results side by side: one product where their weights lie so in one buffer."""
    weights = [layer.weight for layer in layers if type(layer) is nn.Linear]  # not with a LoRA
    if len(weights) < len(layers) or not _adjacent(weights):
        return torch.cat([layer(x) for layer in layers], dim=-1)
    first, width = weights[0], weights[0].shape[1]
    return F.linear(x, first.as_strided((sum(len(each) for each in weights), width), (width, 1)))


def _adjacent(weights: Sequence[Tensor]) -> bool:
    end, buffer = weights[0].storage_offset(), weights[0].untyped_storage().data_ptr()
    for weight in weights:
        if (
            weight.storage_offset() != end
            or weight.untyped_storage().data_ptr() != buffer
            or not weight.is_contiguous()
        ):
            return False
        end += weight.numel()
    return True


def _patches(latents: Tensor, rows: int, columns: int) -> Tensor:
    """From c 1 2h 2w to [h w, 4 c]."""
    channels = latents.shape[0]
    return latents.view(channels, rows, 2, columns, 2).permute(1, 3, 2, 4, 0).reshape(rows * columns, 4 * channels)


def _filled(tokens: Tensor, pad: Tensor) -> Tensor:
    """[tokens, dim] with pads [1, dim] up to a multiple of 32."""
    return torch.cat([tokens, pad.to(tokens.dtype).expand(-len(tokens) % _MULTIPLE, -1)])


def _first(like: Tensor) -> Tensor:
    """The unit vector of the first axis, along which a prompt's tokens follow each other."""
    return torch.tensor([1, 0, 0], device=like.device)
