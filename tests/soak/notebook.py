"""A notebook of a long day: its cells are run three hundred times in one kernel, and nothing may grow.

    python -m tests.soak.notebook --output measured.json     about nine minutes on two cores
    python -m tests.soak.notebook --runs 60 --first 30       the same way, to try the script

Each run is that of three cells: one connects to the session, one shows the panel and draws in it, one draws by itself.
The kernel is looked at after FIRST runs, when all that is loaded once is loaded and the panel's strip is full, and at
the end. In a folder of its own, with a session of its own. Prints a Markdown table; the exit status is 1 if one of the
numbers has grown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from jupyter_client import BlockingKernelClient, KernelManager

from zimage_kit.session.shared import launch

ROOT = Path(__file__).resolve().parents[2]
REQUEST = "zk.Request(prompt='a red boat', model='nano', steps=2)"
CELLS = {
    "connects": "import zimage_kit as zk\nsession = zk.connect()",
    "panel": f"studio = session.studio()\nstudio.request = {REQUEST}\nstudio.generate()\nstudio",
    "draws": f"art = session.run({REQUEST})\nart.save()",
}
"""By the ids that JupyterLab would have given them."""
DRAWN = "import time\nwhile studio.jobs or not studio.artifacts: time.sleep(0.01)\nstudio._saver.submit(int).result(60)"
LOOK = """
import gc, json, threading, time
import comm, psutil
from ipywidgets.widgets import widget
gc.collect()
time.sleep(11)  # every ten seconds ipykernel closes what threads that have ended wrote to it with
_own = psutil.Process()
print(json.dumps({
    "widgets": len(widget._instances), "comms": len(comm.get_comm_manager().comms),
    "threads": threading.active_count(), "handles": _own.num_fds(),
    "children": len(_own.children(recursive=True)), "pictures": len(studio.artifacts),
    "memory": _own.memory_full_info().uss,
}))
"""
MORE = {"widgets": 0, "comms": 0, "threads": 2, "handles": 4, "children": 0}
"""How many more of each there may be at the end; a thread or a connection may just be about to end."""
BYTES_A_RUN, BYTES_A_PICTURE = 100e3, 500e3
"""How much more memory: IPython remembers each run and its value, a closed panel among them (an open one has 1.9 MB);
and the strip holds more pictures, until it is full."""
SECONDS = 120.0


class Notebook:
    """A kernel of a notebook in `place`, whose cells are run as JupyterLab runs them."""

    def __init__(self, place: Path) -> None:
        folders = {"HOME": "home", "ZIMAGE_STATE": "state", "ZIMAGE_OUTPUTS": "outputs", "IPYTHONDIR": "ipython"}
        own = {name: str(place / folder) for name, folder in folders.items()}
        for folder in own.values():
            Path(folder).mkdir(parents=True, exist_ok=True)
        self.state = Path(own["ZIMAGE_STATE"])
        own |= {"PYTHONPATH": str(ROOT), "JPY_SESSION_NAME": "long day.ipynb", "HF_HOME": str(place / "home" / "hf")}
        self._kernel = KernelManager(kernel_name="python3")
        self._kernel.start_kernel(
            env={**os.environ, **own}, cwd=str(place), extra_arguments=["--log-level=40", "--HistoryManager.enabled=0"]
        )
        self._client: BlockingKernelClient = self._kernel.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=SECONDS)

    def run(self, source: str, cell: str = "") -> str:
        """Run a cell to its end; what it printed. Raises RuntimeError with what it raised."""
        metadata = {"cellId": cell} if cell else {}
        content = {"code": source, "silent": False, "store_history": bool(cell), "allow_stdin": False}
        message = self._client.session.msg("execute_request", content, metadata=metadata)
        self._client.shell_channel.send(message)
        printed, deadline = "", time.monotonic() + SECONDS
        while True:
            try:
                heard = self._client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            except Empty:
                raise RuntimeError(f"this cell did not end within {SECONDS:g} s:\n{source}") from None
            if heard["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            kind, content = heard["msg_type"], heard["content"]
            if kind == "error":
                raise RuntimeError(f"{source}\n{content['ename']}: {content['evalue']}")
            if kind == "stream" and content["name"] == "stdout":
                printed += content["text"]
            if kind == "status" and content["execution_state"] == "idle":
                self._client.get_shell_msg(timeout=SECONDS)
                return printed

    def end(self) -> None:
        """The kernel, and the session that it started."""
        self._client.stop_channels()
        self._kernel.shutdown_kernel(now=True)
        if (self.state / launch.FILE).exists():
            launch.kill(launch.read_session_file(self.state / launch.FILE))


def measure(place: Path, runs: int, first: int) -> dict[str, Any]:
    """What the kernel holds after the `first` runs and after all, and the seconds that they took."""
    notebook = Notebook(place)
    looks: list[dict[str, int]] = []
    try:
        begin = time.monotonic()
        for number in range(1, runs + 1):
            for cell, source in CELLS.items():
                notebook.run(source, cell)
            notebook.run(DRAWN)
            if number in (first, runs):
                looks.append(json.loads(notebook.run(LOOK)))
            if number % 25 == 0:
                print(f"{time.monotonic() - begin:6.0f} s: {number} runs", file=sys.stderr, flush=True)
        seconds = round(time.monotonic() - begin)
    finally:
        notebook.end()
    return {"runs": [first, runs], "seconds": seconds, "first": looks[0], "last": looks[1]}


def grown(found: dict[str, Any]) -> list[str]:
    """What grew more than it may."""
    one, other = found["first"], found["last"]
    more = [f"{what}: {one[what]}, then {other[what]}" for what, few in MORE.items() if other[what] > one[what] + few]
    runs, pictures = found["runs"][1] - found["runs"][0], other["pictures"] - one["pictures"]
    if other["memory"] > one["memory"] + BYTES_A_RUN * runs + BYTES_A_PICTURE * pictures:
        more.append(f"memory: {one['memory'] / 1e6:.0f} MB, then {other['memory'] / 1e6:.0f} MB")
    return more


def report(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    one, other = found["first"], found["last"]
    rows = [f"| in the kernel | after {found['runs'][0]} runs | after {found['runs'][1]} |", "|---|---:|---:|"]
    rows += [f"| {what} | {one[what]} | {other[what]} |" for what in one if what != "memory"]
    change = (other["memory"] - one["memory"]) / (found["runs"][1] - found["runs"][0]) / 1e3
    rows.append(f"| memory | {one['memory'] / 1e6:.0f} MB | {other['memory'] / 1e6:.0f} MB ({change:+.0f} kB a run) |")
    return "\n".join([*rows, "", f"{found['seconds']} s"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--first", type=int, default=100, help="runs after which it is first looked at")
    parser.add_argument("--output", type=Path, help="a JSON file for every figure")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="long-day-", ignore_cleanup_errors=True) as place:
        found = measure(Path(place), given.runs, given.first)
    print(report(found))
    more = grown(found)
    if given.output:
        given.output.write_text(json.dumps({**found, "grown": more}, indent=1))
    print(*more, sep="\n", file=sys.stderr)
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
