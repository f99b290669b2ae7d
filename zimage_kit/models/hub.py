"""Downloads models: fetches or resumes files, checks every one, and fetches broken ones again.

ModelScope and Hugging Face are reached through their own clients (`hub_sources.py`); `hub_network.py` knows the way
there, `hub_files.py` what may be written and where. Here it is decided what is fetched: nothing that is whole already.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadRequest, DownloadFailed
from ..files import expanded, write_whole
from . import hub_files as on_disk
from . import spec as models
from .directories import ORIGIN, candidates, conversion, kept_origin, missing_files, origin
from .extras import EXTRAS, Extra
from .hub_files import RemoteFile, digest
from .hub_plan import AGAIN, WHOLE, OnNotice, Plan, Quote, failed, reason, refuse_links, survey
from .hub_sources import SOURCES, Source
from .hub_verify import PARTS, FileCheck, verify

__all__ = [
    "PARTS", "Download", "FileCheck", "Meter", "OnProgress", "Progress", "Quote", "Repair", "digest", "download",
    "fetch", "quote", "repair", "target", "verify",
]  # fmt: skip

SPARE_BYTES = 1 << 30  # left free on the disk after a download
REPORTS_PER_SECOND = 5


@dataclass(frozen=True)
class Progress:
    """A download's progress: bytes, bytes per second (over the last ten seconds), seconds left (None: unknown)."""

    done: int
    total: int
    rate: float
    seconds_left: float | None


OnProgress = Callable[[Progress], None]
OnQuote = Callable[[Quote], None]


@dataclass(frozen=True)
class Download:
    """A finished download: the folder, its bytes, and the files that were broken and have been fetched again.

    `newer` names files that match the hub's checksums but not the authors' manifest in this version of zimage_kit: the
    hub has a newer revision. `fetched`: what was missing. `aside`: the new names of what stood where a file or
    folder belongs.
    """

    directory: Path
    bytes: int
    repaired: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    fetched: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


@dataclass
class Meter:
    """Adds up bytes, from a client's threads too, and reports them a few times a second."""

    total: int
    on_progress: OnProgress | None
    waiting: dict[str, int] = field(default_factory=dict)  # path -> bytes that were on the disk before
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    marks: list[tuple[float, int]] = field(default_factory=list)

    def received(self, path: str | None, size: int) -> None:
        """Add `size` bytes, of this file where it is known."""
        with self.lock:
            if path is not None:
                self.done -= self.waiting.pop(path, 0)  # a resumed file reports its old bytes once more
            self.done = max(0, self.done + size)
            now = time.monotonic()
            if not self.marks or now - self.marks[-1][0] >= 1 / REPORTS_PER_SECOND:
                self.marks = [*self.marks[-10 * REPORTS_PER_SECOND :], (now, self.done)]
                self._report()

    def finished(self) -> None:
        """Report the end."""
        with self.lock:
            self.done = self.total
            self._report()

    def _report(self) -> None:
        if self.on_progress is None:
            return
        rate = 0.0
        if len(self.marks) > 1 and (seconds := self.marks[-1][0] - self.marks[0][0]) > 0:
            rate = max(0.0, (self.marks[-1][1] - self.marks[0][1]) / seconds)
        done = min(self.done, self.total)
        self.on_progress(Progress(done, self.total, rate, (self.total - done) / rate if rate else None))


def download(
    name: str,
    source: str = "modelscope",
    directory: Path | str | None = None,
    on_progress: OnProgress | None = None,
    *,
    on_quote: OnQuote | None = None,
    on_notice: OnNotice | None = None,
) -> Download:
    """Download a known model or extra, or the files of it that are missing or broken.

    It goes to `directory`; else to `ZIMAGE_MODELS`/name; else into the cache that `MODELSCOPE_CACHE` (or `HF_HOME` for
    Hugging Face) names; else to ~/zimage/models/name. Complete files are not fetched again; partial ones are resumed; a
    broken one is replaced once its replacement has arrived (in a hub's own cache its client may delete it before).
    `on_progress` is called from the client's threads; `on_quote` before anything is fetched, and what it raises stops
    the download; `on_notice` with a sentence if the hub is slow to answer.

    Raises DownloadFailed (the hub does not answer, too little room, a file stays broken), UnknownModel, BadRequest
    (unknown source, a model that is not on a hub, an environment variable that is no address).
    """
    plan = _plan(name, source, directory, on_notice)
    return _carry_out(plan, on_progress, on_quote)


def quote(name: str, source: str = "modelscope", directory: Path | str | None = None) -> Quote:
    """What `download` with these arguments would fetch. Asks the hub and reads what is on the disk; fetches nothing.

    Raises as `download`, but not for too little room.
    """
    return _plan(name, source, directory).quote


def target(name: str, hub: Source, directory: Path | str | None = None) -> Path | None:
    """The folder that a model is downloaded to; None means the hub's own cache, which the user has named."""
    if directory is not None:
        return expanded(Path(directory)).resolve()
    if os.environ.get("ZIMAGE_MODELS") or hub.cache is None:
        return models.models_dir() / name
    return None


