"""The autoencoder in little memory: layer by layer over the whole picture, each layer in slabs of rows.

Unlike tiling this computes what the whole network computes: a convolution sees the rows beyond its slab, and a group
norm's sums are those of the whole picture. The slabs depend on the picture's size alone, so that how much memory there
is changes nothing; run as one, cuDNN would choose its algorithm by the memory that is free, and round otherwise (seen
on an H100 within 8 GB). For diffusers' AutoencoderKL (0.42), channels last.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from . import fused

QUERIES = 2048
"""Of the attention in the middle, computed together."""


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Pixels [1, 3, height, width] in -1 … 1 of unscaled latents [1, 16, height / 8, width / 8]."""
    decoder = vae.decoder
    x = latents.contiguous(memory_format=torch.channels_last)
    if vae.post_quant_conv is not None:
        x = vae.post_quant_conv(x)
    x = convolve(x, decoder.conv_in)
    x = _middle(x, decoder.mid_block)
    for block in decoder.up_blocks:
        for layer in block.resnets:
            x = _resnet(x, layer)
        for layer in block.upsamplers or ():
            x = convolve(x, layer.conv, enlarged=True)
    return convolve(x, decoder.conv_out, decoder.conv_norm_out)


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """Mean and log variance [1, 32, height / 8, width / 8] of pixels [1, 3, height, width] in -1 … 1."""
    encoder = vae.encoder
    x = convolve(pixels.contiguous(memory_format=torch.channels_last), encoder.conv_in)
    for block in encoder.down_blocks:
        for layer in block.resnets:
            x = _resnet(x, layer)
        for layer in block.downsamplers or ():
            x = _halve(x, layer.conv)
    x = _middle(x, encoder.mid_block)
    x = convolve(x, encoder.conv_out, encoder.conv_norm_out)
    found: Tensor = x if vae.quant_conv is None else vae.quant_conv(x)
    return found


def convolve(x: Tensor, layer: Any, norm: Any = None, enlarged: bool = False, add_to: Tensor | None = None) -> Tensor:
    """A 3x3 convolution of x [1, c, h, w], in slabs of rows; before it SiLU(norm(x)), or enlarging to twice the size.

    With `add_to` the result is added to it, in its place.
    """
    scale = 2 if enlarged else 1
    height, width = x.shape[2] * scale, x.shape[3] * scale
    affine = None if norm is None else fused.group_affine(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    out = add_to
    if out is None:
        shape = (1, layer.out_channels, height, width)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    for top, bottom in fused.slabs(height, width):
        rows, padding, skipped = fused.window_to_pad(x, top, bottom, affine, enlarged)
        made = F.conv2d(rows, layer.weight, padding=padding)[:, :, skipped : skipped + bottom - top]
        fused.put(out[:, :, top:bottom], made, layer.bias, add=add_to is not None)
    return out


def _halve(x: Tensor, layer: Any) -> Tensor:
    """A 3x3 convolution with stride 2, padded at the right and below, in slabs of rows."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    shape = (1, layer.out_channels, height, width)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    for top, bottom in fused.slabs(height, width):
        slab = x[:, :, 2 * top : 2 * bottom + 1]
        slab = F.pad(slab, (0, 1, 0, 2 * (bottom - top) + 1 - slab.shape[2]))
        out[:, :, top:bottom] = F.conv2d(slab, layer.weight, layer.bias, stride=2)
    return out


def _resnet(x: Tensor, layer: Any) -> Tensor:
    """A residual block; x goes through a 1x1 convolution where the width changes. Overwrites x where it does not."""
    h = convolve(x, layer.conv1, layer.norm1)
    if layer.conv_shortcut is None:
        return convolve(h, layer.conv2, layer.norm2, add_to=x)
    short = torch.empty_like(h)
    for top, bottom in fused.slabs(x.shape[2], x.shape[3]):
        made = F.conv2d(x[:, :, top:bottom], layer.conv_shortcut.weight)
        fused.put(short[:, :, top:bottom], made, layer.conv_shortcut.bias, add=False)
    del x
    return convolve(h, layer.conv2, layer.norm2, add_to=short)


def _middle(x: Tensor, block: Any) -> Tensor:
    x = _resnet(x, block.resnets[0])
    for attention, layer in zip(block.attentions, block.resnets[1:], strict=True):
        if attention is not None:
            x = _attend(x, attention)
        x = _resnet(x, layer)
    return x


def _attend(x: Tensor, layer: Any) -> Tensor:
    """Attention of every pixel to every other, a part of the queries at a time: x [1, c, h, w]."""
    _, channels, height, width = x.shape
    norm = layer.group_norm
    affine = fused.group_affine(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    tokens = fused.normal(x, affine).permute(0, 2, 3, 1).reshape(1, height * width, channels)
    key, value = layer.to_k(tokens), layer.to_v(tokens)  # 1 (h w) c
    out = x.permute(0, 2, 3, 1).reshape(1, height * width, channels)
    for start in range(0, height * width, QUERIES):
        query = layer.to_q(tokens[:, start : start + QUERIES])
        found = _attention(query, key, value)
        out[:, start : start + QUERIES] += layer.to_out[0](found)
    return out.reshape(1, height, width, channels).permute(0, 3, 1, 2)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Of one head, [1, tokens, c] each. PyTorch's fast kernels take at most 256 channels; products are faster."""
    if not query.is_cuda or query.dtype == torch.float32:
        return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]
    scores = torch.mm(query[0], key[0].t(), out_dtype=torch.float32).mul_(query.shape[-1] ** -0.5)
    return torch.mm(scores.softmax(-1).to(value.dtype), value[0])[None]


