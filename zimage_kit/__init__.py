"""zimage_kit: a workbench for Z-Image-Turbo. One resident pipeline, and every picture carries its recipe.

    import zimage_kit as zk
    session = zk.connect()
    session.run("a red balloon over the sea", seed=7).save()

Importing this loads neither torch nor diffusers: what is heavy is imported when it is first used, in the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import Field

from .errors import ZImageError
from .request import Lora, Request
from .stage import Call, Context, Stage, stage  # here, not lazily: the decorator has the name of its module

if TYPE_CHECKING:
    from .artifact import Artifact, Trace, Verdict
    from .artifact import read as open
    from .events import Event
    from .extensions import stages
    from .grid import Grid
    from .job import Job
    from .models import ModelSpec
    from .session import Session, connect

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "Call",
    "Context",
    "Event",
    "Field",
    "Grid",
    "Job",
    "Lora",
    "ModelSpec",
    "Request",
    "Session",
    "Stage",
    "Trace",
    "Verdict",
    "ZImageError",
    "connect",
    "open",
    "stage",
    "stages",
]

_LAZY = {
    "Artifact": ("artifact", "Artifact"),
    "Event": ("events", "Event"),
    "Grid": ("grid", "Grid"),
    "Job": ("job", "Job"),
    "ModelSpec": ("models", "ModelSpec"),
    "Session": ("session", "Session"),
    "Trace": ("artifact", "Trace"),
    "Verdict": ("artifact", "Verdict"),
    "connect": ("session", "connect"),
    "open": ("artifact", "read"),
    "stages": ("extensions", "stages"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext zimage_kit`: the magics `%%imagine` and `%imagine`."""
    from .magic import load

    load(shell)


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted([*__all__, "__version__"])
