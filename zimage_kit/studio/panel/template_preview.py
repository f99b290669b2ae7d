"""Below a prompt that is a template: how many combinations it has, and a fold with ten of them to choose from."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ...errors import BadRequest
from ...recipe.templates import count, escape, is_template, some
from ..translations import Texts
from .error_box import error_line
from .widget_tree import close_tree

SHOWN = 10


class TemplatePreview:
    """`line` says the number of combinations, or what is wrong; `prompts` has a button for each that is shown.

    A click puts its prompt into the place of the template, and `back` undoes that until the prompt is edited.
    """

    def __init__(self, prompt: Any, texts: Texts, catch_errors: Callable[..., Any]) -> None:
        self._prompt, self._texts, self._seed = prompt, texts, 0
        self._was, self._taken = "", ""
        self.line = w.HTML().add_class("zk-cost")
        self.fold = w.ToggleButton(tooltip=texts("template.preview_help")).add_class("zk-fold").add_class("zk-link")
        self.others = w.Button(description=texts("template.others")).add_class("zk-link")
        self.prompts = w.VBox().add_class("zk-choices")
        self.body = w.VBox([self.prompts, self.others]).add_class("zk-hidden")
        self.back = w.Button(description=texts("template.back")).add_class("zk-link").add_class("zk-hidden")
        self.template = w.VBox([self.line, self.fold, self.body]).add_class("zk-hidden")
        self.box = w.VBox([self.template, self.back])
        self.fold.observe(catch_errors(lambda _: self.look()), "value")
        self.back.on_click(catch_errors(lambda _: self._go_back()))
        self.others.on_click(catch_errors(lambda _: self._show_others()))
        prompt.observe(catch_errors(lambda _: self.look()), "value")
        self.look()

    def look(self) -> None:
        """Read the prompt again."""
        text = self._prompt.value
        _shown(self.back, bool(self._taken) and text == self._taken)
        _shown(self.template, is_template(text) and text != self._taken)
        if not is_template(text):
            return
        self.fold.description = f"{'▾' if self.fold.value else '▸'} {self._texts('template.preview')}"
        try:
            size = count(text)
            found = some(text, SHOWN, self._seed) if self.fold.value else []
        except BadRequest as error:
            self.line.value = f'<span class="zk-over">{html.escape(error_line(error, self._texts))}</span>'
            _shown(self.fold, False)
            _shown(self.body, False)
            return
        self.line.value = html.escape(self._texts("template.combinations", count=size))
        _shown(self.fold, True)
        _shown(self.body, self.fold.value)
        _shown(self.others, size > SHOWN)
        before, self.prompts.children = self.prompts.children, [self._button(prompt) for prompt in found]
        for button in before:
            close_tree(button)

    def _show_others(self) -> None:
        self._seed += 20 * SHOWN  # as many seeds as `some` may have looked at
        self.look()

    def _button(self, prompt: str) -> Any:
        button = w.Button(description=prompt, tooltip=self._texts("template.use")).add_class("zk-word")
        button.on_click(lambda _: self._use(prompt))
        return button

    def _use(self, prompt: str) -> None:
        self._was, self._taken = self._prompt.value, escape(prompt)
        self._prompt.value = self._taken

    def _go_back(self) -> None:
        self._taken = ""
        self._prompt.value = self._was


def _shown(control: Any, shown: bool) -> None:
    control.remove_class("zk-hidden") if shown else control.add_class("zk-hidden")
