"""People dragged into their pose in a real browser: what was dragged is what the stage draws.

The geometry, the keys and the undo stack are tested without a browser, in tests/js.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import OpenNotebook, OpenOne
from PIL import Image
from playwright.sync_api import Locator, expect

import zimage_kit as zk
from zimage_kit.stages import extensions

pose: Any = extensions.load_module("pose")
skeleton, presets = pose.skeleton, pose.presets
Pose = zk.stages.pose

EDITOR = """
import zimage_kit as zk

editor = zk.stages.pose.control()
editor.value = {"preset": ["waving"]}
editor
"""
NARROW = EDITOR.rsplit("editor\n", 1)[0] + "import ipywidgets; ipywidgets.Box([editor], layout={'width': '320px'})"
WRIST, ELBOW = 4, 3
POINTS = "[editor.figures['people'][{person}]['pose_keypoints_2d'][3 * {point} + axis] for axis in range(3)]"


def handle(nb: OpenNotebook, point: int | str, person: int = 0) -> Locator:
    return nb.page.locator(f'[data-person="{person}"] [data-handle="{point}"]')


def picture(nb: OpenNotebook) -> dict[str, float]:
    """Where the picture lies in the page."""
    nb.page.locator(".zk-pose-stage").scroll_into_view_if_needed()
    box = nb.page.locator(".zk-pose-svg > rect").bounding_box()
    assert box is not None
    return dict(box)


def centre(nb: OpenNotebook, point: int | str, person: int = 0) -> tuple[float, float]:
    box = handle(nb, point, person).locator(".zk-pose-ring").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def answered(nb: OpenNotebook) -> None:
    """Wait for Python's figures: an estimate may still move, and is built anew when they come."""
    expect(nb.page.locator(".zk-pose")).to_have_attribute("data-estimate", "false")


def drag(nb: OpenNotebook, point: int | str, to: tuple[float, float], person: int = 0, at_once: bool = False) -> None:
    """To a place in fractions of the picture, by mouse; `at_once`: without waiting for Python's answer before it."""
    if not at_once:
        answered(nb)
    area = picture(nb)
    nb.page.mouse.move(*centre(nb, point, person))
    nb.page.mouse.down()
    nb.page.mouse.move(area["x"] + to[0] * area["width"], area["y"] + to[1] * area["height"], steps=5)
    nb.page.mouse.up()


def place(nb: OpenNotebook, point: int, person: int = 0) -> tuple[float, float, float]:
    """Of a point in Python: x, y and confidence, as the stage draws it."""
    x, y, confidence = nb.python(POINTS.format(person=person, point=point))
    return x, y, confidence


def button(nb: OpenNotebook, name: str) -> Locator:
    return nb.page.locator(".zk-pose").get_by_role("button", name=name, exact=True)


def json_file(nb: OpenNotebook, name: str, text: str) -> None:
    given = {"name": name, "mimeType": "application/json", "buffer": text.encode()}
    nb.page.locator('.zk-pose input[accept*="json"]').set_input_files([given])  # type: ignore[list-item]


def two_people() -> tuple[Any, str]:
    """Figures with a hand and a face, one without its legs; and their OpenPose JSON."""
    figures = []
    for name, x in (("waving", 0.3), ("running", 0.7)):
        body = presets.points(name, "adult")
        body[:, 0] = x + 0.5 * body[:, 0]
        body[:, 1] = 0.1 + 0.8 * body[:, 1]
        if name == "running":
            body[8:14] = 0
        hand = np.column_stack((np.linspace(x, x + 0.08, 21), 0.5 + 0.05 * np.sin(np.arange(21)), np.ones(21)))
        face = np.column_stack((np.linspace(x - 0.03, x + 0.03, 70), np.full(70, 0.12), np.ones(70)))
        figures.append(pose.openpose.figure_of(body, (hand, None), face))
    return tuple(figures), pose.openpose.write(figures, 768, 1024)


