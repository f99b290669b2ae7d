"""A look in between: batches of pictures from the state folder, judged on the GPU, and a sheet of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zimage_kit.nano import captions, data, scenes
from zimage_kit.nano import judge as judging
from zimage_kit.nano.batched import Batched, Controlled, unpatchify
from zimage_kit.nano.score import right
from zimage_kit.nano.train import export
from zimage_kit.nano.train.common import SEED, Setup
from zimage_kit.nano.train.distil import schedule

CONTROL = 0.9  # conditioning scale of a ControlNet, the pose stage's own


@torch.no_grad()
def run(setup: Setup, target: Path, pictures: int = 512, steps: int = 8) -> None:
    """Judge `pictures` pictures of held-out scenes in each language and save `sheet.png` to `target`."""
    made = export.parts(setup)
    kept = setup.load("judge")
    if kept is None:
        raise SystemExit("judge.pt is missing: run the judge piece first.")
    judge = judging.Judge()
    judge.load_state_dict(kept["average"])
    judge.eval()
    for part in ("transformer", "text_encoder", "vae"):
        made[part].to(setup.device)
    torch.manual_seed(SEED + 4)
    rng = np.random.default_rng(SEED)
    told = [scenes.sample(90_000_000 + i, novel=True, size=(256, 256)) for i in range(pictures)]
    for language, tell in (("en", captions.english), ("zh", captions.chinese)):
        prompts = [tell(scene, rng, complete=True, stray=False) for scene in told]
        images: list[Image.Image] = []
        for start in range(0, pictures, 128):
            images += draw(made, prompts[start : start + 128], steps, setup.device)
        _, verdicts = judging.look(judge, images)
        marks = [right(scene, verdict) for scene, verdict in zip(told, verdicts, strict=True)]
        rates = {
            name: float(np.mean([m[name] for m in marks if name in m]))
            for name in sorted({k for m in marks for k in m})
        }
        setup.note("check", language=language, steps=steps, **rates)
        sheet = Image.new("RGB", (8 * 256, 6 * 256))
        for i, image in enumerate(images[:48]):
            sheet.paste(image, ((i % 8) * 256, (i // 8) * 256))
        sheet.save(target / f"sheet-{language}-{steps}.png")
    real = [scenes.render(scene) for scene in told]
    _, verdicts = judging.look(judge, real)
    marks = [right(scene, verdict) for scene, verdict in zip(told, verdicts, strict=True)]
    setup.note(
        "check",
        language="real scenes",
        **{n: float(np.mean([m[n] for m in marks if n in m])) for n in sorted({k for m in marks for k in m})},
    )


@torch.no_grad()
def draw(
    made: dict[str, Any], prompts: list[str], steps: int, device: torch.device, control: Tensor | None = None
) -> list[Image.Image]:
    """Return 256x256 pictures of prompts of at most 64 tokens, with what is in `made` on `device`.

    `control` (n, 256, 64) are the tokens of control pictures, which `made["controlnet"]` heeds.
    """
    tokenizer, pad = made["tokenizer"], made["tokenizer"].pad_token_id
    ids = [tokenizer(data.PREFIX + p.lower().strip() + data.SUFFIX).input_ids[:64] for p in prompts]
    table = torch.full((len(ids), 64), pad, dtype=torch.long)
    for row, one in zip(table, ids, strict=True):
        row[: len(one)] = torch.tensor(one)
    if max(map(len, ids)) <= 32:
        table = table[:, :32]
    table = table.to(device)
    caption = made["text_encoder"](input_ids=table, output_hidden_states=True, use_cache=False).hidden_states[-2]
    model: Callable[..., Tensor]
    if control is None:
        model = Batched(made["transformer"])
    else:
        share = torch.tensor([[[CONTROL]]], device=device)
        controlled = Controlled(made["transformer"], made["controlnet"]).controlled
        model = functools.partial(controlled, control=control, share=share)
    z, levels = torch.randn(len(ids), 256, 64, device=device), schedule(steps).to(device)
    buckets = torch.zeros(len(ids), dtype=torch.long, device=device)
    for now, then in pairwise(levels):
        z = z - (then - now) * model(z, buckets, (1 - now).expand(len(ids)), caption, table == pad)
    vae = made["vae"]
    x: Tensor = vae.decoder(unpatchify(z, 0) / vae.config.scaling_factor + vae.config.shift_factor)
    arrays = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(a) for a in arrays]
