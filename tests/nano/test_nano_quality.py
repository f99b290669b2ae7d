"""nano's committed weights draw what is asked, and the evaluation that says so counts rightly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zimage_kit.nano import DIRECTORY, evaluate

pytestmark = pytest.mark.training

Measured = tuple[dict[str, Any], list[Image.Image]]


@pytest.fixture(scope="module")
def measured() -> Measured:
    return evaluate.evaluate(12, lambda text: None)


def test_a_dozen_held_out_captions_come_out_right_in_both_languages(measured: Measured) -> None:
    figures, _ = measured
    for language in ("en", "zh"):
        assert min(figures[language][name] for name in ("background", "style")) > 0.9, figures[language]
        assert figures[language]["all"] >= 0.8, figures[language]  # of 320, 95.3% and 98.1% were right


def test_the_judge_reads_drawn_scenes_and_sees_two_people(measured: Measured) -> None:
    figures, _ = measured
    assert figures["judge_on_drawn_scenes"]["all"] >= 0.95, figures["judge_on_drawn_scenes"]
    assert figures["judge_sees_two_people"] >= 0.95


def test_other_seeds_give_visibly_other_pictures(measured: Measured) -> None:
    seeds = measured[0]["seeds_differ"]
    assert 3 < seeds["pixels_most_alike_pair"] <= seeds["pixels_other_seeds"] < seeds["pixels_other_prompts"]


def test_the_table_marks_every_promise_that_was_missed(measured: Measured) -> None:
    figures = {**measured[0]}
    for language in ("en", "zh"):
        figures[language] = {**figures[language], "things": 0.979, "colours": 0.98, "all": 0.1}
    rows = evaluate.table(figures).splitlines()
    assert rows[2].count("97.9% (missed)") == 2
    assert "missed" not in rows[3], "a promise just kept"
    assert not any("missed" in row for row in rows if row.startswith("| everything right, all")), "nothing was promised"


def test_the_contact_sheet_holds_every_picture(measured: Measured) -> None:
    _, pictures = measured
    assert len(pictures) >= 2
    sheet = evaluate.contact_sheet(pictures, columns=4, side=64)
    assert sheet.size == (256, 64 * -(-len(pictures) // 4))


def test_the_card_holds_the_figures_of_a_whole_evaluation() -> None:
    card = evaluate.CARD.read_text("utf-8")
    block = card.split(evaluate.BEGIN)[1].split(evaluate.END)[0]
    captions = re.search(r"^(\d+) captions in each language", block, re.MULTILINE)
    assert captions, "run python -m zimage_kit.nano.evaluate"
    assert int(captions[1]) >= 300
    for meaning, _ in evaluate.ROWS.values():
        assert f"| {meaning} |" in block


def test_the_weights_keep_to_their_size() -> None:
    sizes = [path.stat().st_size for path in Path(DIRECTORY).rglob("*") if path.is_file()]
    assert max(sizes) <= 16_000_000
    assert sum(sizes) <= 32_000_000
