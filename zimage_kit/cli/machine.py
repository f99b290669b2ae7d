"""`zimage doctor` and `zimage lab`: what this machine can run, and opening the notebooks on it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from . import console

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

    Exit status 1 if something is in the way of making any picture at all. Advice about graphics cards is an estimate.

    \b
    Examples:
      zimage doctor
      zimage doctor --card "RTX 4060 Ti 16GB"
    """
    from .. import cards
    from .. import doctor as examination

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
    port: Annotated[int, typer.Option(metavar="N", help="Port on 127.0.0.1; the next free one if it is taken.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser window.")] = True,
) -> None:
    """Open JupyterLab on the notebooks, reachable from this machine only.

    \b
    Example:
      zimage lab --no-browser
    """
    from ..errors import BadRequest, ZImageError

    if find_spec("jupyterlab") is None:
        from ..doctor import requirements_of

        wanted = requirements_of("notebook") or "jupyterlab ipywidgets"
        raise ZImageError("JupyterLab is not installed", mend=f"{sys.executable} -m pip install {wanted}")
    place = (folder or _notebooks()).resolve()
    if not place.is_dir():
        raise BadRequest(f"folder {place} does not exist", mend="Name the folder that holds your notebooks.")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={place}", "--ip=127.0.0.1", f"--port={port}"]
    first = place / "01_first_image.ipynb"
    if first.is_file():
        command.append(f"--LabApp.default_url=/lab/tree/{first.name}")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _notebooks() -> Path:
    """The notebooks of the checkout that this package runs from; of the current folder when it is installed."""
    checkout = Path(__file__).resolve().parents[2] / "notebooks"
    return checkout if checkout.is_dir() else Path.cwd() / "notebooks" if Path("notebooks").is_dir() else Path.cwd()
