"""Waiting for the jobs of a panel without a page."""

from __future__ import annotations

import threading
import time


def finish() -> None:
    """Until every picture is made, or has failed."""
    end = time.monotonic() + 60
    while any(thread.name == "zimage-job" for thread in threading.enumerate()):
        assert time.monotonic() < end, "a picture did not end"
        time.sleep(0.005)
