"""The exact model within 4 to 24 GB: the same pixels, how much memory is taken, and how long it takes.

Full size, random weights. A parent process fills the card but for so much as a card of that size has, and a child draws
in what is left, with nothing told about memory; torch is capped as well. The peak is what NVML sees of the whole card
beyond the ballast, so with the child's CUDA context.

    python tests/gpu/placement.py --output measured.json            a CUDA GPU with 32 GB, 21 GB of disk, 24 GB of RAM
    python tests/gpu/placement.py --output measured.json --tiny     the same way in nano's size, by memory= on any CPU
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extensions_full_size import controlnet_file, x2plus_file
from full_size import DISK_BYTES, full_size, tiny, write
from PIL import Image
from safetensors.torch import save_file

import zimage_kit as zk
from zimage_kit import Request
from zimage_kit.engine import machine as machine_module
from zimage_kit.engine.machine import machine

GIB = 1 << 30
CAPS = (0, 24, 16, 12, 8, 6, 4)
"""GiB; 0: the whole card."""
TINY_CAPS = (0.0, 0.125, 0.11)
BLOCK_BYTES = 361.8e6
PROMPTS = ("a red balloon over the sea", "星空下的红色灯笼")


class PeakOfCard:
    """The most that was in use on a card while this was entered, by NVML, every few milliseconds."""

    def __init__(self, baseline: int, card: int = 0) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml, self._card = pynvml, pynvml.nvmlDeviceGetHandleByIndex(card)
        self._baseline, self._over = baseline, threading.Event()
        self.bytes = 0

    def used(self) -> int:
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._card).used)

    def __enter__(self) -> PeakOfCard:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.004):
            self.bytes = max(self.bytes, self.used() - self._baseline)


def copy_rate() -> float:
    """Bytes a second from pinned memory to the card, in copies of a block's size."""
    host = torch.empty(354_000_000, dtype=torch.uint8, pin_memory=True)
    device = torch.empty_like(host, device="cuda")
    device.copy_(host)
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(10):
        device.copy_(host, non_blocking=True)
    torch.cuda.synchronize()
    return 10 * host.nbytes / (time.perf_counter() - begin)


def lora_file(path: Path, small: bool) -> Path:
    """Random weights of rank 8 for every layer's attention and feed-forward, in peft's names."""
    torch.manual_seed(2)
    dim, layers = (256, 7) if small else (3840, 30)
    wide = int(dim / 3 * 8)
    sizes = {f"attention.to_{part}": (dim, dim) for part in "qkv"} | {"feed_forward.w2": (wide, dim)}
    state = {}
    for layer in range(layers):
        for name, (given, out) in sizes.items():
            key = f"transformer.layers.{layer}.{name}"
            state[f"{key}.lora_A.weight"] = torch.randn(8, given) / given**0.5
            state[f"{key}.lora_B.weight"] = torch.randn(out, 8) * 0.02
    save_file({key: value.to(torch.bfloat16) for key, value in state.items()}, path)
    return path


def kinds(model: Path, small: bool) -> dict[str, dict[str, Any]]:
    """What a picture can ask for beside its prompt."""
    folder = model.parent
    pose = {"kind": "pose", "preset": ["waving"], "controlnet": str(folder / "union.safetensors")}
    Image.linear_gradient("L").save(folder / "depth.png")
    depth = {**pose, "kind": "control", "picture": str(folder / "depth.png"), "type": "depth", "scale": 0.5}
    del depth["preset"]
    mask = Image.new("L", (512, 512))
    mask.paste(255, (100, 100, 300, 400))
    mask.save(folder / "mask.png")
    return {
        "text": {},
        "lora": {"loras": [(str(folder / "lora.safetensors"), 0.8)]},
        "pose": {"stages": [pose]},
        "pose and depth": {"stages": [pose, depth]},
        "pose and lora": {"stages": [pose], "loras": [(str(folder / "lora.safetensors"), 0.8)]},
        "inpaint": {"stages": [{"kind": "inpaint", "mask": str(folder / "mask.png"), "prompt": "a cat"}]},
        "refine": {"stages": [{"kind": "refine", "strength": 0.5}]},
        "upscale": {"stages": [{"kind": "upscale", "weights": str(folder / "x2plus.pth")}]},
    }


