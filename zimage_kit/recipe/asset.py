"""Asset: an input file by its content. A recipe names it `asset:SHA256/where/it/was.png`; outputs folders keep it.

So a recipe with a mask or a photograph runs again after the file was moved, and on another machine that has the file;
where it is not there, or is another one by now, that is said. A stage's field takes a path or an asset if it has
`json_schema_extra={"format": "asset"}`; the stage opens `file_of(self.field)`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest, ZImageError, printable
from ..files import check_allowed, expanded, no_file, portable, write_whole

if TYPE_CHECKING:
    from .request import Request

FORMAT, PREFIX, FOLDER = "asset", "asset:", "assets"
LARGEST = 64 << 20
"""Bytes. A larger file stays a path."""
IN_TEXT = re.compile(rf"{PREFIX}([0-9a-f]{{64}})")
_WHOLE = re.compile(rf"{PREFIX}([0-9a-f]{{64}})(?:/(.*))?", re.DOTALL)
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


@dataclass(frozen=True)
class Asset:
    """An input: the SHA-256 of its bytes, and where it was, below "~" or "/"; or only its name, or nothing."""

    sha256: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{PREFIX}{self.sha256}/{self.origin.removeprefix('/')}".removesuffix("/")

    @property
    def name(self) -> str:
        """What people call it; its digest where it has no name."""
        return printable(PurePath(self.origin).name) or f"{self.sha256[:12]}…"

    @property
    def place(self) -> str:
        """Its path in a folder of assets: "3f/3fa9….png"."""
        suffix = PurePath(self.origin).suffix.lower()
        return f"{self.sha256[:2]}/{self.sha256}{suffix if _SUFFIX.fullmatch(suffix) else ''}"


def parsed(text: str | Path) -> Asset | None:
    """The asset that a field's text names; None for a path. Raises BadRequest for one without a whole digest."""
    text = text.as_posix() if isinstance(text, Path) else text
    found = _WHOLE.fullmatch(text)
    if not text.startswith(PREFIX):
        return None
    if found is None:
        raise BadRequest(f"{text[:80]!r} names no asset", expected="asset: and the 64 digits of a SHA-256")
    origin = found[2] or ""
    return Asset(found[1], origin if "/" not in origin or origin.startswith("~/") else f"/{origin}")


def of_file(path: Path) -> Asset | None:
    """The asset that a file is now; None for one above LARGEST. Raises OSError."""
    path = expanded(path).absolute()
    return Asset(sha256(path), portable(str(path))) if path.stat().st_size <= LARGEST else None


def is_field(info: Any) -> bool:
    """Whether a stage's field (pydantic's FieldInfo) takes assets."""
    extra = info.json_schema_extra
    return isinstance(extra, Mapping) and extra.get("format") == FORMAT


def named(request: Request) -> tuple[Asset, ...]:
    """The assets that a recipe's stages name, each once."""
    texts = [value for stage in request.stages for value in stage.fields().values() if isinstance(value, str)]
    return tuple(dict.fromkeys(found for text in texts if _WHOLE.fullmatch(text) and (found := parsed(text))))


def folder_of(outputs: Path | None = None) -> Path:
    """The folder of assets of an outputs folder, by default the user's."""
    from ..library.store import outputs_dir  # from a room above, only for its place

    return (outputs_dir() if outputs is None else outputs).absolute() / FOLDER


def store(content: bytes, name: str = "", outputs: Path | None = None) -> Asset:
    """Keep bytes in the outputs folder; `name` is what people read. Raises BadRequest above LARGEST, CannotWrite."""
    if len(content) > LARGEST:
        raise BadRequest(f"{name or 'the input'} has {len(content) >> 20} MiB", expected=f"at most {LARGEST >> 20}")
    asset = Asset(hashlib.sha256(content).hexdigest(), PurePath(name).name)
    put(folder_of(outputs), asset, content)
    return asset


def keep(asset: Asset, outputs: Path | None = None) -> Path:
    """Have an asset in the outputs folder, and its path there. Raises what `find` raises, and CannotWrite."""
    folder = folder_of(outputs)
    if (there := kept(folder, asset)) is not None:
        return there
    return put(folder, asset, find(asset, outputs).read_bytes())


def put(folder: Path, asset: Asset, content: bytes) -> Path:
    """Write an asset into a folder of assets; one that is there and whole stays. Raises BadRequest for other bytes."""
    if hashlib.sha256(content).hexdigest() != asset.sha256:
        raise BadRequest(f"the input {asset.name} has other content than its recipe says", asset=asset.sha256)
    if (there := kept(folder, asset)) is not None:
        return there
    path = folder / asset.place
    if link := next((each for each in (folder, path.parent) if each.is_symlink()), None):
        raise BadRequest(f"{link} is a link, and inputs are kept behind none", mend="Remove the link.")
    write_whole(path, content, mode=0o600)
    return path


_known: ContextVar[Mapping[str, Path]] = ContextVar("known_assets", default=MappingProxyType({}))


