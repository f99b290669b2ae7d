"""A question that the panel asks before it goes on, with a button for each answer."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from ..translations import Texts
from .widget_tree import close_tree


class Question:
    """Hidden until `ask` is called. An answer, or "not now", hides it again."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._content, self._buttons = w.HTML(), w.HBox().add_class("zk-buttons")
        self.box = w.VBox([self._content, self._buttons]).add_class("zk-question").add_class("zk-hidden")

    def ask(self, text: str, answers: Sequence[tuple[str, Callable[[], None]]]) -> None:
        """Ask; each answer is a label and what it does."""
        self._content.value = f'<p role="status">{html.escape(text)}</p>'
        old = self._buttons.children
        self._buttons.children = [
            self._button(label, do) for label, do in (*answers, (self._texts("question.not_now"), lambda: None))
        ]
        for button in old:
            close_tree(button)
        self.box.remove_class("zk-hidden")

    def _button(self, label: str, do: Callable[[], None]) -> Any:
        button = w.Button(description=label)

        def answered(_: Any) -> None:
            self.clear()
            do()

        button.on_click(answered)
        return button

    def clear(self) -> None:
        """Hide it."""
        self.box.add_class("zk-hidden")
