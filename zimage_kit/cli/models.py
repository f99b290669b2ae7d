"""`zimage models`: which models there are, where they lie, fetching them, checking and converting their files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..text.units import gigabytes
from . import console, fetching

if TYPE_CHECKING:
    from ..models.hub import FileCheck

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The models: list, download, add, convert …")

Name = Annotated[str, typer.Argument(metavar="NAME", help="nano, turbo or base.")]
Checked = Annotated[str, typer.Argument(metavar="NAME", help="A model's name or folder, or an extra's name.")]
Fetched = Annotated[
    str,
    typer.Argument(metavar="NAME", help="turbo, base, turbo-control, turbo-tokenizer or openpose."),
]
WORTH_BYTES = 100_000_000
"""What a conversion must free to be mentioned."""
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]


@app.command("list", short_help="The known models and where they lie.")
def list_models(as_json: AsJson = False) -> None:
    """List the known models and where each lies on this disk.

    \b
    Example:
      zimage models list
    """
    from ..models import spec as models
    from ..models.directories import savings
    from ..models.extras import EXTRAS

    default = models.default_model()
    specs = models.known()
    places = {name: spec.directory() for name, spec in specs.items()}
    freed = {name: savings(place) if place else 0 for name, place in places.items()}
    if as_json:
        console.result_json(
            {
                "default": default,
                "models": {
                    name: {
                        "summary": spec.summary,
                        "directory": str(places[name]) if places[name] else None,
                        "download_bytes": spec.download_bytes,
                        "convert_frees_bytes": freed[name],
                        "native": list(spec.native),
                        "steps": spec.steps,
                        "guidance": spec.guidance,
                    }
                    for name, spec in specs.items()
                },
                "extras": {
                    name: {
                        "summary": extra.summary,
                        "directory": str(extra.directory()) if extra.directory() else None,
                        "download_bytes": extra.download_bytes,
                    }
                    for name, extra in EXTRAS.items()
                },
            }
        )
        return
    rows = []
    for name, spec in specs.items():
        mark = "*" if name == default else " "
        place = str(places[name] or "")
        if not place:
            size = f"{spec.download_bytes / 1e9:.0f} GB"
            place = f"not here: zimage models download {name} ({size})" if spec.hub_ids else "its files are missing"
        rows.append((f"{mark} {name}", f"{spec.native[0]}x{spec.native[1]}", f"{spec.steps} steps", place))
    for name, extra in EXTRAS.items():
        size = gigabytes(extra.download_bytes)
        rows.append((f"  {name}", "", "", str(extra.directory() or f"not here: {extra.command} ({size})")))
    console.result(console.table(rows))
    console.say("* is what draws when no --model is given")
    for name in freed:
        _advise_to_convert(name, freed[name])


@app.command("loras", short_help="The LoRAs in the LoRA folders, with their trigger words.")
def list_loras(
    model: Annotated[str, typer.Option(metavar="NAME", help="Whose LoRAs. [default: the model that draws]")] = "",
    as_json: AsJson = False,
) -> None:
    """List the LoRAs that are found by name, with what their files say: trigger words, title, rank.

    \b
    Example:
      zimage models loras
    """
    from ..models import spec as models
    from ..models.lora_info import lora_info
    from ..models.loras import lora_files, lora_folders

    spec = models.resolve(model or models.default_model())
    files = lora_files(spec)
    told = {name: lora_info(file) for name, file in files.items()}
    if as_json:
        console.result_json({name: {"file": str(files[name]), **asdict(info)} for name, info in told.items()})
        return
    rows = []
    for name, info in told.items():
        rank = f"rank {info.rank:g}" if info.rank else ""
        rows.append((name, rank, ", ".join(info.triggers), info.title if info.title != name else ""))
    console.result(console.table(rows) if rows else "none")
    console.say("Folders: " + ", ".join(map(str, lora_folders(spec))))


def _advise_to_convert(name: str, freed: int) -> None:
    """Say what converting would free, where that is worth it and changes no picture."""
    from ..engine.gpus import computes_in_bfloat16

    if freed >= WORTH_BYTES and computes_in_bfloat16():
        gain = f"`zimage models convert {name}` frees {gigabytes(freed)} and changes no picture"
        console.say(f"{name} is stored in float32 and computed in bfloat16: {gain}")


@app.command(short_help="Print a model's folder.")
def path(name: Name) -> None:
    """Print the folder of a model that is on this disk.

    \b
    Example:
      zimage models path nano
    """
    from ..models import spec as models

    console.result(str(models.require(name)))


@app.command(short_help="Use files that you have: ComfyUI's, a fine-tune.")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it from now on.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|FOLDER…", help="Safetensors or GGUF files, a model's folder, ComfyUI's models folder."
        ),
    ],
    like: Annotated[
        str, typer.Option(metavar="MODEL", help="Whose limits, defaults and missing parts it has: turbo, base, nano.")
    ] = "turbo",
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With tokenizer.json; else that of the model it is like.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a model together from files as you have them; they stay where they are, and nothing large is copied.

    Takes transformer, text encoder and VAE in diffusers' or ComfyUI's layout, alone or in one checkpoint, in bfloat16,
    float16, float32, float8 or GGUF. What is missing comes from the model that it is like, if that is on this disk.

    \b
    Examples:
      zimage models add comfy ~/ComfyUI/models
      zimage models add mine z_image_turbo_bf16.safetensors qwen_3_4b.safetensors ae.safetensors
      zimage models add tuned my_finetune.safetensors
    """
    from ..models import assembled

    done = assembled.add(name, files, like, tokenizer)
    if as_json:
        console.result_json({**asdict(done), "directory": str(done.directory), "files": _paths(done.files)})
        return
    for component, paths in done.files.items():
        source = f" (of {like})" if component in done.borrowed else ""
        console.say(f"{component.replace('_', ' ')}: {', '.join(map(str, paths))}{source}")
    console.result(f"{name} is ready: zimage run … --model {name}. Its files must stay where they are.")


