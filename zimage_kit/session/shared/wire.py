"""Converts what crosses between processes to plain values (numbers, text, lists, dicts, bytes): no pickle, no tensor.

A task goes in; events and one outcome come back: an artifact as its pixels and recipe, or an error in its parts.
"""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import errors
from ...engine.events import Event
from ...engine.preflight import named_files
from ...engine.task import Task
from ...errors import BadRequest, JobFailed, ZImageError, printable
from ...files import content_digest
from ...models.spec import ModelSpec, registered
from ...recipe.artifact import Artifact, Trace
from ...recipe.request import Request
from ...stages.extensions import roots_given
from . import transit

if TYPE_CHECKING:
    from PIL import Image

Message = dict[str, Any]


PROTOCOL = 5
"""Increased when the messages change. Programs and sessions with different numbers refuse each other."""


@cache
def machine() -> str:
    """Identifies processes that see the same disk: by host name, this boot of the machine, and the root folder.

    Two containers or machines may have the same host name, but not the same root folder.
    """
    root = os.stat("/")  # noqa: PTH116
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = str(uuid.getnode())
    return f"{platform.node()} {boot} {root.st_dev}:{root.st_ino}"


def task_out(task: Task, *, elsewhere: bool = False) -> Message:
    """A task as a message. The result of the check is not sent: the worker checks against its own disk.

    Files that the recipe names are sent as absolute paths with their digests; its inputs too, and with their bytes if a
    worker may be `elsewhere`. Raises what `named_files` and `assets_out` raise.
    """
    here = task.checked is None or task.checked.directory is not None
    files = named_files(task.request, task.checked.spec if task.checked else None) if here else {}
    return {
        "id": task.id,
        "request": task.request.model_dump_json(),
        "picture": None if task.picture is None else _pixels(task.picture),
        "trace": task.trace.model_dump_json(),
        "notes": list(task.checked.notes) if task.checked else [],
        "derived": list(task.checked.derived) if task.checked else [],
        "done": task.done,
        "fresh": task.fresh,
        "keep": task.keep,
        "priority": task.priority,
        "look": task.look,
        "folder": None if task.folder is None else str(task.folder),
        "machine": machine(),
        "extensions": [str(root) for root in roots_given()],
        "files": {name: [str(path), held] for name, (path, held) in files.items()},
        "assets": transit.assets_out(task.request, with_bytes=elsewhere),
        "models": [spec.model_dump_json() for spec in registered()],
    }


def task_in(message: Message) -> Task:
    """The task of a message, to be checked where it will run. Folders are dropped on another machine.

    Raises BadRequest for a file that is missing or different here, and for an input that is not what it claims to be.
    """
    here = message["machine"] == machine()
    folder = message["folder"] if here else None
    return Task(
        id=message["id"],
        request=request_in(message["request"]),
        picture=None if message["picture"] is None else _image(message["picture"]),
        trace=Trace(**json.loads(message["trace"])),
        folder=None if folder is None else Path(folder),
        roots=tuple(Path(root) for root in message["extensions"]) if here else None,
        files=dict(_files_in(message["files"])),
        assets=transit.assets_in(message["assets"], here=here),
        models=tuple(ModelSpec(**json.loads(spec)) for spec in message["models"]),
        **{name: message[name] for name in ("done", "fresh", "keep", "priority", "look")},
    )


def _files_in(files: Message) -> Iterator[tuple[str, Path]]:
    """The files that a recipe names and that have the same content here. A LoRA's bare name is looked up later."""
    for name, (path, held) in files.items():
        file = Path(path)
        if file.is_file() and content_digest(file) == held:
            yield name, file
        elif Path(name).is_absolute():
            seen = "has other content" if file.is_file() else "does not exist"
            raise BadRequest(
                f"{path} {seen} on the worker's machine", mend="Copy the file to the same place there.", path=path
            )


def request_in(text: str) -> Request:
    """A request from its JSON."""
    return Request(**json.loads(text))


def event_out(event: Event) -> Message:
    """An event as a message, without fields that are not set."""
    return {name: value for name, value in vars(event).items() if value is not None and value != ""}


def event_in(message: Message) -> Event:
    """The event of a message."""
    return Event(**message)


def outcome_out(outcome: Artifact | ZImageError) -> Message:
    """An artifact with raw pixels (a client encodes the PNG if it needs one), or an error."""
    if isinstance(outcome, ZImageError):
        return error_out(outcome)
    return {
        "request": outcome.request.model_dump_json(),
        "trace": outcome.trace.model_dump_json(),
        "picture": _pixels(outcome.image),
        "path": None if outcome.path is None else str(outcome.path),
    }


def outcome_in(message: Message) -> Artifact | ZImageError:
    """The artifact or error of a message."""
    if "error" in message:
        return error_in(message)
    request, trace = request_in(message["request"]), Trace(**json.loads(message["trace"]))
    artifact = Artifact(_image(message["picture"]), request, trace)
    artifact.path = None if message["path"] is None else Path(message["path"])
    return artifact


def error_out(error: ZImageError) -> Message:
    """An error in its parts. Facts that are not plain values (paths) become text, a user's subclass its base class."""
    facts = {printable(name): _plain(value) for name, value in error.facts.items()}
    name = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == errors.__name__)
    return {"error": name, "seen": error.seen, "words": [error.expected, error.mend], "facts": facts}


def _plain(value: Any) -> Any:
    """A fact as a value that every version reads: lists and mappings of numbers and text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {printable(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else printable(value)


def error_in(message: Message) -> ZImageError:
    """The error of a message, with its class."""
    cls = _classes().get(message["error"], JobFailed)
    expected, mend = message["words"]
    return cls(message["seen"], expected=expected, mend=mend, **message["facts"])


def _classes() -> dict[str, type[ZImageError]]:
    def below(cls: type[ZImageError]) -> Iterator[type[ZImageError]]:
        yield cls
        for child in cls.__subclasses__():
            yield from below(child)

    return {cls.__name__: cls for cls in below(errors.ZImageError) if cls.__module__ == errors.__name__}


def _pixels(image: Image.Image) -> Message:
    return {"mode": image.mode, "size": list(image.size), "pixels": image.tobytes()}  # 8 bits, row by row


def _image(message: Message) -> Image.Image:
    from PIL import Image

    return Image.frombytes(message["mode"], tuple(message["size"]), message["pixels"])
