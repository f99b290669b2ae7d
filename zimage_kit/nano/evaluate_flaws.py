"""Two hundred pictures to be looked at, and the count of their flaws, which a person makes by the rule below.

    python -m zimage_kit.nano.evaluate_flaws DIR     draws 200 pictures into sheets of 25 in DIR, with their prompts

The rule. A picture is flawed if, at its own size (256x256), any of these is seen without looking for it: a face without
two clear eyes, or whose mouth is a smear; a hand that is missing, doubled or runs into what is behind it; a tail, wing,
ear, leg or arm too many or too few; whiskers that end nowhere; a thing drawn twice or half there; an outline that
dissolves for more than a tenth of its length; colours that run over an outline. Softness alone is no flaw. What was
counted stands in `evaluate_flaws.toml`, by picture, so that another pair of eyes can disagree with it.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import zimage_kit as zk
from zimage_kit.nano import scenes
from zimage_kit.nano.evaluate import TELL

COUNT, SHEET = 200, 25
FIRST = 99_000_000  # seeds of the scenes
COUNTED = Path(__file__).parent / "evaluate_flaws.toml"
LIVING = ("person", "cat", "dog", "rabbit", "bird", "fish", "butterfly", "panda", "crane", "dragon")


def chosen(count: int = COUNT) -> list[tuple[str, int]]:
    """Return prompts and seeds: held-out scenes, three quarters of them with an animal or a person."""
    rng = np.random.default_rng(FIRST)
    out: list[tuple[str, int]] = []
    seed = FIRST
    while len(out) < count:
        seed += 1
        scene = scenes.sample(seed, novel=True, size=(256, 256))
        living = any(thing.kind in LIVING for thing in scene.things)
        if not scene.things or (len(out) % 4 < 3) != living:
            continue
        tell = TELL[("en", "zh")[len(out) % 2]]
        out.append((tell(scene, rng, complete=True, stray=False), 2000 + len(out)))
    return out


def counted() -> tuple[int, int]:
    """Return (pictures that were looked at, those found flawed), from `evaluate_flaws.toml`."""
    kept = tomllib.loads(COUNTED.read_text("utf-8"))
    return int(kept["pictures"]), len(kept["flawed"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m zimage_kit.nano.evaluate_flaws", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("folder", type=Path, help="where sheets and prompts.txt go")
    parser.add_argument("--pictures", type=int, default=COUNT, help=f"how many (default {COUNT})")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    session = zk.connect("inline", device="cpu")
    told = chosen(given.pictures)
    for first in range(0, len(told), SHEET):
        sheet = Image.new("RGB", (5 * 260, 5 * 276), "white")
        pen = ImageDraw.Draw(sheet)
        for place, (prompt, seed) in enumerate(told[first : first + SHEET]):
            made = session.run(prompt, model="nano", width=256, height=256, seed=seed, fresh=True).image
            x, y = place % 5 * 260, place // 5 * 276
            sheet.paste(made, (x, y + 16))
            pen.text((x, y + 2), str(first + place + 1), fill="black")
        sheet.save(given.folder / f"sheet-{first // SHEET + 1}.png")
        print(f"{min(first + SHEET, len(told))} of {len(told)} pictures", file=sys.stderr, flush=True)
    lines = [f"{number} {prompt}" for number, (prompt, _) in enumerate(told, 1)]
    (given.folder / "prompts.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
