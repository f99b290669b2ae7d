"""text_overlay sets type: what its page promises, each sentence by rendering."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

import zimage_kit as zk
from zimage_kit import Context, Request
from zimage_kit.cli.run import parse_stage
from zimage_kit.errors import BadRequest
from zimage_kit.stages import contract, extensions
from zimage_kit.stages.extensions import build_stages
from zimage_kit.text import fonts
from zimage_kit.text import line_breaks as breaking

overlay = extensions.load_module("text_overlay")
from zimage_extensions.text_overlay import contrast, faces, layout, shaping  # noqa: E402

pytestmark = pytest.mark.usefixtures("chinese")

RECIPE = Request(prompt="a boat", model="nano", width=1024, height=768, steps=8, guidance=0.0, seed=7)
PLAIN: dict[str, Any] = {"colour": "white", "shadow": 0, "behind": "none", "outline": 0}
POEM = (
    "他说：“明月（月亮）几时有？”把酒问青天……《水调歌头》，苏轼于1076年作——共95字！"
    "不知天上宫阙、今夕是何年。「我欲乘风归去」，又恐琼楼玉宇；高处不胜寒。"
)


def flat(size: tuple[int, int] = (512, 512), colour: str = "black") -> Image.Image:
    return Image.new("RGB", size, colour)


def draw(image: Image.Image | None = None, /, notes: list[str] | None = None, **fields: Any) -> Image.Image:
    stage = zk.stages.text_overlay(**fields)
    told = notes if notes is not None else []
    return stage.after(image or flat(), Context(RECIPE.then(stage), note=told.append))


def ink(image: Image.Image | None = None, /, **fields: Any) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what plain white letters change."""
    image = image or flat()
    box = ImageChops.difference(image.convert("RGB"), draw(image, **{**PLAIN, **fields}).convert("RGB")).getbbox()
    assert box is not None, "nothing was drawn"
    return box


def shapes(text: str, vertical: bool = False, spacing: float = 0.0, font: str | None = None) -> list[shaping.Shape]:
    chosen = faces.Fonts(font, False, text)
    return [shaping.shape(piece, chosen, vertical, spacing) for piece in breaking.pieces(text)]


def lines_of(text: str, limit: float) -> list[str] | None:
    lines = layout.break_lines(shapes(text), limit, 0.0)
    return None if lines is None else [line.text for line in lines]