def seen(nb: OpenNotebook) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The picture as the browser draws it, without what is only there to take hold of, and where it lies in that."""
    hide = ".zk-pose-handles, .zk-pose-tag { opacity: 0 !important }"  # and the focus stays
    style = nb.page.add_style_tag(content=hide)
    box = picture(nb)
    left, top = math.floor(box["x"]), math.floor(box["y"])
    width, height = math.ceil(box["x"] + box["width"]) - left, math.ceil(box["y"] + box["height"]) - top
    shot = nb.page.screenshot(clip={"x": left, "y": top, "width": width, "height": height})
    style.evaluate("node => node.remove()")
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    assert image.size == (width, height), "a part of the picture is out of the page"
    return image, (box["x"] - left, box["y"] - top, box["width"], box["height"])


def assert_drawn(nb: OpenNotebook) -> None:
    """The browser's picture is the one that the ControlNet gets, but for smooth edges."""
    value, size = nb.python("[editor.value, editor.size]")
    stage = Pose(**value)
    drawn, (left, top, width, height) = seen(nb)
    assert width / height == pytest.approx(size[0] / size[1], rel=0.01)
    # Pillow draws no part of a pixel, and a picture in a page begins anywhere in one: drawn large, and made small
    expected = Image.new("RGB", (8 * drawn.width, 8 * drawn.height))
    expected.paste(stage.skeleton(round(8 * width), round(8 * height)), (round(8 * left), round(8 * top)))
    expected = expected.resize(drawn.size, Image.Resampling.BOX)
    ours, theirs = (np.asarray(one, float)[2:-2, 2:-2] for one in (drawn, expected))
    difference = np.abs(ours - theirs).mean()
    assert difference < 0.1 * theirs.mean(), f"{difference:.2f} of 255 in a picture of {theirs.mean():.2f}"
    for figure in stage.figures(*size):
        for point, (x, y, confidence) in enumerate(figure.body):
            column, row = int(left + x * width), int(top + y * height)
            if confidence and 2 < column < drawn.width - 2 and 2 < row < drawn.height - 2:
                here, there = np.array(drawn.getpixel((column, row))), np.array(expected.getpixel((column, row)))
                assert np.abs(here - there).max() <= 48, f"{skeleton.NAMES[point]}: {here}, not {there}"


def test_a_point_goes_where_it_is_dragged_and_undo_brings_it_back(notebook: OpenOne) -> None:
    nb = notebook([EDITOR])
    start = place(nb, WRIST)
    assert button(nb, "Undo (Ctrl+Z)").get_attribute("aria-disabled") == "true"
    assert_drawn(nb)
    drag(nb, WRIST, (0.25, 0.2))
    nb.wait("'people' in editor.value")
    assert place(nb, WRIST)[:2] == pytest.approx((0.25, 0.2), abs=0.01)
    assert nb.python("editor.value['canvas']") == [1024, 1024]
    assert set(nb.python("editor.value")) == {"people", "canvas"}
    expect(nb.page.locator(".zk-pose-status")).to_have_text(
        "right wrist, person 1: 25 % from the left, 20 % from the top"
    )
    assert_drawn(nb)
    nb.shot("pose-editor-light", nb.page.locator(".zk-pose"))
    assert nb.axe(".zk-pose") == []

    nb.page.keyboard.press("Control+z")
    nb.wait("editor.value == {'preset': ['waving']}")
    assert place(nb, WRIST) == start
    nb.page.keyboard.press("Control+Shift+z")
    nb.wait("'people' in editor.value")
    assert place(nb, WRIST)[:2] == pytest.approx((0.25, 0.2), abs=0.01)
    button(nb, "Undo (Ctrl+Z)").click()
    nb.wait("editor.value == {'preset': ['waving']}")
    button(nb, "Redo (Ctrl+Shift+Z)").click()
    nb.wait("'people' in editor.value")
    button(nb, "Discard manual changes to the pose").click()
    nb.wait("editor.value == {'preset': ['waving']}")


