"""The recipe's stages as an ordered list: added from a menu, moved, switched off, each with a form of its fields."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from ...errors import ZImageError
from ...recipe.request import StageData
from ...stages.extensions import kinds, stage_class
from ...stages.stage import Stage, build
from ..translations import Texts
from .error_box import error_line
from .fields import Entry, StageLabels, entry_for
from .widget_tree import close_tree

SHOWN = 6
"""Number of a stage's fields that are always shown; the others are folded."""

_UNSET = object()
Surroundings = dict[str, Any]
"""Traits that a stage's own control may have: see `Stage.control`."""


CatchErrors = Callable[[Callable[[Any], None]], Callable[[Any], None]]
"""Wraps a control's callback so that its exceptions are shown to the user; ipywidgets would swallow them."""


def without_catching(callback: Callable[[Any], None]) -> Callable[[Any], None]:
    """The callback itself, for callers that handle exceptions."""
    return callback


class StageForm:
    """One stage in the list. `value` are its fields as JSON, those at their defaults left out."""

    def __init__(self, kind: str, texts: Texts, around: Surroundings, changed: Callable[[], None]) -> None:
        cls = stage_class(kind)
        if cls is None:
            build(StageData(kind=kind), None, kinds())
            raise AssertionError("build raises for an unknown kind")
        self.kind, self.cls, self._texts, self._changed = kind, cls, texts, changed
        words = StageLabels.of(kind, texts.language)
        self.title = words.title
        self.control = cls.control()
        stands_for = getattr(self.control, "edits", ())
        names = [name for name in cls.model_fields if name not in stands_for]
        self._entries: list[Entry] = [entry_for(cls, name, words, texts("stages.automatic")) for name in names]
        required = {name for name, info in cls.model_fields.items() if info.is_required()}
        self._defaults = {each.name: each.value for each in self._entries if each.name not in required}
        self.problem = w.HTML()
        self._more: tuple[Any, set[str]] = (None, set())  # what unfolds the fields that are not always shown, and those
        self.on = w.Checkbox(value=True, indent=False, description=self.title, tooltip=texts("stages.on"))
        self.up = _symbol("↑", texts("stages.up", stage=self.title))
        self.down = _symbol("↓", texts("stages.down", stage=self.title))
        self.remove = _symbol("✕", texts("stages.remove", stage=self.title))
        self.fold = w.ToggleButton(value=True, description="▾", tooltip=texts("stages.fold", stage=self.title))
        self.fold.add_class("zk-symbol").add_class("zk-fold")
        self.body = w.VBox(self._laid_out())
        self.body.add_class("zk-stage-body")
        self.fold.observe(self._folded, "value")
        head = w.HBox([self.on, self.up, self.down, self.fold, self.remove])
        self.box = w.VBox([head.add_class("zk-stage-head"), self.body]).add_class("zk-stage")
        if self.control is not None:
            if self.control.has_trait("language"):
                self.control.language = texts.language
            self.surround(around)
            self.control.observe(lambda _: self._drop_fields(), "value")
            self.control.observe(self._edited, "value")
            for each in self._entries:
                if each.name in getattr(self.control, "instead", {}):
                    each.widget.observe(lambda _, entry=each: self._drop_from_control(entry), "value")
        for each in (*(each.widget for each in self._entries), self.on):
            each.observe(self._edited, "value")

    def _laid_out(self) -> list[Any]:
        shown, more = self._entries[:SHOWN], self._entries[SHOWN:]
        parts: list[Any] = [self.control] if self.control is not None else []
        parts.append(w.Box([each.widget for each in shown]).add_class("zk-grid"))
        if more:
            rest = w.Box([each.widget for each in more]).add_class("zk-grid").add_class("zk-hidden")
            button = w.ToggleButton(description=self._texts("stages.more", count=len(more)))
            button.add_class("zk-fold").add_class("zk-link")

            def toggle(change: Any) -> None:
                _show(rest, change["new"])

            button.observe(toggle, "value")
            self._more = (button, {each.name for each in more})
            parts += [button, rest]
        return [*parts, self.problem]

    def _folded(self, change: Any) -> None:
        self.fold.description = "▾" if change["new"] else "▸"
        _show(self.body, change["new"])

    @property
    def value(self) -> dict[str, Any]:
        """The fields that were set, as JSON values."""
        own = dict(self.control.value) if self.control is not None else {}
        values = {each.name: each.value for each in self._entries}
        return {**{name: value for name, value in values.items() if value != self._defaults.get(name, _UNSET)}, **own}

    @value.setter
    def value(self, fields: dict[str, Any]) -> None:
        self.cls(**fields)  # raises, before it is shown
        self.show(fields)

    def show(self, fields: dict[str, Any]) -> None:
        """Show fields without validating them, such as half-typed ones."""
        stands_for = getattr(self.control, "edits", ())
        if self.control is not None:
            self.control.value = {name: value for name, value in fields.items() if name in stands_for}
        for each in self._entries:
            each.value = fields.get(each.name, self._defaults.get(each.name, each.value))
        button, hidden = self._more
        if any(each.name in hidden and each.value != self._defaults.get(each.name) for each in self._entries):
            button.value = True

    def stage(self) -> Stage:
        """The stage. Raises BadRequest for invalid fields."""
        open_ = {each.name for each in self._entries if each.optional}
        return self.cls(**{name: value for name, value in self.value.items() if value is not None or name in open_})

    def surround(self, around: Surroundings) -> None:
        """Set the traits of the stage's own control, if it has one, such as the picture's size."""
        for name, value in around.items():
            if self.control is not None and self.control.has_trait(name) and getattr(self.control, name) != value:
                setattr(self.control, name, value)

    def inputs(self) -> list[Any]:
        """The controls whose values count."""
        return [*(each.widget for each in self._entries), self.on, *([self.control] if self.control else [])]

    def _drop_fields(self) -> None:
        """Empty the fields that exclude what was just set in the stage's own control."""
        control: Any = self.control
        for entry in self._entries:
            if any(control.value.get(name) for name in getattr(control, "instead", {}).get(entry.name, ())):
                entry.value = self._defaults.get(entry.name, entry.value)

    def _drop_from_control(self, entry: Entry) -> None:
        """Drop from the control's value what the field that was just set excludes."""
        control: Any = self.control
        if entry.value:
            excluded = control.instead[entry.name]
            control.value = {name: value for name, value in control.value.items() if name not in excluded}

    def _edited(self, _: Any) -> None:
        self.problem.value = ""
        if self.on.value:
            try:
                self.stage()
            except ZImageError as error:
                self.problem.value = (
                    f'<p class="zk-problem-line" role="alert">{html.escape(error_line(error, self._texts))}</p>'
                )
        self._changed()


