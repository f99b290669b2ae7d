"""The coach: what would make a prompt work better, as hints that never block: `zk.coach("画一只猫，没有人")`.

The rules are data in `text/coach/<code>.toml`, and all languages' are applied together, since prompts mix them. What
stands in quotation marks is to be drawn as letters, so only `lettering` reads it.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from ..errors import BadRequest
from ..text.catalogues import Language

if TYPE_CHECKING:
    from ..models.spec import ModelSpec

FOLDER = Path(__file__).parents[1] / "text" / "coach"
HEAP = 3
"""So many quality tags, or abstract words, are a heap."""
MOST_WORDS, MOST_CHARACTERS = 8, 16
"""Of lettering that is still drawn without mistakes: English words, Chinese characters."""
REPEATED = 4
"""A word that often is stuffing."""
_QUOTED = re.compile("“[^”]*”|\"[^\"]*\"|「[^」]*」|『[^』]*』|(?<![\\w’'])'[^'\\n]{3,}'(?!\\w)")
_HAN = re.compile("[\u3400-\u9fff]")
_WORD = re.compile(r"[^\W\d_\u3400-\u9fff]+(?:['’]\w+)?|\d+")
_TWICE = (re.compile(r"\b(\w+)((?:[\s,]+\1\b){2,})", re.IGNORECASE), re.compile("([\u3400-\u9fff]{1,4}?)(\\1{2,})"))
_BETWEEN = re.compile(r"[\s,，、()（）:.\d]*(?:and|的|而|与|和)?\s*")
_BINDS = re.compile(r"(?:的|地|而|与|和|又|,|，|、)?\s*")
_MASK = "\ufffc"
_COMMON = frozenset(
    re.findall(r"\w+", "the a an and of in on at with to by from for is are his her its their one two that as under")
)

Found = tuple[tuple[int, int], str | None, dict[str, object]]
"""(span, rewrite, further words of `why`)."""


class Hint(BaseModel):
    """One hint. Frozen; as JSON it is `{rule, span, why, rewrite}`."""

    model_config = ConfigDict(frozen=True)

    rule: str = Field(
        description="order, stuffed, abstract, names, negative, contradiction, lettering, people, length or unknown"
    )
    span: tuple[int, int] = Field(description="what it is about: first character of the prompt, and the one after it")
    why: str = Field(description="a sentence in the prompt's language, or in the one that was asked for")
    rewrite: str | None = Field(description="the whole prompt without the fault; None where only its author knows")
    prompt: str = Field(exclude=True, repr=False, description="the prompt that it is about")

    @property
    def words(self) -> str:
        """The words that are marked."""
        return self.prompt[slice(*self.span)]


def coach(prompt: str, model: str | None = None, language: Language | None = None) -> tuple[Hint, ...]:
    """Hints for a prompt in the order of their words, empty for a good one; one of each rule, but for `negative`.

    `model` is a name or a folder, by default the one that `run` would take; rules that do not apply to it are left out:
    negatives for one with guidance, unknown words for one without a list of its words. `language` ("en", "zh") is that
    of `why`, by default the prompt's. Take a rewrite with `prompt = hint.rewrite`, then ask again: each rewrite mends
    its own fault only. It is None where only the author knows what to write: which of two that contradict, who stands
    where (the stage `pose` takes that), what a thing has that shall be “without” something. Tokens are counted by the
    model's tokenizer; without it on this disk, `length` speaks up only if a low estimate is too many, and says so.
    No torch, no network. Raises UnknownModel, and BadRequest for a language that the coach does not speak.
    """
    from ..models.spec import default_model, resolve

    spec = resolve(model or default_model())
    han, letters = len(_HAN.findall(prompt)), len(re.findall("[A-Za-z]", prompt))
    spoken = language or ("zh" if 2 * han >= letters and han else "en")
    tables = _tables()
    if spoken not in tables:
        raise BadRequest(f"language={spoken!r}", expected=" or ".join(tables))
    masked = _QUOTED.sub(lambda found: _MASK * len(found[0]), prompt)
    hints = list[Hint]()
    for rule, find in _RULES.items():
        if rule == "unknown":  # what another hint is about already is not counted once more
            for start, end in (hint.span for hint in hints):
                masked = masked[:start] + _MASK * (end - start) + masked[end:]
        for (start, end), rewrite, told in find(prompt, masked, spec):
            words = prompt[start:end].strip()
            start += prompt[start:end].index(words)
            why = tables[spoken]["why"]["estimate" if told.get("estimated") else rule]
            rewrite = rewrite if rewrite and _WORD.search(_HAN.sub("a", rewrite)) and rewrite != prompt else None
            said = why.format(**{"words": words if len(words) <= 60 else f"{words[:59]}…", **told})
            hints.append(Hint(rule=rule, span=(start, start + len(words)), why=said, rewrite=rewrite, prompt=prompt))
    return tuple(sorted(hints, key=lambda hint: hint.span))


def languages() -> tuple[str, ...]:
    """The codes of the languages in which the coach says why."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def mark(
    prompt: str, spans: Sequence[tuple[int, int]], marked: Callable[[str], str], plain: Callable[[str], str]
) -> str:
    """The prompt with what stands in `spans` given through `marked`, and the rest through `plain`."""
    out, at = "", 0
    for start, end in sorted(spans):
        start = max(start, at)
        if start < end:
            out, at = out + plain(prompt[at:start]) + marked(prompt[start:end]), end
    return out + plain(prompt[at:])


