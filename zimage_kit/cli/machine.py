"""`zimage doctor`, `zimage lab` and `zimage app`: what this machine can run; notebooks and studio on it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from .. import files
from . import console, course

_MARKS = {"ok": "ok  ", "note": "note", "warn": "WARN", "fail": "FAIL"}


def doctor(
    card: Annotated[
        str | None,
        typer.Option(metavar="CARD", help='Advise on this card instead of the machine\'s own, as in "RTX 3060 12GB".'),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not import the packages (saves some ten seconds).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Say what this machine can run, what is missing or wrong, and what to do about it.

    Exit status 1 if something is in the way of making any picture at all. What it says of graphics cards is computed
    from published rates.

    \b
    Examples:
      zimage doctor
      zimage doctor --card "RTX 4060 Ti 16GB"
    """
    from ..doctor import report as examination
    from ..engine import cards

    report = examination.examine(cards.parse_card(card) if card else None, quick=quick)
    if as_json:
        console.result_json(report.to_json())
    else:
        area = ""
        for finding in report.findings:
            if finding.area != area:
                area = finding.area
                console.result(area)
            console.result(f"  {_MARKS[finding.verdict]}  {finding.what}: {finding.saw}")
            if finding.mend:
                console.result(f"        -> {finding.mend}")
        console.result("Z-Image-Turbo here" if card is None else "Z-Image-Turbo on that card")
        for line in report.advice:
            console.result(f"  {line}")
    if not report.healthy:
        raise typer.Exit(console.FAILED)


def lab(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="The folder to open [default: the notebooks].")
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Copy the course there instead, in both languages; what is there already stays."
        ),
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", help="Port on 127.0.0.1; the next free one if it is taken.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser window.")] = True,
) -> None:
    """Open JupyterLab on the notebooks, reachable from this machine only.

    \b
    Examples:
      zimage lab --no-browser
      zimage lab --copy my-course
      zimage lab my-course
    """
    from ..errors import BadRequest

    if copy is not None:
        if folder is not None:
            raise BadRequest(f"{folder} with --copy", expected="one or the other")
        _copy_course(copy)
        return
    _installed("jupyterlab", "JupyterLab")
    place = (folder or course.opened()).resolve()
    if not place.is_dir():
        raise BadRequest(f"folder {place} does not exist", mend="Name the folder that holds your notebooks.")
    first = course.first(place)
    if first is None and folder is None:
        console.say("The course is not in this folder: zimage lab --copy my-course puts it there")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={place}", "--ip=127.0.0.1", f"--port={port}"]
    if first is not None:
        command.append(f"--LabApp.default_url=/lab/tree/{first}")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _copy_course(target: Path) -> None:
    """Copy the notebooks and say of each that stays why."""
    import shlex

    from ..text.units import counted

    copied = course.copy(target)
    for name in copied.kept:
        console.say(f"kept as it is: {target / name}, which differs from the course's")
    unchanged = f", {len(copied.same)} were there already" if copied.same else ""
    console.result(f"{counted(len(copied.written), 'notebook')} written to {target}{unchanged}")
    console.say(f"Open them: zimage lab {shlex.quote(str(target))}")


def app(
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Port to serve it on.")] = 7860,
    next_port: Annotated[bool, typer.Option("--next-port", help="If that one is taken, the next free one.")] = False,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="This machine's address; another than 127.0.0.1 lets others reach it."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="ZIMAGE_APP_TOKEN",
            help='What opens the page; "" for none [default: one of your own].',
        ),
    ] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option(
            "--files",
            metavar="FOLDER",
            help="The page may name files in here. More than once: in all of them [default: any file of yours; with "
            "--host, those in this folder and in the outputs, models and LoRA folders].",
        ),
    ] = None,
    theme: Annotated[Literal["light", "dark"], typer.Option(help="Its colours.")] = "light",
    lang: Annotated[Literal["en", "zh"] | None, typer.Option(help="Its language [default: the system's].")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser window.")] = True,
) -> None:
    """Open the studio as a web page. Each tab has a panel of its own; all share your session and its model.

    It is served to this machine only, but a machine can have several users: so the address that is shown holds a
    token. A browser that has been opened with it once comes in without it from then on, for as long as the token
    stays the same (30 days at most). Nothing is fetched from elsewhere. Ctrl-C ends the page; the session goes on.

    \b
    Examples:
      zimage app
      zimage app --next-port --theme dark --lang zh
      zimage app --host 0.0.0.0
      zimage app --host 0.0.0.0 --files ~/photos --files ~/zimage
    """
    _installed("voila", "Voila")
    from ..session.connect import connect
    from ..studio.web_app import address

    keys = address.keys(host, token)
    taken, listening = address.listen(host, port, next_port)
    if taken != port:
        console.say(f"port {port} is taken by {address.holder(port)}: this is on port {taken}")
    if not address.is_loopback(host):
        console.say("The connection to the page is not encrypted: in an untrusted network leave it")
        console.say(f"on 127.0.0.1 and use a tunnel: ssh -L {taken}:127.0.0.1:{taken} this-machine")
    if lang:
        os.environ["ZIMAGE_LANG"] = lang  # the kernels inherit it
    connect().close()  # started here, so that its errors are shown here
    _restrict(folders or [], not address.is_loopback(host))

    def when_up() -> None:
        console.result(address.url(host, taken, keys.token))
        console.say("Ctrl-C closes the page")
        if browser:
            address.open_browser(host, taken, keys)

    from ..studio.web_app.app import serve

    serve(listening, host, taken, keys, theme, when_up)
    console.say("the page is closed; your session keeps running (`zimage session stop` ends it)")


def _restrict(folders: list[Path], others: bool) -> None:
    """Let the page's kernels, which inherit it, name files in these folders only; for others always in some."""
    from ..library.store import outputs_dir
    from ..models.directories import models_dir

    if missing := [folder for folder in folders if not files.expanded(folder).is_dir()]:
        raise typer.BadParameter(f"{missing[0]} is not a folder", param_hint="--files")
    if not folders and others:
        loras = os.environ.get("ZIMAGE_LORAS")
        folders = [Path(), outputs_dir(), models_dir(), *([Path(loras)] if loras else [])]
    if folders:
        names = [str(files.expanded(folder).absolute()) for folder in dict.fromkeys([*folders, outputs_dir()])]
        os.environ[files.ALLOWED] = os.pathsep.join(names)
        console.say(f"The page may name files in {', '.join(names)}.")


def _installed(module: str, name: str) -> None:
    """Raises ZImageError with the command that installs what the notebooks need."""
    if find_spec(module) is None:
        from ..doctor.report import requirements_of
        from ..errors import ZImageError

        wanted = requirements_of("notebook") or f"{module} ipywidgets"
        raise ZImageError(f"{name} is not installed", mend=f"{sys.executable} -m pip install {wanted}")
