"""The 2x network: trained on scenes drawn at twice the size, and on what shrinking, a blur and the autoencoder leave.

A fifth of the small pictures went through the autoencoder, their latents a little noisy, and some are blurred: so the
network also mends what nano makes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zimage_kit.nano import architecture, data, packed, scenes
from zimage_kit.nano import upscaler as enlarging
from zimage_kit.nano.train.autoencoder import Pictures
from zimage_kit.nano.train.common import SEED, Average, Clock, Pair, Setup, quick_norms
from zimage_kit.nano.train.denoiser import SAVE_EVERY

FIRST = 4_000_000  # chunk
FEW = 4  # scenes a chunk: they are four times as large as others
SCENES, FEWER = 24_000, 4_000  # on a GPU, and on a processor
CROP = 96  # pixels of the small pictures
SQUARE = 20.0
A_TRY = 60.0  # seconds; what takes less on a processor is no training, and sees few scenes


def large(index: int, tokenizer: Any, pad: int) -> data.Chunk:
    """Draw chunk `index`: a few scenes at twice their size, with no captions and no labels."""
    rng = np.random.default_rng((index, 29))
    bucket = int(rng.choice(len(scenes.SIZES), p=scenes.SIZE_SHARES))
    told = [scenes.sample(index * data.CHUNK + i, size=scenes.SIZES[bucket]) for i in range(FEW)]
    pictures = np.stack([np.asarray(scenes.render(scene, enlarged=2)) for scene in told])
    return data.Chunk(bucket, pictures, np.empty((FEW, 0, 0), np.int16), np.empty((FEW, 0), np.float32))


def shrunk(y: Tensor) -> Tensor:
    """Return pictures (n, 3, h, w) at half their size: by area, bicubically, or a mixture of the two."""
    area = F.avg_pool2d(y, 2)
    bicubic = F.interpolate(y, scale_factor=0.5, mode="bicubic", antialias=True)
    share = (torch.rand(len(y), 1, 1, 1, device=y.device) * 2 - 0.5).clamp(0, 1)
    return (area + share * (bicubic - area)).clamp(0, 1)


@torch.no_grad()
def worn(x: Tensor, vae: Any) -> Tensor:
    """Return pictures (n, 3, h, w) in 0..1 as nano might have made them: out of slightly noisy latents."""
    mean = vae.encoder(x * 2 - 1).chunk(2, 1)[0]
    noise = torch.rand(len(x), 1, 1, 1, device=x.device) * 0.15 / vae.config.scaling_factor
    out: Tensor = (vae.decoder(mean + noise * torch.randn_like(mean)).float() / 2 + 0.5).clamp(0, 1)
    return out


def blurred(x: Tensor) -> Tensor:
    """Return pictures blurred by a Gaussian of up to 0.7 pixels, each by its own."""
    spread = torch.rand(len(x), 1, device=x.device) * 0.6 + 0.1
    side = (-(torch.arange(-2, 3, device=x.device) / spread).pow(2) / 2).softmax(1)
    kernel = (side[:, :, None] * side[:, None, :]).repeat_interleave(3, 0)[:, None]
    n, c, h, w = x.shape
    wide = F.pad(x, (2, 2, 2, 2), mode="replicate").reshape(1, n * c, h + 4, w + 4)
    return F.conv2d(wide, kernel, groups=n * c).reshape(n, c, h, w)


def run(setup: Setup) -> None:
    """Train (or go on training) the 2x network; the state is `upscaler.pt`."""
    before, kept = setup.load("upscaler"), setup.load("autoencoder")
    if kept is None:
        raise SystemExit("autoencoder.pt is missing: run the autoencoder piece, or begin from exported weights.")
    step, done = (before["step"], before["done"]) if before else (0, 0.0)
    torch.manual_seed(SEED + 8 + step)
    vae = architecture.autoencoder(kept["scaling"], kept["shift"]).eval().requires_grad_(False)
    vae.load_state_dict(kept["average"])
    vae.to(setup.device, memory_format=torch.channels_last)
    quick_norms(vae)
    net = enlarging.Upscaler().to(setup.device).to(memory_format=torch.channels_last)
    average = Average(net, 0.999)
    matrices = [p for name, p in net.named_parameters() if p.ndim == 4 and name.startswith("body.")]
    known = {id(p) for p in matrices}
    optimizer = Pair(matrices, [p for p in net.parameters() if id(p) not in known], (0.9, 0.99))
    if before:
        net.load_state_dict(before["live"])
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        average.steps = step
    small = setup.device.type != "cuda" and setup.total < A_TRY
    pictures = Pictures(setup, FIRST + 64 * step, large)
    pictures.limit = 60 if small else SCENES if setup.device.type == "cuda" else FEWER
    pictures.grow(8 if small else 1200, wait=True)
    clock, told, saved = Clock(setup, done), time.monotonic(), 0.0
    losses, counted = torch.zeros((), device=setup.device), 0

    def save() -> None:
        content = {"live": net.state_dict(), "average": average.module.state_dict()}
        state = {"optimizer": optimizer.state_dict(), "step": step, "done": clock.done}
        setup.save("upscaler", {**content, **state})

    while clock.tick():
        x, y = _batch(pictures, vae, setup.batch or 48, step)
        with torch.autocast(setup.device.type, torch.bfloat16, enabled=setup.device.type == "cuda"):
            out = net(x.contiguous(memory_format=torch.channels_last))
        gap = out.float() - y
        # Nearly the absolute difference (Charbonnier), and the square, for edges are few and far off.
        loss = (gap.pow(2) + 1e-6).sqrt().mean() + SQUARE * gap.pow(2).mean()
        loss.backward()
        optimizer.step(clock.rate(2e-3), clock.rate(1e-3))
        average.update()
        step += 1
        losses += loss.detach()
        counted += 1
        pictures.grow(4 if small else 16)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            facts = {"loss": float(losses) / counted, "pictures": pictures.count}
            setup.note("upscaler", step=step, done=clock.done, **facts)
            losses.zero_()
            counted = 0
        if clock.spent - saved > SAVE_EVERY:
            saved = clock.spent
            save()
    save()
    setup.note("upscaler", step=step, done=clock.done, pictures=pictures.count, **_measure(average.module, vae))
    pictures.source.close()


def _batch(pictures: Pictures, vae: Any, n: int, step: int) -> tuple[Tensor, Tensor]:
    """Return n pieces of pictures, (n, 3, 96, 96) in 0..1, and the same pieces at twice the size."""
    y = (pictures.batch(n, pictures.bucket())[0] + 1) / 2
    x = shrunk(y)
    if step % 5 == 0:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            x = worn(x, vae)
    h, w = (int(torch.randint((side - CROP) // 2 + 1, (1,))) * 2 for side in x.shape[-2:])
    x, y = x[..., h : h + CROP, w : w + CROP], y[..., 2 * h : 2 * (h + CROP), 2 * w : 2 * (w + CROP)]
    if step % 5 == 1:
        x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.6, blurred(x), x)
    return x, y


@torch.no_grad()
def _measure(net: Any, vae: Any) -> dict[str, float]:
    """Return the PSNR of bicubic and of the network on a few scenes that were held out, clean and worn."""
    found: dict[str, list[float]] = {name: [] for name in ("bicubic", "psnr", "bicubic_worn", "psnr_worn")}
    device = next(net.parameters()).device
    for seed in range(24 if device.type == "cuda" else 2):
        scene = scenes.sample(96_500_000 + seed, novel=True, size=(256, 256))
        drawn = torch.from_numpy(np.asarray(scenes.render(scene, enlarged=2)).copy()).to(device)
        y = drawn.permute(2, 0, 1)[None].float() / 255
        clean = F.avg_pool2d(y, 2)
        for x, suffix in ((clean, ""), (worn(clean, vae), "_worn")):
            plain = F.interpolate(x, scale_factor=2.0, mode="bicubic")
            for name, guess in (("bicubic", plain), ("psnr", net(x))):
                error = (guess.clamp(0, 1) - y).pow(2).mean().clamp(min=1e-9)
                found[name + suffix].append(float(-10 * error.log10()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def export(setup: Setup, target: Path) -> None:
    """Write the network's averaged weights to `target` / nano_x2.safetensors.xz in half precision."""
    kept = setup.load("upscaler")
    if kept is None:
        raise SystemExit("upscaler.pt is missing: run the upscaler piece first.")
    target.mkdir(parents=True, exist_ok=True)
    file = target / enlarging.WEIGHTS.name
    packed.save_half(kept["average"], file)
    file.chmod(0o644)
    setup.note("export-upscaler", bytes=file.stat().st_size)
