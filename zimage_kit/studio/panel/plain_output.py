"""Plain cell output beside a widget, which a saved notebook shows without a kernel; widgets do not.

Placeholders are displayed once, in the kernel's main thread. Later any thread can put a picture into them, but only the
main thread can display new output.
"""

from __future__ import annotations

import uuid
from typing import Any

from ...text.tables import notebook


class PlainOutput:
    """`count` placeholders; the latest pictures replace the oldest ones."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._ids: list[str] = []
        self._next = 0

    @property
    def displayed(self) -> bool:
        """Whether placeholders have been displayed."""
        return bool(self._ids)

    def display(self) -> None:
        """Display new, empty placeholders in the running cell; earlier ones keep their pictures."""
        shell = notebook()
        if shell is None:
            return
        self._ids, self._next = [f"zimage-{uuid.uuid4().hex}" for _ in range(self.count)], 0
        for place in self._ids:
            shell.display_pub.publish({}, {}, transient={"display_id": place})

    def show(self, bundle: dict[str, Any]) -> None:
        """Show a picture (data by MIME type, as IPython displays it) in the next placeholder."""
        shell = notebook()
        if shell is None or not self._ids:
            return
        place = self._ids[self._next % len(self._ids)]
        self._next += 1
        shell.display_pub.publish(bundle, {}, transient={"display_id": place}, update=True)
