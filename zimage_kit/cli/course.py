"""The course: its notebooks in a checkout or in an installed package, and a copy of them for the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CannotWrite, ZImageError
from ..files import expanded, write_whole
from ..text.catalogues import language

FIRST = "01_first_picture.ipynb"
_CHECKOUT = Path(__file__).resolve().parents[2] / "notebooks"
_INSTALLED = Path(__file__).resolve().parent / "course_notebooks"
"""Where the package has them, which is read only: people get a copy."""


@dataclass
class Copied:
    """Notebooks by their names in the folder: written, there already with the same content, and left as they are."""

    written: list[Path] = field(default_factory=list)
    same: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def source() -> Path:
    """The folder that holds the course, the Chinese notebooks in `zh` beneath it. Raises ZImageError."""
    for folder in (_CHECKOUT, _INSTALLED):
        if (folder / FIRST).is_file():
            return folder
    raise ZImageError("the course's notebooks are not in this installation", mend="Install zimage_kit again.")


def opened() -> Path:
    """What `zimage lab` opens by default: the checkout's notebooks, else ./notebooks, else the current folder."""
    return _CHECKOUT if _CHECKOUT.is_dir() else Path("notebooks") if Path("notebooks").is_dir() else Path.cwd()


def first(folder: Path) -> str | None:
    """The notebook to begin with, relative to the folder, in the user's language where it is there; None: none is."""
    names = [f"{language()}/{FIRST}", FIRST]
    return next((name for name in names if (folder / name).is_file()), None)


def copy(target: Path) -> Copied:
    """Copy the course into a folder, which is made if it is missing. A file that is there stays as it is.

    Raises CannotWrite.
    """
    target, copied = expanded(target), Copied()
    if target.exists() and not target.is_dir():
        raise CannotWrite(f"{target} is a file", expected="a folder")
    folder = source()
    for path in sorted([*folder.glob("*.ipynb"), *folder.glob("zh/*.ipynb")]):
        name, content = path.relative_to(folder), path.read_bytes()
        try:
            write_whole(target / name, content, replace=False)
            copied.written.append(name)
        except FileExistsError:
            (copied.same if (target / name).read_bytes() == content else copied.kept).append(name)
    return copied
