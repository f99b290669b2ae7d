"""`zimage extensions`: which there are, whether they can be used and why not, and a new one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console

if TYPE_CHECKING:
    from ..stages.extensions import Extension

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The extensions: list, new.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]


@app.command("list", short_help="Which there are, what they bring, and why one cannot be used.")
def list_extensions(
    as_json: AsJson = False,
    load: Annotated[
        bool, typer.Option("--load", help="Import each one too, to see whether it works; otherwise none is imported.")
    ] = False,
) -> None:
    """List the extensions that are found: in the checkout, in $ZIMAGE_EXTENSIONS, and among installed packages.

    Nothing is installed; for what is missing the command is shown. Exit status 1 if one is broken.

    \b
    Examples:
      zimage extensions list
      zimage extensions list --load --json
    """
    from ..errors import ExtensionProblem
    from ..stages import extensions

    found = extensions.discover()
    if load:
        for extension in found:
            if extension.state == "ready":
                with suppress(ExtensionProblem):  # it stands in the list that is read next
                    extensions.load(extension)
        found = extensions.discover()
    broken = [extension for extension in found if extension.state == "broken"]
    if as_json:
        entries = [
            {
                "name": extension.name,
                "state": extension.state,
                "version": extension.version,
                "summary": extension.summary,
                "stages": list(extension.stages),
                "panes": list(extension.panes),
                "folder": str(extension.folder),
                "missing": list(extension.missing),
                "install": extension.install,
                "problem": extension.problem,
                "traceback": extension.details,
            }
            for extension in found
        ]
        console.result_json({"extensions": entries})
    elif not found:
        console.result("no extension was found")
    else:
        console.result(
            console.table(
                [(e.name, e.state, e.version, " ".join((*e.stages, *e.panes)), _why_not(e) or e.summary) for e in found]
            )
        )
    if broken:
        raise typer.Exit(console.FAILED)


def _why_not(extension: Extension) -> str:
    return extension.problem or (f"run: {extension.install}" if extension.install else "")


@app.command(short_help="Write the folder of a new one, with a passing test.")
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the extension and of its stage or pane, such as my_frame.")
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--in", metavar="FOLDER", help="Where to [default: the checkout's extensions/, else $ZIMAGE_EXTENSIONS]."
        ),
    ] = None,
    pane: Annotated[bool, typer.Option("--pane", help="With a pane of the studio instead of a stage.")] = False,
) -> None:
    """Write a complete small extension to begin with: manifest, code, README and a test that passes.

    \b
    Examples:
      zimage extensions new my_frame
      zimage extensions new palette --pane
    """
    import shlex

    from ..stages import extensions, scaffold

    made = scaffold.write(name, folder, pane)
    console.result(f"written: {made}")
    known = {extension.folder for extension in extensions.discover()}
    if made.resolve() not in known:
        console.say(f"To have it found: export ZIMAGE_EXTENSIONS={shlex.quote(str(made.parent))}")
    console.say(f"Its test: python -m pytest {shlex.quote(str(made))}")
    if pane:
        console.say("Its pane: zimage app, or session.studio() in a notebook; its button stands beside Generate.")
    else:
        console.say(f"Its stage: zimage run --stage {name}:width=0.05")
