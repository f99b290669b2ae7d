"""Files: how a grid is saved and opened. Every kind but the table contains the grid's recipe and can be reopened.

The recipe is JSON: in a PNG as the text chunk `zimage_kit_grid`; in a JPEG as comments that begin with that name, in as
many segments of 64 KB as it takes; in a page as a script element of that name; in a .json by itself.
"""

from __future__ import annotations

import inspect
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest, CannotWrite, NoRecipe
from ..files import expanded, parsed_json, write_whole
from ..library.store import outputs_dir, slug_of
from ..recipe import png
from .embedding import OnPictures
from .jpeg import MARK, check_quality, comments, encode_jpeg, with_comments
from .sheet import MEGAPIXELS, Fit, layouts_of, render
from .table import to_csv

if TYPE_CHECKING:
    from PIL import Image

    from ..text.catalogues import Language
    from .cell_array import CellArray
    from .layout import Layout

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_LARGEST_RECIPE = 64 * 2**20  # bytes of a decompressed chunk


def save(grid: CellArray, path: Path, **options: Any) -> list[Path]:
    """Write the grid in the format of the path's extension; returns the files. Existing files are replaced.

    Several sheets become `name-1.png`, `name-2.png` … Raises CannotWrite for other extensions and for errors of the
    disk, BadRequest for an option that this format does not have.
    """
    path = expanded(path)
    if path.is_dir():
        raise CannotWrite(f"{path} is a folder", expected="a file name", mend=f"For example {path / 'grid.png'}.")
    if path.suffix.lower() not in WRITERS:
        known = ", ".join(WRITERS)
        raise CannotWrite(f"{path.name} ends in {path.suffix or 'nothing'}", expected=known, mend="Name another.")
    found = contents(grid, path.suffix.lower(), **options)
    paths = [path.with_name(name) for name in numbered_names(path.stem, path.suffix, len(found))]
    for target, content in zip(paths, found, strict=True):
        write_whole(target, content)
    return paths


def contents(
    grid: CellArray, ending: str, on_pictures: OnPictures = lambda done, count: None, **options: Any
) -> list[bytes]:
    """The grid as files of a kind in `WRITERS`, several where it takes several sheets. Raises BadRequest."""
    write = WRITERS[ending]
    known_options = list(inspect.signature(write).parameters)[2:]
    unknown = [name for name in options if name not in known_options]
    if unknown:
        has = ", ".join(known_options) or "none"
        raise BadRequest(f"option {unknown[0]!r} for a {ending} file", expected=f"one of its options ({has})")
    return list(write(grid, on_pictures, **options))


def numbered_names(stem: str, ending: str, count: int) -> list[str]:
    """Names for so many files: `stem.png` for one, `stem-1.png`, `stem-2.png` … for more."""
    return [stem + ending] if count == 1 else [f"{stem}-{number}{ending}" for number in range(1, count + 1)]


def dated_path(grid: CellArray) -> Path:
    """A free path in the outputs folder, by today's date and time: `YYYY-MM-DD/HHMMSS-grid-slug.png`."""
    now = datetime.now()
    stem = f"{now.strftime('%H%M%S')}-grid-{slug_of(grid.title or grid.plan.base.prompt) or 'sheet'}"
    folder = outputs_dir() / now.strftime("%Y-%m-%d")
    path, number = folder / f"{stem}.png", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.png", number + 1
    return path


def recipe_text(grid: CellArray) -> str:
    """The grid's recipe as compact JSON."""
    return json.dumps(grid.recipe(), ensure_ascii=False, separators=(",", ":"))


def _png_files(
    grid: CellArray,
    on_pictures: OnPictures,
    cell: int | None = None,
    label_size: float | None = None,
    max_megapixels: float = MEGAPIXELS,
    fit: Fit = "scale",
) -> Iterator[bytes]:
    from zimage_kit import __version__

    chunks = {png.GRID: recipe_text(grid), png.SOFTWARE: f"zimage_kit {__version__}"}
    layouts = layouts_of(grid, cell=cell, label_size=label_size, max_megapixels=max_megapixels, fit=fit)
    for sheet in _drawn(layouts, on_pictures):
        yield png.encode(sheet, chunks)


