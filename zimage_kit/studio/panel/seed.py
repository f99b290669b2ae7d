"""The form's seed: a new one for each Generate, unless it is locked or was rolled for the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w

from ...errors import BadRequest
from ...recipe.request import LARGEST_SEED, random_seed
from ..translations import Texts


class SeedFields:
    """A seed that is typed is locked; one that the dice show is used by the next Generate, and then others follow."""

    def __init__(self, texts: Texts, catch_errors: Callable[..., Any]) -> None:
        t = texts
        self.last_seed: int | None = None
        self._quiet = self._rolled = False
        self.seed = w.BoundedIntText(description=t("form.seed"), min=0, max=LARGEST_SEED, value=random_seed())
        self.lock = w.ToggleButton(description=t("form.lock"), tooltip=t("form.lock_help"))
        self.dice = w.Button(description=t("form.dice"), tooltip=t("form.dice_help"))
        self.last = w.Button(description=t("form.last_seed"), tooltip=t("form.last_seed_help"), disabled=True)
        self.differ = w.Button(description=t("form.differ"), tooltip=t("form.differ_help"))
        self.differ.add_class("zk-asks").add_class("zk-asks-differ")
        buttons = w.HBox([self.lock, self.dice, self.last, self.differ]).add_class("zk-buttons")
        self.box = w.Box([self.seed, buttons]).add_class("zk-row")
        self.seed.observe(self._typed, "value")
        self.dice.on_click(lambda _: self._roll())
        self.last.on_click(catch_errors(self._use_last))

    def take(self, count: int) -> list[int]:
        """The seeds of the next pictures, consecutive. Raises BadRequest if there are not as many."""
        if not (self.lock.value or self._rolled):
            self._show(random_seed())
        first = self.seed.value
        if first + count - 1 > LARGEST_SEED:
            raise BadRequest(f"{count} seeds from {first} on", expected=f"none above {LARGEST_SEED}")
        self.last_seed, self.last.disabled, self._rolled = first, False, False
        return [first + number for number in range(count)]

    def set(self, seed: int | None) -> None:
        """Show a recipe's seed, locked, or unlock it if the recipe has none."""
        self._rolled = False
        if seed is not None:
            self._show(seed)
        self.lock.value = seed is not None

    def state(self) -> dict[str, Any]:
        """For `restore`."""
        values = {"seed": self.seed.value, "lock": self.lock.value}
        return values | {"last_seed": self.last_seed, "rolled": self._rolled}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Show what `state` told."""
        self._show(state.get("seed", self.seed.value))
        self.lock.value = state.get("lock", False)
        self.last_seed, self._rolled = state.get("last_seed"), state.get("rolled", False)
        self.last.disabled = self.last_seed is None

    def _show(self, seed: int) -> None:
        self._quiet = True
        try:
            self.seed.value = seed
        finally:
            self._quiet = False

    def _roll(self) -> None:
        self._show(random_seed())
        self._rolled = True

    def _typed(self, _: Any) -> None:
        if not self._quiet:
            self.lock.value = True

    def _use_last(self, _: Any) -> None:
        if self.last_seed is not None:
            self._show(self.last_seed)
            self.lock.value = True
