"""A grid at the size of the real model: whether the GPU is kept as busy as by the pictures alone, and so are two.

    python tests/gpu/grid_full_size.py --output measured.json            CUDA GPUs with 40 GB, 25 GB of disk
    python tests/gpu/grid_full_size.py --output measured.json --tiny     the same way in nano's size, on any CPU

Writes a model with random weights as `full_size.py` does, starts a shared session of its own on one GPU and then on
all, and makes the same number of pictures (1024x1024, 8 steps) by `session.run([…])`, which saves nothing, and as a
grid, whose cells are encoded and kept; then the same grid again, and enlarged. Promised: at most 15 ms a cell more than
`session.run`, and two GPUs 1.8 times as fast as one.
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
from pathlib import Path
from typing import Any

import zimage_kit as zk
from zimage_kit import Request
from zimage_kit.engine.gpus import list_gpus
from zimage_kit.session.shared import launch

MILLISECONDS, RATE = 15.0, 1.8


def measure(model: str, side: int, count: int, workers: int) -> dict[str, Any]:
    """One session: pictures alone and as a grid, in turns; then what a grid that is there costs."""
    session = zk.connect()
    while len(session.status().workers) < workers:
        time.sleep(0.05)
    base = Request(prompt="a balloon", model=model, width=side, height=side, steps=8)
    list(session.run([base.but(seed=seed) for seed in range(4 * workers)]))  # every worker has it, warm
    alone, grids = [], []
    for turn in (1, 2):
        first = 1000 * turn
        begin = time.perf_counter()
        list(session.run([base.but(seed=first + number) for number in range(count)]))
        alone.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        grid = session.grid(base, seed=range(first + 500, first + 500 + count)).wait()
        grids.append(time.perf_counter() - begin)
        assert grid.computed == count
    seeds = [cell.values["seed"] for cell in grid]
    begin = time.perf_counter()
    assert session.grid(base, seed=seeds).wait().computed == 0
    again = time.perf_counter() - begin
    begin = time.perf_counter()
    axes = {"stages.upscale": [False, True], "seed": seeds}
    enlarged = session.grid(base.then(zk.stages.upscale(weights="nano")), axes).wait()
    took = time.perf_counter() - begin
    assert (enlarged.computed, enlarged.drawn) == (count, 0), enlarged
    beyond = (statistics.median(grids) - statistics.median(alone)) / count * 1e3
    return {
        "workers": workers,
        "pictures": count,
        "run_seconds": [round(each, 3) for each in alone],
        "grid_seconds": [round(each, 3) for each in grids],
        "beyond_run_milliseconds": round(beyond, 1),
        "again_seconds": round(again, 3),
        "enlarged_seconds": round(took, 3),
        "cell_bytes": int(statistics.median(cell.path.stat().st_size for cell in grid if cell.path)),
        "model_loads": session.status().model_loads,
    }


def on(cards: list[str], folder: Path, side: int, count: int) -> dict[str, Any]:
    """`measure` in a process of its own, which may use these cards only, in a session of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        environment = {**os.environ, "ZIMAGE_STATE": f"{place}/state", "ZIMAGE_OUTPUTS": f"{place}/outputs"}
        if cards:
            environment |= {"CUDA_VISIBLE_DEVICES": ",".join(cards), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        workers = max(1, len(cards))
        command = [sys.executable, __file__, "--measure", str(folder / "model"), str(side), str(count), str(workers)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        print(done.stdout.splitlines()[-1], flush=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> int:
    """Run from the command line; 0 when the promises are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="nano's size on the CPU, to try the script")
    parser.add_argument("--folder", type=Path, help="where to write the model; a temporary folder otherwise")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        model, *numbers = options.measure
        try:
            print(json.dumps(measure(model, *map(int, numbers))))
        finally:
            launch.kill(launch.read_session_file(launch.state_folder() / launch.FILE))
        return 0
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="grid-"))
    try:
        networks = "tiny()" if options.tiny else "full_size()"
        build = f"from full_size import *; write(Path({str(folder / 'model')!r}), {networks}, '5GB')"
        subprocess.run([sys.executable, "-c", build], cwd=Path(__file__).parent, check=True)
        cards = [] if options.tiny else [str(card.index) for card in list_gpus()[0]]
        size = (64, 4) if options.tiny else (1024, 12)
        runs = [on(cards[:1], folder, *size)]
        if len(cards) > 1:
            runs.append(on(cards, folder, *size))
    finally:
        shutil.rmtree(folder)
    kept = {"beyond the pictures": all(run["beyond_run_milliseconds"] <= MILLISECONDS for run in runs)}
    if len(runs) > 1:
        ratio = statistics.median(runs[0]["grid_seconds"]) / statistics.median(runs[1]["grid_seconds"])
        kept["rate"] = ratio >= RATE * len(cards) / 2
    text = json.dumps({"runs": runs, "kept": kept, **({"ratio": round(ratio, 3)} if len(runs) > 1 else {})}, indent=2)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
