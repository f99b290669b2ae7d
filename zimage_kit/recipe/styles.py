"""Styles: pieces of prompt kept under a name, to end a prompt with: "watercolour, soft edges, white paper".

The user's own are in one file beside the presets. Those that ship are catalogues in a folder `styles` beside this
module, `en.toml` and so on, each a name and a piece in its language.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import BadRequest, closest
from ..files import write_whole
from ..text.catalogues import Language, catalogue, language
from . import presets

SHIPPED = Path(__file__).parent / "styles"


def styles(spoken: Language | None = None) -> dict[str, str]:
    """Pieces of prompt by their names: the user's own, and those that ship in a language, by default the user's.

    Raises BadRequest for a file that holds none.
    """
    return dict(sorted({**catalogue(SHIPPED, spoken or language()), **_own()}.items()))


def save_style(name: str, piece: str, *, replace: bool = False) -> Path:
    """Keep a piece of prompt under a name. Raises BadRequest for a name that is taken, unless `replace`, or is none."""
    name, piece, own = name.strip(), piece.strip(), _own()
    if not name or not piece:
        raise BadRequest(f"a style {name!r} of {piece!r}", expected="a name and a piece of prompt")
    if name in styles() and not replace:
        raise BadRequest(f"there is a style {name!r} already", mend="Take another name, or replace it.")
    return _write({**own, name: piece})


def forget_style(name: str) -> str:
    """Delete one of the user's own; returns what it was. Raises BadRequest for any other."""
    own = _own()
    if name not in own:
        raise BadRequest(f"there is no style {name!r} of yours", mend=closest(name, own))
    piece = own.pop(name)
    _write(own)
    return piece


def _file() -> Path:
    return presets.folder() / ".styles.json"  # no name of a preset begins with a dot


def _own() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadRequest(f"the styles in {_file()} cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{_file()} holds no styles", expected='{"name": "piece of prompt"}')
    return {str(name): str(piece) for name, piece in found.items()}


def _write(own: dict[str, str]) -> Path:
    write_whole(_file(), json.dumps(own, ensure_ascii=False, indent=1).encode() + b"\n")
    return _file()
