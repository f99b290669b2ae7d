"""The denoiser's forward pass for a whole batch at once: what ZImageTransformer2DModel computes, made for training.

The stock forward takes lists and pads them one by one. Here every caption has the same padded length and every picture
256 tokens (all sizes that nano is trained on fill 256 once padded to a multiple of 32), and rotary embedding is real
arithmetic, which the compiler can fuse. `Controlled` is the same with a ZImageControlNetModel beside it. Tests hold
them equal to the stock classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zimage_kit.nano.scenes import SIZES

IMAGE_TOKENS = 256
THETA = 256.0


def grid(bucket: int) -> tuple[int, int]:
    """Return (rows, columns) of 16-pixel patches of a size bucket."""
    width, height = SIZES[bucket]
    return height // 16, width // 16


def patchify(latents: Tensor) -> Tensor:
    """Turn latents (n, 16, h, w) into tokens (n, 256, 64), zeros after the last patch."""
    n, c, h, w = latents.shape
    tokens = latents.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, 4 * c)
    return F.pad(tokens, (0, 0, 0, IMAGE_TOKENS - tokens.shape[1]))


def unpatchify(tokens: Tensor, bucket: int) -> Tensor:
    """Undo `patchify` for tokens (n, 256, 64) of one bucket."""
    h, w = grid(bucket)
    n = len(tokens)
    return tokens[:, : h * w].reshape(n, h, w, 2, 2, 16).permute(0, 5, 1, 3, 2, 4).reshape(n, 16, 2 * h, 2 * w)


class Rotary:
    """Angles of every position that training meets: images per (bucket, caption length), captions per length."""

    def __init__(self, axes: list[int], device: torch.device) -> None:
        self.axes, self.device = axes, device
        self.tables: dict[int, tuple[Tensor, Tensor]] = {}

    def _angles(self, ids: Tensor) -> Tensor:
        parts = []
        for axis, dim in enumerate(self.axes):
            rates = 1.0 / (THETA ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim))
            parts.append(torch.outer(ids[:, axis].double(), rates))
        return torch.cat(parts, -1).float()

    def __call__(self, buckets: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return angles of images (n, 256, d/2) and of the caption (length, d/2)."""
        if length not in self.tables:
            images = []
            for bucket in range(len(SIZES)):
                h, w = grid(bucket)
                ids = torch.zeros(IMAGE_TOKENS, 3)
                y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
                ids[: h * w] = torch.stack((torch.full((h * w,), length + 1), y.flatten(), x.flatten()), 1).float()
                images.append(self._angles(ids))
            caption = torch.zeros(length, 3)
            caption[:, 0] = torch.arange(1, length + 1)
            self.tables[length] = (torch.stack(images).to(self.device), self._angles(caption).to(self.device))
        image, caption = self.tables[length]
        return image[buckets], caption


