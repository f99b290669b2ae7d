"""A grid at the size of the real model: whether the GPU is kept as busy as by the pictures alone.

    python tests/gpu/grid_full_size.py --output measured.json            a CUDA GPU with 40 GB, 25 GB of disk
    python tests/gpu/grid_full_size.py --output measured.json --tiny     the same way in nano's size, on any CPU

Writes a model with random weights as `full_size.py` does, starts a shared session of its own, and makes the same number
of pictures (1024x1024, 8 steps) by `session.run([…])`, which saves nothing, and as a grid, whose cells are encoded and
kept; then the same grid again, and with other letters on it. Promised: at most 15 ms a cell more than `session.run`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zimage_kit as zk
from zimage_kit import Request
from zimage_kit.engines import launch

MILLISECONDS = 15.0


def wall(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def measure(model: str, side: int, count: int) -> dict[str, Any]:
    session = zk.connect()
    base = Request(prompt="a balloon", model=model, width=side, height=side, steps=8)
    _, _ = wall(lambda: list(session.run([base.but(seed=seed) for seed in range(3)])))
    alone, grids = [], []
    for turn in range(3):
        first = 1000 * (turn + 1)
        took, _ = wall(
            lambda first=first: list(session.run([base.but(seed=first + n) for n in range(count)]))  # type: ignore[misc]
        )
        alone.append(took)
        seeds = range(first + 500, first + 500 + count)
        took, grid = wall(lambda seeds=seeds: session.grid(base, seed=seeds).wait())  # type: ignore[misc]
        assert grid.computed == count
        grids.append(took)
    again, grid = wall(lambda: session.grid(base, seed=seeds).wait())
    assert grid.computed == 0
    lettered = base.then(zk.stages.text_overlay(text="-"))
    axes = {"text_overlay.text": ["one", "two", "three"], "seed": seeds}
    overlay, grid = wall(lambda: session.grid(lettered, axes).wait())
    assert (grid.computed, grid.drawn) == (3 * count, 0)
    sizes = [cell.path.stat().st_size for cell in grid if cell.path]
    return {
        "pictures": count,
        "run_seconds": [round(each, 3) for each in alone],
        "grid_seconds": [round(each, 3) for each in grids],
        "beyond_run_milliseconds": round((statistics.median(grids) - statistics.median(alone)) / count * 1e3, 1),
        "ratio": round(statistics.median(grids) / statistics.median(alone), 4),
        "again_seconds": round(again, 3),
        "lettered_cells": len(grid),
        "lettered_seconds": round(overlay, 3),
        "cell_bytes": int(statistics.median(sizes)),
        "model_loads": session.status().model_loads,
    }


def main() -> int:
    """Run from the command line; 0 when the promise is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="nano's size on the CPU, to try the script")
    parser.add_argument("--folder", type=Path, help="where to write the model; a temporary folder otherwise")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="grid-"))
    os.environ |= {"ZIMAGE_STATE": str(folder / "state"), "ZIMAGE_OUTPUTS": str(folder / "outputs")}
    try:
        networks = "tiny()" if options.tiny else "full_size()"
        build = f"from full_size import *; write(Path({str(folder / 'model')!r}), {networks}, '5GB')"
        subprocess.run([sys.executable, "-c", build], cwd=Path(__file__).parent, check=True)
        measured = measure(str(folder / "model"), *((64, 3) if options.tiny else (1024, 12)))
    finally:
        file = launch.state_folder() / launch.FILE
        if file.exists():
            launch.kill(launch.read_session_file(file))
        shutil.rmtree(folder)
    measured["kept"] = measured["beyond_run_milliseconds"] <= MILLISECONDS
    text = json.dumps(measured, indent=2)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)
    return 0 if measured["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
