"""Z-Image-Turbo at its full size with random weights: every speed beside stock diffusers, in one run.

Times do not depend on the values of the weights, so they stand for the real model; the pictures are noise.

    python tests/gpu/speed.py --output measured.json            a CUDA GPU with 32 GB, 21 GB of disk
    python tests/gpu/speed.py --output measured.json --tiny     the same way in nano's size, on any CPU

Writes a directory in the published layout, measures it as `zimage bench` does, compares latents with those of float32
(`--accuracy`), draws with a LoRA and with a pose (`--staged`), sizes and prompts in random order (`--mixed`), cells of
a grid (`--cells`), and times the kernels by class (`--profile`).
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from extensions_full_size import controlnet_file
from full_size import full_size, tiny, write
from placement import kinds, lora_file

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.doctor.bench import Profile, measure
from zimage_kit.engine.settings import Settings
from zimage_kit.session.inline import InlineEngine

SIDES = ((1024, 1024), (896, 1152), (832, 1216), (768, 1344), (1152, 896), (1216, 832), (1344, 768), (512, 512),
         (640, 640), (768, 768), (1280, 1280), (512, 1024))  # fmt: skip
WORDS = "a red balloon over the sea at night, with lanterns, painted in ink on rice paper; 星空下的红色灯笼，山水画。"


def mixed(model: str, speed: str, small: bool) -> dict[str, Any]:
    """60 pictures over 12 sizes and 5 lengths of prompts in random order: the first of a kind beside its warm time."""
    sides = [(width // 128 * 16, height // 128 * 16) for width, height in SIDES] if small else SIDES
    words = WORDS * 4
    kinds = [(side, words[:length]) for side in sides for length in (12, 30, 70, 140, 300)]
    random.Random(1).shuffle(kinds)
    with zk.connect("inline", device="cpu" if small else "cuda", speed=speed) as session:

        def parts(side: tuple[int, int], prompt: str) -> dict[str, float]:
            request = Request(prompt=prompt, model=model, width=side[0], height=side[1], steps=8, seed=1)
            return dict(session.run(request, on_event=lambda event: None, fresh=True).trace.milliseconds)

        parts(sides[0], "warm")
        first = [parts(*kind) for kind in kinds]
        again = [min((parts(*kind) for _ in range(2)), key=lambda each: each["total"]) for kind in kinds]
    over = [one["total"] / other["total"] for one, other in zip(first, again, strict=True)]
    worst = sorted(range(len(over)), key=over.__getitem__, reverse=True)
    return {
        "pictures": len(kinds),
        "over_1.15": sum(each > 1.15 for each in over),
        "worst": [
            {"of": [*kinds[i][0], len(kinds[i][1])], "place": i, "over": round(over[i], 3), "ms": [first[i], again[i]]}
            for i in worst[:16]
        ],
    }


CLASSES = {
    "attention": ("sdpa", "flash", "fmha", "attention", "_attend"),
    "convolution": ("conv", "fprop", "wgrad", "nchwToNhwc", "nhwcToNchw"),
    "products": ("nvjet", "gemm", "cutlass", "cublas", "splitK", "xmma"),
    "our kernels": (
        "_norm",
        "_add_norm",
        "_turn",
        "_silu_gate",
        "_moments",
        "_affine",
        "_window",
        "_put",
        "_quantise",
        "_to_eight",
        "_transpose",
    ),
    "copies": ("memcpy", "memset", "copy_kernel"),
}


def accuracy(model: str, speeds: Sequence[str], small: bool) -> dict[str, Any]:
    """How far the last latents are from stock's in float32: the root of the mean square over theirs.

    A speed may come with a type other than the one that the plan chooses: exact/float16.
    """
    latents: dict[str, list[torch.Tensor]] = {}
    side = 128 if small else 1024
    for each in ("stock/float32", *speeds):
        name, _, dtype = each.partition("/")
        settings = Settings(device="cpu" if small else "cuda", speed=name, dtype=dtype or "auto")
        with Session(InlineEngine(settings), name) as session:
            request = Request(prompt=WORDS[:70], model=model, width=side, height=side, steps=8, seed=1)
            session.run(request.but(steps=1), on_event=lambda event: None)
            pipeline = session._engine._resident.pipeline  # type: ignore[attr-defined]
            decode, kept = pipeline.decode, latents.setdefault(each, [])
            pipeline.decode = lambda given, decode=decode, kept=kept: (kept.append(given.float().cpu()), decode(given))[
                1
            ]
            for seed in (1, 2):
                session.run(request.but(seed=seed), on_event=lambda event: None, fresh=True)
        gc.collect()
        torch.cuda.empty_cache()
    wanted = latents.pop("stock/float32")
    return {
        name: [round(float((one - other).norm() / other.norm()), 5) for one, other in zip(found, wanted, strict=True)]
        for name, found in latents.items()
    }


def staged(model: Path, speed: str, small: bool) -> dict[str, Any]:
    """Seconds of a picture with a known prompt: alone, with a LoRA of rank 8, with a pose (a ControlNet 2.1)."""
    side, found = 128 if small else 1024, {}
    with zk.connect("inline", device="cpu" if small else "cuda", speed=speed) as session:
        for name, fields in kinds(model, small).items():
            if name in ("text", "lora", "pose"):
                base = Request(prompt=WORDS[:30], model=str(model), width=side, height=side, steps=8, **fields)
                traces = [
                    session.run(base.but(seed=i), on_event=lambda event: None, fresh=True).trace for i in range(6)
                ]
                times = [trace.milliseconds["denoise"] + trace.milliseconds["decode"] for trace in traces[2:]]
                found[name] = round(statistics.median(times) / 1e3, 4)
    return {"seconds": found, "over text": {name: round(each / found["text"], 3) for name, each in found.items()}}


def cells(model: str, speed: str, small: bool, count: int = 24) -> dict[str, Any]:
    """The same number of pictures alone and as cells of a grid, in turn: seconds, and a grid's rate over theirs."""
    side, alone, grids = 128 if small else 1024, [], []
    with zk.connect("inline", device="cpu" if small else "cuda", speed=speed) as session:
        base = Request(prompt=WORDS[:30], model=model, width=side, height=side, steps=8)
        list(session.run([base.but(seed=seed) for seed in (1, 2)]))
        for turn in (1, 2, 3):
            seeds = range(1000 * turn, 1000 * turn + count)
            begin = time.perf_counter()
            list(session.run([base.but(seed=seed) for seed in seeds]))
            alone.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            grid = session.grid(base, seed=range(500 + seeds[0], 500 + seeds[0] + count)).wait()
            grids.append(time.perf_counter() - begin)
            assert grid.computed == count
    rate = statistics.median(alone) / statistics.median(grids)
    return {"cells": count, "alone": [round(s, 3) for s in alone], "grid": [round(s, 3) for s in grids], "rate": rate}