def with_stages(session: zk.Session, model: Path, small: bool, baseline: int) -> dict[str, Any]:
    """One picture of each kind: its pixels, what it took."""
    side, found = 128 if small else 1024, {}
    for name, fields in kinds(model, small).items():
        request = Request(prompt=PROMPTS[0], model=str(model), width=side, height=side, steps=8, seed=1, **fields)
        if not small:
            torch.cuda.reset_peak_memory_stats()
        try:
            first = session.run(request, on_event=lambda event: None, fresh=True)
        except zk.ZImageError as error:
            found[name] = {"sha256": "", "error": str(error)}
            continue
        with contextlib.nullcontext() if small else PeakOfCard(baseline) as watch:
            begin = time.perf_counter()
            made = session.run(request, on_event=lambda event: None, fresh=True)
            seconds = time.perf_counter() - begin
        plan = session._engine._resident.pipeline.plan  # type: ignore[attr-defined]
        found[name] = {
            "sha256": hashlib.sha256(made.image.tobytes()).hexdigest(),
            "size": list(made.image.size),
            "seconds": round(seconds, 4),
            "peak_bytes": watch.bytes if watch else 0,
            "torch_peak_bytes": made.trace.peak_bytes,
            "predicted_peak_bytes": plan.peak_bytes,
            "resident_blocks": plan.resident_blocks,
            "weight_bytes": plan.weight_bytes,
            "controlnet": plan.controlnet,
            "notes": [note for note in first.trace.notes if "memory" in note],
        }
    return found


def mixed(session: zk.Session, model: Path, small: bool, baseline: int) -> dict[str, Any]:
    """60 pictures of four sizes, LoRA and pose on and off: does memory grow, or time?"""
    names, used, times, noted = ("text", "lora", "pose", "pose and lora"), [], {}, set()
    sides = (64, 96, 128) if small else (512, 768, 1024)
    watch = None if small else PeakOfCard(baseline)
    for number in range(60):
        side, name = sides[number % len(sides)], names[number // len(sides) % len(names)]
        fields = kinds(model, small)[name]
        request = Request(
            prompt=PROMPTS[number % 2], model=str(model), width=side, height=side, steps=8, seed=number, **fields
        )
        begin = time.perf_counter()
        made = session.run(request, on_event=lambda event: None, fresh=True)
        noted |= {note for note in made.trace.notes if "memory" in note}
        times.setdefault(f"{name} {side}", []).append(round(time.perf_counter() - begin, 4))
        used.append(watch.used() - baseline if watch else 0)
    return {"used_bytes": used, "seconds": times, "notes": sorted(noted)}


def rms(values: np.ndarray[Any, Any]) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.square(values.astype(np.float64)).mean()))


def keeping(decode: Callable[[torch.Tensor], Any], latents: list[np.ndarray[Any, Any]]) -> Callable[..., Any]:
    """`decode`, which also keeps what it is given."""

    def both(given: torch.Tensor) -> Any:
        latents.append(given.float().cpu().numpy())
        return decode(given)

    return both