def error(**fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        draw(**fields)
    return str(caught.value)


def test_it_keeps_the_contract() -> None:
    contract.check("text_overlay")
    contract.check("text_overlay", {"text": "海上生明月", "rotation": 5, "place": "top"})


def range_of(field: Any) -> str:
    """`0 to 1`, from the limits of a field or of the type within `| None`."""
    limits = [*field.metadata]
    low, high = (next((getattr(each, name) for each in limits if hasattr(each, name)), None) for name in ("ge", "le"))
    return f"{low:g} to {high:g}" if low is not None and high is not None else ""


def table() -> str:
    """The fields as the page shows them."""
    rows = ["| field | default | range | meaning |", "|---|---|---|---|"]
    for name, field in overlay.TextOverlay.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`" if field.default != "" else '`""`'
        choices = [each for each in typing.get_args(field.annotation) if isinstance(each, str)]
        words = range_of(field) or ", ".join(f"`{each}`" for each in choices)
        rows.append(f"| `{name}` | {default} | {words} | {field.description} |")
    return "\n".join(rows)


def test_the_page_has_every_field() -> None:
    page = (Path(overlay.__file__).parent / "README.md").read_text("utf-8")
    assert table() in page, f"the table of fields in README.md has to be:\n{table()}"


def test_the_pictures_of_the_page_are_there_and_small() -> None:
    folder = Path(overlay.__file__).parent
    shown = re.findall(r"images/(\w+\.webp)", (folder / "README.md").read_text("utf-8"))
    assert sorted(shown) == sorted(path.name for path in (folder / "images").iterdir())
    assert all(path.stat().st_size < 150_000 for path in (folder / "images").iterdir())


# --- what defaults alone give


@pytest.mark.parametrize("side", [1024, 256])
def test_defaults_alone_give_a_title_of_the_right_size_inside_the_margin(side: int) -> None:
    left, top, right, bottom = ink(flat((side, side)), text="海上生明月", place="bottom")
    assert 0.45 < (right - left) / side < 0.6 and 0.08 < (bottom - top) / side < 0.12
    assert abs((left + right) / 2 - side / 2) < 0.01 * side, "centred"
    assert 0.05 < 1 - bottom / side < 0.08, "a margin below"


def test_the_trace_says_font_size_colour_and_contrast() -> None:
    notes: list[str] = []
    draw(notes=notes, text="海上生明月")
    (note,) = notes
    assert fonts.cjk_font() is not None and note.startswith("text_overlay: ")
    assert "53 px" in note and "white letters" in note and ":1" in note


# --- lines


@pytest.mark.parametrize("limit", [5, 6, 7.5, 8, 9, 10, 11, 12.25, 14, 17, 20, 33])
def test_chinese_breaks_by_character_and_heeds_the_rules_of_punctuation(limit: float) -> None:
    lines = lines_of(POEM, limit)
    assert lines is not None and "".join(lines) == POEM
    assert max(len(line) for line in lines) <= limit + 4, "compressed punctuation lets in a few more"
    for line in lines[1:]:
        assert line[0] not in "、。，．：；？！）》」』”’…—", line
    for line in lines[:-1]:
        assert line[-1] not in "（《「『“‘", line
    for pair in ("……", "——", "1076", "95"):
        assert any(pair in line for line in lines), f"{pair} was divided"


def test_english_breaks_between_words_only_and_after_hyphens() -> None:
    text = "The old lighthouse-keeper's boat, painted yellow, came home at a quarter past seven."
    for limit in (6, 8, 10, 14, 20, 60):
        lines = lines_of(text, limit)
        assert lines is not None and " ".join(lines).replace("- ", "-") == text
    assert lines_of("a lighthouse", 3) is None, "a word is never divided"


def test_mixed_text_breaks_at_both_and_has_a_thin_gap_between_scripts() -> None:
    assert lines_of("我爱Hello世界", 3) == ["我爱", "Hello", "世界"]
    whole = layout.break_lines(shapes("中a"), 99, 0.0)
    parts = sum(shape.advance for shape in shapes("中") + shapes("a"))
    assert whole is not None and whole[0].length == pytest.approx(parts + 0.25)
    spaced = layout.break_lines(shapes("中 a"), 99, 0.0)
    assert spaced is not None and spaced[0].length == pytest.approx(parts + shapes(" ")[0].advance), "no second gap"


def test_neighbouring_and_last_punctuation_loses_its_blank_half() -> None:
    def length(text: str) -> float:
        (line,) = layout.break_lines(shapes(text), 99, 0.0) or ()
        return line.length

    assert length("月。") == pytest.approx(1.5)
    assert length("（月") == pytest.approx(1.5)
    assert length("月。」月") == pytest.approx(3.5)
    assert length("月」「月") == pytest.approx(3.5)


def test_explicit_lines_are_kept_and_an_empty_one_counts() -> None:
    one = ink(text="月", size=0.1)
    assert ink(text="月\n月", size=0.1)[3] - ink(text="月\n月", size=0.1)[1] > 2 * (one[3] - one[1])
    apart = ink(text="月\n\n月", size=0.1, line_spacing=1.0)
    assert apart[3] - apart[1] == pytest.approx(2 * 0.1 * 512 + one[3] - one[1], abs=2)
    assert ink(text="月\\n月", size=0.1) == ink(text="月\n月", size=0.1), "as typed on a command line"


def test_lines_of_a_title_are_about_equally_long() -> None:
    whole = layout.balanced(shapes("海上生明月天涯共此时"), 8, 0.0)
    assert whole is not None and [line.text for line in whole] == ["海上生明月", "天涯共此时"]


@pytest.mark.parametrize("spacing", [0.0, 0.3])
def test_the_length_by_which_lines_break_is_the_length_they_have(spacing: float) -> None:
    paragraph = shapes("（“一” two  — 3%）。「『四』」 five-six ", spacing=spacing)
    for limit in (4, 5, 6, 8, 11, 30):
        for line in layout.break_lines(paragraph, limit, spacing) or ():
            assert line.length <= limit
            ends = [at + shape.advance for shape, at in line.shapes]
            assert line.length == pytest.approx(ends[-1] - spacing - line.shapes[-1][0].trail)


def test_kerning_is_the_fonts_own() -> None:
    (pair,) = shapes("AV")
    assert pair.advance < sum(shapes(letter)[0].advance for letter in "AV")


# --- size, box, place


def test_the_size_is_the_largest_that_fits_the_box() -> None:
    for box in ((0.1, 0.1, 0.9, 0.5), (0.3, 0.6, 0.7, 0.9), (0.0, 0.0, 0.25, 1.0)):
        left, top, right, bottom = ink(text="海上生明月天涯共此时", box=box, place="center")
        assert left >= box[0] * 512 - 1 and right <= box[2] * 512 + 1
        assert top >= box[1] * 512 - 1 and bottom <= box[3] * 512 + 1
    small, large = (ink(text="明月", box=(0, 0, side, side)) for side in (0.4, 0.8))
    assert (large[2] - large[0]) == pytest.approx(2 * (small[2] - small[0]), rel=0.05)
    notes: list[str] = []
    draw(notes=notes, text="月", box=(0, 0, 1, 1), place="center")
    assert "512 px" in notes[0], "one character fills a square"


@pytest.mark.parametrize("down", ["top", "", "bottom"])
@pytest.mark.parametrize("across", ["left", "", "right"])
def test_nine_places(down: str, across: str) -> None:
    place = "-".join(part for part in (down, across) if part) or "center"
    left, top, right, bottom = ink(text="明月", place=place, size=0.1)
    middle, height = (left + right) / 2 / 512, (top + bottom) / 2 / 512
    assert {"left": middle < 0.2, "": abs(middle - 0.5) < 0.02, "right": middle > 0.8}[across]
    assert {"top": height < 0.15, "": abs(height - 0.5) < 0.02, "bottom": height > 0.85}[down]


@pytest.mark.parametrize(("align", "side"), [("left", 0), ("right", 2), ("center", 1)])
def test_alignment(align: str, side: int) -> None:
    long, short = (ink(text=text, align=align, size=0.1, place="top") for text in ("明明明明明", "明明明明明\n明"))
    both = draw(text="明明明明明\n明", align=align, size=0.1, place="top", **PLAIN)
    below = both.crop((0, long[3] + 4, 512, 512)).getbbox()
    assert below is not None and short[0] == long[0]
    centre = (below[0] + below[2]) / 2
    wanted = [long[0] + 25, (long[0] + long[2]) / 2, long[2] - 25][side]
    assert centre == pytest.approx(wanted, abs=4)


def test_spacing_between_lines_and_letters_is_in_sizes() -> None:
    def extent(**fields: Any) -> tuple[int, int]:
        left, top, right, bottom = ink(**fields, size=0.1, place="center")
        return right - left, bottom - top

    em = 51.2
    assert extent(text="月\n月", line_spacing=2)[1] - extent(text="月\n月", line_spacing=1)[1] == pytest.approx(
        em, abs=1
    )
    assert extent(text="月月月", letter_spacing=0.5)[0] - extent(text="月月月")[0] == pytest.approx(em, abs=1)
    assert extent(text="moon", letter_spacing=0.5)[0] - extent(text="moon")[0] == pytest.approx(1.5 * em, abs=1)


def test_what_cannot_fit_is_an_error_with_the_numbers() -> None:
    line = error(text="长" * 4000)
    assert "4000 characters of 12 px need" in line and "at most 451 x 451 px" in line
    line = error(text="月" * 9, size=0.5)
    assert "9 characters of 256 px need" in line and "The largest size that fits is" in line
    assert "px in a line for 'incomprehensibilities'" in error(text="incomprehensibilities", box=(0, 0, 0.1, 1))
    assert "characters of 5.1 px; expected at least smallest=12 px" in error(text="x", size=0.01)


def test_smallest_is_the_size_below_which_nothing_is_drawn() -> None:
    text = "长" * 2000
    assert "need" in error(text=text)
    notes: list[str] = []
    draw(notes=notes, text=text, smallest=4)
    assert " px" in notes[0]


# --- columns


def test_columns_run_from_right_to_left_and_down() -> None:
    left, top, right, bottom = ink(text="明月几时有", direction="vertical", size=0.1, place="center")
    assert bottom - top > 4 * (right - left)
    both = draw(text="丨丨丨\n一", direction="vertical", size=0.1, place="center", **PLAIN)
    box = both.getbbox()
    assert box is not None
    first = both.crop(((box[0] + box[2]) // 2, 0, 512, 512)).getbbox()
    assert first is not None and first[3] - first[1] > 100, "the first paragraph is the right column"


def test_punctuation_in_columns_has_its_vertical_form() -> None:
    for mark in "，。（）《》「」—…：":
        (across,), (down,) = shapes(f"{mark}"), shapes(f"{mark}", vertical=True)
        if mark in "—…":  # alone they might be Latin
            (across, _), (down, _) = shapes(f"{mark}月"), shapes(f"{mark}月", vertical=True)
        same = [glyph.id for glyph in across.glyphs] == [glyph.id for glyph in down.glyphs]
        assert not same, f"{mark} lies as in a line"
    (comma, _), (dash, _) = shapes("，月", vertical=True), shapes("——月", vertical=True)
    assert comma.trail == 0.5 and dash.advance == pytest.approx(2.0)
    page = draw(text="月——月", direction="vertical", size=0.2, place="center", **PLAIN)
    middle = np.asarray(page.convert("L"))[256 - 85 : 256 + 85, 256 - 15 : 256 + 15].max(axis=1)
    assert (middle > 200).all(), "one dash two characters long, without a gap"


def test_latin_in_columns_is_turned_and_one_or_two_digits_stand() -> None:
    for text, turned in (("12", False), ("3", False), ("A", False), ("2026", True), ("Hello", True)):
        (shape,) = shapes(text, vertical=True)
        assert {glyph.turned for glyph in shape.glyphs} == {turned}, text
        assert shape.advance == 1.0 if not turned else shape.advance > 1.5
    narrow = ink(text="Illumination", direction="vertical", size=0.1, place="center")
    assert narrow[3] - narrow[1] > 4 * (narrow[2] - narrow[0])


def test_the_rules_of_punctuation_hold_in_columns() -> None:
    for limit in (5, 8, 11):
        lines = layout.break_lines(shapes(POEM, vertical=True), limit, 0.0)
        assert lines is not None
        assert not {line.text[0] for line in lines} & set("、。，：；？！）》」”…—")
        assert not {line.text[-1] for line in lines} & set("（《「“")


# --- fonts


def test_a_font_by_file_by_family_and_by_full_name(latin_font: Path) -> None:
    file = fonts.cjk_font()
    assert file is not None
    first = faces.faces_in(file)[0]
    family = first.family
    by_file, by_family = (draw(text="明月", font=name, weight="regular", **PLAIN) for name in (str(file), family))
    assert ImageChops.difference(by_file, flat()).getbbox() and ImageChops.difference(by_family, flat()).getbbox()
    notes: list[str] = []
    draw(notes=notes, text="moon", font=str(latin_font))
    assert notes[0].startswith("text_overlay: Aileron-Regular.otf;")
    assert draw(text="moon", font=str(latin_font)).tobytes() != draw(text="moon").tobytes()
    full = next((name for name in sorted(first.names) if name != family.casefold() and name.endswith("regular")), "")
    if full:  # then bold, the default, is not taken
        assert draw(text="moon", font=full).tobytes() == draw(text="moon", font=full, weight="regular").tobytes()


def test_a_font_that_is_not_there_is_an_error_with_the_closest(tmp_path: Path) -> None:
    file = fonts.cjk_font()
    assert file is not None
    family = faces.faces_in(file)[0].family
    assert f"Did you mean {family}?" in error(text="x", font=family + "x")
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    for path in (broken, tmp_path / "absent.ttf"):
        assert "is no font file that can be read" in error(text="x", font=str(path))


def test_each_character_falls_back_by_itself(latin_font: Path, colour_emoji: None) -> None:
    notes: list[str] = []
    draw(notes=notes, text="moon 明月 🌕", font=str(latin_font))
    used = notes[0].partition(";")[0]
    assert "Aileron" in used and "CJK" in used and "moji" in used


def test_missing_glyphs_are_named_with_the_way_to_get_a_font(latin_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "files", lambda: [latin_font])
    assert "no font on this machine has 海 (U+6D77), 上 (U+4E0A)" in error(text="sea 海上")
    assert "apt install fonts-noto-cjk" in error(text="海")
    assert "apt install fonts-noto-color-emoji" in error(text="🌕")
    assert "U+16A0, runic letter fehu" in error(text="ᚠ")
    assert ImageChops.difference(draw(text="sea"), flat()).getbbox(), "what there is a font for is drawn"
    monkeypatch.setattr(fonts, "files", list)
    assert "no font on this machine has s" in error(text="sea")


def test_no_character_is_ever_drawn_as_an_empty_box(colour_emoji: None) -> None:
    texts = [
        POEM,
        "don’t “quote” — em…",
        "e\u0301 ñ Ωμέγα Привет",
        "👨‍👩‍👧 🇨🇳 👍🏽 ❤️ ☀",
        "雪の家 한국어",
        "中\u3000文 a\tb",
    ]
    for text in texts:
        for vertical in (False, True):
            found = [
                glyph for shape in shapes(text, vertical) for glyph in shape.glyphs if not shape.piece.text.isspace()
            ]
            assert found and all(glyph.id for glyph in found), text


def test_scripts_from_right_to_left_are_refused() -> None:
    assert "runs from right to left" in error(text="שלום")


def test_emoji_are_in_colour_and_joined_ones_are_one_picture(colour_emoji: None) -> None:
    assert breaking.clusters("👨‍👩‍👧🇨🇳👍🏽e\u0301中") == ["👨‍👩‍👧", "🇨🇳", "👍🏽", "e\u0301", "中"]
    (family,) = shapes("👨‍👩‍👧")
    assert len(family.glyphs) == 1 and family.advance == pytest.approx(1.0)
    balloon = np.asarray(draw(text="🎈", size=0.5, place="center", **PLAIN)).astype(int)
    assert ((balloon[..., 0] > 150) & (balloon[..., 1] < 90)).sum() > 1000, "a red balloon"
    turned = np.asarray(draw(text="🎈", size=0.5, place="center", rotation=180, **PLAIN)).astype(int)
    assert np.abs(balloon[::-1, ::-1] - turned).mean() < 2.0


def test_a_variable_font_and_a_missing_bold_are_taken_as_they_are(latin_font: Path) -> None:
    stage = zk.stages.text_overlay(text="moon", font=str(latin_font), weight="bold")
    (sentence,) = stage.check(RECIPE.then(stage))
    assert "has no bold" in sentence
    bold, regular = (ink(text="月", weight=weight, size=0.5) for weight in ("bold", "regular"))
    assert bold != regular


# --- what helps the letters to stand out


def beneath_and_ratio(picture: Image.Image, **fields: Any) -> tuple[float, str]:
    """Share of the pixels around the letters against which they reach 4.5:1, measured on the picture itself."""
    notes: list[str] = []
    shown = draw(picture, notes=notes, shadow=0, **fields)
    veiled = draw(picture, shadow=0, opacity=0, **fields)  # the letters are gone, what is behind them stays
    colour = (255, 255, 255) if "white letters" in notes[0] else (22, 22, 22)
    changed = np.asarray(ImageChops.difference(shown, veiled).convert("L")) > 40
    ratios = contrast.ratio(colour, np.asarray(veiled)[changed].astype(float))
    return float((ratios >= 4.4).mean()), notes[0]


def noise(low: int, high: int) -> Image.Image:
    random = np.random.default_rng(5)
    return Image.fromarray(random.integers(low, high, (64, 64, 3), dtype=np.uint8)).resize((512, 512))


@pytest.mark.parametrize(
    ("picture", "letters", "veil"),
    [
        (flat(colour="#102040"), "white", False),
        (flat(colour="#f0e8d0"), "#161616", False),
        (noise(0, 256), "", True),
        (noise(40, 170), "white", True),
    ],
)
def test_the_colour_comes_from_what_lies_beneath_and_reaches_the_contrast(
    picture: Image.Image, letters: str, veil: bool
) -> None:
    for place in ("top", "center", "bottom-right"):
        reached, note = beneath_and_ratio(picture, text="海上生明月", place=place)
        assert reached >= 0.95, (reached, note)
        assert letters in note and ("scrim" in note) == veil, note


def test_contrast_is_as_wcag_defines_it() -> None:
    black, white = np.zeros((1, 3)), np.full((1, 3), 255.0)
    assert contrast.ratio((255, 255, 255), black)[0] == pytest.approx(21.0)
    assert contrast.ratio((255, 255, 255), white)[0] == pytest.approx(1.0)
    assert contrast.ratio((119, 119, 119), white)[0] == pytest.approx(4.48, abs=0.01)


def test_a_colour_that_cannot_stand_out_gets_an_outline_and_the_trace_says_so() -> None:
    notes: list[str] = []
    draw(flat(colour="#808080"), notes=notes, text="明月", colour="#7f8080", behind="none")
    assert "an outline" in notes[0] and "of the 4.5:1 wanted" in notes[0]


def test_an_outline_is_as_thick_as_asked_and_round_the_letters() -> None:
    grey = flat(colour="#808080")
    fields = {"text": "一", "size": 0.5, "place": "center", "colour": "white", "shadow": 0, "behind": "none"}
    bare = ImageChops.difference(grey, draw(grey, **fields, outline=0)).getbbox()
    for part in (0.02, 0.1):
        shown = draw(grey, **fields, outline=part, outline_colour="red")
        box = ImageChops.difference(grey, shown).getbbox()
        assert bare is not None and box is not None
        assert [bare[0] - box[0], bare[1] - box[1], box[2] - bare[2], box[3] - bare[3]] == pytest.approx(
            [part * 256] * 4, abs=1.5
        )
        red = np.asarray(shown)[..., 1] < 40
        assert red.sum() > 100


def test_a_shadow_falls_softly_beside_the_letters() -> None:
    grey = flat(colour="#808080")
    fields = {"text": "明月", "size": 0.2, "place": "center", "colour": "white", "behind": "none", "outline": 0}
    bare, shadowed = (np.asarray(draw(grey, **fields, shadow=strength).convert("L")).astype(int) for strength in (0, 1))
    darker = (shadowed < bare - 3).sum()
    assert darker > 2000 and shadowed.min() < 60
    weak = np.asarray(draw(grey, **fields, shadow=0.3).convert("L")).astype(int)
    assert shadowed.min() < weak.min() < 128


def test_plate_and_scrim_lie_behind() -> None:
    grey = flat(colour="#808080")
    fields = {"text": "明月", "size": 0.1, "colour": "white", "shadow": 0, "outline": 0, "behind_colour": "navy"}
    plate = np.asarray(draw(grey, **fields, place="center", behind="plate", behind_opacity=1)).astype(int)
    navy = (plate == (0, 0, 128)).all(axis=-1)
    rows, columns = np.where(navy)
    assert columns.max() - columns.min() > 2.5 * 51 and rows.max() - rows.min() > 1.5 * 51
    assert not navy[0].any() and not navy[:, 0].any(), "the plate ends near the text"
    scrim = np.asarray(draw(grey, **fields, place="bottom", behind="scrim", behind_opacity=0.6)).astype(int)
    column = scrim[:, 5, 0]
    assert column[-1] == pytest.approx(128 * 0.4, abs=2) and column[200] == 128
    assert (np.diff(column) <= 0).all() and np.diff(column).min() >= -6, "it fades without an edge"


def test_opacity_mixes_letters_and_picture() -> None:
    fields = {"text": "一", "size": 0.5, "place": "center", **PLAIN}
    assert np.asarray(draw(**fields, opacity=0.5)).max() == pytest.approx(128, abs=1)
    assert draw(**fields, opacity=0).tobytes() == flat().tobytes()


def test_rotation_is_counter_clockwise_about_the_middle_with_smooth_edges() -> None:
    fields = {"text": "明月几时有", "size": 0.1, "place": "center", **PLAIN}
    level, upright = np.asarray(draw(**fields).convert("L")), np.asarray(draw(**fields, rotation=90).convert("L"))
    assert np.abs(np.rot90(level).astype(int) - upright).mean() < 1.0
    tilted = np.asarray(draw(**fields, rotation=30).convert("L"))
    assert tilted.astype(float).sum() == pytest.approx(level.astype(float).sum(), rel=0.01)
    rows, columns = np.nonzero(tilted > 128)
    assert rows[columns < 200].mean() > rows[columns > 312].mean() + 30, "it rises to the right"
    assert ((tilted > 20) & (tilted < 235)).sum() > 500, "edges are smooth"
    left, _, right, bottom = ink(text="明月几时有" * 3, rotation=30, place="bottom")
    assert left >= 30 and right <= 482 and bottom <= 482


# --- recipes


@pytest.mark.parametrize(
    "end", ["\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"], ids=ascii
)
def test_every_end_of_a_line_is_a_new_line(end: str) -> None:
    assert overlay.fill(f"春节{end}快乐", RECIPE) == "春节\n快乐"
    assert overlay.fill("{prompt}", RECIPE.but(prompt=f"a{end}b")) == "a\nb"


def test_templates_say_what_the_recipe_says() -> None:
    text = "{seed} {model} {steps} {width}x{height} {prompt} {{{seed}}}"
    assert overlay.fill(text, RECIPE) == "7 nano 8 1024x768 a boat {7}"
    assert draw(text="seed {seed}").tobytes() == draw(text="seed 7").tobytes()
    assert overlay.fill("{prompt}", RECIPE.but(prompt="{seed}")) == "{seed}", "values are not templates"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{sede}", "expected one of {seed}, {model}, {steps}, {width}, {height}, {prompt}. Did you mean seed?"),
        ("{date}", "text_overlay.text has {date}"),
        ("{", "a single '{'"),
        ("a } b", "Write {{ or }} for a literal brace"),
    ],
)
def test_wrong_templates_are_errors(text: str, words: str) -> None:
    assert words in error(text=text)


def test_a_value_that_the_recipe_lacks_is_an_error() -> None:
    with pytest.raises(BadRequest, match="which this picture's recipe does not say"):
        zk.stages.text_overlay(text="{seed}").after(flat(), Context(Request(prompt="x")))


def test_what_cannot_work_is_told_before_anything_is_loaded() -> None:
    for fields, words in (
        ({"text": "{sede}"}, "{sede}"),
        ({"text": "x", "font": "No Such Font"}, "No Such Font"),
        ({"text": "字" * 9000}, "9000 characters"),
    ):
        stage = zk.stages.text_overlay(**fields)
        with pytest.raises(BadRequest, match=words):
            stage.check(RECIPE.then(stage))
    large = zk.stages.text_overlay(text="字" * 9000)
    unknown = RECIPE.then({"kind": "upscale", "factor": 2}, large)
    assert large.check(unknown) == (), "a stage before may enlarge the picture"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"colour": "nocolour"}, "text_overlay.colour='nocolour'; expected a colour name, #rrggbb or auto"),
        ({"light": "auto"}, "text_overlay.light='auto'; expected a colour name or #rrggbb"),
        ({"box": (0.5, 0, 0.4, 1)}, "0 <= left < right <= 1"),
        ({"box": "0 0 1"}, "text_overlay.box"),
        ({"place": "middle"}, "text_overlay.place='middle'"),
        ({"rotation": 200}, "expected -180 to 180"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        zk.stages.text_overlay(text="x", **fields)
    assert words in str(caught.value)


def test_it_is_typed_on_the_command_line() -> None:
    for typed in (
        "text=Hello,place=top,rotation=5",
        'text="a, b",box=0.1 0.1 0.9 0.5,size=0.05',
        "text=海,outline=0.1",
    ):
        (stage,) = build_stages(Request(prompt="x", stages=[parse_stage(f"text_overlay:{typed}")]).stages)
        assert stage.kind == "text_overlay" and stage.after(flat(), Context(RECIPE)).tobytes() != flat().tobytes()


def test_several_overlays_lie_in_their_order(session: zk.Session) -> None:
    first = zk.stages.text_overlay(text="月月月月", place="center", size=0.1, colour="red", behind="none")
    second = zk.stages.text_overlay(
        text="明", place="center", size=0.1, colour="white", behind="plate", behind_opacity=1, behind_colour="black"
    )
    one, other = (
        session.apply(flat((256, 256), "green"), first, second),
        session.apply(flat((256, 256), "green"), second, first),
    )
    middle = [(np.asarray(each.image)[118:138, 100:156, 0] > 200).mean() for each in (one, other)]
    red = [
        ((np.asarray(each.image)[..., 0] > 200) & (np.asarray(each.image)[..., 1] < 60)).sum() for each in (one, other)
    ]
    assert red[0] < red[1], f"the plate of the later one covers the red letters ({red}, {middle})"
    assert sum("text_overlay" in note for note in one.trace.notes) == 2


def test_the_same_recipe_gives_the_same_pixels_in_another_process() -> None:
    fields = {"text": "海上生明月 Moon 2026", "rotation": 7.0, "outline": 0.03, "behind": "scrim"}
    here = draw(noise(0, 256), **fields).tobytes()
    assert draw(noise(0, 256), **fields).tobytes() == here
    code = (
        "import sys, json, hashlib, io; from PIL import Image; import zimage_kit as zk;"
        "from zimage_kit import Context, Request; picture = Image.open(io.BytesIO(sys.stdin.buffer.read()));"
        "stage = zk.stages.text_overlay(**json.loads(sys.argv[1]));"
        "after = stage.after(picture, Context(Request(prompt='a boat')));"
        "print(hashlib.sha256(after.tobytes()).hexdigest())"
    )
    stream = io.BytesIO()
    noise(0, 256).save(stream, "PNG")
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(fields)], input=stream.getvalue(), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == hashlib.sha256(here).hexdigest()


def test_transparency_is_kept_and_letters_show_on_it() -> None:
    picture = Image.new("RGBA", (256, 256), (10, 20, 30, 0))
    shown = draw(picture, text="明月", place="center", size=0.3)
    assert (shown.mode, shown.size) == ("RGBA", (256, 256))
    assert shown.getchannel("A").getextrema() == (0, 255) and shown.getpixel((2, 2)) == (10, 20, 30, 0)


def test_the_cache_follows_the_fonts_of_the_machine(latin_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = zk.stages.text_overlay(text="moon")
    before = stage.depends(Request())
    assert stage.depends(Request()) == before
    monkeypatch.setattr(fonts, "files", lambda: [latin_font])
    assert stage.depends(Request()) != before
    named = zk.stages.text_overlay(text="moon", font=str(latin_font))
    assert named.depends(Request()) == stage.depends(Request()), "by what the font's file holds, not by how it is named"


def test_small_and_odd_pictures_are_no_trouble() -> None:
    for size in ((64, 64), (1024, 64), (64, 1024), (257, 131)):
        for place in ("top", "center", "bottom-right"):
            shown = draw(flat(size), text="月", place=place)
            assert shown.size == size and shown.getbbox()
