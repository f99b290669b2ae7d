"""Grids: pictures side by side, with what varies as axes. Each cell is stored by what it depends on, and made once.

`axes` names and reads what varies, `plan` lays it out, `cells` keeps the pictures, `cell` is one of them, `run` makes
what is missing, `pace` says beforehand what that costs, and `grid` is what users hold. How one leaves: `sheet` draws a
contact sheet, `page` writes a web page, `table` a table, and `files` puts each into a file and reads a grid from it.
"""

from __future__ import annotations

from .cell import Cell, Cells
from .grid import Grid, make_grid
from .plan import Plan
from .planning import plan

__all__ = ["Cell", "Cells", "Grid", "Plan", "make_grid", "plan"]
