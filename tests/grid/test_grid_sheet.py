"""Contact sheets: labels that can be read, pictures as they are, and no cell that says nothing."""

from __future__ import annotations

import io
import logging
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from difflib import SequenceMatcher

import pytest
from grids import coloured, finished
from PIL import Image, ImageChops

from zimage_kit.errors import BadRequest
from zimage_kit.grid import Grid
from zimage_kit.grid.labels import Footnotes, Letters, drawable
from zimage_kit.grid.layout import Layout, lay_out
from zimage_kit.grid.sheet import LARGEST_SIDE, draw_sheets
from zimage_kit.grid.sheet_content import sheet_content
from zimage_kit.recipe.request import Request
from zimage_kit.text import fonts

LEAST = 0.95  # of the characters; tesseract takes a few Chinese ones for their neighbours in the best of prints
MAGNIFICATIONS = (28, 32, 36, 40, 48)  # pixels of a character; tesseract was trained on scanned pages

Need = Callable[[object, str], None]

ENGLISH = (
    "A wide and quiet landscape in the late afternoon, seen from a hill: rice terraces filled with water mirror a pale "
    "sky, and far behind them the mountains dissolve into blue mist"
)
CHINESE = (
    "雪山下的蓝色房子，门前有一条小路，天空中飘着几朵白云，远处的湖面上停着一只黄色的小船。"
    "画面要安静，光线要柔和，用水墨画的方式画出来。"
)
NASTY = (
    "</script><script>alert(1)</script>",
    'quotes " and \' and `', "an emoji 🐈 and a flag 🇨🇳", "two\nlines\r\n\tof text",
    "two\nlines\u2028and\x85more\x0b", "\u202ereversed\u202c and \x00\x07 control",
    "word " * 400, "没有空格的一句很长很长的话" * 60, "x" * 2000, "",
)  # fmt: skip


@pytest.fixture
def chinese(need: Need) -> None:
    need(fonts.cjk_font(), "fonts-noto-cjk")


@pytest.fixture
def reader(need: Need) -> None:
    languages = ""
    if shutil.which("tesseract"):
        languages = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True).stdout
    need({"chi_sim", "eng"} <= set(languages.split()), "tesseract-ocr tesseract-ocr-chi-sim")


def plain(request: Request, index: int) -> Image.Image:
    """One grey, so that there is nothing to read in the pictures."""
    return Image.new("RGB", (request.width or 64, request.height or 64), "#777777")


def read(picture: Image.Image, language: str, letters: float) -> str:
    """What tesseract sees of labels of `letters` pixels; of several magnifications the reading next to all others.

    Without blanks and with one form of each punctuation mark.
    """
    seen = [_read_once(picture, language, size / letters) for size in MAGNIFICATIONS]
    return max(seen, key=lambda one: sum(alike(one, other) for other in seen))


def _read_once(picture: Image.Image, language: str, times: float) -> str:
    size = round(times * picture.width), round(times * picture.height)
    stream = io.BytesIO()
    picture.convert("L").resize(size, Image.Resampling.LANCZOS).save(stream, "PNG")
    command = ["tesseract", "-", "-", "-l", language, "--psm", "6"]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=stream.getvalue(), capture_output=True, check=True, env=environment)
    return characters(done.stdout.decode())


def characters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split()).translate(str.maketrans("。、“”‘’", ".,\"\"''"))


def alike(one: str, other: str) -> float:
    """1 for the same characters."""
    return SequenceMatcher(None, characters(one), characters(other), autojunk=False).ratio()


def layout(grid: Grid, cell: int = 256, letters: float = 15.0) -> Layout:
    told = sheet_content(grid)
    return lay_out(told, told.pages()[0], cell, letters)


def texts(layout: Layout) -> list[str]:
    """The labels, with their lines put together again."""
    return ["".join(text.label.lines).replace(" ", "") for text in layout.texts]


def has(sheet: Image.Image, colour: tuple[int, int, int]) -> bool:
    return any(found == colour for _, found in sheet.getcolors(1 << 24) or [])


# labels


