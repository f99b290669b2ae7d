"""Any two results compared, or one before and after its last stage."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w

from ....engine.events import Event
from ....recipe.artifact import Artifact
from ...panel.fields import StageLabels
from ...panel.job_progress import progress_of
from ...panel.results import Result
from ...translations import Texts
from ..pane import Action, Pane, PaneContext
from .slider import Compare


class ComparePane(Pane):
    """Any two results, or one before and after its last stage."""

    name = "compare"
    where = "side"
    in_bar = False

    def __init__(self) -> None:
        self._filling = False

    def build(self, context: PaneContext) -> Sequence[Any]:
        """Two menus and the slider."""
        texts = context.texts
        self.left = w.Dropdown(description=texts("compare.left"))
        self.right = w.Dropdown(description=texts("compare.right"))
        self.progress = w.HTML().add_class("zk-cost")
        self.slider = Compare(language=texts.language)
        for choice in (self.left, self.right):
            choice.observe(self._on_choice, "value")
        return [w.Box([self.left, self.right]).add_class("zk-grid"), self.progress, self.slider]

    def actions(self, texts: Texts) -> Sequence[Action]:
        """Compare a picture."""
        return [Action("compare", texts("viewer.compare"), texts("viewer.compare_help"), self.compare)]

    def compare(self, result: Result) -> None:
        """Compare a result: before and after its last stage, or with the previous result."""
        others = [other for other in self.context.pictures if other.id != result.id]
        if result.artifact.request.stages:
            pair = (f"{result.id}:before", result.id)
        else:
            earlier = [other for other in others if other.number < result.number] or others
            pair = (earlier[-1].id if earlier else result.id, result.id)
        self._compare_ids(pair)

    def pair(self, left: Result, right: Result) -> None:
        """Compare these two."""
        self._compare_ids((left.id, right.id))

    def _compare_ids(self, pair: tuple[str, str]) -> None:
        self.pictures_changed()
        self._filling = True
        self.left.value, self.right.value = pair
        self._filling = False
        self.show()
        self.context.in_background(self._compare)

    def state(self) -> dict[str, Any]:
        """What is compared: the saved pictures by name."""
        return {"left": self._named(self.left.value), "right": self._named(self.right.value)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Compare the same again, if both are in the strip."""
        ids = {result.name or result.id: result.id for result in self.context.pictures}
        pair = []
        for side in ("left", "right"):
            name, _, before = str(state.get(side)).partition(":")
            pair.append(f"{ids.get(name)}{':before' if before else ''}")
        self.pictures_changed()
        known = {value for _, value in self.left.options}
        if known.issuperset(pair):
            self._filling = True
            self.left.value, self.right.value = pair
            self._filling = False
            if self.is_open:
                self.context.in_background(self._compare)

    def _named(self, choice: str | None) -> str:
        id_, colon, before = (choice or "").partition(":")
        result = self.context.pictures.get(id_)
        return "" if result is None else f"{result.name or result.id}{colon}{before}"

    def pictures_changed(self) -> None:
        """Offer the current results; the chosen ones are kept if they still exist, else compared anew."""
        chosen = (self.left.value, self.right.value)
        options: list[tuple[str, str]] = []
        for result in self.context.pictures:
            options.append((result.label(), result.id))
            if result.artifact.request.stages:
                options.append((self.context.texts("compare.of", result=result.label()), f"{result.id}:before"))
        known = {value for _, value in options}
        self._filling = True
        for choice in (self.left, self.right):
            was = choice.value
            choice.options = options
            choice.value = was if was in known else (options[-1][1] if options else None)
        self._filling = False
        if self.is_open and chosen != (self.left.value, self.right.value):  # one of the two was removed
            self.context.in_background(self._compare)

    def _on_choice(self, _: Any) -> None:
        if not self._filling:
            self.context.in_background(self._compare)

    def _compare(self) -> None:
        try:
            pictures = [self._picture(choice.value) for choice in (self.left, self.right)]
        finally:
            self.progress.value = ""
        names = [
            {value: name for name, value in choice.options}.get(choice.value, "") for choice in (self.left, self.right)
        ]
        left, right = (choice.value or "" for choice in (self.left, self.right))
        one_stage = left == f"{right}:before"
        if None not in pictures:
            self.slider.show(pictures[0], pictures[1], None if one_stage else (names[0], names[1]))

    def _picture(self, choice: str | None) -> Artifact | None:
        id_, _, before = (choice or "").partition(":")
        result = self.context.pictures.get(id_)
        if result is None:
            return None
        if not before:
            return result.artifact
        titles = {kind: words.title for kind, words in StageLabels.of_all(self.context.texts.language).items()}

        def tell(event: Event) -> None:
            if (now := progress_of(event, self.context.texts, titles)) is not None:
                self.progress.value = html.escape(self.context.texts("compare.making", progress=now["text"]))

        return result.artifact.before(on_event=tell)
