"""Plain cell output beside a widget: what a saved notebook shows without a kernel, where widgets leave nothing behind.

Places are put into the cell's output once, in the kernel's main thread; pictures are put into them later, from any
thread, which is not possible for new output.
"""

from __future__ import annotations

import uuid
from typing import Any

from ...text.tables import notebook


class PlainOutput:
    """`count` places; the latest pictures take the places of the oldest ones."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._ids: list[str] = []
        self._next = 0

    @property
    def displayed(self) -> bool:
        """Whether there are places for pictures."""
        return bool(self._ids)

    def display(self) -> None:
        """Put new, empty places into the cell that is running; the ones before keep what they show."""
        shell = notebook()
        if shell is None:
            return
        self._ids, self._next = [f"zimage-{uuid.uuid4().hex}" for _ in range(self.count)], 0
        for place in self._ids:
            shell.display_pub.publish({}, {}, transient={"display_id": place})

    def show(self, bundle: dict[str, Any]) -> None:
        """Put a picture (data by mime type, as IPython displays it) into the next place."""
        shell = notebook()
        if shell is None or not self._ids:
            return
        place = self._ids[self._next % len(self._ids)]
        self._next += 1
        shell.display_pub.publish(bundle, {}, transient={"display_id": place}, update=True)