@pytest.mark.usefixtures("chinese", "reader")
@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "eng"), (CHINESE, "chi_sim")], ids=["english", "chinese"])
@pytest.mark.parametrize("role", ["rows", "columns"])
def test_labels_are_read_back_in_both_languages_wherever_they_stand(text: str, language: str, role: str) -> None:
    grid = finished("x", picture=(256, 256), paint=plain, layout={role: "prompt"}, prompt=[text], seed=[1, 2])
    (sheet,) = draw_sheets(grid, label_size=24)
    found = layout(grid, 256, 24)
    whole = max(found.texts, key=lambda each: len("".join(each.label.lines)))
    label = whole.label
    left = whole.x - whole.align * label.width
    box = (left - 12, whole.y - 8, left + label.width + 12, whole.y + label.height + 8)
    seen = read(sheet.crop(tuple(round(side) for side in box)), language, 24)
    assert alike(seen, text) >= LEAST, seen


@pytest.mark.usefixtures("chinese", "reader")
def test_a_whole_sheet_is_read_back() -> None:
    prompts = ["a red balloon over the sea", "a white cat on the grass"]
    grid = finished("x", picture=(256, 256), paint=plain, title="Two scenes", prompt=prompts, seed=[11, 12])
    (sheet,) = draw_sheets(grid, label_size=20)
    seen = read(sheet, "eng", 20)
    for expected in ("Two scenes", "seed 11", "seed 12", "red balloon", "white cat"):
        assert characters(expected) in seen, seen


def test_a_label_that_is_too_long_stands_in_full_at_the_foot() -> None:
    grid = finished("x", layout={"columns": "prompt", "rows": "seed"}, prompt=[ENGLISH, "a cat"], seed=[1, 2])
    found = layout(grid, cell=64)
    (header,) = [each.label for each in found.texts if each.label.number]
    assert header.number == 1
    assert header.lines[-1].endswith("…")
    assert ENGLISH.replace(" ", "") in texts(found)
    assert ENGLISH.replace(" ", "").startswith("".join(header.lines)[:-1].replace(" ", ""))
    assert max(each.y + each.label.height for each in found.texts) <= found.height


def test_one_footnote_serves_every_place_of_the_same_label() -> None:
    notes, letters = Footnotes(), Letters(16)
    first, second = (notes.fit(ENGLISH, letters, 120, 2) for _ in range(2))
    assert (first.number, second.number, notes.texts) == (1, 1, [ENGLISH])
    assert notes.fit("short", letters, 120, 2).number == 0


@pytest.mark.usefixtures("chinese")
def test_chinese_breaks_by_its_rules_and_loses_nothing() -> None:
    letters = Letters(16)
    for width in range(40, 400, 7):
        lines = letters.wrapped(CHINESE, width)
        assert "".join(lines) == CHINESE
        assert not any(line[0] in "，。、；：！？）》」" for line in lines), lines
        assert all(letters.width(line) <= width for line in lines)


def test_english_breaks_between_words_and_divides_only_what_cannot_fit() -> None:
    letters = Letters(16)
    assert " ".join(letters.wrapped(ENGLISH, 200)) == ENGLISH
    lines = letters.wrapped("a " + "x" * 80, 100)
    assert "".join(lines) == "a" + "x" * 80
    assert all(letters.width(line) <= 100 for line in lines)


@pytest.mark.parametrize("text", NASTY)
def test_no_text_breaks_a_sheet(text: str, caplog: pytest.LogCaptureFixture) -> None:
    grid = finished("x", title=text, labels={"seed": [text, "plain"]}, seed=[1, 2], paint=plain)
    (sheet,) = draw_sheets(grid)
    assert sheet.width < 2000
    assert not any("\n" in line or "\x00" in line for each in layout(grid).texts for line in each.label.lines)


@pytest.mark.usefixtures("chinese")
def test_a_symbol_without_a_glyph_is_named_and_a_foreign_script_numbered() -> None:
    texts, notes = drawable(["a 🐈 here", "海上", "ⲁⲃⲅ"], "row")
    assert texts == ["a [cat] here", "海上", "row 3"]
    assert "row 3 is 'ⲁⲃⲅ'" in notes[0]
    assert "🐈" in notes[1]
    assert all(fonts.can_draw(text) for text in texts)


