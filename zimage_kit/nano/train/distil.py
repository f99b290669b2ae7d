"""Guidance and steps distilled into the weights, so that guidance 0 and eight evaluations suffice.

The teacher is the trained average with classifier-free guidance. From a noised scene at one sigma of the eight-step
schedule it walks to the next in several small Euler steps; the student learns the mean velocity of that walk.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from zimage_kit.nano.batched import Batched
from zimage_kit.nano.train.common import SEED, Average, Clock, Setup
from zimage_kit.nano.train.denoiser import LENGTHS, SAVE_EVERY, SHIFT, Latents, Network

GUIDANCE = 2.0
WALK = (2, 2, 2, 2, 2, 2, 3, 4)  # Euler steps of the teacher within each step of the student
OFF_GRID = 0.2


def schedule(steps: int = 8) -> Tensor:
    """Return the sampler's sigmas with the final zero: [1, .9545, .9, .8333, .75, .6429, .5, .3, 0] for eight."""
    s = torch.linspace(1, 1 / steps, steps)
    return torch.cat((SHIFT * s / (1 + (SHIFT - 1) * s), torch.zeros(1)))


def run(setup: Setup) -> None:
    """Distil (or go on distilling) the denoiser; the state is `distilled.pt`.

    It begins anew when the denoiser was trained on since, also after `begin`, which writes both files.
    """
    torch.manual_seed(SEED + 3)
    torch.set_float32_matmul_precision("high")
    base = setup.load("denoiser")
    if base is None:
        raise SystemExit("denoiser.pt is missing: run the denoiser piece first.")
    before = setup.load("distilled")
    if before and before.get("denoiser_step", 0) < base["step"]:
        setup.note("distil", anew=f"the denoiser has gone on to step {base['step']}")
        before = None
    step, done = (before["step"], before["done"]) if before else (0, 0.0)
    torch.manual_seed(SEED + 3 + step)
    latents = Latents(setup, first=30_000_000 + 64 * step)
    teacher, student = (Network(len(latents.tokenizer)).to(setup.device) for _ in range(2))
    teacher.load_state_dict(base["average"])
    teacher.requires_grad_(False).eval()
    student.load_state_dict(before["live"] if before else base["average"])
    average = Average(student, 0.995)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=2e-4, betas=(0.9, 0.98), weight_decay=0.0, fused=setup.device.type == "cuda"
    )
    if before:
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        average.steps = step
    guide, pupil = Batched(teacher.transformer, setup.compiled), Batched(student.transformer, setup.compiled)
    small = setup.device.type != "cuda"
    latents.grow(2 if small else 1200, wait=True)
    grid = schedule().to(setup.device)
    batch = setup.batch or 768  # the denoiser's own: its compiled graphs serve again
    clock, told, losses, counted = Clock(setup, done), time.monotonic(), torch.zeros((), device=setup.device), 0
    warm, saved = [(32, 0)] if setup.compiled else [], 0.0

    def save() -> None:
        content = {"live": student.state_dict(), "average": average.module.state_dict()}
        facts = {"step": step, "done": clock.done, "denoiser_step": base["step"]}
        setup.save("distilled", {**content, "optimizer": optimizer.state_dict(), **facts})

    while warm or clock.tick():
        length, at = (
            warm.pop()
            if warm
            else (LENGTHS[int(torch.multinomial(torch.tensor((0.88, 0.08, 0.02, 0.02)), 1))], step % 8)
        )
        n = batch if length <= 64 else batch // 2
        fast = length == 32
        x, buckets, ids = latents.batch(n, length, dropped=0.03)
        start, stop = grid[at].expand(n), grid[at + 1].expand(n)
        moved = torch.rand(n, device=setup.device) * (start - stop) * 0.9
        start = torch.where(torch.rand(n, device=setup.device) < OFF_GRID, start - moved, start)
        noisy = x + start[:, None, None] * (torch.randn_like(x) - x)
        pad = ids == latents.pad
        with torch.autocast(setup.device.type, torch.bfloat16):
            with torch.no_grad():
                target = _walk(guide, teacher, latents, noisy, buckets, ids, pad, start, stop, WALK[at], fast)
            out = pupil(noisy, buckets, 1 - start, student.read(ids), pad, fast=fast)
        valid = latents.valid(buckets)
        loss = ((out.float() - target).pow(2) * valid).sum() / (valid.sum() * x.shape[-1])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(2e-4, floor=0.05)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        step += 1
        losses += loss.detach()
        counted += 1
        latents.grow(1 if small else 4)  # taking pictures in costs this process more than a step
        if time.monotonic() - told > 20:
            told = time.monotonic()
            setup.note("distil", step=step, done=clock.done, loss=float(losses) / counted, latents=latents.count)
            losses.zero_()
            counted = 0
        if clock.spent - saved > SAVE_EVERY:
            saved = clock.spent
            save()
    save()
    setup.note("distil", step=step, done=clock.done)
    latents.close()


def _walk(
    guide: Batched, teacher: Network, latents: Latents, noisy: Tensor, buckets: Tensor, ids: Tensor, pad: Tensor,
    start: Tensor, stop: Tensor, steps: int, fast: bool,
) -> Tensor:  # fmt: skip
    """Return the mean of the teacher's guided output (x0 - noise) on its way from `start` to `stop`."""
    empty = latents.untold(ids.shape[1]).expand_as(ids)
    told, untold, empty_pad = teacher.read(ids), teacher.read(empty), empty == latents.pad
    z = noisy
    for i in range(steps):
        s = start + (stop - start) * i / steps
        wanted = guide(z, buckets, 1 - s, told, pad, fast=fast).float()
        plain = guide(z, buckets, 1 - s, untold, empty_pad, fast=fast).float()
        # Z-Image's convention: prediction + guidance x (prediction - unconditional)
        z = z - ((stop - start) / steps)[:, None, None] * (wanted + GUIDANCE * (wanted - plain))
    return (z - noisy) / (start - stop)[:, None, None]
