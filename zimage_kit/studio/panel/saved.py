"""A fold below the prompts: presets, and styles, which are pieces of prompt; each used, saved and forgotten by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ...recipe.presets import forget_preset, preset, presets, save_preset
from ...recipe.styles import forget_style, save_style, styles, with_piece, without_piece
from ..translations import Texts

if TYPE_CHECKING:
    from .form import Form


@dataclass(frozen=True)
class Keeping:
    """How one kind is kept. `save` takes a name, whether to replace, and the text selected in the prompt.

    `forget` returns what undoes it, `use` too where it can be undone.
    """

    names: Callable[[], Iterable[str]]
    use: Callable[[str], Callable[[], object] | None]
    save: Callable[[str, bool, str], object]
    forget: Callable[[str], Callable[[], object]]


class Named:
    """A menu that uses one of those that are kept, and a name to save, replace or forget one."""

    def __init__(self, texts: Texts, kind: str, keeping: Keeping, catch_errors: Callable[..., Any]) -> None:
        self._texts, self._keeping, self._sure = texts, keeping, ""
        self._undo: Callable[[], object] = lambda: None
        t = texts
        self.menu = w.Dropdown(description=t(f"saved.use_{kind}"), options=[(t("stages.choose"), "")], value="")
        self.name = w.Text(description=t("saved.name"), placeholder=t(f"saved.hint_{kind}"))
        self.save = w.Button(tooltip=t(f"saved.save_{kind}")).add_class("zk-asks").add_class(f"zk-asks-save_{kind}")
        self.forget = w.Button(description=t("saved.forget"), tooltip=t(f"saved.forget_{kind}"))
        self.undo = w.Button().add_class("zk-link").add_class("zk-undo").add_class("zk-hidden")
        self.menu.observe(catch_errors(self._chosen), "value")
        self.name.observe(lambda _: self._ask(""), "value")
        self.forget.on_click(catch_errors(lambda _: self._forget()))
        self.undo.on_click(catch_errors(lambda _: self._bring_back()))
        buttons = w.HBox([self.save, self.forget]).add_class("zk-buttons")
        self.box = w.VBox([w.Box([self.menu, self.name, buttons]).add_class("zk-saved"), self.undo])
        self._ask("")

    def look(self) -> None:
        """Offer what is kept now."""
        self.menu.options = [(self._texts("stages.choose"), ""), *((name, name) for name in self._keeping.names())]
        self.menu.value = ""

    def keep(self, selected: str) -> None:
        """Save under the name; one that is taken is asked about first, by the button itself."""
        name = self.name.value.strip()
        taken = name in self._keeping.names()
        if taken and self._sure != name:
            self._ask(name)
            return
        self._keeping.save(name, taken, selected)
        self._ask("")
        self.look()

    def _ask(self, name: str) -> None:
        self._sure = name
        self.save.description = self._texts("saved.replace", name=name) if name else self._texts("saved.save")

    def _chosen(self, change: Any) -> None:
        if name := change["new"]:
            self.menu.value, self.name.value = "", name
            if undo := self._keeping.use(name):
                self._offer(undo, self._texts("saved.take_out", name=name))

    def _forget(self) -> None:
        name = self.name.value.strip()
        self._offer(self._keeping.forget(name), self._texts("stages.undo", stage=name))
        self.look()

    def _offer(self, undo: Callable[[], object], label: str) -> None:
        self._undo, self.undo.description = undo, label
        self.undo.remove_class("zk-hidden")

    def _bring_back(self) -> None:
        self._undo()
        self.undo.add_class("zk-hidden")
        self.look()


class Saved:
    """The fold, closed at first. `save_preset` and `save_style` are what its buttons ask for."""

    def __init__(self, form: Form, texts: Texts, catch_errors: Callable[..., Any]) -> None:
        spoken = texts.language

        def use(name: str) -> None:
            found = preset(name)
            form.set(found if found.prompt else found.but(prompt=form.prompt.value))

        def offered() -> dict[str, str]:
            return styles(spoken, form.model.value)

        def put_in(name: str) -> Callable[[], object]:
            before, piece = form.prompt.value, offered()[name]
            form.prompt.value = after = with_piece(before, piece)

            def take_out() -> None:
                now = form.prompt.value
                form.prompt.value = before if now == after != before else without_piece(now, piece)

            return take_out

        def without_preset(name: str) -> Callable[[], object]:
            was = preset(name)
            forget_preset(name)
            return lambda: save_preset(name, was)

        def without_style(name: str) -> Callable[[], object]:
            piece = forget_style(name)
            return lambda: save_style(name, piece)

        self.kinds = {
            "preset": Named(texts, "preset", Keeping(
                presets, use, lambda name, sure, _: save_preset(name, form.as_preset(), replace=sure), without_preset,
            ), catch_errors),
            "style": Named(texts, "style", Keeping(
                offered, put_in,
                lambda name, sure, words: save_style(name, words or form.prompt.value, replace=sure), without_style,
            ), catch_errors),
        }  # fmt: skip
        self.fold = w.ToggleButton(description=f"▸ {texts('saved.label')}").add_class("zk-fold").add_class("zk-link")
        self._body = w.VBox([each.box for each in self.kinds.values()]).add_class("zk-hidden")
        self._label = texts("saved.label")
        self.fold.observe(catch_errors(self._folded), "value")
        form.model.observe(catch_errors(lambda _: self.kinds["style"].look() if self.fold.value else None), "value")
        self.box = w.VBox([self.fold, self._body])

    def _folded(self, change: Any) -> None:
        self.fold.description = f"{'▾' if change['new'] else '▸'} {self._label}"
        if not change["new"]:
            self._body.add_class("zk-hidden")
            return
        self._body.remove_class("zk-hidden")
        for each in self.kinds.values():
            each.look()

    def inputs(self) -> list[Any]:
        """The controls whose values count."""
        return [each.name for each in self.kinds.values()]

    def state(self) -> dict[str, Any]:
        """For `restore`."""
        return {"open": self.fold.value, **{kind: each.name.value for kind, each in self.kinds.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Show what `state` told."""
        self.fold.value = bool(state.get("open"))
        for kind, each in self.kinds.items():
            each.name.value = str(state.get(kind, ""))
