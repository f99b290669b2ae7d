"""`zimage grid`: pictures side by side, as a sheet, a web page or a table; only those are made that are not there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..text.units import duration
from . import console
from .run import (
    AsJson,
    Device,
    Dtype,
    Guidance,
    Inline,
    Loras,
    Memory,
    Model,
    Negative,
    Precision,
    Size,
    Speed,
    Stages,
    Steps,
    check_targets,
    open_session,
    parse_lora,
    parse_stage,
)

if TYPE_CHECKING:
    from ..grid import Cell, Grid
    from ..session.session import Session

ENDINGS = (".png", ".jpg", ".jpeg", ".html", ".csv", ".json")
_LINE_SECONDS = 5.0  # between two lines about progress in a log


def _axis(name: str, what: str) -> Any:
    return typer.Option(name, metavar="NAME=VALUES", help=what)


def grid(
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What to draw; {name} is a place for an axis of that name.")
    ] = "",
    x: Annotated[
        list[str] | None, _axis("--x", "What varies from left to right; given again, in step with it.")
    ] = None,
    y: Annotated[list[str] | None, _axis("--y", "What varies from top to bottom.")] = None,
    pages: Annotated[list[str] | None, _axis("--pages", "What varies from sheet to sheet.")] = None,
    inner: Annotated[list[str] | None, _axis("--inner", "What varies inside of each cell.")] = None,
    cells: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV file: axis names, then one line for each cell.")
    ] = None,
    reopen: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A grid that was saved, instead of PROMPT and axes.")
    ] = None,
    model: Model = None,
    size: Size = None,
    steps: Steps = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of every cell [default: 42].")] = None,
    guidance: Guidance = None,
    negative: Negative = "",
    lora: Loras = None,
    stage: Stages = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help=".png, .jpg, .html, .csv, .json; several [default: a dated .png]."
        ),
    ] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Above the sheet.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however many cells are new.")] = False,
    device: Device = None,
    dtype: Dtype = None,
    memory: Memory = None,
    precision: Precision = None,
    speed: Speed = None,
    inline: Inline = False,
    as_json: AsJson = False,
) -> None:
    """Make pictures side by side and save them as a sheet.

    An axis is a field (prompt, seed, steps, size, model, lora, "lora weight", pose.scale, stages.upscale …) or a {name}
    in the prompt. Values: 1,2,3 or 1-9 or 1-9(+2); a;b;c for prompts; @FILE for a value a line; for seeds also scout,
    "scout 6" or "scout 6 of 48", those that differ most (see `zimage run --help`). A template such as "a {red|blue}
    boat" is an axis of its combinations, see `zimage template`. Cells are kept: another value makes only what is new,
    and a grid that was interrupted goes on where it was.

    \b
    Examples:
      zimage grid "a {colour} balloon" --x colour=red,blue,green --y seed=1-3 --output balloons.png
      zimage grid "a {red|blue} {boat|balloon}" --x seed=1-3 --output boats.png
      zimage grid --y "prompt=a white cat;海上的红色热气球" --x steps=2,4,8 --output steps.html
      zimage grid --y "prompt=a red boat;a cat" --x seed=scout --output seeds.png
      zimage grid "a girl" --stage pose:preset=waving --x "pose.scale=0.4-1(+0.2)" --output scale.png
      zimage grid "a red boat" --x seed=1-4 --x size=256x256,320x192,192x320,256x256 --output sizes.jpg
      zimage grid --reopen balloons.png --output balloons.csv
    """
    from ..errors import BadRequest
    from ..grid.axis_table import table_of
    from ..grid.preparation import cost_output
    from ..recipe.request import Request, parse_size
    from ..recipe.templates import is_template

    targets: list[Path | None] = [checked_output(path) for path in output or ()] or [None]
    if not output:
        check_targets(targets)
    given = {"columns": x, "rows": y, "pages": pages, "inner": inner}
    axes, layout = parse_axes(given)
    if not (axes or cells or reopen or is_template(prompt)):
        raise BadRequest("a grid without axes", mend="Give it one, such as --x seed=1-4 or --y 'prompt=a cat;a dog'.")
    if reopen is not None:
        settings = {"--model": model, "--size": size, "--steps": steps, "--seed": seed, "--guidance": guidance,
                    "--negative": negative or None, "--lora": lora, "--stage": stage}  # fmt: skip
        refuse_settings(
            bool(prompt or axes or cells), [name for name, value in settings.items() if value not in (None, [])]
        )
    opened = partial(open_session, inline, device=device, dtype=dtype, memory=memory, precision=precision, speed=speed)
    with cost_output("nothing" if as_json else "line"):
        if reopen is not None:
            made = reopened(opened, reopen, title, yes)
        else:
            session = opened()
            width, height = parse_size(size) if size else (None, None)
            base = Request(
                prompt=prompt,
                negative_prompt=negative,
                model=model,
                width=width,
                height=height,
                steps=steps,
                guidance=guidance,
                seed=seed,
                loras=[parse_lora(text) for text in lora or ()],
                stages=[parse_stage(text) for text in stage or ()],
            )
            table = {} if cells is None else table_of(cells) or {}
            both = sorted(set(table) & set(axes))
            if both:
                raise BadRequest(f"{both[0]} is a column of {cells} already", mend="Leave it out here or there.")
            made = session.grid(base, {**table, **axes}, title=title, yes=yes, zip=tuple(table), **layout)
    wait(made, quiet=as_json)
    saved = [path for target in targets for path in made.save(target)]
    print_result(made, saved, as_json)


def checked_output(path: Path) -> Path:
    """A path that a grid can be written to, before anything runs. Raises CannotWrite."""
    from ..errors import CannotWrite
    from ..files import check_writable_file

    if path.suffix.lower() not in ENDINGS:
        raise CannotWrite(f"{path.name} ends in {path.suffix or 'nothing'}", expected=", ".join(ENDINGS))
    return check_writable_file(path)


def parse_axes(given: dict[str, list[str] | None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`NAME=VALUES` by role to (values by name, names by role). Raises BadRequest."""
    from ..errors import BadRequest

    axes: dict[str, Any] = {}
    layout: dict[str, Any] = {}
    options = {"columns": "--x", "rows": "--y"}
    for role, texts in given.items():
        names = []
        for text in texts or ():
            name, equals, values = text.partition("=")
            option = options.get(role, f"--{role}")
            if not equals or not name.strip():
                raise BadRequest(
                    f"{option} {text!r}", expected="NAME=VALUES", mend="Such as seed=1-4 or colour=red,blue."
                )
            if name.strip() in axes:
                raise BadRequest(f"{option} {text!r}: {name.strip()} is an axis already")
            axes[name.strip()] = values
            names.append(name.strip())
        if names:
            layout[role] = tuple(names)
    return axes, layout


