"""Downloads models: fetches or resumes files, checks every one, and fetches broken ones again.

ModelScope and Hugging Face are reached through their own clients (`hub_sources.py`). Before a download it checks that
the hub can be reached and that the disk has room; afterwards, that every file is the one that the authors published.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadRequest, DownloadFailed
from ..files import write_whole
from . import spec as models
from .directories import ORIGIN, conversion, float32_bytes, origin
from .extras import EXTRAS
from .hub_sources import SOURCES, RemoteFile, Source, reachable

SPARE_BYTES = 1 << 30  # left free on the disk after a download
REPORTS_PER_SECOND = 5
PARTS = ("model_index.json", "scheduler/", "text_encoder/", "tokenizer/", "transformer/", "vae/")
"""What the pipeline reads. The hub repositories also hold pictures for their web pages."""


@dataclass(frozen=True)
class Progress:
    """A download's progress: bytes, bytes per second (over the last ten seconds), seconds left (None: unknown)."""

    done: int
    total: int
    rate: float
    seconds_left: float | None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Download:
    """A finished download: the folder, its bytes, and the files that arrived broken and were fetched again.

    `newer` names files that match the hub's checksums but not the authors' manifest in this version of zimage_kit: the
    hub has a newer revision.
    """

    directory: Path
    bytes: int
    repaired: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileCheck:
    """One file of a model on the disk.

    `state` is ok, converted (what `convert` left), missing, broken or unknown (there is no checksum for it).
    """

    path: str
    state: str
    bytes: int = 0


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
) -> Download:
    """Download a known model or extra, or the files of it that are missing.

    It goes to `directory`; else to `ZIMAGE_MODELS`/name; else into the cache that `MODELSCOPE_CACHE` (or `HF_HOME` for
    Hugging Face) names; else to ~/zimage/models/name. Complete files are not fetched again; partial ones are resumed.
    `on_progress` is called from the client's threads.

    Raises DownloadFailed (the hub does not answer, too little room, a file stays broken), UnknownModel, BadRequest
    (unknown source, a model that is not on a hub).
    """
    if source not in SOURCES:
        raise BadRequest(f"source={source!r}", expected=" or ".join(SOURCES))
    hub = SOURCES[source]()
    if (extra := EXTRAS.get(name)) is not None:
        if source not in extra.hub_ids:
            raise BadRequest(f"{name} is not on {hub.title}", mend=f"Use --source {next(iter(extra.hub_ids))}.")
        place = Path(directory).expanduser().resolve() if directory else models.models_dir() / name
        return fetch(extra.hub_ids[source], hub, place, {}, on_progress, extra.files)
    spec = models.resolve(name)
    repository = spec.hub_id(source)
    if repository is None:
        raise BadRequest(f"{spec.name} is not on {hub.title}: it comes with zimage_kit")
    folder = target(spec.name, hub, directory)
    if folder is None and (here := spec.directory()) is not None and conversion(here).before:
        folder = here  # converted in a hub's cache, which does not know these files any more
    return fetch(repository, hub, folder, spec.checksums, on_progress)


def target(name: str, hub: Source, directory: Path | str | None = None) -> Path | None:
    """The folder that a model is downloaded to; None means the hub's own cache, which the user has named."""
    if directory is not None:
        return Path(directory).expanduser().resolve()
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
) -> Download:
    """Download the pipeline's files of a hub repository, or just `files`, into `folder` and check them.

    `folder` None: into the hub's own cache. `checksums`: relative path to MD5. Files that `convert` left are kept.
    Raises DownloadFailed.
    """
    again = "Run the same command again: what has arrived is kept."
    if reason := reachable(hub.endpoint):
        other = next(key for key in SOURCES if key != hub.name)
        raise DownloadFailed(
            f"{hub.title} cannot be reached: {reason}",
            mend=f"Check the network and proxy settings, or try --source {other}.",
            repository=repository,
        )
    try:
        listed = hub.listing(repository)
    except Exception as error:
        raise DownloadFailed(f"{hub.title} could not list {repository}: {_reason(error)}", mend=again) from error
    wanted = [f for f in listed if (f.path in files if files else f.path.startswith(PARTS))]
    if (outside := next((f.path for f in wanted if not _inside(f.path)), None)) is not None:
        raise DownloadFailed(
            f"{repository} on {hub.title} lists {outside!r}, which is outside its own folder",
            mend="Do not use this repository.",
        )
    if absent := sorted(set(files) - {f.path for f in wanted}):
        raise DownloadFailed(f"{repository} on {hub.title} has no {', '.join(absent)}", mend="Update zimage_kit.")
    if not files and not any(f.path == "model_index.json" for f in wanted):
        raise DownloadFailed(
            f"{repository} on {hub.title} has no model_index.json, so it is not a model for this pipeline",
            mend="Check the name; `zimage models list` shows the known ones.",
        )

    kept = {} if folder is None else _converted(folder)
    wanted = [f for f in wanted if f.path not in kept]
    here = _sizes(folder, wanted)
    total = sum(f.size for f in wanted)
    _check_room(folder or hub.cache or Path.home(), total - sum(here.values()), hub)
    meter = Meter(total, on_progress, waiting=dict(here), done=sum(here.values()))

    repaired: tuple[str, ...] = ()
    for attempt in (1, 2):
        try:
            place = hub.fetch(repository, wanted, folder, meter.received)
        except Exception as error:
            raise DownloadFailed(
                f"the download of {repository} from {hub.title} failed: {_reason(error)}",
                mend=again,
                done=meter.done,
                total=total,
            ) from error
        broken, newer = _compare(place, wanted, checksums)
        if not broken:
            meter.finished()
            if folder is not None and not files:  # in a hub's own cache the folder names say it
                noted = {**origin(folder), "hub_id": repository, "hub": hub.name}
                write_whole(folder / ORIGIN, json.dumps(noted).encode())
            return Download(place, total + sum(kept.values()), repaired, newer)
        if attempt == 1:
            repaired = tuple(broken)
            for path in broken:
                _remove(place / path)
    raise DownloadFailed(
        f"{', '.join(broken)} arrived broken twice from {hub.title}",
        mend="A proxy may be changing the bytes, or the disk is failing. Try the other --source.",
        files=list(broken),
    )


