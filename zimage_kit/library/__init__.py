"""Pictures on this disk: where they go and what they are called, and `zk.library()`, which finds them again."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .library import Library


class _Room(ModuleType):
    """The type of this package, which opens a library when it is called: `zk.library` names both."""

    def __call__(self, folder: Path | str | None = None, **options: Any) -> Library:
        """Open the library of a folder, by default the outputs folder; see `Library`."""
        from .library import Library

        return Library(folder, **options)

    def __reduce__(self) -> tuple[object, ...]:
        """As other modules travel with a function to a worker: by name."""
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Room
