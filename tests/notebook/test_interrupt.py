"""The stop button of a notebook cancels the job that its cell waits for, however it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_async_kernel

from zimage_kit import Session
from zimage_kit.session.shared import launch
from zimage_kit.session.shared.shared_engine import SharedEngine

CELLS = [
    ("session.run(base, steps=200)", "KeyboardInterrupt"),
    ("await session.submit(base, steps=200)", "CancelledError"),
    ("for event in session.submit(base, steps=200).events(): pass", "KeyboardInterrupt"),
    ("session.submit(base, steps=200).result()", "KeyboardInterrupt"),
]


async def until(true: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    """Wait for a state of the session's."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def press_stop_in_each(model: str, state: Path) -> list[tuple[str, str, float]]:
    """For each cell: what it raised, and the seconds from the stop button until the session was idle again."""
    manager, client = await start_new_async_kernel(extra_arguments=["--log-level=40"])
    loop, seen = asyncio.get_running_loop(), []
    try:
        begin = f"import zimage_kit as zk; session = zk.connect(); base = zk.Request(prompt='a cat', model={model!r})"
        reply = await client.execute_interactive(f"{begin}; session.run(base, steps=1)", timeout=120)
        assert reply["content"]["status"] == "ok"
        watcher = Session(SharedEngine.at(state / launch.FILE), "watcher")
        for cell, _ in CELLS:
            ends = asyncio.create_task(client.execute_interactive(cell, timeout=120, output_hook=lambda message: None))
            await until(lambda: any(job.step for job in watcher.status().jobs), "the job runs")
            pressed = loop.time()
            await manager.interrupt_kernel()
            raised = (await ends)["content"].get("ename", "nothing")
            await until(lambda: not watcher.status().jobs, "the job is gone")
            seen.append((cell, raised, loop.time() - pressed))
        watcher.close()
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
    return seen


def test_the_stop_button_cancels_the_job_of_a_cell(model: str, running: Path) -> None:
    seen = asyncio.run(press_stop_in_each(model, running))
    assert [(cell, raised) for cell, raised, _ in seen] == CELLS
    assert max(seconds for *_, seconds in seen) < 4, f"a job went on: {seen}"  # 200 steps take five times as long
