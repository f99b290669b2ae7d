"""`zimage models`: which models there are, where they lie, fetching them, checking their files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..text.units import duration, gigabytes
from . import console

if TYPE_CHECKING:
    from ..models.hub import FileCheck, Progress

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The models: list, path, download, verify.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="nano, turbo or base.")]
Fetched = Annotated[
    str, typer.Argument(metavar="NAME", help="turbo, base, or weights beside them: turbo-control, openpose.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]


@app.command("list", short_help="The known models and where they lie.")
def list_models(as_json: AsJson = False) -> None:
    """List the known models and where each lies on this disk.

    \b
    Example:
      zimage models list
    """
    from ..models import spec as models
    from ..models.extras import EXTRAS

    default = models.default_model()
    places = {name: spec.directory() for name, spec in models.SPECS.items()}
    if as_json:
        console.result_json(
            {
                "default": default,
                "models": {
                    name: {
                        "summary": spec.summary,
                        "directory": str(places[name]) if places[name] else None,
                        "download_bytes": spec.download_bytes,
                        "native": list(spec.native),
                        "steps": spec.steps,
                        "guidance": spec.guidance,
                    }
                    for name, spec in models.SPECS.items()
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
    for name, spec in models.SPECS.items():
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


@app.command(short_help="Print a model's folder.")
def path(name: Name) -> None:
    """Print the folder of a model that is on this disk.

    \b
    Example:
      zimage models path nano
    """
    from ..models import spec as models

    console.result(str(models.require(name)))


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
    as_json: AsJson = False,
) -> None:
    """Fetch a model, or what is missing of it; checks every file and fetches broken ones again.

    What has arrived is kept, so a download that broke off goes on when the command is called again.

    \b
    Examples:
      zimage models download turbo
      zimage models download turbo-control
      zimage models download turbo --source huggingface --directory /data/turbo
    """
    from ..models import hub

    with console.progress(f"{name} from {source}", quiet=as_json, line_seconds=10) as bar:

        def show(now: Progress) -> None:
            left = f", {duration(now.seconds_left)} left" if now.seconds_left is not None else ""
            rate = f" at {now.rate / 1e6:.1f} MB/s" if now.rate else ""
            text = f"{gigabytes(now.done)} of {gigabytes(now.total)}{rate}{left}"
            bar.update(now.done, now.total, text)

        done = hub.download(name, source, directory, show)
    if as_json:
        console.result_json(asdict(done))
        return
    for file in done.repaired:
        console.say(f"{file} was broken and has been fetched again")
    for file in done.newer:
        console.say(
            f"{file}: newer on the hub than when this version of zimage_kit was made; its own checksum is right"
        )
    console.result(f"{name} is at {done.directory} ({gigabytes(done.bytes)}, every file checked)")


@app.command(short_help="Check every file of a model.")
def verify(name: Name, as_json: AsJson = False) -> None:
    """Hold every file of a model against the checksums that its authors published.

    Exit status 1 if a file is missing or broken; `zimage models download` then fetches just that one.

    \b
    Example:
      zimage models verify turbo
    """
    from ..models import hub
    from ..models import spec as models

    spec = models.resolve(name)
    directory = models.require(name)
    with console.progress(f"checking {name}", quiet=as_json) as bar:
        seen = 0

        def show(file: FileCheck) -> None:
            nonlocal seen
            seen += 1
            bar.update(seen, max(seen, len(spec.checksums)), f"{file.state:8} {file.path}")

        checks = hub.verify(directory, spec.checksums, show)
    bad = [check for check in checks if check.state in ("missing", "broken")]
    if as_json:
        console.result_json({"directory": str(directory), "ok": not bad, "files": [asdict(c) for c in checks]})
    elif bad:
        names = ", ".join(f"{check.path} ({check.state})" for check in bad)
        console.result(f"{name} at {directory}: {names}. To mend it: zimage models download {name}")
    elif all(check.state == "unknown" for check in checks):
        console.result(f"{name} at {directory}: {len(checks)} files, no published checksums to hold them against")
    else:
        console.result(f"{name} at {directory}: all {len(checks)} files are what its authors published")
    if bad:
        raise typer.Exit(console.FAILED)
