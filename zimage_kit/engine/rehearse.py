"""A picture of nothing, drawn by networks of one layer each while the weights are read.

On their first use with a shape, the libraries for products, attention and convolutions load kernels and choose among
them: 0.8 s of a first picture of 1024x1024 on an H100. Here that happens beside reading, in the memory that the plan
leaves for drawing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import encode as text_encoder
from .autoencoder import SlabbedAutoencoder, eight_bits
from .blocks import Block, bring_buffers, materialise
from .load import without_weights
from .networks import usable
from .plan import Plan
from .transformer import FlatTransformer, flatten

_PROMPT_TOKENS = 32
"""About as many as a prompt of a sentence has with its template."""


def rehearse(directory: Path, plan: Plan, size: tuple[int, int]) -> None:
    """Encode, evaluate once and decode zeros for a picture of `size` pixels, on the plan's device."""
    device = torch.device(plan.device)
    with torch.no_grad(), _memory_apart(device):
        _draw(directory, plan, size, device)


def _prompts(image_tokens: int) -> tuple[int, int]:
    """Tokens of two prompts: an ordinary one, and one with which all tokens fill cuDNN's tiles of 128.

    For those it has a kernel of its own, whose first use takes 0.76 s (H200).
    """
    filled = -(-image_tokens // _PROMPT_TOKENS) * _PROMPT_TOKENS
    return _PROMPT_TOKENS, -filled % 128 or 128


@contextmanager
def _memory_apart(device: torch.device) -> Iterator[None]:
    """Let what this thread allocates on a GPU come from a pool that goes when it ends."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device), torch.cuda.use_mem_pool(torch.cuda.MemPool()):
        yield


def _draw(directory: Path, plan: Plan, size: tuple[int, int], device: torch.device) -> None:
    dtype = getattr(torch, plan.dtype)
    wide = torch.float32 if dtype == torch.float16 else dtype  # as `pipeline.keeping`
    ours = usable(directory, plan)
    layers = {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}  # the last one is not computed
    encoder: Any = without_weights(directory, "text_encoder", ours, **layers, vocab_size=_PROMPT_TOKENS)
    _fill(encoder, [Block(encoder.layers[0], dtype)], dtype, device)
    text_encoder.flatten(encoder)
    prompt = text_encoder.encode(encoder, torch.arange(_PROMPT_TOKENS, device=device))
    del encoder

    transformer: Any = without_weights(directory, "transformer", ours, n_layers=1, n_refiner_layers=1)
    (layer,), (refiner,) = transformer.layers, transformer.context_refiner
    transformer.noise_refiner[0] = layer
    refiner.attention, refiner.feed_forward = layer.attention, layer.feed_forward
    fast = plan.speed == "fast"
    _fill(transformer, [Block(layer, dtype, plan.precision if fast else "", fast)], dtype, device)
    flatten(transformer)
    latents = torch.zeros(1, 16, size[1] // 8, size[0] // 8, dtype=wide, device=device)
    for tokens in _prompts((size[0] // 16) * (size[1] // 16)):
        evaluate = FlatTransformer(transformer, torch.zeros(1, device=device))
        evaluate(
            [latents[0, :, None].to(dtype)], torch.zeros(1, device=device), [prompt.new_zeros(tokens, prompt.shape[1])]
        )
    del transformer, evaluate

    vae = without_weights(directory, "vae", ours)
    _fill(vae, [], wide, device)
    eight_bits(SlabbedAutoencoder(vae).decode(latents))


def _fill(module: nn.Module, blocks: list[Block], dtype: torch.dtype, device: torch.device) -> None:
    """Let all weights be zeros: those of the blocks side by side, as in a loaded model."""
    for block in blocks:
        packed = block.packed_computes
        count = block.waiting_bytes if packed else block.elements
        block.keep(torch.zeros(count, dtype=torch.uint8 if packed else dtype, device=device))
    for name, weight in list(module.named_parameters()):
        if weight.is_meta:
            materialise(module, name, torch.zeros(weight.shape, dtype=dtype, device=device))
    bring_buffers(module, device)
