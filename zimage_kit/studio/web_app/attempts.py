"""Attempts: who gives wrong tokens is not listened to for a while, so that none can be guessed.

With a token of 16 characters that are no words nobody guesses it anyhow; this is for shorter ones on this machine.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

WITHIN_SECONDS = 30.0
OF_ONE, OF_ALL = 5, 50
"""Wrong tokens within that time, of one address and of all together, after which no token is looked at."""
ADDRESSES = 1000


class Attempts:
    """Wrong tokens of late. Used in the server's one thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._all: deque[float] = deque()
        self._of: OrderedDict[str, deque[float]] = OrderedDict()

    def failed(self, address: str) -> None:
        """A wrong token came from there."""
        now = self._now()
        self._of.setdefault(address, deque()).append(now)
        self._of.move_to_end(address)
        self._all.append(now)
        while len(self._of) > ADDRESSES:
            self._of.popitem(last=False)

    def seconds_to_wait(self, address: str) -> float:
        """How long no token from there is looked at; 0 for one that is welcome."""
        now = self._now()
        waits = [0.0]
        for times, most in ((self._of.get(address, deque()), OF_ONE), (self._all, OF_ALL)):
            while times and now - times[0] >= WITHIN_SECONDS:
                times.popleft()
            if len(times) >= most:
                waits.append(WITHIN_SECONDS - (now - times[-most]))
        return max(waits)
