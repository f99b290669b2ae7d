"""Export: pictures copied into a folder or a zip file, with a contact sheet."""

from __future__ import annotations

import io
import secrets
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadRequest, CannotWrite
from ..files import check_writable_file, expanded, rename_new
from ..recipe import picture as pictures
from ..recipe.artifact import read_any
from .trash import inside

if TYPE_CHECKING:
    from PIL import Image

    from .found import Picture

SHEET = "contact-sheet.jpg"
_SIDE, _GAP, _COLUMNS, _MOST = 240, 12, 6, 600
"""Pixels of a picture on the sheet and between them; pictures in a row; the most on a sheet."""


def export(
    root: Path,
    chosen: Sequence[Picture],
    target: Path,
    sheet: bool,
    recipe: bool,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """See `Library.export`."""
    if not chosen:
        raise BadRequest("there are no pictures to export")
    target = expanded(target)
    zipped = target.suffix.lower() == ".zip"
    if not zipped and target.resolve().is_relative_to(root.resolve()):
        raise BadRequest(f"{target} is in the library itself", mend="Give a place outside, or the name of a .zip file.")
    if target.exists():
        raise BadRequest(f"{target} exists", mend="Give the name of a new folder or .zip file.")
    check_writable_file(target)
    part = target.with_name(f".{secrets.token_hex(6)}.part")
    small: list[Image.Image] = []
    try:
        with _Zip(part) if zipped else _Folder(part) as out:
            for done, (each, name) in enumerate(zip(chosen, _names(chosen), strict=True), 1):
                ending = inside(root, each.name).suffix.lower()
                out.add(name, each.path.read_bytes() if recipe else read_any(each.path).encoded(ending, recipe=False))
                if sheet and len(small) < _MOST:
                    small.append(_thumbnail(each.path))
                if on_progress is not None:
                    on_progress(done, len(chosen))
            if sheet:
                jpeg = io.BytesIO()
                contact_sheet(small).save(jpeg, "JPEG", quality=88)
                out.add(SHEET, jpeg.getvalue())
        if zipped:
            rename_new(part, target)
        else:
            part.rename(target)
    except OSError as error:
        of = f": {error.filename}" if error.filename else ""
        raise CannotWrite(
            f"{target} cannot be written ({error.strerror or error}{of})", mend="Choose another place."
        ) from None
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
    return target


class _Folder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> _Folder:
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None: ...

    def add(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)


class _Zip:
    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.zip = zipfile.ZipFile(file, "x", zipfile.ZIP_STORED)  # pictures are compressed already

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def add(self, name: str, content: bytes) -> None:
        self.zip.writestr(name, content)


def _names(chosen: Sequence[Picture]) -> list[str]:
    """The pictures' own names, each once."""
    taken: set[str] = {SHEET}
    found = []
    for each in chosen:
        name, number = each.path.name, 2
        while (alike := unicodedata.normalize("NFC", name).casefold()) in taken:
            name, number = f"{each.path.stem}-{number}{each.path.suffix}", number + 1
        taken.add(alike)
        found.append(name)
    return found


def _thumbnail(path: Path) -> Image.Image:
    try:
        with pictures.opened(path) as file:
            file.draft("RGB", (_SIDE, _SIDE))
            image = pictures.on_white(pictures.plain(file)[0])
    except pictures.UNREADABLE:
        from PIL import Image

        return Image.new("RGB", (_SIDE, _SIDE), "grey")
    image.thumbnail((_SIDE, _SIDE), reducing_gap=2.0)
    return image


def contact_sheet(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of at most 240 pixels a side in rows of six, each in the middle of its place."""
    from PIL import Image

    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    step = _SIDE + _GAP
    whole = Image.new("RGB", (columns * step + _GAP, rows * step + _GAP), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        left, top = _GAP + column * step, _GAP + row * step
        whole.paste(image, (left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2))
    return whole
