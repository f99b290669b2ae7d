"""Z-Image's transformer as flat numeric code, from the loaded weights: diffusers' module in fewer steps.

A picture of H x W pixels has h w = H/16 W/16 image tokens, a prompt as many as its text. Both are filled up to a
multiple of 32 (n and m tokens) and go through the layers together, in this order: [n + m, dim]. What does not change
from step to step is computed once for a picture: the prompt's tokens, the rotations of all positions, and each block's
modulation for all steps. q, k, v and w1, w3 are one product each. A norm's weight takes in what its result is
multiplied with: scale and gate are vectors. What lies between the products is in `fused`.

Equal to diffusers 0.42 (models/transformers/transformer_z_image.py) up to the order of rounding; like it, pads take
part in attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import eight, fused
from .adapters import add, norm_weight
from .attention import attend, worth_a_plan
from .eight import Eight

if TYPE_CHECKING:
    from .graphs import Graphs

_MULTIPLE = 32
"""Tokens of a picture and of a prompt are filled up to a multiple of this."""
_PATCH = "2-1"
"""Name of the layers for patches of 2x2 latents, the only ones that published models have."""


@dataclass(frozen=True)
class Modulation:
    """What the noise levels of all steps make of the blocks' norms. `step`: from 0; `embeddings` [steps, 256]."""

    embeddings: Tensor
    step: int = 0
    _found: dict[int, Tensor] = field(default_factory=dict)  # by the id of the block, [steps, 4, dim]

    @classmethod
    def given(cls, embeddings: Tensor, blocks: Sequence[Any], weights: Tensor) -> Modulation:
        """In which these are the `weights` [blocks, 4, dim], wherever they come from."""
        return cls(embeddings, 0, {id(block): each[None] for block, each in zip(blocks, weights, strict=True)})

    def weights(self, block: Any) -> Tensor:
        """The weights of a block's four norms in this step, float32 [4, dim]; computed for all steps at once."""
        if id(block) not in self._found:
            made = block.adaLN_modulation(self.embeddings).float().unflatten(-1, (4, -1))
            made[:, 0::2] += 1  # scales
            made[:, 1::2].tanh_()  # gates
            self._found[id(block)] = made * _weights(block)
        return self._found[id(block)][self.step]


@dataclass(frozen=True)
class States:
    """What a block is given and gives: for each prompt its hidden states and rotations, and the step's modulation.

    `hidden`: [tokens, dim] each; `rotations`: complex, [tokens, head_dim / 2] each; `modulation`: None for blocks that
    have none. `planned`: see `attention.attend`.
    """

    hidden: tuple[Tensor, ...]
    rotations: tuple[Tensor, ...]
    modulation: Modulation | None = None
    planned: bool = False

    def to(self, device: torch.device, non_blocking: bool = False) -> States:
        """The same on another device."""
        hidden = tuple(each.to(device, non_blocking=non_blocking) for each in self.hidden)
        rotations = tuple(each.to(device, non_blocking=non_blocking) for each in self.rotations)
        modulation = self.modulation
        if modulation is not None:
            embeddings = modulation.embeddings.to(device, non_blocking=non_blocking)
            modulation = replace(modulation, embeddings=embeddings)
        return replace(self, hidden=hidden, rotations=rotations, modulation=modulation)


def flatten(module: Any) -> None:
    """Let a loaded ZImageTransformer2DModel's blocks take `States` too."""
    for block in (*module.noise_refiner, *module.context_refiner, *module.layers):
        also_take(block, States, advance)


def also_take(block: Any, kind: type, advance: Callable[[Any, Any], Any]) -> None:
    """Let a module, given this kind of object, be computed by `advance`; hooks see it like any other input."""
    plain = block.forward

    def forward(given: Any, *more: Any, **named: Any) -> Any:
        return advance(block, given) if isinstance(given, kind) else plain(given, *more, **named)

    block.forward = forward


