"""`zimage recipe`: what is written in a picture, making it again, comparing two."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..text.units import duration
from . import console
from .run import AsJson, Device, Dtype, Inline, Memory, Model, Precision, Speed

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The recipe inside a picture: show, rerun, diff, presets, styles."
)

Picture = Annotated[Path, typer.Argument(metavar="FILE", help="A picture made by zimage_kit, or by A1111.")]


@app.command(short_help="What a picture was made from.")
def show(file: Picture, as_json: AsJson = False) -> None:
    """Show the recipe that a picture carries, and how it was made.

    \b
    Examples:
      zimage recipe show balloon.png
      zimage recipe show balloon.png --json
    """
    from ..recipe.artifact import read

    artifact = read(file)
    if as_json:
        console.result_json(artifact.recipe)
        return
    request, trace = artifact.request, artifact.trace
    rows: list[tuple[str, ...]] = [("prompt", request.prompt)]
    if request.template:
        rows.append(("from the template", request.template))
    if request.negative_prompt:
        rows.append(("negative prompt", request.negative_prompt))
    if request.negative_template:
        rows.append(("from the template", request.negative_template))
    if request.template_seed not in (None, request.seed):
        rows.append(("template's seed", str(request.template_seed)))
    rows += [
        ("model", request.model or ""),
        ("size", f"{request.width}x{request.height}"),
        ("steps", str(request.steps)),
        ("guidance", f"{request.guidance:g}" if request.guidance is not None else ""),
        ("seed", str(request.seed)),
    ]
    rows += [("lora", f"{lora.path} at {lora.weight:g}") for lora in request.loras]
    rows += [("stage", f"{stage.kind} {_fields(stage.fields())}".strip()) for stage in request.stages]
    rows += [("made", trace.created), ("on", f"{trace.device}, {trace.dtype}")]
    if "total" in trace.milliseconds:
        rows.append(("took", duration(trace.milliseconds["total"] / 1000)))
    rows.append(("with", ", ".join(f"{name} {number}" for name, number in trace.versions.items())))
    if trace.unknown_words:
        rows.append(("unknown words", ", ".join(trace.unknown_words)))
    rows += [("note", note) for note in trace.notes]
    console.result(console.table(rows))


@app.command(short_help="Make it again; --verify compares.")
def rerun(
    file: Picture,
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing; compare with FILE. Exit status 1 if it differs.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to [default: the outputs folder].")
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--input", metavar="FILE", help="A file that it was made with and that is gone. May be repeated."),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    memory: Memory = None,
    precision: Precision = None,
    speed: Speed = None,
    inline: Inline = False,
    as_json: AsJson = False,
) -> None:
    """Make a picture again from the recipe that it carries.

    \b
    Examples:
      zimage recipe rerun balloon.png --verify
      zimage recipe rerun balloon.png --output again.png
      zimage recipe rerun boat.png --input mask.png
    """
    from ..recipe import asset
    from ..recipe.artifact import read
    from .run import check_targets, finish, make, open_session

    artifact = read(file)
    if not verify or output is not None:
        check_targets([output])
    for file in inputs or ():
        asset.give(artifact.request, file)
    session = open_session(inline, device=device, dtype=dtype, memory=memory, precision=precision, speed=speed)
    if verify:
        with console.progress("making it again", quiet=as_json):
            verdict = artifact.verify(session)
        if as_json:
            console.result_json(asdict(verdict))
        else:
            console.result(str(verdict))
        if not verdict:
            raise typer.Exit(console.FAILED)
        return
    again = make(session, artifact.request, quiet=as_json)
    finish([(again, again.save(output))], as_json)


@app.command(short_help="Keep it as a preset.")
def save(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the preset is called.")],
    file: Picture,
    exactly: Annotated[
        bool, typer.Option("--exactly", help="With what followed from the model and stages, and the seed.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a preset of this name.")] = False,
) -> None:
    """Keep a picture's recipe under a name: what was asked for, without the seed; what was derived stays open.

    \b
    Examples:
      zimage recipe save poster balloon.png
      zimage run "a red boat" --preset poster
    """
    from ..recipe.artifact import read
    from ..recipe.presets import save_preset

    artifact = read(file)
    request = artifact.request if exactly else artifact.reopened(seed=False)
    console.result(str(save_preset(name, request, replace=replace)))


@app.command(short_help="The presets that are kept.")
def presets(
    forget: Annotated[str | None, typer.Option("--forget", metavar="NAME", help="Delete one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List presets, with what each one says.

    \b
    Examples:
      zimage recipe presets
      zimage recipe presets --forget poster
    """
    from ..recipe import presets as kept

    if forget is not None:
        kept.forget_preset(forget)
        console.say(f"forgot {forget}")
    found = {name: kept.preset(name).model_dump(mode="json", exclude_defaults=True) for name in kept.presets()}
    if as_json:
        console.result_json(found)
    elif found:
        console.result(console.table([(name, _fields(fields)) for name, fields in found.items()]))


@app.command(short_help="Named pieces of prompt.")
def styles(model: Model = None, as_json: AsJson = False) -> None:
    """List styles, pieces of prompt to end one with: yours, and those that ship for a model.

    \b
    Examples:
      zimage recipe styles
      zimage recipe styles --model nano
    """
    from ..models.spec import default_model
    from ..recipe.styles import styles as kept

    found = kept(model=model or default_model())
    console.result_json(found) if as_json else console.result(console.table(list(found.items())))


@app.command(short_help="Its format, as a JSON Schema.")
def schema() -> None:
    """Print the JSON Schema of recipes, with the stages that are installed here; docs/recipe.md explains it.

    \b
    Example:
      zimage recipe schema > recipe.schema.json
    """
    from ..stages.schema import recipe_schema

    console.result_json(recipe_schema())


@app.command(short_help="How two pictures differ.")
def diff(
    one: Annotated[Path, typer.Argument(metavar="FILE", help="A picture made by zimage_kit, or by A1111.")],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Say how two pictures' recipes and pixels differ.

    \b
    Example:
      zimage recipe diff balloon.png balloon-2.png
    """
    from ..recipe.artifact import read

    difference = read(one).diff(read(other))
    if as_json:
        pixels: dict[str, Any] | None = asdict(difference.pixels) if difference.pixels else None
        fields = {name: {"one": mine, "other": theirs} for name, (mine, theirs) in difference.fields.items()}
        console.result_json({"fields": fields, "pixels": pixels, "inputs": difference.inputs})
    else:
        console.result(str(difference))


def _fields(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
