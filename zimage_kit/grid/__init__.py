"""Grids: pictures side by side, with what varies as axes. Each cell is stored by what it depends on, and made once.

From the ground up: `axis_names`, `axis_values` and `axis_table` read what varies, `changes` puts it into a request,
`dimensions` and `plan` lay it out, and `planning` makes a plan of what a user
gives, `scouting` with seeds that differ. `cell` and `cell_store` are the
pictures, `runner` makes the missing ones in order, `estimate` and `preparation` say beforehand what that costs, and
`grid_run` follows it. `cell_array` is the labelled array with its exports (`sheet`, `web_page`, `table`, `files`), and
`grid` is what users hold.
"""

from __future__ import annotations

from .cell import Cell, Cells
from .grid import Grid, make_grid
from .plan import Plan
from .planning import plan
from .scouting import scouted_plan

__all__ = ["Cell", "Cells", "Grid", "Plan", "make_grid", "plan", "scouted_plan"]
