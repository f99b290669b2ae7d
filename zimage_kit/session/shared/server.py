"""The process of a shared session: Dask's scheduler with our broker, and a supervised worker for each GPU.

`python -m zimage_kit.session.shared.server` starts one and writes its session file; with `--join FILE` it adds this
machine's workers to a running session. A nanny restarts a worker that dies. Workers end with this process, however it
ends.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import dask.config
from distributed import Nanny, Scheduler
from distributed.comm.core import connect
from distributed.security import Security

from ...engine.gpus import list_gpus
from ...engine.settings import Settings
from ...errors import ZImageError
from . import launch
from .connection import Connection

CONFIG: dict[str, Any] = {
    # nothing answers without a certificate: no dashboard, no metrics, no health page (see also `zimage.private`)
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # workers run no Dask tasks, so monitoring and stealing those would only use CPU time
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.diagnostics.nvml": False,
    # Dask's log of recent messages would hold previews in memory
    "distributed.admin.low-level-log-length": 1,
    # Dask's defaults (one compute thread, freed memory returned at once) cost a second a picture on a CPU
    "distributed.nanny.pre-spawn-environ": {},
    # a model may take minutes to load
    "distributed.scheduler.worker-ttl": "10 minutes",
    "distributed.comm.timeouts.connect": "10s",
}


_STARTS = 5  # give up after this many failed starts of a worker in a row


def main() -> None:
    """Run the session until it is stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--file", type=Path, help="the session file to write")
    parser.add_argument("--join", type=Path, help="the session file of a session to join")
    parser.add_argument("--host", default=None, help="the address to listen on")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--device", help="cpu, cuda or mps [default: the best available]")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16")
    parser.add_argument("--memory", help="the most that a model may take on a device, such as 8GB")
    parser.add_argument("--precision", help="int8 or fp8: how weights wait")
    parser.add_argument("--speed", help="exact, half, fast or stock")
    parser.add_argument("--idle-unload", type=float, help="seconds without a job, then unload")
    options = parser.parse_args()
    settings = {
        **{f"zimage.{name}": getattr(options, name) for name in Settings.model_fields},
        "zimage.idle-unload": options.idle_unload,
    }
    # files written here are private; pictures that workers save get the user's own umask
    settings["zimage.umask"] = os.umask(0o077)
    settings["zimage.private"] = True
    with dask.config.set({**CONFIG, **settings}):
        try:
            asyncio.run(_join(options) if options.join else _serve(options))
        except ZImageError as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit(130)


async def _serve(options: argparse.Namespace) -> None:
    security = Security.temporary()
    host = options.host or "127.0.0.1"
    scheduler = Scheduler(
        host=host,
        port=options.port,
        protocol="tls",
        security=security,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        preload=["zimage_kit.session.shared.broker"],
        local_directory=str(options.file.parent),
    )
    async with scheduler:
        scheduler.http_server.stop()  # Dask's pages do not require a certificate
        launch.write_session_file(options.file, scheduler.address, security)
        try:
            await _run_workers(scheduler.address, security, host, options.file.parent, scheduler)
        finally:
            launch.forget_session_file(options.file)


async def _join(options: argparse.Namespace) -> None:
    session = launch.read_session_file(options.join)
    Connection(session, lambda message: None, lambda: None).close()  # a first try: its errors are clearer than Dask's
    folder = launch.private_folder(launch.state_folder())
    await _run_workers(session.address, session.security(), options.host, folder)


async def _run_workers(address: str, security: Security, host: str | None, folder: Path, *servers: Any) -> None:
    """Run this machine's workers until a signal comes, one of `servers` has finished or the session is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def nanny(environment: dict[str, str]) -> Nanny:
        return Nanny(
            address,
            nthreads=1,
            memory_limit=0,
            host=host,
            protocol="tls",
            security=security,
            local_directory=str(folder),
            env=environment,
            preload=["zimage_kit.session.shared.worker"],
            dashboard_address="127.0.0.1:0",
            config=dask.config.config,
        )

    async def reachable() -> bool:
        with suppress(OSError):
            comm = await connect(address, timeout=1, **security.get_connection_args("worker"))
            await comm.close()
            return True
        return False

    devices = environments(dask.config.get("zimage.device"))
    workers = [_supervise(partial(nanny, each), reachable) for each in devices]
    ends = [asyncio.ensure_future(end) for end in (stop.wait(), *(server.finished() for server in servers), *workers)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    outcomes = await asyncio.gather(*ends, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _supervise(nanny: Callable[[], Nanny], reachable: Callable[[], Awaitable[bool]]) -> None:
    """Keep one worker running as long as the session can be reached.

    A nanny restarts a worker that dies, but gives up when one dies while it starts; then another nanny takes over.
    Raises the error of a worker that repeatedly fails to start.
    """
    failed = 0
    while True:
        one = nanny()
        try:
            await one
            failed = 0
            await one.finished()
        except Exception:
            failed += 1
            if failed == _STARTS:
                raise
        finally:
            with suppress(Exception):  # it may be gone already
                await one.close(timeout=2)
        if not await reachable():
            return


def environments(device: str | None) -> list[dict[str, str]]:
    """The environment of each worker on this machine: one for each GPU that may be used, or one for the CPU."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device is not None and not device.startswith("cuda"):
        cards = []
    elif allowed is not None:
        cards = [card.strip() for card in allowed.split(",") if card.strip() not in ("", "-1")]
    else:
        cards = [str(gpu.index) for gpu in list_gpus()[0]]
    if device is not None and "," in device:  # one worker for both
        pair = [int(part.partition(":")[2] or 0) for part in device.split(",")]
        cards = [",".join(cards[number] for number in pair if number < len(cards))]
    elif device is not None and ":" in device:
        cards = cards[int(device.partition(":")[2]) :][:1]
    if not cards:
        return [{}]
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the order in which the driver lists them
    return [{**order, "CUDA_VISIBLE_DEVICES": card} for card in cards]


if __name__ == "__main__":
    main()
