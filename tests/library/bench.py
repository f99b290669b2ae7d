"""How long a library of 20,000 pictures takes to open, search, grow and make anew.

    python -m tests.library.bench --output measured.json [--count 20000]

Pictures of 64x64 pixels with prompts in two languages, on this machine's temporary disk; medians in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from zimage_kit import Artifact, Request, Trace
from zimage_kit.library.library import Library

WORDS = "red boat balloon cat dog 红色的船 海上 星空 灯笼 lantern girl mountain snow castle river 竹林 at night".split()  # noqa: SIM905
PROMISED = {"open": 500, "search": 50, "add": 5, "rebuild": 1000 / 500}


def write(folder: Path, count: int) -> None:
    """So many pictures, 60 a day."""
    chance, begin = random.Random(1), datetime(2025, 1, 1).astimezone()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        prompt = f"{' '.join(chance.choices(WORDS, k=12))}, number {number}"
        made = begin + timedelta(days=number // 60, seconds=number % 60)
        request = Request(prompt=prompt, model="nano", seed=number, width=64, height=64, steps=8, guidance=0.0)
        artifact = Artifact(Image.fromarray(pixels).resize((64, 64)), request, Trace(created=made.isoformat()))
        artifact.save(folder=folder)


def median(action: Callable[[], object], times: int = 9) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        taken.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(taken)


def measure(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """What each takes; `rebuild` is for one picture."""
    begin = time.perf_counter()
    library = Library(folder)
    found = {"rebuild": {"all": 1e3 * (time.perf_counter() - begin) / count}}
    opened: list[Library] = []
    found["open"] = {"all": median(lambda: opened.append(Library(folder)), 5)}
    for each in opened:
        each.close()
    asked = ("red boat", "红色", "海", '"red boat" -cat', "number 777", "zzz", "")
    found["search"] = {words or "the latest": median(lambda words=words: library.search(words)) for words in asked}  # type: ignore[misc]
    found["search"]["stars"] = median(lambda: library.search(stars=1))
    artifact = library.search(limit=1)[0].open()
    path = artifact.save(folder=folder)
    found["add"] = {
        "with its picture at hand": median(lambda: library.add(path, artifact)),
        "read": median(lambda: library.add(path)),
    }
    library.close()
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zimage-library-") as name:
        write(Path(name), options.count)
        found = measure(Path(name), options.count)
    for what, kinds in found.items():
        for kind, took in kinds.items():
            kept = "yes" if took <= PROMISED[what] else "**no**"
            print(f"| {what}: {kind} | {took:.2f} ms | {PROMISED[what]:g} ms | {kept} |")
    if options.output:
        options.output.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
