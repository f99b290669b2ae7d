"""nano's pictures while another program keeps a core busy, and while none does, by how long torch's threads spin.

    python tests/session/busy_bench.py

The other program and each measurement are in sessions of their own (setsid), as a browser and a worker are: Linux
shares processors among those. Each row is a fresh process; seconds are medians of 3, after one picture. On two cores,
the default takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import zimage_kit as zk

SPINS = {"as zimage_kit sets it": {}, "libgomp's default": {"GOMP_SPINCOUNT": "300000"},
         "none": {"OMP_WAIT_POLICY": "PASSIVE"}}  # fmt: skip


def pictures(count: int) -> list[float]:
    """Seconds of each of so many pictures of a session in this process."""
    with zk.connect("inline", device="cpu") as session:
        found = []
        for seed in range(count + 1):
            begin = time.perf_counter()
            session.run("a cat", model="nano", seed=seed, fresh=True, on_event=lambda event: None)
            found.append(time.perf_counter() - begin)
    return found[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", action="store_true", help=argparse.SUPPRESS)  # what each row's process is told
    if parser.parse_args(arguments).pictures:
        print(json.dumps(pictures(3)))
        return 0
    print("| another program | threads spin | a picture |\n|---|---|---|")
    for busy in (False, True):
        other = subprocess.Popen([sys.executable, "-c", f"while {busy}: pass"], start_new_session=True)
        try:
            for name, spin in SPINS.items():
                taken = subprocess.run(
                    [sys.executable, __file__, "--pictures"],
                    env={**os.environ, **spin},
                    capture_output=True,
                    check=True,
                    start_new_session=True,
                )
                seconds = statistics.median(json.loads(taken.stdout))
                print(f"| {'on one core' if busy else 'none'} | {name} | {seconds:.2f} s |", flush=True)
        finally:
            other.kill()
            other.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
