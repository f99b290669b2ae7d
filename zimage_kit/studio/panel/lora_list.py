"""The form's LoRAs: each a name or file with its weight, and beneath it what its file says, with its trigger words."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from ...models.lora_info import LoraInfo
from ...recipe.request import Lora
from ..translations import Texts
from .widget_tree import close_tree


class LoraRow:
    """One LoRA: `path` and `weight` are the controls; `words` has a button for each trigger word."""

    def __init__(self, texts: Texts, names: Sequence[str], name: str, weight: float) -> None:
        self.path = w.Combobox(
            value=name, options=names,
            description=texts("form.lora"), placeholder=texts("form.lora_hint"), ensure_option=False,
        )  # fmt: skip
        self.weight = w.BoundedFloatText(value=weight, min=-4.0, max=4.0, step=0.05, description=texts("form.weight"))
        self.remove = w.Button(description="✕", tooltip=texts("form.remove_lora")).add_class("zk-symbol")
        self.words = w.Box().add_class("zk-words")
        self.about = w.HTML().add_class("zk-lora-about")
        chosen = w.HBox([self.path, self.weight, self.remove]).add_class("zk-lora")
        self.box = w.VBox([chosen, self.words, self.about])
        self._texts, self._told = texts, LoraInfo()

    def tell(self, info: LoraInfo, use: Callable[[str], None]) -> None:
        """Show what a LoRA's file says; a click on a word calls `use` with it."""
        if info == self._told:  # while a name is typed
            return
        self._told, before = info, self.words.children
        groups = (("form.triggers", info.triggers), ("form.tags", () if info.triggers else info.tags))
        parts = []
        for key, words in groups:
            if words:
                parts.append(w.HTML(html.escape(self._texts(key))))
                parts += [self._word(word, use) for word in words]
        self.words.children = parts
        for part in before:
            close_tree(part)
        self.about.value = about(info, self._texts)

    def _word(self, word: str, use: Callable[[str], None]) -> Any:
        button = w.Button(description=word, tooltip=self._texts("form.use_word")).add_class("zk-word")
        button.on_click(lambda _: use(word))
        return button


class LoraList:
    """LoRAs with their weights, by name from the LoRA folders or as files.

    `info` tells what a LoRA says of itself; `use` takes a trigger word that was clicked; `names` are those in the
    folders, looked up when the model changes, when a row is added, and on request.
    """

    def __init__(
        self,
        texts: Texts,
        changed: Callable[[], None],
        info: Callable[[str], LoraInfo],
        use: Callable[[str], None],
        names: Callable[[], Sequence[str]],
    ) -> None:
        self._texts, self._changed = texts, changed
        self._info, self._use, self._look_up = info, use, names
        self._names: list[str] = []
        self.rows: list[LoraRow] = []
        self._list = w.VBox()
        self.add_button = w.Button(description=texts("form.add_lora")).add_class("zk-link")
        self.add_button.on_click(lambda _: self._add_another())
        self.refresh = w.Button(description=texts("form.refresh_loras"), tooltip=texts("form.refresh_loras_help"))
        self.refresh.add_class("zk-link")
        self.refresh.on_click(lambda _: self.look())
        self.box = w.VBox([self._list, w.HBox([self.add_button, self.refresh]).add_class("zk-links")])

    def look(self) -> None:
        """Look the names up that are offered."""
        self._names = list(self._look_up())
        for row in self.rows:
            row.path.options = self._names
            self._tell(row)

    def _add_another(self) -> None:
        self.look()
        self.add()

    def add(self, name: str | None = None, weight: float = 1.0) -> None:
        """Add a row. Without a name it takes the only known LoRA, if there is just one."""
        if name is None:
            name = self._names[0] if len(self._names) == 1 else ""
        row = LoraRow(self._texts, self._names, name, weight)
        row.remove.on_click(lambda _: self._set([other for other in self.rows if other is not row]))
        row.path.observe(lambda _: self._tell(row), "value")
        for control in (row.path, row.weight):
            control.observe(lambda _: self._changed(), "value")
        self._tell(row)
        self._set([*self.rows, row])

    def _tell(self, row: LoraRow) -> None:
        row.tell(self._info(row.path.value), self._use)

    def _set(self, rows: list[LoraRow]) -> None:
        self.rows, before = rows, self._list.children
        self._list.children = [row.box for row in rows]
        for box in {*before} - {*self._list.children}:
            close_tree(box)
        self._changed()

    @property
    def value(self) -> tuple[Lora, ...]:
        """The rows that have a name."""
        return tuple(Lora(path=path, weight=weight) for path, weight in self.state() if path.strip())

    @value.setter
    def value(self, loras: Sequence[Lora]) -> None:
        self.restore([(str(lora.path), lora.weight) for lora in loras])

    def state(self) -> list[tuple[str, float]]:
        """(name or file, weight) of each row."""
        return [(row.path.value, row.weight.value) for row in self.rows]

    def restore(self, state: Sequence[tuple[str, float]]) -> None:
        """Show what `state` told."""
        self.rows = []
        for name, weight in state:
            self.add(name, weight)
        self._set(self.rows)

    def inputs(self) -> list[Any]:
        """The controls whose values count."""
        return [control for row in self.rows for control in (row.path, row.weight)]


def about(info: LoraInfo, texts: Texts) -> str:
    """What a file says beside its trigger words, as HTML; its own words are escaped."""
    facts = [
        info.title,
        texts("form.lora_author", name=info.author) if info.author else "",
        texts("form.lora_base", model=info.base) if info.base else "",
        texts("form.lora_rank", rank=f"{info.rank:g}") if info.rank else "",
        info.software,
    ]
    lines = [" · ".join(filter(None, facts)), info.description]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)