def child(
    model: Path,
    cap: float,
    baselines: Sequence[int],
    small: bool,
    sizes: Sequence[int],
    rounds: int,
    extra: str,
    given: str,
) -> dict[str, Any]:
    """Draw within what there is; what it took. `given`: more settings, such as dtype=float16, and ram=12 (GiB)."""
    settings: dict[str, Any] = {"device": "cpu" if small else "cuda"}
    settings |= dict(each.split("=") for each in given.split())
    ram = settings.pop("ram", None)
    if ram is not None:
        of_system = machine_module.free_memory
        machine_module.free_memory = lambda device: round(float(ram) * GIB) if device == "cpu" else of_system(device)
    baseline = baselines[0] if baselines else 0
    found: dict[str, Any] = {"cap_gib": cap, "settings": given, "pictures": {}}
    if small:
        settings["memory"] = f"{cap}GB" if cap else None
    else:
        machine()  # sets the allocator's options
        torch.zeros(1, device="cuda")
        watch = PeakOfCard(baseline)
        found["context_bytes"] = watch.used() - baseline - torch.cuda.memory_reserved()
        found["copy_rate"] = round(copy_rate())
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        if cap:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, cap * GIB / total))
    with zk.connect("inline", **settings) as session:
        engine = session._engine._resident  # type: ignore[attr-defined]
        for side in sizes:
            base = Request(prompt=PROMPTS[0], model=str(model), width=side, height=side, steps=8, seed=1)
            watches = [PeakOfCard(each, card) for card, each in enumerate(baselines)]
            for watch in watches:
                watch.__enter__()
            latents: list[np.ndarray[Any, Any]] = []
            loading = session.run(base.but(steps=1), on_event=lambda event: None).trace.milliseconds
            engine.pipeline.decode = keeping(engine.pipeline.decode, latents)
            first = session.run(base, on_event=lambda event: None, fresh=True)
            times, parts = [], []
            for turn in range(rounds):
                begin = time.perf_counter()
                made = session.run(base.but(seed=turn + 1), on_event=lambda event: None, fresh=True)
                times.append(time.perf_counter() - begin)
                parts.append(made.trace.milliseconds)
            begin = time.perf_counter()
            session.run(base.but(prompt=PROMPTS[1]), on_event=lambda event: None, fresh=True)
            other = time.perf_counter() - begin
            for watch in watches:
                watch.__exit__()
            plan = engine.pipeline.plan
            plain = model.parent / f"whole {side}.npz"  # of the first child, which computes in bfloat16
            drawn = np.asarray(first.image).astype(int)
            if not plain.exists():
                np.savez(plain, drawn=drawn, latents=latents[0])
            whole = np.load(plain)
            peaks = [watch.bytes for watch in watches]
            del engine.pipeline.decode  # the class's own again
            found["pictures"][str(side)] = {
                "difference": round(float(np.abs(drawn - whole["drawn"]).mean()), 3),
                "latents_difference": round(float(rms(latents[0] - whole["latents"]) / rms(whole["latents"])), 5),
                "host_bytes": plan.host_bytes,
                "second_blocks": plan.second_blocks,
                "sha256": hashlib.sha256(first.image.tobytes()).hexdigest(),
                "loading_milliseconds": loading,
                "load_seconds": round(loading.get("load", 0) / 1e3, 3),
                "first_step_seconds": round((loading["total"] - loading["decode"]) / 1e3, 3),
                "seconds": round(statistics.median(times), 4),
                "all_seconds": [round(each, 4) for each in times],
                "new_prompt_seconds": round(other, 4),
                "parts": {name: round(statistics.median(p[name] for p in parts), 1) for name in parts[0]},
                "step_milliseconds": round(statistics.median(made.trace.step_milliseconds), 2),
                "peak_bytes": peaks[0] if peaks else 0,
                "second_peak_bytes": peaks[1] if plan.second else 0,
                "predicted_second_peak_bytes": plan.second_peak_bytes,
                "mapped": plan.mapped,
                "notes": first.trace.notes,
                "torch_peak_bytes": made.trace.peak_bytes,
                "torch_reserved_bytes": 0 if small else torch.cuda.max_memory_reserved(),
                "predicted_peak_bytes": plan.peak_bytes,
                "resident_blocks": plan.resident_blocks,
                "streamed_blocks": plan.streamed_blocks,
                "encoder": plan.encoder,
                "pinned": plan.pinned,
                "weight_bytes": engine.pipeline.weight_bytes,
            }
        if extra == "stages":
            found["stages"] = with_stages(session, model, small, baseline)
        if extra == "mixed":
            found["mixed"] = mixed(session, model, small, baseline)
    return found


