"""Compare: two pictures in one frame with a line between them that the user moves, for before and after a stage.

Both are shown at one size, whatever their pixels, so that a picture and its enlargement lie exactly on each other.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anywidget
import traitlets
from PIL import Image

from ....errors import BadRequest
from ....text.scripts import joined_script, joined_style
from ...translations import Language, Texts
from ...translations import language as users_language

if TYPE_CHECKING:
    from ....recipe.artifact import Artifact

_HERE = Path(__file__).parent
LONGEST_SIDE = 1600
"""Pixels. No notebook shows a picture larger, and each is sent to the browser as a whole."""
_CHECKER = ((0x9A, 0x9A, 0x9A), (0x7A, 0x7A, 0x7A))
"""Two greys, which neither theme of the notebook resembles."""


class HasImage(Protocol):
    """What an artifact is here."""

    @property
    def image(self) -> Image.Image:
        """The picture."""


Picture = Image.Image | HasImage


class Compare(anywidget.AnyWidget):
    """`before` at the left of a line and `after` at its right; `position` is the line's place in percent.

    A picture is a PIL image or an Artifact. `labels` name the two, from left to right; without them they are called
    before and after in `language` ("en" or "zh"; by default the user's). The line follows the pointer anywhere on the
    picture, and the arrow keys, Home and End.
    """

    _esm = joined_script(_HERE / "slider.js")
    _css = joined_style(_HERE / "slider.css")

    before = traitlets.Bytes().tag(sync=True)
    """JPEG, at most `LONGEST_SIDE` pixels a side; empty: no picture."""
    after = traitlets.Bytes().tag(sync=True)
    position = traitlets.Int(50, min=0, max=100).tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)
    """What the widget says: label, before, after and position."""

    def __init__(
        self,
        before: Picture | None = None,
        after: Picture | None = None,
        *,
        labels: tuple[str, str] | None = None,
        language: Language | None = None,
        **traits: Any,
    ) -> None:
        super().__init__(
            before=jpeg(before), after=jpeg(after), texts=_texts(labels, language or users_language()), **traits
        )
        self._spoken = language

    def show(self, before: Picture | None, after: Picture | None, labels: tuple[str, str] | None = None) -> None:
        """Replace both pictures (None: no picture) and what they are called. The line stays where it is."""
        pictures = jpeg(before), jpeg(after)  # both first: one that cannot be read leaves the old pair as it was
        with self.hold_sync():
            self.before, self.after = pictures
            self.texts = _texts(labels, self._spoken or users_language())

    def __repr__(self) -> str:
        return f"<Compare: {self.texts['before']} | {self.texts['after']}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """As a widget, and for a saved notebook as one picture: before at the left of the line, after at its right."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        if self.before and self.after:
            before, after = (Image.open(io.BytesIO(part)) for part in (self.before, self.after))
            size = min(before.size, after.size)
            halves, line = after.resize(size), round(size[0] * self.position / 100)
            halves.paste(before.resize(size).crop((0, 0, line, size[1])))
            halves.paste("white", (max(0, line - 1), 0, min(size[0], line + 1), size[1]))
            data["image/jpeg"] = jpeg(halves)
        return data, metadata


def compare(
    before: Picture,
    after: Picture | None = None,
    *,
    labels: tuple[str, str] | None = None,
    language: Language | None = None,
) -> Compare:
    """Two pictures with a movable line between them. One artifact alone is compared with itself before its last stage.

    Raises BadRequest for a single picture that is no artifact, and what `Artifact.before` raises.
    """
    if after is None:
        if isinstance(before, Image.Image) or not hasattr(before, "before"):
            raise BadRequest(
                "compare with one picture that has no recipe", mend="Give a second picture, or an Artifact."
            )
        artifact: Artifact = before  # type: ignore[assignment]
        before, after = artifact.before(), artifact
    return Compare(before, after, labels=labels, language=language)


def _texts(labels: tuple[str, str] | None, language: Language) -> dict[str, str]:
    texts = Texts(language).section("compare")
    return texts if labels is None else {**texts, "before": labels[0], "after": labels[1]}


def jpeg(picture: Picture | None) -> bytes:
    """As a browser is sent it: at most `LONGEST_SIDE` pixels a side, on a checkered ground; empty for None."""
    if picture is None:
        return b""
    image = picture if isinstance(picture, Image.Image) else picture.image
    if max(image.size) > LONGEST_SIDE:
        image = image.copy()
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    if image.has_transparency_data:
        image = Image.alpha_composite(_checker(image.size), image.convert("RGBA"))
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=90, subsampling=0)
    return out.getvalue()


def _checker(size: tuple[int, int]) -> Image.Image:
    """Squares of a 48th of the longer side, so that they agree between a picture and its enlargement."""
    side = max(1, round(max(size) / 48))
    squares = [-(-length // side) for length in size]
    board = Image.new("RGB", (squares[0], squares[1]))
    board.putdata([_CHECKER[(x + y) % 2] for y in range(squares[1]) for x in range(squares[0])])
    return (
        board.resize((squares[0] * side, squares[1] * side), Image.Resampling.NEAREST)
        .crop((0, 0, *size))
        .convert("RGBA")
    )
