"""The mask painter: a mask painted over a picture, in the panel or in any notebook cell.

The browser paints; this side keeps each mask by its content in the outputs folder (`recipe/asset.py`), and shows the
browser the mask of a value that came from elsewhere. A value is what `Inpaint(**value)` takes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets
from PIL import Image

from zimage_kit import Artifact
from zimage_kit.errors import BadRequest, ZImageError
from zimage_kit.recipe import asset
from zimage_kit.recipe.artifact import read_any
from zimage_kit.recipe.picture import on_white
from zimage_kit.studio.translations import Texts, language
from zimage_kit.text.scripts import joined_script

from .inpaint import Inpaint

_HERE = Path(__file__).parent
TEXTS = _HERE / "texts"
LONGEST, _LARGEST_RUN = 2048, (1 << 24) - 1
"""Pixels of the longer side of a mask as the browser has it, and of one run."""
_SAVED_SIDE = 512
"""Longer side, in pixels, of the picture that a saved notebook keeps."""


class MaskPainter(anywidget.AnyWidget):
    """A mask to be painted over a picture. `value` holds it as `inpaint` takes it: `zk.stages.inpaint(**value)`.

    `MaskPainter(picture)` takes an artifact, a PIL picture or a file. A painted mask is an asset of the outputs folder,
    `{"mask": "asset:…"}`, white where it is drawn again, `invert` done already; a value without "mask" has none. Only
    this side assigns `value`, a new dict each time. If a mask cannot be read `problem` says why, and `value` stays.
    """

    _esm = joined_script(_HERE / "painter.js")
    _css = _HERE / "painter.css"

    edits: ClassVar[tuple[str, ...]] = ("mask", "feather", "invert")
    """The stage's fields that the painter edits."""

    value = traitlets.Dict().tag(sync=True)
    """JSON values of `edits`; missing ones have their defaults."""
    size = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(1024, 1024)).tag(sync=True)
    """Width and height of the picture to be made, in pixels."""
    backdrop = traitlets.Bytes().tag(sync=True)
    """The picture that is painted over, JPEG or PNG; empty: none. The mask has its shape."""
    language = traitlets.Unicode()

    drawn = traitlets.Bytes().tag(sync=True)
    """The mask for the browser, packed as `packed` says; empty: nothing is painted."""
    problem = traitlets.Unicode().tag(sync=True)
    """What is wrong with the value; empty: nothing."""
    texts = traitlets.Dict().tag(sync=True)

    @traitlets.default("language")
    def _users_language(self) -> str:
        return language()

    def __init__(self, picture: Artifact | Image.Image | Path | str | None = None, **traits: Any) -> None:
        self._shown: tuple[Any, ...] = (None, False)  # mask and invert that `drawn` shows
        super().__init__(**({} if picture is None else _of_picture(picture)), **traits)
        self._say()
        self._show()
        self.observe(lambda _: self._say(), "language")
        self.observe(lambda _: self._show(), "value")
        self.on_msg(self._told)

    def __repr__(self) -> str:
        painted = f"{_share(unpacked(self.drawn)):.0%}" if self.drawn else "nothing"
        return f"<MaskPainter: {painted} of {self.size[0]}x{self.size[1]}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """As a widget, and as a picture for a saved notebook without a kernel."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        if self.drawn or self.backdrop:
            out = io.BytesIO()
            self._as_seen().save(out, "JPEG", quality=85)
            data["image/jpeg"] = out.getvalue()
        return data, metadata

    def stage(self, **fields: Any) -> Inpaint:
        """The stage with this mask and more fields: `painter.stage(prompt="a blue boat")`. Raises BadRequest."""
        return Inpaint(**{name: self.value[name] for name in self.edits if name in self.value}, **fields)

    def mask(self) -> Image.Image:
        """The mask as the browser has it: L, white where it is drawn again."""
        return unpacked(self.drawn) if self.drawn else Image.new("L", self.size)

    def _say(self) -> None:
        self.texts = Texts(self.language, folder=TEXTS).section("painter")

    def _show(self) -> None:
        """Give the browser the mask of a value that it did not paint."""
        what = self.value.get("mask"), bool(self.value.get("invert"))
        if what == self._shown:
            return
        self._shown = what
        try:
            side = min(1.0, LONGEST / max(self.size))
            size = max(1, round(self.size[0] * side)), max(1, round(self.size[1] * side))
            self.drawn = packed(Inpaint(mask=what[0], invert=what[1]).mask_at(size)) if what[0] else b""
            self.problem = ""
        except (ZImageError, OSError) as error:
            self.drawn, self.problem = b"", " ".join(str(error).split())

    def _told(self, _: Any, content: Mapping[str, Any], buffers: list[Any]) -> None:
        """Of a mask that was painted, `{"do": "paint", "number": …}`, or of a feather. Answers with the number."""
        failed = ""
        try:
            if content.get("do") == "paint":
                self._keep(bytes(buffers[0]) if buffers else b"")
            elif content.get("do") == "feather":
                self._change(feather=int(content["feather"]))
        except Exception as error:  # what a callback raises is seen nowhere
            failed = " ".join(str(error).split())
        self.send({"do": "kept", "number": content.get("number"), "failed": failed})

    def _keep(self, content: bytes) -> None:
        mask = unpacked(content)
        if mask.getbbox() is None:
            self._shown, self.drawn = (None, False), b""
            self._change(mask=None, invert=None)
            return
        out = io.BytesIO()
        mask.save(out, "PNG")
        text = str(asset.store(out.getvalue(), "mask.png"))
        self._shown, self.drawn = (text, False), content
        self._change(mask=text, invert=None)

    def _change(self, **changes: Any) -> None:
        """Assign a value with these changes; None leaves a field out."""
        found = {name: value for name, value in {**self.value, **changes}.items() if value is not None}
        self.problem, self.value = "", found

    def _as_seen(self) -> Image.Image:
        """The picture with the mask over it, small."""
        with Image.open(io.BytesIO(self.backdrop)) if self.backdrop else Image.new("RGB", self.size, "#777") as file:
            picture = file.convert("RGB")
        picture.thumbnail((_SAVED_SIDE, _SAVED_SIDE))
        level = self.mask().resize(picture.size).point(lambda value: value // 2)
        picture.paste(Image.new("RGB", picture.size, "#ff2d78"), mask=level)
        return picture


def _of_picture(picture: Artifact | Image.Image | Path | str) -> dict[str, Any]:
    """The traits that show a picture."""
    if isinstance(picture, Artifact):
        image = picture.image
    else:
        image = picture if isinstance(picture, Image.Image) else read_any(picture).image
    out = io.BytesIO()
    on_white(image.convert("RGBA") if image.has_transparency_data else image).convert("RGB").save(
        out, "JPEG", quality=92
    )
    return {"size": image.size, "backdrop": out.getvalue()}


def packed(mask: Image.Image) -> bytes:
    """A mask (L) for the browser: width, height, then runs, each `level << 24 | length`; 32 bits, little-endian."""
    levels = np.asarray(mask).ravel()
    starts = np.flatnonzero(np.concatenate(([True], levels[1:] != levels[:-1])))
    starts = np.union1d(starts, np.arange(0, levels.size, _LARGEST_RUN))
    runs = (levels[starts].astype(np.uint32) << 24) | np.diff(starts, append=levels.size).astype(np.uint32)
    return np.concatenate((np.array(mask.size, np.uint32), runs)).astype("<u4").tobytes()


def unpacked(content: bytes) -> Image.Image:
    """The mask that `packed`, here or in the browser, made. Raises BadRequest for anything else."""
    words = np.frombuffer(content[: len(content) // 4 * 4], "<u4")
    width, height = (int(side) for side in words[:2]) if len(words) > 2 else (0, 0)
    lengths = (words[2:] & _LARGEST_RUN).astype(np.int64)
    if not (0 < width <= LONGEST and 0 < height <= LONGEST) or int(lengths.sum()) != width * height:
        raise BadRequest("the painted mask is damaged", mend="Paint it again.")
    levels = np.repeat((words[2:] >> 24).astype(np.uint8), lengths)
    return Image.fromarray(levels.reshape(height, width))


def _share(mask: Image.Image) -> float:
    return float(np.asarray(mask).mean()) / 255
