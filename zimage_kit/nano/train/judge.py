"""The judge: trained on drawn scenes, some blurred and noisy, so that it also reads the pictures that nano makes."""

from __future__ import annotations

import time

import torch
from torch.nn import functional as F

from zimage_kit.nano import judge as judging
from zimage_kit.nano.train.autoencoder import Pictures
from zimage_kit.nano.train.common import SEED, Average, Clock, Setup


def run(setup: Setup) -> None:
    """Train (or go on training) the judge; the state is `judge.pt`."""
    torch.manual_seed(SEED + 1)
    before = setup.load("judge")
    judge = judging.Judge().to(setup.device).to(memory_format=torch.channels_last)
    average = Average(judge, 0.998)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.02, fused=setup.device.type == "cuda")
    step, done = 0, 0.0
    if before:
        judge.load_state_dict(before["live"])
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        step, done = before["step"], before["done"]
        average.steps = step
    pictures = Pictures(setup, first=50_000_000)
    pictures.limit *= 4
    pictures.grow(4000 if setup.device.type == "cuda" else 100, wait=True)
    clock, told = Clock(setup, done), time.monotonic()
    while clock.tick():
        x, labels = pictures.batch(setup.batch or 192, pictures.bucket())
        if step % 2:
            noise = torch.rand(len(x), 1, 1, 1, device=x.device) * 0.08
            blurred = F.avg_pool2d(x, 3, 1, 1)
            x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x, blurred) + noise * torch.randn_like(
                x
            )
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(setup.device.type, torch.bfloat16):
            _, answers = judge(x)
        loss = judging.loss(tuple(answer.float() for answer in answers), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(3e-3)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        step += 1
        pictures.grow(128)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            setup.note("judge", step=step, done=clock.done, loss=float(loss), pictures=pictures.count)
    content = {"live": judge.state_dict(), "average": average.module.state_dict(), "optimizer": optimizer.state_dict()}
    setup.save("judge", {**content, "step": step, "done": clock.done})
    setup.note("judge", step=step, done=clock.done, pictures=pictures.count)
    pictures.source.close()
