"""Before and after in the page: the line follows pointer and keys, and nothing broken is shown without pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from opened import OpenNotebook, OpenOne
from PIL import Image
from playwright.sync_api import Locator, expect

TWO = """
from PIL import Image
from zimage_kit.studio.panes.compare.slider import Compare

small, large = Image.new("RGB", (200, 150), (200, 30, 30)), Image.new("RGB", (400, 300), (30, 30, 200))
widget = Compare(small, large, labels=("1x", "2x"))
widget
"""

NARROW = """
import ipywidgets
from PIL import Image
from zimage_kit.studio.panes.compare.slider import compare

clear, blue = Image.new("RGBA", (1216, 832), (200, 30, 30, 0)), Image.new("RGB", (1216, 832), (30, 30, 200))
widget = compare(clear, blue, language="zh")
ipywidgets.Box([widget], layout={"width": "300px"})
"""


def frame(nb: OpenNotebook) -> Locator:
    found = nb.page.locator(".zk-compare-frame")
    nb.page.wait_for_function("[...document.querySelectorAll('.zk-compare img')].every(one => one.naturalWidth)")
    return found


def pixels(locator: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"), int)


def red_share(nb: OpenNotebook) -> float:
    """Of a row of pixels, above the labels and off the grip."""
    seen = pixels(frame(nb))
    row = seen[len(seen) // 4]
    return float((row[:, 0] > row[:, 2]).mean())


def test_the_line_follows_pointer_and_keys(notebook: OpenOne) -> None:
    nb = notebook([TWO])
    box = frame(nb).bounding_box()
    assert box is not None
    assert (round(box["width"]), round(box["height"])) == (400, 300), "as large as the larger of the two"
    assert red_share(nb) == pytest.approx(0.5, abs=0.01), "the smaller picture is shown as large as the other"

    middle = box["y"] + box["height"] / 3
    nb.page.mouse.move(box["x"] + 0.9 * box["width"], middle)
    nb.page.mouse.down()
    nb.page.mouse.move(box["x"] + 0.2 * box["width"], middle, steps=4)
    nb.page.mouse.up()
    nb.wait("widget.position == 20")
    assert red_share(nb) == pytest.approx(0.2, abs=0.01)

    line = nb.page.get_by_role("slider", name="Position of the dividing line, percent from the left")
    expect(line).to_be_focused()
    for key, position in [("ArrowRight", 21), ("ArrowLeft", 20), ("End", 100), ("Home", 0), ("ArrowUp", 1)]:
        nb.page.keyboard.press(key)
        nb.wait(f"widget.position == {position}")
    nb.python("setattr(widget, 'position', 75)")
    expect(line).to_have_value("75")
    assert red_share(nb) == pytest.approx(0.75, abs=0.01)
    for theme in ("light", "dark"):
        nb.dress(theme)
        nb.shot(f"compare-{theme}", frame(nb))
        assert nb.axe(".zk-compare") == []


def test_pictures_come_and_go_without_a_broken_one(notebook: OpenOne) -> None:
    nb = notebook([TWO])
    frame(nb)
    pictures = nb.page.locator(".zk-compare img")
    nb.python("widget.show(None, small)")
    expect(pictures).to_have_count(1)
    expect(pictures).to_have_attribute("alt", "after")
    expect(nb.page.get_by_role("slider")).to_be_hidden()
    frame(nb)
    assert red_share(nb) == 1.0, "one picture alone is shown whole"
    nb.python("widget.show(None, None)")
    expect(pictures).to_have_count(0)
    expect(nb.page.locator(".zk-compare")).to_be_hidden()
    nb.python("widget.show(large, small)")
    expect(pictures).to_have_count(2)
    frame(nb)
    assert red_share(nb) == pytest.approx(0.5, abs=0.01)


def test_a_wide_picture_fits_a_narrow_column_and_its_line_stays_exact(notebook: OpenOne) -> None:
    nb = notebook([NARROW], width=700)
    box = frame(nb).bounding_box()
    assert box is not None
    assert box["width"] <= 300
    assert box["width"] / box["height"] == pytest.approx(1216 / 832, rel=0.01)
    nb.page.mouse.click(box["x"] + 0.37 * box["width"], box["y"] + 20)
    nb.wait("abs(widget.position - 37) <= 1")
    left = pixels(frame(nb))[30, 20 : round(0.3 * box["width"])]
    assert np.ptp(left, axis=1).max() < 8, "what is transparent shows the grey checker"
    expect(nb.page.locator(".zk-compare-after .zk-compare-label")).to_have_text("之后")
