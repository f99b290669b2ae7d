"""Measure nano's pose ControlNet through the stock pipelines on the CPU, on poses and people never trained on.

    python -m zimage_kit.nano.evaluate_pose                              a quarter of an hour on two cores
    python -m zimage_kit.nano.evaluate_pose --poses 12 --weights DIR     a quick look at an unfinished export

Captions tell everything but the pose; each picture is drawn with the skeleton and, from the same noise, without. With
at least 100 poses, of the weights that are shipped, README.md and pose_sheet.jpg are renewed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ZImageControlNetModel, ZImageControlNetPipeline, ZImagePipeline
from numpy.typing import NDArray
from PIL import Image

from zimage_kit.engine.denoise import schedule
from zimage_kit.nano import DIRECTORY, joints, judge, posed, scenes
from zimage_kit.nano.evaluate import CARD, contact_sheet
from zimage_kit.nano.score import right

WEIGHTS = Path(__file__).parent / "controlnet"
SHEET = Path(__file__).parent / "pose_sheet.jpg"
BEGIN, END = "<!-- poses: begin -->", "<!-- poses: end -->"
FIRST = posed.FIRST_HELD_OUT  # seeds of the evaluation's scenes
SCALE = 0.9  # the pose stage's own
STEPS = 8
PROMISED = 0.03  # mean joint error, as a share of the picture's height, of one person
CLOSE = 0.05
COLUMNS = {"with": "with the ControlNet", "without": "without", "drawn": "drawn scenes"}
CONTENTS = {"one": "one person", "two": "two people"}
MARKS = {"things": "the people asked for are there", "colours": "their colours", "background": "background"}


class Pipelines:
    """nano's pipeline and the one with a ControlNet, of the same components."""

    def __init__(self, weights: Path) -> None:
        self.plain = ZImagePipeline.from_pretrained(DIRECTORY, dtype=torch.float32, local_files_only=True)
        net = ZImageControlNetModel.from_pretrained(weights, local_files_only=True)
        self.controlled = ZImageControlNetPipeline(**self.plain.components, controlnet=net)
        for pipe in (self.plain, self.controlled):
            pipe.set_progress_bar_config(disable=True)

    def draw(self, prompt: str, width: int, height: int, seed: int, skeleton: Image.Image | None) -> Image.Image:
        """Return a picture in eight steps at guidance 0, of the noise that `zimage_kit` would take."""
        generator = torch.Generator("cpu").manual_seed(seed)
        channels = self.plain.transformer.config.in_channels
        noise = self.plain.prepare_latents(1, channels, height, width, torch.float32, torch.device("cpu"), generator)
        more: dict[str, Any] = {}
        if skeleton is not None:
            more = {"control_image": skeleton, "controlnet_conditioning_scale": SCALE}
        drawn: Image.Image = (self.plain if skeleton is None else self.controlled)(
            prompt, width=width, height=height, latents=noise, sigmas=schedule(STEPS), num_inference_steps=STEPS,
            guidance_scale=0.0, **more,
        ).images[0]  # fmt: skip
        return drawn


