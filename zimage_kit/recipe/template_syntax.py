r"""The syntax of templates, that of the dynamic prompts extension: a text as a tree of plain texts and choices.

    {red|blue}          one of them; an alternative may be empty, and may hold templates itself
    {3::red|0.5::blue}  with weights; without one it is 1
    {2$$a|b|c}          two of them, joined with ", "; {1-2$$…} one or two; {2$$ and $$…} joined with " and "
    __animals__         an entry of a word list, see `word_lists`
    \{ \} \| \__        the characters themselves

Braces without `|` and `$$` are plain text, so that {slots} of grids and JSON stay as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from ..errors import BadRequest
from . import word_lists

_DEEPEST = 50
_LARGEST_CHOICE = 250_000
"""Alternatives times how many of them are wanted at once: so much is computed for each of its combinations."""
_ESCAPED = re.compile(r"\\(__|[{}|$:\\])")
_ESCAPES = re.compile(r"\\(?:__|[{}])")
"""Escapes that make a text a template; other backslashes are plain text outside of one."""
_COUNT = re.compile(r"\s*(?:(\d{1,9})|(\d{0,9})-(\d{0,9}))\$\$")
_SEPARATOR = re.compile(r"((?:(?!\$\$)[^{}|\\])*)\$\$")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
_LIST = re.compile(r"__([^\W_][\w.-]*?(?:/[^\W_][\w.-]*?)*)__")
_VARIABLE = re.compile(r"\$\{\w+\s*[=:}]")

Parts = tuple["str | Choice", ...]


class Option(NamedTuple):
    """An alternative: how often it is drawn, relative to the others, and what it says."""

    weight: Fraction
    parts: Parts


@dataclass(frozen=True)
class Choice:
    """From `least` to `most` of the options, in the order in which they stand, joined with `separator`."""

    options: tuple[Option, ...]
    least: int = 1
    most: int = 1
    separator: str = ", "

    @cached_property
    def possible(self) -> tuple[Option, ...]:
        """The options that can be drawn: all whose weight is not 0."""
        return tuple(option for option in self.options if option.weight)

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """Those of the `possible` options as whole numbers, which are added faster: all times the same."""
        common = math.lcm(*(option.weight.denominator for option in self.possible))
        return tuple(int(option.weight * common) for option in self.possible)

    @cached_property
    def shares(self) -> tuple[int, ...]:
        """The sums of the `weights` up to each of the `possible` options."""
        return tuple(accumulate(self.weights))

    @cached_property
    def count(self) -> int:
        """How many ways there are: sums over subsets of a size, of products over their options."""
        ways = [1] + [0] * self.most  # ways[n]: to take n of the options so far
        for option in self.possible:
            each = count(option.parts)
            for size in range(self.most, 0, -1):
                ways[size] += ways[size - 1] * each
        return sum(ways[self.least :])


def is_template(text: str) -> bool:
    """Whether a text has choices, names word lists, or escapes their signs. Reads no list; never raises."""
    if "\\" not in text and "__" not in text and ("{" not in text or ("|" not in text and "$$" not in text)):
        return False
    groups = _groups(text)
    return bool(groups) or any(not inside for _, inside in _specials(text))


def parse(text: str) -> Parts:
    """A template as a tree: plain texts and choices; word lists have become choices of their entries.

    Raises BadRequest, with the place marked: a brace that is not closed, an unknown list, more options wanted than
    there are, lists that name each other in a circle. A text that is no template is one part, itself.
    """
    return _Parser(text, (), {}).all() if is_template(text) else (text,) if text else ()


def escape(text: str) -> str:
    """A text as a template that means exactly this text: unchanged if it is none."""
    return re.sub(r"__|[{}|\\]", r"\\\g<0>", text) if is_template(text) else text


def count(parts: Parts) -> int:
    """How many combinations a tree has."""
    return math.prod(part.count for part in parts if isinstance(part, Choice))


def _specials(text: str) -> Iterator[tuple[int, bool]]:
    """Places of lists (False) and of escapes (True for those that alone make no template)."""
    at = 0
    while at < len(text):
        if match := _ESCAPED.match(text, at):
            yield at, _ESCAPES.match(text, at) is None
        elif match := _LIST.match(text, at):
            yield at, False
        at = match.end() if match else at + 1


def _groups(text: str) -> dict[int, int]:
    """Braces that hold a choice: where each opens -> where it closes, -1 for one that does not."""
    found: dict[int, int] = {}
    open_braces: list[tuple[int, bool]] = []  # where; whether it holds a choice
    at = 0
    while at < len(text):
        if match := _ESCAPED.match(text, at):
            at = match.end()
            continue
        letter = text[at]
        if letter == "{":
            open_braces.append((at, _COUNT.match(text, at + 1) is not None))
        elif letter == "|" and open_braces:
            open_braces[-1] = (open_braces[-1][0], True)
        elif letter == "}" and open_braces:
            start, chooses = open_braces.pop()
            found |= {start: at} if chooses else {}
        at += 1
    return found | {start: -1 for start, chooses in open_braces if chooses}


class _Parser:
    """Reads one text: a prompt, or an entry of the lists `within`. `known` are the lists that were read."""

    def __init__(
        self, text: str, within: tuple[str, ...], known: dict[str, tuple[Option, ...]], depth: int = 0
    ) -> None:
        self._text, self._within, self._known, self._depth = text, within, known, depth
        self._groups = _groups(text)

    def all(self) -> Parts:
        """The whole text."""
        if variable := _VARIABLE.search(self._text):
            raise self._error(variable.start(), "templates have no variables", "Write out what it stands for.")
        return self._parts(0, len(self._text))

    def _parts(self, at: int, end: int) -> Parts:
        """What stands from `at` to `end`."""
        found: list[str | Choice] = []
        plain = ""
        while at < end:
            choice: Choice | None = None
            if match := _ESCAPED.match(self._text, at, end):
                plain, at = plain + match[1], match.end()
                continue
            if (close := self._groups.get(at)) is not None:
                choice, after = self._choice(at, close), close + 1
            elif match := _LIST.match(self._text, at, end):
                choice, after = Choice(self._entries(match[1], at)), match.end()
            if choice is None:
                plain, at = plain + self._text[at], at + 1
            else:
                found += [plain, choice] if plain else [choice]
                plain, at = "", after
        return tuple([*found, plain] if plain else found)

    def _choice(self, start: int, close: int) -> Choice:
        """The choice between two braces."""
        if close < 0:
            raise self._error(start, "a brace is not closed", "Close it, or put a backslash before it.")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(start, f"more than {_DEEPEST} braces within each other", "Use fewer.")
        bounds, at, separator = _COUNT.match(self._text, start + 1), start + 1, ", "
        if bounds:
            at = bounds.end()
            if own := _SEPARATOR.match(self._text, at, close):
                separator, at = own[1], own.end()
        options = tuple(self._option(*span) for span in self._spans(at, close))
        only = _LIST.fullmatch(self._text[at:close].strip()) if bounds else None
        if only:  # several entries of one list
            options = self._entries(only[1], at)
        self._depth -= 1
        there = sum(option.weight > 0 for option in options)
        if not there:
            raise self._error(start, "every weight is 0", "Give one of them a weight.")
        if not bounds:
            return Choice(options)
        least = int(bounds[1] or bounds[2] or 1)
        most = int(bounds[1] or bounds[3] or there)
        if least <= most <= there and there * most > _LARGEST_CHOICE:
            raise self._error(start, f"up to {most} of {there} alternatives", "Ask for fewer.")
        if least > most or most > there:
            seen = f"{bounds[0].strip().removesuffix('$$')} of {there} alternatives"
            raise self._error(start, seen, f"Ask for {there} at most." if most > there else "Write the smaller first.")
        return Choice(options, least, most, separator)

    def _spans(self, at: int, end: int) -> Iterator[tuple[int, int]]:
        """The places between the bars of a choice."""
        start, depth = at, 0
        while at < end:
            if match := _ESCAPED.match(self._text, at, end):
                at = match.end()
                continue
            depth += {"{": 1, "}": -1}.get(self._text[at], 0)
            if self._text[at] == "|" and not depth:
                yield start, at
                start = at + 1
            at += 1
        yield start, end

    def _option(self, at: int, end: int) -> Option:
        weight = Fraction(1)
        if match := _WEIGHT.match(self._text, at, end):
            weight, at = Fraction(match[1]), match.end()
        while at < end and self._text[at].isspace():
            at += 1
        while end > at and self._text[end - 1].isspace():
            end -= 1
        return Option(weight, self._parts(at, end))

    def _entries(self, name: str, at: int) -> tuple[Option, ...]:
        """The entries of a word list, each of them a template too."""
        if name in self._known:
            return self._known[name]
        if name in self._within:
            circle = " → ".join([*self._within[self._within.index(name) :], name])
            raise self._error(at, f"word lists name each other in a circle, {circle}", "Take one of the names out.")
        try:
            lines = word_lists.entries(name)
        except BadRequest as error:
            expected = error.expected or r"a list that is there, or \__ for underscores"
            raise self._error(at, error.seen, error.mend, expected=expected) from None
        found = []
        for line in lines:
            if not is_template(line) and "::" not in line:
                found.append(Option(Fraction(1), (line,)))
                continue
            parser = _Parser(line, (*self._within, name), self._known, self._depth + 1)
            weight = _WEIGHT.match(line)
            found.append(Option(Fraction(weight[1]) if weight else Fraction(1), parser.entry(weight)))
        if not any(option.weight for option in found):
            raise self._error(at, f"every weight in the word list {name!r} is 0", "Give one of them a weight.")
        self._known[name] = tuple(found)
        return self._known[name]

    def entry(self, weight: re.Match[str] | None) -> Parts:
        """A list's entry without its weight."""
        return self._parts(weight.end(), len(self._text)) if weight else self.all()

    def _error(self, at: int, seen: str, mend: str, *, expected: str = "") -> BadRequest:
        """An error that shows where: `a ▸{red|blue boat`."""
        marked = f"{self._text[max(0, at - 20) : at]}▸{self._text[at : at + 30]}"
        where = f" (word list {self._within[-1]})" if self._within else ""
        return BadRequest(f"template {marked!r}{where}: {seen}", expected=expected, mend=mend, position=at)
