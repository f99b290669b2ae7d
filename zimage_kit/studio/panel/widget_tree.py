"""Widgets inside of widgets: closing them all. ipywidgets' own `close` leaves children, layout and style open."""

from __future__ import annotations

from typing import Any

from ipywidgets import Widget


def close_tree(widget: Any, keep: Any = None) -> None:
    """Close a widget and everything in it but `keep`, so that kernel and page forget them."""
    if keep is not None and widget is keep:
        return
    for child in getattr(widget, "children", ()):
        close_tree(child, keep)
    own = [getattr(widget, name, None) for name in ("layout", "style")]
    widget.close()
    for part in own:  # each a widget of its own, which every page that is opened would fetch again
        if isinstance(part, Widget):
            part.close()
