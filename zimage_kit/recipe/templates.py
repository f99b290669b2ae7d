"""Templates: prompts with choices, `a {red|blue} boat`, made into plain prompts before a run; see `template_syntax`.

A choice depends on nothing but the template, the word lists and the seed: it is drawn from SHA-256, and weights are
exact fractions. The request that runs holds the plain prompt; the template is recorded beside it and changes no pixel.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, combinations, product
from typing import NamedTuple

from ..errors import BadRequest
from . import template_syntax as syntax
from .request import Request
from .template_syntax import Choice, Parts, parse
from .template_syntax import escape as escape
from .template_syntax import is_template as is_template

MOST_COMBINATIONS = 10_000
"""The most that `every` lists."""


class Combination(NamedTuple):
    """A plain prompt, and what each of the template's choices became, from left to right."""

    prompt: str
    choices: tuple[str, ...]


def resolve(text: str, seed: int, purpose: str = "prompt") -> str:
    """A template's plain prompt for a seed; any other text as it is. Raises what `parse` raises.

    The same on every machine and Python. `purpose`: two templates of one request draw independently of each other.
    """
    if not is_template(text):
        return text
    return _drawn(parse(text), _Draws(f"{purpose} {seed}"))


def count(text: str) -> int:
    """The number of a template's combinations, 1 for any other text. Raises what `parse` raises."""
    return syntax.count(parse(text))


def every(text: str, most: int = MOST_COMBINATIONS) -> list[Combination]:
    """All combinations, each prompt once; the last choice changes first. Raises BadRequest for more than `most`."""
    parts = parse(text)
    if (found := syntax.count(parts)) > most:
        mend = "Take some of them, by seeds, or leave alternatives out."
        raise BadRequest(f"{_short(text)} has {found} combinations", expected=f"at most {most}", mend=mend)
    each = (
        Combination(
            _joined(texts),
            tuple(text for part, text in zip(parts, texts, strict=True) if isinstance(part, Choice)),
        )
        for texts in _texts(parts)
    )
    return list({combination.prompt: combination for combination in each}.values())


def some(text: str, number: int = 10, seed: int = 0) -> list[str]:
    """Different plain prompts of a template, for a preview: all in order if there are no more than `number`."""
    parts = parse(text)
    if syntax.count(parts) <= number:
        return [combination.prompt for combination in every(text)]
    found = dict[str, None]()
    for more in range(20 * number):
        found[_drawn(parts, _Draws(f"prompt {seed + more}"))] = None
        if len(found) == number:
            break
    return list(found)


def resolved(request: Request) -> Request:
    """The request with plain prompts; its templates go to `template`, `negative_template` and `template_seed`.

    What is recorded there is resolved already. The choice's seed is the picture's, which must be set, unless
    `template_seed` is. Raises what `parse` raises.
    """
    changes: dict[str, object] = {}
    seed = request.seed if request.template_seed is None else request.template_seed
    for name, record in (("prompt", "template"), ("negative_prompt", "negative_template")):
        text = getattr(request, name)
        if not getattr(request, record) and is_template(text):
            assert seed is not None
            changes |= {name: resolve(text, seed, name), record: text, "template_seed": seed}
    return request.but(**changes) if changes else request


def as_template(request: Request) -> Request:
    """The request with its templates in the prompts again; the choice follows the picture's seed where it did so."""
    own = None if request.template_seed == request.seed else request.template_seed
    prompt, negative = request.template or request.prompt, request.negative_template or request.negative_prompt
    return request.but(prompt=prompt, negative_prompt=negative, template="", negative_template="", template_seed=own)


def as_prompts(request: Request) -> Request:
    """The request to begin from: without a record of templates, its prompts as they stood in this picture.

    What looks like a template in a prompt that was resolved is escaped.
    """
    if not request.template and not request.negative_template:
        return request
    return request.but(
        prompt=escape(request.prompt) if request.template else request.prompt,
        negative_prompt=escape(request.negative_prompt) if request.negative_template else request.negative_prompt,
        template="", negative_template="", template_seed=None,
    )  # fmt: skip


def literal(request: Request) -> Request:
    """A recipe from before templates, or of another program: its prompts were drawn as they stand."""
    changes = {}
    for name, record in (("prompt", "template"), ("negative_prompt", "negative_template")):
        text = getattr(request, name)
        if not getattr(request, record) and is_template(text):
            changes[record] = escape(text)
    return request.but(**changes) if changes else request


def every_request(request: Request, most: int = MOST_COMBINATIONS) -> list[Request]:
    """The request with each combination of its prompt's template. Raises BadRequest for more than `most`."""
    if request.template or not is_template(request.prompt):
        return [request]
    found = every(request.prompt, most)
    return [request.but(prompt=each.prompt, template=request.prompt) for each in found]


def _texts(parts: Parts) -> Iterator[tuple[str, ...]]:
    """Each combination as one text for each part."""
    return product(*([part] if isinstance(part, str) else list(_texts_of(part)) for part in parts))


def _texts_of(choice: Choice) -> Iterator[str]:
    for size in range(choice.least, choice.most + 1):
        for chosen in combinations(choice.possible, size):
            options = ([_joined(texts) for texts in _texts(option.parts)] for option in chosen)
            yield from map(choice.separator.join, product(*options))


def _drawn(parts: Parts, draws: _Draws) -> str:
    return _joined(part if isinstance(part, str) else _drawn_of(part, draws) for part in parts)


def _drawn_of(choice: Choice, draws: _Draws) -> str:
    size = choice.least + draws.below(choice.most - choice.least + 1)
    if size == 1:
        taken = [draws.among(choice.shares)]
    else:
        left = list(range(len(choice.possible)))
        taken = []
        for _ in range(size):
            shares = tuple(accumulate(choice.weights[place] for place in left))
            taken.append(left.pop(draws.among(shares)))
    return choice.separator.join(_drawn(choice.possible[place].parts, draws) for place in sorted(taken))


def _joined(texts: Iterable[str]) -> str:
    """The texts in a row. Around a choice that became nothing one blank is left, and none at the ends or at a comma."""
    out, gap = "", False
    for text in texts:
        if gap and text:
            if text[0] in " ,.;:，。；：" and out.endswith(" "):
                out = out[:-1]
            elif not out:
                text = text.removeprefix(" ")
        gap = not text
        out += text
    return out.removesuffix(" ") if gap else out


class _Draws:
    """Numbers drawn one after the other, the same on every machine: from SHA-256 of a key and a counter."""

    def __init__(self, key: str) -> None:
        self._key, self._number = key, 0

    def fraction(self) -> Fraction:
        """At least 0, less than 1, in steps of 2**-64."""
        digest = hashlib.sha256(f"zimage_kit template 1 {self._key} {self._number}".encode()).digest()
        self._number += 1
        return Fraction(int.from_bytes(digest[:8], "big"), 2**64)

    def below(self, count: int) -> int:
        """A whole number from 0, less than `count`; with one to choose from nothing is drawn."""
        return int(self.fraction() * count) if count > 1 else 0

    def among(self, shares: Sequence[int]) -> int:
        """A place, drawn in proportion to weights, of which `shares` are the sums; of one, nothing is drawn."""
        return bisect_right(shares, self.fraction() * shares[-1]) if len(shares) > 1 else 0


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:58]}…")
