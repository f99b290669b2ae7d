"""Word lists: text files with one entry a line, which a template names: `__animals__`, `__places/sea__`.

They are in `ZIMAGE_WORDLISTS`, by default ~/zimage/wordlists: NAME.txt in UTF-8. Blank lines and lines that begin with
`#` do not count.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from ..errors import BadRequest, closest
from ..files import expanded


def folder() -> Path:
    """Where word lists are. Does not create it."""
    return expanded(Path(os.environ.get("ZIMAGE_WORDLISTS") or "~/zimage/wordlists"))


def word_lists() -> tuple[str, ...]:
    """The names of all word lists, sorted; one in a subfolder as `places/sea`."""
    root = folder()
    return tuple(sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.txt")))


def entries(name: str) -> tuple[str, ...]:
    """The entries of a list, in the file's order. Raises BadRequest for an unknown, unreadable or empty one."""
    path = folder() / f"{name}.txt"
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise _unknown(name) from None
    except UnicodeDecodeError:
        raise BadRequest(f"the word list {path} is not UTF-8", mend="Save it again as UTF-8.") from None
    except OSError as error:
        raise BadRequest(f"the word list {path} cannot be read ({error})") from None
    found = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not found:
        raise BadRequest(f"the word list {path} is empty", expected="one entry a line")
    return found


def _unknown(name: str) -> BadRequest:
    there = word_lists()
    mend = (
        closest(name, get_close_matches(name, there, 5, 0.3) or there[:12])
        if there
        else f"Write its entries into {folder() / name}.txt, one a line."
    )
    return BadRequest(f"there is no word list {name!r} in {folder()}", mend=mend)
