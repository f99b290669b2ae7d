"""What the tests of text_overlay need of the machine: fonts, and a program that reads pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ImageFont

from zimage_kit.text import fonts

Need = Callable[[object, str], None]


@pytest.fixture
def chinese(need: Need) -> None:
    """A font with Chinese characters."""
    need(fonts.cjk_font(), "fonts-noto-cjk")


@pytest.fixture
def colour_emoji(need: Need) -> None:
    """A font with emoji in colour."""
    need([path for path in fonts.files() if "emoji" in path.name.casefold()], "fonts-noto-color-emoji")


@pytest.fixture(scope="session")
def latin_font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A font file that has Latin letters and no Chinese: the one that Pillow brings."""
    path = tmp_path_factory.mktemp("fonts") / "Aileron-Regular.otf"
    path.write_bytes(ImageFont.load_default(20).path.getvalue())  # type: ignore[union-attr]
    return path
