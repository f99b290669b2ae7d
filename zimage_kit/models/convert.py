"""Convert: a model's float32 weights to bfloat16 on disk, once, which halves them.

Only what is computed in bfloat16 is converted. A shard is written beside the old one, read back, and only then renamed
over it: whenever a conversion breaks off, every shard is whole, of one type or the other, and the model loads.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import BadRequest, CannotWrite, JobFailed
from ..files import expanded, parsed_json, write_whole
from ..text.units import gigabytes
from . import hub
from .directories import (
    INDEX,
    ORIGIN,
    content_fingerprint,
    conversion,
    convertible,
    fingerprint,
    float32_bytes,
    origin,
)
from .rounding import Received, read_back, rounded_size, write_rounded
from .spec import free_bytes
from .weights import header

SPARE_BYTES = 100_000_000
"""Left free on the disk."""


@dataclass(frozen=True)
class Work:
    """What a conversion has to do.

    `shards`: relative paths of the files to convert, `before` and `after` their bytes; `copied`: other files for
    `target`, where that is another folder. At most `needed` of the `free` bytes on its disk are used.
    """

    directory: Path
    target: Path
    shards: tuple[str, ...]
    before: int
    after: int
    copied: tuple[str, ...]
    needed: int
    free: int


def survey(directory: Path, to: Path | None = None) -> Work:
    """Find what there is to convert, in place or into the folder `to`.

    Raises BadRequest for links into a hub's cache (unless `to` is given) and for a `to` that holds something else, and
    CannotWrite where the disk has too little room.
    """
    directory = directory.absolute()
    target = directory if to is None else expanded(to).absolute()
    names = [path.relative_to(directory).as_posix() for path in convertible(directory)]
    copied: list[str] = []
    linked = [name for name in names if (directory / name).resolve() != directory.resolve() / name]
    if to is None and linked:
        raise BadRequest(
            f"{directory / linked[0]} is a link, as in a hub's cache, whose files other programs use too",
            mend="Give --to FOLDER: the copy is made there, and the cache stays as it is.",
        )
    if to is not None and names:
        _check_target(directory, target)
        files = (path.relative_to(directory).as_posix() for path in sorted(directory.rglob("*")) if path.is_file())
        whole = (name for name in files if "/." not in f"/{name}" and not name.endswith((".part", ".incomplete")))
        copied = [name for name in whole if name not in names and not (target / name).is_file()]
        names = [name for name in names if not (target / name).is_file()]
    size = {name: (directory / name).stat().st_size for name in (*names, *copied)}
    after = {name: size[name] - float32_bytes(directory / name) // 2 for name in names}
    needed = max(after.values(), default=0)
    if to is not None:
        apart = _device(target) != _device(directory.resolve())
        needed = sum(after.values()) + sum(size[name] for name in copied if apart or not _heavy(name))
    free = free_bytes(target)
    if needed and free < needed + SPARE_BYTES:
        raise CannotWrite(
            f"{gigabytes(needed + SPARE_BYTES)} are needed{' for a while' if to is None else ''}, "
            f"but the disk of {target} has only {gigabytes(free)} free",
            mend="Free some space." if to is None else "Free some space, or choose another disk with --to.",
            needed=needed,
            free=free,
        )
    before = sum(size[name] for name in names)
    return Work(directory, target, tuple(names), before, sum(after.values()), tuple(copied), needed, free)


def _check_target(directory: Path, target: Path) -> None:
    inside, outside = target.resolve(), directory.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise BadRequest(f"--to {target}", expected=f"a folder beside {directory}, neither in it nor around it")
    there = target.is_dir() and any(not path.name.startswith(".zimage") for path in target.iterdir())
    if (there or target.is_file()) and conversion(target).before != fingerprint(directory):
        raise BadRequest(f"{target} holds something else", expected="a new folder, or an unfinished copy of this model")


def _device(folder: Path) -> int:
    """The disk that `folder` is on, or will be on."""
    while not folder.exists():
        folder = folder.parent
    return folder.stat().st_dev


def _heavy(name: str) -> bool:
    return name.endswith(".safetensors")


def convert(
    directory: Path,
    to: Path | None = None,
    checksums: Mapping[str, str] | None = None,
    on_progress: hub.OnProgress | None = None,
) -> Work:
    """Convert a model's float32 weights in place, or into the folder `to`. Returns what was done.

    Run again, it goes on where it broke off. `checksums` (relative path to MD5): a file that differs is damaged, and is
    not converted. Raises BadRequest, CannotWrite, and JobFailed for damaged files.
    """
    work = survey(directory, to)
    if not work.shards and not work.copied:
        return work
    total = work.before + work.after + sum((directory / name).stat().st_size for name in work.copied)
    meter = hub.Meter(total, on_progress)
    try:
        work.target.mkdir(parents=True, exist_ok=True)
        with FileLock(work.target / ".zimage.lock", timeout=0):
            _convert(work, checksums or {}, lambda size: meter.received(None, size))
    except Timeout:
        raise BadRequest(f"{work.target} is being converted by another process", mend="Wait for it to end.") from None
    except OSError as error:
        raise CannotWrite(
            f"{work.target} cannot be written ({error.strerror or error})",
            mend="Every file there is whole. Once that is mended, run the same command again.",
        ) from None
    meter.finished()
    return work


def _convert(work: Work, checksums: Mapping[str, str], received: Received) -> None:
    noted = _Noted(work.directory, work.target)
    for path in sorted({path for name in work.shards for path in (work.directory / name).parent.glob("*.index.json")}):
        name = path.relative_to(work.directory).as_posix()  # first, since it may be out of date while shards are left
        content = _index(path) if work.target == work.directory or name in work.copied else None
        if content is not None:
            with _part(work.target / name) as part:
                write_whole(part, content)
                noted.place(name, part, hashlib.sha256(content).hexdigest())
    for name in work.shards:
        source = work.directory / name
        with _part(work.target / name) as part:
            read, meant = write_rounded(source, part, received)
            if name in checksums and (read or hub.digest(source, "md5")) != checksums[name]:
                raise JobFailed(
                    f"{source} is not the file that its authors published, and was left as it is",
                    mend="`zimage models download` fetches it again. If yours is newer, give its folder, not its name.",
                )
            if read_back(part, received) != meant:
                raise JobFailed(
                    f"{part} does not hold what was written; {source.name} was left as it is",
                    mend="The disk or the memory is failing: check both.",
                )
            shutil.copymode(source, part)
            noted.place(name, part, meant)
    for name in sorted(work.copied, key=lambda name: name == INDEX):  # last what makes the copy a model
        source, goal = work.directory / name, work.target / name
        received(source.stat().st_size)
        with _part(goal) as part:
            if goal.is_file():  # its index, written above
                continue
            if _heavy(name):
                with suppress(OSError):  # another disk, or a file system without hard links
                    part.hardlink_to(source.resolve())
            if not part.is_file():
                shutil.copyfile(source, part)
            if name == INDEX:
                noted.place(name, part)
            else:
                part.replace(goal)


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    """The name of the file that will become `path`; what was left of it by a killed process is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


