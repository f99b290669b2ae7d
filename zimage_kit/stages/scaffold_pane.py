"""The files of a new extension with a pane of the studio, for `zimage extensions new NAME --pane`."""

from __future__ import annotations

MANIFEST = """\
name = "{name}"
version = "0.1"
summary = "the main colours of a picture"
api = 1
requires = []  # pip requirements beyond zimage_kit's own; checked, never installed
panes = ["{name}"]  # classes in panes.py
"""

CODE = '"""{title}: a pane of the studio, in panes.py. Only a studio imports that file."""\n'

PANES = '''\
"""{title}: the main colours of a picture. A starting point for your own pane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w
from PIL import Image

from zimage_kit.studio.panel.results import Result
from zimage_kit.studio.panes.pane import Action, Pane, PaneContext
from zimage_kit.studio.translations import Texts


class {title}(Pane):
    """The main colours of a picture, as swatches."""

    name = "{name}"

    def __init__(self) -> None:
        self.colours: list[str] = []

    def label(self, texts: Texts) -> str:
        """Its title, and what its button says."""
        return {{"en": "{title}", "zh": "配色"}}[texts.language]

    def build(self, context: PaneContext) -> Sequence[Any]:
        """Make its widgets; they are made again in another language."""
        self._swatches = w.HTML()
        self._show()
        return [self._swatches]

    def actions(self, texts: Texts) -> Sequence[Action]:
        """A button below every picture."""
        return [Action(self.name, self.label(texts), "Show its main colours", self.look_at)]

    def look_at(self, result: Result) -> None:
        """Show the colours of a picture, and open the pane."""
        self.colours = main_colours(result.artifact.image)
        self._show()
        self.open()

    def _show(self) -> None:
        tile = '<span style="display:inline-block;width:64px;height:64px;background:{{0}}" title="{{0}}"></span>'
        self._swatches.value = "".join(tile.format(colour) for colour in self.colours)

    def state(self) -> dict[str, Any]:
        """What is kept when the page is loaded again."""
        return {{"colours": self.colours}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Show it again."""
        self.colours = [str(colour) for colour in state.get("colours") or ()]
        self._show()


def main_colours(image: Image.Image, count: int = 5) -> list[str]:
    """The `count` commonest colours of a picture, the commonest first, as #rrggbb."""
    small = image.convert("RGB").resize((64, 64)).quantize(count)
    palette = small.getpalette() or []
    found = sorted(small.getcolors() or [], reverse=True)
    return ["#{{:02x}}{{:02x}}{{:02x}}".format(*palette[3 * int(index) : 3 * int(index) + 3]) for _, index in found]
'''

TEST = '''\
"""{title} shows colours, and keeps the contract of every pane."""

from __future__ import annotations

from importlib import import_module

from PIL import Image

from zimage_kit.stages.extensions import load_module
from zimage_kit.studio.panes import contract

panes = import_module(f"{{load_module('{name}').__name__}}.panes")


def test_the_commonest_colour_comes_first() -> None:
    image = Image.new("RGB", (64, 64), "#204080")
    image.paste("#ff0000", (0, 0, 20, 64))
    assert panes.main_colours(image, 2) == ["#204080", "#ff0000"]


def test_it_keeps_the_contract() -> None:
    contract.check("{name}")
'''

PAGE = """\
# {name}

A pane of the studio: the main colours of a picture. Its button stands beside Generate, and below each picture.
"""