# the data


@lru_cache
def _tables() -> Mapping[str, Mapping[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.toml"))}


@lru_cache
def _patterns(rule: str, key: str) -> tuple[tuple[re.Pattern[str], Mapping[str, Any]], ...]:
    """The expressions of a rule in all languages, each with its language's table of the rule."""
    found: list[tuple[re.Pattern[str], Mapping[str, Any]]] = []
    for table in _tables().values():
        given = table[rule][key]
        texts = [text.replace("{thing}", table["thing"]) for text in ([given] if isinstance(given, str) else given)]
        found += [(re.compile(text, re.IGNORECASE | re.DOTALL), table[rule]) for text in texts]
    return tuple(found)


@lru_cache
def _listed(rule: str, key: str) -> re.Pattern[str]:
    """Any of the words of a list in all languages; words of letters stand alone."""
    words = [word for table in _tables().values() for word in table[rule][key]]
    letters, han = (
        "|".join(f"(?:{word})" for word in words if bool(_HAN.search(word)) == chinese) for chinese in (False, True)
    )
    return re.compile(rf"(?<![\w-])(?:{letters})(?![\w-])|{han}", re.IGNORECASE)


@lru_cache
def _whole(text: str) -> re.Pattern[str]:
    return re.compile(text if _HAN.search(text) else rf"(?<![\w-])(?:{text})(?![\w])", re.IGNORECASE)


# rewriting


def _tidy(text: str) -> str:
    """Without the separators, articles and particles that words leave behind when they are taken out."""
    text = re.sub(r"\b(?:and|with)\s*(?=[,.，。]|$)", "", text)
    text = re.sub(r"(^|[,，、。])\s*(?:and\b\s*|[与和及而且的]+(?![一-鿿]))", r"\1 ", text)
    text = re.sub(r"\s*([,，、;；])(?:\s*[,，、;；.。])+", r"\1", text)
    text = re.sub(r"\s+([,，、.。])", r"\1", re.sub(r"\(\s*[,:\d.]*\s*\)", "", text))
    text = re.sub(r"([，、。])\s+", r"\1", re.sub(r"[ \t]{2,}", " ", text)).strip(" ,，、;；\n")
    text = re.sub(r"\b([Aa]) (?!one\b|eu)(?=[aeio])", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwyz])", r"\1 ", text)


def _without(prompt: str, spans: Sequence[tuple[int, int]]) -> str:
    return _tidy(mark(prompt, spans, lambda _: "", str))


def _runs(hits: Sequence[tuple[int, int]], prompt: str) -> list[tuple[int, int]]:
    """The hits, those with nothing but separators between them as one."""
    runs: list[tuple[int, int]] = []
    for start, end in hits:
        if runs and _BETWEEN.fullmatch(prompt[runs[-1][1] : start]):
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _longest(spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return max(spans, key=lambda span: span[1] - span[0])


# the rules: each gives what it finds in the prompt, `masked` is the same with quotations blotted out


def _order(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    start = len(masked) - len(masked.lstrip())
    for pattern, table in _patterns("order", "find"):
        if found := pattern.match(masked[start:]):
            groups = found.groupdict()
            lead, rest = (prompt[start:][slice(*found.span(name))].strip() for name in ("lead", "rest"))
            if "more" not in groups:  # an order to draw: it is left out
                say = rest
            else:
                lead = lead if lead[:2] == "I " else lead[:1].lower() + lead[1:]
                say = table["say"].replace(r"\g<rest>", rest).replace(r"\g<lead>", lead)
                say += prompt[start:][slice(*found.span("more"))]
            first, last = found.span("lead")
            yield (start + first, start + first + len(masked[start:][first:last].rstrip())), _tidy(say), {}
            return


def _stuffed(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    tags = [found.span() for found in _listed("stuffed", "tags").finditer(masked)]
    weighted = any(pattern.search(masked) for pattern, _ in _patterns("stuffed", "weights"))
    doubled = [found.span(2) for pattern in _TWICE for found in pattern.finditer(masked)]
    pieces: dict[str, int] = {}
    for found in re.finditer(r"[^,，、;；。\n]+", masked):
        piece = re.sub(r"^(?:an?|the)\s+", "", found[0].strip().lower())
        if _MASK not in piece and piece and pieces.setdefault(piece, found.start()) != found.start():
            doubled.append(found.span())
    words = [found for found in _WORD.finditer(masked.lower()) if len(found[0]) > 2 and found[0] not in _COMMON]
    counted = Counter(word[0] for word in words)
    often = [word.span() for word in words if counted[word[0]] >= REPEATED]
    heap = tags if len({prompt[slice(*span)].lower() for span in tags}) >= HEAP or (weighted and tags) else []
    if heap or doubled or often:
        gone = sorted([*heap, *doubled])
        yield _longest(_runs(heap or sorted(doubled) or often, prompt)), _without(prompt, gone) if gone else None, {}


def _abstract(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    hits = [found.span() for found in _listed("abstract", "words").finditer(masked)]
    if len({prompt[slice(*span)].lower() for span in hits}) < HEAP:
        return
    runs = _runs(hits, prompt)
    longest = _longest(runs)
    kept = [span for span in hits if span[1] == longest[1]]  # the last word of it stays, and what binds it to its noun
    gone = [(start, end + len(_BINDS.match(prompt, end)[0])) for start, end in runs if (start, end) != longest]  # type: ignore[index]
    gone.append((longest[0], kept[0][0]))
    words = [prompt[slice(*span)] for span in hits]
    joined = ("、" if _HAN.search(words[0]) else ", ").join(dict.fromkeys(words))
    yield longest, _without(prompt, gone), {"words": joined}


def _names(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    if any(pattern.search(masked) for pattern, _ in _patterns("names", "era")):
        return
    for table in _tables().values():
        for bare, full in table["names"]["full"]:
            if found := _whole(bare).search(masked):
                after = prompt[found.end() :]
                comma = "," if ", " in full and re.match(r"\s\w", after) else ""
                yield found.span(), f"{prompt[: found.start()]}{full}{comma}{after}", {}
                return
    for pattern, _ in _patterns("names", "vague"):
        if found := pattern.search(masked):
            yield found.span(), None, {}
            return


def _negative(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    if spec.negative_prompt:
        return
    for pattern, table in _patterns("negative", "find"):
        for found in pattern.finditer(masked):
            what = (found["what"] or found[0].partition(" in")[0]).lower()
            listed = table["instead"]
            known = next((say for words, say in listed if re.search(rf"^(?:\w+\s)?(?:{words})$", what)), "")
            known = known if not spec.unknown_words(known) else ""  # nano would not know what it is
            before, after = prompt[: found.start()], prompt[found.end() :]
            if "of" in found.groupdict():
                known += found["of"] if known else ""
            elif known and before.strip() and not re.search(r"[,，.;:(]\s*$", before):
                before, known = before.rstrip(), f", {known}"
            bound = found[0].lower().startswith("without") or found.groupdict().get(
                "of"
            )  # it describes the thing itself
            yield found.span(), None if bound and not known else _tidy(before + known + after), {}


def _contradiction(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    for pattern, _ in _patterns("contradiction", "close"):
        if found := pattern.search(masked):
            yield found.span(), None, {"words": found["one"], "other": found["two"]}
            return
    english, chinese = (_tables()[code]["contradiction"]["pairs"] for code in ("en", "zh"))
    for pair in zip(english, chinese, strict=True):  # the same pair in both languages, so that they may mix
        one, other = (
            min((hit for hit in (_whole(side[at]).search(masked) for side in pair) if hit),
                key=lambda hit: hit.start(), default=None) for at in (0, 1)
        )  # fmt: skip
        if one and other:
            yield other.span(), None, {"words": one[0], "other": other[0]}
            return


def _lettering(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    quoted = [found.span() for found in _QUOTED.finditer(prompt)]
    text = " ".join(prompt[slice(*span)] for span in quoted)
    if len(_WORD.findall(text)) > MOST_WORDS or len(_HAN.findall(text)) > MOST_CHARACTERS:
        table = _tables()["zh" if _HAN.search(text) else "en"]["lettering"]
        yield (span := _longest(quoted)), _with_room(prompt, span, table), {}
        return
    for pattern, table in _patterns("lettering", "whole"):
        if found := pattern.search(masked):
            yield found.span(), _with_room(prompt, found.span(), table), {}
            return


def _with_room(prompt: str, span: tuple[int, int], table: Mapping[str, Any]) -> str:
    """The prompt with room in place of lettering, and without the words that lead to it."""
    led = re.search(table["before"] + "$", prompt[: span[0]], re.IGNORECASE)
    after = re.sub(r"^\s*(?:written|printed)(?: (?:on|across|over) (?:it|them))?", "", prompt[span[1] :])
    return _tidy(prompt[: led.start() if led else span[0]] + table["room"] + after)


def _people(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    def count(key: str) -> int:
        return sum(len(re.findall(rf"{_edges(table['people'][key])}", masked, re.IGNORECASE))
                   for table in _tables().values())  # fmt: skip

    if count("who") + count("many") < 2:
        return
    places: dict[str, tuple[int, int]] = {}
    for table in _tables().values():
        for place, text in table["people"]["place"].items():
            if found := re.search(_edges(text), masked, re.IGNORECASE):
                places.setdefault(place, found.span())
    if len(places) >= 2:
        yield (min(span[0] for span in places.values()), max(span[1] for span in places.values())), None, {}


def _edges(text: str) -> str:
    return text if _HAN.search(text) else rf"\b(?:{text})\b"


def _length(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    from ..models.tokens import count_tokens

    directory, limit = spec.directory(), spec.prompt_tokens

    def count(text: str) -> int:
        if directory is not None:
            return count_tokens(text, directory)
        return round(len(_HAN.findall(text)) * 0.6) + len(_WORD.findall(text))  # Qwen's merges give at least so many

    if (total := count(prompt)) <= limit:
        return
    fits, over = 0, len(prompt)
    while over - fits > 1:  # the longest beginning that fits
        middle = (fits + over) // 2
        fits, over = (middle, over) if count(prompt[:middle]) <= limit else (fits, middle)
    ends = [found.end() for found in re.finditer(r"[,，.。;；\n]|\s", prompt[:fits])]
    kept = prompt[: ends[-1] if ends else fits]
    yield (fits, len(prompt)), _tidy(kept), {"count": total, "limit": limit, "estimated": directory is None}


def _unknown(prompt: str, masked: str, spec: ModelSpec) -> Iterator[Found]:
    text = masked.replace(_MASK, " ")
    words = spec.unknown_words(_TEMPLATE.sub(" ", text))
    places = [found.span() for word in words if (found := re.search(_edges(re.escape(word)), text, re.IGNORECASE))]
    if places:
        yield min(places), None, {"model": spec.name, "other": ", ".join(words)}


_TEMPLATE = re.compile(r"(?<=\{)[\d-]*\$\$|[\d.]+::|__\w[\w/.-]*?__")
"""What in a template is no word of the picture: counts, weights and names of lists."""
_RULES: dict[str, Callable[[str, str, ModelSpec], Iterator[Found]]] = {
    "order": _order, "stuffed": _stuffed, "abstract": _abstract, "names": _names, "negative": _negative,
    "contradiction": _contradiction, "lettering": _lettering, "people": _people, "length": _length, "unknown": _unknown,
}  # fmt: skip
