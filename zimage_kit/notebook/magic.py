"""`%load_ext zimage_kit` gives `%%imagine`: a cell whose text is the prompt, with the options of `zimage run`.

`%imagine --seed 7 a red boat` is the same in one line, and `%imagine --help` lists the options.
"""

from __future__ import annotations

import argparse
import shlex
from keyword import iskeyword
from pathlib import Path
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from ..cli.run import numbered, parse_lora, parse_stage
from ..errors import ZImageError
from ..recipe.request import Request, parse_size, random_seed
from ..session.connect import connect


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
    add("--lora", action="append", default=[], metavar="NAME[:WEIGHT]", help="may be given several times")
    add("--stage", action="append", default=[], metavar="KIND:KEY=VALUE,…", help="may be given several times, in order")
    add("--save", action="store_true", help="write into the outputs folder")
    add("--output", "-o", metavar="FILE", help="write to this .png")
    add("--as", dest="name", metavar="NAME", help="the variable that is given the artifact, or the list of several")
    return options


def imagine(line: str, cell: str | None = None) -> Any:
    """Run one cell; returns the artifact, or shows several. Raises UsageError, one line, for invalid options."""
    try:
        given = _options().parse_args(_words(line))
        if given.name is not None and (not given.name.isidentifier() or iskeyword(given.name)):
            raise UsageError(f"%%imagine: --as {given.name} is no name of a variable")
        if given.count < 1:
            raise UsageError(f"%%imagine: --count {given.count}; expected 1 or more")
        width, height = parse_size(given.size) if given.size else (None, None)
        request = Request(
            prompt=_prompt(given.prompt, cell), negative_prompt=given.negative, model=given.model, width=width,
            height=height, steps=given.steps, guidance=given.guidance,
            seed=random_seed() if given.seed is None else given.seed,
            loras=[parse_lora(text) for text in given.lora], stages=[parse_stage(text) for text in given.stage],
        )  # fmt: skip
        return _make(request, given)
    except _Helped:
        return None
    except ZImageError as error:
        raise UsageError(f"%%imagine: {error}") from None


def _words(line: str) -> list[str]:
    """Split as a shell does, but an apostrophe in a prompt is no open quote."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _prompt(words: list[str], cell: str | None) -> str:
    """The cell's text, or for a line magic the text after the options."""
    if cell is None:
        return " ".join(words)
    if words:
        raise UsageError(f"%%imagine: {' '.join(words)!r} stands behind the options; the prompt goes below that line")
    return cell.strip()


def _make(request: Request, given: argparse.Namespace) -> Any:
    session = connect()
    paths = numbered(Path(given.output) if given.output else None, given.count)
    made = []
    for number, path in enumerate(paths):
        artifact = session.run(request.but(seed=(request.seed or 0) + number))
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
