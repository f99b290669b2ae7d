"""A style as a LoRA: paper-cuts, learned by a few hundred thousand weights beside the frozen student's.

As in `controlnet`, what is fitted to the data is what the student would say without the guidance that it carries:
(said + w u) / (1 + w), u being what it says of the empty caption, held still. Captions tell the scene in the style it
would have had; the LoRA makes a paper-cut of all of them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from zimage_kit.nano import captions, data, papercut, scenes
from zimage_kit.nano.batched import Batched
from zimage_kit.nano.train import export as exporting
from zimage_kit.nano.train.check import draw
from zimage_kit.nano.train.common import SEED, Average, Clock, Setup
from zimage_kit.nano.train.controlnet import LENGTH_SHARES, student
from zimage_kit.nano.train.denoiser import LENGTHS, SAVE_EVERY, Latents, Network
from zimage_kit.nano.train.distil import GUIDANCE, OFF_GRID, schedule

NAME = "papercut"
FIRST = 5_000_000  # chunk
RANK = 6
SCENES = 150_000
DROPPED = 0.15
NAMED = {"en": ("paper-cut of {}", "{}, paper-cut"), "zh": ("剪纸，{}", "{}，剪纸")}
LAYERS = (
    "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
    "feed_forward.w1", "feed_forward.w2", "feed_forward.w3",
)  # fmt: skip


class LowRank(nn.Module):
    """What a weight (out, in) becomes with a LoRA: itself, and the product of two small matrices times `strength`."""

    def __init__(self, out: int, into: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(RANK, into) / into**0.5)
        self.b = nn.Parameter(torch.zeros(out, RANK))
        self.strength = 1.0

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight to use."""
        return weight + self.strength * (self.b @ self.a)


def attach(transformer: Any) -> nn.ModuleDict:
    """Put a LoRA that changes nothing yet on every block, and return its parts by the layer's name, dots as slashes."""
    parts = nn.ModuleDict()
    for name, layer in list(transformer.named_modules()):
        if name.endswith(LAYERS) and isinstance(layer, nn.Linear):
            part = LowRank(layer.out_features, layer.in_features).to(layer.weight.device)
            register_parametrization(layer, "weight", part)
            parts[name.replace(".", "/")] = part
    return parts


def chunk(index: int, tokenizer: Any, pad: int) -> data.Chunk:
    """Draw chunk `index`: the denoiser's scenes and captions, as paper-cuts; some captions say so. No labels."""
    rng = np.random.default_rng((index, 31))
    bucket = int(rng.choice(len(scenes.SIZES), p=scenes.SIZE_SHARES))
    told = [scenes.sample(index * data.CHUNK + i, size=scenes.SIZES[bucket]) for i in range(data.CHUNK)]
    tokens = [data.tokens_of(_told(scene, rng), rng, tokenizer, pad) for scene in told]
    pictures = np.stack([np.asarray(papercut.render(scene)) for scene in told])
    return data.Chunk(bucket, pictures, np.stack(tokens), np.empty((data.CHUNK, 0), np.float32))


