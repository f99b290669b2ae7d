"""The form's size: a menu of ratios, width and height, and a button that swaps the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ...models.sizes import size_of_ratio
from ...models.spec import ModelSpec
from ...recipe.request import SIDE_MULTIPLE
from ..translations import Texts

RATIOS = ((1, 1), (2, 3), (3, 2), (3, 4), (4, 3), (9, 16), (16, 9), (21, 9))
FREE = (0, 0)
"""The menu's value for a custom size."""


def aspects(spec: ModelSpec) -> list[tuple[str, tuple[int, int]]]:
    """(label, (width, height)) for each ratio, as the model draws it best."""
    found = [(f"{across}:{down}", size_of_ratio(spec, across / down)) for across, down in RATIOS]
    return [(f"{ratio} · {size[0]} x {size[1]}", size) for ratio, size in found]


class SizeFields:
    """`value` is (width, height). `changed` is called once for each change."""

    def __init__(self, texts: Texts, changed: Callable[[], None], catch_errors: Callable[..., Any]) -> None:
        self._texts, self._changed, self._quiet = texts, changed, False
        self._spec: ModelSpec | None = None
        t = texts
        self.ratio = w.Dropdown(description=t("form.size"), options=[(t("form.free"), FREE)])
        self.width = w.BoundedIntText(description=t("form.width"), min=64, max=4096, step=SIDE_MULTIPLE)
        self.height = w.BoundedIntText(description=t("form.height"), min=64, max=4096, step=SIDE_MULTIPLE)
        self.swap = w.Button(description="⇄", tooltip=t("form.swap")).add_class("zk-symbol")
        self.sides = w.Box([self.width, self.swap, self.height]).add_class("zk-sides")
        self.ratio.observe(catch_errors(self._ratio_changed), "value")
        for side in (self.width, self.height):
            side.observe(catch_errors(self._side_changed), "value")
        self.swap.on_click(catch_errors(lambda _: self.show((self.height.value, self.width.value))))

    @property
    def value(self) -> tuple[int, int]:
        """Width and height as they stand."""
        return self.width.value, self.height.value

    def show(self, size: tuple[int, int]) -> None:
        """Set both sides at once."""
        self._quiet = True
        try:
            self.width.value, self.height.value = size
        finally:
            self._quiet = False
        self._side_changed(None)

    def know(self, spec: ModelSpec) -> None:
        """Offer a model's sizes. The ratio stays as it was chosen, or typed."""
        before, chosen, size = self._spec, self.ratio.index, self.value
        choices = aspects(spec)
        if before is None:
            size = spec.native
        elif self.ratio.value != FREE:
            size = choices[chosen][1]
        elif (before.native, before.advised_side) != (spec.native, spec.advised_side):
            size = size_of_ratio(spec, size[0] / size[1])
        self._spec, self._quiet = spec, True
        try:
            self.ratio.options = [*choices, (self._texts("form.free"), FREE)]
        finally:
            self._quiet = False
        self.show(size)

    def _ratio_changed(self, change: Any) -> None:
        if change["new"] != FREE and not self._quiet:
            self.show(change["new"])

    def _side_changed(self, _: Any) -> None:
        if self._quiet:
            return
        known = {size for _, size in self.ratio.options}
        self._quiet = True
        try:
            self.ratio.value = self.value if self.value in known else FREE
        finally:
            self._quiet = False
        self._changed()
