"""Where a line may end: Chinese between any two characters but for the rules of punctuation, English between words.

The sets follow the Chinese and Japanese layout requirements of the W3C (clreq, jlreq: 避头尾, kinsoku shori).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

NOT_FIRST = frozenset(
    "、。，．・：；？！‼⁇⁈⁉）］｝〉》」』】〕〗〙〛｠”’…‥—～〜％‰℃゛゜ヽヾゝゞ々ー"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ)]}>,.:;?!%·"
)
"""What may not begin a line (避头)."""

NOT_LAST = frozenset("（［｛〈《「『【〔〖〘〚｟“‘([{<＄￥￡№＃")
"""What may not end a line (避尾)."""

OPENING = frozenset("（［｛〈《「『【〔〖〘〚｟“‘")
CLOSING = frozenset("）］｝〉》」』】〕〗〙〛｠”’、。，．：；？！")
"""Full-width punctuation with a blank half, before and behind."""

INSEPARABLE = frozenset("—…‥")
"""Two of the same stay together."""

EITHER = frozenset("“”‘’…—‥·")
"""Punctuation that Chinese sets full-width and English does not: decided by the letters around it."""

_JOINER, _VARIATIONS = "\u200d", ("\ufe0e", "\ufe0f")
_BREAK_AFTER = "-‐–/"
_EMOJI = (
    (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F7E0, 0x1F7EB), (0x1F900, 0x1F9FF), (0x1FA70, 0x1FAFF),
    (0x1F1E6, 0x1F1FF), (0x231A, 0x231B), (0x23E9, 0x23EC), (0x23F0, 0x23F0), (0x23F3, 0x23F3), (0x25FD, 0x25FE),
    (0x2614, 0x2615), (0x2648, 0x2653), (0x267F, 0x267F), (0x2693, 0x2693), (0x26A1, 0x26A1), (0x26AA, 0x26AB),
    (0x26BD, 0x26BE), (0x26C4, 0x26C5), (0x26CE, 0x26CE), (0x26D4, 0x26D4), (0x26EA, 0x26EA), (0x26F2, 0x26F3),
    (0x26F5, 0x26F5), (0x26FA, 0x26FA), (0x26FD, 0x26FD), (0x2705, 0x2705), (0x270A, 0x270B), (0x2728, 0x2728),
    (0x274C, 0x274C), (0x274E, 0x274E), (0x2753, 0x2755), (0x2757, 0x2757), (0x2795, 0x2797), (0x27B0, 0x27B0),
    (0x27BF, 0x27BF), (0x2B1B, 0x2B1C), (0x2B50, 0x2B50), (0x2B55, 0x2B55), (0x1F004, 0x1F004), (0x1F0CF, 0x1F0CF),
    (0x1F18E, 0x1F18E), (0x1F191, 0x1F19A),
)  # fmt: skip
"""Characters that are shown in colour by themselves (Emoji_Presentation in Unicode's emoji-data.txt)."""


@dataclass(frozen=True)
class Piece:
    """Letters that no line break divides. `tied`: no line break before it either."""

    text: str
    kind: Literal["wide", "word", "space", "emoji"]
    tied: bool = False


def clusters(text: str) -> list[str]:
    """What a reader takes for one character each: accents, variations and joined emoji stay with their base."""
    found: list[str] = []
    for char in text:
        if found and _joins(found[-1], char):
            found[-1] += char
        else:
            found.append(char)
    return found


def shortened(text: str, most: int) -> str:
    """At most `most` characters as a reader counts them; a longer text ends in an ellipsis."""
    found = clusters(text) if len(text) > most else []
    return "".join(found[: most - 1]).rstrip() + "…" if len(found) > most else text


def _joins(before: str, char: str) -> bool:
    if before.isspace() or char.isspace():
        return False
    if char in (_JOINER, "\u200c", *_VARIATIONS) or unicodedata.category(char).startswith("M"):
        return True
    if 0x1F3FB <= ord(char) <= 0x1F3FF or 0xE0020 <= ord(char) <= 0xE007F:  # skin tones, tags of flags
        return is_emoji(before)
    if before.endswith(_JOINER):
        return True
    return _regional(char) and _regional(before) and len(before) == 1  # two letters of a flag


def _regional(char: str) -> bool:
    return 0x1F1E6 <= ord(char[0]) <= 0x1F1FF


def is_emoji(cluster: str) -> bool:
    """Whether a cluster wants to be shown in colour."""
    if "\ufe0f" in cluster:
        return True
    return "\ufe0e" not in cluster and any(low <= ord(cluster[0]) <= high for low, high in _EMOJI)


def is_wide(char: str) -> bool:
    """Whether a character stands upright in a square of its own: ideographs, kana, full-width punctuation."""
    if 0xAC00 <= ord(char) <= 0xD7A3:
        return False  # Korean breaks between words
    return unicodedata.east_asian_width(char) in "WF"


def is_chinese(text: str) -> bool:
    """Whether there is an ideograph or kana in it."""
    return any(is_wide(char) and unicodedata.category(char) == "Lo" for char in text)


def pieces(paragraph: str) -> list[Piece]:
    """One paragraph (no newline) as the pieces between which lines may break."""
    cells = clusters(paragraph)
    chinese = is_chinese(paragraph)
    found: list[Piece] = []
    for index, cell in enumerate(cells):
        kind = _kind(cell, index, cells, chinese)
        last = found[-1] if found else None
        if last is not None and _one(last, kind, cell):
            found[-1] = Piece(last.text + cell, kind, last.tied)
        else:
            tied = last is not None and last.kind != "space" and (cell[0] in NOT_FIRST or last.text[-1] in NOT_LAST)
            found.append(Piece(cell, kind, tied))
    return found


def _kind(cell: str, index: int, cells: list[str], chinese: bool) -> Literal["wide", "word", "space", "emoji"]:
    if cell in (" ", "\t"):
        return "space"
    if is_emoji(cell):
        return "emoji"
    if cell[0] in EITHER:
        before, after = (cells[at][0] if 0 <= at < len(cells) else " " for at in (index - 1, index + 1))
        within_word = cell in "’·" and before.isalnum() and after.isalnum() and not (is_wide(before) or is_wide(after))
        return "wide" if chinese and not within_word else "word"
    return "wide" if is_wide(cell[0]) else "word"


def _one(last: Piece, kind: str, cell: str) -> bool:
    """Whether a cluster goes on with the piece before it."""
    if kind != last.kind:
        return False
    if kind == "word":
        ends = last.text[-1] in _BREAK_AFTER and len(last.text) > 1 and last.text[-2].isalpha() and cell[0].isalpha()
        return not ends
    return kind == "wide" and cell[0] in INSEPARABLE and last.text[-1] == cell[0]
