"""Extensions: folders that bring stages. Their manifests are read without importing them; code is imported when needed.

Found in `extensions/` of a checkout, in the folders of $ZIMAGE_EXTENSIONS and behind entry points
`zimage_kit.extensions`. A broken one is reported and skipped; it never stops the others. Code that was changed since it
was imported is imported anew when one of its stages is next asked for, here and in a session's worker alike.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ExtensionProblem, closest
from .request import StageData, explain
from .stage import Stage, build, registry

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


@dataclass
class _Imported:
    """What came of importing an extension: its state then, the kinds it registered, or why it failed."""

    stamp: tuple[Any, ...]
    kinds: tuple[str, ...] = ()
    problem: str = ""
    details: str = ""


_imported: dict[Path, _Imported] = {}
_told: tuple[Path, ...] = ()


def look_in(roots: tuple[Path, ...]) -> None:
    """Look in these folders too, as in those of $ZIMAGE_EXTENSIONS: a worker is told its client's."""
    global _told
    _told = roots


def roots_given() -> tuple[Path, ...]:
    """The folders of $ZIMAGE_EXTENSIONS, absolute."""
    given = os.environ.get("ZIMAGE_EXTENSIONS", "")
    return tuple(Path(part).expanduser().absolute() for part in given.split(os.pathsep) if part)


def checkout() -> Path | None:
    """`extensions/` of the checkout that this package runs from, or None when it is installed."""
    root = Path(__file__).resolve().parent.parent
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
    for place in dict.fromkeys([*([ours] if ours else []), *roots_given(), *_told]):
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
    outcome = _imported.get(folder)
    if outcome is not None and outcome.problem and outcome.stamp == stamp(folder):
        return replace(known, problem=outcome.problem, details=outcome.details)
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


def load(extension: Extension) -> ModuleType:
    """Import an extension, which registers its stages, or import it anew if its code has changed; returns its package.

    Raises ExtensionProblem; then none of its stages is registered.
    """
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
    now, there = stamp(extension.folder), _imported.get(extension.folder)
    module = sys.modules.get(extension.module)
    if module and there and there.stamp == now and all(registry.get(kind) for kind in there.kinds):
        return module
    _forget(extension)
    before = registry.kinds()
    try:
        module = _import(extension)
        absent = [kind for kind in extension.stages if registry.get(kind) is None]
        if absent:
            raise ExtensionProblem(f"{MANIFEST} names stage {absent[0]!r}, which the code does not define")
    except Exception as error:  # whatever a foreign module does must not stop the rest
        _imported[extension.folder] = _Imported(now, tuple(sorted(set(registry.kinds()) - set(before))))
        _forget(extension)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _imported[extension.folder] = _Imported(now, (), reason, traceback.format_exc())
        raise ExtensionProblem(
            f"extension {extension.name} ({extension.folder}) does not load: {reason}",
            mend="Repair or remove it.",
            traceback=traceback.format_exc(),
        ) from None
    kinds = tuple(sorted(set(registry.kinds()) - set(before)))
    for folder in [folder for folder, other in _imported.items() if set(other.kinds) & set(kinds)]:
        del _imported[folder]  # it is gone, or nobody looks there any more
    _imported[extension.folder] = _Imported(now, kinds)
    return module


def _forget(extension: Extension) -> None:
    """Take an extension's stages and modules out, so that it can be imported anew."""
    there = _imported.pop(extension.folder, None)
    for kind in there.kinds if there else ():
        registry.remove(kind)
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{extension.module}.")]:
        del sys.modules[name]


def _import(extension: Extension) -> ModuleType:
    importlib.invalidate_caches()
    if extension.installed:
        return importlib.import_module(extension.module)
    if PACKAGE not in sys.modules and importlib.util.find_spec(PACKAGE) is None:
        above = ModuleType(PACKAGE)  # a namespace, as it is where zimage_kit is installed
        above.__path__ = []
        sys.modules[PACKAGE] = above
    spec = importlib.util.spec_from_file_location(
        extension.module, extension.folder / "__init__.py", submodule_search_locations=[str(extension.folder)]
    )
    if spec is None or spec.loader is None or not (extension.folder / "__init__.py").is_file():
        raise ExtensionProblem(f"{extension.folder} has no __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[extension.module] = module
    spec.loader.exec_module(module)
    return module


def load_module(name: str) -> ModuleType:
    """The package of the extension with this name, imported. Raises ExtensionProblem, also when there is none."""
    for extension in discover():
        if extension.name == name:
            return load(extension)
    names = [extension.name for extension in discover()]
    raise ExtensionProblem(f"no extension {name!r}", mend=closest(name, names))


def stage_class(kind: str) -> type[Stage] | None:
    """The Stage class of a kind, its extension imported if need be; None where nobody claims that kind.

    Raises ExtensionProblem when the extension that claims it does not load.
    """
    folder = next((folder for folder, there in _imported.items() if kind in there.kinds), None)
    current = registry.get(kind)
    if current is not None and (folder is None or _imported[folder].stamp == stamp(folder)):
        return current
    for extension in discover():
        if kind in extension.stages or extension.folder == folder:
            load(extension)
            break
    return registry.get(kind)


def code_stamp(kind: str) -> str:
    """Tells one state of the code behind a kind from another, within this process; "" for what is no extension's."""
    found = next((there.stamp for there in _imported.values() if kind in there.kinds), ())
    return repr(hash(found)) if found else ""


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
