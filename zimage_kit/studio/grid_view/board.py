"""The board: a grid as the page shows it. What it is told of the grid, and what its script asks for.

Everything that must be seen while a cell of the notebook runs is a synchronised value, never the answer to a message:
the kernel hears nothing of the page meanwhile, but what threads set arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from ...grid import Grid
from ...grid.dimensions import ROLES
from ...text.scripts import joined_script, joined_style
from ..panel.results import value_text
from ..translations import Texts
from .names import Names, recipes

FOLDER = Path(__file__).parent
PACKS = 64


class Board(anywidget.AnyWidget):
    """Sends what is asked for in the page: {"do": …, "of": plan's id, …}, each answered by {"heard": true}.

    `do` is stop, go_on, retry (`cell`), retry_all, rate (`cell`, `rating`), pick (`cell` or null), rerun (`role`,
    `number`, `name`, `value`), without (`role`, `number`), undo, compare (`cells`), use (`cell`), or one of these, with
    more of an answer: full (`cell`) a message {"full": key, "about": …} with a JPEG, recipe (`cell`) {"recipe":
    cell, "text": JSON}, export (`ending`, `view`) a file in pieces, {"file": name, "type", "view", "part", "parts"}.
    `exporting` is {ending, done, count} meanwhile, `fills` whether there is a form that a recipe can fill. `states` has
    a letter for each cell: w(aiting), r(unning), d(one), f(ailed). `running` is {cell: {step, steps, text, preview}},
    `errors` {cell: text}, `ratings` a digit for each cell.
    Small pictures come in packs, {key: JPEG}, in the traits pack0, pack1, …, of which there are `packs`.
    """

    _esm = joined_script(FOLDER / "grid_board.js")
    _css = joined_style(FOLDER / "grid_view.css")

    texts = t.Dict().tag(sync=True)
    plan = t.Dict().tag(sync=True)
    keys_of = t.List(t.Unicode()).tag(sync=True)
    states = t.Unicode("").tag(sync=True)
    running = t.Dict().tag(sync=True)
    errors = t.Dict().tag(sync=True)
    ratings = t.Unicode("").tag(sync=True)
    winners: t.List[int] = t.List(t.Int()).tag(sync=True)
    progress = t.Dict().tag(sync=True)
    packs = t.Int(0).tag(sync=True)
    undoable = t.Bool(False).tag(sync=True)
    exporting = t.Dict().tag(sync=True)
    fills = t.Bool(False).tag(sync=True)
    selected = t.Int(0).tag(sync=True)

    def __init__(self, texts: Texts, **traits: Any) -> None:
        super().__init__(
            texts={**texts.section("board"), "lang": texts.lang, "lightbox": texts.section("lightbox")}, **traits
        )
        self._places = 0
        self.sent: set[str] = set()

    def send_pictures(self, pictures: Mapping[str, bytes]) -> None:
        """Send small pictures by the short keys of their cells. They stay, for pages that are opened later.

        Empty bytes say that a picture is gone; it may come all the same.
        """
        if self.packs >= self._places:
            new = {f"pack{self._places + number}": t.Dict({}).tag(sync=True) for number in range(PACKS)}
            self._places += PACKS
            t.HasTraits.add_traits(self, **new)  # ipywidgets' own would send each of the empty ones
            self.keys.extend(new)
        with self.hold_sync():
            self.set_trait(f"pack{self.packs}", dict(pictures))
            self.packs += 1
        self.sent |= {key for key, picture in pictures.items() if picture}


def plan_data(grid: Grid, number: int, names: Names) -> dict[str, Any]:
    """A grid as the board's script takes it: labels, shapes of the pictures, recipes, and what may be changed."""
    plan = grid.plan
    recipe_data = recipes(grid.cells, names)
    sizes = [cell.request for cell in grid.cells]
    shapes = [round(one.height / one.width, 4) if one.width and one.height else 1.0 for one in sizes]
    lines = {
        role: [{name: value_text(value) for name, value in point.items()} for point in plan.dimensions.get(role, ())]
        for role in ROLES
    }
    return {
        "id": number,
        "title": grid.title,
        **{role: list(grid.labels(role)) for role in ROLES},
        "names": {role: " · ".join(names.of(name) for name in plan.axes_of(role)) for role in ROLES},
        "shapes": shapes[:1] if len(set(shapes)) == 1 else shapes,
        "recipes": recipe_data,
        "fields": names.choices(plan.base, plan.axes),
        "slots": sorted(plan.slot_names),
        "lines": lines,
        "base": {name: value for name, value in recipe_data["same"].items() if len(value) < 200},
    }


def short_key(key: str) -> str:
    """A key as the page has it: enough to tell pictures apart."""
    return key[:16]