def _paths(files: Mapping[str, Sequence[Path]]) -> dict[str, list[str]]:
    return {component: [str(path) for path in paths] for component, paths in files.items()}


@app.command(short_help="Forget a model that was added.")
def remove(name: Annotated[str, typer.Argument(metavar="NAME", help="The name that it was added by.")]) -> None:
    """Forget a model that `zimage models add` put together. The files with its weights stay where they are.

    \b
    Example:
      zimage models remove comfy
    """
    from ..models import assembled

    place = assembled.remove(name)
    console.result(f"{name} is forgotten; {place} is gone, its weights' files are as they were")


@app.command(short_help="Fetch a model, or what is missing.")
def download(
    name: Fetched,
    source: Annotated[str, typer.Option(metavar="HUB", help="modelscope or huggingface.")] = "modelscope",
    directory: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where to; else ZIMAGE_MODELS, MODELSCOPE_CACHE or HF_HOME, ~/zimage/models."
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model, or what is missing of it; checks every file and fetches broken ones again.

    First it shows the repository, its licence, the size, the folder and its free space; on a terminal it asks before it
    fetches 3 GB and more. What has arrived is kept, so a download that broke off goes on when the command is called
    again. HF_ENDPOINT and MODELSCOPE_ENDPOINT name a mirror; HTTPS_PROXY, ALL_PROXY and NO_PROXY are respected.

    \b
    Examples:
      zimage models download turbo
      zimage models download turbo-control
      zimage models download turbo --source huggingface --directory /data/turbo
    """
    from ..models import hub
    from ..models.directories import savings

    with fetching.asked(f"{name} from {source}", yes, as_json) as (on_quote, on_progress):
        notice = None if as_json else console.say
        done = hub.download(name, source, directory, on_progress, on_quote=on_quote, on_notice=notice)
    if as_json:
        console.result_json(asdict(done))
        return
    fetching.tell(done)
    console.result(f"{name} is at {done.directory} ({gigabytes(done.bytes)}, every file checked)")
    _advise_to_convert(name, savings(done.directory))


@app.command(short_help="Check every file of a model.")
def verify(
    name: Checked,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch again what is missing or broken.")] = False,
    source: Annotated[
        str | None,
        typer.Option(metavar="HUB", help="With --repair: modelscope or huggingface; else where it came from."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Hold every file of a model against the checksums that its authors published.

    One that was converted is held against the checksum that was noted then. With --repair, files that have no published
    checksum are held against the hub's, and what is missing or broken is fetched again, wherever the model lies; a
    broken file is replaced once the new one has arrived and is right.

    Exit status 1 if a file is missing or broken, or stays so.

    \b
    Examples:
      zimage models verify turbo
      zimage models verify turbo --repair
    """
    if repair:
        if fetching.repair(name, source, yes, as_json):
            return
        raise typer.Exit(console.FAILED)
    from ..errors import BadRequest
    from ..models import hub
    from ..models import spec as models
    from ..models.extras import EXTRAS

    if source is not None:
        raise BadRequest("--source is for --repair", mend="Add --repair, or leave --source out.")
    if (extra := EXTRAS.get(name)) is not None:
        directory, checksums, files = extra.require(), {}, extra.files
    else:
        directory, checksums, files = models.require(name), models.resolve(name).checksums, ()
    with console.progress(f"checking {name}", quiet=as_json) as bar:
        seen = 0

        def show(file: FileCheck) -> None:
            nonlocal seen
            seen += 1
            bar.update(seen, max(seen, len(checksums)), f"{file.state:8} {file.path}")

        checks = hub.verify(directory, checksums, show, files)
    converted = sum(check.state == "converted" for check in checks)
    others = len(checks) - converted
    bad = [check for check in checks if check.state in ("missing", "broken")]
    if as_json:
        console.result_json({"directory": str(directory), "ok": not bad, "files": [asdict(c) for c in checks]})
    elif bad:
        names = ", ".join(f"{check.path} ({check.state})" for check in bad)
        console.result(
            f"{name} at {directory}: {names}. To mend it: "
            f"zimage models verify {name} --repair, or zimage models download {name}"
        )
    else:
        rounded = f"{converted} files are as their conversion to bfloat16 left them, " if converted else ""
        if not any(check.state == "ok" for check in checks):
            rest = f"{others} files, no published checksums to hold them against"
        else:
            rest = f"all {others} {'others' if converted else 'files'} are what its authors published"
        console.result(f"{name} at {directory}: {rounded}{rest}")
    if bad:
        raise typer.Exit(console.FAILED)


@app.command(short_help="Store float32 weights in bfloat16, once.")
def convert(
    name: Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="turbo, base, or a model's folder.")] = "turbo",
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Make a converted copy there; the original stays as it is."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Round a model's float32 weights to bfloat16 on disk, once: 24.6 GB of turbo become 12.3 GB.

    Computed in bfloat16, as on a GPU, every picture stays the same, and loading reads half. Each file is written beside
    the old one, checked, and only then replaces it. The same command goes on where it was interrupted.

    \b
    Examples:
      zimage models convert turbo
      zimage models convert turbo --to /data/turbo-bf16
    """
    from ..engine.gpus import computes_in_bfloat16
    from ..errors import BadRequest
    from ..models import convert as conversion
    from ..models import spec as models

    spec, directory = models.resolve(name), models.require(name)
    work = conversion.survey(directory, to)
    if not work.shards and not work.copied:
        if as_json:
            console.result_json({**asdict(work), "converted": []})
        else:
            console.result(f"{name} at {directory}: no float32 weights to convert")
        return
    sizes = f"{gigabytes(work.before)} in {len(work.shards)} files become {gigabytes(work.after)}"
    gain = f", which frees {gigabytes(work.before - work.after)}" if to is None else f" in {work.target}"
    console.say(f"{name} at {directory}: {sizes}{gain}")
    console.say(f"{gigabytes(work.needed)} of the disk's {gigabytes(work.free)} free are needed")
    if not computes_in_bfloat16():
        console.say("this machine draws in another type by default: there, pictures will differ a little from before")
    if to is None:
        console.say("the float32 weights are gone then; --to FOLDER keeps them and makes a copy")
    if not yes and not sys.stdin.isatty():
        raise BadRequest("this asks before it begins, and there is no terminal to ask on", mend="Add --yes.")
    if not yes and not console.ask("Convert?"):
        console.say("nothing was changed")
        raise typer.Exit(console.FAILED)
    try:
        with console.progress(f"converting {name}", quiet=as_json, line_seconds=10) as bar:
            conversion.convert(directory, to, spec.checksums, fetching.shown(bar))
    except KeyboardInterrupt:
        console.say("every file is whole, converted or not; the same command goes on from here")
        raise
    if as_json:
        console.result_json({**asdict(work), "converted": list(work.shards)})
    else:
        kept = f"; {directory} is as it was" if to is not None else ""
        console.result(f"{name} is at {work.target} in bfloat16 ({sizes}, every file read back){kept}")