def evaluate(poses: int, weights: Path, say: Any) -> tuple[dict[str, Any], list[Image.Image]]:
    """Return the figures and the rows of the sheet: `poses` of one person, and a quarter as many of two people."""
    pipelines = Pipelines(weights)
    finder, mind = joints.load(weights / joints.FILE), judge.load(DIRECTORY / judge.FILE)
    rng = np.random.default_rng(FIRST)
    figures: dict[str, Any] = {"seeds": "1000 + number of the pose", "scale": SCALE}
    rows: list[Image.Image] = []
    for number, (contents, count) in enumerate((("one", poses), ("two", max(2, poses // 4)))):
        told = [posed.sample(FIRST + 100_000 * number + i, True, contents) for i in range(count)]
        made: dict[str, list[Image.Image]] = {name: [] for name in COLUMNS}
        for i, scene in enumerate(told):
            prompt = posed.described(scene, rng, ("en", "zh")[i % 2])
            skeleton = posed.skeleton(scene)
            about = (prompt, scene.width, scene.height, 1000 + i)
            made["with"].append(pipelines.draw(*about, skeleton))
            made["without"].append(pipelines.draw(*about, None))
            made["drawn"].append(scenes.render(scene))
            if scene.width == scene.height and len(rows) < (24, 36)[number]:
                rows += [skeleton, made["with"][-1], made["without"][-1]]
            if i % 20 == 19:
                say(f"{CONTENTS[contents]}: {i + 1} of {count}")
        figures[contents] = {"pictures": count, **{name: measured(finder, mind, told, made[name]) for name in COLUMNS}}
    return figures, rows


def measured(
    finder: joints.Joints, mind: judge.Judge, told: Sequence[scenes.Scene], pictures: list[Image.Image]
) -> dict[str, float]:
    """Return the joint errors and what the judge finds right, of pictures of these scenes.

    `error` is the mean over all joints as a share of the picture's height, `of_the_person` as a share of the upright
    person's; `named` and `free` are parts of `error`; `close` is the share of joints within 5% of the picture's height.
    """
    gaps: list[NDArray[np.float64]] = []
    heights, free = [], []
    for scene, found in zip(told, joints.find(finder, pictures), strict=True):
        gaps.append(joints.distances(found, posed.bodies(scene), scene.width / scene.height))
        people = [thing for thing in scene.things if thing.keypoints is not None]
        heights += [thing.extent / scene.height for thing in people]
        free += [not thing.pose for thing in people]
    each = np.concatenate(gaps)  # (people, 18)
    which = np.array(free)
    _, verdicts = judge.look(mind, pictures)
    marks = [right(scene, verdict) for scene, verdict in zip(told, verdicts, strict=True)]
    figures = {
        "error": each.mean(),
        "of_the_person": (each / np.array(heights)[:, None]).mean(),
        "close": (each < CLOSE).mean(),
        **{name: each[some].mean() for name, some in (("named", ~which), ("free", which)) if some.any()},
        **{name: np.mean([mark[name] for mark in marks]) for name in MARKS},
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def table(figures: dict[str, Any]) -> str:
    """Return the figures as the card's Markdown."""
    lines = [f"| | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for contents, heading in CONTENTS.items():
        part = figures[contents]

        def line(meaning: str, name: str, part: Any = part, heading: str = heading) -> str:
            shares = [f"{100 * part[column][name]:.1f}%" if name in part[column] else "" for column in COLUMNS]
            return f"| {heading}: {meaning} | {' | '.join(shares)} |"

        missed = "" if contents != "one" or part["with"]["error"] <= PROMISED else ", missed"
        promised = f" (promised: {100 * PROMISED:.0f}%{missed})" if contents == "one" else ""
        lines.append(line(f"mean joint error, of the picture's height{promised}", "error"))
        lines.append(line("of the person's height", "of_the_person"))
        lines.append(line("named poses alone", "named"))
        lines.append(line("free poses alone", "free"))
        lines.append(line(f"joints within {100 * CLOSE:.0f}% of the picture's height", "close"))
        lines += [line(meaning, name) for name, meaning in MARKS.items()]
    lines += [
        "",
        f"{figures['one']['pictures']} poses of one person and {figures['two']['pictures']} of two people, English",
        f"and Chinese in turn, in every size of the presets, at a scale of {figures['scale']}. Captions tell all",
        "but the pose. The column of drawn scenes is what the network that finds joints errs by itself, and the judge:",
        "trained on named poses, it takes some others for something else.",
        "",
        "![skeleton, with the ControlNet, without it](pose_sheet.jpg)",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m zimage_kit.nano.evaluate_pose", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--poses", type=int, default=100, help="of one person (default 100, as the card needs)")
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="folder of the ControlNet and joints.safetensors.xz"
    )
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--sheet", type=Path, help="write the sheet of pictures here as well")
    given = parser.parse_args(arguments)
    figures, rows = evaluate(given.poses, given.weights, lambda text: print(text, file=sys.stderr, flush=True))
    print(json.dumps(figures, indent=1))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n" + table(figures))
    sheet = contact_sheet(rows, columns=6, side=160)
    if given.sheet:
        sheet.save(given.sheet, quality=85)
    if given.poses >= 100 and given.weights == WEIGHTS:
        before, rest = CARD.read_text("utf-8").split(BEGIN)
        CARD.write_text(f"{before}{BEGIN}\n{table(figures)}\n{END}{rest.split(END)[1]}", "utf-8")
        sheet.save(SHEET, quality=80)
        print(f"\nwritten: {CARD.name}, {SHEET.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