def fetch(
    repository: str,
    hub: Source,
    folder: Path | None,
    checksums: Mapping[str, str],
    on_progress: OnProgress | None = None,
    files: tuple[str, ...] = (),
    *,
    license: str = "",
    checked: Sequence[FileCheck] = (),
    on_quote: OnQuote | None = None,
    on_notice: OnNotice | None = None,
) -> Download:
    """Download the pipeline's files of a hub repository, or just `files`, into `folder` and check them.

    `folder` None: into the hub's own cache. `checksums`: relative path to MD5. Files that `convert` left are kept.
    `checked`: what `verify` found just now. `license`: what is known, for when the hub names none. Callbacks as in
    `download`. Raises DownloadFailed.
    """
    plan = survey(repository, hub, folder, checksums, files, PARTS, license, checked, on_notice)
    return _carry_out(plan, on_progress, on_quote)


@dataclass(frozen=True)
class Repair:
    """What `repair` found (`checks`, before it began) and did; `download` None: there was nothing to do."""

    directory: Path
    checks: tuple[FileCheck, ...]
    download: Download | None


def repair(
    name: str,
    source: str | None = None,
    on_progress: OnProgress | None = None,
    *,
    on_file: Callable[[FileCheck], None] | None = None,
    on_quote: OnQuote | None = None,
    on_notice: OnNotice | None = None,
) -> Repair:
    """Check every file of a model or extra where it lies, and fetch again those that are missing or broken.

    `source` None: the hub that it came from, as far as that is noted. Files without a published checksum are held
    against the hub's. A broken file stays until its replacement has arrived. Callbacks as in `verify` and `download`.

    Raises BadRequest (no hub is known for it), ModelMissing (nothing of it is here), DownloadFailed, UnknownModel.
    """
    _known_source(source)
    known, place = _where(name)
    noted = origin(place).get("hub")
    source = source or (noted if noted in known.hub_ids else next(iter(known.hub_ids)))
    hub = SOURCES[source]()
    if source not in known.hub_ids:
        raise BadRequest(f"{name} is not on {hub.title}", mend=f"Use --source {next(iter(known.hub_ids))}.")
    checksums, files = ({}, known.files) if isinstance(known, Extra) else (known.checksums, ())
    checks = tuple(verify(place, checksums, on_file, files))
    if all(check.state in ("ok", "converted") for check in checks) and (files or not missing_files(place)):
        return Repair(place, checks, None)
    done = fetch(
        known.hub_ids[source],
        hub,
        place,
        checksums,
        on_progress,
        files,
        license=known.license,
        checked=checks,
        on_quote=on_quote,
        on_notice=on_notice,
    )
    return Repair(place, checks, done)


def _where(name: str) -> tuple[Extra | models.ModelSpec, Path]:
    """What is known of a model or extra on a hub, and its folder, which need not be complete."""
    if (extra := EXTRAS.get(name)) is not None:
        place = models.models_dir() / name
        return extra, place if place.is_dir() else extra.require()
    spec = models.resolve(name)
    if spec.path is not None:
        came_from = kept_origin(spec.path)
        known = next((each for each in models.SPECS.values() if came_from in each.hub_ids.values()), None)
        if spec.name == models.NANO.name:
            raise BadRequest("nano comes with zimage_kit, not from a hub", mend="Install zimage_kit again.")
        if known is None:
            raise BadRequest(
                f"the files in {spec.path} were not downloaded from a hub that zimage_kit knows",
                mend="Put its files right by hand; `zimage models verify` names the broken ones.",
            )
        return known, spec.path
    places = candidates(spec.name, spec.hub_id("modelscope"), spec.hub_id("huggingface"))
    begun = (each for each in places if any((each / part).exists() for part in PARTS))
    return spec, spec.directory() or next(begun, None) or models.require(name)


def _known_source(source: str | None) -> None:
    if source is not None and source not in SOURCES:
        raise BadRequest(f"source={source!r}", expected=" or ".join(SOURCES))


def _plan(name: str, source: str, directory: Path | str | None, on_notice: OnNotice | None = None) -> Plan:
    _known_source(source)
    hub = SOURCES[source]()
    if (extra := EXTRAS.get(name)) is not None:
        if source not in extra.hub_ids:
            raise BadRequest(f"{name} is not on {hub.title}", mend=f"Use --source {next(iter(extra.hub_ids))}.")
        place = expanded(Path(directory)).resolve() if directory else models.models_dir() / name
        return survey(extra.hub_ids[source], hub, place, {}, extra.files, PARTS, extra.license, (), on_notice)
    spec = models.resolve(name)
    repository = spec.hub_id(source)
    if repository is None:
        where = "it comes with zimage_kit" if spec.name in models.SPECS else "its files are on this disk only"
        raise BadRequest(f"{spec.name} is not on {hub.title}: {where}")
    folder = target(spec.name, hub, directory)
    if folder is None and (here := spec.directory()) is not None and conversion(here).before:
        folder = here  # converted in a hub's cache, which does not know these files any more
    return survey(repository, hub, folder, spec.checksums, (), PARTS, spec.license, (), on_notice)


