"""Hints under the prompt while one types: the words, why, and the prompt without them to accept. They block nothing.

What the line above them says already, the number of tokens and words that the model does not know, is not said twice.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ipywidgets as w

from ...recipe.coach import Hint, coach, languages
from ..translations import Texts

AFTER_SECONDS = 0.4
"""Without a change of the prompt, until it is looked at."""
MOST = 4
"""Hints that are shown at once; the others follow when these are done with."""
_SAID_ABOVE = ("length", "unknown")


class Coaching:
    """Looks at `prompt` for `model` after each change. `changed` is called when what `state` tells has changed.

    A hint that is dismissed stays away from this prompt, even when it is edited; one "not again" from this panel.
    """

    def __init__(
        self, texts: Texts, prompt: Any, model: Any, changed: Callable[[], None], catch_errors: Callable[..., Any]
    ) -> None:
        self._texts, self._prompt, self._model, self._changed = texts, prompt, model, changed
        self._language = texts.language if texts.language in languages() else "en"
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._dismissed: set[str] = set()
        self._never: set[str] = set()
        self._about = ""  # the prompt that what was dismissed belongs to
        self._before: tuple[str, str] | None = None  # a prompt, and what was accepted for it
        self.hints: list[Hint] = []
        self._look = catch_errors(lambda _: self.look())
        self.switch = w.Checkbox(value=True, description=texts("coach.hints"), tooltip=texts("coach.hints_help"))
        self.switch.indent = False
        self._told = w.HTML().add_class("zk-unseen").add_class("zk-live")
        self.rows = [_Row(texts, partial(self._do, number), catch_errors) for number in range(MOST)]
        self.undo = w.Button(description=texts("coach.undo"), tooltip=texts("coach.undo_help"))
        self.undo.add_class("zk-link").add_class("zk-undo").add_class("zk-hidden")
        links = w.HBox([self.switch, self.undo]).add_class("zk-links")
        self.box = w.VBox([*(row.box for row in self.rows), links, self._told]).add_class("zk-coach")
        self.undo.on_click(catch_errors(lambda _: self._bring_back()))
        self.switch.observe(catch_errors(self._switched), "value")
        for control in (prompt, model):
            control.observe(lambda _: self._soon(), "value")

    def _soon(self) -> None:
        """Look when nobody has typed for a moment."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(AFTER_SECONDS, self._look, (None,))
            self._timer.name, self._timer.daemon = "zimage-coach", True
            self._timer.start()

    def look(self) -> None:
        """Look at the prompt now and show what there is to say."""
        with self._lock:
            prompt = self._prompt.value
            if not _same(self._about, prompt):
                self._dismissed.clear()
            self._about = prompt
            quiet = {*_SAID_ABOVE, *self._never, *self._dismissed}
            given = coach(prompt, self._model.value, self._language) if self.switch.value and prompt.strip() else ()
            self.hints = [hint for hint in given if hint.rule not in quiet]
            for number, row in enumerate(self.rows):
                row.show(self.hints[number] if number < len(self.hints) else None)
            count = len(self.hints)
            told = self._texts("coach.told_one") if count == 1 else self._texts("coach.told_more", count=count)
            self._told.value = html.escape(told) if count else ""
            if self._before is not None and self._before[1] != prompt:  # edited since: there is nothing to take back
                self._before = None
            _shown(self.undo, self._before is not None)

    def _do(self, number: int, what: str) -> None:
        """What a button of the hint in this row asks for."""
        with self._lock:
            if number >= len(self.hints):  # it has gone meanwhile
                return
            hint, prompt = self.hints[number], self._prompt.value
            if what == "accept":
                if hint.rewrite is not None and hint.prompt == prompt:
                    self._before = (prompt, hint.rewrite)
                    self._about = hint.rewrite  # the same prompt, however much of it has gone
                    self._prompt.value = hint.rewrite
            else:
                (self._never if what == "never" else self._dismissed).add(hint.rule)
            self.look()
        self._changed()

    def _bring_back(self) -> None:
        if self._before is not None and self._prompt.value == self._before[1]:
            self._about = self._prompt.value = self._before[0]
        self.look()

    def _switched(self, change: Any) -> None:
        if change["new"]:
            self._never.clear()
        self.look()
        self._changed()

    def state(self) -> dict[str, Any]:
        """For `restore`."""
        return {"on": self.switch.value, "never": sorted(self._never)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as `state` told."""
        self.switch.value = bool(state.get("on", True))
        self._never = set(state.get("never", ()))
        self.look()


class _Row:
    """A hint: its words and why, the rewrite, and its buttons. It is filled and emptied, so that it keeps the focus."""

    def __init__(self, texts: Texts, do: Callable[[str], None], catch_errors: Callable[..., Any]) -> None:
        self._texts = texts
        self.text = w.HTML()
        self.accept = w.Button(description=texts("coach.accept"))
        self.dismiss = w.Button(description=texts("coach.dismiss"))
        self.never = w.Button(description=texts("coach.never"), tooltip=texts("coach.never_help"))
        for name in ("accept", "dismiss", "never"):
            button = getattr(self, name)
            button.add_class("zk-link")
            button.on_click(catch_errors(lambda _, name=name: do(name)))
        buttons = w.HBox([self.accept, self.dismiss, self.never]).add_class("zk-buttons")
        self.box = w.VBox([self.text, buttons]).add_class("zk-hint").add_class("zk-hidden")

    def show(self, hint: Hint | None) -> None:
        """Show a hint, or nothing."""
        if hint is not None:
            self.text.value = hint_html(hint)
            self.accept.tooltip = self._texts("coach.accept_help", prompt=hint.rewrite)
            self.dismiss.tooltip = self._texts("coach.dismiss_help", words=hint.words)
            _shown(self.accept, hint.rewrite is not None)
        _shown(self.box, hint is not None)


def hint_html(hint: Hint) -> str:
    """Why, with the words of the prompt marked in it, and the rewrite beneath."""
    words, why = html.escape(hint.words), html.escape(hint.why)
    quoted = f"“{words}”"
    marked = why.replace(quoted, f"<mark>{words}</mark>") if quoted in why else f"<mark>{words}</mark>: {why}"
    rewrite = f'<p class="zk-rewrite">→ {html.escape(hint.rewrite)}</p>' if hint.rewrite else ""
    return f"<p>{marked}</p>{rewrite}"


def _same(one: str, other: str) -> bool:
    """Whether one prompt is the other, edited: half of the shorter is left at their beginnings and ends."""
    ahead = _shared(one, other)
    behind = _shared(one[ahead:][::-1], other[ahead:][::-1])
    return ahead + behind > 0 and 2 * (ahead + behind) >= min(len(one), len(other))


def _shared(one: str, other: str) -> int:
    """How many characters they begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _shown(control: Any, shown: bool) -> None:
    control.remove_class("zk-hidden") if shown else control.add_class("zk-hidden")
