"""A panel that is closed: what comes late does nothing, and nothing is kept of it for the next panel of its cell."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ...errors import BadRequest

if TYPE_CHECKING:
    from .studio import Studio

P = ParamSpec("P")
T = TypeVar("T")
PARTS = ("form", "bar", "strip", "viewer", "problem", "question", "status_line", "panes", "texts", "_plain")
"""What a panel gives up for the next one of its cell: IPython's `Out` keeps every value that a cell has shown."""


class _Gone:
    """In the place of a part that was given up."""

    def __getattr__(self, name: str) -> Any:
        raise BadRequest("this panel was closed when its cell was run again", mend="Use the panel of the latest run.")

    __getitem__ = __getattr__


def while_open(work: Callable[Concatenate[Studio, P], T]) -> Callable[Concatenate[Studio, P], T | None]:
    """Decorator: a panel's method does nothing once the panel is closed; a thread or a timer may come late."""

    @wraps(work)
    def guarded(studio: Studio, /, *given: P.args, **named: P.kwargs) -> T | None:
        with studio.lock:
            return None if studio.closed else work(studio, *given, **named)

    return guarded


def give_up(studio: Studio) -> None:
    """Let go of the parts of a panel that is closed, with all that they show."""
    studio.children = []
    for part in PARTS:
        studio.__dict__[part] = _Gone()
