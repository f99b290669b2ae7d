"""Text overlay: text on the finished picture, typeset by Chinese and English rules."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from zimage_kit import Context, Field, Request, Stage, stage
from zimage_kit.errors import BadRequest
from zimage_kit.files import content_digest
from zimage_kit.recipe.identity import digest
from zimage_kit.text.line_breaks import Piece, pieces

from .compose import compose
from .faces import Fonts
from .layout import Block, Style
from .look import Behind, Wish, parse
from .place import Place, fitted, room_of
from .shaping import Shape, shape
from .template import fill

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["TextOverlay"]

_ALIGN = {"left": 0.0, "center": 0.5, "right": 1.0}
Box = tuple[float, float, float, float]


@stage
class TextOverlay(Stage):
    r"""Set `text` on the picture. Empty text changes nothing.

    Size, colour and the means of contrast are chosen automatically unless set, and the trace records the choice.
    `\n` begins a new line; {seed}, {model}, {steps}, {width}, {height} and {prompt} stand for the recipe's values.
    """

    kind = "text_overlay"
    identity: ClassVar[dict[str, Any]] = {"text": ""}
    finishing: ClassVar[bool] = True

    text: str = Field(
        "",
        description="what to write; `\\n` begins a new line, `{seed}` and the like are filled in",
        json_schema_extra={"format": "multiline"},
    )
    place: Place = Field("bottom", description="where in the picture, or in the box")
    box: Box | None = Field(
        None,
        description="left, top, right, bottom / picture; the text fills it [default: the picture without margin]",
    )
    margin: float = Field(0.06, ge=0.0, le=0.4, description="distance from the edges / shorter side; a box has none")
    direction: Literal["horizontal", "vertical"] = Field(
        "horizontal", description="lines, or Chinese columns from right to left"
    )
    align: Literal["auto", "left", "center", "right"] = Field(
        "auto", description="of lines in their block; auto follows the place; in columns left is the top"
    )
    size: float | None = Field(
        None,
        ge=0.005,
        le=1.0,
        description="height of a character / shorter side [default: the largest that fits the box, or looks right]",
    )
    smallest: int = Field(12, ge=4, le=200, description="pixels of a character below which nothing is drawn")
    line_spacing: float = Field(1.3, ge=0.8, le=4.0, description="from line to line / size")
    letter_spacing: float = Field(0.0, ge=-0.2, le=2.0, description="added between characters / size")
    font: str | None = Field(
        None, min_length=1, description="a font file, or the name of a family that is installed [default: Noto CJK]"
    )
    weight: Literal["regular", "bold"] = Field("bold", description="of the letters, where the family has both")
    colour: str = Field("auto", description="a colour name or #rrggbb; auto takes light or dark, which stands out more")
    light: str = Field("white", description="the light colour that auto may take")
    dark: str = Field("#161616", description="the dark one")
    contrast: float = Field(
        4.5, ge=1.0, le=15.0, description="ratio to reach between letters and what is beneath (WCAG 2)"
    )
    outline: float | None = Field(
        None,
        ge=0.0,
        le=0.3,
        description="thickness / size [default: none, or 0.05 where nothing else gives the contrast]",
    )
    outline_colour: str = Field("auto", description="a colour; auto is the opposite of the letters'")
    shadow: float | None = Field(None, ge=0.0, le=1.0, description="strength [default: soft, as needed]")
    behind: Behind = Field(
        "auto", description="scrim, a soft veil; plate, a rounded one with edges; auto, a scrim where contrast lacks"
    )
    behind_colour: str = Field("auto", description="a colour; auto is the opposite of the letters'")
    behind_opacity: float | None = Field(
        None, ge=0.0, le=1.0, description="of the scrim or plate [default: what the contrast needs]"
    )
    opacity: float = Field(1.0, ge=0.0, le=1.0, description="of the letters with outline and shadow")
    rotation: float = Field(0.0, ge=-180.0, le=180.0, description="degrees counter-clockwise, about the block's middle")

    @field_validator("box", mode="before")
    @classmethod
    def _box_from_text(cls, value: Any) -> Any:
        """Accept a box as text, as on the command line: `0.1 0.1 0.9 0.5`, with or without commas."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("box")
    @classmethod
    def _box_in_order(cls, box: Box | None) -> Box | None:
        if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise ValueError("0 <= left < right <= 1 and 0 <= top < bottom <= 1|For example 0.1 0.1 0.9 0.5.")
        return box

    @field_validator("colour", "light", "dark", "outline_colour", "behind_colour")
    @classmethod
    def _a_colour(cls, value: str) -> str:
        if value != "auto":
            try:
                parse(value)
            except ValueError:
                raise ValueError("a colour name, #rrggbb or auto|For example gold or #e8b04a.") from None
        return value

    @field_validator("light", "dark")
    @classmethod
    def _a_fixed_colour(cls, value: str) -> str:
        if value == "auto":
            raise ValueError("a colour name or #rrggbb|Auto chooses between light and dark.")
        return value

    def check(self, request: Request) -> tuple[str, ...]:
        """Raise for an unknown name in braces, font or character, and for text that does not fit a known size."""
        text = fill(self.text, request)
        if not text.strip():
            return ()
        letters, shapes = self._shapes(text)
        mine = [data.kind == self.kind for data in request.stages]
        if request.width and request.height and request.source is None and all(mine):
            self._block(text, shapes, (request.width, request.height))
        if self.weight == "bold" and letters.main is not None and letters.main.weight < 550:
            return (f"text_overlay: {letters.main.family} has no bold, so it is {letters.main.weight:.0f}",)
        return ()

    def depends(self, request: Request) -> dict[str, str]:
        """The faces that the letters come from: the requested font and the fallbacks for what it lacks."""
        text = fill(self.text, request)
        if not text.strip():
            return {}
        letters, _ = self._shapes(text)
        faces = [f"{content_digest(face.path)} {face.index} {face.weight:g}" for face in letters.used]
        return {"font": digest(faces)}

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        """A new picture of the same size and mode (RGB or RGBA) with the text on it; notes what was chosen for it."""
        text = fill(self.text, ctx.request)
        if not text.strip():
            return image.copy()
        letters, shapes = self._shapes(text)
        block = self._block(text, shapes, image.size)
        wish = Wish(**{name: getattr(self, name) for name in Wish.__dataclass_fields__})
        picture, look = compose(image, block, self._style, wish, self._room(image.size), self.place, self.opacity)
        drawn_with = ", ".join(face.label for face in letters.used)
        ctx.note(f"text_overlay: {drawn_with}; {block.size:g} px, {', '.join(look.words)}")
        return picture

    @property
    def _style(self) -> Style:
        vertical = self.direction == "vertical"
        if self.align == "auto":
            side = "left" if vertical else next((name for name in ("left", "right") if name in self.place), "center")
        else:
            side = self.align
        return Style(vertical, _ALIGN[side], self.line_spacing, self.letter_spacing, self.rotation)

    def _room(self, size: tuple[int, int]) -> Box:
        return room_of(size, self.box, self.margin)

    def _shapes(self, text: str) -> tuple[Fonts, list[list[Shape]]]:
        """Shaped paragraphs and the fonts used. Raises BadRequest for characters that no font has."""
        text = unicodedata.normalize("NFC", text.strip("\n"))
        reversed_script = next((char for char in text if unicodedata.bidirectional(char) in ("R", "AL")), None)
        if reversed_script:
            raise BadRequest(
                f"text_overlay.text has {reversed_script}, of a script that runs from right to left",
                expected="scripts that run from left to right, or Chinese columns",
                field="text",
            )
        letters = Fonts(self.font, self.weight == "bold", text)
        letters.check(text)
        vertical = self.direction == "vertical"
        cut: list[list[Piece]] = [pieces(paragraph) for paragraph in text.split("\n")]
        return letters, [[shape(piece, letters, vertical, self.letter_spacing) for piece in part] for part in cut]

    def _block(self, text: str, shapes: list[list[Shape]], size: tuple[int, int]) -> Block:
        """The text at its size in a picture of `size` pixels. Raises BadRequest if it does not fit."""
        room = self._room(size)
        fixed = None if self.size is None else self.size * min(size)
        return fitted(text, shapes, self._style, size, room, self.place, self.box is not None, fixed, self.smallest)