def _inside(path: str) -> bool:
    """Whether a path that a hub lists stays inside its folder, on every operating system."""
    parts = re.split(r"[/\\]", path)
    return bool(path) and ".." not in parts and "" not in parts and ":" not in parts[0]


def verify(
    directory: Path, checksums: Mapping[str, str], on_file: Callable[[FileCheck], None] | None = None
) -> list[FileCheck]:
    """Check every file of a model folder against the authors' MD5 sums, a converted one against the sum that was noted.

    `on_file` is called with each result. A file without a sum is `unknown`. Reads everything: a minute or two for 33 GB
    on a fast SSD.
    """
    present = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}
    inside = {p for p in present if p.startswith(PARTS) and not p.endswith((".incomplete", ".part"))}
    noted = conversion(directory).files

    def check(path: str) -> FileCheck:
        if path not in present:
            return FileCheck(path, "missing")
        size = (directory / path).stat().st_size
        expected = checksums.get(path)
        if path in noted and digest(directory / path, "sha256") == noted[path]:
            return FileCheck(path, "converted", size)
        if expected is None:
            lost = path in noted and not float32_bytes(directory / path)  # float32: its conversion was interrupted
            return FileCheck(path, "broken" if lost else "unknown", size)
        return FileCheck(path, "ok" if digest(directory / path, "md5") == expected else "broken", size)

    checks = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:  # hashlib releases the GIL
        for done in pool.map(check, sorted(inside | set(checksums))):
            checks.append(done)
            if on_file is not None:
                on_file(done)
    return checks


def _converted(directory: Path) -> dict[str, int]:
    """Relative path -> bytes of each file that is just as `convert` left it. Reads these files whole."""
    sums = conversion(directory).files
    files = {path: directory / path for path in sums if (directory / path).is_file()}
    return {path: file.stat().st_size for path, file in files.items() if digest(file, "sha256") == sums[path]}


def digest(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _compare(
    place: Path, wanted: Sequence[RemoteFile], checksums: Mapping[str, str]
) -> tuple[list[str], tuple[str, ...]]:
    """Names of broken files, and of complete ones that differ from the manifest."""

    def judge(file: RemoteFile) -> str:
        path = place / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            return "broken"
        expected = checksums.get(file.path)
        if expected is not None and digest(path, "md5") == expected:
            return "ok"
        if file.sha256 is not None:
            whole = digest(path, "sha256") == file.sha256
            return ("newer" if expected is not None else "ok") if whole else "broken"
        return "broken" if expected is not None else "ok"

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        verdicts = dict(zip((f.path for f in wanted), pool.map(judge, wanted), strict=True))
    return (
        [path for path, verdict in verdicts.items() if verdict == "broken"],
        tuple(path for path, verdict in verdicts.items() if verdict == "newer"),
    )


def _sizes(folder: Path | None, wanted: Sequence[RemoteFile]) -> dict[str, int]:
    """Bytes of each wanted file that are on the disk already, partial ones included."""
    if folder is None or not folder.is_dir():
        return {}
    here = {}
    for file in wanted:
        for path in (folder / file.path, folder / f"{file.path}.incomplete"):
            if path.is_file():
                here[file.path] = min(path.stat().st_size, file.size)
                break
    return here


def _check_room(folder: Path, missing: int, hub: Source) -> None:
    """Raise DownloadFailed unless `missing` bytes and a reserve fit on the disk of `folder`."""
    free = models.free_bytes(folder)
    if free < missing + SPARE_BYTES:
        raise DownloadFailed(
            f"{missing / 1e9:.1f} GB are to be fetched from {hub.title}, but the disk of {folder} has only "
            f"{free / 1e9:.1f} GB free",
            mend="Free some space, or choose another disk with --directory or ZIMAGE_MODELS.",
            missing=missing,
            free=free,
        )


def _remove(path: Path) -> None:
    """Delete a broken file. In a hub's cache it is a link; the file it points to is deleted too."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """A client's error in one line, with the files it names."""
    failed = getattr(error, "failed_files", None)
    if failed:
        return "; ".join(f"{path}: {_reason(cause)}" for path, cause in list(failed.items())[:3])
    return " ".join(str(error).split())[:300] or type(error).__name__
