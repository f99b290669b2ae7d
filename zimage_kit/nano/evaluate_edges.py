"""Measure how nano's ControlNet keeps to edges, through the stock pipelines on the CPU, on scenes never trained on.

    python -m zimage_kit.nano.evaluate_edges               five minutes on two cores; renews README.md
    python -m zimage_kit.nano.evaluate_edges --scenes 8    a quick look; writes nothing into the package

Each held-out scene is drawn anew from its caption and its edges, Canny's for one half of them and broad strokes for the
other, and without them from the same noise. Edges of the result are compared with the edges asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from zimage_kit.nano import DIRECTORY, judge, posed, scenes
from zimage_kit.nano.evaluate import CARD, TELL
from zimage_kit.nano.evaluate_pose import SCALE, WEIGHTS, Pipelines
from zimage_kit.nano.score import right

BEGIN, END = "<!-- edges: begin -->", "<!-- edges: end -->"
FIRST = 98_000_000  # seeds of the evaluation's scenes
NEAR = 2  # pixels
COLUMNS = {"with": "with the ControlNet", "without": "without", "redrawn": "the scene through the autoencoder"}
KINDS = {"canny": "Canny's edges", "scribble": "broad strokes"}


def agreement(made: Image.Image, asked: Image.Image) -> float:
    """Return how far two pictures have the same edges (Canny's), within `NEAR` pixels: the F1 measure, 0 to 1."""
    first, second = (np.asarray(posed.edges(picture))[..., 0] > 0 for picture in (made, asked))
    if not first.any() or not second.any():
        return float(first.any() == second.any())
    precision = float(_wide(second)[first].mean())
    recall = float(_wide(first)[second].mean())
    return 2 * precision * recall / max(1e-9, precision + recall)


def _wide(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels within `NEAR` pixels of an edge."""
    grown = Image.fromarray((255 * edges).astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * NEAR + 1))
    return np.asarray(grown) > 0


def evaluate(count: int, weights: Path, say: Any) -> tuple[dict[str, Any], list[Image.Image]]:
    """Return the figures, and rows of (control picture, with it, without it)."""
    from zimage_kit.nano.evaluate import through

    pipelines, mind = Pipelines(weights), judge.load(DIRECTORY / judge.FILE)
    rng = np.random.default_rng(FIRST)
    figures: dict[str, Any] = {"scenes": count, "scale": SCALE}
    rows: list[Image.Image] = []
    for kind in KINDS:
        made: dict[str, list[Image.Image]] = {name: [] for name in COLUMNS}
        told = [scenes.sample(FIRST + i, novel=True) for i in range(count)]
        for i, scene in enumerate(told):
            drawn = scenes.render(scene)
            prompt = tuple(TELL.values())[i % 2](scene, rng, complete=True, stray=False)
            control = posed.edges(drawn, strokes=kind == "scribble")
            about = (prompt, scene.width, scene.height, 1000 + i)
            made["with"].append(pipelines.draw(*about, control))
            made["without"].append(pipelines.draw(*about, None))
            made["redrawn"].append(through(pipelines.plain.vae, drawn))
            if len(rows) < 36 and scene.width == scene.height:
                rows += [control, made["with"][-1], made["without"][-1]]
            if i % 20 == 19:
                say(f"{KINDS[kind]}: {i + 1} of {count}")
        figures[kind] = {}
        for name, pictures in made.items():
            agreeing = [agreement(a, scenes.render(scene)) for a, scene in zip(pictures, told, strict=True)]
            _, verdicts = judge.look(mind, pictures)
            marks = [right(scene, verdict)["all"] for scene, verdict in zip(told, verdicts, strict=True)]
            figures[kind][name] = {
                "agreement": round(float(np.mean(agreeing)), 3), "all": round(float(np.mean(marks)), 3)
            }  # fmt: skip
    return figures, rows


def table(figures: dict[str, Any]) -> str:
    """Return the figures as the card's Markdown."""
    lines = [f"| | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for kind, heading in KINDS.items():
        part = figures[kind]
        agreeing = " | ".join(f"{part[column]['agreement']:.2f}" for column in COLUMNS)
        whole = " | ".join(f"{100 * part[column]['all']:.0f}%" for column in COLUMNS)
        lines += [f"| {heading}: agreement | {agreeing} |", f"| {heading}: all is right | {whole} |"]
    lines += [
        "",
        f"{figures['scenes']} held-out scenes each, English and Chinese in turn, at a scale of {figures['scale']}.",
        f"Agreement is the F1 of edges (Canny), found within {NEAR} pixels of each other, of the picture and the",
        "scene that the edges were taken from.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m zimage_kit.nano.evaluate_edges", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--scenes", type=int, default=60, help="of each kind of edges (default 60, as the card needs)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the ControlNet")
    parser.add_argument("--sheet", type=Path, help="write a sheet of pictures here")
    given = parser.parse_args(arguments)
    figures, rows = evaluate(given.scenes, given.weights, lambda text: print(text, file=sys.stderr, flush=True))
    print(json.dumps(figures, indent=1))
    print("\n" + table(figures))
    if given.sheet and rows:
        from zimage_kit.nano.evaluate import contact_sheet

        contact_sheet(rows, columns=6, side=192).save(given.sheet, quality=85)
    if given.scenes >= 60 and given.weights == WEIGHTS:
        before, rest = CARD.read_text("utf-8").split(BEGIN)
        CARD.write_text(f"{before}{BEGIN}\n{table(figures)}\n{END}{rest.split(END)[1]}", "utf-8")
        print(f"\nwritten: {CARD.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
