"""What rounding costs: nano's pictures of held-out captions in every dtype and precision, judged.

The same captions and seeds each time, so that the shares can be compared: a caption that one of them gets right and the
other wrong is counted on its own. nano was trained and measured in float32.

    python tests/gpu/precisions.py --output measured.json          a CUDA GPU, about a quarter of an hour
    python tests/gpu/precisions.py --output measured.json --device cpu --ways float32 "float32 int8" "float32 fp8"
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zimage_kit as zk
from zimage_kit.nano import DIRECTORY, judge, scenes
from zimage_kit.nano.evaluate import FIRST, TELL
from zimage_kit.nano.score import right

WAYS = ("float32", "float16", "bfloat16", "bfloat16 int8", "bfloat16 fp8", "bfloat16 fast fp8")
"""What computes, and what the weights are rounded to; with `fast` inputs are too, and 8 bits are multiplied."""
PROMISED = 0.01
"""How much lower the share of captions of which everything is right may be with 8 bits than without."""


def measure(device: str, count: int, ways: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For each way: the share of captions of which everything is right, and how far its pictures are from the first."""
    mind = judge.load(DIRECTORY / judge.FILE)
    told = [scenes.sample(FIRST + i, novel=True) for i in range(count)]
    first: list[np.ndarray[Any, Any]] = []
    for way in ways:
        dtype, *rest = way.split()
        precision = next((word for word in rest if word != "fast"), None)
        settings = {"dtype": dtype, "precision": precision, "speed": "fast" if "fast" in rest else None}
        rng, wanted, pictures = np.random.default_rng(FIRST), [], []
        with zk.connect("inline", device=device, **settings) as session:
            for tell in TELL.values():
                for i, scene in enumerate(told):
                    prompt, wanted = tell(scene, rng, complete=True, stray=False), [*wanted, scene]
                    size = {"width": scene.width, "height": scene.height}
                    pictures.append(session.run(prompt, model="nano", seed=1000 + i, fresh=True, **size).image)
        _, verdicts = judge.look(mind, pictures)
        marks = [right(scene, verdict)["all"] for scene, verdict in zip(wanted, verdicts, strict=True)]
        pixels = [np.asarray(picture, np.float32) for picture in pictures]
        first = first or pixels
        yield {
            **settings,
            "pictures": len(marks),
            "right": float(np.mean(marks)),
            "marks": marks,
            "difference": float(np.mean([np.abs(a - b).mean() for a, b in zip(pixels, first, strict=True)])),
        }


def whole_of(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of the same dtype whose weights are not rounded to 8 bits."""
    return next(each for each in rows if each["dtype"] == row["dtype"] and not each["precision"])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as the table of docs/measurements.md."""
    lines = [
        "| computed in | weights | everything right | beside whole weights: won, lost | differs from the first by |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        plain = whole_of(row, rows)
        pairs = list(zip(row["marks"], plain["marks"], strict=True))
        won, lost = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
        beside = "" if row is plain else f"{won}, {lost}"
        weights = row["precision"] or row["dtype"]
        lines.append(
            f"| {row['dtype']} | {weights} | {100 * row['right']:.1f}% | {beside} | {row['difference']:.2f} of 255 |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when 8 bits lose no more than was promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--captions", type=int, default=320, help="in each of two languages (default 320)")
    parser.add_argument("--ways", nargs="+", default=WAYS, help='dtypes, and "float32 int8" after "float32"')
    options = parser.parse_args(arguments)
    machine = torch.cuda.get_device_name() if "cuda" in options.device else "cpu"
    rows: list[dict[str, Any]] = []
    for row in measure(options.device, options.captions, options.ways):
        rows.append(row)
        print(f"{row['dtype']} {row['precision'] or ''}: {row['right']:.4f}", file=sys.stderr, flush=True)
        options.output.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(table(rows))
    return 0 if all(whole_of(row, rows)["right"] - row["right"] <= PROMISED for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