def by_class(model: str, speed: str, sides: Sequence[tuple[int, int]], small: bool) -> dict[str, Any]:
    """Milliseconds of the device for one warm picture, by class of kernels; the largest; what the host takes a step."""
    from torch.profiler import ProfilerActivity, profile

    from zimage_kit.engine.transformer import FlatTransformer

    found: dict[str, Any] = {}
    calls: list[float] = []
    plain = FlatTransformer.__call__

    def timed(self: Any, *given: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        result = plain(self, *given, **named)
        calls.append((time.perf_counter() - begin) * 1e3)
        return result

    with zk.connect("inline", device="cpu" if small else "cuda", speed=speed) as session:
        for width, height in sides:
            request = Request(prompt=WORDS[:30], model=model, width=width, height=height, steps=8, seed=1)
            for _ in range(2):
                session.run(request, on_event=lambda event: None, fresh=True)
            calls.clear()
            FlatTransformer.__call__ = timed  # type: ignore[method-assign]
            session.run(request, on_event=lambda event: None, fresh=True)
            FlatTransformer.__call__ = plain  # type: ignore[method-assign]
            activity = ProfilerActivity.CPU if small else ProfilerActivity.CUDA
            with profile(activities=[activity]) as watched:
                session.run(request, on_event=lambda event: None, fresh=True)
            taken = {
                row.key: (row.self_cpu_time_total if small else row.self_device_time_total) / 1e3
                for row in watched.key_averages()
            }
            classes = dict.fromkeys([*CLASSES, "rest"], 0.0)
            for name, milliseconds in taken.items():
                of = (each for each, words in CLASSES.items() if any(word.lower() in name.lower() for word in words))
                classes[next(of, "rest")] += milliseconds
            most = sorted(taken.items(), key=lambda each: -each[1])[:24]
            found[f"{width}x{height}"] = {
                "milliseconds": {name: round(value, 2) for name, value in classes.items()},
                "host_milliseconds_a_step": [round(each, 2) for each in calls],
                "largest": {name[:90]: round(value, 2) for name, value in most},
            }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="nano's size on the CPU, to try the script")
    parser.add_argument("--profiles", nargs="*", default=["stock", "exact"], help="as `zimage bench` takes them")
    parser.add_argument("--sides", nargs="+", type=int, default=[1024, 512, 1536])
    parser.add_argument("--rounds", type=int, default=5, help="pictures of each kind")
    parser.add_argument("--mixed", nargs="*", default=[], help="speeds for which sizes and prompts are mixed")
    parser.add_argument(
        "--accuracy", nargs="*", default=[], help="speeds that are compared with float32, as exact or exact/float16"
    )
    parser.add_argument("--staged", nargs="*", default=[], help="speeds that draw with a LoRA and with a pose")
    parser.add_argument("--cells", nargs="*", default=[], help="speeds in which 24 pictures are a grid's cells, too")
    parser.add_argument("--profile", nargs="*", default=[], help="speeds of which kernels are timed by class")
    parser.add_argument("--folder", type=Path, help="where the model is kept; a temporary folder otherwise")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="speed-"))
    model, small = folder / "model", options.tiny
    begin = time.perf_counter()
    if not model.exists():
        write(model, tiny() if small else full_size(), "15MB" if small else "5GB")
        gc.collect()
        torch.cuda.empty_cache()
    print(f"wrote the model in {time.perf_counter() - begin:.1f} s", flush=True)
    found: dict[str, Any] = {}
    sides = [(side // 8, side // 8) if small else (side, side) for side in options.sides]
    if options.sides and options.profiles:
        settings = Settings(device="cpu" if small else "cuda")
        profiles = [Profile.parse(text) for text in options.profiles]
        bench = measure(str(model), profiles, sides, settings, steps=8, rounds=options.rounds)
        found = bench.to_json()
        print(bench.to_markdown(), flush=True)
    if options.accuracy:
        found["accuracy"] = accuracy(str(model), options.accuracy, small)
        print(json.dumps(found["accuracy"]), flush=True)
    if options.staged:
        controlnet_file(folder / "union.safetensors", small)
        lora_file(folder / "lora.safetensors", small)
    for speed in options.staged:
        found[f"staged {speed}"] = staged(model, speed, small)
        print(json.dumps(found[f"staged {speed}"]), flush=True)
    for speed in options.profile:
        found[f"profile {speed}"] = by_class(str(model), speed, sides, small)
        print(json.dumps(found[f"profile {speed}"], indent=1), flush=True)
    for speed in options.cells:
        found[f"cells {speed}"] = cells(str(model), speed, small)
        print(json.dumps(found[f"cells {speed}"]), flush=True)
    for speed in options.mixed:
        found[f"mixed {speed}"] = mixed(str(model), speed, small)
        print(json.dumps(found[f"mixed {speed}"]), flush=True)
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