def test_without_a_chinese_font_labels_are_numbered_and_a_warning_says_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts, "cjk_font", lambda: None)
    grid = finished("x", prompt=["海上生明月", "a café – 256 × 256"], seed=[1, 2])
    with caplog.at_level(logging.WARNING, "zimage_kit"):
        draw_sheets(grid)
    found = texts(layout(grid))
    assert "row1" in found
    assert "acafe-256x256" in found
    (told,) = [record.getMessage() for record in caplog.records]
    assert "row 1 is '海上生明月'" in told
    assert fonts.MEND in told


# pictures


def test_every_picture_is_on_the_sheet_at_its_own_pixels() -> None:
    grid = finished("x", seed=range(3), steps=[4, 8])
    (sheet,) = draw_sheets(grid)
    found = layout(grid, 64, 14.0)
    assert len(found.slots) == 6
    for slot in found.slots:
        there = sheet.crop((slot.x, slot.y, slot.x + slot.width, slot.y + slot.height))
        assert slot.cell.artifact is not None
        assert ImageChops.difference(there, slot.cell.artifact.image).getbbox() is None
    assert [slot.cell.index for slot in found.slots] == list(range(6))


def test_mixed_sizes_keep_their_shape_and_do_not_touch() -> None:
    sizes = ["64x64", "96x64", "64x128"]
    found = layout(finished("x", size=sizes, seed=[1, 2]), cell=96)
    for slot, (width, height) in zip(found.slots[::2], ((96, 96), (96, 64), (48, 96)), strict=True):
        assert (slot.width, slot.height) == (width, height)
    boxes = [(slot.x, slot.y, slot.x + slot.width, slot.y + slot.height) for slot in found.slots]
    for index, one in enumerate(boxes):
        for other in boxes[:index]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_inner_pictures_stand_closer_than_cells() -> None:
    found = layout(finished("x", seed=[1, 2], steps=[2, 4], guidance=[0, 1], layout={"inner": "guidance"}), cell=64)
    first, second, third = found.slots[:3]
    assert second.x - (first.x + first.width) < (third.x - (second.x + second.width)) / 2
    assert {"guidance0", "guidance1"} <= set(texts(found))


def test_one_dimension_flows_in_lines_with_each_label_beneath_its_picture() -> None:
    found = layout(finished("x", seed=range(10)), cell=128)
    tops = sorted({slot.y for slot in found.slots})
    assert 2 <= len(tops) <= 3
    labels = {"".join(text.label.lines): text for text in found.texts}
    for slot in found.slots:
        label = labels[f"seed {slot.cell.values['seed']}"]
        assert abs(label.x - (slot.x + slot.width / 2)) <= 1
        assert slot.y + slot.height <= label.y < slot.y + slot.height + 40


def test_each_page_is_a_sheet_of_its_own_with_its_label() -> None:
    grid = finished("x", seed=[1, 2], steps=[2, 4], guidance=[0, 1, 2], layout={"pages": "guidance"})
    assert len(draw_sheets(grid)) == 3
    told = sheet_content(grid)
    assert [f"guidance{number}" in texts(lay_out(told, told.pages()[number], 64, 14)) for number in range(3)] == [
        True
    ] * 3


def test_what_failed_or_is_missing_says_so_and_is_never_blank() -> None:
    grid = finished("x", picture=(256, 256), seed=range(4), steps=[4, 8], failed=[1], missing=[2])
    grid.cells[3].state = "done"
    (grid.cells[3].path or grid.store.folder).unlink()
    (sheet,) = draw_sheets(grid)
    for slot in layout(grid, 256, 15.0).slots[1:4]:
        panel = sheet.crop((slot.x, slot.y, slot.x + slot.width, slot.y + slot.height))
        assert len(panel.getcolors(1 << 16) or []) > 20, f"letters on cell {slot.cell.index}"
    tiny = draw_sheets(grid, cell=16)[0]
    assert has(tiny, (0xA8, 0x44, 0x2A)), "a cross where no letters fit"


