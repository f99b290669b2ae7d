"""Panes below the picture: two results compared, and several side by side."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ....recipe.artifact import Artifact
from ...panel.results import Result, Results, differing_fields, value_text
from ...translations import Texts
from ..pane import Pane
from .slider import Compare


class ComparePane(Pane):
    """Any two results, or one before and after its last stage.

    `in_background` runs a function off the kernel's main thread.
    """

    def __init__(self, texts: Texts, results: Results, in_background: Callable[[Callable[[], None]], None]) -> None:
        self._texts, self._results, self._in_background = texts, results, in_background
        self.left = w.Dropdown(description=texts("compare.left"))
        self.right = w.Dropdown(description=texts("compare.right"))
        self.slider = Compare(language=texts.language)
        self._filling = False
        for choice in (self.left, self.right):
            choice.observe(self._on_choice, "value")
        choices = w.Box([self.left, self.right]).add_class("zk-grid")
        super().__init__(texts("compare.label"), texts("panel.close"), choices, self.slider)

    def open(self, result: Result) -> None:
        """Compare a result: before and after its last stage, or with the previous result."""
        others = [other for other in self._results if other.id != result.id]
        if result.artifact.request.stages:
            pair = (f"{result.id}:before", result.id)
        else:
            earlier = [other for other in others if other.number < result.number] or others
            pair = (earlier[-1].id if earlier else result.id, result.id)
        self.offer_results()
        self._filling = True
        self.left.value, self.right.value = pair
        self._filling = False
        self.show()
        self._in_background(self._compare)

    def state(self) -> tuple[bool, str | None, str | None]:
        """Whether it is open and what is compared, for `restore`."""
        return self.is_open, self.left.value, self.right.value

    def restore(self, state: tuple[bool, str | None, str | None]) -> None:
        """Show what `state` told."""
        shown, left, right = state
        self.offer_results()
        known = {value for _, value in self.left.options}
        if left in known and right in known:
            self._filling = True
            self.left.value, self.right.value = left, right
            self._filling = False
        self.show(shown)
        if shown:
            self._in_background(self._compare)

    def offer_results(self) -> None:
        """Offer the current results; the chosen ones are kept if they still exist."""
        options: list[tuple[str, str]] = []
        for result in self._results:
            options.append((result.label(), result.id))
            if result.artifact.request.stages:
                options.append((self._texts("compare.of", result=result.label()), f"{result.id}:before"))
        known = {value for _, value in options}
        self._filling = True
        for choice in (self.left, self.right):
            was = choice.value
            choice.options = options
            choice.value = was if was in known else (options[-1][1] if options else None)
        self._filling = False

    def _on_choice(self, _: Any) -> None:
        if not self._filling:
            self._in_background(self._compare)

    def _compare(self) -> None:
        pictures = [self._picture(choice.value) for choice in (self.left, self.right)]
        names = [
            {value: name for name, value in choice.options}.get(choice.value, "") for choice in (self.left, self.right)
        ]
        left, right = (choice.value or "" for choice in (self.left, self.right))
        one_stage = left == f"{right}:before"
        if None not in pictures:
            self.slider.show(pictures[0], pictures[1], None if one_stage else (names[0], names[1]))

    def _picture(self, choice: str | None) -> Artifact | None:
        id_, _, before = (choice or "").partition(":")
        result = self._results.get(id_)
        if result is None:
            return None
        return result.artifact.before() if before else result.artifact


class TrayPane(Pane):
    """Results side by side, with the differences between their recipes."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self.chosen: list[Result] = []
        self._content = w.HTML()
        clear = w.Button(description=texts("tray.clear"), tooltip=texts("tray.clear_help"))
        clear.on_click(lambda _: self.set([]))
        super().__init__(texts("tray.label"), texts("panel.close"), self._content, clear)

    def add(self, result: Result) -> None:
        """Add a result. Adding it again moves it to the end."""
        self.set([*(other for other in self.chosen if other.id != result.id), result])
        self.show()

    def set(self, results: list[Result]) -> None:
        """Show exactly these."""
        self.chosen = list(results)
        figures = []
        for result, fields in zip(self.chosen, differing_fields([one.artifact for one in self.chosen]), strict=True):
            rows = "".join(
                f"<div><b>{html.escape(name)}</b> {html.escape(_value(value))}</div>" for name, value in fields.items()
            )
            source = base64.b64encode(result.thumb).decode()
            alt = html.escape(result.label(), quote=True)
            figures.append(
                f'<figure><img src="data:image/jpeg;base64,{source}" alt="{alt}">'
                f"<figcaption>{html.escape(result.label())}{rows}</figcaption></figure>"
            )
        hint = self._texts("tray.empty") if not figures else self._texts("tray.code")
        self._content.value = f'<div class="zk-tray">{"".join(figures)}</div><p>{html.escape(hint)}</p>'


def _value(value: Any) -> str:
    text = value_text(value)
    return text if len(text) <= 120 else text[:119] + "…"