def eight_bits(pixels: Tensor) -> Image.Image:
    """The RGB picture of pixels [1, 3, height, width] in -1 … 1, rounded on their device: a quarter of the copy."""
    levels = pixels[0].float().mul_(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())


def pixels(picture: Image.Image) -> Tensor:
    """float32 [1, 3, height, width] in -1 … 1 of an RGB picture, as diffusers' pipelines take it."""
    levels = torch.from_numpy(numpy.asarray(picture, dtype=numpy.float32) / 255.0)
    return 2.0 * levels[None].permute(0, 3, 1, 2) - 1.0  # in their memory layout: convolutions round by it


def mask_of(picture: Image.Image) -> Tensor:
    """float32 [1, 1, height / 8, width / 8] of a picture in L: 1 where one of 8x8 pixels is white, less for greys."""
    levels = torch.from_numpy(numpy.asarray(picture, dtype=numpy.float32) / 255.0)
    return F.max_pool2d(levels[None, None], 8)


@dataclass(frozen=True)
class Distribution:
    """Of a picture's latents: normal, from their means and log variances [1, 32, height / 8, width / 8]."""

    parameters: Tensor

    @property
    def mean(self) -> Tensor:
        """[1, 16, height / 8, width / 8]."""
        return self.parameters.chunk(2, dim=1)[0]

    @property
    def logvar(self) -> Tensor:
        """The logarithms of the variances, within diffusers' bounds."""
        return self.parameters.chunk(2, dim=1)[1].clamp(-30.0, 20.0)

    def mode(self) -> Tensor:
        """The likeliest latents."""
        return self.mean

    def sample(self, generator: torch.Generator) -> Tensor:
        """Latents of it, drawn on the generator's device."""
        mean, deviation = self.mean, torch.exp(0.5 * self.logvar)
        drawn = torch.randn(mean.shape, generator=generator, device=generator.device, dtype=mean.dtype)
        return mean + deviation * drawn.to(mean.device)


class SlabbedAutoencoder:
    """An AutoencoderKL as pipelines ask for it, computed by `encode` and `decode` above."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae.to(memory_format=torch.channels_last)
        self.config, self.dtype, self.device = vae.config, vae.dtype, vae.device

    def encode(self, pixels: Tensor) -> Any:
        """The distribution of a picture's latents, as `latent_dist`."""
        return SimpleNamespace(latent_dist=Distribution(encode(self._vae, pixels)))

    def decode(self, latents: Tensor) -> Tensor:
        """The pixels of unscaled latents."""
        return decode(self._vae, latents)