def test_everything_goes_by_keyboard_and_the_notebook_hears_none_of_it(notebook: OpenOne) -> None:
    nb = notebook([EDITOR, "'another cell'"])
    cells = nb.page.locator(".jp-Notebook .jp-Cell").count()
    press = nb.page.keyboard.press
    nb.page.locator(".zk-pose-bar button").last.focus()
    press("Tab")
    expect(handle(nb, "move")).to_be_focused()
    expect(handle(nb, "move")).to_have_accessible_name("move person 1")
    for _ in range(2 + WRIST):
        press("]")
    expect(handle(nb, WRIST)).to_have_accessible_name("right wrist, person 1")
    expect(handle(nb, WRIST)).to_be_focused()
    x, y, _ = place(nb, WRIST)
    press("ArrowLeft")
    press("Shift+ArrowUp")
    nb.wait("'people' in editor.value")
    nb.wait(f"abs({y} - 0.05 - editor.value['people'][0]['pose_keypoints_2d'][3 * {WRIST} + 1]) < 1e-4")
    assert place(nb, WRIST)[:2] == pytest.approx((x - 0.01, y - 0.05), abs=1e-4)
    expect(handle(nb, WRIST)).to_be_focused()

    press("[")
    expect(handle(nb, ELBOW)).to_be_focused()
    press("Delete")
    nb.wait(f"not editor.value['people'][0]['pose_keypoints_2d'][3 * {ELBOW} + 2]")
    expect(handle(nb, ELBOW)).to_have_count(0)
    expect(handle(nb, WRIST)).to_be_focused()
    button(nb, "Restore: right elbow").press("Enter")
    nb.wait(f"editor.value['people'][0]['pose_keypoints_2d'][3 * {ELBOW} + 2] == 1")
    expect(handle(nb, ELBOW)).to_be_focused()

    tall = nb.python("editor.value['people'][0]['pose_keypoints_2d'][1::3]")
    press("+")
    nb.wait("editor.value['people'][0]['pose_keypoints_2d'][1::3] != " + repr(tall))
    grown = nb.python("editor.value['people'][0]['pose_keypoints_2d'][1::3]")
    assert max(grown) - min(grown) == pytest.approx(1.05 * (max(tall) - min(tall)), abs=1e-3)
    for key in ("d", "d", "a", "b", "x", "m", "Enter", "ArrowDown"):
        press(key)
    nb.wait("True")
    assert nb.page.locator(".jp-Notebook .jp-Cell").count() == cells
    press("Escape")
    expect(nb.page.locator(".zk-pose-chip").first).to_be_focused()


def test_a_figure_is_moved_by_its_limbs_scaled_by_its_corner_and_mirrored(notebook: OpenOne) -> None:
    nb = notebook([EDITOR])
    area = picture(nb)
    hip, knee = centre(nb, 8), centre(nb, 9)
    before = np.reshape(nb.python("editor.figures['people'][0]['pose_keypoints_2d']"), (18, 3))
    nb.page.mouse.move((hip[0] + knee[0]) / 2, (hip[1] + knee[1]) / 2)
    nb.page.mouse.down()
    nb.page.mouse.move((hip[0] + knee[0]) / 2 + 0.1 * area["width"], (hip[1] + knee[1]) / 2, steps=4)
    nb.page.mouse.up()
    nb.wait("'people' in editor.value")
    moved = np.reshape(nb.python("editor.value['people'][0]['pose_keypoints_2d']"), (18, 3))
    assert moved[:, 0] - before[:, 0] == pytest.approx(0.1, abs=0.005)
    assert moved[:, 1] == pytest.approx(before[:, 1], abs=0.005)

    corner = centre(nb, "size")
    nb.page.mouse.move(*corner)
    nb.page.mouse.down()
    nb.page.mouse.move(corner[0] - 60, corner[1] - 120, steps=4)
    nb.page.mouse.up()
    nb.wait("editor.value['people'][0]['pose_keypoints_2d'] != " + repr(moved.ravel().tolist()))
    smaller = np.reshape(nb.python("editor.value['people'][0]['pose_keypoints_2d']"), (18, 3))
    share = np.ptp(smaller, axis=0)[:2] / np.ptp(moved, axis=0)[:2]
    assert share[0] == pytest.approx(share[1], abs=0.01), "its proportions are kept"
    assert 0.5 < share[0] < 0.95

    button(nb, "Mirror the figure").click()
    nb.wait("editor.value['people'][0]['pose_keypoints_2d'] != " + repr(smaller.ravel().tolist()))
    turned = np.reshape(nb.python("editor.value['people'][0]['pose_keypoints_2d']"), (18, 3))
    middle = (smaller[:, 0].max() + smaller[:, 0].min()) / 2
    assert turned[WRIST, 0] == pytest.approx(2 * middle - smaller[7, 0], abs=1e-4), "left is right and right is left"
    assert_drawn(nb)