@pytest.mark.usefixtures("reader")
def test_a_failed_cells_error_can_be_read_on_the_sheet() -> None:
    grid = finished("x", picture=(320, 320), seed=range(2), steps=[4, 8], failed=[1], paint=plain)
    (sheet,) = draw_sheets(grid, label_size=22)
    slot = layout(grid, 320, 22).slots[1]
    seen = read(sheet.crop((slot.x, slot.y, slot.x + slot.width, slot.y + slot.height)), "eng", 22 * 0.84)
    assert "failed" in seen
    assert alike(seen, "failed" + str(grid.cells[1].error)) > 0.9, seen


def test_winner_and_rating_are_shown_outside_of_the_picture() -> None:
    before = draw_sheets(finished("x", seed=range(3), steps=[4]))[0]
    grid = finished("x", seed=range(3), steps=[4], ratings={0: 4}, winner=1)
    (after,) = draw_sheets(grid)
    gold = (0xB9, 0x8A, 0x2F)
    assert has(after, gold)
    assert not has(before, gold)
    for slot in layout(grid, 64, 14.0).slots:
        there = after.crop((slot.x, slot.y, slot.x + slot.width, slot.y + slot.height))
        assert slot.cell.artifact is not None
        assert there.tobytes() == slot.cell.artifact.image.tobytes()


def test_transparent_pictures_lie_on_white() -> None:
    def clear(request: Request, index: int) -> Image.Image:
        return Image.new("RGBA", (64, 64), (0, 0, 0, 0))

    grid = finished("x", seed=[1], steps=[4], paint=clear)
    slot = layout(grid, 64, 14.0).slots[0]
    assert draw_sheets(grid)[0].getpixel((slot.x + 5, slot.y + 5)) == (255, 255, 255)


# limits


def test_the_cap_scales_pictures_down_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    grid = finished("x", picture=(256, 256), seed=range(5), steps=[2, 4, 8])
    (whole,) = draw_sheets(grid)
    assert not caplog.records
    (scaled,) = draw_sheets(grid, max_megapixels=0.4)
    assert scaled.width * scaled.height <= 400_000 < whole.width * whole.height
    assert "pixels instead of 256" in caplog.text


def test_the_cap_spreads_over_sheets_with_headers_on_each(caplog: pytest.LogCaptureFixture) -> None:
    grid = finished("x", picture=(256, 256), seed=range(5), steps=list(range(1, 10)))
    sheets = draw_sheets(grid, max_megapixels=1.5, fit="pages")
    assert len(sheets) > 1
    assert all(sheet.width * sheet.height <= 1_500_000 for sheet in sheets)
    assert f"takes {len(sheets)} sheets instead of 1" in caplog.text


def test_a_sheet_that_cannot_be_scaled_enough_is_spread_over_several() -> None:
    grid = finished("x", seed=range(20), steps=list(range(1, 21)))
    sheets = draw_sheets(grid, max_megapixels=0.3)
    assert len(sheets) > 1
    assert all(sheet.width * sheet.height <= 300_000 for sheet in sheets)


def test_no_side_is_longer_than_a_jpeg_may_be() -> None:
    grid = finished("x", seed=range(600), steps=[4], layout={"columns": "seed", "rows": "steps"})
    sheets = draw_sheets(grid, cell=256, max_megapixels=2000)
    assert all(max(sheet.size) <= LARGEST_SIDE for sheet in sheets)
    assert sum(sheet.width for sheet in sheets) > 600 * 48


def test_the_same_grid_is_the_same_sheet() -> None:
    first, second = (draw_sheets(finished("x", title="海", seed=range(3), paint=coloured))[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("options", [{"cell": 4}, {"label_size": 2}, {"max_megapixels": 0}, {"fit": "crop"}])
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        draw_sheets(finished("x", seed=[1, 2]), **options)  # type: ignore[arg-type]
