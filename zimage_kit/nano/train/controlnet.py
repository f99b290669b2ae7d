"""The pose ControlNet: trained by flow matching through the frozen student, on scenes with their skeletons.

The student carries classifier-free guidance in its weights: what it says of a caption is v + w (v - u), v being the
plain velocity and u what it says of the empty caption. So (said + w u) / (1 + w) is what is fitted to the data, with
the ControlNet heeded in both and u held still; guidance, and with it crispness, stays in what the student says. With a
black control picture, and where the last bit of noise is taken away, it is to say what it says without a ControlNet.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zimage_kit.nano import architecture, data, packed, posed
from zimage_kit.nano import joints as finder
from zimage_kit.nano.batched import Controlled
from zimage_kit.nano.train.common import SEED, Average, Clock, Pair, Setup
from zimage_kit.nano.train.denoiser import LENGTHS, SAVE_EVERY, Latents, Network
from zimage_kit.nano.train.distil import GUIDANCE, OFF_GRID, schedule

SCENES = 400_000
DROPPED = 0.15  # share of empty captions: u has to know the poses too
LENGTH_SHARES = (0.88, 0.08, 0.02, 0.02)
# How often each step of the schedule is trained. The pose is decided in the first ones.
SHARES = (4.0, 4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0)
SCALES = (0.7, 1.1)  # the conditioning scale that users give; the pose stage's own is in the middle
DETAIL = 0.4  # below this noise level the student is left to itself


class Pairs(Latents):
    """Scenes with their control pictures, both as latents on the GPU, and their captions."""

    def __init__(self, setup: Setup, first: int) -> None:
        super().__init__(setup, first, posed.chunk, room=2, limit=SCENES)
        self.control = torch.empty_like(self.x)
        self.black = torch.empty(len(self.x), dtype=torch.bool, device=self.device)

    def keep(self, group: list[data.Chunk]) -> None:
        """Add chunks of one size, as far as there is room: their first halves are scenes, their second skeletons."""
        before = self.count
        halves = [made.pictures.reshape(2, -1, *made.pictures.shape[1:]) for made in group]
        super().keep([data.Chunk(m.bucket, h[0], m.tokens, m.labels) for m, h in zip(group, halves, strict=True)])
        here, n = slice(before, self.count), self.count - before
        self.control[here] = self.encoded([half[1] for half in halves])[:n]
        black = torch.cat([torch.from_numpy(made.labels[:, 0]) for made in group])[:n] > 0
        self.black[here] = black.to(self.device, non_blocking=True)

    def pairs(self, n: int, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return clean tokens and control tokens (n, 256, 64), buckets, caption ids (n, length) and who is black."""
        rows = torch.randint(self.count, (n,), device=self.device)
        ids = self.captions(rows, length, DROPPED)
        return self.x[rows].float(), self.control[rows].float(), self.buckets[rows], ids, self.black[rows]


def fresh(transformer: Any) -> Any:
    """Return a ControlNet that changes nothing yet: the transformer's own blocks, and projections of zero."""
    net = architecture.controlnet()
    for place, block in zip(net.control_layers_places, net.control_layers, strict=True):
        block.load_state_dict(transformer.layers[place].state_dict(), strict=False)
    net.control_noise_refiner.load_state_dict(transformer.noise_refiner.state_dict())
    net.control_all_x_embedder.load_state_dict(transformer.all_x_embedder.state_dict())
    return net


def student(setup: Setup, vocabulary: int) -> Network:
    """Return denoiser and text encoder as they are shipped, frozen; from `distilled.pt`."""
    kept = setup.load("distilled")
    if kept is None:
        raise SystemExit("distilled.pt is missing: run the distil piece, or begin from exported weights.")
    network = Network(vocabulary)
    network.load_state_dict(kept["average"])
    return network.to(setup.device).requires_grad_(False).eval()


def matrices(net: nn.Module) -> list[nn.Parameter]:
    """Return the hidden matrices, which Muon trains."""
    ours = ("attention.to_", "feed_forward.w", "before_proj.weight", "after_proj.weight")
    return [p for name, p in net.named_parameters() if p.ndim == 2 and any(word in name for word in ours)]


def levels(n: int, device: torch.device) -> Tensor:
    """Return n noise levels: the sampler's own, a share of them moved towards the next."""
    grid = schedule().to(device)
    at = torch.multinomial(torch.tensor(SHARES, device=device), n, replacement=True)
    moved = torch.rand(n, device=device) * (grid[at] - grid[at + 1]) * 0.9
    return torch.where(torch.rand(n, device=device) < OFF_GRID, grid[at] - moved, grid[at])


