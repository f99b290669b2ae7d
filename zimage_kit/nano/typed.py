"""Prompts as people type them, with what has to be in their pictures: `as_typed.toml`, never trained on.

A prompt's expectation is words with semicolons: things first, each a kind with its colour where one is asked for and a
pose or facing where they are, then a background, an hour or a style: "cat orange; dog; snowfield; night; ink".
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zimage_kit.nano import judge
from zimage_kit.nano.judge import Verdict
from zimage_kit.nano.lexicon import BACKGROUNDS, COLOURS, FACINGS, HOURS, KINDS, POSES, STYLES

FILE = Path(__file__).parent / "as_typed.toml"
COUNT = 100  # in each language
PROMISED = 0.92
FIRST_SEED = 5000


@dataclass(frozen=True)
class Wanted:
    """What a prompt asks for; "" where it does not say."""

    things: tuple[tuple[str, str], ...]
    """(kind, colour or ""); as often as there are to be."""
    pose: str = ""
    facing: str = ""
    background: str = ""
    hour: str = ""
    style: str = ""


def wanted(told: str) -> Wanted:
    """Read an expectation; a word that nano has no name for raises ValueError."""
    things: list[tuple[str, str]] = []
    rest: dict[str, str] = {}
    for part in told.split(";"):
        words = part.split()
        if words[0] in KINDS:
            colour = next((word for word in words[1:] if word in COLOURS), "")
            count = 2 if "two" in words else 1
            things += [(words[0], colour)] * count
            words = [word for word in words[1:] if word not in (colour, "two")]
        for word in words:
            # the sky by day and by night are backgrounds of their own, "by day" and "by night" are hours
            for name, table in (("hour", {f"by-{hour}": hour for hour in HOURS}), ("background", BACKGROUNDS),
                ("style", STYLES), ("pose", POSES), ("facing", FACINGS)):  # fmt: skip
                if word in table:
                    rest[name] = word.removeprefix("by-")
                    break
            else:
                raise ValueError(f"{word!r} in {told!r} is no kind, colour, background, hour, style, pose or facing")
    return Wanted(tuple(things), **rest)


def prompts(language: str) -> list[tuple[str, Wanted]]:
    """Return the prompts of a language, "en" or "zh", with what they ask for."""
    rows: list[list[str]] = tomllib.loads(FILE.read_text("utf-8"))[language]
    return [(prompt, wanted(told)) for prompt, told in rows]


def right(asked: Wanted, seen: Verdict) -> bool:
    """Tell whether a verdict confirms all that was asked for, and nothing else is there."""
    counts = Counter(kind for kind, _ in asked.things)
    colours: dict[str, set[str]] = {}
    for kind, colour in asked.things:
        if colour:
            colours.setdefault(kind, set()).add(colour)
    return (
        all(seen.count[kind] == counts[kind] for kind in KINDS)
        and all(some <= set(seen.colours.get(kind, ())) for kind, some in colours.items())
        and asked.pose in ("", seen.pose)
        and asked.background in ("", seen.background)
        and (asked.hour in ("", seen.hour) or asked.style == "neon")
        and (asked.style or "flat") == seen.style
        and all(seen.faces_right[kind] == (asked.facing == "right") for kind in counts if asked.facing)
    )


def measured(session: Any, mind: judge.Judge, language: str, say: Any) -> float:
    """Return the share of a language's prompts whose pictures are right, one picture each, 256x256."""
    told = prompts(language)
    pictures = [
        session.run(prompt, model="nano", width=256, height=256, seed=FIRST_SEED + i, fresh=True).image
        for i, (prompt, _) in enumerate(told)
    ]
    _, verdicts = judge.look(mind, pictures)
    marks = [right(asked, seen) for (_, asked), seen in zip(told, verdicts, strict=True)]
    for (prompt, _), mark in zip(told, marks, strict=True):
        if not mark:
            say(f"as typed, wrong: {prompt}")
    return round(float(np.mean(marks)), 4)
