"""The comparison sheet of `make demo`."""

from __future__ import annotations

import runpy
from pathlib import Path

from PIL import Image

from zimage_kit.text import fonts

SHEET = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts" / "demo_sheet.py"))


def test_the_sheet_holds_six_prompts_in_each_language_that_nano_knows_every_word_of() -> None:
    from zimage_kit.nano.lexicon import unknown_words

    pairs = SHEET["PAIRS"]
    assert len(pairs) == 6
    for english, chinese in pairs:
        assert english.isascii() and not chinese.isascii()
        assert unknown_words(english) == unknown_words(chinese) == []


def test_every_picture_has_its_label_beneath_it() -> None:
    red, blue = (Image.new("RGB", (320, 192), colour) for colour in ("red", "blue"))
    rows = [[(english, red), (chinese, blue)] for english, chinese in SHEET["PAIRS"]]
    sheet = SHEET["draw_sheet"](rows)
    margin, label, columns = SHEET["MARGIN"], SHEET["LABEL"], SHEET["COLUMNS"]
    width, height = 256, round(256 * 192 / 320)
    assert sheet.size == (columns * (width + margin) + margin, 3 * (height + label + margin) + margin)
    for number, (prompt, _) in enumerate(cell for row in rows for cell in row):
        x, y = margin + number % columns * (width + margin), margin + number // columns * (height + label + margin)
        assert sheet.getpixel((x + width // 2, y + height // 2)) in ((255, 0, 0), (0, 0, 255))
        beneath = sheet.crop((x, y + height + 1, x + width, y + height + label))
        written = len(beneath.getcolors(100_000) or ()) > 1
        assert written == fonts.can_draw(prompt), prompt
