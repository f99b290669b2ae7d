"""The error tree. Each error says in one line what was seen, what was expected and what to do.

    ZImageError
    ├── BadRequest            an invalid value, field, stage or size; found before anything is loaded
    │   └── UnknownModel      no such model name, and no such folder
    ├── ModelMissing          a known model whose files are missing or incomplete on this disk
    ├── DownloadFailed        the hub, the network or the disk stopped a download
    ├── EngineMissing         torch and what else draws is not in this installation, a light client
    ├── ExtensionProblem      an extension cannot be read or imported, or two of them claim one kind of stage
    ├── NoRecipe              a picture without the recipe that made it
    ├── CannotWrite           an output path that cannot be written
    ├── JobFailed             the job started and failed
    │   ├── OutOfMemory       the device has too little memory for this request
    │   └── NotFinite         the model produced NaN or infinity; the black picture is not shown
    ├── JobCancelled          the job was cancelled
    └── SessionDied           the session or its process is gone

`error.facts` holds the details (bytes, paths, tokens); `error.mend` is the sentence that says what to do.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

LONGEST_SENTENCE = 4000
"""Characters; longer texts are cut."""


def printable(value: object) -> str:
    """Any value as text that every file, socket and terminal accepts, cut at LONGEST_SENTENCE.

    A lone surrogate becomes its escape sequence; an object whose `__str__` raises becomes its class's name.
    """
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__} without words>"
    if len(text) > LONGEST_SENTENCE:
        text = f"{text[:LONGEST_SENTENCE]}…"
    return text.encode(errors="backslashreplace").decode()


class ZImageError(Exception):
    """The base class. `str(error)` is one line: "seen; expected …. mend". Pickling keeps the facts."""

    def __init__(self, seen: str, *, expected: str = "", mend: str = "", **facts: Any) -> None:
        seen, expected, mend = printable(seen), printable(expected), printable(mend)
        self.seen, self.expected, self.mend = seen, expected, mend
        self.facts: dict[str, Any] = facts
        line = f"{seen}; expected {expected}" if expected else seen
        super().__init__(" ".join(f"{line.rstrip('.')}. {mend}".split()) if mend else " ".join(line.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the parts, so that pickling keeps the facts."""
        return _rebuild, (type(self), self.seen, self.expected, self.mend, self.facts)

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the message and the line of the cell; for a failed job, its own traceback as well.

        ZIMAGE_DEBUG=1 shows the whole traceback.
        """
        if os.environ.get("ZIMAGE_DEBUG"):
            return traceback.format_exception(self)
        inside = str(self.facts.get("traceback", "")) if type(self) is JobFailed else ""
        cells = [frame for frame in traceback.extract_tb(self.__traceback__) if "ipykernel" in frame.filename]
        where = [f"  line {frame.lineno} of the cell: {frame.line}" for frame in cells[-1:] if frame.line]
        return [*inside.splitlines(), f"{type(self).__name__}: {self}", *where]


def _rebuild(cls: type[ZImageError], seen: str, expected: str, mend: str, facts: dict[str, Any]) -> ZImageError:
    return cls(seen, expected=expected, mend=mend, **facts)


class BadRequest(ZImageError):
    """An invalid value, field, stage or size."""


class UnknownModel(BadRequest):
    """No such model name, and no such folder."""


class ModelMissing(ZImageError):
    """A known model whose files are missing or incomplete on this disk. Facts: model, bytes, free_bytes, command."""


class DownloadFailed(ZImageError):
    """The hub, the network or the disk stopped a download."""


class EngineMissing(ZImageError):
    """Torch and what else draws is not in this installation: it is the light client."""


class ExtensionProblem(ZImageError):
    """An extension cannot be read or imported, or two stages claim one kind."""


class NoRecipe(ZImageError):
    """A picture without the recipe that made it."""


class CannotWrite(ZImageError):
    """An output path that cannot be written."""


class JobFailed(ZImageError):
    """The job started and failed. Facts: traceback (as text: frames would keep tensors alive)."""


class OutOfMemory(JobFailed):
    """The device has too little memory for this request. Facts: device, and bytes where they are known."""


class NotFinite(JobFailed):
    """The model produced NaN or infinity. Facts: step (0 = while decoding), dtype, device."""


class JobCancelled(ZImageError):
    """The job was cancelled."""


class SessionDied(ZImageError):
    """The session or its process is gone."""


INSTALL_ENGINE = 'pip install "zimage-kit[engine]"'


def engine_is_here() -> bool:
    """Whether this installation can draw, by whether torch is there. Imports nothing."""
    return find_spec("torch") is not None


def need_engine(what: str) -> None:
    """The one door to what draws: raise EngineMissing for `what` in a light client, else do nothing."""
    if not engine_is_here():
        mend = f"Run: {INSTALL_ENGINE}, or draw in a session elsewhere: ZIMAGE_SESSION names its scheduler.json."
        raise EngineMissing(f"{what} needs torch, which a light client does not have", mend=mend)


def closest(word: str, known: Iterable[str]) -> str:
    """`Did you mean …?` with the closest of `known`, or all of them if none is close."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Known: {', '.join(names)}." if names else "None are known."
