"""The trash: removed pictures wait in the library's folder `.trash`, from which they come back, for 30 days.

Each removal is a folder of its own, named by its time, in which files keep their place. Files are renamed, so this
takes no room and no time, and no link is followed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import BadRequest, CannotWrite
from ..files import rename_new
from . import marks
from .scan import is_cell, is_picture, walk

FOLDER = ".trash"
KEPT = timedelta(days=30)
_FORM = "%Y%m%dT%H%M%S.%f"
_NAME = re.compile(r"(\d{8}T\d{6}(?:\.\d{6})?)-\w+")


@dataclass(frozen=True)
class Removal:
    """What was removed together: its name, when, and the pictures by their names in the library."""

    name: str
    when: datetime
    pictures: tuple[str, ...]
    bytes: int

    @property
    def until(self) -> datetime:
        """When it is deleted."""
        return self.when + KEPT


def remove(root: Path, names: Sequence[str]) -> Removal:
    """Move pictures of a library, with what belongs to them, into its trash. Names that are gone are left out.

    Raises BadRequest for a name that leads out of the folder, and CannotWrite.
    """
    now = datetime.now(UTC)
    batch = f"{now.strftime(_FORM)}-{secrets.token_hex(3)}"
    moved, size = [], 0
    if (root / FOLDER).is_symlink():
        raise CannotWrite(f"{root / FOLDER} is a link, and the trash follows none", mend="Remove the link.")
    for name, path in [(name, inside(root, name)) for name in names]:  # all are checked before one is moved
        if not path.is_file():
            continue
        picture, *beside = reversed(_belonging(path, name))  # if it ends here, the marks wait where it comes back
        target = root / FOLDER / batch / name
        if _move(picture, target, Path.replace):
            size += target.stat().st_size
            moved.append(name)
            for each in beside:
                _move(each, target.with_name(each.name), Path.replace)
    return Removal(batch, now, tuple(moved), size)


def restore(root: Path, name: str) -> tuple[str, ...]:
    """Put a removal's files back; the names of its pictures. One whose place is taken comes back beside it as NAME-2.

    Raises BadRequest for an unknown removal, and CannotWrite.
    """
    folder = {each.name: each for each, _ in _folders(root)}.get(name)
    if folder is None:
        raise BadRequest(f"there is no removal {name!r} in the trash", mend="`zimage library trash` lists them.")
    back = []
    for picture in _pictures(folder):
        source, target, number = folder / picture, inside(root, picture), 2
        endings = {each: each.name.removeprefix(source.stem) for each in _belonging(source, picture)}
        while any(os.path.lexists(target.with_name(target.stem + ending)) for ending in endings.values()):
            target, number = target.with_name(f"{source.stem}-{number}{target.suffix}"), number + 1
        there = [_move(each, target.with_name(target.stem + ending), _rename) for each, ending in endings.items()]
        if there[-1]:
            back.append(target.relative_to(root).as_posix())
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # what is not ours stays
            Path(place).rmdir()
    return tuple(back)


def removals(root: Path) -> list[Removal]:
    """What is in the trash, the latest first."""
    found = []
    for folder, when in _folders(root):
        stamps = {name: stamp for _, _, content in walk(folder) for name, stamp in content.pictures.items()}
        if stamps:
            size = sum(stamp.bytes for stamp in stamps.values())
            found.append(Removal(folder.name, when, tuple(sorted(stamps)), size))
    return sorted(found, key=lambda each: each.when, reverse=True)


def empty(root: Path, older_than: timedelta = KEPT) -> int:
    """Delete removals that are older, for 0 all; how many."""
    now = datetime.now(UTC)
    old = [each for each, when in _folders(root) if not older_than or now - when > older_than]
    for each in old:
        shutil.rmtree(each, ignore_errors=True)  # which follows no links
    return sum(not each.exists() for each in old)


def inside(root: Path, name: str) -> Path:
    """The file of a picture by its name. Raises BadRequest if it leads out of the library, through a link too.

    Hidden files and what is no picture are refused as well: nobody would find them in the trash.
    """
    path = root / name
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise BadRequest(f"{name!r} is not in the library {root}")
    if not is_picture(name):
        raise BadRequest(f"{name!r} is not a picture of the library {root}")
    if path.is_symlink() or not path.parent.resolve().is_relative_to(root.resolve()):
        raise BadRequest(f"{name!r} leads out of the library {root} through a link")
    return path


def _belonging(path: Path, name: str) -> list[Path]:
    """A picture's file, its marks, and a cell's small picture and old rating; the picture last."""
    beside = [marks.sidecar(path)]
    if is_cell(name):
        beside += [path.with_suffix(".jpg"), path.with_suffix(".json")]
    return [each for each in beside if each != path and each.is_file() and not each.is_symlink()] + [path]


def _pictures(folder: Path) -> tuple[str, ...]:
    """The pictures of a removal: no sidecars, and no small pictures of cells."""
    return tuple(sorted(name for _, _, found in walk(folder) for name in found.pictures))


def _move(source: Path, target: Path, rename: Callable[[Path, Path], object]) -> bool:
    """Move a file; False if it is gone, as another process was faster."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        rename(source, target)
        return True
    except OSError as error:
        if not os.path.lexists(source):
            return False
        raise CannotWrite(f"{source} cannot be moved to the trash or back ({error.strerror or error})") from None


def _rename(source: Path, target: Path) -> None:
    try:
        rename_new(source, target)
    except FileExistsError:
        if not source.samefile(target):  # else another process is about to be done with it
            raise
    source.unlink(missing_ok=True)


def _folders(root: Path) -> Iterator[tuple[Path, datetime]]:
    """The folders of removals, and when each was; links are none."""
    if not (root / FOLDER).is_symlink():
        for folder in (root / FOLDER).glob("*-*"):
            if (found := _NAME.fullmatch(folder.name)) and not folder.is_symlink() and folder.is_dir():
                with suppress(ValueError):
                    yield folder, datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
