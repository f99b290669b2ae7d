"""Fonts with Chinese characters: a label is drawn with one or not at all, never as empty boxes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Container
from functools import cache
from pathlib import Path

from PIL import ImageFont

MEND = "Debian, Ubuntu: apt install fonts-noto-cjk. Elsewhere: install Noto Sans CJK, or name a font with ZIMAGE_FONT."

# In order of preference: sans before serif, one that the system brings before one that was added.
CJK_NAMES = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf",
    "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "msyh.ttc", "msyh.ttf", "simhei.ttf",
    "wqy-zenhei.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "NotoSerifCJK-Regular.ttc", "simsun.ttc",
)  # fmt: skip


def folders() -> list[Path]:
    """Where this system keeps fonts, its own and the user's."""
    home = Path.home()
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home))
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", local / "Microsoft/Windows/Fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"]


def files() -> list[Path]:
    """Every font file of this system, by name. Not cached: a font may have been installed meanwhile."""
    found = (path for folder in folders() if folder.is_dir() for path in folder.rglob("*.[to]t[fc]"))
    return sorted(found, key=lambda path: (path.name, path))


@cache
def cjk_font() -> Path | None:
    """A font file with Chinese characters, or None. `ZIMAGE_FONT` names one and is taken first."""
    named = os.environ.get("ZIMAGE_FONT")
    if named and Path(named).is_file():
        return Path(named)
    lies = {path.name: path for path in files()}
    return next((lies[name] for name in CJK_NAMES if name in lies), None)


def label_font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font for labels of `size` pixels: with Chinese characters where there is one, else Pillow's (Latin only)."""
    path = cjk_font()
    return ImageFont.truetype(path, size, index=_simplified(path)) if path else ImageFont.load_default(size)


@cache
def _simplified(path: Path) -> int:
    """The face of a collection whose ideographs have the shapes that mainland China writes; 0 where none says so."""
    for index in range(64):
        try:
            family = ImageFont.truetype(path, 16, index=index).getname()[0] or ""
        except OSError:
            break
        if "SC" in family.split():
            return index
    return 0


def can_draw(text: str) -> bool:
    """Whether `label_font` has every character of `text`."""
    return not lacking(text)


def lacking(text: str) -> tuple[str, ...]:
    """The characters of `text` that `label_font` would draw as empty boxes, each once; blanks are none."""
    has = _covered(cjk_font())
    return tuple(dict.fromkeys(char for char in text if ord(char) not in has and not char.isspace()))


@cache
def _covered(path: Path | None) -> Container[int]:
    """Code points of the font at `path`, or of Pillow's own."""
    import uharfbuzz as hb  # type: ignore[import-untyped]

    if path is not None:
        return frozenset(hb.Face(hb.Blob.from_file_path(path), _simplified(path)).unicodes)
    own = ImageFont.load_default(16)
    file = getattr(own, "path", None)
    if not isinstance(file, io.BytesIO):
        return range(0x100)  # Pillow without FreeType: its bitmap font has Latin-1
    return frozenset(hb.Face(hb.Blob(file.getvalue())).unicodes)
