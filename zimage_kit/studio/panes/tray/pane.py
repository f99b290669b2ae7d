"""Results side by side, with the differences between their recipes; in code, `studio.sent`."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w

from ....text.line_breaks import shortened
from ...panel.results import Result, differing_fields, value_text
from ...translations import Texts
from ..pane import Action, Pane, PaneContext


class TrayPane(Pane):
    """Results side by side, with the differences between their recipes."""

    name = "tray"
    where = "side"
    in_bar = False

    def __init__(self) -> None:
        self.chosen: list[Result] = []

    def build(self, context: PaneContext) -> Sequence[Any]:
        """The pictures, and a button that clears them."""
        texts = context.texts
        self._content = w.HTML()
        clear = w.Button(description=texts("tray.clear"), tooltip=texts("tray.clear_help"))
        clear.on_click(lambda _: self.set([]))
        self.set(self.chosen)
        return [self._content, clear]

    def actions(self, texts: Texts) -> Sequence[Action]:
        """Send a picture here."""
        return [Action("grid", texts("viewer.grid"), texts("viewer.grid_help"), self.add)]

    def state(self) -> dict[str, Any]:
        """The saved pictures by name."""
        return {"pictures": [result.name or result.id for result in self.chosen]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Show those of them that are in the strip."""
        names = state.get("pictures") or ()
        self.set([result for name in names for result in self.context.pictures if name in (result.name, result.id)])

    def pictures_changed(self) -> None:
        """Leave out what was removed from the strip."""
        there = {result.id for result in self.context.pictures}
        if any(result.id not in there for result in self.chosen):
            self.set([result for result in self.chosen if result.id in there])

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
        texts = self.context.texts
        hint = texts("tray.empty") if not figures else texts("tray.code")
        self._content.value = f'<div class="zk-tray">{"".join(figures)}</div><p>{html.escape(hint)}</p>'


def _value(value: Any) -> str:
    text = value_text(value)
    return shortened(text, 120)
