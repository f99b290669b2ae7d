"""Attention alone, at the real size: our kernels beside PyTorch's flash and cuDNN, and what a first use takes.

    python tests/gpu/attention.py --output measured.json             a Hopper GPU

Milliseconds are medians of many calls after the first. The error is of float32's result from the same inputs: the root
of the mean square, relative. "First" is the first call with that number of tokens in this process, which loads what the
kernel needs and makes its plan.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from zimage_kit.engine import attention_kernels, kernels

HEADS, WIDTH, CALLS, ROUNDS = 30, 128, 20, 5
TOKENS = (1120, 2336, 4128, 4096, 4160, 4224, 9280, 9344)
"""Of 512x512, 768x768, about 1024x1024 with prompts of several lengths, and 1536x1536."""


def milliseconds(call: Callable[[], Any]) -> tuple[float, float]:
    """The first call's, by the clock, and a call's of many."""
    cuda: Any = torch.cuda  # untyped
    cuda.synchronize()
    begin = time.perf_counter()
    call()
    cuda.synchronize()
    first, found = (time.perf_counter() - begin) * 1e3, []
    for _ in range(ROUNDS):
        begun, ended = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        begun.record()
        for _ in range(CALLS):
            call()
        ended.record()
        ended.synchronize()
        found.append(begun.elapsed_time(ended) / CALLS)
    return first, statistics.median(found)


def ways(qkv: Tensor, rotations: Tensor, weights: Sequence[Tensor]) -> dict[str, Callable[[], Any]]:
    """Each from the same tokens; the one in float8 norms and turns queries and keys as well, in the same time."""
    turned, again = qkv.clone(), qkv.clone()
    kernels.turn(turned, rotations, *weights, 1e-5)
    q, k, v = turned.permute(1, 2, 0, 3).unsqueeze(1)

    def plain(kind: SDPBackend) -> Tensor:
        with sdpa_kernel([kind]):
            return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)

    return {
        "flash": lambda: plain(SDPBackend.FLASH_ATTENTION),
        "cuDNN": lambda: plain(SDPBackend.CUDNN_ATTENTION),
        "ours": lambda: attention_kernels.attend(turned),
        "ours in float8, with norm and turn": lambda: attention_kernels.attend_eight(qkv, rotations, *weights, 1e-5),
        "norm and turn alone": lambda: kernels.turn(again, rotations, *weights, 1e-5),  # in place
        "float32": lambda: (
            F.scaled_dot_product_attention(*(each.float() for each in (q, k, v)))[0].transpose(0, 1).flatten(1)
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--tokens", nargs="+", type=int, default=TOKENS)
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    for tokens in options.tokens:
        torch.manual_seed(0)
        with torch.device("cuda"):
            qkv = torch.randn(tokens, 3, HEADS, WIDTH, dtype=torch.bfloat16)
            rotations = torch.polar(torch.ones(tokens, WIDTH // 2), torch.randn(tokens, WIDTH // 2))
            weights = [torch.ones(WIDTH, dtype=torch.bfloat16) for _ in range(2)]
        calls = ways(qkv, rotations, weights)
        wanted = calls.pop("float32")()
        for name, call in calls.items():
            first, each = milliseconds(call)
            row = {"first": round(first, 1), "milliseconds": round(each, 4)}
            if "alone" not in name:
                row["tflops"] = round(4 * tokens**2 * HEADS * WIDTH / each / 1e9)
                row["error"] = round(float((call().float() - wanted).norm() / wanted.norm()), 4)
            found.setdefault(str(tokens), {})[name] = row
            print(tokens, name, json.dumps(row), flush=True)
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
