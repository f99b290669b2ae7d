"""A mask painted in a real browser, by mouse, finger and keyboard: what was painted is what is drawn again.

Pixels, places and keys are tested without a browser, in tests/js.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from opened import OpenNotebook, OpenOne
from PIL import Image
from playwright.sync_api import Locator, expect

BACKDROP = """
import io
import zimage_kit as zk
from PIL import Image

painter = zk.stages.inpaint.control()
painter.size = (256, 192)
out = io.BytesIO()
Image.effect_mandelbrot((256, 192), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(out, "JPEG")
painter.backdrop = out.getvalue()
"""
PAINTER = BACKDROP + "painter"
NARROW = BACKDROP + "import ipywidgets; ipywidgets.Box([painter], layout={'width': '420px'})"
LEVEL = "painter.mask().getpixel(({x}, {y}))"
SHARE = "sum(painter.mask().histogram()[128:]) / 49152"


def stage(nb: OpenNotebook) -> Locator:
    return nb.page.locator(".zk-mask-stage")


def place(nb: OpenNotebook, x: float, y: float) -> tuple[float, float]:
    """A place in fractions of the picture, in the page."""
    stage(nb).scroll_into_view_if_needed()
    box = stage(nb).bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(nb: OpenNotebook, *places: tuple[float, float]) -> None:
    """By mouse."""
    nb.page.mouse.move(*place(nb, *places[0]))
    nb.page.mouse.down()
    for each in places[1:]:
        nb.page.mouse.move(*place(nb, *each), steps=6)
    nb.page.mouse.up()


def button(nb: OpenNotebook, name: str) -> Locator:
    return nb.page.locator(".zk-mask").get_by_role("button", name=name)


def level(nb: OpenNotebook, x: int, y: int, value: int) -> None:
    """Wait until the mask in Python has this level there."""
    nb.wait(f"{LEVEL.format(x=x, y=y)} == {value}")


def test_the_mouse_paints_erases_fills_inverts_and_undo_takes_it_back(notebook: OpenOne) -> None:
    nb = notebook([PAINTER])
    expect(button(nb, "Undo (Ctrl+Z)")).to_have_attribute("aria-disabled", "true")
    drag(nb, (0.25, 0.5), (0.75, 0.5))
    level(nb, 128, 96, 255)
    assert nb.python("painter.value['mask']").startswith("asset:")
    assert nb.python(LEVEL.format(x=128, y=10)) == 0
    expect(nb.page.locator(".zk-mask-status")).to_contain_text("The mask covers")
    nb.shot("mask-painter-light", nb.page.locator(".zk-mask"))
    assert nb.axe(".zk-mask") == []

    button(nb, "Eraser (E)").click()
    drag(nb, (0.5, 0.4), (0.5, 0.6))
    level(nb, 128, 96, 0)
    nb.page.keyboard.press("Control+z")
    level(nb, 128, 96, 255)
    nb.page.keyboard.press("Control+Shift+z")
    level(nb, 128, 96, 0)

    button(nb, "Clear the mask").click()
    nb.wait("'mask' not in painter.value")
    button(nb, "Lasso").click()
    drag(nb, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2))
    level(nb, 128, 96, 255)
    assert nb.python(SHARE) == pytest.approx(0.36, abs=0.02)
    button(nb, "Eraser (E)").click()
    button(nb, "Fill an outline").click()
    nb.page.mouse.click(*place(nb, 0.5, 0.5))
    level(nb, 128, 96, 0)
    nb.page.mouse.click(*place(nb, 0.05, 0.05))
    level(nb, 128, 96, 255)
    nb.page.keyboard.press("Control+z")
    level(nb, 128, 96, 0)
    button(nb, "Rectangle").click()
    drag(nb, (0.5, 0.5), (0.75, 1.0))
    level(nb, 150, 150, 255)
    assert nb.python(SHARE) == pytest.approx(0.125, abs=0.01)
    button(nb, "Invert the mask").click()
    level(nb, 150, 150, 0)
    assert nb.python(SHARE) == pytest.approx(0.875, abs=0.01)
    nb.page.get_by_role("slider", name="Feather", exact=True).fill("30")
    nb.wait("painter.value.get('feather') == 30")
    nb.page.get_by_label("Show the soft edge").check()
    nb.shot("mask-painter-feather", nb.page.locator(".zk-mask"))


def test_zoom_keeps_the_place_and_a_stroke_goes_where_it_is_seen(notebook: OpenOne) -> None:
    nb = notebook([PAINTER])
    nb.page.mouse.move(*place(nb, 0.75, 0.75))
    nb.page.keyboard.down("Control")
    nb.page.mouse.wheel(0, -600)
    nb.page.keyboard.up("Control")
    expect(nb.page.locator(".zk-mask-status")).to_contain_text("Zoom")
    nb.page.mouse.down()
    nb.page.mouse.up()
    level(nb, 192, 144, 255)
    thin = nb.python(SHARE)
    stage(nb).focus()
    nb.page.keyboard.press("0")
    button(nb, "Undo (Ctrl+Z)").click()
    nb.wait("not painter.drawn")
    nb.page.mouse.click(*place(nb, 0.75, 0.75))
    level(nb, 192, 144, 255)
    assert nb.python(SHARE) == pytest.approx(thin, rel=0.1), "the brush is measured in the picture's pixels"


def test_a_finger_paints_and_two_fingers_zoom(notebook: OpenOne) -> None:
    nb = notebook([PAINTER])
    touch = nb.page.context.new_cdp_session(nb.page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(place(nb, *each) for each in places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (0.3, 0.3))
    for share in (0.4, 0.5, 0.6):
        fingers("touchMove", (share, 0.3))
    fingers("touchEnd")
    level(nb, 128, 57, 255)
    before = nb.python("painter.value")
    fingers("touchStart", (0.4, 0.7))
    fingers("touchStart", (0.4, 0.7), (0.6, 0.7))
    for apart in (0.15, 0.2, 0.3):
        fingers("touchMove", (0.5 - apart, 0.7), (0.5 + apart, 0.7))
    fingers("touchEnd")
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    zoom = float(stage(nb).evaluate("node => node.style.getPropertyValue('--zoom')"))
    assert zoom == pytest.approx(3, rel=0.15)
    assert nb.python("painter.value") == before, "what two fingers do paints nothing"


def test_everything_goes_by_keyboard_and_the_notebook_hears_none_of_it(notebook: OpenOne) -> None:
    nb = notebook([NARROW, "'another cell'"], "dark", width=800)
    cells = nb.page.locator(".jp-Notebook .jp-Cell").count()
    press = nb.page.keyboard.press
    button(nb, "Zoom in").focus()
    press("Tab")
    expect(stage(nb)).to_be_focused()
    expect(stage(nb)).to_have_accessible_name("Picture with mask")
    for _ in range(5):
        press("Shift+ArrowLeft")
    expect(nb.page.locator(".zk-mask-status")).to_have_text("20 % from the left, 50 % from the top")
    nb.page.keyboard.down(" ")
    for _ in range(4):
        press("Shift+ArrowRight")
    nb.page.keyboard.up(" ")
    level(nb, 90, 96, 255)
    nb.shot("mask-painter-narrow-dark", nb.page.locator(".zk-mask"))
    press("e")
    press("[")
    nb.page.keyboard.press(" ")
    level(nb, 112, 96, 0)
    press("r")
    press(" ")
    press("Shift+ArrowUp")
    press("Shift+ArrowLeft")
    press(" ")
    press("f")
    for key in ("d", "d", "a", "b", "x", "m", "Enter"):
        press(key)
    nb.wait("True")
    assert nb.page.locator(".jp-Notebook .jp-Cell").count() == cells
    press("Delete")
    nb.wait("'mask' not in painter.value")
    nb.python("setattr(painter, 'language', 'zh')")
    expect(button(nb, "橡皮擦（E）")).to_be_visible()
    nb.shot("mask-painter-zh", nb.page.locator(".zk-mask"))
    width = nb.page.locator(".zk-mask").evaluate("node => [node.scrollWidth, node.clientWidth]")
    assert width[0] <= width[1] <= 420, "nothing sticks out of a narrow panel"
    press("Escape")
    expect(button(nb, "画笔（B）")).to_be_focused()
    assert nb.axe(".zk-mask") == []


def test_masks_come_in_and_go_out_stay_over_a_reload_and_follow_the_picture(notebook: OpenOne, tmp_path: Path) -> None:
    nb = notebook([PAINTER], fresh=True)
    image = Image.new("L", (512, 384))
    image.paste(255, (0, 0, 256, 384))
    image.save(tmp_path / "half.png")
    nb.python(f"setattr(painter, 'value', {{'mask': {str(tmp_path / 'half.png')!r}, 'invert': True}})")
    nb.wait(SHARE + " == 0.5")
    with nb.page.expect_download() as download:
        button(nb, "Save the mask").click()
    with Image.open(download.value.path()) as saved:
        assert saved.size == (256, 192)
        assert saved.convert("L").tobytes() == nb.python("painter.mask().tobytes().decode('latin-1')").encode("latin-1")
    out = io.BytesIO()
    Image.new("L", (100, 100), 255).save(out, "PNG")
    file = {"name": "white.png", "mimeType": "image/png", "buffer": out.getvalue()}
    nb.page.locator(".zk-mask input[type=file]").set_input_files([file])  # type: ignore[list-item]
    nb.wait(SHARE + " == 1")
    expect(nb.page.locator(".zk-mask-status")).to_contain_text("white.png loaded and stretched")
    assert nb.python("'invert' in painter.value") is False
    nb.page.locator(".zk-mask input[type=file]").set_input_files(
        [{"name": "no.png", "mimeType": "image/png", "buffer": b"no"}]  # type: ignore[list-item]
    )
    expect(nb.page.locator(".zk-mask-alert")).to_have_text("This is not a picture: no.png")
    button(nb, "Eraser (E)").click()
    drag(nb, (0.5, 0.5), (0.6, 0.5))
    level(nb, 128, 96, 0)
    nb.python("setattr(painter, 'backdrop', b'')")
    nb.python("setattr(painter, 'size', (192, 256))")
    expect(nb.page.locator(".zk-mask-status")).to_have_text("The mask was scaled to the new picture's shape.")
    assert nb.page.locator(".zk-mask-canvas").evaluate("node => [node.width, node.height]") == [192, 256]
    pixels = "node => Array.from(node.getContext('2d').getImageData(96, 128, 1, 1).data)"
    again = nb.run_cell("painter", wait=True)  # as after a reload: a view made anew from what the kernel has
    expect(nb.output(again).locator(".zk-mask-canvas")).to_have_js_property("width", 192)
    assert nb.output(again).locator(".zk-mask-canvas").evaluate(pixels)[3] == 0
    corner = pixels.replace("(96, 128", "(2, 2")
    assert nb.output(again).locator(".zk-mask-canvas").evaluate(corner)[3] > 90


def test_a_red_boat_becomes_blue_in_the_panel_and_the_rest_stays(notebook: OpenOne) -> None:
    nb = notebook(["import zimage_kit as zk; session = zk.connect()", "studio = session.studio(); studio"])
    drawn = {"prompt": "a red boat on the sea", "model": "nano", "seed": 3, "steps": 8}
    nb.python(f"setattr(studio, 'request', zk.Request(**{drawn!r}))")
    generate = nb.page.locator(".zk-studio").get_by_role("button", name="Generate", exact=True)
    generate.click()
    nb.wait("len(studio.artifacts) == 1", 90)
    stages = [{"kind": "inpaint", "prompt": "a blue boat on the sea"}]
    nb.python(f"setattr(studio, 'request', zk.Request(**{drawn!r}, stages={stages!r}))")
    expect(nb.page.locator(".zk-mask-photo")).to_be_visible()
    nb.page.wait_for_function("document.querySelector('.zk-mask-photo').naturalWidth > 0")
    button(nb, "Rectangle").click()
    drag(nb, (48 / 256, 72 / 256), (217 / 256, 237 / 256))
    nb.wait("'mask' in studio.request.stages[0].fields()")
    nb.shot("mask-painter-panel", nb.page.locator(".zk-mask"))
    generate.click()
    nb.wait("len(studio.artifacts) == 2", 90)
    both = "sorted(studio.artifacts, key=lambda one: len(one.request.stages))"
    old, new = (
        np.frombuffer(nb.python(f"{both}[{number}].image.tobytes().decode('latin-1')").encode("latin-1"), np.uint8)
        for number in (0, 1)
    )
    masked = "zk.stages.inpaint(mask=studio.request.stages[0].fields()['mask']).mask_at((256, 256))"
    mask = np.frombuffer(nb.python(f"{masked}.tobytes().decode('latin-1')").encode("latin-1"), np.uint8)
    gaps = np.abs(old.astype(int) - new).reshape(256, 256, 3).max(axis=2)
    inside = mask.reshape(256, 256) > 0
    assert 0.3 < inside.mean() < 0.5
    assert gaps[~inside].max() == 0 < 20 < gaps[inside].mean()
    picture = new.reshape(256, 256, 3).astype(int)
    red = lambda one: (one[..., 0] > one[..., 2] + 60).sum()  # noqa: E731
    assert red(picture) < 0.2 * red(old.reshape(256, 256, 3).astype(int)), "the red boat is gone"
