"""What a download has to do: lists the repository, looks at what is on the disk, and quotes what is to be fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DownloadFailed
from . import hub_files as on_disk
from .directories import candidates
from .hub_files import RemoteFile
from .hub_network import explained, unreachable, without_tls
from .hub_sources import SOURCES, Source
from .hub_verify import FileCheck, converted
from .spec import free_bytes

AGAIN = "Run the same command again: what has arrived is kept."
WHOLE = ("ok", "newer")
OnNotice = Callable[[str], None]


@dataclass(frozen=True)
class Quote:
    """What a download would fetch, from where, and where to: sizes in bytes.

    `license` is what the hub names, else what zimage_kit knows of the model (`license_from` says which), or "".
    """

    repository: str
    hub: str
    license: str
    license_from: str
    directory: Path
    files: int
    fetch_bytes: int
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Plan:
    """What is to be done: every wanted file, and for each that is on the disk what was found (`judge`)."""

    repository: str
    hub: Source
    folder: Path | None
    checksums: Mapping[str, str]
    files: tuple[str, ...]
    wanted: tuple[RemoteFile, ...]
    found: Mapping[str, str]
    kept_bytes: int
    waiting: Mapping[str, int]  # bytes of partial files
    quote: Quote

    def of(self, *verdicts: str) -> list[RemoteFile]:
        """The files of which this was found."""
        return [file for file in self.wanted if self.found[file.path] in verdicts]


def survey(
    repository: str,
    hub: Source,
    folder: Path | None,
    checksums: Mapping[str, str],
    files: tuple[str, ...],
    parts: tuple[str, ...],
    known_license: str,
    checked: Sequence[FileCheck],
    on_notice: OnNotice | None,
) -> Plan:
    """List the repository and look at what is there: `files`, or if there are none what begins with one of `parts`.

    Raises DownloadFailed.
    """
    _contact(hub, repository, on_notice)
    try:
        listed = list(dict.fromkeys(hub.listing(repository)))
    except Exception as error:
        raise failed(f"{hub.title} could not list {repository}", error, hub) from error
    wanted = [f for f in listed if (f.path in files if files else f.path.startswith(parts))]
    if wrong := on_disk.refused([f.path for f in wanted]):
        raise DownloadFailed(f"{repository} on {hub.title} lists {wrong}", mend="Do not use this repository.")
    if absent := sorted(set(files) - {f.path for f in wanted}):
        raise DownloadFailed(f"{repository} on {hub.title} has no {', '.join(absent)}", mend="Update zimage_kit.")
    if not files and not any(f.path == "model_index.json" for f in wanted):
        raise DownloadFailed(
            f"{repository} on {hub.title} has no model_index.json, so it is not a model for this pipeline",
            mend="Check the name; `zimage models list` shows the known ones.",
        )
    kept = {check.path: check.bytes for check in checked if check.state == "converted"}
    if folder is not None and not checked:
        kept = converted(folder)
    wanted = [f for f in wanted if f.path not in kept]
    found, waiting = dict.fromkeys((f.path for f in wanted), "missing"), {}
    if folder is None:  # what is in the hub's cache is its client's business: sizes do for a quote
        cached = _cached(hub, repository)
        here = (f.path for f in wanted if cached and (cached / f.path).is_file())
        sizes = {path: (cached / path).stat().st_size for path in here if cached}
        found |= {f.path: "ok" for f in wanted if sizes.get(f.path) == f.size}
    else:
        if folder.exists() and not folder.is_dir():
            raise DownloadFailed(f"{folder} is a file, not a folder", mend="Move it away, or give another --directory.")
        sound = {check.path for check in checked if check.state == "ok"}
        found |= dict.fromkeys(sound & found.keys(), "ok")
        found |= on_disk.judge(folder, [f for f in wanted if f.path not in sound], checksums)
        places = (folder, folder / on_disk.STAGING)
        waiting = {f.path: max(_arrived(place, f) for place in places) for f in wanted if found[f.path] not in WHOLE}
    to_fetch = [f for f in wanted if found[f.path] not in WHOLE]
    if folder is not None:
        refuse_links(folder, to_fetch)
    place = folder or hub.cache or Path.home()
    license, license_from = _license(hub, repository, known_license) if to_fetch else (known_license, "zimage_kit")
    offer = Quote(
        repository=repository,
        hub=hub.name,
        license=license,
        license_from=license_from if license else "",
        directory=place,
        files=len(to_fetch),
        fetch_bytes=sum(f.size - waiting.get(f.path, 0) for f in to_fetch),
        total_bytes=sum(f.size for f in wanted) + sum(kept.values()),
        free_bytes=free_bytes(place),
    )
    return Plan(repository, hub, folder, checksums, files, tuple(wanted), found, sum(kept.values()), waiting, offer)


def refuse_links(folder: Path, files: Sequence[RemoteFile]) -> None:
    """Raise DownloadFailed if a folder that these files would be written to is a link out of the model's."""
    if out := on_disk.leads_out(folder, [f.path for f in files]):
        raise DownloadFailed(
            f"{out} is a link to {out.resolve()}, outside of the model's folder, and files are to be written there",
            mend="Make it a real folder, or give another --directory.",
        )


