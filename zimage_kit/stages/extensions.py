"""Extensions: folders that provide stages, imported when one of their stages is first needed.

Code that has changed since its import is imported again when one of its stages is next needed, here as in a session's
worker. `discovery` finds the extensions.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ExtensionProblem, closest
from ..files import content_digest
from ..recipe.identity import code_digest, digest
from ..recipe.request import StageData
from .discovery import (
    MANIFEST,
    PACKAGE,
    Extension,
    Failure,
    checkout,
    discover,
    failures,
    looking_in,
    roots,
    roots_given,
    stamp,
)
from .stage import Stage, build, origin, registry

__all__ = [
    "MANIFEST", "Extension", "build_stages", "checkout", "code_digest_of", "discover", "kinds", "load", "load_module",
    "looking_in", "roots_given", "stage_class",
]  # fmt: skip


@dataclass
class _Imported:
    """An imported extension: the stamp of its code at that time, its module, and its stages by kind."""

    stamp: tuple[Any, ...]
    module: ModuleType
    stages: dict[str, type[Stage]]


_imported: dict[Path, _Imported] = {}
_claims: dict[tuple[tuple[Path, ...], str], Path] = {}  # (roots that are searched, kind) -> folder that provides it
_lock = threading.RLock()


def load(extension: Extension) -> ModuleType:
    """Import an extension, or import it again if its code has changed. Returns its package.

    Two projects may each have an extension with stages of the same kind: each gets the one in its own folders. Raises
    ExtensionProblem; then none of its stages can be used.
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
    with _lock:
        now, there = stamp(extension.folder), _imported.get(extension.folder)
        if there and there.stamp == now and sys.modules.get(there.module.__name__) is there.module:
            return there.module
        _forget(extension)
        try:
            with registry.collecting() as stages:
                module = _import(extension)
            _adopt(extension, stages)
        except (Exception, SystemExit) as error:  # a faulty extension must not stop the rest
            _forget(extension)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            failures[extension.folder] = Failure(now, reason, traceback.format_exc())
            raise ExtensionProblem(
                f"extension {extension.name} ({extension.folder}) does not load: {reason}",
                mend="Repair or remove it.",
                traceback=traceback.format_exc(),
            ) from None
        _imported[extension.folder] = _Imported(now, module, stages)
        return module


def _adopt(extension: Extension, stages: dict[str, type[Stage]]) -> None:
    """Complete the collected stages. Raises ExtensionProblem for one that is missing or defined twice."""
    for kind in dict.fromkeys((*stages, *extension.stages)):
        defined = registry.get(kind)  # from a program that imported the package itself, or a notebook's own
        if defined is None and kind in stages:
            continue
        if defined is not None and Path(origin(defined)[0]).is_relative_to(extension.folder):
            stages.setdefault(kind, defined)
        elif defined is not None:
            where = f"{defined.__module__}.{defined.__qualname__}"
            raise ExtensionProblem(
                f"two stages of kind {kind!r}: {where} and extension {extension.name}",
                mend="Recipes name stages by kind, so rename one of them or remove one extension.",
                kind=kind,
            )
        else:
            raise ExtensionProblem(f"{MANIFEST} names stage {kind!r}, which the code does not define")


def _forget(extension: Extension) -> None:
    """Remove an extension's stages and modules, so that it can be imported again."""
    there = _imported.pop(extension.folder, None)
    name = there.module.__name__ if there else _module_name(extension)
    for each in [each for each in sys.modules if f"{each}.".startswith(f"{name}.")]:
        del sys.modules[each]
    for kind in there.stages if there else ():
        defined = registry.get(kind)
        if defined is not None and Path(origin(defined)[0]).is_relative_to(extension.folder):
            registry.remove(kind)


def _module_name(extension: Extension) -> str:
    """Its import name; another one if an extension in another folder of the same name has it already."""
    taken = sys.modules.get(extension.module)
    file = getattr(taken, "__file__", None)
    if extension.installed or not file or Path(file).parent == extension.folder:
        return extension.module
    return f"{extension.module}_{digest(str(extension.folder))}"


def _import(extension: Extension) -> ModuleType:
    importlib.invalidate_caches()
    if extension.installed:
        return importlib.import_module(extension.module)
    if PACKAGE not in sys.modules and importlib.util.find_spec(PACKAGE) is None:
        namespace = ModuleType(PACKAGE)  # as it is where zimage_kit is installed
        namespace.__path__ = []
        sys.modules[PACKAGE] = namespace
    name = _module_name(extension)
    spec = importlib.util.spec_from_file_location(
        name, extension.folder / "__init__.py", submodule_search_locations=[str(extension.folder)]
    )
    if spec is None or spec.loader is None or not (extension.folder / "__init__.py").is_file():
        raise ExtensionProblem(f"{extension.folder} has no __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_module(name: str) -> ModuleType:
    """Import the extension with this name and return its package. Raises ExtensionProblem, also if there is none."""
    for extension in discover():
        if extension.name == name:
            return load(extension)
    names = [extension.name for extension in discover()]
    raise ExtensionProblem(f"no extension {name!r}", mend=closest(name, names))


def stage_class(kind: str) -> type[Stage] | None:
    """The Stage class of a kind, importing its extension if needed; None if no extension provides that kind.

    Raises ExtensionProblem when the extension does not load.
    """
    with _lock:
        place = roots(), kind
        folder = _claims.get(place)
        there = _imported.get(folder) if folder else None
        if there is not None and folder is not None and there.stamp == stamp(folder):
            return there.stages.get(kind)
        for extension in discover():
            if kind in extension.stages or (extension.folder == folder and not extension.problem):
                load(extension)
                _claims[place] = extension.folder
                return _imported[extension.folder].stages.get(kind)
        _claims.pop(place, None)
        return registry.get(kind)


def code_digest_of(kind: str) -> str:
    """The digest of a kind's code, 12 hexadecimal digits: of its extension's files, else of the class's functions."""
    folder = _claims.get((roots(), kind))
    there = _imported.get(folder) if folder else None
    if folder is not None and there is not None:
        return _files_digest(folder, there.stamp)
    cls = registry.get(kind)
    return "" if cls is None else code_digest(cls)


@lru_cache(maxsize=64)
def _files_digest(folder: Path, stamp: tuple[Any, ...]) -> str:
    """The digest of the files in a stamp. The same code in another folder has the same digest."""
    files = [Path(name) for name, *_ in stamp]
    return digest({str(file.relative_to(folder)): content_digest(file) for file in files if file.is_file()})


def kinds() -> tuple[str, ...]:
    """All kinds of stage that can be used, sorted. Imports nothing."""
    usable = {kind for extension in discover() if not extension.problem for kind in extension.stages}
    return tuple(sorted(usable | set(registry.kinds())))


def build_stages(data: tuple[StageData, ...]) -> tuple[Stage, ...]:
    """The Stage objects of a recipe. Raises BadRequest (unknown kind or field) and ExtensionProblem."""
    built = []
    for entry in data:
        cls = stage_class(entry.kind)
        # the other kinds are only for the error, and take milliseconds to find
        built.append(build(entry, cls, () if cls else kinds()))
    return tuple(built)
