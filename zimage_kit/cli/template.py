"""`zimage template`: what a prompt with choices becomes, before anything is drawn."""

from __future__ import annotations

from typing import Annotated

import typer

from . import console
from .run import AsJson


def template(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="A prompt with choices [default: list the word lists].")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many prompts; their seeds count up.")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the first one.")] = 0,
    every: Annotated[bool, typer.Option("--all", help="Every combination once, instead of choices by seeds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a template becomes: with each seed the prompt that `zimage run` draws for it.

    {red|blue} is one of them, {3::red|blue} with weights, {2$$a|b|c} two of them, {1-2$$ and $$a|b} one or two joined
    with " and ", __animals__ a line of the word list animals.txt. All of it may be nested; \\{ is the brace itself.
    See docs/templates.md.

    \b
    Examples:
      zimage template "a {red|blue} boat{| at night}" --count 4
      zimage template "a {red|blue} boat, {2$$ink|oil|gold}" --all
      zimage template
    """
    from ..recipe import templates, word_lists

    if text is None:
        found = {name: len(word_lists.entries(name)) for name in word_lists.word_lists()}
        if as_json:
            console.result_json({"folder": str(word_lists.folder()), "lists": found})
        else:
            console.result(f"word lists are in {word_lists.folder()}" + ("" if found else ", which has none"))
            console.result(
                console.table([(f"__{name}__", str(lines)) for name, lines in found.items()]) if found else ""
            )
        return
    size = templates.count(text)
    shown: list[tuple[int | None, str]]
    if every:
        shown = [(None, each.prompt) for each in templates.every(text)]
    else:
        shown = [(number, templates.resolve(text, number)) for number in range(seed, seed + count)]
    if as_json:
        prompts = [{"seed": number, "prompt": prompt} for number, prompt in shown]
        console.result_json({"combinations": size, "prompts": prompts})
        return
    console.say(f"{size} combination{'s' * (size != 1)}")
    for number, prompt in shown:
        console.result(prompt if number is None else f"{number}  {prompt}")
