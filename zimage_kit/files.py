"""Files: atomic writes, checks that a path may be named or written before any work begins, digests of contents."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import BadRequest, CannotWrite

if sys.platform != "win32":
    import fcntl

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of the picture files that are written."""
OUTPUTS = "~/zimage/outputs"
"""The folder for pictures unless another is given."""
ALLOWED = "ZIMAGE_FILES"
"""The environment's name for folders, as in PATH: requests of this process name files in these only."""
_TEMPORARY = ".zimage-", ".part"
_LEFT_SECONDS, _STALE_SECONDS = 60.0, 3600.0
"""Ages from which a temporary file is removed: one that no process writes, and one of which that cannot be told."""

_TURN_SECONDS = 5.0


def expanded(path: Path) -> Path:
    """The path with ~ as the user's folder; as it is where there is no such user."""
    try:
        return path.expanduser()
    except (RuntimeError, ValueError):  # no such user; a name that no user can have
        return path


def no_file(path: Path) -> str:
    """Why this is no file: "does not exist" or "is a folder"; "" for a file. Never raises."""
    try:
        return "" if path.is_file() else "is a folder" if path.is_dir() else "does not exist"
    except OSError:  # a name that is too long
        return "does not exist"


def is_there(path: Path) -> bool:
    """Whether there is a file or a folder of this name. Never raises: a name that is too long is none."""
    try:
        return path.exists()
    except OSError:
        return False


def parsed_json(content: str | bytes) -> Any:
    """JSON of others. Raises ValueError for all that is none, and for what is nested deeper than can be read."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_allowed(path: Path) -> None:
    """Check that a request of this process may name a file or folder, whether it is there or not; see ALLOWED.

    Links are followed first. Raises BadRequest.
    """
    if (given := os.environ.get(ALLOWED)) is None:
        return
    folders = [Path(folder).resolve() for folder in given.split(os.pathsep) if folder]
    try:
        real = expanded(path).resolve()
        circle = real.is_symlink()  # as Python 3.13 leaves it; those before raise
    except (OSError, RuntimeError, ValueError):  # a circle of links, or no name of a file at all
        circle = True
    if circle or not any(real.is_relative_to(folder) for folder in folders):
        raise BadRequest(
            f"{path} is in none of the folders that may be named here",
            expected=", ".join(map(str, folders)),
            mend="Drop the file into the page, or start it with --files FOLDER.",
            path=str(path),
        )


def check_picture_path(path: str | os.PathLike[str]) -> Path:
    """Return `path` with ~ expanded if its ending is one of PICTURES. Raises CannotWrite for others, and folders."""
    path = expanded(Path(path))
    if no_file(path) == "is a folder":
        raise CannotWrite(f"{path} is a folder", expected="a file name", mend=f"For example {path / 'picture.png'}.")
    if path.suffix.lower() not in PICTURES:
        raise CannotWrite(
            f"{path.name} has " + (f"the suffix {path.suffix}" if path.suffix else "no suffix"),
            expected=".png, .jpg or .webp, which carry the recipe",
            mend=f"Use {path.with_suffix('.png').name}, or artifact.image.save(…) to save without the recipe.",
        )
    return path


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Check that a picture can be written to `path`, before anything is loaded. Returns it with ~ expanded.

    Missing folders are created when the picture is saved. Raises CannotWrite.
    """
    return check_writable_file(check_picture_path(path))


def check_writable_file(path: Path) -> Path:
    """Like `check_writable`, for a file of any type."""
    path = expanded(path)
    if no_file(path) == "is a folder":
        raise CannotWrite(f"{path} is a folder", expected="a file name", path=str(path))
    try:
        folder = path.absolute().parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(20, "not a folder", str(folder))
        with tempfile.TemporaryFile(dir=folder):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "the file is write-protected", str(path))
    except OSError as error:
        raise _cannot_write(path, error) from None
    return path


