"""Extensions: folders that bring stages, imported when one of their stages is first needed.

Code that was changed since it was imported is imported anew when one of its stages is next asked for, here and in a
session's worker alike. Which extensions there are is found out by `discovery`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ExtensionProblem, closest
from ..recipe.request import StageData
from .discovery import (
    MANIFEST,
    PACKAGE,
    Extension,
    Failure,
    checkout,
    discover,
    failures,
    look_in,
    roots_given,
    stamp,
)
from .stage import Stage, build, registry

__all__ = [
    "MANIFEST", "Extension", "build_stages", "checkout", "code_stamp", "discover", "kinds", "load", "load_module",
    "look_in", "roots_given", "stage_class",
]  # fmt: skip


@dataclass
class _Imported:
    """An extension that was imported: the state of its code then, and the kinds it registered."""

    stamp: tuple[Any, ...]
    kinds: tuple[str, ...]


_imported: dict[Path, _Imported] = {}


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
    except (Exception, SystemExit) as error:  # whatever a foreign module does must not stop the rest
        _imported[extension.folder] = _Imported(now, tuple(sorted(set(registry.kinds()) - set(before))))
        _forget(extension)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        failures[extension.folder] = Failure(now, reason, traceback.format_exc())
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