def _jpeg_files(
    grid: CellArray,
    on_pictures: OnPictures,
    cell: int | None = None,
    label_size: float | None = None,
    max_megapixels: float = MEGAPIXELS,
    fit: Fit = "scale",
    quality: int = 92,
) -> Iterator[bytes]:
    check_quality(quality)
    recipe = recipe_text(grid).encode()
    layouts = layouts_of(grid, cell=cell, label_size=label_size, max_megapixels=max_megapixels, fit=fit)
    for sheet in _drawn(layouts, on_pictures):
        yield with_comments(encode_jpeg(sheet, quality), recipe)


def _drawn(layouts: Sequence[Layout], on_pictures: OnPictures) -> Iterator[Image.Image]:
    """The sheets one after another."""
    done, count = 0, sum(len(layout.slots) for layout in layouts)

    def drawn() -> None:
        nonlocal done
        done += 1
        on_pictures(done, count)

    for layout in layouts:
        yield render(layout, drawn)


def _html_files(
    grid: CellArray,
    on_pictures: OnPictures,
    max_bytes: int = 80_000_000,
    quality: int = 88,
    language: Language | None = None,
) -> Iterator[bytes]:
    from .web_page import render_web_page

    yield render_web_page(grid, max_bytes=max_bytes, quality=quality, spoken=language, on_pictures=on_pictures)


def _csv_files(grid: CellArray, _: OnPictures, only: str | Sequence[str] | None = None) -> Iterator[bytes]:
    yield to_csv(grid, only).encode("utf-8-sig")  # with a byte order mark, by which Excel recognises UTF-8


def _json_files(grid: CellArray, _: OnPictures) -> Iterator[bytes]:
    yield (json.dumps(grid.recipe(), ensure_ascii=False, indent=1) + "\n").encode()


WRITERS: dict[str, Callable[..., Iterator[bytes]]] = {
    ".png": _png_files, ".jpg": _jpeg_files, ".jpeg": _jpeg_files, ".html": _html_files, ".csv": _csv_files,
    ".json": _json_files,
}  # fmt: skip
"""Writer by extension; its parameters after the first two are the options."""


def read_recipe_of_grid(path: Path) -> dict[str, Any]:
    """The recipe in a file that `save` wrote; the format is recognised by content, not by name.

    Raises NoRecipe for files without one, and BadRequest for a damaged one.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NoRecipe(f"there is no file {path}") from None
    except OSError as error:
        raise NoRecipe(f"{path} cannot be read ({error.strerror})") from None
    if content.startswith(_PNG):
        text = _from_png(path, content)
    elif content.startswith(_JPEG):
        text = b"".join(comment.removeprefix(MARK) for comment in comments(content))
    elif content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        text = content
    else:
        _, _, behind = content.partition(b'<script type="application/json" id="%s">' % MARK)
        text, end, _ = behind.partition(b"</script>")
        text = text if end else b""
    if not text:
        csv = " A table has no layout: session.grid(base, path) reads its axes." if path.suffix == ".csv" else ""
        raise NoRecipe(
            f"{path} holds no grid",
            expected="a .json, .png, .jpg or .html that grid.save wrote",
            mend=csv or "Editors, screenshots and most messengers strip the grid from a sheet.",
        )
    try:
        data = parsed_json(text)
        if not isinstance(data, dict) or "dimensions" not in data:
            raise ValueError("it has no dimensions")
        keys = data.get("cells") or []
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ValueError("its cells are no names")
    except ValueError as error:
        raise BadRequest(f"{path} is not a saved grid ({error})", mend="Give a file that grid.save wrote.") from None
    return data


def _from_png(path: Path, content: bytes) -> bytes:
    """The text of our chunk; empty without one. Raises NoRecipe for a single picture."""
    for kind, data in _chunks(content):
        if kind == b"iTXt":
            name, _, rest = data.partition(b"\0")
            if name == MARK:
                text = rest[2:].split(b"\0", 2)[-1]
                return _unfolded(text) if rest[:1] == b"\1" else text
            if name == png.RECIPE.encode():
                raise NoRecipe(f"{path} is one picture", expected="a grid", mend="zk.open(path) reads it.")
    return b""


def _unfolded(text: bytes) -> bytes:
    """A compressed text, as other programs write it; empty if it is damaged."""
    try:
        return zlib.decompressobj().decompress(text, _LARGEST_RECIPE)
    except zlib.error:
        return b""


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of each chunk of a PNG. Not by Pillow, which refuses pictures beyond 179 megapixels."""
    at = len(_PNG)
    while at + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        yield kind, content[at + 8 : at + 8 + length]
        at += 12 + length
