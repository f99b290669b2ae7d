"""The autoencoder in little memory: layer by layer over the whole picture, each layer in slabs of rows.

Unlike tiling this computes what the whole network computes: a convolution sees the rows beyond its slab, and a group
norm's sums are those of the whole picture. The slabs depend on the picture's size alone, so that how much memory there
is changes nothing; run as one, cuDNN would choose its algorithm by the memory that is free, and round otherwise (seen
on an H100 within 8 GB). For diffusers' AutoencoderKL (0.42), channels last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor
from torch.nn import functional as F

SLAB_PIXELS = 1 << 17
"""Of a layer's output that are computed together."""
QUERIES = 4096
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
    affine = None if norm is None else _affine(x, norm)
    out = add_to
    if out is None:
        shape = (1, layer.out_channels, height, width)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    for top, bottom in _slabs(height, width):
        first, last = max(0, (top - 1) // scale), min(x.shape[2], (bottom + scale) // scale)
        slab = x[:, :, first:last]
        if affine is not None:
            slab = F.silu(_normal(slab, *affine))
        if enlarged:
            slab = F.interpolate(slab, scale_factor=2.0, mode="nearest")
        above, below = top - 1 - first * scale, bottom + 1 - last * scale  # rows too many (above 0), or missing
        slab = slab[:, :, max(0, above) : slab.shape[2] - max(0, -below)]
        slab = F.pad(slab, (1, 1, max(0, -above), max(0, below)))
        made = F.conv2d(slab, layer.weight, layer.bias)
        if add_to is None:
            out[:, :, top:bottom] = made
        else:
            out[:, :, top:bottom] += made
    return out


def _halve(x: Tensor, layer: Any) -> Tensor:
    """A 3x3 convolution with stride 2, padded at the right and below, in slabs of rows."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    shape = (1, layer.out_channels, height, width)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    for top, bottom in _slabs(height, width):
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
    for top, bottom in _slabs(x.shape[2], x.shape[3]):
        short[:, :, top:bottom] = F.conv2d(x[:, :, top:bottom], layer.conv_shortcut.weight, layer.conv_shortcut.bias)
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
    tokens = _normal(x, *_affine(x, layer.group_norm)).permute(0, 2, 3, 1).reshape(1, height * width, channels)
    key, value = (part(tokens).unsqueeze(1) for part in (layer.to_k, layer.to_v))  # 1 1 (h w) c
    out = x.permute(0, 2, 3, 1).reshape(1, height * width, channels)
    for start in range(0, height * width, QUERIES):
        query = layer.to_q(tokens[:, start : start + QUERIES]).unsqueeze(1)
        found = F.scaled_dot_product_attention(query, key, value).squeeze(1)
        out[:, start : start + QUERIES] += layer.to_out[0](found)
    return out.reshape(1, height, width, channels).permute(0, 3, 1, 2)


def _affine(x: Tensor, norm: Any) -> tuple[Tensor, Tensor]:
    """A group norm of x [1, c, h, w] as a factor and a summand for each channel, both [1, c, 1, 1] float32."""
    _, channels, height, width = x.shape
    groups, count = norm.num_groups, channels // norm.num_groups * height * width
    total = torch.zeros(channels, dtype=torch.float32, device=x.device)
    for top, bottom in _slabs(height, width):
        total += x[0, :, top:bottom].sum((1, 2), dtype=torch.float32)
    mean = (total.view(groups, -1).sum(1) / count).repeat_interleave(channels // groups)
    squares = torch.zeros_like(total)
    for top, bottom in _slabs(height, width):
        squares += (x[0, :, top:bottom].float() - mean[:, None, None]).square_().sum((1, 2))
    variance = (squares.view(groups, -1).sum(1) / count).repeat_interleave(channels // groups)
    factor = norm.weight.float() * torch.rsqrt(variance + norm.eps)
    return factor.view(1, -1, 1, 1), (norm.bias.float() - mean * factor).view(1, -1, 1, 1)


def _normal(x: Tensor, factor: Tensor, summand: Tensor) -> Tensor:
    return torch.addcmul(summand, x.float(), factor).to(x.dtype)


def _slabs(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows from … to, of a layer's output: each slab about SLAB_PIXELS, all of them even so that halves fit."""
    rows = max(2, SLAB_PIXELS // width // 2 * 2)
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


class SlabbedAutoencoder:
    """An AutoencoderKL as pipelines ask for it, computed by `encode` and `decode` above."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae.to(memory_format=torch.channels_last)
        self.config, self.dtype, self.device = vae.config, vae.dtype, vae.device

    def encode(self, pixels: Tensor) -> Any:
        """The distribution of a picture's latents, as `latent_dist`."""
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(encode(self._vae, pixels)))

    def decode(self, latents: Tensor) -> Tensor:
        """The pixels of unscaled latents."""
        return decode(self._vae, latents)
