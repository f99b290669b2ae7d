"""Which extensions there are: their folders are found and their manifests read, and none of their code is imported.

Found in `extensions/` of a checkout, in the folders of $ZIMAGE_EXTENSIONS and behind entry points
`zimage_kit.extensions`. A broken one is reported and never stops the others.
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

from ..recipe.request import explain

MANIFEST = "extension.toml"
PACKAGE = "zimage_extensions"
"""The package that extensions from folders are imported in; those that come with zimage_kit are installed in it."""
OURS = "zimage-kit"


class Manifest(BaseModel):
    """`extension.toml`: what an extension is called, needs and brings. `requires` are pip requirement strings.

    `api` is the version of the contract between stages and zimage_kit that it was written for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str = ""
    summary: str = ""
    api: Literal[1]
    requires: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extension:
    """One extension that was found. `problem` is one line and `details` a traceback, where there is one.

    `module` is what it is imported as, `installed` whether it came as an installed package.
    """

    name: str
    folder: Path
    module: str
    installed: bool = False
    version: str = ""
    summary: str = ""
    stages: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str = ""
    details: str = ""

    @property
    def install(self) -> str:
        """The command that would install what is missing; nothing is ever installed by itself."""
        return "pip install " + " ".join(f'"{requirement}"' for requirement in self.missing) if self.missing else ""

    @property
    def state(self) -> Literal["ready", "needs packages", "broken"]:
        """Whether its stages can be used."""
        return "broken" if self.problem else "needs packages" if self.missing else "ready"


@dataclass(frozen=True)
class Failure:
    """Why an extension could not be imported, and in which state its code was then."""

    stamp: tuple[Any, ...]
    problem: str
    details: str


failures: dict[Path, Failure] = {}
"""By folder; what has been edited since is given another chance."""
_client_roots: ContextVar[tuple[Path, ...] | None] = ContextVar("client_roots", default=None)


@contextmanager
def looking_in(roots: tuple[Path, ...] | None) -> Iterator[None]:
    """Meanwhile look in these folders instead of those of $ZIMAGE_EXTENSIONS: those of the client that asked.

    None: in this process's own.
    """
    token = _client_roots.set(roots)
    try:
        yield
    finally:
        _client_roots.reset(token)


def roots() -> tuple[Path, ...]:
    """Every folder of extensions that is looked in now, in order, each once."""
    ours = checkout()
    client = _client_roots.get()
    given = roots_given() if client is None else client
    return tuple(dict.fromkeys([*([ours] if ours else []), *given]))


def roots_given() -> tuple[Path, ...]:
    """The folders of $ZIMAGE_EXTENSIONS, absolute."""
    given = os.environ.get("ZIMAGE_EXTENSIONS", "")
    return tuple(Path(part).expanduser().absolute() for part in given.split(os.pathsep) if part)


def checkout() -> Path | None:
    """`extensions/` of the checkout that this package runs from, or None when it is installed."""
    root = Path(__file__).resolve().parents[2]
    return root / "extensions" if (root / "pyproject.toml").is_file() else None


def discover() -> tuple[Extension, ...]:
    """Every extension, sorted by name, broken ones with their problem. Imports none of them."""
    found: dict[Path, Extension] = {}
    for folder, module, shipped_as in _places():
        if folder not in found:
            found[folder] = _read(folder, module, shipped_as)
    return tuple(sorted(_clashes(found.values()), key=lambda extension: extension.name))


def _places() -> Iterator[tuple[Path, str, str]]:
    """(folder, what it is imported as, version of the installed package that it came in or "")."""
    ours = checkout()
    for place in roots():
        folders = (
            [place] if (place / MANIFEST).is_file() else sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
        )
        yield from ((folder.resolve(), f"{PACKAGE}.{folder.name}", "") for folder in folders)
    for point in entry_points(group="zimage_kit.extensions"):
        if not (ours and point.dist is not None and point.dist.name == OURS):  # the checkout's own stand in for them
            yield _folder_of(point), point.module, point.dist.version if point.dist is not None else ""


def _folder_of(point: EntryPoint) -> Path:
    """Where an entry point's package lies, without importing any code of it."""
    parts = point.module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = importlib.util.find_spec(".".join(parts[:depth]))  # imports what is above, which so far has no code
        if spec is not None and spec.origin:
            return Path(spec.origin).parent.joinpath(*parts[depth:]).resolve()
    return Path(*parts)


def _read(folder: Path, module: str, shipped_as: str) -> Extension:
    blank = Extension(folder.name, folder, module, bool(shipped_as))
    try:
        manifest = Manifest(**tomllib.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return replace(blank, problem=f"{MANIFEST} cannot be read ({error})")
    except ValidationError as error:
        return replace(blank, problem=f"{MANIFEST}: {explain(error, Manifest.model_fields)}")
    known = replace(
        blank,
        name=manifest.name,
        version=manifest.version or shipped_as,
        summary=manifest.summary,
        stages=manifest.stages,
    )
    try:
        known = replace(known, missing=_missing(manifest.requires))
    except ValueError as error:
        return replace(known, problem=f"{MANIFEST}: requires: {error}")
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
    """Mark every extension whose name, or one of whose kinds of stage, another one claims too."""
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
    return [*(("stage", kind) for kind in extension.stages), *sorted(names)]


def stamp(folder: Path) -> tuple[Any, ...]:
    """What changes when somebody edits an extension: names, sizes and times of its code, tests left out."""
    files = (path for path in folder.rglob("*.py") if "tests" not in path.relative_to(folder).parts)
    named = sorted((*files, folder / MANIFEST))
    return tuple((str(path), found.st_size, found.st_mtime_ns) for path in named if (found := _stat(path)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # gone in this moment
