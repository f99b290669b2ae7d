"""Measure the 2x network against bicubic enlarging, on scenes that were held out; renews its section of README.md.

python -m zimage_kit.nano.evaluate_upscaler                      two minutes on two cores
python -m zimage_kit.nano.evaluate_upscaler --weights FILE       of an unfinished export; writes nothing
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from zimage_kit.nano import DIRECTORY, scenes, upscaler
from zimage_kit.nano.evaluate import CARD, through

FIRST = 96_000_000  # seeds of the scenes
BEGIN, END = "<!-- upscaler: begin -->", "<!-- upscaler: end -->"
PROMISED = 3.0  # dB above bicubic, on scenes that were only made smaller
ROWS = {
    "clean": "scenes at half their size",
    "rebuilt": "the same after nano's autoencoder, as nano's pictures are",
}


def evaluate(count: int, weights: Path) -> dict[str, dict[str, float]]:
    """Return the mean PSNR in dB of `count` scenes enlarged to 512x512 pixels, by what they were enlarged from."""
    network = upscaler.load(weights)
    vae = AutoencoderKL.from_pretrained(DIRECTORY / "vae", dtype=torch.float32, local_files_only=True)
    found: dict[str, dict[str, list[float]]] = {name: {"bicubic": [], "network": []} for name in ROWS}
    for seed in range(count):
        large = scenes.render(scenes.sample(FIRST + seed, novel=True, size=(256, 256)), enlarged=2)
        small = large.resize((256, 256), Image.Resampling.BOX)
        for name, picture in (("clean", small), ("rebuilt", through(vae, small))):
            bicubic = picture.resize((512, 512), Image.Resampling.BICUBIC)
            found[name]["bicubic"].append(upscaler.psnr(bicubic, large))
            found[name]["network"].append(upscaler.psnr(upscaler.enlarge(network, picture), large))
    return {
        name: {how: round(float(np.mean(values)), 2) for how, values in part.items()} for name, part in found.items()
    }


def table(figures: dict[str, dict[str, float]], count: int) -> str:
    """Return the figures as the card's Markdown."""
    lines = ["| PSNR against the scene at 512x512 | bicubic | the 2x network | gain |", "|---|---|---|---|"]
    for name, meaning in ROWS.items():
        part = figures[name]
        gain = part["network"] - part["bicubic"]
        missed = "" if name != "clean" else f" (promised: {PROMISED:.0f} dB{'' if gain >= PROMISED else ', missed'})"
        lines.append(f"| {meaning} | {part['bicubic']:.2f} dB | {part['network']:.2f} dB | {gain:+.2f} dB{missed} |")
    return "\n".join([*lines, "", f"Means of {count} scenes."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m zimage_kit.nano.evaluate_upscaler", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--scenes", type=int, default=40, help="default 40; the card needs 20")
    parser.add_argument("--weights", type=Path, default=upscaler.WEIGHTS, help="the network's file")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args(arguments)
    figures = evaluate(given.scenes, given.weights)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    told = table(figures, given.scenes)
    print(told)
    if given.scenes >= 20 and given.weights == upscaler.WEIGHTS:
        before, rest = CARD.read_text("utf-8").split(BEGIN)
        CARD.write_text(f"{before}{BEGIN}\n{told}\n{END}{rest.split(END)[1]}", "utf-8")
        print(f"\nwritten: {CARD.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
