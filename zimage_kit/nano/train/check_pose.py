"""A look at the pose ControlNet in between: pictures of held-out poses, their joints measured, and a sheet of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zimage_kit.nano import joints as finding
from zimage_kit.nano import judge as judging
from zimage_kit.nano import posed, scenes
from zimage_kit.nano.batched import patchify
from zimage_kit.nano.score import right
from zimage_kit.nano.train import export
from zimage_kit.nano.train.check import draw
from zimage_kit.nano.train.common import SEED, Setup
from zimage_kit.nano.train.controlnet import trained

FIRST = posed.FIRST_HELD_OUT + 1_000_000  # other scenes than the evaluation's
MARKS = ("things", "colours", "background", "style")


@torch.no_grad()
def run(setup: Setup, target: Path, pictures: int = 512, steps: int = 8) -> None:
    """Measure `pictures` pictures of held-out scenes, a quarter with two people, and save `pose-*.png` to `target`."""
    made = export.parts(setup)
    made["controlnet"] = trained(setup)
    kept, judged = setup.load("joints"), setup.load("judge")
    if kept is None or judged is None:
        raise SystemExit("joints.pt and judge.pt are needed: train them, or begin from exported weights.")
    joints, judge = finding.Joints(), judging.Judge()
    joints.load_state_dict(kept["average"])
    judge.load_state_dict(judged["average"])
    joints.eval()
    judge.eval()
    for part in ("transformer", "text_encoder", "vae", "controlnet"):
        made[part].to(setup.device)
    for contents, count in (("one", pictures - pictures // 4), ("two", pictures // 4)):
        rng = np.random.default_rng(SEED)
        told = [posed.sample(FIRST + i, True, contents, (256, 256)) for i in range(count)]
        prompts = [posed.described(scene, rng, ("en", "zh")[i % 2]) for i, scene in enumerate(told)]
        skeletons = [posed.skeleton(scene) for scene in told]
        results: dict[str, list[Image.Image]] = {"with": [], "without": []}
        for start in range(0, count, 128):
            here = slice(start, start + 128)
            control = _tokens(skeletons[here], made["vae"], setup.device)
            for name in results:
                torch.manual_seed(SEED + start)  # the same noise for both
                heeded = control if name == "with" else None
                results[name] += draw(made, prompts[here], steps, setup.device, heeded)
        results["drawn"] = [scenes.render(scene) for scene in told]
        for name, made_pictures in results.items():
            found = finding.find(joints, made_pictures)
            gaps = [finding.distances(f, posed.bodies(s), 1.0) for f, s in zip(found, told, strict=True)]
            _, verdicts = judging.look(judge, made_pictures)
            marks = [right(s, v) for s, v in zip(told, verdicts, strict=True)]
            setup.note(
                "check-pose", contents=contents, control=name, error=float(np.mean(gaps)),
                within=float(np.mean(np.array(gaps) < 0.05)),
                free=float(np.mean(np.concatenate(gaps)[[not pose for s in told for pose in _poses(s)]])),
                **{mark: float(np.mean([m[mark] for m in marks])) for mark in MARKS},
            )  # fmt: skip
        columns = zip(skeletons, results["with"], results["without"], strict=True)
        _sheet([picture for row in columns for picture in row][:72]).save(target / f"pose-{contents}-{steps}.png")


def _poses(scene: scenes.Scene) -> list[str]:
    return [thing.pose for thing in scene.things if thing.keypoints is not None]


def _tokens(skeletons: list[Image.Image], vae: Any, device: torch.device) -> torch.Tensor:
    x = torch.from_numpy(np.stack([np.asarray(skeleton) for skeleton in skeletons])).to(device)
    mean = vae.encoder(x.permute(0, 3, 1, 2).float() / 127.5 - 1).chunk(2, 1)[0]
    return patchify((mean - vae.config.shift_factor) * vae.config.scaling_factor)


def _sheet(pictures: list[Image.Image], columns: int = 12, side: int = 160) -> Image.Image:
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for i, picture in enumerate(pictures):
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (i % columns * side, i // columns * side))
    return sheet
