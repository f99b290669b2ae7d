"""Make the README's pictures again: nano draws at 256x256; they are enlarged to 1024x1024 and lettered.

python extensions/text_overlay/make_images.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

import zimage_kit as zk

FOLDER = Path(__file__).resolve().parent / "images"
SIDE = 512  # pixels of a picture in the README

# name, prompt, seed, overlays in order
PICTURES: list[tuple[str, str, int, list[dict[str, Any]]]] = [
    ("title", "a red hot-air balloon over the sea", 3, [{"text": "海上生明月"}]),
    ("english", "two mushrooms at sunset", 8, [{"text": "Two mushrooms at the end of a long warm day"}]),
    ("columns", "bamboo, ink painting", 6, [
        {"text": "竹外桃花三两枝，\n春江水暖鸭先知。", "direction": "vertical", "place": "right",
         "font": "Noto Serif CJK SC"},
    ]),
    ("poster", "a red lantern under the stars, neon", 7, [
        {"text": "元宵节", "box": "0.06 0.5 0.94 0.8", "size": 0.16, "colour": "#ffd9a0", "letter_spacing": 0.15},
        {"text": "Lantern Festival", "box": "0.06 0.8 0.94 0.88", "place": "center", "size": 0.055,
         "letter_spacing": 0.12},
        {"text": "2026 年 3 月 3 日 · 城隍庙", "box": "0.06 0.89 0.94 0.95", "place": "center", "size": 0.036,
         "weight": "regular"},
    ]),
    ("stamp", "a blue house in the snow mountains", 5, [
        {"text": "雪山之家 🏔️", "place": "top"},
        {"text": "冬季特惠 −50%", "place": "bottom-right", "rotation": 9, "size": 0.065, "colour": "white",
         "behind": "plate", "behind_colour": "#c1272d", "behind_opacity": 0.95},
    ]),
    ("outline", "a yellow boat on the sea at sunset", 4, [
        {"text": "VOYAGE", "place": "top", "size": 0.15, "colour": "gold", "outline": 0.06, "letter_spacing": 0.1,
         "font": "Noto Serif CJK SC"},
        {"text": "nano, seed {seed}", "place": "bottom-right", "size": 0.035, "weight": "regular"},
    ]),
]  # fmt: skip


def main() -> None:
    """Draw, letter, reduce and save."""
    FOLDER.mkdir(exist_ok=True)
    with zk.connect("inline", device="cpu") as session:
        for name, prompt, seed, overlays in PICTURES:
            picture = session.run(prompt, seed=seed, model="nano")
            shown = picture.image.resize((1024, 1024), Image.Resampling.LANCZOS)
            for fields in overlays:
                stage = zk.stages.text_overlay(**fields)
                shown = stage.after(shown, zk.Context(picture.request.then(stage), note=print))
            path = FOLDER / f"{name}.jpg"
            shown.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(path, quality=88, optimize=True)
            print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