def _told(scene: scenes.Scene, rng: np.random.Generator) -> list[str]:
    out = []
    for number in range(data.CAPTIONS):
        language, tell = (("en", captions.english), ("zh", captions.chinese))[number >= data.CAPTIONS // 2]
        text = tell(scene, rng)
        out.append(str(rng.choice(NAMED[language])).format(text) if rng.random() < 0.15 else text)
    return out


def run(setup: Setup) -> None:
    """Train (or go on training) the LoRA; the state is `lora.pt`."""
    torch.set_float32_matmul_precision("high")
    before = setup.load("lora")
    step, done = (before["step"], before["done"]) if before else (0, 0.0)
    torch.manual_seed(SEED + 9 + step)
    latents = Latents(setup, FIRST + 64 * step, chunk, limit=SCENES)
    network = student(setup, len(latents.tokenizer))
    parts = attach(network.transformer)
    average = Average(parts, 0.998)
    fused = setup.device.type == "cuda"
    optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=fused)
    if before:
        parts.load_state_dict(before["live"])
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        average.steps = step
    model = Batched(network.transformer, setup.compiled)
    small = setup.device.type != "cuda"
    latents.grow(2 if small else 600, wait=True)
    setup.note("lora", begins=step, latents=latents.count)
    batch = setup.batch or 384
    clock, told, saved = Clock(setup, done), time.monotonic(), 0.0
    losses, counted = torch.zeros((), device=setup.device), 0
    warm = [32] if setup.compiled else []  # compile before the clock starts

    def save() -> None:
        content = {"live": parts.state_dict(), "average": average.module.state_dict()}
        setup.save("lora", {**content, "optimizer": optimizer.state_dict(), "step": step, "done": clock.done})

    while warm or clock.tick():
        length = warm.pop() if warm else LENGTHS[int(torch.multinomial(torch.tensor(LENGTH_SHARES), 1))]
        loss = _loss(model, network, latents, batch if length <= 64 else max(1, batch // 2), length)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(2e-3)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        step += 1
        losses += loss.detach()
        counted += 1
        latents.grow(1 if small else 2)
        if time.monotonic() - told > 20:
            told = time.monotonic()
            mean = float(losses) / counted
            setup.note("lora", step=step, done=clock.done, loss=mean, latents=latents.count)
            losses.zero_()
            counted = 0
        if clock.spent - saved > SAVE_EVERY:
            saved = clock.spent
            save()
    save()
    setup.note("lora", step=step, done=clock.done, latents=latents.count)
    latents.close()


def _loss(model: Batched, network: Network, latents: Latents, n: int, length: int) -> Tensor:
    x, buckets, ids = latents.batch(n, length, DROPPED)
    grid = schedule().to(latents.device)
    at = torch.randint(len(grid) - 1, (n,), device=latents.device)
    moved = torch.rand(n, device=latents.device) * (grid[at] - grid[at + 1]) * 0.9
    sigma = torch.where(torch.rand(n, device=latents.device) < OFF_GRID, grid[at] - moved, grid[at])
    s, noise = sigma[:, None, None], torch.randn_like(x)
    noisy, fast = x + s * (noise - x), length == LENGTHS[0]
    untold = latents.untold(length).expand_as(ids)
    with torch.autocast(latents.device.type, torch.bfloat16, enabled=latents.device.type == "cuda"):
        with torch.no_grad():
            still = model(noisy, buckets, 1 - sigma, network.read(untold), untold == latents.pad, fast=fast).float()
            caption = network.read(ids)
        said = model(noisy, buckets, 1 - sigma, caption, ids == latents.pad, fast=fast).float()
    valid = latents.valid(buckets)
    plain = (said + GUIDANCE * still) / (1 + GUIDANCE)
    return ((plain - (x - noise)).pow(2) * valid).sum() / (valid.sum() * x.shape[-1])


def _trained(setup: Setup) -> dict[str, Tensor]:
    kept = setup.load("lora")
    if kept is None:
        raise SystemExit("lora.pt is missing: run the lora piece first.")
    state: dict[str, Tensor] = kept["average"]
    return state


def export(setup: Setup, target: Path) -> None:
    """Write the averaged LoRA to `target` / papercut.safetensors, in half precision, named as diffusers reads it."""
    target.mkdir(parents=True, exist_ok=True)
    state = {}
    for name, value in _trained(setup).items():
        layer, which = name.rsplit(".", 1)
        key = f"transformer.{layer.replace('/', '.')}.lora_{which.upper()}.weight"
        state[key] = value.half().contiguous()
    file = target / f"{NAME}.safetensors"
    save_file(state, file, metadata={"format": "pt"})
    file.chmod(0o644)
    setup.note("export-lora", bytes=file.stat().st_size)


@torch.no_grad()
def check(setup: Setup, target: Path, pictures: int = 24) -> None:
    """Draw pictures of held-out scenes at weights 0, 0.5 and 1 beside drawn paper-cuts; saves `lora.png` to `target`.

    Logged at each weight: the mean distance of pixels from the nearest colour of paper-cuts, 0..255.
    """
    made = exporting.parts(setup)
    parts = attach(made["transformer"])
    parts.load_state_dict(_trained(setup))
    for name in ("transformer", "text_encoder", "vae"):
        made[name].to(setup.device)
    rng = np.random.default_rng(SEED)
    told = [scenes.sample(96_800_000 + i, novel=True, size=(256, 256)) for i in range(pictures)]
    prompts = [
        (captions.english, captions.chinese)[i % 2](scene, rng, complete=True, stray=False)
        for i, scene in enumerate(told)
    ]
    columns: list[list[Image.Image]] = []
    for weight in (0.0, 0.5, 1.0):
        for part in parts.values():
            part.strength = weight  # type: ignore[assignment]
        torch.manual_seed(SEED)
        columns.append(draw(made, prompts, 8, setup.device))
        setup.note("check-lora", weight=weight, from_paper=_from_paper(columns[-1]))
    columns.append([papercut.render(scene) for scene in told])
    setup.note("check-lora", weight="drawn", from_paper=_from_paper(columns[-1]))
    sheet = Image.new("RGB", (8 * 192, -(-pictures // 2) * 192))
    for i, row in enumerate(zip(*columns, strict=True)):
        for j, picture in enumerate(row):
            sheet.paste(picture.resize((192, 192), Image.Resampling.LANCZOS), ((i % 2 * 4 + j) * 192, i // 2 * 192))
    sheet.save(target / "lora.png")


def _from_paper(pictures: list[Image.Image]) -> float:
    papers = [papercut.PAPER, papercut.DEEP, papercut.RED, papercut.LIGHT, *papercut.LAYERS]
    known = np.array(papers, float)[None]
    pixels = np.stack([np.asarray(picture.resize((64, 64))) for picture in pictures]).reshape(-1, 1, 3).astype(float)
    return float(np.abs(pixels - known).mean(-1).min(1).mean())
