"""Widgets inside of widgets: closing them all. ipywidgets' own `close` leaves the children open in the page."""

from __future__ import annotations

from typing import Any


def close_tree(widget: Any, keep: Any = None) -> None:
    """Close a widget and everything in it but `keep`, so that the page forgets them."""
    if keep is not None and widget is keep:
        return
    for child in getattr(widget, "children", ()):
        close_tree(child, keep)
    widget.close()
