"""Z-Image-Turbo at its full size with random weights, through our pipeline and through stock diffusers, side by side.

Times do not depend on the values of the weights, so they stand for the real model; the pictures are noise.

    python tests/gpu/full_size.py --output measured.json            a CUDA GPU with 32 GB, 21 GB of disk
    python tests/gpu/full_size.py --output measured.json --tiny     the same way in nano's size, on any CPU

Writes a directory in the published layout (sharded safetensors, bfloat16), loads it with `zk.connect("inline")`, draws
whole pictures (new prompt to PIL picture, with events and previews) in turn with `ZImagePipeline` on the same loaded
components, and writes what it took to the JSON file. The promise: ours takes at most 2% longer than stock.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from PIL import Image
from transformers import Qwen3Config, Qwen3Model

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.nano import architecture as nano

PROMISE = 1.02
DISK_BYTES = 22_000_000_000
THINGS = ("a red balloon over the sea", "星空下的红色灯笼", "two cats on a wall", "a boat below a snow mountain")


def full_size() -> dict[str, Any]:
    """The three networks at their published sizes, modules' own initial weights, in bfloat16 on the GPU."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            transformer = ZImageTransformer2DModel()
            text_encoder = Qwen3Model(
                Qwen3Config(
                    vocab_size=151936,
                    hidden_size=2560,
                    intermediate_size=9728,
                    num_hidden_layers=36,
                    num_attention_heads=32,
                    num_key_value_heads=8,
                    head_dim=128,
                    max_position_embeddings=40960,
                    tie_word_embeddings=True,
                )
            )
            vae = AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(128, 256, 512, 512),
                layers_per_block=2,
                latent_channels=16,
                norm_num_groups=32,
                sample_size=1024,
                scaling_factor=0.3611,
                shift_factor=0.1159,
                use_quant_conv=False,
                use_post_quant_conv=False,
                force_upcast=False,
            )
    finally:
        torch.set_default_dtype(torch.float32)
    return {"transformer": transformer, "text_encoder": text_encoder, "vae": vae}


def tiny() -> dict[str, Any]:
    """nano's networks: the same classes, small enough for a CPU."""
    torch.manual_seed(0)
    tokens = len(nano.tokenizer())
    return {"transformer": nano.transformer(), "text_encoder": nano.text_encoder(tokens), "vae": nano.autoencoder()}


def write(directory: Path, networks: dict[str, Any], shard: str) -> None:
    """A directory that stock diffusers loads."""
    with torch.no_grad():
        for name in ("x_pad_token", "cap_pad_token"):  # left uninitialised by their class
            getattr(networks["transformer"], name).normal_()
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=False)
    pipeline = ZImagePipeline(scheduler=scheduler, tokenizer=nano.tokenizer(), **networks)
    pipeline.save_pretrained(directory, max_shard_size=shard)


def seconds_of(draw: Callable[[], Image.Image]) -> tuple[float, Image.Image]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begin = time.perf_counter()
    image = draw()
    return time.perf_counter() - begin, image


