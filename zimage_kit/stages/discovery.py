"""Discovers extensions: finds their folders and reads their manifests, without importing their code.

They are found in `extensions/` of a checkout, in the folders of $ZIMAGE_EXTENSIONS and through the entry points
`zimage_kit.extensions`. A broken one is reported and does not stop the others.
"""

from __future__ import annotations

import importlib.util
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import engine_is_here
from ..files import expanded
from ..recipe.request import explain

MANIFEST = "extension.toml"
PACKAGE = "zimage_extensions"
"""The package into which extensions from folders are imported; those that come with zimage_kit are installed in it."""
OURS = "zimage-kit"


class Manifest(BaseModel):
    """`extension.toml`: an extension's name, requirements, stages, and panes of the studio (in panes.py).

    `requires` are pip requirement strings; those of `engine_requires` are needed only where pictures are drawn, and not
    looked for in a light client. `api` is the version of the contract between stages and zimage_kit that it
    was written for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str = ""
    summary: str = ""
    api: Literal[1]
    requires: tuple[str, ...] = ()
    engine_requires: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    panes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extension:
    """One extension that was found. If it is broken, `problem` is one line and `details` the traceback, if any.

    `module` is its import name, `installed` whether it came as an installed package.
    """

    name: str
    folder: Path
    module: str
    installed: bool = False
    version: str = ""
    summary: str = ""
    stages: tuple[str, ...] = ()
    panes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str = ""
    details: str = ""

    @property
    def install(self) -> str:
        """The command that installs what is missing. zimage_kit never runs it itself."""
        return "pip install " + " ".join(f'"{requirement}"' for requirement in self.missing) if self.missing else ""

    @property
    def state(self) -> Literal["ready", "needs packages", "broken"]:
        """Whether its stages can be used."""
        return "broken" if self.problem else "needs packages" if self.missing else "ready"


@dataclass(frozen=True)
class Failure:
    """Why an extension could not be imported, and the stamp of its code at that time."""

    stamp: tuple[Any, ...]
    problem: str
    details: str


failures: dict[Path, Failure] = {}
"""By folder. An extension that has been edited since is tried again."""
_client_roots: ContextVar[tuple[Path, ...] | None] = ContextVar("client_roots", default=None)


@contextmanager
def looking_in(roots: tuple[Path, ...] | None) -> Iterator[None]:
    """Context manager: inside, look in these folders (the client's) instead of those of $ZIMAGE_EXTENSIONS.

    None: in this process's own.
    """
    token = _client_roots.set(roots)
    try:
        yield
    finally:
        _client_roots.reset(token)


def roots() -> tuple[Path, ...]:
    """The folders that are searched for extensions now, in order, each once."""
    ours = checkout()
    client = _client_roots.get()
    given = roots_given() if client is None else client
    return tuple(dict.fromkeys([*([ours] if ours else []), *given]))


def roots_given() -> tuple[Path, ...]:
    """The folders of $ZIMAGE_EXTENSIONS, absolute."""
    given = os.environ.get("ZIMAGE_EXTENSIONS", "")
    return tuple(expanded(Path(part)).absolute() for part in given.split(os.pathsep) if part)


def checkout() -> Path | None:
    """`extensions/` of the checkout that this package runs from, or None if it is installed."""
    root = Path(__file__).resolve().parents[2]
    return root / "extensions" if (root / "pyproject.toml").is_file() else None


def discover() -> tuple[Extension, ...]:
    """All extensions, sorted by name, broken ones with their problem. Imports none of them."""
    found: dict[Path, Extension] = {}
    for folder, module, shipped_as in _places():
        if folder not in found:
            found[folder] = _read(folder, module, shipped_as)
    return tuple(sorted(_clashes(found.values()), key=lambda extension: extension.name))


def _places() -> Iterator[tuple[Path, str, str]]:
    """(folder, import name, version of the installed package that it came in or "")."""
    ours = checkout()
    for place in roots():
        folders = (
            [place] if (place / MANIFEST).is_file() else sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
        )
        yield from ((folder.resolve(), f"{PACKAGE}.{folder.name}", "") for folder in folders)
    for point in entry_points(group="zimage_kit.extensions"):
        if not (ours and point.dist is not None and point.dist.name == OURS):  # those come from the checkout itself
            yield _folder_of(point), point.module, point.dist.version if point.dist is not None else ""


def _folder_of(point: EntryPoint) -> Path:
    """The folder of an entry point's package, found without importing its code."""
    parts = point.module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = importlib.util.find_spec(".".join(parts[:depth]))  # imports the parents: so far namespaces without code
        if spec is not None and spec.origin:
            return Path(spec.origin).parent.joinpath(*parts[depth:]).resolve()
    return Path(*parts)


def _read(folder: Path, module: str, shipped_as: str) -> Extension:
    blank = Extension(folder.name, folder, module, bool(shipped_as))
    try:
        manifest = Manifest(**tomllib.loads((folder / MANIFEST).read_text("utf-8")))
    except ValidationError as error:
        return replace(blank, problem=f"{MANIFEST}: {explain(error, Manifest.model_fields)}")
    except (OSError, ValueError, RecursionError) as error:
        return replace(blank, problem=f"{MANIFEST} cannot be read ({' '.join(str(error).split())})")
    known = replace(
        blank,
        name=manifest.name,
        version=manifest.version or shipped_as,
        summary=manifest.summary,
        stages=manifest.stages,
        panes=manifest.panes,
    )
    for key, here in (("requires", True), ("engine_requires", engine_is_here())):
        try:
            missing = _missing(getattr(manifest, key))
        except ValueError as error:
            return replace(known, problem=f"{MANIFEST}: {key}: {error}")
        known = replace(known, missing=known.missing + (missing if here else ()))
    failure = failures.get(folder)
    if failure is not None and failure.stamp == stamp(folder):
        return replace(known, problem=failure.problem, details=failure.details)
    return known


def _missing(requires: tuple[str, ...]) -> tuple[str, ...]:
    from packaging.requirements import Requirement

    missing = []
    for text in requires:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            there = requirement.specifier.contains(version(requirement.name), prereleases=True)
        except PackageNotFoundError:
            there = False
        if not there:
            missing.append(text)
    return tuple(missing)


def _clashes(extensions: Any) -> list[Extension]:
    """Mark every extension whose name or a kind of stage is also claimed by another one."""
    claims: dict[tuple[str, str], list[Extension]] = {}
    for extension in extensions:
        for claim in _claims(extension):
            claims.setdefault(claim, []).append(extension)
    marked = []
    for extension in extensions:
        for what, name in _claims(extension):
            others = [str(other.folder) for other in claims[what, name] if other.folder != extension.folder]
            if others and not extension.problem:
                extension = replace(extension, problem=f"{what} {name!r} is in {extension.folder} and in {others[0]}")
        marked.append(extension)
    return marked


def _claims(extension: Extension) -> list[tuple[str, str]]:
    names = {("extension", extension.name), ("extension", extension.module.rpartition(".")[2])}
    kinds = (("stage", kind) for kind in extension.stages)
    return [*kinds, *(("pane", name) for name in extension.panes), *sorted(names)]


def stamp(folder: Path) -> tuple[Any, ...]:
    """Changes when an extension is edited: names, sizes and modification times of its code, without tests."""
    files = (path for path in folder.rglob("*.py") if "tests" not in path.relative_to(folder).parts)
    named = sorted((*files, folder / MANIFEST))
    return tuple((str(path), found.st_size, found.st_mtime_ns) for path in named if (found := _stat(path)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # it has just been deleted
