"""Scripts and styles for the browser: modules that import one another, given to a page as one text.

A widget's script and a page that may load nothing cannot import their neighbours. This follows an entry's imports and
puts the modules before it, each in a scope of its own, so that names of two modules never clash. A few lines instead
of a bundler: there is no build step, checkout and wheel serve the same files, and nobody needs Node to install.

A specifier is relative, `./keys.js`, or starts at the package, `zimage_kit/studio/js/lightbox.js`, which is how
extensions import what the studio shares. Node resolves both too, so tests import the modules as they are.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

_IMPORT = re.compile(r'^import\s+(?:(\{[^}]*\}|\* as \w+)\s+from\s+)?"([^"\n]+)";?[ \t]*$', re.MULTILINE)
_DECLARED = re.compile(r"^export\s+((?:async\s+)?(?:function\*?|class)|const)\s+([\w$]+)", re.MULTILINE)
_LISTED = re.compile(r"^export\s+\{([^}]*)\};?[ \t]*$", re.MULTILINE)
_STYLE = re.compile(r'^@import\s+"([^"\n]+)";[ \t]*$', re.MULTILINE)


@lru_cache
def joined_script(entry: Path) -> str:
    """The entry and all that it imports, as one module with the entry's exports.

    Modules import by name or as a namespace, and export constants, functions and classes. Raises ValueError for other
    forms, for modules that import each other in a circle, and for a name or a file that is not there.
    """
    order: dict[Path, str] = {}
    last = _module(entry.resolve(), order, ())
    return "\n".join([*order.values(), last])


@lru_cache
def joined_style(entry: Path) -> str:
    """The entry with the style sheets that it imports, `@import "../js/lightbox.css";`, in their places."""
    return _style(entry.resolve(), ())


def _style(path: Path, above: tuple[Path, ...]) -> str:
    text = _read(path, above)
    return _STYLE.sub(lambda found: _style(_resolved(found[1], path), (*above, path)), text)


def _module(path: Path, order: dict[Path, str], above: tuple[Path, ...]) -> str:
    """The module's text with names of other modules taken from their scopes. Those come into `order`, in its order."""

    def taken(found: re.Match[str]) -> str:
        names, target = found[1], _resolved(found[2], path)
        if target not in order:
            text = _module(target, order, (*above, path))
            order[target] = _scoped(text, target, f"zimage$$module_{len(order) + 1}")
        scope = order[target].split(maxsplit=2)[1]
        for name in _names(names or "") - _exported(target):
            raise ValueError(f"{path} imports {name}: {target} does not export it")
        lines = "\n" * found[0].count("\n")  # errors in the browser name lines that a reader finds
        return lines if names is None else f"const {_pattern(names)} = {scope};{lines}"

    text = _IMPORT.sub(taken, _read(path, above))
    if left := re.search(r"^import\b(?!\s*\().*", text, re.MULTILINE):
        raise ValueError(f'{path}: {left[0]}; expected import {{ a, b }} from "./module.js"; or import * as name')
    return text


def _scoped(text: str, path: Path, scope: str) -> str:
    exported = ", ".join(sorted(_exported(path)))
    text = _DECLARED.sub(lambda found: f"{found[1]} {found[2]}", _LISTED.sub("", text))
    if left := re.search(r"^export\b.*", text, re.MULTILINE):
        raise ValueError(f"{path}: {left[0]}; expected export const, function, class, or export {{ a, b }};")
    return f"const {scope} = (() => {{ // {path.name}\n{text}\nreturn {{ {exported} }};\n}})();"


def _exported(path: Path) -> set[str]:
    text = path.read_text("utf-8")
    return {found[2] for found in _DECLARED.finditer(text)} | {
        name for found in _LISTED.finditer(text) for name in _names(found[1])
    }


def _names(listed: str) -> set[str]:
    """The names in `{ a, b as c }`: a and b; none for a namespace."""
    return set() if listed.startswith("*") else {
        part.split()[0] for part in listed.strip("{} \n").split(",") if part.strip()
    }  # fmt: skip


def _pattern(names: str) -> str:
    """What stands left of the `=`: `{ a, b: c }` for `{ a, b as c }`, `name` for `* as name`."""
    return names.split()[-1] if names.startswith("*") else re.sub(r"\s+", " ", re.sub(r"\s+as\s+", ": ", names))


def _resolved(specifier: str, path: Path) -> Path:
    if specifier.startswith("zimage_kit/"):
        return (PACKAGE.parent / specifier).resolve()
    if not specifier.startswith("."):
        raise ValueError(f"{path} imports {json.dumps(specifier)}: expected ./, ../ or zimage_kit/ at its start")
    return (path.parent / specifier).resolve()


def _read(path: Path, above: tuple[Path, ...]) -> str:
    if path in above:
        circle = [*above[above.index(path) :], path]
        raise ValueError(f"a circle of imports: {' -> '.join(each.name for each in circle)}")
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{above[-1] if above else path} imports {path}, which cannot be read") from error
