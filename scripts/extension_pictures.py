"""Make the pictures in the READMEs of control, pose, refine, upscale and variety again; nano draws them.

python scripts/extension_pictures.py [control] [pose] [refine] [upscale] [variety]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import zimage_kit as zk

FOLDER = Path(__file__).resolve().parent.parent / "extensions"


def row(pictures: Sequence[Image.Image], height: int, gap: int = 8) -> Image.Image:
    """The pictures side by side on white, all of one height."""
    sized = [
        picture.convert("RGB").resize(
            (round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS
        )
        for picture in pictures
    ]
    whole = Image.new("RGB", (sum(p.width for p in sized) + gap * (len(sized) - 1), height), "white")
    left = 0
    for picture in sized:
        whole.paste(picture, (left, 0))
        left += picture.width + gap
    return whole


def save(picture: Image.Image, path: Path) -> None:
    """As a small WebP."""
    path.parent.mkdir(exist_ok=True)
    picture.save(path, quality=82, method=6)
    print(f"{path.relative_to(FOLDER)}: {picture.width}x{picture.height}, {path.stat().st_size / 1e3:.0f} kB")


def control(session: zk.Session) -> None:
    """A picture, and the control pictures that are made of it."""
    drawn = session.run(zk.Request(prompt="a cat on the grass", model="nano", seed=3).then(zk.stages.upscale())).image
    with tempfile.TemporaryDirectory() as folder:
        drawn.save(Path(folder) / "cat.png")
        stages = [
            zk.stages.control(picture=Path(folder) / "cat.png", type=each) for each in ("canny", "scribble", "gray")
        ]
        made = [stage.control_picture(*drawn.size) for stage in stages]
    save(row([drawn, *made], 200), FOLDER / "control" / "images" / "maps.webp")


def pose(session: zk.Session) -> None:
    """Skeleton, picture with it, picture without; then two people; then from which steps on it acts."""
    shown = []
    for preset, prompt, seed in (
        ("running", "a girl in a red dress on the grass", 5),
        ("arms_up", "a boy in blue at sunset", 4),
        ("dancing", "a girl in pink under the stars, neon", 11),
    ):
        request = zk.Request(prompt=prompt, model="nano", seed=seed)
        stage = zk.stages.pose(preset=preset, body="small")
        shown += [stage.skeleton(256, 256), session.run(request.then(stage)).image, session.run(request).image]
    rows = [row(shown[n : n + 3], 200) for n in (0, 3, 6)]
    save(row(rows, 200, 24), FOLDER / "pose" / "images" / "presets.webp")
    request = zk.Request(
        prompt="a girl in red and a boy in blue in the snow mountains", model="nano", seed=3, width=320, height=192
    )
    stage = zk.stages.pose(preset="waving+pointing", body="small", mirror=True)
    two = [stage.skeleton(320, 192), session.run(request.then(stage)).image]
    save(row(two, 220), FOLDER / "pose" / "images" / "two.webp")
    request = zk.Request(prompt="a girl in purple in the desert", model="nano", seed=8)
    strength = [
        session.run(request.then(zk.stages.pose(preset="star", scale=scale))).image for scale in (0, 0.3, 0.6, 0.9)
    ]
    save(row(strength, 200), FOLDER / "pose" / "images" / "scale.webp")


def refine(session: zk.Session) -> None:
    """A draft of three steps, the second pass over it at three strengths; then a larger second pass."""
    draft = session.run("a black cat and an orange dog on the grass", model="nano", steps=3, seed=4)
    passes = [draft.then(zk.stages.refine(strength=s, steps=8)).image for s in (0.3, 0.5, 0.8)]
    save(row([draft.image, *passes], 240), FOLDER / "refine" / "images" / "strength.webp")
    boat = session.run(zk.Request(prompt="a red boat on the sea", model="nano", seed=3))
    mask = Image.new("L", boat.image.size)
    mask.paste("white", (48, 72, 216, 236))
    with tempfile.TemporaryDirectory() as folder:
        mask.save(Path(folder) / "mask.png")
        blue = boat.then(zk.stages.inpaint(mask=Path(folder) / "mask.png", prompt="a blue boat on the sea"))
    save(row([boat.image, blue.image], 240), FOLDER / "refine" / "images" / "inpaint.webp")


def upscale(session: zk.Session) -> None:
    """A detail of a picture of nano, enlarged by its network and by bicubic interpolation."""
    shown = []
    for prompt, seed, corner in (
        ("a hot-air balloon over the city", 7, (60, 40)),
        ("a red lantern under the stars, neon", 7, (70, 30)),
        ("bamboo, ink painting", 6, (70, 90)),
    ):
        made = session.run(zk.Request(prompt=prompt, model="nano", seed=seed).then(zk.stages.upscale()))
        before = made.before().image
        box = (*corner, corner[0] + 90, corner[1] + 90)
        twice = tuple(2 * side for side in box)
        bicubic = before.resize(made.image.size, Image.Resampling.BICUBIC)
        shown += [bicubic.crop(twice), made.image.crop(twice)]
    pairs = [row(shown[n : n + 2], 300, 4) for n in (0, 2, 4)]
    save(row(pairs, 240, 20), FOLDER / "upscale" / "images" / "detail.webp")


def variety(session: zk.Session) -> None:
    """Four seeds as they are, with half and with full strength."""
    boat = zk.Request(prompt="a red boat on the sea", model="nano")
    rows = [
        row(
            [session.run(boat.then(zk.stages.variety(strength=strength)), seed=seed).image for seed in range(1, 5)], 144
        )
        for strength in (0.0, 0.5, 1.0)
    ]
    sheet = Image.new("RGB", (rows[0].width, 3 * rows[0].height + 12), "white")
    for number, each in enumerate(rows):
        sheet.paste(each, (0, number * (each.height + 6)))
    save(sheet, FOLDER / "variety" / "images" / "seeds.webp")


def main() -> None:
    """Those that are named, or all."""
    wanted = sys.argv[1:] or ["control", "pose", "refine", "upscale", "variety"]
    with zk.connect("inline", device="cpu") as session:
        for name in wanted:
            {"control": control, "pose": pose, "refine": refine, "upscale": upscale, "variety": variety}[name](session)


if __name__ == "__main__":
    main()