def test_named_poses_stay_named_until_a_hand_is_laid_on_them(notebook: OpenOne) -> None:
    nb = notebook([EDITOR])
    nb.page.get_by_role("radio", name="sitting").click()
    nb.wait("editor.value == {'preset': ['sitting']}")
    nb.page.keyboard.press("ArrowRight")
    nb.wait("editor.value == {'preset': ['jumping']}")
    expect(nb.page.get_by_role("radio", name="jumping")).to_be_checked()
    button(nb, "Mirror the figure").click()
    nb.wait("editor.value == {'preset': ['jumping'], 'mirror': True}")
    button(nb, "Add a person").click()
    nb.wait("editor.value == {'preset': ['jumping', 'standing'], 'mirror': True}")
    expect(nb.page.locator(".zk-pose-chip")).to_have_count(2)
    nb.page.get_by_role("radio", name="cheering").click()
    nb.wait("editor.value['preset'] == ['jumping', 'cheering']")
    nb.page.get_by_label("Body").select_option("small")
    nb.wait("editor.value.get('body') == 'small'")
    nb.page.get_by_label("Height").fill("50")
    nb.wait("editor.value.get('size') == 0.5")
    assert_drawn(nb)
    nb.shot("pose-editor-two", nb.page.locator(".zk-pose"))
    button(nb, "Remove this person").click()
    nb.wait("editor.value == {'preset': ['jumping'], 'mirror': True, 'body': 'small', 'size': 0.5}")
    drag(nb, WRIST, (0.1, 0.1))
    nb.wait("set(editor.value) == {'people', 'canvas'}")
    nb.page.get_by_role("radio", name="waving").click()
    nb.wait("len(editor.value['people']) == 1")
    button(nb, "Add a person").click()
    nb.wait("len(editor.value['people']) == 2")
    assert nb.python("editor.stage().people[1].body[:, 2].min()") == 1


def test_openpose_json_comes_in_by_file_or_drop_and_goes_out_again(notebook: OpenOne) -> None:
    figures, text = two_people()
    nb = notebook([EDITOR])
    nb.python("setattr(editor, 'size', (768, 1024))")
    json_file(nb, "people.json", text)
    nb.wait("len(editor.value.get('people', ())) == 2")
    expect(nb.page.locator(".zk-pose-status")).to_have_text("People read from the file: 2")
    assert_drawn(nb)
    nb.shot("pose-editor-hands", nb.page.locator(".zk-pose"))
    with nb.page.expect_download() as download:
        button(nb, "Export JSON").click()
    written = Path(download.value.path()).read_text("utf-8")
    assert download.value.suggested_filename == "pose.json"
    assert written == nb.python("editor.stage().openpose_json(*editor.size)")
    again, _ = pose.openpose.read(json.loads(written))
    assert [one["pose_keypoints_2d"] for one in again] == [
        pytest.approx(figure.pose_keypoints_2d, abs=1e-4) for figure in figures
    ]
    with nb.page.expect_download() as download:
        button(nb, "Save skeleton").click()
    with Image.open(download.value.path()) as saved:
        assert saved.tobytes() == Pose(**nb.python("editor.value")).skeleton(768, 1024).tobytes()

    kept = nb.python("editor.value")
    json_file(nb, "broken.json", '{"people": [{"pose_keypoints_2d": [1, 2]}]}')
    alert = nb.page.locator(".zk-pose").get_by_role("alert")
    expect(alert).to_contain_text("Not imported: ")
    expect(alert).to_contain_text("18 points")
    assert nb.python("editor.value") == kept
    nb.page.locator(".zk-pose").evaluate(
        """(root, text) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], "one.json", { type: "application/json" }));
            for (const kind of ["dragenter", "drop"])
                root.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
        }""",
        json.dumps({"people": [Pose(preset="star").figures(512, 512)[0].model_dump()]}),
    )
    nb.wait("len(editor.value['people']) == 1")
    expect(alert).to_be_hidden()


def test_a_busy_kernel_holds_up_no_drag(notebook: OpenOne, tmp_path: Path) -> None:
    nb = notebook([EDITOR])
    free = tmp_path / "free"
    nb.run_cell(f"import pathlib, time\nwhile not pathlib.Path({str(free)!r}).exists(): time.sleep(0.01)")
    expect(nb.page.locator(".jp-InputPrompt").last).to_have_text("[*]:")
    area = picture(nb)
    for x in (0.2, 0.3, 0.25):
        drag(nb, WRIST, (x, 0.3), at_once=True)
        assert centre(nb, WRIST) == pytest.approx(
            (area["x"] + x * area["width"], area["y"] + 0.3 * area["height"]), abs=2
        )
    nb.page.locator(".zk-pose").get_by_role("button", name="Export JSON").click()
    expect(nb.page.locator(".zk-pose-status")).to_contain_text("Waiting")
    with nb.page.expect_download() as download:
        free.touch()
    assert '"people"' in Path(download.value.path()).read_text()
    last = POINTS.format(person=0, point=WRIST)
    nb.wait(f"abs({last}[0] - 0.25) < 0.01")  # the value of the last drag follows the one that was under way
    assert place(nb, WRIST)[:2] == pytest.approx((0.25, 0.3), abs=0.01)
    assert centre(nb, WRIST)[0] == pytest.approx(area["x"] + 0.25 * area["width"], abs=2), "late answers move nothing"
    for _ in range(3):
        nb.page.keyboard.press("Control+z")
    nb.wait("editor.value == {'preset': ['waving']}")


