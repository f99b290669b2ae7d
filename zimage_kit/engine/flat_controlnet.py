"""Z-Image's ControlNet as flat numeric code, beside the flat transformer, whose embedded prompt and picture it takes.

Its blocks are the transformer's with two linear layers more: before the first one, and after each one, whose results
are what it adds to the transformer's hidden states. The control picture's tokens are embedded once for a picture.
Equal to diffusers 0.42 (models/controlnets/controlnet_z_image.py) up to the order of rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .transformer import FlatTransformer, States, advance, also_take, filled, patches, project


@dataclass(frozen=True)
class Controlled:
    """What a control block is given and gives: its own states, the picture's at that place, and what it adds."""

    states: States
    picture: tuple[Tensor, ...]
    added: tuple[Tensor, ...] = ()


def flatten(module: Any) -> None:
    """Let a loaded ZImageControlNetModel's blocks take `Controlled`, or `States` where they add nothing."""
    for block in (*module.control_layers, *(module.control_noise_refiner or ())):
        if hasattr(block, "after_proj"):
            also_take(block, Controlled, control)
        else:
            also_take(block, States, advance)


def control(block: Any, given: Controlled) -> Controlled:
    """One ZImageControlTransformerBlock; the first one of a pass is given the picture."""
    states = given.states
    if block.block_id == 0:
        begun = zip(states.hidden, given.picture, strict=True)
        states = replace(states, hidden=tuple(project(c, (block.before_proj,)) + x for c, x in begun))
    states = advance(block, states)
    return replace(given, states=states, added=tuple(project(c, (block.after_proj,)) for c in states.hidden))


class FlatControlNet:
    """A ControlNet for one picture: called like diffusers', before the transformer is. Its module went to `flatten`."""

    def __init__(self, module: Any, transformer: FlatTransformer) -> None:
        self._module, self._transformer = module, transformer
        self.config = module.config
        self._tokens: tuple[Tensor, ...] | None = None

    def __call__(
        self,
        inputs: Sequence[Tensor],
        time: Tensor,
        prompts: Sequence[Tensor],
        hint: Tensor,
        conditioning_scale: float = 1.0,
    ) -> dict[int, Tensor]:
        """What it adds in this step: a layer's number -> [inputs, n + m, dim], times the scale.

        `hint` [inputs, channels, 1, height / 8, width / 8]; the rest is as for the transformer.
        """
        module, transformer, scale = self._module, self._transformer, conditioning_scale
        if self._tokens is None:
            embed, pad = module.control_all_x_embedder["2-1"], transformer.module.x_pad_token
            self._tokens = tuple(filled(embed(patches(each)), pad) for each in hint)
        states, picture = self._refined(transformer.images(inputs, prompts, refined=not self._own), scale)
        states, picture = transformer.joined(states), transformer.joined(picture)
        return self._pass(module.control_layers, states, picture, self.config.control_layers_places, scale)[1]

    @property
    def _own(self) -> str | None:
        """Which of its layers refine the picture before the transformer's refiner; None where that does it alone."""
        found: str | None = self._module.add_control_noise_refiner
        return found

    def _refined(self, picture: States, scale: float) -> tuple[States, States]:
        """The control picture's states and the picture's, behind their refiners."""
        assert self._tokens is not None
        module, states = self._module, replace(picture, hidden=self._tokens)
        if not self._own:
            for block in module.control_noise_refiner:
                states = block(states)
            return states, picture
        blocks = module.control_layers if self._own == "control_layers" else module.control_noise_refiner
        states, samples = self._pass(blocks, states, picture, self.config.control_refiner_layers_places, scale)
        for number, block in enumerate(self._transformer.module.noise_refiner):
            picture = block(picture)
            if number in samples:
                pairs = zip(picture.hidden, samples[number], strict=True)
                picture = replace(picture, hidden=tuple(x + sample for x, sample in pairs))
        return states, picture

    @staticmethod
    def _pass(
        blocks: Iterable[Any], states: States, picture: States, places: Sequence[int], scale: float
    ) -> tuple[States, dict[int, Tensor]]:
        """The states after the blocks, and what the first of them add, each at its place."""
        samples = {}
        for number, block in enumerate(blocks):
            made = block(Controlled(states, picture.hidden))
            states = made.states
            if number < len(places):
                together = pad_sequence(made.added, batch_first=True) if len(made.added) > 1 else made.added[0][None]
                samples[places[number]] = together * scale
        return states, samples