def refuse_settings(asked: bool, settings: list[str]) -> None:
    """Refuse what a grid that is opened again has already. Raises BadRequest."""
    from ..errors import BadRequest

    if asked:
        raise BadRequest("--reopen with a prompt or axes", expected="one or the other")
    if settings:
        raise BadRequest(
            f"--reopen with {settings[0]}",
            expected="the grid as it was saved; --title, --output, --device and --yes may be given",
        )


def reopened(session: Callable[[], Session], path: Path, title: str, yes: bool) -> Grid:
    """A saved grid, under another title if one is given; what is missing of it is made, by a session opened for it."""
    from ..grid import Grid

    made = Grid.open(path)
    missing = len(made.done) < len(made)
    if missing:
        made = Grid.open(path, session())
    if title:
        made = made.arranged(title=title)
    if missing:
        made.retry(yes=yes)
    return made


def wait(made: Grid, quiet: bool) -> None:
    """Until it is done, with a bar on a terminal and a line now and then elsewhere."""
    with console.progress("cells", quiet=quiet, line_seconds=_LINE_SECONDS) as bar:
        made.wait(on_progress=bar.update)


def _seconds(cell: Cell) -> float:
    """Of a cell's picture, without loading."""
    took = cell.trace.milliseconds if cell.trace else {}
    return (took.get("total", 0.0) - took.get("import", 0.0) - took.get("load", 0.0)) / 1000


def print_result(made: Grid, saved: list[Path], as_json: bool) -> None:
    """Say what was made and where it lies. Exit status 1 when a cell failed."""
    if as_json:
        summary = {
            "files": [str(path) for path in saved],
            "cells": len(made),
            "computed": len(made.computed),
            "drawn": made.drawn,
            "failed": [{"cell": cell.label, "error": str(cell.error)} for cell in made.failed],
            "rows": made.rows(),
        }
        console.result_json(summary)
    else:
        for cell in made.failed:
            console.say(f"failed: {cell.label}: {cell.error}")
        took = f" in {duration(sum(map(_seconds, made.computed)))}" if made.computed else ""
        for path in saved:
            console.result(f"saved {path} ({len(made.done)} of {len(made)} cells, {len(made.computed)} made now{took})")
    if len(made.done) < len(made):
        raise typer.Exit(console.FAILED)
