"""The judge's second lesson: two people in one picture.

No training scene of the denoiser has two people, so a picture with one person too many is a fault, and the judge has to
see it. This piece goes on from exported weights and takes minutes on a CPU.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from zimage_kit.nano import data, packed, scenes
from zimage_kit.nano import judge as judging
from zimage_kit.nano.train.common import SEED, Clock, Setup

LEARNING = ("head", "neck", "body.4", "body.3")


def doubled(scene: scenes.Scene, rng: np.random.Generator) -> scenes.Scene:
    """Return a scene of one person with that person twice, side by side."""
    person = next((thing for thing in scene.things if thing.keypoints is not None), None)
    if person is None or person.keypoints is None:
        raise ValueError(f"scene {scene.seed} has no person")
    extent = min(person.extent, 0.62 * scene.width) * rng.uniform(0.75, 1.0)
    y = scene.height * rng.uniform(0.84, 0.92) - 0.5 * extent
    unit = (person.keypoints - (person.x, person.y)) / person.extent
    xs = (rng.uniform(0.20, 0.34) * scene.width, rng.uniform(0.66, 0.80) * scene.width)
    twins = tuple(replace(person, x=x, y=y, extent=extent, keypoints=unit * extent + (x, y)) for x in xs)
    return replace(scene, things=twins)


def _batch(rng: np.random.Generator, n: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return n pictures (n, 3, h, w) in [-1, 1] and their labels: half usual scenes, half with two people."""
    made: list[scenes.Scene] = []
    while len(made) < n:
        seed = int(rng.integers(1 << 40))
        if len(made) % 2:
            made.append(scenes.sample(seed, size=size))
            continue
        scene = scenes.sample(seed, count=1, size=size)
        if scene.things[0].kind == "person":
            made.append(doubled(scene, rng))
    pictures = np.stack([np.asarray(scenes.render(scene), np.float32) for scene in made])
    labels = np.stack([data.labels_of(scene) for scene in made])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1, torch.from_numpy(labels)


def run(setup: Setup, weights: Path) -> None:
    """Teach the judge at `weights` (safetensors) about two people, and write it back there."""
    torch.manual_seed(SEED + 5)
    rng = np.random.default_rng(SEED + 5)
    judge = judging.load(weights)
    for name, parameter in judge.named_parameters():
        parameter.requires_grad_(name.startswith(LEARNING))
    learning = [parameter for parameter in judge.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3, weight_decay=0.0)
    clock, told, step = Clock(setup), time.monotonic(), 0
    while clock.tick():
        size = scenes.SIZES[int(rng.choice(len(scenes.SIZES), p=scenes.SIZE_SHARES))]
        x, labels = _batch(rng, setup.batch or 32, size)
        loss = judging.loss(judge(x)[1], labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(4e-4)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if time.monotonic() - told > 30:
            told = time.monotonic()
            setup.note("people", step=step, done=clock.done, loss=float(loss.detach()))
    packed.save(judge.state_dict(), weights)
    weights.chmod(0o644)
    setup.note("people", step=step, done=clock.done)
