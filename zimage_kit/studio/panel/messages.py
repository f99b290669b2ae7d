"""What the page asks for, by way of the bar, in the order in which it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import BadRequest, ZImageError
from ...recipe.artifact import read_any
from ...text.units import gigabytes
from ..translations import languages
from .actions import apply_stages, inputs, use_as
from .differ import DifferentOnes
from .jobs import Place
from .results import Result

if TYPE_CHECKING:
    from .studio import Studio


class Messages:
    """Takes the bar's messages. Runs in the kernel's main thread or a subshell's."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._differ = DifferentOnes(studio)
        self._parts: list[bytes] = []  # of a file that is being uploaded

    def __call__(self, message: dict[str, Any], buffers: list[Any]) -> None:
        """Do what a message says, with the values that the controls in the page have by now."""
        if message.get("do") == "shown":
            self._studio.status_line.page_shown()
            return
        try:
            self._apply_pending_values(message.get("values", ()))
            self._do(message, buffers)
        finally:
            self._studio.bar.send({"heard": True})

    def _apply_pending_values(self, values: Sequence[Sequence[Any]]) -> None:
        """Changes made in the page while the kernel was busy with a cell, in their order."""
        controls = {control.model_id: control for control in self._studio.inputs()}
        for model, attribute, value in values:
            if model in controls and attribute in ("value", "index"):
                setattr(controls[model], attribute, value)

    def _do(self, message: dict[str, Any], buffers: list[Any]) -> None:
        studio = self._studio
        match message:
            case {"do": "generate" | "draft" as what}:
                studio.generate(what == "draft")
            case {"do": "differ"}:
                studio.problem.clear()
                studio.question.clear()
                self._differ()
            case {"do": "cancel"}:
                studio.cancel()
            case {"do": "skip"}:
                studio.in_background(studio.jobs.skip)
            case {"do": "pane", "name": str(name)} if name in studio.panes:
                studio.open_pane(name)
            case {"do": "open", "name": str(name), "part": int(part), "parts": int(parts)}:
                self._parts = [*(self._parts if part else []), bytes(buffers[0])]
                if part == parts - 1:
                    content, self._parts = b"".join(self._parts), []
                    self._open(content, name)
            case {"do": "refuse", "name": str(name), "bytes": int(size)}:
                raise BadRequest(f"{name} has {gigabytes(size)}", expected="a PNG of at most 300 MB")
            case {"do": "language", "to": str(language)} if language in languages():
                studio.language = language
            case {"do": "save_preset" | "save_style" as what, "selected": str(selected)}:
                studio.form.saved.kinds[what.removeprefix("save_")].keep(selected)
            case {"do": "before", "id": str(id_)} if (result := studio.results.get(id_)) is not None:
                studio.in_background(partial(self._send_before, result, message.get("view", "")))
            case {"do": str(action), "id": str(id_)} if (result := studio.results.get(id_)) is not None:
                studio.problem.clear()
                for each in studio.actions(message):
                    if each.name == action:
                        each.do(result)
            case _:
                any(pane.receive(message) for pane in studio.panes.values())

    def _send_before(self, result: Result, view: str) -> None:
        """Send the picture before its last stage to the page that asks; it may have to be made again."""
        studio, told = self._studio, {"before": result.id, "view": view}
        try:
            jpeg = Result(0, result.artifact.before(on_event=lambda event: studio.on_event(event, Place()))).jpeg
        except ZImageError as error:
            studio.viewer.send({**told, "error": str(error)})
        else:
            studio.viewer.send(told, [jpeg])
        finally:
            studio.announce("")

    def _open(self, content: bytes, name: str) -> None:
        """A picture that was dropped on the panel: add it to the strip; its recipe, if it has one, fills the form."""
        studio = self._studio
        studio.problem.clear()
        artifact = read_any(content)
        if not (plain := artifact.request.source is not None and not artifact.request.stages):
            studio.form.set(artifact.reopened())
        result = studio.add_opened(artifact)
        studio.announce(studio.texts("panel.opened_plain" if plain else "panel.opened", name=name))
        if plain and result is not None:
            answers = [(each["label"], partial(use_as, studio, result, each["value"])) for each in inputs(studio.texts)]
            answers.append((studio.texts("viewer.apply"), partial(apply_stages, studio, result)))
            guarded = [(label, partial(studio.run_catching, do)) for label, do in answers]
            studio.question.ask(studio.texts("panel.dropped", name=name), guarded)
