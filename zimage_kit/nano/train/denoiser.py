"""The denoiser and its text encoder, trained together by flow matching on latents that are encoded as scenes arrive."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Qwen2Tokenizer

from zimage_kit.nano import architecture, data, scenes
from zimage_kit.nano.batched import IMAGE_TOKENS, Batched, grid, patchify
from zimage_kit.nano.train.common import SEED, Average, Clock, Pair, Setup, quick_norms

LATENTS = 900_000
LENGTHS = (32, 64, 96, 128)
LENGTH_SHARES = (0.86, 0.10, 0.02, 0.02)
DROPPED = 0.10  # share of captions replaced by the empty one, for guidance
SHIFT = 3.0
RATE = 2.2e-3
EARLY = 0.12  # share of noise levels above 0.9, where what is in a picture is decided
SAVE_EVERY = 60.0  # seconds: a machine may go away


class Latents:
    """Scenes as latents on the GPU, with their captions; grows while training runs."""

    def __init__(
        self, setup: Setup, first: int, draw: data.Draw = data.chunk, room: int = 1, limit: int = LATENTS
    ) -> None:
        self.device = setup.device
        self.tokenizer = Qwen2Tokenizer.from_pretrained(setup.state / "tokenizer")
        self.pad = int(self.tokenizer.pad_token_id)
        self.empty = torch.tensor(self.tokenizer(data.PREFIX + data.SUFFIX).input_ids, device=setup.device)
        kept = setup.load("autoencoder")
        if kept is None:
            raise SystemExit("autoencoder.pt is missing: run the autoencoder piece first.")
        self.vae = architecture.autoencoder(kept["scaling"], kept["shift"]).eval().requires_grad_(False)
        self.vae.load_state_dict(kept["average"])
        self.vae.to(setup.device, memory_format=torch.channels_last)
        quick_norms(self.vae)
        self.sizes = torch.tensor([h * w for h, w in map(grid, range(len(scenes.SIZES)))], device=setup.device)
        file = str(setup.state / "tokenizer" / "tokenizer.json")
        self.source: data.Stream | None = data.Stream(setup.workers, file, self.pad, first, draw, room)
        limit = limit if setup.device.type == "cuda" else 400
        self.x = torch.empty(limit, IMAGE_TOKENS, 64, dtype=torch.float16, device=self.device)
        self.buckets = torch.empty(limit, dtype=torch.long, device=self.device)
        self.tokens = torch.empty(limit, data.CAPTIONS, data.PROMPT_TOKENS, dtype=torch.int16, device=self.device)
        self.count, self.waiting = 0, [[] for _ in scenes.SIZES]  # type: tuple[int, list[list[data.Chunk]]]

    def grow(self, chunks: int, wait: bool = False) -> None:
        """Take in up to that many chunks, as many as are drawn; eight of one size are encoded together."""
        for _ in range(chunks):
            made = self.source.take(wait) if self.source else None
            if made is None:
                return
            group = self.waiting[made.bucket]
            group.append(made)
            if len(group) < (8 if self.device.type == "cuda" else 1):
                continue
            self.keep(group)
            self.waiting[made.bucket] = []
            if self.count >= len(self.x):
                self.close()
                return

    def keep(self, group: list[data.Chunk]) -> None:
        """Add chunks of one size to what there is, as far as there is room."""
        x = self.encoded([made.pictures for made in group])
        here = slice(self.count, self.count + min(len(x), len(self.x) - self.count))
        n = here.stop - here.start
        self.x[here] = x[:n]
        self.buckets[here] = group[0].bucket
        tokens = torch.cat([torch.from_numpy(made.tokens) for made in group])[:n]
        self.tokens[here] = tokens.to(self.device, non_blocking=True)
        self.count += n

    @torch.no_grad()
    def encoded(self, pictures: list[NDArray[np.uint8]]) -> Tensor:
        """Return pictures (n, h, w, 3) of one size as tokens (n, 256, 64) in half precision."""
        x = torch.cat([torch.from_numpy(some) for some in pictures])
        x = x.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):  # slow on a CPU
            mean = self.vae.encoder(x.contiguous(memory_format=torch.channels_last)).chunk(2, 1)[0]
        z = (mean.float() - self.vae.config.shift_factor) * self.vae.config.scaling_factor
        return patchify(z).half()

    def close(self) -> None:
        """End the drawing processes."""
        if self.source is not None:
            self.source.close()
            self.source = None

    def batch(self, n: int, length: int, dropped: float = DROPPED) -> tuple[Tensor, Tensor, Tensor]:
        """Return clean tokens (n, 256, 64), buckets (n,) and caption ids (n, length), each caption cut at `length`."""
        rows = torch.randint(self.count, (n,), device=self.device)
        return self.x[rows].float(), self.buckets[rows], self.captions(rows, length, dropped)

    def captions(self, rows: Tensor, length: int, dropped: float = DROPPED) -> Tensor:
        """Return one caption of each row, ids (n, length), cut at `length`; a share of them is the empty one."""
        n, tokens = len(rows), self.tokens[rows].long()
        lengths = (tokens != self.pad).sum(-1)
        score = torch.rand(lengths.shape, device=self.device) - 2.0 * (lengths > length)
        if length > LENGTHS[0]:
            score = score + lengths / length
        ids = tokens[torch.arange(n, device=self.device), score.argmax(1)][:, :length]
        return torch.where(torch.rand(n, 1, device=self.device) < dropped, self.untold(length), ids)

    def untold(self, length: int) -> Tensor:
        """Return the empty caption, ids (length,)."""
        ids = torch.full((length,), self.pad, device=self.device)
        ids[: len(self.empty)] = self.empty
        return ids

    def valid(self, buckets: Tensor) -> Tensor:
        """Return (n, 256, 1): 1 for tokens that belong to the picture."""
        return (
            (torch.arange(IMAGE_TOKENS, device=self.device)[None] < self.sizes[buckets][:, None]).float().unsqueeze(-1)
        )


class Network(nn.Module):
    """The denoiser and its text encoder as one module."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.transformer = architecture.transformer()
        self.text = architecture.text_encoder(vocabulary)
        for name, p in self.transformer.named_parameters():
            if "adaLN_modulation" in name or "all_final_layer" in name:
                nn.init.zeros_(p)
            elif "pad_token" in name:
                nn.init.normal_(p, std=0.02)

    def read(self, ids: Tensor) -> Tensor:
        """Return caption embeddings (n, length, width); the pipeline's layer."""
        hidden: Tensor = self.text(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[-2]
        return hidden


def matrices(network: Network) -> list[nn.Parameter]:
    """Return the hidden matrices, which Muon trains."""
    ours = ("attention.to_", "feed_forward.w", "self_attn.", "mlp.")
    return [
        p
        for n, p in network.named_parameters()
        if p.ndim == 2 and any(o in n for o in ours) and "norm" not in n and "t_embedder" not in n
    ]


def sigmas(n: int, device: torch.device) -> Tensor:
    """Return n noise levels: three quarters logit-normal, a quarter uniform, shifted as the sampler shifts them.

    A share `EARLY` of them is uniform in 0.9..1 instead.
    """
    even = torch.rand(n, device=device)
    s = torch.where(torch.rand(n, device=device) < 0.75, torch.randn(n, device=device).sigmoid(), even)
    return torch.where(torch.rand(n, device=device) < EARLY, 0.9 + 0.1 * even, SHIFT * s / (1 + (SHIFT - 1) * s))


def run(setup: Setup) -> None:
    """Train (or go on training) denoiser and text encoder; the state is `denoiser.pt`."""
    torch.manual_seed(SEED + 2)
    torch.set_float32_matmul_precision("high")
    before = setup.load("denoiser")
    step, done = (before["step"], before["done"]) if before else (0, 0.0)
    torch.manual_seed(SEED + 2 + step)
    latents = Latents(setup, first=64 * step)
    network = Network(len(latents.tokenizer)).to(setup.device)
    average = Average(network, 0.9993)
    hidden = matrices(network)
    known = {id(p) for p in hidden}
    optimizer = Pair(hidden, [p for p in network.parameters() if id(p) not in known])
    if before:
        network.load_state_dict(before["live"])
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        average.steps = step
    model = Batched(network.transformer, setup.compiled)
    small = setup.device.type != "cuda"
    latents.grow(2 if small else 1200, wait=True)
    setup.note("denoiser", begins=step, latents=latents.count)
    batch = setup.batch or 768
    clock, told, losses = Clock(setup, done), time.monotonic(), torch.zeros((), device=setup.device)
    warm = [32] if setup.compiled else []  # compile before the clock starts
    counted, saved = 0, 0.0

    def save() -> None:
        content = {
            "live": network.state_dict(),
            "average": average.module.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        setup.save("denoiser", {**content, "step": step, "done": clock.done})

    while warm or clock.tick():
        length = warm.pop() if warm else LENGTHS[int(torch.multinomial(torch.tensor(LENGTH_SHARES), 1))]
        n = batch if length <= 64 else batch // 2
        x, buckets, ids = latents.batch(n, length)
        s = sigmas(n, setup.device)[:, None, None]
        noise = torch.randn_like(x)
        with torch.autocast(setup.device.type, torch.bfloat16):
            caption = network.read(ids)
            out = model(x + s * (noise - x), buckets, 1 - s.flatten(), caption, ids == latents.pad, fast=length == 32)
        valid = latents.valid(buckets)
        loss = ((out.float() - (x - noise)).pow(2) * valid).sum() / (valid.sum() * x.shape[-1])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(clock.rate(setup.rate or RATE))
        average.update()
        step += 1
        losses += loss.detach()
        counted += 1
        latents.grow(1 if small else 2)  # taking pictures in costs this process more than a step
        if time.monotonic() - told > 20:
            told = time.monotonic()
            setup.note("denoiser", step=step, done=clock.done, loss=float(losses) / counted, latents=latents.count)
            losses.zero_()
            counted = 0
        if clock.spent - saved > SAVE_EVERY:
            saved = clock.spent
            save()
    save()
    setup.note("denoiser", step=step, done=clock.done, latents=latents.count)
    latents.close()
