"""What the commands that fetch share: they show what would be fetched, ask, show progress, tell what was done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from ..text.units import duration, gigabytes
from . import console

if TYPE_CHECKING:
    from ..models.hub import Download, FileCheck, OnProgress, OnQuote, Progress, Quote

WORTH_ASKING_BYTES = 3_000_000_000
"""From how much on a download is asked about on a terminal."""


def shown(bar: console.Bar) -> Callable[[Progress], None]:
    """Shows bytes, rate and time left in a bar."""

    def show(now: Progress) -> None:
        left = f", {duration(now.seconds_left)} left" if now.seconds_left is not None else ""
        rate = f" at {now.rate / 1e6:.1f} MB/s" if now.rate else ""
        bar.update(now.done, now.total, f"{gigabytes(now.done)} of {gigabytes(now.total)}{rate}{left}")

    return show


@contextmanager
def asked(title: str, yes: bool, as_json: bool) -> Iterator[tuple[OnQuote, OnProgress]]:
    """What shows the offer and asks, and what shows the progress after it, in a bar with this title."""
    with ExitStack() as bar:
        show: list[OnProgress] = []

        def on_quote(offer: Quote) -> None:
            _agree(offer, yes, as_json)
            show.append(shown(bar.enter_context(console.progress(title, quiet=as_json, line_seconds=10))))

        yield on_quote, lambda now: show[-1](now)


def _agree(offer: Quote, yes: bool, quiet: bool) -> None:
    """Show what would be fetched, and on a terminal ask where it is much; a no ends the command."""
    ask = offer.fetch_bytes >= WORTH_ASKING_BYTES and not yes and sys.stdin.isatty()
    if not offer.files or (quiet and not ask):
        return
    license = f"{offer.license} (says {offer.license_from})" if offer.license else "not named by the hub"
    console.say(f"{offer.repository} on {offer.hub}, licence: {license}")
    console.say(
        f"{gigabytes(offer.fetch_bytes)} to fetch ({_files(offer.files)}; {gigabytes(offer.total_bytes)} in all) "
        f"to {offer.directory}, where {gigabytes(offer.free_bytes)} are free"
    )
    if ask and not console.ask("Fetch it?"):
        console.say("nothing was fetched")
        raise typer.Exit(console.FAILED)


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def tell(done: Download) -> None:
    """Say what was out of the ordinary."""
    for file in done.repaired:
        console.say(f"{file} was broken and has been fetched again")
    for file in done.newer:
        console.say(
            f"{file}: newer on the hub than when this version of zimage_kit was made; its own checksum is right"
        )
    for file in done.aside:
        console.say(f"{done.directory / file}: this stood where a file or folder of the model belongs, and was renamed")


def repair(name: str, source: str | None, yes: bool, as_json: bool) -> bool:
    """`verify --repair`: check, fetch what is needed, say what was done; whether everything is whole now."""
    from ..models import hub

    def show(file: FileCheck) -> None:
        if file.state in ("missing", "broken") and not as_json:
            console.say(f"{file.state:8} {file.path}")

    if not as_json:
        console.say(f"checking {name}")
    with asked(f"repairing {name}", yes, as_json) as (on_quote, on_progress):
        notice = None if as_json else console.say
        work = hub.repair(name, source, on_progress, on_file=show, on_quote=on_quote, on_notice=notice)
    done = work.download
    left = [check.path for check in work.checks if not (work.directory / check.path).is_file()]
    if as_json:
        did = {"fetched": done.fetched, "repaired": done.repaired, "aside": done.aside} if done else {}
        files = [asdict(check) for check in work.checks]
        console.result_json({"directory": str(work.directory), "ok": not left, "files": files, **did})
    elif left:
        console.result(f"{name} at {work.directory}: {', '.join(left)} (missing) is not on the hub any more")
    elif done is None or not (done.fetched or done.repaired):
        console.result(f"{name} at {work.directory}: every file is whole, nothing was fetched")
    else:
        tell(done)
        for file in done.fetched:
            console.say(f"{file} was missing and has been fetched")
        number = _files(len(done.fetched) + len(done.repaired))
        console.result(f"{name} at {work.directory} is repaired: {number} fetched, every file is whole now")
    return not left
