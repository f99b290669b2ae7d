"""Which panes there are: the studio's own, and those of extensions, found as stages are.

An extension's panes.py is imported here alone, never by a session's worker or the command line.
"""

from __future__ import annotations

import importlib

from ...errors import ExtensionProblem, ZImageError
from ...stages.extensions import Extension, discover, load
from .compare.pane import ComparePane
from .grid.pane import GridPane
from .library.pane import LibraryPane
from .pane import Pane
from .queue.pane import QueuePane
from .tray.pane import TrayPane

BUILT_IN: tuple[type[Pane], ...] = (ComparePane, TrayPane, QueuePane, LibraryPane, GridPane)
"""In the order in which they stand in the page."""


def pane_classes() -> tuple[list[type[Pane]], list[ZImageError]]:
    """All panes, those of extensions last; and what is wrong with those that cannot be used."""
    found, problems = list(BUILT_IN), list[ZImageError]()
    for extension in discover():
        if not extension.panes:
            continue
        try:
            found += _panes_of(extension, {pane.name for pane in found})
        except ZImageError as error:
            problems.append(error)
    return found, problems


def _panes_of(extension: Extension, taken: set[str]) -> list[type[Pane]]:
    """An extension's panes. Raises ExtensionProblem, and then none of them is used."""
    package = load(extension).__name__
    try:
        module = importlib.import_module(f"{package}.panes")
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ExtensionProblem(f"extension {extension.name}: its panes.py does not load: {reason}") from error
    defined = {each.name: each for each in vars(module).values() if _is_pane(each, module.__name__)}
    for name in extension.panes:
        if name not in defined:
            raise ExtensionProblem(
                f"extension {extension.name} names a pane {name!r}",
                expected=f"a class in panes.py with name = {name!r}",
                mend=f"panes.py has {', '.join(sorted(defined)) or 'none'}.",
            )
        if name in taken:
            raise ExtensionProblem(
                f"extension {extension.name}: there is a pane {name!r} already", mend="Choose another name."
            )
    return [defined[name] for name in extension.panes]


def _is_pane(found: object, module: str) -> bool:
    return isinstance(found, type) and issubclass(found, Pane) and found.__module__ == module and hasattr(found, "name")