def test_the_panel_sets_value_size_backdrop_and_language(notebook: OpenOne) -> None:
    nb = notebook([NARROW], "dark", width=700)
    expect(nb.page.get_by_role("radio", name="Picture", exact=True)).to_be_disabled()
    nb.python("setattr(editor, 'size', (1216, 832))")
    nb.page.wait_for_function("document.querySelector('.zk-pose-svg > rect').getAttribute('width') === '1216'")
    nb.python("setattr(editor, 'value', {'preset': ['dancing', 'sitting'], 'people': [], 'canvas': None, 'size': 0.6})")
    expect(nb.page.locator(".zk-pose-chip")).to_have_count(2)
    assert_drawn(nb)
    nb.python("setattr(editor, 'language', 'zh')")
    expect(handle(nb, WRIST, 1)).to_have_accessible_name("人物 2 的右腕")
    expect(nb.page.get_by_role("radio", name="挥手")).to_be_visible()
    nb.python(
        "setattr(editor, 'backdrop', (lambda out: (__import__('PIL.Image').Image.new('RGB', (1216, 832), (0, 90, 0))"
        ".save(out, 'PNG'), out.getvalue())[1])(__import__('io').BytesIO()))"
    )
    nb.page.get_by_role("radio", name="图片").check()
    nb.page.get_by_label("图片亮度").fill("100")
    corner: Callable[[], tuple[int, ...]] = lambda: tuple(seen(nb)[0].getpixel((4, 4)))  # type: ignore[arg-type]  # noqa: E731
    assert corner() == pytest.approx((0, 90, 0), abs=3)
    nb.page.get_by_label("图片亮度").fill("40")
    assert corner() == pytest.approx((0, 36, 0), abs=3)
    nb.shot("pose-editor-narrow", nb.page.locator(".zk-pose"))
    assert nb.axe(".zk-pose") == []
    width = nb.page.locator(".zk-pose").evaluate("node => [node.scrollWidth, node.clientWidth]")
    assert width[0] <= width[1] <= 320, "nothing sticks out of a narrow panel"
    nb.page.get_by_role("radio", name="骨架").check()
    assert corner() == (0, 0, 0)
    nb.python("setattr(editor, 'value', {'preset': ['levitating']})")
    expect(nb.page.locator(".zk-pose").get_by_role("alert")).to_contain_text("levitating")


def test_a_loaded_picture_is_taken_away_again(notebook: OpenOne, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (0, 90, 0)).save(tmp_path / "photo.png")
    nb = notebook([EDITOR])
    expect(button(nb, "Remove the picture")).to_be_hidden()
    nb.page.locator('.zk-pose input[accept="image/*"]').set_input_files([tmp_path / "photo.png"])
    expect(nb.page.get_by_role("radio", name="Picture", exact=True)).to_be_checked()
    button(nb, "Remove the picture").click()
    expect(nb.page.get_by_role("radio", name="Picture", exact=True)).to_be_disabled()
    assert seen(nb)[0].getpixel((4, 4)) == (0, 0, 0)
    expect(button(nb, "Load a picture…")).to_be_focused()


def test_a_finger_drags_too(notebook: OpenOne) -> None:
    nb = notebook([EDITOR])
    area = picture(nb)
    touch = nb.page.context.new_cdp_session(nb.page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    x, y = centre(nb, WRIST)
    x, y = x + 9, y + 9  # beside the point, as fingers are
    to = (area["x"] + 0.3 * area["width"], area["y"] + 0.3 * area["height"])
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for share in (0.2, 0.5, 0.8, 1.0):
        between = {"x": x + share * (to[0] - x), "y": y + share * (to[1] - y)}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [between]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    nb.wait("'people' in editor.value")
    off = (9 / area["width"], 9 / area["height"])
    assert place(nb, WRIST)[:2] == pytest.approx((0.3 - off[0], 0.3 - off[1]), abs=0.01)