def _arrived(folder: Path, file: RemoteFile) -> int:
    """Bytes of a file that are in `folder` in parts; in staging it may be there whole."""
    whole = folder.name == on_disk.STAGING and (folder / file.path).is_file()
    return file.size if whole else on_disk.partial_bytes(folder, file)


def _cached(hub: Source, repository: str) -> Path | None:
    """The newest folder of the repository in the hub's own cache."""
    ids = [repository if hub.name == name else None for name in ("modelscope", "huggingface")]
    places = candidates(repository.replace("/", "--"), *ids)
    return next((each for each in places if hub.cache and each.is_dir() and each.is_relative_to(hub.cache)), None)


def _contact(hub: Source, repository: str, on_notice: OnNotice | None) -> None:
    """Raise DownloadFailed if there can be no connection; whatever else happens, the client is left to try.

    It would try for seven seconds and longer; a machine without a network should say so at once.
    """
    try:
        hub.contact()
    except Exception as error:
        if why := unreachable(error, hub.at.url):
            other = next(key for key in SOURCES if key != hub.name)
            raise DownloadFailed(
                f"{hub.title} cannot be reached: {why}",
                mend=f"Check the network and proxy settings, or try --source {other}.",
                repository=repository,
            ) from error
        if plain := without_tls(error, hub.at):
            raise DownloadFailed(f"{hub.title} cannot be reached: {plain[0]}", mend=plain[1]) from error
        if on_notice is not None and "Timeout" in type(error).__name__:
            on_notice(f"{hub.title} has not answered yet; its client keeps trying, Ctrl-C stops it")


def _license(hub: Source, repository: str, known: str) -> tuple[str, str]:
    """The licence and who names it. That a hub or mirror has no metadata is no reason not to download."""
    try:
        named = hub.license(repository)
    except Exception:
        named = ""
    return (named, hub.title) if named else (known, "zimage_kit")


def failed(doing: str, error: Exception, hub: Source, **facts: Any) -> DownloadFailed:
    """The error of ours for a client's."""
    local = isinstance(error, FileExistsError | NotADirectoryError | PermissionError)
    usual = "Check that the folder can be written, or give another --directory." if local else AGAIN
    why, mend = explained(error, hub.title, hub.at, hub.socks_package) or (reason(error), usual)
    return DownloadFailed(f"{doing}: {why}", mend=mend, **facts)


def reason(error: BaseException) -> str:
    """A client's error in one line, with the files it names."""
    failed = getattr(error, "failed_files", None)
    if failed:
        return "; ".join(f"{path}: {reason(cause)}" for path, cause in list(failed.items())[:3])
    return " ".join(str(error).split())[:300] or type(error).__name__
