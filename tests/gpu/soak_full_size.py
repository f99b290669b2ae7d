"""Twenty minutes without a pause at full size: time and memory stay as they were; then a CUDA error, and the recovery.

    python tests/gpu/soak_full_size.py --output measured.json --minutes 20     a CUDA GPU with 32 GB
    python tests/gpu/soak_full_size.py --output measured.json --tiny           nano's size on any CPU, to try the script

Writes a model with random weights (as full_size.py does) and keeps two pictures of 1024x1024 and 8 steps queued in a
shared session. After the first minute, every tenth of the time is looked at: the median of a picture's seconds and the
bytes of worker, session and card. A stage then reads beyond the end of a tensor on the card, an error that sticks.
Promised: the last tenth is within 5% of the first in each, and a picture is there within 60 s of the error.
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
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

FLAT, RECOVERY_SECONDS = 0.05, 60.0
STAGE = '''
from zimage_kit import Stage, stage


@stage
class Sticks(Stage):
    """Leave the card in an error that sticks; without a card, the worker as such an error leaves it."""

    kind = "soak_sticks"

    def after(self, image, ctx):
        """Raises."""
        import torch

        if torch.cuda.is_available():
            torch.arange(4, device="cuda")[torch.tensor([9], device="cuda")].sum().item()
        from zimage_kit.engine import resident

        def broken(device):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        resident.release = broken
        broken("cuda:0")
'''


def bytes_held(session: Any, card: bool) -> dict[str, int]:
    """Of the worker and the session's process their own memory, of the card all that is used."""
    from zimage_kit.engine.gpus import list_gpus
    from zimage_kit.session.shared import launch

    server = launch.read_session_file(launch.state_folder() / launch.FILE).pid
    held = {"session": server, "worker": session.status().workers[0].pid}
    found = {name: psutil.Process(pid).memory_full_info().uss for name, pid in held.items()}
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return found | ({"card": next(g.used for g in list_gpus()[0] if str(g.index) == allowed)} if card else {})


def measure(model: str, side: int, minutes: float, card: bool) -> dict[str, Any]:
    """The pictures, the error, and the picture after it."""
    import zimage_kit as zk
    from zimage_kit.errors import ZImageError

    session = zk.connect()
    base = zk.Request(prompt="twenty minutes", model=model, width=side, height=side, steps=8)
    session.run(base.but(seed=0), on_event=lambda event: None)
    begin, number = time.monotonic(), 1
    warm = begin + min(60.0, 6 * minutes)
    waiting = deque(session.submit(base.but(seed=seed)) for seed in (1, 2))
    seconds: list[tuple[float, float]] = []
    looks: list[tuple[float, dict[str, int]]] = []
    last, next_look = begin, warm
    while (now := time.monotonic()) < begin + 60 * minutes:
        waiting.popleft().result()
        number += 1
        waiting.append(session.submit(base.but(seed=number + 1)))
        done = time.monotonic()
        seconds.append((done - begin, done - last))
        last = done
        if now >= next_look:
            looks.append((done - begin, bytes_held(session, card)))
            next_look += 6 * minutes
    for job in waiting:
        job.result()
    warmed = [taken for when, taken in seconds if when > warm - begin]
    part = max(1, len(warmed) // 10)
    ends = statistics.median(warmed[:part]), statistics.median(warmed[-part:])

    before = session.status().workers[0].pid
    broken = session.submit(base.but(seed=number + 2, stages=[{"kind": "soak_sticks"}]))
    problem = ""
    try:
        broken.result(120)
    except ZImageError as error:
        problem = f"{type(error).__name__}: {error}"[:300]
    failed = time.monotonic()
    after = session.run(base.but(seed=1), fresh=True, on_event=lambda event: None)
    recovered = time.monotonic() - failed
    first = session.run(base.but(seed=1), fresh=True, on_event=lambda event: None)
    found = {
        "pictures": len(seconds),
        "seconds": [round(each, 4) for each in ends],
        "bytes": [looks[0][1], looks[-1][1]],
        "looks": looks,
        "error": problem,
        "recovered_seconds": round(recovered, 2),
        "worker_replaced": session.status().workers[0].pid != before,
        "same_pixels": after.image.tobytes() == first.image.tobytes(),
    }
    session._engine.stop()  # type: ignore[attr-defined]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when the promises are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--tiny", action="store_true", help="nano's size on the CPU, a third of a minute")
    parser.add_argument("--folder", type=Path, help="where to write the model; a temporary folder otherwise")
    parser.add_argument("--model", type=Path, help="a directory that is there already, instead of writing one")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="soak-full-size-"))
    try:
        extension = folder / "extensions" / "sticks"
        extension.mkdir(parents=True)
        (extension / "extension.toml").write_text('name = "sticks"\napi = 1\nstages = ["soak_sticks"]\n')
        (extension / "__init__.py").write_text(STAGE)
        os.environ.update(ZIMAGE_STATE=str(folder / "state"), ZIMAGE_EXTENSIONS=str(folder / "extensions"))
        model = options.model or folder / "model"
        if options.model is None:
            networks = "tiny()" if options.tiny else "full_size()"
            build = f"from full_size import *; write(Path({str(model)!r}), {networks}, '5GB')"
            subprocess.run([sys.executable, "-c", build], cwd=Path(__file__).parent, check=True)
        side, minutes = (64, 1 / 3) if options.tiny else (1024, options.minutes)
        measured = measure(str(model), side, minutes, not options.tiny)
    finally:
        shutil.rmtree(folder)
    one, other = measured["bytes"]
    kept = {
        "time": measured["seconds"][1] <= measured["seconds"][0] * (1 + FLAT),
        **{f"memory of the {name}": other[name] <= one[name] * (1 + FLAT) for name in one},
        "recovery": measured["recovered_seconds"] < RECOVERY_SECONDS,
        "the worker was replaced": measured["worker_replaced"],
        "same pixels after it": measured["same_pixels"],
    }
    text = json.dumps({**measured, "kept": kept}, indent=1)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
