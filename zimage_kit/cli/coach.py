"""`zimage coach`: what would make a prompt work better, in the terminal or as JSON."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..errors import BadRequest
from . import console
from .run import Model


def coach(
    prompt: Annotated[list[str], typer.Argument(metavar="PROMPT", help="The prompt; - reads it from stdin.")],
    model: Model = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Explain in en or zh [default: the prompt's language].")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A list of {rule, span, why, rewrite} on stdout; [] for a good prompt.")
    ] = False,
) -> None:
    """Look a prompt over: mark words that models take badly, say why, and offer the prompt without them.

    It draws nothing and refuses nothing: the exit status is 0 whatever it finds. Spans count characters from 0; the
    second is the one after the last. `rewrite` is null where only you know what to write.

    \b
    Examples:
      zimage coach "masterpiece, best quality, 8k, a cat, no people"
      zimage coach 画一只猫，没有人 --model turbo
      zimage coach - --json < prompt.txt
    """
    from ..recipe.coach import coach as hints_for
    from ..recipe.coach import mark

    text = sys.stdin.read().strip() if prompt == ["-"] else " ".join(prompt)
    if not text.strip():
        raise BadRequest("the prompt is empty", mend="Give one, or - to read it from stdin.")
    hints = hints_for(text, model, language)
    if as_json:
        console.result_json([hint.model_dump() for hint in hints])
        return
    if not hints:
        console.say("nothing to say: a good prompt")
    for hint in hints:
        start, end = hint.span
        first = text.rfind("\n", 0, start) + 1
        for line in text[first : end + len(text[end:].partition("\n")[0])].split("\n"):
            spans = [(max(0, start - first), min(len(line), end - first))]
            console.result(line)
            console.result(mark(line, spans, lambda part: "^" * console.width(part), _blank).rstrip())
            first += len(line) + 1
        console.result(f"{hint.rule}: {hint.why}")
        console.result(f"  -> {hint.rewrite}\n" if hint.rewrite else "")


def _blank(text: str) -> str:
    return " " * console.width(text)
