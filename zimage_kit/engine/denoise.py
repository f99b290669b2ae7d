"""Denoising: the schedule, the first latents, and the loop that evaluates the transformer once per step.

Bit-equal to diffusers' ZImagePipeline, its img2img and its ControlNet pipeline (diffusers 0.42). Latents are the
scheduler's, float32 [1, 16, height / 8, width / 8]; a sigma is a noise level: 1 is noise, 0 the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Embedding = list[Tensor]
"""The text encoder's output for one prompt, as the transformer takes it: a list of one tensor [tokens, width]."""

_OTHER_NOISE = 1 << 60
"""Added to a seed for noise that is not the picture's."""

Samples = Mapping[int, Tensor]
"""What a ControlNet adds to the transformer's hidden states: block number -> tensor."""


def schedule(steps: int, strength: float = 1.0) -> list[float]:
    """Noise levels before the scheduler's shift: from `strength`, in (0, 1], down to strength / steps, equally spaced.

    The model is evaluated once at each. At strength 1 these are diffusers 0.42's own defaults, in its float32
    arithmetic; earlier versions end at 0, which wastes the last evaluation (huggingface/diffusers #13730). diffusers'
    img2img at strength k/n of n steps is schedule(k, k/n); here every strength is exact.
    """
    return torch.linspace(strength, strength / steps, steps).tolist()


def set_schedule(scheduler: Any, levels: list[float], tokens: int, device: torch.device) -> None:
    """Set the scheduler's noise levels. `tokens`: the picture's count of 16x16 patches, for a dynamic shift.

    The shift is linear in the tokens between two sizes (diffusers' `calculate_shift`, from Flux); schedulers without
    dynamic shifting ignore it.
    """
    config = scheduler.config
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low_shift, high_shift = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (high_shift - low_shift) / (high - low)
    scheduler.set_timesteps(sigmas=levels, mu=tokens * slope + (low_shift - slope * low), device=device)
    scheduler.set_begin_index(0)


def noise(seed: int, height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """The first latents for a picture of this size in pixels. Drawn on the CPU, so the same on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn((1, channels, height // 8, width // 8), generator=generator, dtype=torch.float32).to(device)


@dataclass(frozen=True)
class Begun:
    """Latents to begin from a picture with: `clean` ones, and the `noise` that is put on them."""

    clean: Tensor
    noise: Tensor


def begun(vae: Any, pixels: Tensor, seed: int, device: torch.device) -> Begun:
    """A picture's latents and noise, in the VAE's dtype on the given device.

    `pixels` [1, 3, height, width] in -1 … 1 as the VAE takes them. One generator draws its sample, then the noise.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    clean = encode(vae, pixels, generator).to(device)
    return Begun(clean, torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(device))


def noised(scheduler: Any, picture: Begun) -> Tensor:
    """A picture at the scheduler's first level."""
    latents: Tensor = scheduler.scale_noise(picture.clean, scheduler.timesteps[:1], picture.noise)
    return latents


@dataclass(frozen=True)
class Kept:
    """A picture of which a part stays: `mask` [1, 1, height / 8, width / 8] is 1 where it is drawn, else 0."""

    picture: Begun
    mask: Tensor

    def blend(self, latents: Tensor, sigma: Tensor) -> Tensor:
        """Latents at this level, with what stays in its place (blended diffusion, arXiv:2206.02779)."""
        clean, noise = (each.to(latents.dtype) for each in (self.picture.clean, self.picture.noise))
        return torch.lerp((1 - sigma) * clean + sigma * noise, latents, self.mask)


def disturbed(prompt: Embedding, amount: float, seed: int) -> Embedding:
    """A prompt's embedding with noise of `amount` of its standard deviations, drawn on the CPU as `noise` is."""
    generator = torch.Generator("cpu").manual_seed(seed + _OTHER_NOISE)
    found = []
    for each in prompt:
        draw = torch.randn(each.shape, generator=generator, dtype=torch.float32).to(each.device)
        found.append((each.float() + amount * each.float().std() * draw).to(each.dtype))
    return found


def encode(vae: Any, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The scheduler's latents of pixels in -1 … 1: a sample of the VAE's distribution; without generator its mode."""
    found = vae.encode(pixels).latent_dist
    latents = found.mode() if generator is None else found.sample(generator)
    scaled: Tensor = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    return scaled


@dataclass(frozen=True)
class ControlCondition:
    """A ControlNet that acts with strength `scale` on the steps (from 0) in `steps`.

    `hint` [1, channels, 1, height / 8, width / 8]: the control picture's latents, padded with zeros to the network's
    input channels. `device_of`: where the block of a number computes, if not all do in one place.
    """

    network: Any
    hint: Tensor
    scale: float
    steps: range
    device_of: Callable[[int], torch.device] | None = None

    def samples(self, step: int, latents: list[Tensor], time: Tensor, prompts: Embedding) -> Samples | None:
        """What it adds in this step; None where it does not act."""
        if step not in self.steps:
            return None
        # no copy for one picture: it has another memory layout, in which matrix products round differently
        hint = self.hint if len(latents) == 1 else self.hint.repeat(len(latents), 1, 1, 1, 1)
        found: Samples = self.network(latents, time, prompts, hint, conditioning_scale=self.scale)
        if self.device_of is None:
            return found
        return {block: sample.to(self.device_of(block)) for block, sample in found.items()}


def denoise(
    transformer: Any,
    scheduler: Any,
    latents: Tensor,
    prompt: Embedding,
    negative: Embedding | None,
    guidance: float,
    after_step: Callable[[int, Tensor], None],
    conditions: Sequence[ControlCondition] = (),
    kept: Kept | None = None,
    first: Embedding | None = None,
) -> Tensor:
    """Denoise `latents` along the scheduler's levels; return the final latents.

    With `guidance` > 0 the model is also evaluated for `negative`, and the prediction moved away from it: Z-Image's
    cond + guidance * (cond - uncond). `kept` stays as it is at every level. `first` takes the prompt's place in the
    first step. `after_step` gets the step (from 0) and its latents, and may raise to stop.
    """
    others = negative if guidance > 0 and negative is not None else []
    always, copies = prompt + others, 1 + len(others)
    begin = always if first is None else first + others
    for step, timestep in enumerate(scheduler.timesteps):
        embeddings = always if step else begin
        time = ((1000 - timestep.expand(1)) / 1000).repeat(copies)  # 0 noise, 1 picture
        inputs = list(latents.to(transformer.dtype).repeat(copies, 1, 1, 1).unsqueeze(2).unbind(0))  # c 1 h w each
        control = add(condition.samples(step, inputs, time, embeddings) for condition in conditions)
        outputs = transformer(inputs, time, embeddings, controlnet_block_samples=control, return_dict=False)[0]
        velocity = outputs[0].float()
        if copies == 2:
            velocity = velocity + guidance * (velocity - outputs[1].float())
        latents = scheduler.step(-velocity.unsqueeze(0).squeeze(2), timestep, latents, return_dict=False)[0]
        if kept is not None:
            latents = kept.blend(latents, scheduler.sigmas[step + 1])
        after_step(step, latents)
    return latents


def add(samples: Iterable[Samples | None]) -> Samples | None:
    """The sum of what several ControlNets add; None if none acts."""
    total: dict[int, Tensor] = {}
    for each in samples:
        for block, tensor in (each or {}).items():
            total[block] = total[block] + tensor if block in total else tensor
    return total or None