def run(setup: Setup) -> None:
    """Train (or go on training) the ControlNet; the state is `controlnet.pt`."""
    torch.set_float32_matmul_precision("high")
    before = setup.load("controlnet")
    step, done = (before["step"], before["done"]) if before else (0, 0.0)
    torch.manual_seed(SEED + 6 + step)
    latents = Pairs(setup, first=64 * step)
    network = student(setup, len(latents.tokenizer))
    net = fresh(network.transformer).to(setup.device)
    average = Average(net, 0.999)
    hidden = matrices(net)
    known = {id(p) for p in hidden}
    optimizer = Pair(hidden, [p for p in net.parameters() if id(p) not in known])
    if before:
        net.load_state_dict(before["live"])
        average.module.load_state_dict(before["average"])
        if "optimizer" in before:
            optimizer.load_state_dict(before["optimizer"])
        average.steps = step
    model = Controlled(network.transformer, net, setup.compiled)
    small = setup.device.type != "cuda"
    latents.grow(2 if small else 800, wait=True)
    setup.note("controlnet", begins=step, latents=latents.count)
    batch = setup.batch or 384
    clock, told, saved = Clock(setup, done), time.monotonic(), 0.0
    losses, counted = torch.zeros(2, device=setup.device), 0
    warm = [32] if setup.compiled else []  # compile before the clock starts

    def save() -> None:
        content = {"live": net.state_dict(), "average": average.module.state_dict()}
        state = {"optimizer": optimizer.state_dict(), "step": step, "done": clock.done}
        setup.save("controlnet", {**content, **state})

    while warm or clock.tick():
        length = warm.pop() if warm else LENGTHS[int(torch.multinomial(torch.tensor(LENGTH_SHARES), 1))]
        n = batch if length <= 64 else max(1, batch // 2)
        fit, hold = _losses(model, network, latents, n, length)
        (fit + hold).backward()  # type: ignore[no-untyped-call]
        optimizer.step(clock.rate(2e-3), clock.rate(1e-3))
        average.update()
        step += 1
        losses += torch.stack((fit, hold)).detach()
        counted += 1
        latents.grow(1 if small else 2)  # taking pictures in costs this process more than a step
        if time.monotonic() - told > 20:
            told = time.monotonic()
            means = (losses / counted).tolist()
            setup.note("controlnet", step=step, done=clock.done, fit=means[0], hold=means[1], latents=latents.count)
            losses.zero_()
            counted = 0
        if clock.spent - saved > SAVE_EVERY:
            saved = clock.spent
            save()
    save()
    setup.note("controlnet", step=step, done=clock.done, latents=latents.count)
    latents.close()


def _losses(model: Controlled, network: Network, latents: Pairs, n: int, length: int) -> tuple[Tensor, Tensor]:
    """Return two parts of the loss of n pictures: what is fitted to the data, and what is to stay as it was."""
    x, control, buckets, ids, black = latents.pairs(n, length)
    sigma = levels(n, latents.device)
    s, noise = sigma[:, None, None], torch.randn_like(x)
    noisy, fast = x + s * (noise - x), length == LENGTHS[0]
    share = torch.empty(n, 1, 1, device=latents.device).uniform_(*SCALES)
    held = black | (sigma < DETAIL)
    with torch.autocast(latents.device.type, torch.bfloat16, enabled=latents.device.type == "cuda"):
        with torch.no_grad():
            still_ids = torch.where(held[:, None], ids, latents.untold(length))
            still = model.controlled(
                noisy, buckets, 1 - sigma, network.read(still_ids), still_ids == latents.pad, control,
                share=share * ~held[:, None, None], fast=fast,
            ).float()  # fmt: skip
            caption = network.read(ids)
        said = model.controlled(
            noisy, buckets, 1 - sigma, caption, ids == latents.pad, control, share=share, fast=fast
        ).float()
    held = held[:, None, None]
    valid = latents.valid(buckets)
    total = valid.sum() * x.shape[-1]
    plain = (said + GUIDANCE * still) / (1 + GUIDANCE)
    fit = ((plain - (x - noise)).pow(2) * valid * ~held).sum() / total
    hold = ((said - still).pow(2) * valid * held).sum() / total
    return fit, hold


def trained(setup: Setup) -> Any:
    """Return the average of the ControlNet's weights, on the CPU."""
    kept = setup.load("controlnet")
    if kept is None:
        raise SystemExit("controlnet.pt is missing: run the controlnet piece first.")
    net = architecture.controlnet()
    net.load_state_dict(kept["average"])
    return net.eval()


def export(setup: Setup, target: Path) -> None:
    """Write the ControlNet's own weights in half precision, and the network that finds joints, to `target`."""
    trained(setup).half().save_pretrained(target)
    joints = setup.load("joints")
    if joints is not None:
        packed.save(joints["average"], target / finder.FILE)
    sizes = {path.name: path.stat().st_size for path in sorted(target.iterdir()) if path.is_file()}
    for name in sizes:
        (target / name).chmod(0o644)
    setup.note("export-pose", **sizes)