def measure(
    model: Path,
    small: bool,
    caps: Sequence[float],
    staged: Sequence[str],
    mix: Sequence[str],
    also: Sequence[str],
    sizes: Sequence[int],
    rounds: int,
) -> dict[str, Any]:
    """A child for each cap, one after the other, with the rest of the card filled."""
    begin = time.perf_counter()
    if not model.exists():
        write(model, tiny() if small else full_size(), "15MB" if small else "5GB")
        controlnet_file(model.parent / "union.safetensors", small)
        x2plus_file(model.parent / "x2plus.pth", small)
        lora_file(model.parent / "lora.safetensors", small)
    for earlier in model.parent.glob("whole *.npz"):
        earlier.unlink()
    print(f"wrote the model in {time.perf_counter() - begin:.1f} s", flush=True)
    if not small:
        torch.cuda.empty_cache()
    runs = []
    told = [("", str(cap)) for cap in caps] + [("", each) for each in also]
    for extra, words in [*told, *(("stages", each) for each in staged), *(("mixed", each) for each in mix)]:
        first, _, given = words.partition(" ")
        cap, ballast, baselines = float(first), [], list[int]()
        if not small:
            for card in range(torch.cuda.device_count()):
                free, _ = torch.cuda.mem_get_info(card)
                if cap:
                    ballast.append(torch.empty(free - round(cap * GIB), dtype=torch.uint8, device=f"cuda:{card}"))
                baselines.append(PeakOfCard(0, card).used())
        options = {"model": str(model), "cap": cap, "baselines": baselines, "small": small, "rounds": rounds}
        options |= {"sizes": [] if extra else list(sizes), "extra": extra, "given": given}
        command = [sys.executable, __file__, "--child", json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.strip().splitlines()
        try:
            run = json.loads(lines[-1])
        except (IndexError, ValueError):
            run = {"cap_gib": cap, "error": " | ".join((done.stderr or done.stdout)[-1500:].splitlines())}
        runs.append(run)
        print(json.dumps(run), flush=True)
        del ballast
        if not small:
            torch.cuda.empty_cache()
    return {
        "machine": "cpu" if small else torch.cuda.get_device_name(),
        "versions": {"torch": torch.__version__, "zimage_kit": zk.__version__},
        "runs": runs,
    }


def peaks(first: int, second: int) -> str:
    """The peak of a card, or of two."""
    return f"{first / 1e9:.2f}" + (f" and {second / 1e9:.2f}" if second else "")


def table(measured: dict[str, Any]) -> str:
    """The measurements as the tables of docs/measurements.md."""
    runs = measured["runs"]
    whole = next((run for run in runs if not run["cap_gib"] and run.get("pictures")), None)
    lines = [
        "| card | size | blocks on the card | peak (NVML), at most | predicted | a picture, at most | pixels |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        for side, made in run.get("pictures", {}).items():
            cap, reference = run["cap_gib"] * GIB, whole["pictures"][side] if whole else made
            blocks = made["resident_blocks"] + made["streamed_blocks"]
            encoder = "" if made["encoder"] == "resident" else ", encoder streamed"
            copied = made["streamed_blocks"] * BLOCK_BYTES * 8 / run["copy_rate"] if run.get("copy_rate") else 0.0
            allowed = 1.05 * max(reference["seconds"], copied) + 0.15
            most = f", {(cap - 0.4e9) / 1e9:.2f}" if cap else ""
            card = f"{run['cap_gib']:g} GiB" if cap else "all of it"
            card += f", {run['settings']}" if run.get("settings") else ""
            row = [
                card,
                f"{side}x{side}",
                f"{made['resident_blocks']} of {blocks}{encoder}",
                peaks(made["peak_bytes"], made["second_peak_bytes"]) + f"{most} GB",
                peaks(made["predicted_peak_bytes"], made["predicted_second_peak_bytes"]) + " GB",
                f"{made['seconds']:.3f}{f', {allowed:.3f}' if cap else ''} s",
                "equal" if made["sha256"] == reference["sha256"] else f"{made['latents_difference']:.4f} (latents)",
            ]
            lines.append(f"| {' | '.join(row)} |")
    staged = [run for run in runs if run.get("stages")]
    if staged:
        lines += [
            "",
            "| 1024x1024 | "
            + " | ".join(f"{run['cap_gib']:g} GiB {run['settings']}".strip() for run in staged)
            + " | pixels |",
        ]
        lines.append("|---|" + "---|" * (len(staged) + 1))
        for name in staged[0]["stages"]:
            made = [run["stages"][name] for run in staged]
            told = [each.get("error") or f"{each['seconds']:.2f} s, {each['peak_bytes'] / 1e9:.2f} GB" for each in made]
            same = len({each["sha256"] for each in made}) == 1
            lines.append(f"| {name} | " + " | ".join(told) + f" | {'equal' if same else 'NOT equal'} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when all pixels are equal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="nano's size on the CPU, to try the script")
    parser.add_argument("--caps", type=float, nargs="*", help="GiB, 0 for the whole card")
    settings = 'and settings, such as "8 dtype=float16", "12 device=cuda:0,cuda:1", "8 ram=12" (GiB)'
    parser.add_argument("--also", nargs="*", default=(), help=f"GiB {settings}")
    parser.add_argument("--staged", nargs="*", default=(), help=f"GiB {settings}, for pictures with stages and LoRAs")
    parser.add_argument("--mixed", nargs="*", default=(), help=f"GiB {settings}, for 60 pictures of all kinds")
    parser.add_argument("--sizes", type=int, nargs="*", help="sides of square pictures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the model is written, or was by an earlier run, and stays")
    parser.add_argument("--table", type=Path, nargs="*", help="print the tables of earlier outputs, measuring nothing")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.table:
        earlier = [json.loads(file.read_text()) for file in options.table]
        print(table({"runs": [run for each in earlier for run in each["runs"]]}))
        return 0
    if options.child:
        asked = json.loads(options.child)
        print(json.dumps(child(Path(asked.pop("model")), **asked)))
        return 0
    folder = options.folder or Path(tempfile.mkdtemp(prefix="placement-"))
    folder.mkdir(exist_ok=True)
    try:
        there = (folder / "model").exists()
        if not options.tiny and not there and shutil.disk_usage(folder).free < DISK_BYTES:
            parser.error(f"{folder} has too little space: {DISK_BYTES / 1e9:.0f} GB are needed")
        caps = options.caps if options.caps is not None else TINY_CAPS if options.tiny else CAPS
        sizes = options.sizes or ((128,) if options.tiny else (1024,))
        extras = (options.staged, options.mixed, options.also)
        measured = measure(folder / "model", options.tiny, caps, *extras, sizes, options.rounds)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    if options.output:
        options.output.write_text(json.dumps(measured, indent=2) + "\n")
    print(table(measured))
    equal = True
    for part in ("pictures", "stages"):
        seen: dict[str, set[str]] = {}
        for run in measured["runs"]:
            for name, made in run.get(part, {}).items():
                name = f"{name} {run.get('settings', '')}"
                seen.setdefault(name, set()).add(made["sha256"])
        equal &= all(len(each) == 1 for each in seen.values())
    whole = not any("error" in run for run in measured["runs"])
    print("pixels", "equal" if equal else "NOT equal", "" if whole else "(not all runs ended)")
    return 0 if equal and whole else 1


if __name__ == "__main__":
    sys.exit(main())
