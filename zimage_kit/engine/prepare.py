"""Builds the kernels for a model while its weights are read: the first picture does not wait for a compiler.

A kernel is compiled on its first use, which takes half a second; the next process finds it in Triton's cache on disk.
The libraries for products, attention and convolutions load their own on first use too: see `rehearse`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import attention, fused
from .memory import means_out_of_memory
from .networks import configuration
from .plan import Plan
from .rehearse import rehearse

_ROWS = 32
_log = logging.getLogger("zimage_kit")


@contextmanager
def preparing(directory: Path, plan: Plan, size: tuple[int, int]) -> Iterator[None]:
    """Build the kernels for the model in a directory during what is done inside, on a GPU with our own code.

    And let the libraries load theirs, for a picture of `size` pixels.
    """
    if plan.speed == "stock" or not plan.device.startswith("cuda"):
        yield
        return
    with ThreadPoolExecutor(1, "zimage-kernels") as aside:
        ready = aside.submit(_prepare, directory, plan, size)
        yield
        ready.result()


def _prepare(directory: Path, plan: Plan, size: tuple[int, int]) -> None:
    if fused.kernels() is None:
        fused.use_plain("Triton is not installed")
    else:
        _build(directory, plan)
    if plan.streamed_blocks or plan.encoder != "resident" or plan.second:
        return  # memory is short there, and pictures take longer than this saves
    try:
        rehearse(directory, plan, size)
    except Exception as error:  # nothing depends on it
        if not means_out_of_memory(error):
            _log.warning("the rehearsal failed, so that the first picture takes longer", exc_info=True)


def _build(directory: Path, plan: Plan) -> None:
    """Call each function once, on a few zeros of the networks' widths. Without a compiler the plain ones are chosen."""
    kind = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}[plan.precision] if plan.speed == "fast" else None
    tasks = calls(directory, torch.device(plan.device), getattr(torch, plan.dtype), kind)
    try:
        with torch.no_grad(), ThreadPoolExecutor(4, "zimage-kernel") as pool:
            for done in [pool.submit(task) for task in tasks]:
                done.result()
        torch.cuda.synchronize(plan.device)
    except Exception as error:  # Triton raises what its compilers do
        fused.use_plain(" ".join(f"{type(error).__name__}: {error}".split())[:200])


def calls(
    directory: Path, device: torch.device, dtype: torch.dtype, packed: torch.dtype | None = None
) -> list[Callable[[], Any]]:
    """One call of each function of `fused` in each form in which the networks use it; `packed`: products in 8 bits."""

    def zeros(*shape: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.zeros(shape, dtype=kind, device=device)

    transformer, encoder, vae = (configuration(directory, name) for name in ("transformer", "text_encoder", "vae"))
    dim, heads, text = transformer["dim"], transformer["n_heads"], encoder["hidden_size"]
    head, size = dim // heads, encoder["head_dim"]
    states, weight, tokens, gain = zeros(_ROWS, dim), zeros(dim, kind=torch.float32), zeros(_ROWS, text), zeros(text)
    q_heads, k_heads = encoder["num_attention_heads"], encoder["num_key_value_heads"]
    wide = torch.float32 if dtype == torch.float16 else dtype  # see half.py
    pictures = [zeros(1, 16, 16, each, kind=wide).permute(0, 3, 1, 2) for each in vae["block_out_channels"]]
    affine = zeros(len(pictures[0][0]), kind=torch.float32), zeros(len(pictures[0][0]), kind=torch.float32)
    groups, picture, channels = vae["norm_num_groups"], pictures[0], zeros(len(pictures[0][0]), kind=wide)
    angles = torch.polar(*zeros(2, _ROWS, head // 2, kind=torch.float32))
    qkv, turning = zeros(_ROWS, 3, heads, head), zeros(_ROWS, q_heads + 2 * k_heads, size)[:, : q_heads + k_heads]
    between = zeros(_ROWS, int(dim / 3 * 8))
    tables = zeros(_ROWS, size), zeros(_ROWS, size), zeros(size), zeros(size)
    return [
        *([partial(fused.quantise, states, packed), partial(fused.quantise, between, packed)] if packed else []),
        *([lambda: fused.norm(states, weight, 1e-5, packed)] if packed else []),
        *([lambda: fused.add_norm(states, states, weight, 1e-5, weight, 1e-5, packed)] if packed else []),
        *([lambda: fused.silu_gate(torch.cat([between, between], -1), packed)] if packed else []),
        *([lambda: attention.attend(qkv, angles, zeros(head), zeros(head), 1e-5, False, packed)] if packed else []),
        lambda: attention.attend(qkv, angles, zeros(head), zeros(head), 1e-5),
        lambda: fused.norm(states, weight, 1e-5),
        lambda: fused.add_norm(states, states, weight, 1e-5, weight, 1e-5),
        lambda: fused.add(states, states, weight, 1e-5),
        lambda: fused.silu_gate(zeros(_ROWS, 2 * int(dim / 3 * 8))),
        lambda: fused.norm(tokens, gain, 1e-6),
        lambda: fused.add_norm(tokens, tokens, None, 0.0, gain, 1e-6),
        lambda: fused.turn_halves(turning, *tables, q_heads, 1e-6),
        lambda: fused.silu_gate(zeros(_ROWS, 2 * encoder["intermediate_size"])),
        *(partial(fused.group_affine, each, groups, each[0, :, 0, 0], each[0, :, 0, 0], 1e-6) for each in pictures),
        lambda: fused.window(picture, 0, 8, affine, False),
        lambda: fused.window(picture, 0, 8, None, False),
        lambda: fused.window(picture, 0, 8, None, True),
        lambda: fused.put(picture.clone(), picture, channels, True),
        lambda: fused.put(picture.clone(), picture, channels, False),
    ]
