"""The outputs folder: where pictures go, what they are called, and how a file appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
import unicodedata
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CannotWrite

if TYPE_CHECKING:
    from .artifact import Artifact

_SLUG_LETTERS = 40
_TEMPORARY, _STALE_SECONDS = (".zimage-", ".part"), 3600.0


def outputs_dir() -> Path:
    """The folder of pictures: $ZIMAGE_OUTPUTS, else ~/zimage/outputs. Not created by asking."""
    return Path(os.environ.get("ZIMAGE_OUTPUTS") or "~/zimage/outputs").expanduser()


def path_for(artifact: Artifact, folder: Path | None = None) -> Path:
    """A free path for this picture: `YYYY-MM-DD/HHMMSS-seed-slug.png` in `folder` (the outputs folder), in local time.

    A number is put behind the slug when the name is taken.
    """
    made = datetime.fromisoformat(artifact.trace.created).astimezone()
    seed = "x" if artifact.request.seed is None else str(artifact.request.seed)
    slug = slug_of(artifact.request.prompt) or "picture"
    folder = (folder or outputs_dir()) / made.strftime("%Y-%m-%d")
    stem = f"{made.strftime('%H%M%S')}-{seed}-{slug}"
    path, number = folder / f"{stem}.png", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.png", number + 1
    return path


def slug_of(text: str) -> str:
    """Up to 40 letters of `text` that every file system takes: letters and digits of any script, hyphens between."""
    kept = [c if unicodedata.category(c)[0] in "LNM" else " " for c in unicodedata.normalize("NFC", text).lower()]
    words = "".join(kept).split()
    slug = "-".join(words)
    if len(slug) > _SLUG_LETTERS:
        cut = slug[: _SLUG_LETTERS + 1]
        slug = cut.rpartition("-")[0] if "-" in cut else cut[:_SLUG_LETTERS]
    return slug.encode()[:150].decode(errors="ignore").strip("-")


def check_picture_path(path: str | os.PathLike[str]) -> Path:
    """`path` with ~ expanded, once it names a PNG file. Raises CannotWrite for a folder and for other endings."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise CannotWrite(f"{path} is a folder", expected="a file name", mend=f"For example {path / 'picture.png'}.")
    if path.suffix.lower() != ".png":
        raise CannotWrite(
            f"{path.name} ends in {path.suffix or 'nothing'}",
            expected=".png, which carries the recipe",
            mend=f"Write {path.with_suffix('.png').name}, or artifact.image.save(…) for a picture without its recipe.",
        )
    return path


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Prove that a picture can be written to `path`, before anything is loaded; returns it with ~ expanded.

    Folders that do not exist yet are made when the picture is saved. Raises CannotWrite.
    """
    return check_writable_file(check_picture_path(path))


def check_writable_file(path: Path) -> Path:
    """The same for a file of any kind."""
    path = path.expanduser()
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        if not folder.is_dir():
            raise NotADirectoryError(20, "not a folder", str(folder))
        with tempfile.TemporaryFile(dir=folder):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "the file is write-protected", str(path))
    except OSError as error:
        raise _cannot_write(path, error) from None
    return path


def write_whole(path: Path, content: bytes, *, replace: bool = True, mode: int = 0o666) -> None:
    """Write a file so that it is there whole or not at all: temporary name beside it, flush to disk, rename.

    `mode` are its permissions, less what the umask takes away. With `replace` False an existing file is left alone and
    FileExistsError is raised. Raises CannotWrite.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        temporary = path.parent / secrets.token_hex(8).join(_TEMPORARY)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            _rename_new(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what a killed process left behind an hour ago or more."""
    for left in folder.glob("*".join(_TEMPORARY)):
        with suppress(FileNotFoundError):  # another process has just finished with it
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename without replacing, also when another process takes the name in the same moment."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(17, "exists", str(path)) from None
        temporary.replace(path)


def _cannot_write(path: Path, error: OSError) -> CannotWrite:
    reason = error.strerror or str(error)
    return CannotWrite(f"{path} cannot be written ({reason})", mend="Choose another path.", path=str(path))
