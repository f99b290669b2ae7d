"""How much scouted seeds differ beside seeds counted up, what that costs, and whether the prompt is still obeyed.

    python -m tests.session.scout_bench --output measured.json            about eight minutes on two cores
    python -m tests.session.scout_bench --output measured.json --quick    with two prompts, to try the script

With nano, on captions of held-out scenes in both languages, judged by the package's judge. "Counted up" are all groups
of four consecutive seeds among those that are looked at. Differences are mean ΔE*ab of pairs, as `grid.diversity`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import zimage_kit as zk
from zimage_kit.nano import DIRECTORY, captions, judge, scenes
from zimage_kit.nano.score import right
from zimage_kit.recipe.colour import areas, distances, mean_distance, mean_of
from zimage_kit.session.scout import farthest

FIRST = 97_000_000
"""Seeds of the scenes, which nano was not trained on."""
KEEP = 4


def prompt_of(number: int) -> tuple[scenes.Scene, str]:
    """A scene of one or two things and its caption, two English ones and two Chinese in turn."""
    rng = np.random.default_rng((7, number))
    scene = scenes.sample(FIRST + number, novel=True, count=1 + number % 2, size=(256, 256))
    tell = captions.english if number % 4 < 2 else captions.chinese
    return scene, tell(scene, rng, complete=True, stray=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--look-at", type=int, default=24)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    count, look_at = (2, 8) if given.quick else (given.prompts, given.look_at)
    mind = judge.load(DIRECTORY / judge.FILE)
    session = zk.connect("inline", device="cpu")
    session.run("a cat", model="nano")
    rows = []
    for number in range(count):
        scene, prompt = prompt_of(number)
        begin = time.perf_counter()
        pictures = [session.run(prompt, model="nano", seed=seed).image for seed in range(look_at)]
        drawing = (time.perf_counter() - begin) / look_at
        begin = time.perf_counter()
        scouted = session.scout(prompt, look_at, KEEP, model="nano", seed=0)  # finished pictures are in the cache
        looking = time.perf_counter() - begin
        _, verdicts = judge.look(mind, pictures)
        marks = [right(scene, verdict)["all"] for verdict in verdicts]
        groups = [range(first, first + KEEP) for first in range(0, look_at - KEEP + 1, KEEP)]
        rows.append({
            "prompt": prompt,
            "counted": statistics.mean(mean_distance([pictures[seed] for seed in group]) for group in groups),
            "scouted": scouted.diversity,
            "farthest": _farthest(pictures),
            "counted_right": statistics.mean(marks),
            "scouted_right": statistics.mean(marks[seed] for seed in scouted.seeds),
            "pictures": looking / drawing,
        })  # fmt: skip
        print(f"{number + 1} of {count}: {prompt}", file=sys.stderr, flush=True)
    mean = {name: statistics.mean(row[name] for row in rows) for name in rows[0] if name != "prompt"}
    mean["ratio"] = mean["scouted"] / mean["counted"]
    mean["ratio_of_farthest"] = mean["farthest"] / mean["counted"]
    given.output.write_text(json.dumps({"look_at": look_at, "keep": KEEP, "mean": mean, "rows": rows}, indent=1))
    print("| seeds | apart, ΔE*ab | ratio | everything right |\n|---|---|---|---|")
    print(f"| counted up | {mean['counted']:.1f} | 1 | {mean['counted_right']:.3f} |")
    print(
        f"| scouted, {KEEP} of {look_at} | {mean['scouted']:.1f} | {mean['ratio']:.2f} | {mean['scouted_right']:.3f} |"
    )
    best = f"{mean['farthest']:.1f} | {mean['ratio_of_farthest']:.2f}"
    print(f"| the {KEEP} farthest of all {look_at}, finished | {best} | |")
    print(f"\nLooking took as long as {mean['pictures']:.1f} pictures.")
    return 0


def _farthest(pictures: list[Image.Image]) -> float:
    """How far apart the four are that a look at finished pictures would choose: no look at less can find more."""
    apart = distances([areas(picture) for picture in pictures])
    places = farthest(apart, KEEP)
    return mean_of(apart[places][:, places])


if __name__ == "__main__":
    sys.exit(main())
