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
from .recipe.request import Lora, Request
from .stages.kinds import stages  # here, not lazily: it has the name of its room
from .stages.stage import Call, Context, Stage, stage

if TYPE_CHECKING:
    from .engine.events import Event
    from .grid import Grid
    from .library.library import Library
    from .library.library import Library as library
    from .models.spec import ModelSpec, register_model
    from .recipe.artifact import Artifact, Trace, Verdict
    from .recipe.artifact import read as open
    from .recipe.coach import coach
    from .recipe.presets import preset, presets, save_preset
    from .recipe.styles import save_style, styles
    from .session.connect import connect
    from .session.job import Job
    from .session.session import Session
    from .stages import contract

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "Call",
    "Context",
    "Event",
    "Field",
    "Grid",
    "Job",
    "Library",
    "Lora",
    "ModelSpec",
    "Request",
    "Session",
    "Stage",
    "Trace",
    "Verdict",
    "ZImageError",
    "coach",
    "connect",
    "contract",
    "library",
    "open",
    "preset",
    "presets",
    "register_model",
    "save_preset",
    "save_style",
    "stage",
    "stages",
    "styles",
]

_LAZY = {
    "Artifact": ("recipe.artifact", "Artifact"),
    "Event": ("engine.events", "Event"),
    "Grid": ("grid", "Grid"),
    "Job": ("session.job", "Job"),
    "Library": ("library.library", "Library"),
    "ModelSpec": ("models.spec", "ModelSpec"),
    "Session": ("session.session", "Session"),
    "Trace": ("recipe.artifact", "Trace"),
    "Verdict": ("recipe.artifact", "Verdict"),
    "coach": ("recipe.coach", "coach"),
    "contract": ("stages.contract", ""),
    "library": ("library", ""),
    "connect": ("session.connect", "connect"),
    "register_model": ("models.spec", "register_model"),
    "open": ("recipe.artifact", "read"),
    "preset": ("recipe.presets", "preset"),
    "presets": ("recipe.presets", "presets"),
    "save_preset": ("recipe.presets", "save_preset"),
    "save_style": ("recipe.styles", "save_style"),
    "styles": ("recipe.styles", "styles"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = import_module(f"{__name__}.{module}")
    value = getattr(value, attribute) if attribute else value
    globals()[name] = value
    return value


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext zimage_kit`: the magics `%%imagine` and `%imagine`."""
    from .notebook.magic import load

    load(shell)


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted([*__all__, "__version__"])
