"""The network that finds joints: trained on drawn scenes, half of them as the autoencoder or a blur would have them."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zimage_kit.nano import architecture, posed
from zimage_kit.nano import joints as finding
from zimage_kit.nano.train.autoencoder import Pictures
from zimage_kit.nano.train.common import SEED, Average, Clock, Setup, quick_norms

FIRST = 3_000_000  # chunk: other scenes than the ControlNet's


def run(setup: Setup) -> None:
    """Train (or go on training) the network that finds joints; the state is `joints.pt`."""
    before, kept = setup.load("joints"), setup.load("autoencoder")
    if kept is None:
        raise SystemExit("autoencoder.pt is missing: run the autoencoder piece, or begin from exported weights.")
    step, done = (before["step"], before["done"]) if before else (0, 0.0)
    torch.manual_seed(SEED + 7 + step)
    vae = architecture.autoencoder(kept["scaling"], kept["shift"]).eval().requires_grad_(False)
    vae.load_state_dict(kept["average"])
    vae.to(setup.device, memory_format=torch.channels_last)
    quick_norms(vae)
    joints = finding.Joints().to(setup.device).to(memory_format=torch.channels_last)
    average = Average(joints, 0.998)
    optimizer = torch.optim.AdamW(joints.parameters(), lr=1e-3, weight_decay=0.01, fused=setup.device.type == "cuda")
    if before:
        joints.load_state_dict(before["live"])
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        average.steps = step
    pictures = Pictures(setup, FIRST + 64 * step, posed.lesson)
    pictures.limit *= 3
    pictures.grow(4000 if setup.device.type == "cuda" else 100, wait=True)
    clock, told = Clock(setup, done), time.monotonic()
    while clock.tick():
        x, labels = pictures.batch(setup.batch or 128, pictures.bucket())
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(setup.device.type, torch.bfloat16, enabled=setup.device.type == "cuda"):
            maps = joints(_worn(x, vae) if step % 2 else x)
        loss = finding.loss(maps.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(joints.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(3e-3)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        step += 1
        pictures.grow(128)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            setup.note("joints", step=step, done=clock.done, loss=float(loss), pictures=pictures.count)
    content = {"live": joints.state_dict(), "average": average.module.state_dict()}
    setup.save("joints", {**content, "optimizer": optimizer.state_dict(), "step": step, "done": clock.done})
    setup.note("joints", step=step, done=clock.done, pictures=pictures.count)
    pictures.source.close()


@torch.no_grad()
def _worn(x: Tensor, vae: Any) -> Tensor:
    """Return half of the pictures through the autoencoder, their latents a little noisy, the rest blurred and noisy."""
    n = len(x) // 2
    z = vae.encoder(x[:n]).chunk(2, 1)[0]
    noise = torch.rand(n, 1, 1, 1, device=x.device) * 0.3 / vae.config.scaling_factor
    again = vae.decoder(z + noise * torch.randn_like(z)).to(x.dtype).clamp(-1, 1)
    rest = x[n:]
    noise = torch.rand(len(rest), 1, 1, 1, device=x.device) * 0.08
    rest = torch.where(
        torch.rand(len(rest), 1, 1, 1, device=x.device) < 0.5, rest, F.avg_pool2d(rest, 3, 1, 1)
    ) + noise * torch.randn_like(rest)
    return torch.cat((again, rest))
