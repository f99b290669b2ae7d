"""Twelve prompts, six in each language, as pictures on one labelled sheet: what the model makes of plain words.

python scripts/demo_sheet.py demo
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from PIL import Image, ImageDraw

import zimage_kit as zk
from zimage_kit import fonts

PAIRS = (
    ("a red hot-air balloon over the sea at sunset", "日落时海上的红色热气球"),
    ("a white cat on the grass, clear day", "草地上的一只白猫，晴天"),
    ("a yellow boat on the sea under a starry night", "星空下，海上的黄色小船"),
    ("a blue house in the snow mountains", "雪山下的蓝色房子"),
    ("a purple flower and a green teacup", "一朵紫色的花和一个绿色的茶杯"),
    ("a fish, ink wash painting", "一条鱼，水墨画"),
)
SEED = 7
MARGIN, LABEL = 16, 34  # pixels


def make_sheet(folder: Path) -> Path:
    """Make the twelve pictures and the sheet of them in `folder`; returns the sheet's path."""
    session = zk.connect("inline")
    fonts_there = fonts.can_draw(PAIRS[0][1])
    if not fonts_there:
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
    """The pictures, three pairs wide, each with its prompt beneath; a prompt the font lacks is left out."""
    width, height = rows[0][0][1].size
    cells = [cell for row in rows for cell in row]
    columns = 4
    lines = -(-len(cells) // columns)
    sheet = Image.new(
        "RGB", (columns * (width + MARGIN) + MARGIN, lines * (height + LABEL + MARGIN) + MARGIN), "#f6f4ef"
    )
    pen = ImageDraw.Draw(sheet)
    for number, (prompt, image) in enumerate(cells):
        x = MARGIN + number % columns * (width + MARGIN)
        y = MARGIN + number // columns * (height + LABEL + MARGIN)
        sheet.paste(image.resize((width, height)), (x, y))
        if fonts.can_draw(prompt):
            size = 15.0
            while size > 8 and pen.textlength(prompt, fonts.label_font(size)) > width:
                size -= 0.5
            pen.text((x + width / 2, y + height + LABEL / 2), prompt, "#333333", fonts.label_font(size), anchor="mm")
    return sheet


if __name__ == "__main__":
    print(f"sheet: {make_sheet(Path(sys.argv[1] if len(sys.argv) > 1 else 'demo'))}")