class FlatTransformer:
    """The transformer for one picture: called like diffusers', once for each step. Its module was given to `flatten`.

    `times`: of all its steps, 0 noise … 1 picture. `graphs`: by which its layers may be launched. Not for two pictures:
    what is kept between steps depends on the prompts and on the LoRAs that are set.
    """

    def __init__(self, module: Any, times: Tensor, graphs: Graphs | None = None) -> None:
        self.module, self.dtype = module, module.dtype
        self._graphs = graphs
        self._times, self._step = times, 0
        self._prompts: tuple[States, tuple[Tensor, ...]] | None = None
        self._given: Sequence[Tensor] | None = None  # the prompts that are embedded
        self._modulation: Modulation | None = None
        self._images: tuple[int, States, bool] | None = None  # of which step, whether refined

    def __call__(
        self,
        inputs: Sequence[Tensor],
        time: Tensor,
        prompts: Sequence[Tensor],
        controlnet_block_samples: Mapping[int, Tensor] | None = None,
        return_dict: bool = False,
    ) -> tuple[list[Tensor]]:
        """The velocity for each of `inputs` (latents c 1 H/8 W/8, with the prompt of the same place; all one size).

        `time` is that of the next of the steps. `prompts`: [tokens, width] each; the same object is the same prompts.
        `controlnet_block_samples`: what is added after a layer, by its number, [inputs, n + m or more, dim].
        """
        module, samples, (channels, _, height, width) = self.module, controlnet_block_samples or {}, inputs[0].shape
        rows, columns = height // 2, width // 2
        states = self.joined(self.images(inputs, prompts))
        if self._graphs is not None and not samples:
            states = self._graphs.run(module.layers, states)
        else:
            for number, block in enumerate(module.layers):
                states = block(states)
                if number in samples:
                    added = zip(states.hidden, samples[number], strict=True)
                    states = replace(states, hidden=tuple(x + sample[: len(x)].to(x.device) for x, sample in added))

        velocities, count = [], rows * columns
        assert states.modulation is not None
        embedding = states.modulation.embeddings[self._step, None]
        for x in states.hidden:
            found = module.all_final_layer[_PATCH](x[None, :count], c=embedding)[0]
            cut = found.view(rows, columns, 2, 2, channels)
            velocities.append(cut.permute(4, 0, 2, 1, 3).reshape(channels, 1, height, width))
        self._step += 1
        return (velocities,)

    def images(self, inputs: Sequence[Tensor], prompts: Sequence[Tensor], refined: bool = True) -> States:
        """The inputs' tokens [n, dim] in this step, `refined` by the noise refiner or as they are embedded."""
        if self._images is None or self._images[::2] != (self._step, refined):
            module, (_, _, height, width) = self.module, inputs[0].shape
            if self._prompts is None or prompts is not self._given:
                self._prompts, self._given = self._embedded(prompts, height // 2, width // 2), prompts
            if self._modulation is None:
                self._modulation = Modulation(module.t_embedder(self._times * module.t_scale).to(self.dtype))
            embed = module.all_x_embedder[_PATCH]
            hidden = tuple(filled(embed(patches(each)), module.x_pad_token) for each in inputs)
            states = States(hidden, self._prompts[1], replace(self._modulation, step=self._step))
            for block in module.noise_refiner if refined else ():
                states = block(states)
            self._images = self._step, states, refined
        return self._images[1]

    def joined(self, states: States) -> States:
        """The images' states with the prompts' behind them: [n + m, dim]."""
        assert self._prompts is not None, "`images` embeds the prompts"
        captions = self._prompts[0].to(states.hidden[0].device)
        return replace(
            states,
            hidden=tuple(torch.cat(pair) for pair in zip(states.hidden, captions.hidden, strict=True)),
            rotations=tuple(torch.cat(pair) for pair in zip(states.rotations, captions.rotations, strict=True)),
            planned=worth_a_plan(captions.hidden[0].device, len(states.hidden[0]) + len(captions.hidden[0])),
        )

    def _embedded(self, prompts: Sequence[Tensor], rows: int, columns: int) -> tuple[States, tuple[Tensor, ...]]:
        """The prompts' tokens, refined, with their rotations; and the rotations of the pictures that go with them."""
        module = self.module
        hidden = tuple(filled(module.cap_embedder(prompt), module.cap_pad_token) for prompt in prompts)
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
        found: Tensor = self.module.rope_embedder(positions)
        return found


def advance(block: Any, states: States) -> States:
    """One ZImageTransformerBlock: x + gate norm(attention(scale norm(x))), then the same with the feed-forward."""
    weights = (_weights(block) if states.modulation is None else states.modulation.weights(block)).unbind()
    eps, heads, wide = [norm.eps for norm in _norms(block)], block.attention, block.feed_forward
    before, between = eight.kind(heads.to_q, heads.to_k, heads.to_v), eight.kind(wide.w1, wide.w3)
    hidden = []
    for x, rotation in zip(states.hidden, states.rotations, strict=True):
        found = attention(heads, fused.norm(x, weights[0], eps[0], before), rotation, states.planned)
        x, normed = fused.add_norm(x, found, weights[1], eps[1], weights[2], eps[2], between)
        found = feed_forward(wide, normed)
        hidden.append(fused.add(x, found, weights[3], eps[3]))
    return replace(states, hidden=tuple(hidden))


def attention(layer: Any, x: Tensor | Eight, rotation: Tensor, planned: bool = False) -> Tensor:
    """Of [tokens, dim], all tokens to all: q and k are normed per head and turned."""
    qkv = project(x, (layer.to_q, layer.to_k, layer.to_v)).view(len(x), 3, layer.heads, -1)
    norms = norm_weight(layer.norm_q), norm_weight(layer.norm_k), layer.norm_q.eps
    found = attend(qkv, rotation, *norms, planned, eight.packed(layer.to_q))
    return project(found, (layer.to_out[0],))


def feed_forward(layer: Any, x: Tensor | Eight) -> Tensor:
    """w2(silu(w1 x) w3 x) of [tokens, dim]."""
    return project(fused.silu_gate(project(x, (layer.w1, layer.w3)), eight.kind(layer.w2)), (layer.w2,))


def project(x: Tensor | Eight, layers: Sequence[nn.Module]) -> Tensor:
    """Several linear layers' results side by side: one product where their weights lie so in one buffer.

    x [tokens, width] may be in 8 bits where all of them take it so (`eight.kind`).

    What LoRAs add is added in place; see `adapters`.
    """
    if isinstance(x, Eight):
        return _in_eight(x, layers)
    bases: Sequence[Any] = layers
    weights = [base.weight for base in bases]
    biased = any(base.bias is not None for base in bases)
    if (kind := eight.packed(*bases)) is not None:
        out = _in_eight(fused.quantise(x, kind), bases)
    elif not biased and (whole := eight.joined(weights)) is not None:
        out = F.linear(x, whole)
    else:
        out = torch.cat([F.linear(x, base.weight, base.bias) for base in bases], dim=-1)
    begin = 0
    for base in bases:
        add(out[:, begin : begin + len(base.weight)], x, base)
        begin += len(base.weight)
    return out


def _in_eight(x: Eight, layers: Sequence[Any]) -> Tensor:
    """`project` of rows in 8 bits."""
    weights = [layer.weight for layer in layers]
    out = eight.product(x, eight.of(weights), weights[0].dtype)
    if any(layer.bias is not None for layer in layers):
        out += torch.cat([layer.bias for layer in layers])
    return out


def _norms(block: Any) -> tuple[Any, ...]:
    return block.attention_norm1, block.attention_norm2, block.ffn_norm1, block.ffn_norm2


def _weights(block: Any) -> Tensor:
    """Of a block's four norms, float32 [4, dim]."""
    return torch.stack([norm_weight(norm) for norm in _norms(block)]).float()


def patches(latents: Tensor) -> Tensor:
    """From c 1 2h 2w to [h w, 4 c]."""
    channels, _, height, width = latents.shape
    cut = latents.view(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0)
    return cut.reshape(height * width // 4, 4 * channels)


def filled(tokens: Tensor, pad: Tensor) -> Tensor:
    """[tokens, dim] with pads [1, dim] up to a multiple of 32."""
    return torch.cat([tokens, pad.to(tokens.dtype).expand(-len(tokens) % _MULTIPLE, -1)])


def _first(like: Tensor) -> Tensor:
    """The unit vector of the first axis, along which a prompt's tokens follow each other."""
    return torch.tensor([1, 0, 0], device=like.device)
