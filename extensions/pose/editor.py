"""The pose editor: people whose points are dragged into place, in the panel or in any notebook cell.

The browser draws and drags; this side turns a value into figures, reads and writes OpenPose JSON, and reports errors.
A value is what `Pose(**value)` takes, so recipes, the panel and the editor mean the same people.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from zimage_kit.errors import ZImageError
from zimage_kit.files import parsed_json
from zimage_kit.models.spec import resolve
from zimage_kit.studio.translations import Texts, language
from zimage_kit.text.scripts import joined_script

from . import Pose, openpose, presets, skeleton
from .openpose import Figure

_HERE = Path(__file__).parent
TEXTS = _HERE / "texts"
_SAVED_SIDE = 512
"""Longer side, in pixels, of the picture that a saved notebook keeps."""

Answer = tuple[dict[str, Any], list[bytes]]
"""A message for the browser and its buffers."""


class PoseEditor(anywidget.AnyWidget):
    """People to be dragged into a pose. `value` holds them as `pose` takes them: `zk.stages.pose(**value)`.

    Named poses stay named, `{"preset": ["waving"]}`, until they are edited by hand; then value is `{"people": …,
    "canvas": …}`, with OpenPose figures in fractions of the canvas. Both sides assign new dicts.
    A value that the stage refuses is kept, and `problem` says what is wrong with it.
    """

    _esm = joined_script(_HERE / "editor.js")
    _css = _HERE / "editor.css"

    edits: ClassVar[tuple[str, ...]] = ("preset", "people", "canvas", "fit", "size", "body", "mirror")
    """The stage's fields that the editor edits."""

    instead: ClassVar[dict[str, tuple[str, ...]]] = {"photo": ("preset", "people", "canvas")}
    """A photograph takes the place of these, and these of a photograph."""

    value = traitlets.Dict().tag(sync=True)
    """JSON values of `edits`; missing ones have their defaults."""
    size = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(1024, 1024)).tag(sync=True)
    """Width and height of the picture to be made, in pixels."""
    model = traitlets.Unicode("")
    """The model that will draw them: nano's people have other proportions. Empty: an adult's."""
    backdrop = traitlets.Bytes().tag(sync=True)
    """A picture shown behind the people, JPEG or PNG; empty: none."""
    language = traitlets.Unicode()

    figures = traitlets.Dict().tag(sync=True)
    """For the browser: {"of": a value, "people": its figures in a picture of "size", "body": theirs}."""
    problem = traitlets.Unicode().tag(sync=True)
    """What is wrong with the value; empty: nothing."""
    texts = traitlets.Dict().tag(sync=True)
    anatomy = traitlets.Dict().tag(sync=True)

    @traitlets.default("language")
    def _users_language(self) -> str:
        return language()

    @property
    def _texts(self) -> Texts:
        return Texts(self.language, folder=TEXTS)

    def __init__(self, **traits: Any) -> None:
        super().__init__(anatomy=_anatomy(), **traits)
        self._say()
        self._lay_out()
        self.observe(lambda _: self._say(), "language")
        self.observe(lambda _: self._lay_out(), ["value", "size", "model"])
        self.on_msg(self._asked)

    def __repr__(self) -> str:
        return f"<PoseEditor: {len(self.figures.get('people', ()))} in {self.size[0]}x{self.size[1]}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """As a widget, and as a picture of the skeleton for a saved notebook without a kernel."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        if not self.problem:
            factor = min(1.0, _SAVED_SIDE / max(self.size))
            out = io.BytesIO()
            width, height = (max(1, round(side * factor)) for side in self.size)
            self._as_drawn().skeleton(width, height).save(out, "JPEG", quality=90)
            data["image/jpeg"] = out.getvalue()
        return data, metadata

    def stage(self) -> Pose:
        """The stage with this value. Raises BadRequest for a value that the stage refuses."""
        return Pose(**{name: self.value[name] for name in self.edits if name in self.value})

    def _say(self) -> None:
        texts = self._texts
        points = texts.section("points")
        self.texts = {
            "editor": texts.section("editor"),
            "presets": texts.section("presets"),
            "points": [points[name.replace(" ", "_")] for name in skeleton.NAMES],
        }

    def _lay_out(self) -> None:
        """Compute `figures`. Errors are shown in the editor, since what a callback raises is seen nowhere."""
        try:
            stage = self._as_drawn()
            people = [_plain(figure) for figure in stage.figures(*self.size)]
            body = stage.body or "adult"
            self.figures = {"of": self.value, "size": list(self.size), "body": body, "people": people}
            self.problem = ""
        except Exception as error:
            self.problem = _reason(error)

    def _as_drawn(self) -> Pose:
        stage = self.stage()
        if stage.body is None and self.model:
            return stage.model_copy(update={"body": "small" if resolve(self.model).family == "nano" else "adult"})
        return stage

    def _asked(self, _: Any, content: Mapping[str, Any], buffers: list[Any]) -> None:
        """Answer a request of the browser's, {"do": "read" | "write" | "draw", …}."""
        answers: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
            "read": self._read,
            "write": self._write,
            "draw": self._draw,
        }
        doing = str(content.get("do"))
        try:
            answer, attached = answers[doing](content)
        except Exception as error:
            said = self._texts("editor.not_read" if doing == "read" else "editor.not_made", reason=_reason(error))
            answer, attached = {"do": "fail", "text": said}, []
        self.send(answer, buffers=attached)

    def _read(self, content: Mapping[str, Any]) -> Answer:
        """The people of OpenPose JSON, placed in the picture."""
        try:
            given = parsed_json(str(content["text"]).removeprefix("\ufeff"))
        except ValueError as error:
            raise ValueError(f"OpenPose JSON ({error})") from None
        if not isinstance(given, (dict, list)):
            raise ValueError("OpenPose JSON with people")
        people, canvas = openpose.read(given)
        found = Pose(people=people, canvas=canvas).figures(*self.size)
        return {"do": "read", "people": [_plain(figure) for figure in found], "size": list(self.size)}, []

    def _write(self, _: Mapping[str, Any]) -> Answer:
        text = self._as_drawn().openpose_json(*self.size)
        return {"do": "save", "name": "pose.json", "type": "application/json"}, [text.encode()]

    def _draw(self, _: Mapping[str, Any]) -> Answer:
        out = io.BytesIO()
        self._as_drawn().skeleton(*self.size).save(out, "PNG")
        return {"do": "save", "name": "skeleton.png", "type": "image/png"}, [out.getvalue()]


def _anatomy() -> dict[str, Any]:
    """What the browser needs to know of bodies, from the same tables that draw the control picture."""
    return {
        "limbs": [list(limb) for limb in skeleton.LIMBS],
        "colours": [list(colour) for colour in skeleton.COLOURS],
        "bones": [list(bone) for bone in skeleton.HAND_BONES],
        "bone_colours": [list(colour) for colour in skeleton.HAND_COLOURS],
        "swapped": list(openpose.SWAPPED),
        "reference_side": skeleton.REFERENCE_SIDE,
        "poses": {
            name: {body: presets.points(name, body)[:, :2].round(4).tolist() for body in ("adult", "small")}
            for name in presets.ANGLES
        },
    }


def _plain(figure: Figure) -> dict[str, list[float]]:
    """A figure as JSON, without the parts that it lacks."""
    return {name: list(values) for name, values in figure if values}


def _reason(error: Exception) -> str:
    """An error's message on one line. Messages of `openpose` are "what was expected|what to do"."""
    if isinstance(error, ZImageError):
        return " ".join(str(error).split())
    expected, _, mend = " ".join(str(error).split()).partition("|")
    return f"expected {expected}. {mend}".removesuffix(". ") if expected else type(error).__name__
