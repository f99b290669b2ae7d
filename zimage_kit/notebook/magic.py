"""`%load_ext zimage_kit` gives `%%imagine`: a cell whose text is the prompt, with the options of `zimage run`.

`%imagine --seed 7 a red boat` is the same in one line, and `%imagine --help` lists the options.
"""

from __future__ import annotations

import argparse
import re
from keyword import iskeyword
from pathlib import Path
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from ..cli.run import check_targets, numbered, parse_lora, parse_stage
from ..errors import ZImageError
from ..recipe.request import Request, parse_size, random_seed
from ..session.connect import connect
from ..session.scout import KEEP, STEPS, look


class _Options(argparse.ArgumentParser):
    """The options; errors are raised as one-line UsageErrors, as in IPython."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%%imagine: {message}. %imagine --help lists the options.")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # after --help
        raise _Helped


class _Helped(Exception):
    """The help was asked for and printed."""


def _options() -> _Options:
    options = _Options(
        "%%imagine", description="Make a picture of what the cell says.", formatter_class=argparse.RawTextHelpFormatter,
        epilog="Example:\n  %%imagine --seed 7 --as balloon\n  a red hot-air balloon over the sea",
    )  # fmt: skip
    add = options.add_argument
    add("prompt", nargs="*", metavar="PROMPT", help="what to draw, where it does not stand in the cell below")
    add("--model", metavar="NAME", help="nano, turbo, base or a folder")
    add("--size", metavar="WxH", help="pixels, multiples of 16")
    add("--steps", type=int, metavar="N", help="evaluations of the model")
    add("--seed", type=int, metavar="N", help="the same seed, the same picture")
    add("--guidance", type=float, metavar="X", help="0 for nano and turbo, 3 to 5 for base")
    add("--negative", default="", metavar="TEXT", help="what to avoid; only base heeds it")
    add("--count", type=int, default=1, metavar="N", help="how many pictures; their seeds count up")
    add("--scout", type=int, metavar="N", help="look at N seeds, finish the --count (or 4) that differ most")
    add("--lora", action="append", default=[], metavar="NAME[:WEIGHT]", help="may be given several times")
    add("--stage", action="append", default=[], metavar="KIND:KEY=VALUE,…", help="may be given several times, in order")
    add("--save", action="store_true", help="write into the outputs folder")
    add("--output", "-o", metavar="FILE", help="write to this .png")
    add("--as", dest="name", metavar="NAME", help="the variable that is given the artifact, or the list of several")
    return options


def imagine(line: str, cell: str | None = None) -> Any:
    """Run one cell; returns the artifact, or shows several. Raises UsageError, one line, for invalid options."""
    try:
        options = _options()
        arguments, rest = _split(line, options)
        given = options.parse_args(arguments)
        if given.name is not None and (not given.name.isidentifier() or iskeyword(given.name)):
            raise UsageError(f"%%imagine: --as {given.name} is no name of a variable")
        if given.count < 1:
            raise UsageError(f"%%imagine: --count {given.count}; expected 1 or more")
        if given.scout is not None and given.count == 1:
            given.count = KEEP
        width, height = parse_size(given.size) if given.size else (None, None)
        request = Request(
            prompt=_prompt(rest, cell), negative_prompt=given.negative, model=given.model, width=width,
            height=height, steps=given.steps, guidance=given.guidance,
            seed=random_seed() if given.seed is None else given.seed,
            loras=[parse_lora(text) for text in given.lora], stages=[parse_stage(text) for text in given.stage],
        )  # fmt: skip
        return _make(request, given)
    except _Helped:
        return None
    except ZImageError as error:
        raise UsageError(f"%%imagine: {error}") from None


_OPTION = re.compile(r"(?:^|(?<=\s))(--[A-Za-z][\w-]*|-[oh])(?=[\s=]|$)=?")
_VALUE = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|\S)+)""")
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")


def _split(line: str, options: argparse.ArgumentParser) -> tuple[list[str], str]:
    """The options' words, and the text around them as it was typed: an apostrophe or a quote in a prompt is a letter.

    A value may be quoted as in a shell: --negative "too dark", --stage text_overlay:text="Sea and moon".
    """
    takes_value = {name: action.nargs != 0 for action in options._actions for name in action.option_strings}
    words, texts, place = [], list[str](), 0
    while found := _OPTION.search(line, place):
        texts.append(line[place : found.start()])
        name, place = found[1], found.end()
        words.append(name)
        known = [each for each in takes_value if each.startswith(name)]  # argparse takes shortened names, too
        wants = takes_value.get(name, bool(known) and takes_value[known[0]])
        if wants and (value := _VALUE.match(line, place)) and not _OPTION.match(line, value.start(1)):
            place = value.end()
            words[-1:] = [name, _unquoted(value[1])] if len(name) == 2 else [f"{name}={_unquoted(value[1])}"]
    texts.append(line[place:])
    return words, " ".join(text.strip() for text in texts if text.strip())


def _unquoted(value: str) -> str:
    return _QUOTED.sub(lambda quoted: quoted[1] if quoted[1] is not None else quoted[2], value)


def _prompt(rest: str, cell: str | None) -> str:
    """The cell's text, or for a line magic the text after the options."""
    if cell is None:
        return rest
    if rest:
        raise UsageError(f"%%imagine: {rest!r} stands behind the options; the prompt goes below that line")
    return cell.strip()


def _make(request: Request, given: argparse.Namespace) -> Any:
    paths = numbered(Path(given.output) if given.output else None, given.count)
    if given.output or given.save:
        check_targets(paths)
    session = connect()
    made = []
    first = request.seed or 0
    if given.scout is None:
        requests = [request.but(seed=first + number) for number in range(given.count)]
    else:
        requests = look(session, request, given.scout, STEPS).requests(given.count)
    for each, path in zip(requests, paths, strict=True):
        artifact = session.run(each)
        made.append(artifact)
        if path is not None or given.save:
            artifact.save(path)
        if given.count > 1:
            display(artifact)  # type: ignore[no-untyped-call]
    if given.name is not None:
        shell: Any = InteractiveShell.instance()
        shell.push({given.name: made[0] if given.count == 1 else made})
    return made[0] if given.count == 1 else None


def load(shell: Any) -> None:
    """Register `%%imagine` and `%imagine`."""
    shell.register_magic_function(imagine, "line_cell", "imagine")
