"""Position and size of a text: its room, a suitable size, or an error with the numbers if it does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from zimage_kit.errors import BadRequest

from .layout import Block, Style, at_size, fits, largest
from .paint import Frame
from .shaping import Shape

Place: TypeAlias = Literal[
    "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"
]
Room: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_WISHED = 0.105  # em / shorter side: the size of a title
_SMALLER = {"left": 0.085, "right": 0.085}
_IN_A_CORNER = 0.06
_COMFORTABLE = 0.032  # em / shorter side: the text covers more of the picture before it gets smaller than this


def room_of(size: tuple[int, int], box: Room | None, margin: float) -> Room:
    """The area for the text: the box, or the picture without its margin."""
    if box is not None:
        return box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]
    edge = margin * min(size)
    return edge, edge, size[0] - edge, size[1] - edge


def frame_of(block: Block, style: Style, room: Room, place: Place) -> Frame:
    """The block at its place in the room."""
    width, height = block.rotated(style.rotation)
    across = 0.0 if "left" in place else 1.0 if "right" in place else 0.5
    down = 0.0 if "top" in place else 1.0 if "bottom" in place else 0.5
    left, top = room[0] + across * (room[2] - room[0] - width), room[1] + down * (room[3] - room[1] - height)
    return Frame(block.width, block.height, (left + width / 2, top + height / 2), style.rotation)


def fitted(
    text: str,
    shapes: Sequence[Sequence[Shape]],
    style: Style,
    size: tuple[int, int],
    room: Room,
    place: Place,
    boxed: bool,
    fixed: float | None,
    smallest: int,
) -> Block:
    """The block that fits: at the `fixed` size, as large as the box allows, or without a box at one that looks right.

    Raises BadRequest with the numbers if it does not fit the room at `fixed`, or not even at `smallest` pixels.
    """
    whole = room[2] - room[0], room[3] - room[1]
    if fixed is not None:
        block = fits(shapes, fixed, whole, style) if fixed >= smallest else None
    elif boxed:
        block = largest(shapes, smallest, int(max(whole)), whole, style)
    else:
        shorter = min(size)
        wished = int(shorter * (_IN_A_CORNER if "-" in place else _SMALLER.get(place, _WISHED)))
        part = _part_of(whole, style, place)
        block = largest(shapes, max(smallest, int(shorter * _COMFORTABLE)), wished, part, style)
        block = block or largest(shapes, smallest, max(smallest, wished), whole, style)
    if block is None:
        raise _does_not_fit(text, shapes, style, whole, fixed, smallest)
    return block


def _part_of(whole: tuple[float, float], style: Style, place: Place) -> tuple[float, float]:
    """Width and height that a text may cover; a longer text gets smaller instead of covering more of the picture."""
    width, height = whole
    if style.vertical:
        return width * 0.45, height * (0.7 if "-" in place else 1.0)
    if "-" in place:
        return width * 0.65, height * 0.35
    if place in ("left", "right"):
        return width * 0.45, height * 0.8
    return width, height * (0.42 if place == "center" else 0.3)


def _does_not_fit(
    text: str,
    shapes: Sequence[Sequence[Shape]],
    style: Style,
    whole: tuple[float, float],
    fixed: float | None,
    smallest: int,
) -> BadRequest:
    """The error that says how much room there is and how much the text needs."""
    count = sum(not char.isspace() for char in text)
    tried = fixed if fixed is not None else float(smallest)
    room = f"at most {whole[0]:.0f} x {whole[1]:.0f} px"
    if fixed is not None and fixed < smallest:
        return BadRequest(
            f"text_overlay.size gives characters of {fixed:.1f} px",
            expected=f"at least smallest={smallest} px",
            mend="Make size larger or smallest smaller.",
            field="size",
        )
    limit = whole[1] if style.vertical else whole[0]
    block = at_size(shapes, tried, limit, style)
    if block is not None:
        width, height = block.rotated(style.rotation)
        needs = f"{width:.0f} x {height:.0f} px"
    else:
        longest = max((piece.advance, piece.piece.text) for part in shapes for piece in part)
        needs = f"{longest[0] * tried:.0f} px in a line for {longest[1]!r}"
    what = f"text_overlay: {count} characters of {tried:.0f} px need {needs}"
    if fixed is None:
        mend = "Shorten the text, give it a larger box, or allow a size below smallest."
    else:
        best = largest(shapes, smallest, int(fixed), whole, style)
        mend = (
            f"The largest size that fits is {best.size:.0f} px; without size= it is found." if best else "Shorten it."
        )
    return BadRequest(what, expected=room, mend=mend, field="text", smallest=smallest, room=whole)
