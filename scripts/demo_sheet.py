"""Twelve prompts, six in each language, as pictures on one labelled sheet: what the model makes of plain words.

python scripts/demo_sheet.py demo
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from PIL import Image, ImageDraw

import zimage_kit as zk
from zimage_kit.text import fonts

PAIRS = (
    ("a red hot-air balloon over the sea", "海上的红色热气球"),
    ("a white cat on the grass", "草地上的一只白猫"),
    ("a yellow boat under a starry sky", "星空下的黄色小船"),
    ("a blue house in the snow mountains", "雪山下的蓝色房子"),
    ("a purple flower and a green teacup", "一朵紫色的花和一个绿色的茶杯"),
    ("a fish, ink wash painting", "一条鱼，水墨画"),
)
SEED = 8
CELL, MARGIN, LABEL = 256, 16, 34  # pixels: a picture's longer side, between pictures, beneath them
COLUMNS = 4


def make_sheet(folder: Path) -> Path:
    """Make the twelve pictures and the sheet of them in `folder`; returns the sheet's path."""
    session = zk.connect("inline")
    if not fonts.can_draw(PAIRS[0][1]):
        print(f"Chinese labels are left out: {fonts.MEND}")
    rows = []
    start = time.perf_counter()
    for number, pair in enumerate(PAIRS, 1):
        row = []
        for language, prompt in zip(("en", "zh"), pair, strict=True):
            artifact = session.run(prompt, seed=SEED)
            artifact.save(folder / f"{number}-{language}.png")
            row.append((prompt, artifact.image))
        rows.append(row)
        print(f"{2 * number} of {2 * len(PAIRS)} pictures, {time.perf_counter() - start:.1f} s")
    sheet = folder / "sheet.png"
    draw_sheet(rows).save(sheet)
    return sheet


def draw_sheet(rows: list[list[tuple[str, Image.Image]]]) -> Image.Image:
    """The pictures, two pairs wide, each with its prompt beneath; a prompt that the font lacks is left out."""
    cells = [cell for row in rows for cell in row]
    shape = cells[0][1].size
    width, height = round(CELL * shape[0] / max(shape)), round(CELL * shape[1] / max(shape))
    lines = -(-len(cells) // COLUMNS)
    size = (COLUMNS * (width + MARGIN) + MARGIN, lines * (height + LABEL + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, "#f6f4ef")
    pen = ImageDraw.Draw(sheet)
    labels = [prompt for prompt, _ in cells if fonts.can_draw(prompt)]
    letters = 16.0  # pixels; one size for all, such that the longest fits beneath its picture
    while letters > 8 and any(pen.textlength(label, fonts.label_font(letters)) > width for label in labels):
        letters -= 0.5
    for number, (prompt, image) in enumerate(cells):
        x = MARGIN + number % COLUMNS * (width + MARGIN)
        y = MARGIN + number // COLUMNS * (height + LABEL + MARGIN)
        sheet.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        if prompt in labels:
            middle = (x + width / 2, y + height + LABEL / 2)
            pen.text(middle, prompt, "#333333", fonts.label_font(letters), anchor="mm")
    return sheet


if __name__ == "__main__":
    print(f"sheet: {make_sheet(Path(sys.argv[1] if len(sys.argv) > 1 else 'demo'))}")
