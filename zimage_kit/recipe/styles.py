"""Styles: pieces of prompt kept under a name, to end a prompt with: "watercolour, soft edges, white paper".

The user's own are in one file beside the presets. Those that ship are catalogues in a folder `styles` beside this
module, `en.toml` and so on: under one code in all languages a name, a piece for turbo and its kind, and one for nano
where nano knows the style.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..errors import BadRequest, closest
from ..files import parsed_json, write_whole
from ..text.catalogues import Language, catalogue, language
from . import presets

_HAN = re.compile("[\u3400-\u9fff]")
SHIPPED = Path(__file__).parent / "styles"


def styles(spoken: Language | None = None, model: str | None = None) -> dict[str, str]:
    """Pieces of prompt by their names: the user's own, and those that ship in a language, by default the user's.

    `model`: only those that ship which this one knows (nano knows few), in its words; without one, as for turbo. A
    language without a catalogue has the English ones. Raises BadRequest for a file that holds none, and UnknownModel.
    """
    return dict(sorted({**_shipped(spoken or language(), model), **_own()}.items()))


def with_piece(prompt: str, piece: str) -> str:
    """The prompt with a piece at its end, after a comma; as it is if the piece stands in it already."""
    if _places(prompt, piece):
        return prompt
    before = prompt.rstrip().rstrip(",，")
    comma = "，" if _HAN.search(before[-1:]) and _HAN.search(piece[:1]) else ", "
    return f"{before}{comma if before else ''}{piece}"


def without_piece(prompt: str, piece: str) -> str:
    """The prompt without a piece and the comma before it: what `with_piece` was given, but for a comma at its end."""
    found = _places(prompt, piece)
    if not found:
        return prompt
    before, after = prompt[: found[-1].start()], prompt[found[-1].end() :]
    cut = re.sub(r"\s*[,，]\s*$", "", before)
    return cut + after if cut or not after else re.sub(r"^\s*[,，]\s*", "", after)


def _places(prompt: str, piece: str) -> list[re.Match[str]]:
    letters = rf"(?<!\w){re.escape(piece)}(?!\w)" if piece.isascii() else re.escape(piece)
    return list(re.finditer(letters, prompt, re.IGNORECASE))


def _shipped(spoken: Language, model: str | None) -> dict[str, str]:
    from ..models.spec import resolve

    found = catalogue(SHIPPED, spoken) or catalogue(SHIPPED, "en")
    kind = "nano" if model is not None and resolve(model).family == "nano" else "piece"
    codes = [key.removesuffix(".name") for key in found if key.endswith(".name")]
    return {found[f"{code}.name"]: found[f"{code}.{kind}"] for code in codes if f"{code}.{kind}" in found}


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
        found = parsed_json(_file().read_text("utf-8"))
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