def side_by_side(session: Session, stock: Any, base: Request, rounds: int) -> dict[str, Any]:
    """Whole pictures in turn: ours, stock, stock, ours, … Each round has a prompt that neither has seen."""
    taken: dict[str, list[float]] = {"ours": [], "stock": []}
    known, traces, equal = [], [], True
    for turn in range(-2, rounds):  # two rounds to warm up
        request = base.but(prompt=f"{THINGS[turn % len(THINGS)]}, number {turn + 3}", seed=turn + 3)
        made: dict[str, Any] = {}

        def ours(request: Request = request, made: dict[str, Any] = made) -> Image.Image:
            made["artifact"] = session.run(request, on_event=lambda event: None, fresh=True)
            return made["artifact"].image

        def plain(request: Request = request) -> Image.Image:
            image: Image.Image = stock(
                request.prompt,
                height=request.height,
                width=request.width,
                num_inference_steps=request.steps,
                guidance_scale=0.0,
                generator=torch.Generator("cpu").manual_seed(request.seed or 0),
            ).images[0]
            return image

        pictures = {}
        for name, draw in (("ours", ours), ("stock", plain))[:: 1 if turn % 2 else -1]:
            seconds, pictures[name] = seconds_of(draw)
            if turn >= 0:
                taken[name].append(seconds)
        equal &= np.array_equal(np.asarray(pictures["ours"]), np.asarray(pictures["stock"]))
        if turn >= 0:
            traces.append(made["artifact"].trace)
            known.append(seconds_of(ours)[0])
    medians = {name: statistics.median(times) for name, times in taken.items()}
    parts = ("encode", "denoise", "decode", "total")
    return {
        "rounds": rounds,
        "seconds": {name: [round(value, 4) for value in times] for name, times in taken.items()},
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "median_seconds_known_prompt": round(statistics.median(known), 4),
        "ratio": round(medians["ours"] / medians["stock"], 4),
        "promise": PROMISE,
        "promise_kept": medians["ours"] <= PROMISE * medians["stock"],
        "bit_equal": bool(equal),
        "step_milliseconds": round(statistics.median(step for trace in traces for step in trace.step_milliseconds), 3),
        "part_milliseconds": {
            part: round(statistics.median(trace.milliseconds[part] for trace in traces), 3) for part in parts
        },
        "peak_bytes": {part: max(trace.peak_bytes[part] for trace in traces) for part in parts},
    }


def measure(directory: Path, small: bool, rounds: int) -> dict[str, Any]:
    """Write, load and draw; what it took, as JSON values."""
    begin = time.perf_counter()
    write(directory, tiny() if small else full_size(), "15MB" if small else "5GB")
    written = time.perf_counter() - begin
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    side = 128 if small else 1024
    base = Request(prompt="x", model=str(directory), width=side, height=side, steps=8, seed=0)
    with zk.connect("inline", device="cpu" if small else "cuda", speed="stock") as session:  # the one that is bit-equal
        first = session.run(base)
        engine = session._engine
        stock = engine._resident.pipeline.diffusers_pipeline  # type: ignore[attr-defined]
        compared = side_by_side(session, stock, base, rounds)
        status = session.status()
    return {
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() and not small else "cpu",
        "python": sys.version.split()[0],
        "versions": {m.__name__: m.__version__ for m in (torch, diffusers, transformers, zk)},
        "size": [side, side],
        "steps": 8,
        "dtype": first.trace.dtype,
        "directory_bytes": sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()),
        "build_and_write_seconds": round(written, 2),
        "load_seconds_files_in_page_cache": round(first.trace.milliseconds["load"] / 1e3, 2),
        "load_peak_bytes": first.trace.peak_bytes["load"],
        "first_picture_seconds_after_load": round(
            sum(first.trace.milliseconds[part] for part in ("encode", "denoise", "decode")) / 1e3, 3
        ),
        "resident_bytes": status.memory_bytes,
        **compared,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when the promise is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="nano's size on the CPU, to try the script")
    parser.add_argument("--rounds", type=int, default=7, help="pictures of each kind (at least 5)")
    parser.add_argument("--folder", type=Path, help="where to write the model; a temporary folder otherwise")
    options = parser.parse_args(arguments)
    if not options.tiny and not torch.cuda.is_available():
        parser.error("the full size needs a CUDA GPU; --tiny runs on a CPU")
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="full-size-"))
    try:
        free = shutil.disk_usage(folder).free
        if not options.tiny and free < DISK_BYTES:
            parser.error(f"{folder} has {free / 1e9:.0f} GB free; {DISK_BYTES / 1e9:.0f} GB are needed")
        measured = measure(folder / "model", options.tiny, max(5, options.rounds))
    finally:
        shutil.rmtree(folder)
    text = json.dumps(measured, indent=2)
    options.output.write_text(text + "\n")
    print(text)
    kept = "kept" if measured["promise_kept"] else "NOT kept"
    print(f"ours takes {measured['ratio']:.4f} of stock's time; at most {PROMISE} was promised: {kept}")
    return 0 if measured["promise_kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
