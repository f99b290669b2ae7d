"""What two prompts differ in, word by word; in Chinese, which has no spaces, character by character."""

from __future__ import annotations

import html
import re
from difflib import SequenceMatcher

from ..translations import Texts

_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_]+(?:['’-][^\W_]+)*|\s+|.", re.DOTALL)


def diff_pieces(one: str, other: str) -> list[tuple[str, str]]:
    """(was, now) piece by piece: equal where both have the same, one of them empty where something came or went."""
    a, b = _words(one), _words(other)
    found: list[tuple[str, str]] = []
    for kind, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        was, now = "".join(a[a0:a1]), "".join(b[b0:b1])
        space = kind == "equal" and was.isspace() and found and found[-1][0] != found[-1][1]
        if found and (space or (kind != "equal" and found[-1][0] != found[-1][1])):
            found[-1] = found[-1][0] + was, found[-1][1] + now  # one change of two words, not two of one
        else:
            found.append((was, now))
    return found


def _words(text: str) -> list[str]:
    """Words, single Chinese characters, spaces and signs; together they are the text."""
    return [match[0] for match in _WORD.finditer(text)]


def diff_html(one: str, other: str, texts: Texts) -> str:
    """The second text as HTML, with what the first had in `del` and what is new in `ins`; in words, too."""
    out = []
    for was, now in diff_pieces(one, other):
        if was == now:
            out.append(html.escape(was))
            continue
        if was:
            out.append(f"<del>{_for_screen_readers(texts('grid.removed'))}{html.escape(was)}</del>")
        if now:
            out.append(f"<ins>{_for_screen_readers(texts('grid.added'))}{html.escape(now)}</ins>")
    return f'<p class="zk-words">{"".join(out)}</p>'


def _for_screen_readers(text: str) -> str:
    return f'<span class="zk-unseen">{html.escape(text)} </span>'
