"""Checks the files of a model on the disk against the checksums that its authors published, without the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .directories import conversion, float32_bytes
from .hub_files import digest, is_partial

PARTS = ("model_index.json", "scheduler/", "text_encoder/", "tokenizer/", "transformer/", "vae/")
"""What the pipeline reads. The hub repositories also hold pictures for their web pages."""


@dataclass(frozen=True)
class FileCheck:
    """One file of a model on the disk.

    `state` is ok, converted (what `convert` left), missing, broken or unknown (there is no checksum for it).
    """

    path: str
    state: str
    bytes: int = 0


def verify(
    directory: Path,
    checksums: Mapping[str, str],
    on_file: Callable[[FileCheck], None] | None = None,
    files: tuple[str, ...] = (),
) -> list[FileCheck]:
    """Check every file of a model folder against the authors' MD5 sums, a converted one against the sum that was noted.

    `on_file` is called with each result. A file without a sum is `unknown`, one that cannot be read `broken`. `files`:
    just these, for an extra. Reads everything: a minute or two for 33 GB on a fast SSD.
    """
    present = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}
    inside = set(files) or {p for p in present if p.startswith(PARTS) and not is_partial(p)}
    noted = conversion(directory).files

    def check(path: str) -> FileCheck:
        try:
            return judged(path)
        except OSError:
            return FileCheck(path, "broken")

    def judged(path: str) -> FileCheck:
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


def converted(directory: Path) -> dict[str, int]:
    """Relative path -> bytes of each file that is just as `convert` left it. Reads these files whole."""
    sums = conversion(directory).files
    files = {path: directory / path for path in sums if (directory / path).is_file()}
    return {path: file.stat().st_size for path, file in files.items() if digest(file, "sha256") == sums[path]}
