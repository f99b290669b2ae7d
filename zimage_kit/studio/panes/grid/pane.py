"""The studio's grid pane: the form's request with up to four axes, the cost, and then the grid."""

from __future__ import annotations

import contextlib
import html
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets as w

from ....errors import BadRequest, ZImageError
from ....grid import Grid, Plan, plan
from ....grid.axis_names import slots
from ....grid.dimensions import Role
from ....grid.estimate import Estimate
from ....grid.grid import prepare_grid
from ....grid.preparation import ASK_ABOVE
from ....recipe.request import Request
from ....text.units import gigabytes
from ...grid_view.names import Names
from ...grid_view.view import GridView
from ...panel.error_box import ErrorBox
from ...panel.stage_list import CatchErrors
from ...translations import Texts
from ..pane import Pane, PaneContext

NONE = ""
"""An axis menu's value for no axis."""
WAIT_SECONDS = 0.4
"""Delay from the last key to the cost estimate."""
_PLACES: dict[Role, str] = {
    "rows": "gridpane.rows",
    "columns": "gridpane.columns",
    "pages": "gridpane.pages",
    "inner": "gridpane.inner",
}


class _Outdated(Exception):
    """The inputs have changed, or the pane was closed."""


class GridPane(Pane):
    """Axes for what the form says, their cost, and the view of the grid; `grid` is the one that is shown."""

    name = "grid"

    def __init__(self) -> None:
        self._filling = False
        self._timer: threading.Timer | None = None
        self._coster = ThreadPoolExecutor(1, "zimage-grid-cost")
        self._asked = 0  # how often the cost was asked for
        self._shown: Plan | None = None  # whose cost the line says
        self.view: GridView | None = None
        self._problem: ErrorBox | None = None  # of the language before

    def label(self, texts: Texts) -> str:
        """Its title."""
        return texts("gridpane.label")

    def help(self, texts: Texts) -> str:
        """What it is for."""
        return texts("bar.grid_help")

    def build(self, context: PaneContext) -> Sequence[Any]:
        """Axes, the cost, and the grid that was there, in the new language."""
        texts = context.texts
        self._names = Names(texts)
        error = self._problem.error if self._problem is not None else None
        self._problem = self.problem = ErrorBox(texts)
        self.fields, self.values = self._axes(context.catch_errors)
        self.cost_line = w.HTML().add_class("zk-cost")
        self._shown = None
        # the bar handles these clicks and sends pending input along
        self.make_button = w.Button(description=texts("gridpane.make"), tooltip=texts("gridpane.make_help"))
        self.make_button.add_class("zk-primary").add_class("zk-asks").add_class("zk-asks-make_grid")
        self.sure_button = w.Button(description="", tooltip=texts("gridpane.sure_help"))
        self.sure_button.add_class("zk-asks").add_class("zk-asks-make_all").add_class("zk-hidden")
        rows = [
            w.Box([field, value]).add_class("zk-axis") for field, value in zip(self.fields, self.values, strict=True)
        ]
        self._holder = w.VBox()
        help_ = w.HTML(f"<p>{html.escape(texts('gridpane.help'))}</p>").add_class("zk-cost")
        buttons = w.HBox([self.make_button, self.sure_button, self.cost_line]).add_class("zk-grid-buttons")
        if self.grid is not None:
            self.show_grid(self.grid)
        if error is not None:
            self.problem.show(error)
        self._on_edit(None)
        return [help_, *rows, buttons, self.problem.box, self._holder]

    def receive(self, message: Mapping[str, Any]) -> bool:
        """Make grid, and make all."""
        if message.get("do") not in ("make_grid", "make_all"):
            return False
        self.make(sure=message["do"] == "make_all")
        return True

    def _axes(self, catch_errors: CatchErrors) -> tuple[list[Any], list[Any]]:
        t = self.context.texts
        fields, values = [], []
        for key in _PLACES.values():
            field = w.Dropdown(description=t(key), options=[(t("gridpane.none"), NONE)], value=NONE)
            name = t("gridpane.values", axis=t(key))
            value = w.Textarea(description=name, placeholder=t("gridpane.values_hint"), rows=2)
            for control in (field, value):
                control.observe(catch_errors(self._on_edit), "value")
            fields.append(field)
            values.append(value)
        return fields, values

    @property
    def grid(self) -> Grid | None:
        """The grid that is shown; None before the first."""
        return None if self.view is None else self.view.grid

    def inputs(self) -> list[Any]:
        """The controls whose values count."""
        return [*self.fields, *self.values]

    def opened(self) -> None:
        """Offer the axes of the current form."""
        self._shown = None  # other grids may have been made meanwhile
        self.offer_axes()
        self._show_cost_soon()

    def offer_axes(self) -> None:
        """Offer the axes of the form's request; chosen axes are kept if they still exist."""
        try:
            request = self.context.request()
        except ZImageError:
            return
        choices = [(self.context.texts("gridpane.none"), NONE), *self._names.choices(request)]
        known = {value for _, value in choices}
        if tuple(self.fields[0].options) == tuple(choices):
            return
        self._filling = True
        for field in self.fields:
            was = field.value
            field.options = choices
            field.value = was if was in known else NONE
        free = [field for field in self.fields if field.value == NONE]
        chosen = {field.value for field in self.fields}
        for name, field in zip([name for name in sorted(slots(request)) if name not in chosen], free, strict=False):
            field.value = name
        self._filling = False

    def form_changed(self) -> None:
        """The form has changed."""
        if self.is_open:
            self.offer_axes()
            self._show_cost_soon()

    def _on_edit(self, _: Any) -> None:
        for field, value in zip(self.fields, self.values, strict=True):
            value.add_class("zk-hidden") if field.value == NONE else value.remove_class("zk-hidden")
        if self.is_open and not self._filling:
            self._show_cost_soon()

    def _show_cost_soon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._asked += 1
        self._timer = threading.Timer(WAIT_SECONDS, self._show_cost_later)
        self._timer.daemon = True
        self._timer.name = "zimage-grid-cost"
        self._timer.start()

    def _show_cost_later(self) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._coster.submit(self._show_cost_catching)

    def _show_cost_catching(self) -> None:
        try:
            self.show_cost()
        except Exception as error:
            self.context.report(error)

    def show_cost(self) -> None:
        """Show how many cells the grid has, then what they will cost, or its error; nothing for what is shown already.

        Ends early when something is edited meanwhile, or the pane closed.
        """
        if not self.is_open:
            return
        asked = self._asked

        def still_wanted() -> None:
            if self._asked != asked or not self.is_open:
                raise _Outdated

        try:
            planned = self._plan()
            if planned is not None and planned == self._shown:
                return
            self._shown = None
            self.sure_button.add_class("zk-hidden")
            if planned is None:
                self.cost_line.value = ""
                return
            counted = self.context.texts("gridpane.counted", count=math.prod(planned.shape))
            self.cost_line.value = html.escape(counted)
            self.cost_line.value = html.escape(self.cost(self._prepared(planned, still_wanted).estimate()))
            self._shown = planned
        except _Outdated:
            return
        except ZImageError as error:
            self.sure_button.add_class("zk-hidden")
            self.cost_line.value = f'<span class="zk-problem-line">{html.escape(str(error))}</span>'

    def _prepared(self, planned: Plan, before_each: Callable[[], None] = lambda: None) -> Grid:
        """The pane's grid, checked but not started."""
        return prepare_grid(self.context.session, planned, before_each)

    def _plan(self) -> Plan | None:
        """What the pane and the form say; None without an axis."""
        axes = {field.value: value.value for field, value in zip(self.fields, self.values, strict=True) if field.value}
        if not axes:
            return None
        for name, value in axes.items():
            if not value.strip():
                raise BadRequest(self.context.texts("gridpane.empty", axis=self._names.of(name)))
        if len(axes) < sum(field.value != NONE for field in self.fields):
            raise BadRequest(self.context.texts("gridpane.twice"))
        places: dict[str, str] = {
            place: field.value for place, field in zip(_PLACES, self.fields, strict=True) if field.value != NONE
        }
        if set(places) == {"rows"}:
            places = {}  # one axis alone flows in lines
        return plan(self.context.request(), axes, layout=places)

    def cost(self, estimate: Estimate) -> str:
        """The cost as a sentence."""
        t = self.context.texts
        if not estimate.new:
            return t("gridpane.all_there", count=estimate.cells)
        time = t("gridpane.unknown") if estimate.seconds is None else t.duration(estimate.seconds)
        return t("gridpane.cost", count=estimate.cells, new=estimate.new, time=time, disk=gigabytes(estimate.bytes))

    def make(self, sure: bool = False) -> None:
        """Make the grid in the background; above 200 new cells only after the second button was clicked (`sure`)."""
        self.problem.clear()
        self.context.in_background(lambda: self._run_catching(sure))

    def _run_catching(self, sure: bool) -> None:
        try:
            self._make_grid(sure)
        except Exception as error:
            self.problem.show(error)

    def _make_grid(self, sure: bool) -> None:
        planned = self._plan()
        if planned is None:
            raise BadRequest(self.context.texts("gridpane.no_axis"))
        self._asked += 1  # what it costs is found here
        prepared = self._prepared(planned)
        estimate, self._shown = prepared.estimate(), planned
        self.cost_line.value = html.escape(self.cost(estimate))
        if estimate.new > ASK_ABOVE and not sure:
            self.sure_button.description = self.context.texts("gridpane.sure", count=estimate.new)
            self.sure_button.remove_class("zk-hidden")
            return
        self.sure_button.add_class("zk-hidden")
        if estimate.new:
            prepared.retry(yes=True)
            self._shown = None  # it costs less now
        self.show_grid(prepared)

    def show_grid(self, grid: Grid) -> None:
        """Show a grid in the pane. A previous grid that is still being made is cancelled."""
        old, self.view = self.view, GridView(grid, self.context.texts.language, use=self._use)
        self._holder.children = [self.view]
        if old is not None:
            if old.grid is not grid:
                old.grid.cancel()
            old.close()

    def _use(self, request: Request) -> None:
        self.context.use(request)
        self.context.announce(self.context.texts("gridpane.used"))

    def state(self) -> dict[str, Any]:
        """The axes."""
        return {"axes": [[field.value, value.value] for field, value in zip(self.fields, self.values, strict=True)]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Fill in the axes that the form still has."""
        self.offer_axes()
        self._filling = True
        for field, value, (name, text) in zip(self.fields, self.values, state.get("axes") or (), strict=False):
            if name in {known for _, known in field.options}:
                field.value, value.value = name, text
        self._filling = False
        self._on_edit(None)

    def close(self) -> None:
        """Cancel the grid and end the threads."""
        if self._timer is not None:
            self._timer.cancel()
        self._asked += 1
        self._coster.shutdown(wait=False, cancel_futures=True)
        if self.view is not None:
            self.view.grid.cancel()
            self.view.close()