def _block(
    x: Tensor, angles: Tensor, modulation: Tensor | None, heads: int,
    q: Tensor, k: Tensor, v: Tensor, o: Tensor, norm_q: Tensor, norm_k: Tensor,
    a1: Tensor, a2: Tensor, f1: Tensor, f2: Tensor, w1: Tensor, w2: Tensor, w3: Tensor,
) -> Tensor:  # fmt: skip
    def norm(y: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(y.float(), weight.shape, weight.float(), 1e-5).to(y.dtype)

    def rotate(y: Tensor) -> Tensor:
        pair = y.float().unflatten(-1, (-1, 2))  # type: ignore[no-untyped-call]
        c, s = angles.cos().unsqueeze(-2), angles.sin().unsqueeze(-2)
        first, second = pair[..., 0], pair[..., 1]
        return torch.stack((first * c - second * s, first * s + second * c), -1).flatten(-2).to(y.dtype)

    y = norm(x, a1)
    if modulation is not None:
        scale1, gate1, scale2, gate2 = modulation.unsqueeze(1).chunk(4, 2)
        y = y * (1 + scale1)
    query, key, value = (
        F.linear(y, weight).unflatten(-1, (heads, -1))  # type: ignore[no-untyped-call]
        for weight in (q, k, v)
    )
    query, key = rotate(norm(query, norm_q)), rotate(norm(key, norm_k))
    mixed = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    y = norm(F.linear(mixed.transpose(1, 2).flatten(2), o), a2)
    x = x + (y if modulation is None else gate1.tanh() * y)
    y = norm(x, f1)
    if modulation is not None:
        y = y * (1 + scale2)
    y = norm(F.linear(F.silu(F.linear(y, w1)) * F.linear(y, w3), w2), f2)
    return x + (y if modulation is None else gate2.tanh() * y)


@dataclass(frozen=True)
class _Begun:
    """Picture and caption before they meet."""

    x: Tensor
    caption: Tensor
    image_angles: Tensor
    angles: Tensor
    pad: Tensor
    time: Tensor


class Batched:
    """`model(...)` over batches; `compiled` uses torch.compile for the repeated block."""

    def __init__(self, model: Any, compiled: bool = False) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.rotary = Rotary(list(model.config.axes_dims), self.device)
        self.sizes = torch.tensor([h * w for h, w in map(grid, range(len(SIZES)))], device=self.device)
        self.block = torch.compile(_block, dynamic=False) if compiled else _block

    def _run(self, block: Any, x: Tensor, angles: Tensor, t: Tensor | None, fast: bool) -> Tensor:
        a, f = block.attention, block.feed_forward
        modulation = block.adaLN_modulation(t) if block.modulation and t is not None else None
        run = self.block if fast else _block
        return run(
            x, angles, modulation, self.model.config.n_heads,
            a.to_q.weight, a.to_k.weight, a.to_v.weight, a.to_out[0].weight, a.norm_q.weight, a.norm_k.weight,
            block.attention_norm1.weight, block.attention_norm2.weight, block.ffn_norm1.weight, block.ffn_norm2.weight,
            f.w1.weight, f.w2.weight, f.w3.weight,
        )  # fmt: skip

    def __call__(
        self, x: Tensor, buckets: Tensor, t: Tensor, caption: Tensor, caption_pad: Tensor, fast: bool = True
    ) -> Tensor:
        """Return the model's output as tokens (n, 256, 64).

        `x` (n, 256, 64) noisy tokens; `buckets` (n,) long; `t` (n,) in 0..1 (1 - sigma); `caption` (n, length, width)
        embeddings, of which `caption_pad` (n, length) marks padding. `fast` uses the compiled block.
        """
        begun = self._begin(x, buckets, t, caption, caption_pad, fast)
        return self._finish(begun, {}, fast)

    def _begin(self, x: Tensor, buckets: Tensor, t: Tensor, caption: Tensor, caption_pad: Tensor, fast: bool) -> _Begun:
        """Embed and refine picture and caption, each by itself."""
        m = self.model
        image_angles, caption_angles = self.rotary(buckets, caption.shape[1])
        pad = (torch.arange(IMAGE_TOKENS, device=x.device)[None] >= self.sizes[buckets][:, None])[..., None]
        time = m.t_embedder(t * m.t_scale)
        x = torch.where(pad, m.x_pad_token.to(x.dtype), m.all_x_embedder["2-1"](x))
        for block in m.noise_refiner:
            x = self._run(block, x, image_angles, time, fast)
        c = torch.where(caption_pad[..., None], m.cap_pad_token.to(x.dtype), m.cap_embedder(caption))
        caption_angles = caption_angles.expand(len(x), -1, -1)
        for block in m.context_refiner:
            c = self._run(block, c.contiguous(), caption_angles, None, fast)
        return _Begun(x, c, image_angles, torch.cat((image_angles, caption_angles), 1), pad, time)

    def _finish(self, begun: _Begun, samples: Mapping[int, Tensor], fast: bool) -> Tensor:
        """Run the layers over picture and caption together; `samples` are added to the outputs of some of them."""
        x = torch.cat((begun.x, begun.caption), 1)
        for number, block in enumerate(self.model.layers):
            x = self._run(block, x, begun.angles, begun.time, fast)
            if number in samples:
                x = x + samples[number]
        final: Tensor = self.model.all_final_layer["2-1"](x[:, :IMAGE_TOKENS], c=begun.time)
        return final


class Controlled(Batched):
    """The frozen denoiser with a ControlNet, whose shared parts are the denoiser's own."""

    def __init__(self, model: Any, controlnet: Any, compiled: bool = False) -> None:
        super().__init__(model, compiled)
        self.controlnet = controlnet

    def controlled(
        self, x: Tensor, buckets: Tensor, t: Tensor, caption: Tensor, caption_pad: Tensor, control: Tensor,
        share: Tensor | None = None, fast: bool = True,
    ) -> Tensor:  # fmt: skip
        """Return what calling this does with `control`, tokens (n, 256, 64) of the control pictures, heeded.

        `share` (n, 1, 1) is the ControlNet's weight for each picture; without it, 1.
        """
        with torch.no_grad():
            begun = self._begin(x, buckets, t, caption, caption_pad, fast)
        samples = self._samples(begun, control, fast)
        if share is not None:
            samples = {layer: sample * share for layer, sample in samples.items()}
        return self._finish(begun, samples, fast)

    def _samples(self, begun: _Begun, control: Tensor, fast: bool) -> dict[int, Tensor]:
        """Return what the ControlNet adds to the outputs of layers, by the layer's number."""
        net = self.controlnet
        y = torch.where(begun.pad, self.model.x_pad_token.to(begun.x.dtype), net.control_all_x_embedder["2-1"](control))
        for block in net.control_noise_refiner:
            y = self._run(block, y, begun.image_angles, begun.time, fast)
        y = torch.cat((y, begun.caption), 1)
        samples = {}
        for place, block in zip(net.control_layers_places, net.control_layers, strict=True):
            if place == 0:
                y = block.before_proj(y) + torch.cat((begun.x, begun.caption), 1)
            y = self._run(block, y, begun.angles, begun.time, fast)
            samples[place] = block.after_proj(y)
        return samples