class StageList:
    """All stages of the form, in order."""

    def __init__(self, texts: Texts, changed: Callable[[], None], catch_errors: CatchErrors = without_catching) -> None:
        self._texts, self._changed, self._catch_errors = texts, changed, catch_errors
        self._around: Surroundings = {}
        self.forms: list[StageForm] = []
        self._rows = w.VBox()
        self.titles = {kind: words.title for kind, words in StageLabels.of_all(texts.language).items()}
        names = [(title, kind) for kind, title in self.titles.items()]
        self.menu = w.Dropdown(
            options=[(texts("stages.choose"), ""), *names], value="", description=texts("stages.add")
        )
        self.menu.observe(catch_errors(self._chosen), "value")
        self._removed: tuple[int, StageForm] | None = None
        self.undo = w.Button().add_class("zk-link").add_class("zk-undo").add_class("zk-hidden")
        self.undo.on_click(catch_errors(lambda _: self.bring_back()))
        self.box = w.VBox([self._rows, self.undo, self.menu])

    def _chosen(self, change: Any) -> None:
        if change["new"]:
            self.menu.value = ""
            self.add(change["new"])

    def add(self, kind: str, fields: dict[str, Any] | None = None) -> StageForm:
        """Append a stage. Raises ZImageError for an unusable stage or invalid fields."""
        form = self._form(kind, fields)
        self.forms = [*self.forms, form]
        self._arrange()
        return form

    def _form(self, kind: str, fields: dict[str, Any] | None = None) -> StageForm:
        form = StageForm(kind, self._texts, self._around, self._changed)
        if fields:
            form.value = fields
        form.up.on_click(self._catch_errors(lambda _: self.move(form, -1)))
        form.down.on_click(self._catch_errors(lambda _: self.move(form, 1)))
        form.remove.on_click(self._catch_errors(lambda _: self.remove(form)))
        return form

    def put(self, kind: str, field: str, value: Any) -> None:
        """Set a field of the first stage of this kind, which is added if there is none.

        Fields that cannot stand beside it are emptied. Raises ZImageError for an unusable value.
        """
        form = next((form for form in self.forms if form.kind == kind), None)
        if form is None:
            self.add(kind, {field: value})
            return
        try:
            form.value = {**form.value, field: value}
        except ZImageError:  # a named pose beside a photograph
            form.value = {field: value}
        form.on.value = True
        self._changed()

    def move(self, form: StageForm, by: int) -> None:
        """Move one place up (-1) or down (1); at the end of the list nothing happens."""
        if form not in self.forms:  # removed by the click before
            return
        at = self.forms.index(form)
        to = at + by
        if 0 <= to < len(self.forms):
            forms = list(self.forms)
            forms.insert(to, forms.pop(at))
            self.forms = forms
            self._arrange()

    def remove(self, form: StageForm) -> None:
        """Remove a stage. `bring_back` restores the last one with its settings."""
        if form not in self.forms:
            return
        place = self.forms.index(form)
        self.forms = [other for other in self.forms if other is not form]
        self.undo.description = self._texts("stages.undo", stage=form.title)
        self._arrange(removed=(place, form))

    def bring_back(self) -> None:
        """Undo the last removal."""
        if self._removed is not None:
            place, form = self._removed
            self.forms = [*self.forms[:place], form, *self.forms[place:]]
            self._arrange()

    def _arrange(self, removed: tuple[int, StageForm] | None = None) -> None:
        """Show the forms in their order, and before that what undoes a removal: the focus goes there from the row."""
        before = {*self._rows.children, *([self._removed[1].box] if self._removed is not None else [])}
        self._removed = removed
        _show(self.undo, removed is not None)
        self._rows.children = [form.box for form in self.forms]
        for box in before - {*self._rows.children, *([removed[1].box] if removed is not None else [])}:
            close_tree(box)  # nothing brings it back
        for place, form in enumerate(self.forms):
            form.up.disabled, form.down.disabled = place == 0, place == len(self.forms) - 1
        self._changed()

    def stages(self) -> list[Stage]:
        """The stages that are on. Raises BadRequest for the first with invalid fields."""
        return [form.stage() for form in self.forms if form.on.value]

    def set(self, stages: Sequence[StageData]) -> None:
        """Show a recipe's stages. Raises ZImageError for an unusable one and then changes nothing."""
        self.forms = [self._form(data.kind, data.fields()) for data in stages]
        self._arrange()

    def state(self) -> list[tuple[str, bool, bool, dict[str, Any]]]:
        """The list's content, for `restore`."""
        return [(form.kind, form.on.value, form.fold.value, form.value) for form in self.forms]

    def restore(self, state: list[tuple[str, bool, bool, dict[str, Any]]]) -> None:
        """Show what `state` told."""
        for kind, on, unfolded, fields in state:
            form = self.add(kind)
            form.show(fields)
            form.on.value, form.fold.value = on, unfolded

    def surround(self, **around: Any) -> None:
        """Set traits of the stages' own controls, such as the picture's size or the last picture."""
        self._around = {**self._around, **around}
        for form in self.forms:
            form.surround(around)

    def inputs(self) -> list[Any]:
        """The controls whose values count."""
        return [control for form in self.forms for control in form.inputs()]


def _symbol(text: str, name: str) -> Any:
    """A small button; its tooltip becomes its accessible name."""
    return w.Button(description=text, tooltip=name).add_class("zk-symbol")


def _show(box: Any, shown: bool) -> None:
    box.remove_class("zk-hidden") if shown else box.add_class("zk-hidden")