class _Noted:
    """The record in ORIGIN, see `Conversion`. It is written before a file is renamed: no crash can come between."""

    def __init__(self, source: Path, target: Path) -> None:
        self._target, self._older = target, conversion(target)
        content = content_fingerprint(target)
        self._before, self._files = fingerprint(source), {**conversion(source).files, **self._older.files}
        self._states = list(self._older.states) if content in self._older.states else [content]
        self._other = {**origin(source), **origin(target)}
        self._write()

    def place(self, name: str, part: Path, sha256: str = "") -> None:
        """Rename `part` to the file `name` and note the state that this makes."""
        state = content_fingerprint(self._target, {name: part})
        if state in self._older.states:  # a file that was fetched again and converted again
            self._before, self._states = self._older.before, list(self._older.states)
        else:
            self._states.append(state)
        self._files |= {name: sha256} if sha256 else {}
        self._write()
        part.replace(self._target / name)

    def _write(self) -> None:
        note = {"before": self._before, "states": self._states, "files": self._files}
        write_whole(self._target / ORIGIN, json.dumps({**self._other, "converted": note}).encode())


def _index(path: Path) -> bytes | None:
    """A component's index with the size that its shards will have; None if it says that already, or no size."""
    try:
        index = parsed_json(path.read_bytes())
        shards = {path.parent / str(name) for name in index["weight_map"].values()}
        told = index.get("metadata", {}).get("total_size")
    except (ValueError, KeyError, AttributeError):
        raise JobFailed(f"{path} cannot be read", mend="Download it again.") from None
    tensors = (each for shard in shards for name, each in header(shard).items() if name != "__metadata__")
    total = sum(map(rounded_size, tensors))
    if told in (None, total):
        return None
    index["metadata"]["total_size"] = total
    return json.dumps(index, indent=2).encode() + b"\n"
