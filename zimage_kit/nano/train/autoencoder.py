"""The autoencoder: L1, gradient L1 and a little KL; crops and half-size pictures first, whole pictures after."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn import functional as F

from zimage_kit.nano import architecture, data, scenes
from zimage_kit.nano.train.common import SEED, Average, Clock, Pair, Setup, quick_norms

PICTURES = 60_000
FIRST_PHASE = 0.5  # share of the time on 128-pixel pieces


class Pictures:
    """Up to `PICTURES` drawn pictures on the GPU, by size, growing while training runs."""

    def __init__(self, setup: Setup, first: int, draw: data.Draw = data.chunk) -> None:
        self.device = setup.device
        tokenizer = setup.state / "tokenizer" / "tokenizer.json"
        self.source = data.Stream(setup.workers, str(tokenizer), 0, first, draw)
        self.buckets: list[list[Tensor]] = [[] for _ in scenes.SIZES]
        self.labels: list[list[Tensor]] = [[] for _ in scenes.SIZES]
        self.count, self.limit = 0, PICTURES if setup.device.type == "cuda" else 500

    def grow(self, pictures: int, wait: bool = False) -> None:
        """Take in up to `pictures` more, as many as are drawn; `wait` for all of them."""
        goal = min(self.limit, self.count + pictures)
        while self.count < goal:
            made = self.source.take(wait)
            if made is None:
                return
            self.buckets[made.bucket].append(torch.from_numpy(made.pictures).to(self.device, non_blocking=True))
            self.labels[made.bucket].append(torch.from_numpy(made.labels).to(self.device, non_blocking=True))
            self.count += len(made.pictures)
        if self.count >= self.limit:
            self.source.close()

    def batch(self, n: int, bucket: int) -> tuple[Tensor, Tensor]:
        """Return n pictures of a bucket, (n, 3, h, w) in [-1, 1], and their labels."""
        chunks = self.buckets[bucket]
        which = torch.randint(len(chunks), (max(1, n // 4),)).tolist()
        rows = [torch.randint(len(chunks[c]), (4,), device=self.device) for c in which]
        x = torch.cat([chunks[c][r] for c, r in zip(which, rows, strict=True)])[:n]
        y = torch.cat([self.labels[bucket][c][r] for c, r in zip(which, rows, strict=True)])[:n]
        return x.permute(0, 3, 1, 2).float().div_(127.5).sub_(1), y

    def bucket(self) -> int:
        """Choose a size that has pictures, by the sizes' shares."""
        while True:
            chosen = int(torch.multinomial(torch.tensor(scenes.SIZE_SHARES), 1))
            if self.buckets[chosen]:
                return chosen


def _loss(vae: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    moments = vae.encoder(x)  # type: ignore[operator]
    mean, log_variance = moments.chunk(2, 1)
    log_variance = log_variance.float().clamp(-30, 20)
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    y = vae.decoder(z).float()  # type: ignore[operator]
    l1 = (y - x).abs().mean()
    across = ((y[..., 1:] - y[..., :-1]) - (x[..., 1:] - x[..., :-1])).abs().mean()
    down = ((y[..., 1:, :] - y[..., :-1, :]) - (x[..., 1:, :] - x[..., :-1, :])).abs().mean()
    kl = 0.5 * (mean.float() ** 2 + log_variance.exp() - 1 - log_variance).mean()
    return l1 + 0.5 * (across + down) + 5e-4 * kl, l1


def run(setup: Setup) -> None:
    """Train (or go on training) the autoencoder; the state is `autoencoder.pt`."""
    torch.manual_seed(SEED)
    before = setup.load("autoencoder")
    vae = architecture.autoencoder().to(setup.device, memory_format=torch.channels_last).train()
    quick_norms(vae)
    average = Average(vae, 0.999)
    matrices = [p for n, p in vae.named_parameters() if p.ndim == 4 and "conv_in" not in n and "conv_out" not in n]
    known = {id(p) for p in matrices}
    optimizer = Pair(matrices, [p for p in vae.parameters() if id(p) not in known], (0.9, 0.95))
    step, done = 0, 0.0
    if before:
        vae.load_state_dict(before["live"])
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        step, done = before["step"], before["done"]
        average.steps = step
    pictures = Pictures(setup, first=0)
    pictures.grow(4000 if setup.device.type == "cuda" else 100, wait=True)
    loss_of = torch.compile(_loss, dynamic=False) if setup.compiled else _loss
    clock, told = Clock(setup, done), time.monotonic()
    warm = [True, False] if setup.compiled else []  # compile both phases before the clock starts
    while warm or clock.tick():
        warming = bool(warm)
        first = warm.pop() if warm else clock.progress < FIRST_PHASE
        n = setup.batch or 64
        n = n if first else max(2, n // 4)
        bucket = 0 if warming else pictures.bucket()
        x, _ = pictures.batch(n, bucket)
        if first and bucket == 0 and step % 2:
            x = F.avg_pool2d(x, 2)
        elif first:
            h, w = (int(torch.randint(side - 127, (1,))) for side in x.shape[-2:])
            x = x[..., h : h + 128, w : w + 128]
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(setup.device.type, torch.bfloat16):
            loss, l1 = (loss_of if first or bucket == 0 else _loss)(vae, x)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(0.0 if warming else clock.rate(3e-3))
        average.update()
        step += 1
        pictures.grow(64)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            setup.note(
                "autoencoder", step=step, done=clock.done, loss=float(loss), l1=float(l1), pictures=pictures.count
            )
    content = {"live": vae.state_dict(), "average": average.module.state_dict(), "optimizer": optimizer.state_dict()}
    setup.save("autoencoder", {**content, "step": step, "done": clock.done, "scaling": 1.0, "shift": 0.0})
    mean, std, psnr = _measure(average.module, pictures)
    setup.save("autoencoder", {**content, "step": step, "done": clock.done, "scaling": 1 / std, "shift": mean})
    setup.note("autoencoder", step=step, done=clock.done, psnr=psnr, mean=mean, std=std)
    pictures.source.close()


@torch.no_grad()
def _measure(vae: torch.nn.Module, pictures: Pictures) -> tuple[float, float, float]:
    """Return mean and standard deviation of the posterior means, and the PSNR of reconstructions in dB."""
    means, errors = [], []
    rounds, n = (16, 32) if pictures.device.type == "cuda" else (1, 2)
    for _ in range(rounds):
        x, _ = pictures.batch(n, pictures.bucket())
        mean = vae.encoder(x).chunk(2, 1)[0]  # type: ignore[operator]
        y = vae.decoder(mean).clamp(-1, 1)  # type: ignore[operator]
        means.append(mean.flatten())
        errors.append(((y - x) / 2).pow(2).mean((1, 2, 3)))
    flat = torch.cat(means)
    psnr = -10 * torch.cat(errors).clamp(min=1e-9).log10().mean()
    return float(flat.mean()), float(flat.std()), float(psnr)
