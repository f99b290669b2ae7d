"""A frame: a title, a button that closes it, and what is inside."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as w


class Frame:
    """A part of a panel with a title and a button that closes it; `show` opens it again."""

    def __init__(self, title: str, close: str, *parts: Any) -> None:
        heading = w.HTML(f'<h3 class="zk-heading">{html.escape(title)}</h3>')
        button = w.Button(description=close, tooltip=f"{close}: {title}")
        button.on_click(lambda _: self.show(False))
        head = w.HBox([heading, button]).add_class("zk-pane-head")
        self.is_open = False
        self.box = w.VBox([head, *parts]).add_class("zk-pane").add_class("zk-hidden")

    def show(self, open_: bool = True) -> None:
        """Open or close it."""
        self.is_open = open_
        self.box.remove_class("zk-hidden") if open_ else self.box.add_class("zk-hidden")