def _carry_out(plan: Plan, on_progress: OnProgress | None, on_quote: OnQuote | None) -> Download:
    """Fetch what is missing or broken, check it, and put it in its place. Raises DownloadFailed."""
    _check_room(plan.quote, plan.hub)
    if on_quote is not None:
        on_quote(plan.quote)
    there = sum(f.size for f in plan.of(*WHOLE)) + sum(plan.waiting.values())
    total = sum(f.size for f in plan.wanted)
    meter = Meter(total, on_progress, waiting=dict(plan.waiting), done=there)
    missing, broken = plan.of("missing"), plan.of("broken")
    newer = [f.path for f in plan.of("newer")]
    aside: list[str] = []

    def fetched(files: Sequence[RemoteFile], place: Path | None, again: bool = False) -> Path:
        try:
            return plan.hub.fetch(plan.repository, files, place, meter.received, again)
        except Exception as error:
            doing = f"the download of {plan.repository} from {plan.hub.title} failed"
            raise failed(doing, error, plan.hub, done=meter.done, total=total) from error

    def replaced(files: Sequence[RemoteFile], place: Path) -> list[RemoteFile]:
        """Fetch these beside the model and move those that are right to their place; the others are returned."""
        refuse_links(place, files)
        staging = on_disk.staging(place)
        before = on_disk.judge(staging, files, plan.checksums)
        if rest := [f for f in files if before[f.path] not in WHOLE]:
            fetched(rest, staging, again=True)
        verdicts = on_disk.judge(staging, files, plan.checksums)
        for file in files:
            if verdicts[file.path] in WHOLE:
                aside.extend(on_disk.put_in_place(staging / file.path, place, file))
        newer.extend(path for path, verdict in verdicts.items() if verdict == "newer")
        return [f for f in files if verdicts[f.path] not in WHOLE]

    try:
        if plan.folder is None:
            place = fetched(plan.wanted, None)
            verdicts = on_disk.judge(place, plan.wanted, plan.checksums)
            newer = [path for path, verdict in verdicts.items() if verdict == "newer"]
            arrived_broken = [f for f in plan.wanted if verdicts[f.path] not in WHOLE]
        else:
            place = plan.folder
            direct = [f for f in missing if on_disk.can_arrive(place, f.path)]
            if direct:
                fetched(direct, place)
            verdicts = on_disk.judge(place, direct, plan.checksums)
            newer += [path for path, verdict in verdicts.items() if verdict == "newer"]
            arrived_broken = [f for f in direct if verdicts[f.path] not in WHOLE]
            for file in arrived_broken:
                (place / file.path).unlink(missing_ok=True)
            beside = [f for f in (*missing, *broken) if f not in direct]
            arrived_broken += replaced(beside, place) if beside else []
        still = replaced(arrived_broken, place) if arrived_broken else []
        staging = place / on_disk.STAGING
        if staging.is_dir() and not staging.is_symlink():
            shutil.rmtree(staging)
        if still:
            raise DownloadFailed(
                f"{', '.join(f.path for f in still)} arrived broken twice from {plan.hub.title}",
                mend="A proxy may be changing the bytes, or the disk is failing. Try the other --source.",
                files=[f.path for f in still],
            )
        if not (plan.folder is None or plan.files or on_disk.hub_cache(place)):  # a cache's folder names say it
            noted = {**origin(place), "hub_id": plan.repository, "hub": plan.hub.name}
            write_whole(place / ORIGIN, json.dumps(noted).encode())
    except OSError as error:
        place = plan.quote.directory
        raise DownloadFailed(f"{place} cannot be written: {reason(error)}", mend=AGAIN) from error
    meter.finished()
    again = {f.path for f in (*broken, *arrived_broken)}
    return Download(
        place,
        total + plan.kept_bytes,
        repaired=tuple(f.path for f in plan.wanted if f.path in again),
        newer=tuple(newer),
        fetched=tuple(f.path for f in missing if f.path not in again),
        aside=tuple(aside),
    )


def _check_room(offer: Quote, hub: Source) -> None:
    """Raise DownloadFailed unless what is fetched and a reserve fit on the disk."""
    if offer.free_bytes < offer.fetch_bytes + SPARE_BYTES:
        raise DownloadFailed(
            f"{offer.fetch_bytes / 1e9:.1f} GB are to be fetched from {hub.title}, but the disk of {offer.directory} "
            f"has only {offer.free_bytes / 1e9:.1f} GB free",
            mend="Free some space, or choose another disk with --directory or ZIMAGE_MODELS.",
            missing=offer.fetch_bytes,
            free=offer.free_bytes,
        )