@contextmanager
def knowing(files: Mapping[str, Path]) -> Iterator[None]:
    """Context manager: inside, assets with these digests are these files, as a client sent them."""
    token = _known.set(files)
    try:
        yield
    finally:
        _known.reset(token)


def find(asset: Asset, outputs: Path | None = None) -> Path:
    """The file with an asset's content: in the outputs folder, or where it was. Read to be sure of it.

    Raises BadRequest where there is none, and says whether another file is in its place.
    """
    given = _known.get().get(asset.sha256)
    if given is not None and _is(given, asset):
        return given
    folders = dict.fromkeys((folder_of(outputs), folder_of()))
    for folder in folders:
        if (there := kept(folder, asset)) is not None:
            return there
    was = expanded(Path(asset.origin))
    if was.is_absolute() and _is(was, asset):
        return was
    at = next(iter(folders)) / asset.place
    changed = next((each for each in (at, was) if each.is_absolute() and _is_file(each)), None)
    seen = f"is not here: {changed} has other content" if changed else "is missing"
    raise BadRequest(
        f"the input {asset.name} (SHA-256 {asset.sha256}) {seen}",
        mend=f"Put the file at {at}, or: zimage recipe rerun PICTURE --input FILE.",
        asset=asset.sha256,
    )


def file_of(path: Path) -> Path:
    """The file that a field names, by its path or as an asset.

    Raises BadRequest for an asset that is not here, and for a path that may not be named.
    """
    asset = parsed(path)
    if asset is None:
        check_allowed(path)
        return expanded(path)
    return find(asset)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal; read again only when its size or time has changed. Raises OSError."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, changed: int, number: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False


def _is(path: Path, asset: Asset) -> bool:
    try:
        return _is_file(path) and path.stat().st_size <= LARGEST and sha256(path) == asset.sha256
    except OSError:
        return False


def kept(folder: Path, asset: Asset) -> Path | None:
    """The file in a folder of assets, whatever its ending; None where it is not, is another one, or behind a link."""
    parent = folder / asset.sha256[:2]
    if folder.is_symlink() or parent.is_symlink():
        return None
    with suppress(OSError):
        for path in (folder / asset.place, *parent.glob(f"{asset.sha256}*")):
            if not path.is_symlink() and _is(path, asset):
                return path
    return None


def limit(folder: Path, most: int, but: Iterable[Path] = ()) -> None:
    """Delete the assets of a folder that were used longest ago until the rest has at most so many bytes."""
    staying, size, files = set(but), 0, []
    for path in folder.glob("??/*"):
        with suppress(OSError):
            stat = path.lstat()
            files.append((stat.st_mtime, stat.st_size, path))
            size += stat.st_size
    for _, bytes_, path in sorted(files):
        if size <= most:
            return
        if path not in staying:
            with suppress(OSError):
                path.unlink()
                size -= bytes_


def used(path: Path) -> None:
    """Say that an asset of a limited folder was used."""
    with suppress(OSError):
        os.utime(path)


def keep_all(request: Request, outputs: Path | None = None) -> None:
    """Keep a recipe's inputs in the outputs folder, so that it runs again when they have moved. Warns of others."""
    for each in named(request):
        try:
            keep(each, outputs)
        except (ZImageError, OSError) as error:  # the picture is worth more
            logging.getLogger("zimage_kit").warning("The recipe will not run again as it is: %s", printable(error))


def give(request: Request, path: Path) -> Asset:
    """Keep a file that a recipe names and that was not here. Raises BadRequest for any other file."""
    wanted = {each.sha256: each for each in named(request)}
    if no_file(path := expanded(path)) or (found := of_file(path)) is None or found.sha256 not in wanted:
        names = ", ".join(f"{each.name} (SHA-256 {each.sha256[:12]}…)" for each in wanted.values())
        raise BadRequest(f"{path} is none of the recipe's inputs", expected=names or "a recipe with inputs")
    put(folder_of(), found, path.read_bytes())
    return wanted[found.sha256]


def without_origins(data: Any) -> Any:
    """A recipe's JSON in which assets are named by their content alone: where they were makes no difference."""
    if isinstance(data, dict):
        return {name: without_origins(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_origins(each) for each in data]
    found = _WHOLE.fullmatch(data) if isinstance(data, str) else None
    return data if found is None else f"{PREFIX}{found[1]}"


def compared(mine: Request, theirs: Request) -> Iterator[str]:
    """A sentence for each input that differs between the stages of two recipes, or is not here."""
    for number, (one, other) in enumerate(zip(mine.stages, theirs.stages, strict=False), 1):
        for field, value in one.fields().items() if one.kind == other.kind else ():
            pair = [
                each and parsed(each) if isinstance(each, str) else None for each in (value, other.fields().get(field))
            ]
            if pair[0] and pair[1] and pair[0].sha256 != pair[1].sha256:
                names = " and ".join(f"{each.name} ({each.sha256[:12]}…)" for each in pair if each)
                yield f"stage {number} {one.kind}: the input {field} differs: {names}"
    for each in dict.fromkeys((*named(mine), *named(theirs))):
        try:
            find(each)
        except BadRequest as error:
            yield error.seen
