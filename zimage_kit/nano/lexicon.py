"""The words that nano knows, in English and in Chinese: data for the captions, the tokenizer and the honest report.

Every attribute that a scene can have (kind, colour, background, hour, style, size, place, facing, pose) lists its names
in both languages in `words.toml`; `spelling.traditional` makes the other Chinese characters. `unknown_words` reads a
prompt with these lists and returns what nano has never met.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zimage_kit.nano.spelling import traditional

Names = tuple[tuple[str, ...], tuple[str, ...]]
"""English and Chinese names, the commonest first."""


@dataclass(frozen=True)
class Kind:
    """A thing that can be drawn: English names as (singular, plural), Chinese names, Chinese measure words."""

    en: tuple[tuple[str, str], ...]
    zh: tuple[str, ...]
    measure: tuple[str, ...]


_words: dict[str, Any] = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))


def _kinds(table: str) -> dict[str, Kind]:
    made = {}
    for name, row in _words[table].items():
        pairs = (form.split("/") for form in row["en"])
        made[name] = Kind(tuple((pair[0], pair[-1]) for pair in pairs), tuple(row["zh"]), tuple(row["measure"]))
    return made


def _names(table: str) -> dict[str, Names]:
    return {name: (tuple(row["en"]), tuple(row["zh"])) for name, row in _words[table].items()}


KINDS = _kinds("kinds")
FIGURES = _kinds("figures")
"""A person drawn as a girl or a boy; the plain names of `person` may become either."""
COLOURS = _names("colours")
BACKGROUNDS = _names("backgrounds")
"""English: phrases that follow the thing. Chinese: a place word, to follow 在 or to stand alone."""
TAGS = _names("tags")
"""Backgrounds as bare tags."""
HOURS = _names("hours")
HOURLY = ("grassland", "sea", "snow", "desert", "city", "beach", "snowfield", "forest", "room")
"""Backgrounds that are drawn by day and by night; the others have an hour of their own."""
STYLES = _names("styles")
SIZES = _names("sizes")
PLACES = _names("places")
FACINGS = _names("facings")
"""Which way a thing faces that can face either. English: phrases that follow it. Chinese: what stands before 的."""
FACING = ("dog", "bird", "fish", "crane", "dragon", "boat", "car", "train", "bicycle")
FACING_POSES = ("running", "walking", "pointing")
POSES = _names("poses")
VERBS = _names("verbs")
"""What things do that are no people; it changes nothing in the picture."""
TABLES = (COLOURS, BACKGROUNDS, TAGS, HOURS, STYLES, SIZES, PLACES, FACINGS, POSES, VERBS)
# Words that carry no picture but that people write; the captions mix them in, so that they do no harm.
FILLER_EN, FILLER_ZH = tuple(_words["filler"]["en"]), tuple(_words["filler"]["zh"])
FUNCTION_EN, FUNCTION_ZH = tuple(_words["function"]["en"]), tuple(_words["function"]["zh"])
# Words that people use and that fall into several tokens: only `unknown_words` reads these.
PIECED_EN, PIECED_ZH = tuple(_words["pieced"]["en"]), tuple(_words["pieced"]["zh"])
# Words in which known ones mean something else: 恐龙, a dinosaur, is no kind of dragon (龙).
UNLIKE_ZH = tuple(_words["unlike"]["zh"])
PUNCTUATION = [
    ",", ".", "，", "。", "、", "：", ":", "；", ";", "!", "！", "?", "？", "-",
    "(", ")", "（", "）", '"', "'", "“", "”",
]  # fmt: skip


def english_phrases() -> list[str]:
    """Every English phrase of the lists above, lower case."""
    out: list[str] = []
    for kind in (*KINDS.values(), *FIGURES.values()):
        out += [form for pair in kind.en for form in pair]
    for table in TABLES:
        for english, _ in table.values():
            out += english
    return out + list(FILLER_EN) + list(FUNCTION_EN)


def chinese_words() -> list[str]:
    """Every Chinese word of the lists above, in simplified characters, each once, longest first."""
    out: set[str] = set()
    for kind in (*KINDS.values(), *FIGURES.values()):
        out.update(kind.zh)
        out.update(kind.measure)
    for table in TABLES:
        for _, chinese in table.values():
            out.update(chinese)
    out.update(FILLER_ZH)
    out.update(FUNCTION_ZH)
    return sorted(out, key=lambda word: (-len(word), word))


def english_words() -> list[str]:
    """Every single English word of the phrases, hyphens split off, in alphabetical order."""
    return sorted({word for phrase in english_phrases() for word in re.findall(r"[a-z0-9]+", phrase)})


_english = frozenset((*english_words(), *PIECED_EN))
_simplified = (*chinese_words(), *PIECED_ZH)
_chinese = tuple(dict.fromkeys((*_simplified, *map(traditional, _simplified))))
_run = re.compile(r"[\u3400-\u9fff]+|[^\W_\u3400-\u9fff]+(?:['’][a-z]+)?")
_unlike = re.compile("(" + "|".join(sorted((*UNLIKE_ZH, *map(traditional, UNLIKE_ZH)), key=len, reverse=True)) + ")")
_possessive = re.compile("['’]s$")


def unknown_words(prompt: str) -> list[str]:
    """Return the words of `prompt` that nano has never met, in order of appearance, each once.

    English is read word by word, without regard to case or a possessive 's. Chinese is cut so that as few characters as
    possible are left over; neighbouring left-over characters are reported as one word. Punctuation and white space are
    never reported.
    """
    found: list[str] = []
    for run in _run.findall(prompt.lower()):
        if "\u3400" <= run[0] <= "\u9fff":
            for part in filter(None, _unlike.split(run)):
                found += [part] if _unlike.fullmatch(part) else _left_over(part)
        elif (word := _possessive.sub("", run)) not in _english:
            found.append(word)
    return list(dict.fromkeys(found))


def _left_over(run: str) -> list[str]:
    """Cover a run of Chinese characters with known words (dynamic programming); return what stays uncovered."""
    missing: list[tuple[int, int]] = [(0, 0)]  # per prefix: (characters uncovered, where the last piece began)
    for end in range(1, len(run) + 1):
        best = (missing[end - 1][0] + 1, -1)
        for word in _chinese:
            if run.endswith(word, 0, end) and missing[end - len(word)][0] < best[0]:
                best = (missing[end - len(word)][0], end - len(word))
        missing.append(best)
    pieces: list[tuple[int, int]] = []
    end = len(run)
    while end:
        start = missing[end][1]
        if start >= 0:
            end = start
            continue
        if pieces and pieces[-1][0] == end:
            pieces[-1] = (end - 1, pieces[-1][1])
        else:
            pieces.append((end - 1, end))
        end -= 1
    return [run[start:stop] for start, stop in reversed(pieces)]
