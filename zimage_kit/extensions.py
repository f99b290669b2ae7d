"""Extensions: folders that bring stages. Their manifests are read without importing them; code is imported when needed.

Found in `extensions/` of a checkout, in the folders of $ZIMAGE_EXTENSIONS and behind entry points
`zimage_kit.extensions`. A broken one is reported and skipped; it never stops the others.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ExtensionProblem
from .request import StageData, explain
from .stage import Stage, build, registry

MANIFEST = "extension.toml"


class Manifest(BaseModel):
    """`extension.toml`: what an extension is called, needs and brings. `requires` are pip requirement strings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str = ""
    api: Literal[1]
    requires: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extension:
    """One extension that was found. `problem` is one line and `details` a traceback, where there is one."""

    name: str
    folder: Path
    module: str
    summary: str = ""
    stages: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str = ""
    details: str = ""

    @property
    def install(self) -> str:
        """The command that would install what is missing; nothing is ever installed by itself."""
        return "pip install " + " ".join(f'"{requirement}"' for requirement in self.missing) if self.missing else ""


_broken: dict[Path, tuple[str, str]] = {}  # folders whose import failed: (problem, traceback)


def discover() -> tuple[Extension, ...]:
    """Every extension, sorted by name, broken ones with their problem. Imports none of them."""
    found: dict[Path, Extension] = {}
    for folder, module in _places():
        if folder not in found:
            found[folder] = _read(folder, module)
    return tuple(sorted(_name_clashes(found.values()), key=lambda extension: extension.name))


def _places() -> Iterator[tuple[Path, str]]:
    """(folder, module to import; "" for a folder that is no installed package)."""
    root = Path(__file__).resolve().parent.parent
    roots = [root / "extensions"] if (root / "pyproject.toml").is_file() else []
    given = os.environ.get("ZIMAGE_EXTENSIONS", "")
    roots += [Path(part).expanduser() for part in given.split(os.pathsep) if part]
    for place in roots:
        folders = (
            [place] if (place / MANIFEST).is_file() else sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
        )
        yield from ((folder.resolve(), "") for folder in folders)
    for point in entry_points(group="zimage_kit.extensions"):
        yield _folder_of(point), point.module


def _folder_of(point: EntryPoint) -> Path:
    """Where an entry point's package lies, without importing any of it."""
    top, *rest = point.module.split(".")
    spec = importlib.util.find_spec(top)
    base = Path(spec.origin).parent if spec is not None and spec.origin else Path(top)
    return base.joinpath(*rest).resolve()


def _read(folder: Path, module: str) -> Extension:
    blank = Extension(name=folder.name, folder=folder, module=module)
    try:
        manifest = Manifest(**tomllib.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        return replace(blank, problem=f"{MANIFEST} cannot be read ({error})")
    except ValidationError as error:
        return replace(blank, problem=f"{MANIFEST}: {explain(error, Manifest.model_fields)}")
    problem, details = _broken.get(folder, ("", ""))
    missing = _missing(manifest.requires)
    return Extension(manifest.name, folder, module, manifest.summary, manifest.stages, missing, problem, details)


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


def _name_clashes(extensions: Any) -> list[Extension]:
    """Mark every extension that claims a kind of stage which another one claims too."""
    claims: dict[str, list[Extension]] = {}
    for extension in extensions:
        for kind in extension.stages:
            claims.setdefault(kind, []).append(extension)
    marked = []
    for extension in extensions:
        for kind in extension.stages:
            others = [str(other.folder) for other in claims[kind] if other is not extension]
            if others and not extension.problem:
                extension = replace(extension, problem=f"stage {kind!r} is in {extension.folder} and in {others[0]}")
        marked.append(extension)
    return marked


def load(extension: Extension) -> None:
    """Import an extension, which registers its stages. Raises ExtensionProblem; then none of them is registered."""
    if extension.problem:
        raise ExtensionProblem(
            f"extension {extension.name} is broken: {extension.problem}",
            mend="Repair or remove it.",
            traceback=extension.details,
        )
    if extension.missing:
        raise ExtensionProblem(
            f"extension {extension.name} needs {', '.join(extension.missing)}", mend=f"Run: {extension.install}"
        )
    before = registry.kinds()
    try:
        import_module(extension.module) if extension.module else _import_folder(extension.folder)
        absent = [kind for kind in extension.stages if registry.get(kind) is None]
        if absent:
            raise ExtensionProblem(f"{MANIFEST} names stage {absent[0]!r}, which the code does not define")
    except Exception as error:  # whatever a foreign module does must not stop the rest
        for kind in set(registry.kinds()) - set(before):
            registry.remove(kind)
        sys.modules.pop(_module_name(extension.folder), None)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _broken[extension.folder] = (reason, traceback.format_exc())
        raise ExtensionProblem(
            f"extension {extension.name} ({extension.folder}) does not load: {reason}",
            mend="Repair or remove it.",
            traceback=traceback.format_exc(),
        ) from None


def _module_name(folder: Path) -> str:
    return f"zimage_extension_{folder.name}"


def _import_folder(folder: Path) -> None:
    name = _module_name(folder)
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ExtensionProblem(f"{folder} has no __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def stage_class(kind: str) -> type[Stage] | None:
    """The Stage class of a kind, its extension imported if need be; None where nobody claims that kind.

    Raises ExtensionProblem when the extension that claims it does not load.
    """
    if registry.get(kind) is None:
        for extension in discover():
            if kind in extension.stages:
                load(extension)
                break
    return registry.get(kind)


def kinds() -> tuple[str, ...]:
    """Every kind of stage that can be used, sorted; imports nothing."""
    usable = {kind for extension in discover() if not extension.problem for kind in extension.stages}
    return tuple(sorted(usable | set(registry.kinds())))


def build_stages(data: tuple[StageData, ...]) -> tuple[Stage, ...]:
    """The Stage objects of a recipe. Raises BadRequest (unknown kind or field) and ExtensionProblem."""
    built = []
    for entry in data:
        cls = stage_class(entry.kind)
        # who else there is takes milliseconds to find out, and matters only for the error
        built.append(build(entry, cls, () if cls else kinds()))
    return tuple(built)


class Stages:
    """`zk.stages.<kind>(**fields)`: every kind of stage as an attribute, tab-completable."""

    def __getattr__(self, kind: str) -> type[Stage]:
        if kind.startswith("_"):
            raise AttributeError(kind)
        cls = stage_class(kind)
        if cls is None:
            raise AttributeError(f"no stage {kind!r}; there is: {', '.join(kinds()) or 'none'}")
        return cls

    def __dir__(self) -> list[str]:
        return list(kinds())

    def __repr__(self) -> str:
        return f"<stages: {', '.join(kinds()) or 'none'}>"


stages = Stages()
"""Public as `zk.stages`."""
