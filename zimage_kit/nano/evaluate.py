"""Measure nano through the shipped pipeline on the CPU, on captions whose combinations were never trained on.

    python -m zimage_kit.nano.evaluate                 about half an hour on two cores; renews README.md and sheet.jpg
    python -m zimage_kit.nano.evaluate --captions 20   a quick look; writes nothing into the package

Every caption names all attributes of a held-out scene, with synonyms in free order. Beside these, prompts as people
type them (`as_typed.toml`), which no training saw. Pictures are judged by `zimage_kit.nano.judge`, which is measured on
drawn scenes beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import zimage_kit as zk
from zimage_kit.nano import DIRECTORY, captions, judge, scenes, typed
from zimage_kit.nano.score import right

FIRST = 95_000_000  # seeds of the evaluation's scenes
CARD, SHEET = Path(__file__).parent / "README.md", Path(__file__).parent / "sheet.jpg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# name in `score.right`: (what it means, what was promised)
ROWS: dict[str, tuple[str, float | None]] = {
    "things": ("the things asked for are there, in number", 0.98),
    "colours": ("in the colours asked for", 0.98),
    "background": ("background", 0.98),
    "hour": ("day or night", 0.98),
    "style": ("style", 0.98),
    "pose": ("a person's named pose", 0.93),
    "facing": ("which way a thing faces", None),
    "nothing_extra": ("nothing that was not asked for", None),
    "all_1": ("everything right, one thing", 0.98),
    "all_2": ("everything right, two things", 0.95),
    "all": ("everything right, all scenes", None),
}
TELL = {"en": captions.english, "zh": captions.chinese}


def evaluate(count: int, say: Any) -> tuple[dict[str, Any], list[Image.Image]]:
    """Return the figures and the first 48 pictures (alternating language) of `count` captions in each language."""
    mind = judge.load(DIRECTORY / judge.FILE)
    told = [scenes.sample(FIRST + i, novel=True) for i in range(count)]
    rng = np.random.default_rng(FIRST)
    figures: dict[str, Any] = {"captions": count, "seeds": "1000 + number of the caption"}
    features: dict[str, NDArray[np.float32]] = {}
    sheet: list[list[Image.Image]] = []
    begin = time.perf_counter()
    session = zk.connect("inline", device="cpu")  # this process may use it for more, so it stays open
    session.run("a cat", model="nano", seed=0)
    figures["first_picture_seconds"] = round(time.perf_counter() - begin, 2)
    figures["load_seconds"] = round(session.status().load_seconds or 0.0, 2)
    for language, tell in TELL.items():
        pictures, taken = [], []
        for i, scene in enumerate(told):
            prompt = tell(scene, rng, complete=True, stray=False)
            start = time.perf_counter()
            art = session.run(prompt, model="nano", width=scene.width, height=scene.height, seed=1000 + i, fresh=True)
            taken.append(time.perf_counter() - start)
            pictures.append(art.image)
            if i % 20 == 19:
                say(f"{language}: {i + 1} of {count} pictures, {np.median(taken):.2f} s each")
        features[language], verdicts = judge.look(mind, pictures)
        figures[language] = rates([right(s, v) for s, v in zip(told, verdicts, strict=True)])
        figures[language]["seconds_per_picture"] = round(float(np.median(taken)), 3)
        sheet.append([p for p, s in zip(pictures, told, strict=True) if s.width == s.height][:24])
    figures["as_typed"] = {language: typed.measured(session, mind, language, say) for language in TELL}
    figures["seeds_differ"] = variety(session, mind, rng)
    vae = session._engine._resident.pipeline.diffusers_pipeline.vae  # type: ignore[attr-defined]
    drawn = [scenes.render(scene) for scene in told]
    redrawn = [through(vae, picture) for picture in drawn]
    say("judging drawn scenes and reconstructions")
    real, verdicts = judge.look(mind, drawn)
    figures["judge_on_drawn_scenes"] = rates([right(s, v) for s, v in zip(told, verdicts, strict=True)])
    again, verdicts = judge.look(mind, redrawn)
    figures["judge_on_reconstructions"] = rates([right(s, v) for s, v in zip(told, verdicts, strict=True)])
    twins = [_twins(i) for i in range(60)]
    _, verdicts = judge.look(mind, [scenes.render(scene) for scene in twins])
    figures["judge_sees_two_people"] = round(float(np.mean([v.count["person"] == 2 for v in verdicts])), 4)
    others = [scenes.render(scenes.sample(FIRST + 500_000 + i, novel=True)) for i in range(count)]
    reference, _ = judge.look(mind, others)
    figures["distance"] = {
        "drawn scenes": round(judge.frechet(real, reference), 4),
        "reconstructions": round(judge.frechet(again, reference), 4),
        **{language: round(judge.frechet(features[language], reference), 4) for language in TELL},
    }
    errors = [np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2) for a, b in zip(drawn, redrawn, strict=True)]
    figures["autoencoder_psnr"] = round(float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-3)))), 2)
    return figures, [picture for pair in zip(*sheet, strict=False) for picture in pair]


def rates(marks: Sequence[dict[str, bool]]) -> dict[str, float]:
    """Return the share of true marks by name, over the scenes that have it; a name that no scene has is left out."""
    present = [name for name in ROWS if any(name in m for m in marks)]
    return {name: round(float(np.mean([m[name] for m in marks if name in m])), 4) for name in present}


def variety(session: zk.Session, mind: judge.Judge, rng: np.random.Generator) -> dict[str, float]:
    """Return how far apart pictures of one prompt with four seeds are, and pictures of different prompts.

    `pixels` is the mean absolute difference of two pictures, 0..255; `features` the Euclidean distance in the judge's
    feature space. Means over all pairs of twelve prompts with four seeds each.
    """
    told = [scenes.sample(FIRST + 700_000 + i, novel=True, count=1, size=(256, 256)) for i in range(12)]
    rows = []
    for scene in told:
        prompt = captions.english(scene, rng, complete=True, stray=False)
        rows.append([session.run(prompt, model="nano", seed=seed).image for seed in range(4)])
    flat = [picture for row in rows for picture in row]
    vectors, _ = judge.look(mind, flat)
    pixels = np.stack([np.asarray(picture, np.float32) for picture in flat])
    same: dict[str, list[float]] = {"pixels": [], "features": []}
    other: dict[str, list[float]] = {"pixels": [], "features": []}
    for i in range(len(flat)):
        for j in range(i):
            where = same if i // 4 == j // 4 else other
            where["pixels"].append(float(np.abs(pixels[i] - pixels[j]).mean()))
            where["features"].append(float(np.linalg.norm(vectors[i] - vectors[j])))
    out = {f"{name}_other_seeds": round(float(np.mean(same[name])), 2) for name in same}
    out["pixels_most_alike_pair"] = round(min(same["pixels"]), 2)
    return {**out, **{f"{name}_other_prompts": round(float(np.mean(other[name])), 2) for name in other}}


@torch.inference_mode()
def through(vae: Any, picture: Image.Image) -> Image.Image:
    """Return a picture after encoding and decoding."""
    x = torch.from_numpy(np.asarray(picture, np.float32).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    y = vae.decode(vae.encode(x).latent_dist.mode()).sample[0]
    return Image.fromarray(((y.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def _twins(i: int) -> scenes.Scene:
    rng = np.random.default_rng((FIRST, i))
    while True:
        scene = scenes.sample(int(rng.integers(1 << 40)), novel=True, count=2, size=(256, 256))
        if all(thing.kind == "person" for thing in scene.things):
            return scene


def table(figures: dict[str, Any]) -> str:
    """Return the figures as the card's Markdown."""
    lines = ["| of held-out captions, judged right | English | Chinese | promised | the judge on drawn scenes |"]
    lines.append("|---|---|---|---|---|")
    for name, (meaning, promised) in ROWS.items():
        if name not in figures["en"]:
            lines.append(f"| {meaning} | none asked for | none asked for | | |")
            continue
        shares = [figures[language][name] for language in TELL]
        missed = ["" if promised is None or share >= promised else " (missed)" for share in shares]
        cells = [f"{100 * share:.1f}%{mark}" for share, mark in zip(shares, missed, strict=True)]
        wanted = "" if promised is None else f"{100 * promised:.0f}%"
        lines.append(
            f"| {meaning} | {' | '.join(cells)} | {wanted} | {100 * figures['judge_on_drawn_scenes'][name]:.1f}% |"
        )
    far, seeds = figures["distance"], figures["seeds_differ"]
    worst = max(far[language] for language in TELL) / far["reconstructions"]
    typed_ = figures["as_typed"]
    apart = max(
        abs(figures["en"][name] - figures["zh"][name])
        for name, (_, promised) in ROWS.items()
        if promised and name in figures["en"]
    )
    lines += [
        "",
        f"{figures['captions']} captions in each language, in every size of the presets. Where something was promised,",
        f"English and Chinese are at most {100 * apart:.1f} points apart (promised: 2). A picture takes",
        f"{figures['en']['seconds_per_picture']} s (English) and {figures['zh']['seconds_per_picture']} s (Chinese)",
        f"after a load of {figures['load_seconds']} s (promised: 0.5 s and 5 s). The autoencoder reconstructs at",
        f"{figures['autoencoder_psnr']} dB. Of two people in one scene the judge sees both in",
        f"{100 * figures['judge_sees_two_people']:.0f}% of 60 scenes.",
        "",
        f"As typed: of {typed.COUNT} prompts in each language, written as people type them and never trained on,",
        f"{100 * typed_['en']:.0f}% are right in English and {100 * typed_['zh']:.0f}% in Chinese",
        f"(promised: {100 * typed.PROMISED:.0f}%), all that they ask for counted.",
        "",
        "Fréchet distance to other held-out scenes in the judge's 160 features:",
        f"drawn scenes {far['drawn scenes']:.2f}, reconstructions {far['reconstructions']:.2f},",
        f"nano {far['en']:.2f} (English) and {far['zh']:.2f} (Chinese), {worst:.2f} times that of reconstructions",
        "(promised: at most 2). With so few pictures most of it is what any two sets of scenes differ by: it says",
        "that nothing is grossly off, and no more.",
        "",
        f"Seeds: two pictures of one prompt differ by {seeds['pixels_other_seeds']} of 255 a pixel on average, the",
        f"most alike pair by {seeds['pixels_most_alike_pair']}, and by {seeds['features_other_seeds']} in the judge's",
        f"features; pictures of different prompts by {seeds['pixels_other_prompts']} and",
        f"{seeds['features_other_prompts']}.",
    ]
    return "\n".join(lines)


def contact_sheet(pictures: Sequence[Image.Image], columns: int = 8, side: int = 160) -> Image.Image:
    """Return the pictures in rows, `side` pixels each."""
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side), "white")
    for i, picture in enumerate(pictures):
        small = picture.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (i % columns * side, i // columns * side))
    return sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m zimage_kit.nano.evaluate", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--captions", type=int, default=500, help="in each language (default 500, as the card needs)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args(arguments)
    figures, pictures = evaluate(given.captions, lambda text: print(text, file=sys.stderr, flush=True))
    print(json.dumps(figures, indent=1))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n" + table(figures))
    if given.captions >= 500:
        before, rest = CARD.read_text("utf-8").split(BEGIN)
        CARD.write_text(f"{before}{BEGIN}\n{table(figures)}\n{END}{rest.split(END)[1]}", "utf-8")
        contact_sheet(pictures).save(SHEET, quality=80)
        print(f"\nwritten: {CARD.name}, {SHEET.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
