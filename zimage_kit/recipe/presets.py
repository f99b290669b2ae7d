"""Presets: recipes kept under a name, to begin from: `zk.preset("poster").but(prompt="a red boat")`.

Each is a file NAME.json in `ZIMAGE_PRESETS`, by default ~/zimage/presets, with the fields that were given; what is left
out follows the model and the stages.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from ..errors import BadRequest, closest
from ..files import expanded, write_whole
from .request import Request

_NAME = re.compile(r"[^\s/\\:*?\"<>|.\0][^/\\:*?\"<>|\0\n\r]{0,79}")


def folder() -> Path:
    """Where presets are. Does not create it."""
    return expanded(Path(os.environ.get("ZIMAGE_PRESETS") or "~/zimage/presets"))


def presets() -> tuple[str, ...]:
    """The names of all presets, sorted."""
    return tuple(sorted(path.stem for path in folder().glob("*.json") if _NAME.fullmatch(path.stem)))


def preset(name: str) -> Request:
    """The preset of this name. Raises BadRequest for an unknown one, and for a file that is none."""
    path = _file(name)
    try:
        return Request.from_json(path.read_text("utf-8"))
    except FileNotFoundError:
        there = presets()
        mend = closest(name, there) if there else "zimage recipe save NAME FILE keeps one."
        raise BadRequest(f"there is no preset {name!r}", mend=mend) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"the preset {path} cannot be read ({error})") from None


def save_preset(name: str, request: Request, *, replace: bool = False) -> Path:
    """Keep a request under a name. Raises BadRequest for a name that is taken, unless `replace`, or that is no name."""
    path = _file(name)
    if path.exists() and not replace:
        raise BadRequest(f"there is a preset {name!r} already", mend="Take another name, or replace it.")
    given = request.model_dump(mode="json", exclude_defaults=True)
    write_whole(path, json.dumps(given, ensure_ascii=False, indent=1).encode() + b"\n")
    return path


def forget_preset(name: str) -> None:
    """Delete a preset. Raises BadRequest for an unknown one."""
    preset(name)
    _file(name).unlink()


def _file(name: str) -> Path:
    if not _NAME.fullmatch(name) or name != name.strip():
        raise BadRequest(
            f"{name!r} is no name for a preset", expected="up to 80 characters without / \\ : * ? and such"
        )
    return folder() / f"{name}.json"