def make_folder(folder: Path) -> None:
    """Make a folder and what is missing above it. OUTPUTS is made for its owner only (0700). Raises OSError."""
    private = expanded(Path(OUTPUTS))
    if private in (folder, *folder.parents) and not private.exists():
        private.parent.mkdir(parents=True, exist_ok=True)
        private.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def write_whole(path: Path, content: bytes, *, replace: bool = True, mode: int = 0o666) -> None:
    """Write a file atomically: a temporary file beside it, flushed to disk, then renamed.

    `mode` is its permissions before the umask. With `replace` False an existing file is left alone and FileExistsError
    is raised. Raises CannotWrite.
    """
    try:
        make_folder(path.parent)
        _sweep(path.parent)
        temporary = path.parent / secrets.token_hex(8).join(_TEMPORARY)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            _lock(handle)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            rename_new(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left behind."""
    for left in folder.glob("*".join(_TEMPORARY)):
        with suppress(OSError):  # another process has just finished with it, or it is another user's
            age = abs(time.time() - left.stat().st_mtime)  # a clock may have been set back
            if age > _STALE_SECONDS or (age > _LEFT_SECONDS and _is_left(left)):
                left.unlink()


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Read, change and write files of a folder without another thread or process in between, if it does the same.

    Waits for its turn, five seconds at most: who stopped in the middle holds up nobody for ever. Where folders cannot
    be locked (Windows, some network drives) it does not wait.
    """
    until, handle = time.monotonic() + _TURN_SECONDS, -1
    with suppress(OSError):  # a folder that is not there says so when it is written to
        handle = os.open(folder, os.O_RDONLY)
    try:
        if handle >= 0 and sys.platform != "win32":
            with suppress(OSError):  # a file system without locks
                while not _taken(handle) and time.monotonic() < until:
                    time.sleep(0.005)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Mark a file as being written, until it is closed or this process ends. False: somebody else is writing it."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks
            return _taken(handle)
    return False


if sys.platform != "win32":

    def _taken(handle: int) -> bool:
        """Lock a file or folder until it is closed. False: somebody else has. Raises OSError where none can."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _is_left(path: Path) -> bool:
    """Whether it is known that nobody is writing a temporary file."""
    handle = os.open(path, os.O_RDWR)
    try:
        return _lock(handle)
    finally:
        os.close(handle)


def rename_new(temporary: Path, path: Path) -> None:
    """Give a file a name without replacing another; it may keep its old one too. Raises OSError."""
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


def portable(path: str) -> str:
    """A path that is safe to share: "~/…" for one below the home folder, which hides the user's name."""
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path.startswith(home + os.sep) and len(home) > 1 else path


def portable_text(text: str) -> str:
    """A sentence in which paths may stand, each as `portable` gives it."""
    home = str(Path.home())
    return text.replace(home + os.sep, "~" + os.sep) if len(home) > 1 else text


def portable_json(value: Any) -> Any:
    """JSON values with every path as `portable` gives it, also within keys that are JSON text themselves."""
    if isinstance(value, str):
        return portable(value)
    if isinstance(value, list | tuple):
        return [portable_json(each) for each in value]
    if isinstance(value, dict):
        below_home = json.dumps(str(Path.home()) + os.sep)[:-1]  # with the quote that begins a string
        return {key.replace(below_home, '"~' + os.sep): portable_json(each) for key, each in value.items()}
    return value


LARGEST_READ_WHOLE = 1 << 30
"""Bytes. A larger file's digest covers its size, its first MiB and 256 evenly spaced samples of 64 KiB."""


def content_digest(path: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file's content, whatever its name and place.

    Read again only when the size or modification time has changed. Raises OSError.
    """
    stat = path.stat()
    return _content_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _content_digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        if size <= LARGEST_READ_WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        digest = hashlib.sha256(f"{size}".encode() + file.read(1 << 20))
        for sample in range(256):
            file.seek(sample * (size - (1 << 16)) // 255)
            digest.update(file.read(1 << 16))
        return digest.hexdigest()[:16]
