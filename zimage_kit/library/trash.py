"""The trash: removed pictures wait in the library's folder `.trash`, from which they come back, for 30 days.

Each removal is a folder of its own, named by its time, in which files keep their place. Files are renamed, so this
takes no room and no time, and no link is followed.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import BadRequest, CannotWrite
from . import marks
from .scan import is_cell

FOLDER = ".trash"
KEPT = timedelta(days=30)
_FORM = "%Y%m%dT%H%M%S"


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
    for name in names:
        path = inside(root, name)
        if not path.is_file() or path.is_symlink():
            continue
        size += path.stat().st_size
        for each in _belonging(path, name):
            _move(each, root / FOLDER / batch / each.relative_to(root))
        moved.append(name)
    return Removal(batch, now, tuple(moved), size)


def restore(root: Path, name: str) -> tuple[str, ...]:
    """Put a removal's files back; the names of its pictures. One whose place is taken comes back beside it as NAME-2.

    Raises BadRequest for an unknown removal, and CannotWrite.
    """
    folder = root / FOLDER / name
    if _when(name) is None or not folder.is_dir():
        raise BadRequest(f"there is no removal {name!r} in the trash", mend="`zimage library trash` lists them.")
    back = []
    found = _pictures(folder)
    for picture in found:
        target, number = inside(root, picture), 2
        while target.exists():
            target, number = target.with_name(f"{Path(picture).stem}-{number}{target.suffix}"), number + 1
        source = folder / picture
        for each in _belonging(source, picture):
            _move(each, target.with_name(target.stem + each.name.removeprefix(source.stem)))
        back.append(target.relative_to(root).as_posix())
    shutil.rmtree(folder, ignore_errors=True)
    return tuple(back)


def removals(root: Path) -> list[Removal]:
    """What is in the trash, the latest first."""
    found = []
    with_times = ((each, _when(each.name)) for each in (root / FOLDER).glob("*-*") if not each.is_symlink())
    for folder, when in with_times:
        if when is not None and folder.is_dir():
            pictures = _pictures(folder)
            size = sum((folder / name).stat().st_size for name in pictures)
            found.append(Removal(folder.name, when, pictures, size))
    return sorted(found, key=lambda each: each.name, reverse=True)


def empty(root: Path, older_than: timedelta = KEPT) -> int:
    """Delete removals that are older; how many."""
    old = [each for each in removals(root) if datetime.now(UTC) - each.when > older_than]
    for each in old:
        shutil.rmtree(root / FOLDER / each.name, ignore_errors=True)  # which follows no links
    return len(old)


def inside(root: Path, name: str) -> Path:
    """The file of a picture by its name. Raises BadRequest if it leads out of the library, through a link too."""
    path = root / name
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise BadRequest(f"{name!r} is not in the library {root}")
    if not path.parent.resolve().is_relative_to(root.resolve()):
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
    from .scan import walk

    return tuple(sorted(name for _, _, found in walk(folder) for name in found.pictures))


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise CannotWrite(f"{source} cannot be moved to the trash or back ({error.strerror or error})") from None


def _when(name: str) -> datetime | None:
    try:
        return datetime.strptime(name.partition("-")[0], _FORM).replace(tzinfo=UTC)
    except ValueError:
        return None
