"""What text_overlay wrote over nano's pictures, read back by tesseract: at least 98 % of the characters."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import unicodedata
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

import zimage_kit as zk

pytestmark = [pytest.mark.usefixtures("chinese", "reader"), pytest.mark.slow]

LEAST = 0.98
MAGNIFICATIONS = (28, 36, 48)  # pixels of a character; tesseract was trained on scanned pages
SCENES = {
    "balloon": ("a red hot-air balloon over the sea", 3),
    "boat": ("a yellow boat on the sea at sunset", 4),
    "house": ("a blue house in the snow mountains", 5),
    "bamboo": ("bamboo, ink painting", 6),
    "lantern": ("a red lantern under the stars, neon", 7),
    "mushrooms": ("two mushrooms at sunset", 8),
    "cat": ("a white cat under the moon", 9),
    "flower": ("a red flower on the grass", 12),
}

# scene, language, what is written and how; several sizes, places, colours, veils
POSTERS: list[tuple[str, str, dict[str, Any]]] = [
    ("balloon", "chi_sim", {"text": "海上生明月\n天涯共此时", "place": "bottom"}),
    ("boat", "chi_sim", {"text": "长风破浪会有时，直挂云帆济沧海", "place": "top", "weight": "regular"}),
    (
        "house",
        "chi_sim",
        {"text": "忽如一夜春风来，千树万树梨花开。瀚海阑干百丈冰，愁云惨淡万里凝。", "box": (0.08, 0.55, 0.92, 0.95)},
    ),
    (
        "bamboo",
        "chi_sim",
        {"text": "白日依山尽\n黄河入海流\n欲穷千里目\n更上一层楼", "place": "right", "colour": "darkgreen"},
    ),
    ("lantern", "chi_sim", {"text": "明月几时有，把酒问青天。", "place": "center", "size": 0.06, "colour": "gold"}),
    ("mushrooms", "eng", {"text": "Two mushrooms at the end of a long warm day", "place": "bottom"}),
    ("cat", "eng", {"text": "Good night, moon", "place": "top", "colour": "navy", "outline": 0.05}),
    (
        "flower",
        "eng",
        {
            "text": "The rose is without an explanation; she blooms, because she blooms. She pays no heed to "
            "herself, asks not if she is seen.",
            "box": (0.06, 0.05, 0.94, 0.4),
            "behind": "plate",
        },
    ),
    ("lantern", "chi_sim+eng", {"text": "元宵节快乐\nLantern Festival", "place": "bottom", "size": 0.09}),
    ("boat", "chi_sim+eng", {"text": "第 {seed} 次远航\nVoyage {seed} by nano", "place": "top-left", "size": 0.05}),
    (
        "house",
        "chi_sim+eng",
        {"text": "雪山之家 Snow House\n开放时间 9:00", "place": "top", "font": "Noto Serif CJK SC"},
    ),
    ("balloon", "chi_sim_vert", {"text": "海上生明月\n天涯共此时", "place": "right"}),
    (
        "bamboo",
        "chi_sim_vert",
        {"text": "空山新雨后\n天气晚来秋\n明月松间照\n清泉石上流", "place": "right", "weight": "regular"},
    ),
    ("lantern", "chi_sim_vert", {"text": "明月几时有，\n把酒问青天。", "place": "left"}),
]


@pytest.fixture(scope="module")
def reader(need: Any) -> None:
    """tesseract with its Chinese."""
    languages: list[str] = []
    if shutil.which("tesseract"):
        command = ["tesseract", "--list-langs"]
        languages = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    need({"chi_sim", "eng"} <= set(languages), "tesseract-ocr tesseract-ocr-chi-sim")
    need("chi_sim_vert" in languages, "tesseract-ocr-chi-sim-vert")


def read(picture: Image.Image, language: str) -> str:
    """What tesseract sees on a page: lines found by itself (--psm 3), or a block of columns (5)."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    command = ["tesseract", "-", "-", "-l", language, "--psm", "5" if language.endswith("_vert") else "3"]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=stream.getvalue(), capture_output=True, check=True, env=environment)
    return done.stdout.decode()


def readings(picture: Image.Image, colour: str, em: float, language: str) -> list[str]:
    """The lettered picture as tesseract wants pages: what has the letters' colour is black, at three magnifications.

    Nothing of the picture beneath or of the text is given away.
    """
    apart = np.abs(np.asarray(picture).astype(float) - ImageColor.getrgb(colour)).max(axis=-1)
    page = Image.fromarray((apart / 100 * 255).clip(0, 255).astype(np.uint8))
    return [
        read(page.resize((round(1024 * size / em),) * 2, Image.Resampling.LANCZOS), language) for size in MAGNIFICATIONS
    ]


def agreed(texts: list[str]) -> str:
    """The reading that is nearest to all the others."""
    return min(texts, key=lambda text: sum(distance(text, other) for other in texts))


def characters(text: str) -> str:
    """Without blanks, and with one form of each punctuation mark: whether a comma is full-width cannot be seen."""
    return "".join(unicodedata.normalize("NFKC", text).split()).translate(str.maketrans("。、“”‘’", ".,\"\"''"))


def distance(expected: str, seen: str) -> int:
    """Characters to insert, remove or exchange."""
    one, other = characters(expected), characters(seen)
    row = list(range(len(other) + 1))
    for index, char in enumerate(one, 1):
        before, row = row, [index]
        for column, against in enumerate(other, 1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (char != against)))
    return row[-1]


def test_what_was_written_over_nanos_pictures_is_read_back(session: zk.Session) -> None:
    scenes = {name: session.run(prompt, seed=seed, model="nano") for name, (prompt, seed) in SCENES.items()}
    wrong, count, told = 0, 0, []
    for name, language, fields in POSTERS:
        picture, notes = scenes[name], []
        large = picture.image.resize((1024, 1024), Image.Resampling.LANCZOS)
        stage = zk.stages.text_overlay(**fields, **({"direction": "vertical"} if language.endswith("_vert") else {}))
        poster = stage.after(large, zk.Context(picture.request, note=notes.append))
        found = re.search(r"; ([\d.]+) px, (\S+) letters", notes[0])
        assert found, notes
        seen = agreed(readings(poster, found[2], float(found[1]), language))
        expected = fields["text"].replace("{seed}", str(picture.request.seed))
        errors, length = distance(expected, seen), len(characters(expected))
        told.append(f"{1 - errors / length:.3f} {name}: {expected!r} read as {characters(seen)!r}")
        wrong, count = wrong + errors, count + length
        assert errors <= 0.1 * length, told[-1]
    print("\n".join((*told, f"{1 - wrong / count:.4f} of {count} characters")))
    assert wrong <= (1 - LEAST) * count, "\n".join(told)
