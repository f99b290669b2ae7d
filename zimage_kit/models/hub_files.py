"""Files of a download on the disk: which names are accepted, what has arrived, and how a file gets to its place.

Nothing is written, replaced or deleted outside of the model's folder: a name that leads out is refused, and so is a
folder inside that is a link to somewhere else. A link in a file's place is replaced, and what it points to is left as
it is; in a hub's own cache, where every file is a link, the file behind it is replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

STAGING = ".zimage-arriving"
"""The folder in a model's folder where replacements arrive; an interrupted one is resumed there."""
ASIDE = ".aside"
"""Put after the name of what stood where a file or a folder belongs."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE)
_NOT_EVERYWHERE = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff<>:"|?*\\]')
_PART = re.compile(r"_\d+_\d+")
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a hub repository: its path there, size in bytes, and the sums that the hub gives.

    `sha256` of the content, `blob`: SHA-1 of the content as Git counts it (with a header).
    """

    path: str
    size: int
    sha256: str | None = None
    blob: str | None = None


def refused(paths: Sequence[str]) -> str:
    """What is wrong with the names of a listing, as "'…', which …"; "" if nothing is."""
    spelled: dict[str, str] = {}
    for path in paths:
        parts = re.split(r"[/\\]", path)
        if ".." in parts or "" in parts or ":" in parts[0]:
            return f"{path!r}, which is outside its own folder"
        names = path.split("/")
        if _NOT_EVERYWHERE.search(path) or any(n.endswith((".", " ")) or _RESERVED.fullmatch(n) for n in names):
            return f"{path!r}, which is not a file name on every system"
        folded = unicodedata.normalize("NFC", path).casefold()
        if folded in spelled:
            return f"{path!r} and {spelled[folded]!r}, which are one file on some systems"
        spelled[folded] = path
    for folded, path in spelled.items():
        above = next((str(p) for p in PurePosixPath(folded).parents if str(p) in spelled), None)
        if above is not None:
            return f"{path!r} and {spelled[above]!r}, which cannot both be there"
    return ""


def digest(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def git_blob(path: Path) -> str:
    """The SHA-1 by which Git names a file of this content."""
    sha1 = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            sha1.update(block)
    return sha1.hexdigest()


def judge(folder: Path, files: Sequence[RemoteFile], checksums: Mapping[str, str]) -> dict[str, str]:
    """Relative path -> ok, newer (not as the authors' MD5 `checksums` say, but as the hub does), broken or missing.

    Reads every file that has the right size.
    """

    def verdict(file: RemoteFile) -> str:
        path = folder / file.path
        if not os.path.lexists(path):
            return "missing"
        try:
            if not path.is_file() or path.stat().st_size != file.size:
                return "broken"
            expected = checksums.get(file.path)
            if expected is not None and digest(path, "md5") == expected:
                return "ok"
            if file.sha256 is not None:
                same = digest(path, "sha256") == file.sha256
            elif file.blob is not None:
                same = git_blob(path) == file.blob
            else:
                return "ok" if expected is None else "broken"
        except OSError:  # it cannot be read
            return "broken"
        return "broken" if not same else "ok" if expected is None else "newer"

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:  # hashlib releases the GIL
        return dict(zip((file.path for file in files), pool.map(verdict, files), strict=True))


def partial(path: Path) -> list[Path]:
    """What ModelScope's client leaves of a file that has not arrived whole."""
    names = [path.with_name(f"{path.name}{ending}") for ending in (".incomplete", ".parallel_tmp")]
    start = len(path.name)
    try:
        beside = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    except OSError:
        return []
    return [each for each in beside if each in names or _PART.fullmatch(each.name[start:])]


def is_partial(name: str) -> bool:
    """Whether a file of this name is part of another one, or was put aside."""
    return name.endswith((".incomplete", ".part", ".parallel_tmp", ASIDE)) or bool(re.search(r"\.\w+_\d+_\d+$", name))


def partial_bytes(folder: Path, file: RemoteFile) -> int:
    """Bytes of a file's parts that are on the disk."""
    parts = (each for each in partial(folder / file.path) if each.suffix != ".parallel_tmp" and not each.is_symlink())
    return min(file.size, sum(each.stat().st_size for each in parts if each.is_file()))


def leads_out(folder: Path, paths: Iterable[str]) -> Path | None:
    """A folder on the way to one of these files that is a link out of `folder`, if there is one."""
    root = folder.resolve()
    for above in sorted({above for path in paths for above in PurePosixPath(path).parents}):
        place = folder / above
        if place.is_dir() and not place.resolve().is_relative_to(root):
            return place
    return None


def hub_cache(folder: Path) -> Path | None:
    """The hub's own cache that this model's folder belongs to, if it does."""
    inside = folder.parent.name == "snapshots" and "--" in folder.parents[1].name
    return folder.parents[2] if inside else None


def can_arrive(folder: Path, path: str) -> bool:
    """Whether a client may write this file in its place: nothing is there yet, and no link or file is in the way."""
    place = folder / path
    notes = folder / ".cache" / "huggingface"  # where Hugging Face's client keeps some
    above = [notes.parent, notes, *(folder / each for each in PurePosixPath(path).parents)]
    in_the_way = any(os.path.lexists(each) and not each.is_dir() for each in above)
    odd_parts = any(each.is_symlink() or not each.is_file() for each in partial(place))
    return hub_cache(folder) is None and not (
        os.path.lexists(place) or in_the_way or odd_parts or any(_links(notes.parent))
    )


def _links(folder: Path) -> Iterator[Path]:
    """Links in a folder, which may be one itself."""
    if folder.is_symlink():
        yield folder
        return
    for place, folders, files in os.walk(folder):
        yield from (link for name in (*folders, *files) if (link := Path(place) / name).is_symlink())


def staging(folder: Path) -> Path:
    """The folder for replacements, made if need be. What is in it stays, unless there are links."""
    place = folder / STAGING
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    elif any(_links(place)):
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    return place


def put_in_place(staged: Path, folder: Path, file: RemoteFile) -> list[str]:
    """Move a file from staging to its place. What stood in the way and is no file of that name is renamed.

    Returns the new names of what was renamed, relative to `folder`.
    """
    place = folder / file.path
    above = [folder / each for each in reversed(PurePosixPath(file.path).parents)]
    renamed = [_set_aside(each) for each in above if os.path.lexists(each) and not each.is_dir()]
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        behind, cache = place.resolve(), hub_cache(folder)
        named_by_sum = place.readlink().name in (file.sha256, file.blob)
        if cache is not None and named_by_sum and behind.is_relative_to(cache.resolve()):
            behind.parent.mkdir(parents=True, exist_ok=True)
            place = behind
    elif place.is_dir():
        renamed.append(_set_aside(place))
    staged.replace(place)
    return [each.relative_to(folder).as_posix() for each in renamed]


def _set_aside(path: Path) -> Path:
    names = (path.with_name(f"{path.name}{f'-{n}' if n else ''}{ASIDE}") for n in count())
    return path.rename(next(name for name in names if not os.path.lexists(name)))
