"""The studio in JupyterLab, as its users meet it: seen in the page, and held against what Python has."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from lab import Lab
from opened import OpenNotebook, OpenOne
from PIL import Image
from playwright.sync_api import Browser, Locator, expect
from safetensors.numpy import save_file

import zimage_kit as zk
from zimage_kit import nano
from zimage_kit.models.tokens import count_tokens

CELLS = ["import zimage_kit as zk; session = zk.connect()", "studio = session.studio(); studio"]
BALLOON = "a red hot-air balloon over the sea"
PIXELS = """async (image) => {
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
}"""
DROP = """async ([name, encoded, padding]) => {
    const bytes = Uint8Array.from(atob(encoded), letter => letter.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes, new Uint8Array(padding ?? 0)], name, {type: "image/png"}));
    const panel = document.querySelector(".zk-studio");
    for (const kind of ["dragover", "drop"])
        panel.querySelector(".zk-figure").dispatchEvent(
            new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true}));
}"""
BROKEN = """() => [...document.querySelectorAll(".zk-studio img")].filter(image =>
    image.checkVisibility() && !(image.complete && image.naturalWidth)).map(image => image.outerHTML)"""


DRAG_OUT = """() => {
    const thumb = document.querySelectorAll(".zk-thumb")[1], root = document.querySelector(".zk-studio");
    const carried = new DataTransfer();
    const drag = kind => new DragEvent(kind, {dataTransfer: carried, bubbles: true, cancelable: true});
    thumb.dispatchEvent(drag("dragstart"));
    const download = carried.getData("DownloadURL");
    carried.items.add(new File(["x"], "picture.png", {type: "image/png"})); // as the browser does for a picture
    for (const kind of ["dragover", "drop"]) root.dispatchEvent(drag(kind));
    return {download, drop: root.dataset.drop ?? null};
}"""


class Panel:
    """The studio in one notebook: where its parts are, and how to wait for what they do."""

    def __init__(self, notebook: OpenNotebook) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.root = self.page.locator(".zk-studio")
        self.prompt = self.root.locator(".zk-prompt textarea")
        self.picture = self.root.locator(".zk-picture")
        self.thumbs = self.root.locator(".zk-thumb")
        self.progress = self.root.locator(".zk-progress")
        self.error = self.root.get_by_role("alert")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def field(self, label: str) -> Locator:
        return self.root.get_by_label(label, exact=True)

    def python(self, expression: str) -> Any:
        return self.notebook.python(expression)

    def fill(self, **fields: Any) -> None:
        """What a recipe says, without having to type it."""
        fields = {"prompt": BALLOON, "model": "nano", "seed": 7, "steps": 4, **fields}
        self.python(f"setattr(studio, 'request', zk.Request(**{fields!r}))")

    def generate(self, count: int = 1) -> None:
        """Press the button and wait for the pictures."""
        before = self.python("len(studio.artifacts)")
        self.button("Generate").click()
        self.made(before + count)

    def made(self, count: int) -> None:
        self.notebook.wait(f"len(studio.artifacts) >= {count} or studio.problem.error", 60)
        assert self.python("repr(studio.problem.error)") == "None"
        expect(self.thumbs).to_have_count(count)
        expect(self.root.locator(".zk-making")).to_have_count(0)

    def pixels(self) -> Image.Image:
        """The picture that the page shows."""
        encoded = self.picture.evaluate(PIXELS)
        return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")

    def shows(self, artifact: str) -> None:
        """Until the page shows the picture of an artifact: JPEG of quality 90 against the picture itself."""
        wanted, deadline = self.image(artifact), time.monotonic() + 30
        while (shown := self.pixels()).size != wanted.size or difference(shown, wanted) >= 3:
            assert time.monotonic() < deadline, f"the page does not show {artifact}"
            self.page.wait_for_timeout(20)

    def image(self, artifact: str) -> Image.Image:
        """The picture of an artifact in the kernel."""
        encoded = self.python(f"__import__('base64').b64encode({artifact}.png_bytes()).decode()")
        return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")

    @contextmanager
    def busy(self, tmp_path: Path) -> Iterator[None]:
        """While a cell runs."""
        done = tmp_path / "done"
        wait = f"import os, time\nprint('busy')\nwhile not os.path.exists({str(done)!r}): time.sleep(0.02)"
        expect(self.notebook.output(self.notebook.run_cell(wait))).to_contain_text("busy")
        try:
            yield
        finally:
            done.touch()

    def clear(self) -> None:
        """As it was when it was opened, also where a test was stopped or skipped before its end."""
        lightbox = self.root.locator(".zk-lightbox[open]")
        for _ in range(3):  # its details, an enlarged picture, itself
            if lightbox.count():
                self.page.keyboard.press("Escape")
        expect(lightbox).to_have_count(0)
        self.python("setattr(studio, 'language', 'en')")
        self.python("[studio.forget(result) for result in list(studio.results)]")
        self.python("(studio.form.stages.set(()), studio.panes['tray'].set([]), studio.problem.clear()) and None")
        self.python("(studio.panes['tray'].show(False), studio.panes['compare'].show(False)) and None")
        expect(self.thumbs).to_have_count(0)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, of 255."""
    assert one.size == other.size
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


@pytest.fixture(scope="module")
def opened(browser: Browser, lab: Lab) -> Iterator[Panel]:
    notebook = OpenNotebook(browser, lab, lab.write(CELLS, None), "light", 1280, 1000)
    assert notebook.run_all(), notebook.text()
    panel = Panel(notebook)
    expect(panel.button("Generate")).to_be_visible()
    yield panel
    notebook.close()


@pytest.fixture
def panel(opened: Panel) -> Iterator[Panel]:
    """The one panel of this module, emptied. An error of its scripts fails the test."""
    opened.clear()
    opened.page.set_viewport_size({"width": 1280, "height": 1000})
    yield opened
    errors = list(opened.notebook.errors)
    opened.notebook.errors.clear()
    assert not errors, "\n".join(errors)


def test_before_the_first_picture_nothing_looks_broken(panel: Panel) -> None:
    expect(panel.root.locator(".zk-viewer .zk-empty")).to_be_visible()
    assert panel.page.evaluate(BROKEN) == []
    expect(panel.picture).to_be_hidden()
    expect(panel.button("Download")).to_be_disabled()
    expect(panel.button("Cancel")).to_be_disabled()


def test_a_prompt_typed_becomes_the_picture_that_python_has(panel: Panel) -> None:
    panel.fill(prompt="x", seed=7, steps=8)
    panel.prompt.fill(BALLOON)
    tokens = count_tokens(BALLOON, nano.DIRECTORY)
    expect(panel.root.locator(".zk-tokens")).to_contain_text(f"{tokens} of 128 tokens")
    panel.generate()
    shown, made = panel.pixels(), panel.image("studio.artifact")
    assert difference(shown, made) < 3, "JPEG of quality 90 against the picture itself"
    same = panel.image(f"session.run({BALLOON!r}, model='nano', seed=7, steps=8, width=256, height=256)")
    assert made.tobytes() == same.tobytes()
    assert panel.page.evaluate(BROKEN) == []
    path = Path(panel.notebook.wait("studio.artifact.path and str(studio.artifact.path)"))
    assert zk.open(path).request.prompt == BALLOON
    expect(panel.root.locator(".zk-caption")).to_contain_text(path.name)


def test_results_gather_in_a_strip(panel: Panel) -> None:
    for prompt, seed in (("a red lantern, neon", 3), ("two mushrooms at sunset", 4), (BALLOON, 7)):
        panel.fill(prompt=prompt, seed=seed, steps=8)
        panel.generate()
    labels = [thumb.get_attribute("alt") for thumb in panel.thumbs.locator("img").all()]
    assert [label.partition(": ")[2] for label in labels if label] == [
        "a red lantern, neon, 3", "two mushrooms at sunset, 4", f"{BALLOON}, 7",
    ]  # fmt: skip
    expect(panel.thumbs.last).to_have_attribute("aria-current", "true")
    panel.thumbs.last.press("ArrowLeft")
    panel.page.keyboard.press("Enter")
    expect(panel.thumbs.nth(1)).to_have_attribute("aria-current", "true")
    expect(panel.picture).to_have_attribute("alt", "Picture of: two mushrooms at sunset")
    panel.notebook.shot("studio_light")


def test_a_template_shows_what_it_becomes_and_a_click_takes_it(panel: Panel) -> None:
    template = "a {red|blue|white|yellow} {boat|lantern|balloon} {at sunset|over the sea|}"
    panel.fill(prompt="x", seed=3)
    panel.prompt.fill(template)
    expect(panel.root.locator(".zk-cost", has_text="36 combinations")).to_be_visible()
    panel.root.get_by_role("button", name="Some of its prompts").click()
    choices = panel.root.locator(".zk-choices button")
    expect(choices).to_have_count(10)
    panel.generate()
    drawn = panel.python("studio.artifact.request.prompt")
    expect(panel.root.locator(".zk-caption")).to_contain_text(f"{drawn} ← {template}")
    panel.notebook.shot("studio_template")
    before = choices.all_inner_texts()
    panel.button("Ten others").click()
    panel.page.wait_for_function(
        "was => document.querySelector('.zk-choices button').textContent !== was", arg=before[0]
    )
    wanted = choices.nth(2).inner_text()
    choices.nth(2).click()
    expect(panel.prompt).to_have_value(wanted)
    panel.button("Back to the template").click()
    expect(panel.prompt).to_have_value(template)
    panel.prompt.fill("something else")
    panel.field("How the recipe is used").select_option("as a template")
    panel.button("Use this recipe").click()
    expect(panel.prompt).to_have_value(template)
    panel.field("How the recipe is used").select_option("with its seed")
    panel.button("Use this recipe").click()
    expect(panel.prompt).to_have_value(drawn)
    panel.prompt.fill(template)
    assert panel.notebook.axe(".zk-top") == []


def test_a_saved_notebook_shows_the_picture_without_a_kernel(panel: Panel) -> None:
    panel.fill(seed=21)
    shown = panel.notebook.output(1).locator(".jp-RenderedImage img")
    before = shown.last.get_attribute("src") if shown.count() else ""
    panel.generate()
    expect(shown.last).not_to_have_attribute("src", before or "")
    panel.page.evaluate("async () => await jupyterapp.commands.execute('docmanager:save')")
    saved = nbformat.read(panel.notebook.path, as_version=4)
    nbformat.validate(saved)
    outputs = [output["data"] for output in saved.cells[1].outputs if "image/jpeg" in output.get("data", {})]
    kept = Image.open(io.BytesIO(base64.b64decode(outputs[-1]["image/jpeg"]))).convert("RGB")
    assert difference(kept, panel.image("studio.artifact")) < 3


def test_preview_and_progress_are_seen_while_it_is_made(panel: Panel) -> None:
    panel.fill(steps=32)
    panel.button("Generate").click()
    making = panel.root.locator(".zk-making")
    expect(making).to_be_visible(timeout=30_000)
    expect(panel.progress).to_contain_text("of 32")
    expect(panel.progress).to_contain_text("left")
    first = panel.progress.locator("progress").evaluate("bar => bar.value")
    panel.notebook.shot("studio_preview", panel.root)
    panel.page.wait_for_function("first => document.querySelector('.zk-progress progress').value > first", arg=first)
    sizes = panel.python("len(studio.viewer.preview)")
    assert 500 < sizes <= 40_000
    expect(panel.button("Cancel")).to_be_enabled()
    panel.made(1)
    expect(panel.progress).to_contain_text("done")


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_cancel_stops_it_between_two_steps(panel: Panel, how: str) -> None:
    panel.fill(steps=200)
    panel.button("Generate").click()
    expect(panel.progress).to_contain_text("of 200", timeout=30_000)
    if how == "Escape":
        panel.prompt.press("Escape")
    else:
        panel.button("Cancel").click()
    expect(panel.progress).to_contain_text("cancelled")
    panel.notebook.wait("not session.status().jobs")
    expect(panel.error).to_have_count(0)
    expect(panel.thumbs).to_have_count(0)
    expect(panel.button("Cancel")).to_be_disabled()


def test_an_error_says_what_to_do_and_folds_its_traceback(panel: Panel) -> None:
    panel.fill()
    panel.prompt.fill("")
    panel.button("Generate").click()
    expect(panel.error).to_contain_text("the prompt is empty")
    expect(panel.error).to_contain_text("Say what to draw.")
    traceback = panel.root.locator(".zk-error pre")
    expect(traceback).to_be_hidden()
    panel.root.locator(".zk-error summary").click()
    expect(traceback).to_contain_text("BadRequest")
    panel.notebook.shot("studio_error", panel.root)
    assert panel.notebook.axe(".zk-error") == []
    panel.button("Dismiss").click()
    expect(panel.error).to_have_count(0)


def test_a_dropped_picture_fills_the_form_with_its_recipe(panel: Panel, tmp_path: Path) -> None:
    made = "session.run('a yellow boat under a starry sky', model='nano', seed=99, steps=5, width=224, height=288)"
    encoded = panel.python(f"__import__('base64').b64encode({made}.png_bytes()).decode()")
    panel.page.evaluate(DROP, ["boat.png", encoded])
    expect(panel.prompt).to_have_value("a yellow boat under a starry sky")
    expect(panel.field("Width")).to_have_value("224")
    expect(panel.field("Steps")).to_have_value("5")
    expect(panel.field("Seed")).to_have_value("99")
    expect(panel.root.get_by_label("Size", exact=True).locator("option:checked")).to_contain_text("3:4")
    expect(panel.thumbs).to_have_count(1)
    panel.prompt.press("Control+Enter")
    expect(panel.progress).to_contain_text("again: the same recipe gives the same picture")
    expect(panel.thumbs).to_have_count(1)
    plain = io.BytesIO()
    Image.new("RGB", (64, 64)).save(plain, "PNG")
    panel.page.evaluate(DROP, ["plain.png", base64.b64encode(plain.getvalue()).decode()])
    expect(panel.thumbs).to_have_count(2)
    expect(panel.error).to_have_count(0)
    expect(panel.prompt).to_have_value("a yellow boat under a starry sky")


def test_stages_are_added_moved_switched_off_and_brought_back(panel: Panel) -> None:
    panel.fill()
    for title in ("Upscale", "Text"):
        panel.field("Add a stage").select_option(label=title)
        expect(panel.root.locator(".zk-stage").last.get_by_label(title, exact=True).first).to_be_checked()
    panel.root.locator(".zk-stage").last.locator("textarea").fill("Boat")
    kinds = "[stage.kind for stage in studio.request.stages]"
    assert panel.python(kinds) == ["upscale", "text_overlay"]
    panel.button("Move Text up").click()
    panel.notebook.wait(f"{kinds} == ['text_overlay', 'upscale']")
    panel.button("Move Text down").click()
    panel.notebook.wait(f"{kinds} == ['upscale', 'text_overlay']")
    panel.generate()
    panel.notebook.shot("studio_stages")
    assert panel.python("[stage.kind for stage in studio.artifact.request.stages]") == ["upscale", "text_overlay"]
    assert panel.image("studio.artifact").size == (512, 512)
    panel.root.locator(".zk-stage").first.get_by_label("Upscale", exact=True).first.uncheck()
    panel.notebook.wait(f"{kinds} == ['text_overlay']")
    panel.button("Remove Text").click()
    panel.notebook.wait(f"{kinds} == []")
    panel.button("Restore Text").click()
    panel.notebook.wait(f"{kinds} == ['text_overlay'] and studio.request.stages[0].text == 'Boat'")


def test_a_field_that_cannot_be_says_so_beside_itself(panel: Panel) -> None:
    panel.fill()
    panel.field("Add a stage").select_option(label="Text")
    stage = panel.root.locator(".zk-stage")
    stage.get_by_label("Box", exact=True).fill("0.9 0 0.1 1")
    stage.get_by_label("Box", exact=True).press("Tab")
    expect(stage.get_by_role("alert")).to_contain_text("0 <= left < right <= 1")
    stage.get_by_label("Box", exact=True).fill("0.1 0 0.9 1")
    stage.get_by_label("Box", exact=True).press("Tab")
    expect(stage.get_by_role("alert")).to_have_count(0)


def test_a_dragged_pose_changes_the_picture(panel: Panel) -> None:
    panel.fill(prompt="a girl in a red dress on the grass", steps=8, stages=[{"kind": "pose", "preset": ["standing"]}])
    panel.generate()
    wrist = panel.root.get_by_role("button", name="left wrist, person 1")
    box = wrist.bounding_box()
    assert box is not None
    wrist.scroll_into_view_if_needed()
    box = wrist.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    panel.page.mouse.move(x, y)
    panel.page.mouse.down()
    panel.page.mouse.move(x + 30, y - 90, steps=4)
    panel.page.mouse.up()
    panel.notebook.wait("studio.request.stages[0].people")
    panel.generate()
    standing, moved = (panel.image(f"studio.artifacts[{number}]") for number in range(2))
    assert difference(standing, moved) > 1.5


def test_what_can_be_done_with_a_result(panel: Panel, tmp_path: Path) -> None:
    panel.fill(seed=5)
    panel.generate()
    recipe = panel.python("studio.artifact.request.to_json()")
    panel.button("Vary seed").click()
    panel.made(2)
    assert panel.python("studio.artifact.request.seed") != 5
    assert panel.python("studio.artifact.request.but(seed=5).to_json()") == recipe
    panel.button("Upscale this").click()
    panel.made(3)
    assert panel.image("studio.artifact").size == (512, 512)
    panel.thumbs.first.click()
    panel.notebook.wait(f"studio.artifact.request.to_json() == {recipe!r}")
    panel.shows("studio.artifacts[0]")
    panel.prompt.fill("something else")
    panel.button("Use this recipe").click()
    expect(panel.prompt).to_have_value(BALLOON)
    assert panel.python("studio.request.seed") == 5
    for how, locked in (
        ("without its seed", False),
        ("exactly", True),
        ("without its seed", False),
        ("with its seed", True),
    ):
        panel.field("How the recipe is used").select_option(how)
        panel.button("Use this recipe").click()
        panel.notebook.wait(f"studio.form.lock.value is {locked}")
    with panel.page.expect_download() as download:
        panel.button("Download").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.suffix == ".png" and zk.open(file).request.to_json() == recipe
    for chosen, ending in (("WebP", ".webp"), ("JPEG", ".jpg")):
        panel.field("Format of the download").select_option(chosen)
        with panel.page.expect_download() as download:
            panel.button("Download").click()
        smaller = tmp_path / download.value.suggested_filename
        download.value.save_as(smaller)
        assert smaller.suffix == ending and smaller.stem == file.stem
        with Image.open(smaller) as image:
            assert image.format == chosen.upper()
        assert zk.open(smaller).request.to_json() == recipe
    panel.python("setattr(studio, 'language', 'zh')")
    expect(panel.field("下载格式")).to_have_value("jpg")
    panel.python("setattr(studio, 'language', 'en')")
    panel.field("Format of the download").select_option("PNG")
    panel.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.button("Copy recipe").click()
    expect(panel.button("Copied")).to_be_visible()
    assert zk.Request(**json.loads(panel.page.evaluate("navigator.clipboard.readText()"))).to_json() == recipe
    panel.button("Remove").click()
    expect(panel.thumbs).to_have_count(2)


def test_a_loras_trigger_words_go_into_the_prompt(panel: Panel, tmp_path: Path) -> None:
    said = {"modelspec.trigger_phrase": "inkwash, <b>bold</b>", "modelspec.title": "Ink <i>wash</i>",
            "modelspec.description": "<script>alert(1)</script>Brush and ink &amp; water", "ss_network_dim": "16",
            "modelspec.author": '"><img src=x onerror=alert(1)>Li', "ss_base_model_version": "zimage"}  # fmt: skip
    lora = tmp_path / "ink.safetensors"
    save_file({"layers.0.attention.to_q.diff": np.zeros((1, 1), np.float32)}, lora, said)
    panel.fill(prompt="a boat")
    panel.button("Add a LoRA").click()
    panel.field("LoRA").fill(str(lora))
    for word in ("inkwash", "bold", "inkwash"):
        panel.button(word).click()
    expect(panel.prompt).to_have_value("a boat, inkwash, bold")
    panel.notebook.wait("studio.request.prompt == 'a boat, inkwash, bold'")
    about = panel.root.locator(".zk-lora-about")
    expect(about).to_contain_text('Ink wash · by "> Li · for zimage · rank 16')
    assert about.locator("img, script, b").count() == 0
    panel.notebook.shot("lora_words", panel.root.locator(".zk-rest"))
    panel.python("setattr(studio, 'language', 'zh')")
    expect(panel.root.locator(".zk-words")).to_contain_text("触发词")
    panel.notebook.shot("lora_words_zh", panel.root)
    panel.python("setattr(studio, 'language', 'en')")


def test_two_results_are_compared_and_put_side_by_side(panel: Panel) -> None:
    panel.fill(seed=5)
    panel.generate()
    panel.fill(seed=6)
    panel.generate()
    panel.button("Compare").click()
    slider = panel.root.get_by_role("slider")
    expect(slider).to_be_visible()
    panel.notebook.wait("studio.panes['compare'].slider.before and studio.panes['compare'].slider.after")
    assert panel.python("studio.panes['compare'].slider.before != studio.panes['compare'].slider.after")
    slider.press("Home")
    panel.notebook.wait("studio.panes['compare'].slider.position == 0")
    panel.button("Upscale this").click()
    panel.made(3)
    panel.button("Compare").click()
    panel.notebook.wait("studio.panes['compare'].left.value == studio.panes['compare'].right.value + ':before'")
    for thumb in (0, 1):
        panel.thumbs.nth(thumb).click()
        panel.notebook.wait(f"studio.artifact is studio.artifacts[{thumb}]")
        panel.button("Send to grid").click()
        panel.notebook.wait(f"len(studio.sent) == {thumb + 1}")
    tray = panel.root.locator(".zk-tray figure")
    expect(tray).to_have_count(2)
    expect(tray.first).to_contain_text("seed 5")
    panel.notebook.shot("studio_compare", panel.root)


def test_zoom_opens_over_the_page_and_escape_closes_only_it(panel: Panel) -> None:
    panel.fill()
    panel.generate()
    panel.fill(steps=150, seed=8)
    panel.button("Generate").click()
    expect(panel.progress).to_contain_text("of 150", timeout=30_000)
    panel.thumbs.first.click()
    panel.button("Zoom").click()
    dialog = panel.root.locator(".zk-viewer .zk-lightbox")
    expect(dialog).to_be_visible()
    panel.page.keyboard.press("i")
    expect(dialog.get_by_role("complementary")).to_contain_text('"seed": 7')
    panel.page.keyboard.press("Escape")
    expect(dialog.get_by_role("complementary")).to_be_hidden()
    expect(dialog).to_be_visible()
    panel.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(panel.button("Zoom")).to_be_focused()
    assert panel.python("len(session.status().jobs)") == 1, "the picture in the making goes on"
    panel.button("Cancel").click()
    expect(panel.progress).to_contain_text("cancelled")


class Box:
    """The lightbox over the panel: where its picture lies."""

    def __init__(self, panel: Panel) -> None:
        self.page = panel.page
        self.dialog = panel.root.locator(".zk-viewer .zk-lightbox")
        self.stage, self.image = self.dialog.locator(".zk-lightbox-stage"), self.dialog.locator("img")
        expect(self.dialog).to_be_visible()

    @property
    def place(self) -> tuple[float, float, float]:
        """Left, top and width, in pixels of the page."""
        box = self.image.bounding_box()
        assert box is not None
        return box["x"], box["y"], box["width"]

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.cdp = getattr(self, "cdp", None) or self.page.context.new_cdp_session(self.page)
        self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})


def test_the_lightbox_shows_the_picture_before_its_last_stage(panel: Panel) -> None:
    panel.fill(seed=1, steps=1, stages=[{"kind": "upscale"}])
    panel.generate()
    panel.picture.click()
    box = Box(panel)
    width = "() => document.querySelector('.zk-viewer .zk-lightbox[open] img').naturalWidth"
    panel.page.wait_for_function(f"() => ({width})() === 512")
    button = box.dialog.get_by_role("button", name="Before (hold B)")
    button.click()
    panel.page.wait_for_function(f"() => ({width})() === 256")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    panel.page.wait_for_function(f"() => ({width})() === 512")
    panel.page.keyboard.down("b")
    panel.page.wait_for_function(f"() => ({width})() === 256")
    panel.page.keyboard.up("b")
    panel.page.wait_for_function(f"() => ({width})() === 512")
    panel.page.keyboard.press("Escape")
    expect(box.dialog).to_be_hidden()


def test_the_lightbox_zooms_pans_and_turns_by_mouse_keys_and_fingers(panel: Panel) -> None:
    for seed in (1, 2, 3):
        panel.fill(seed=seed, steps=1)
        panel.generate()
    panel.picture.click()
    box = Box(panel)
    mouse = panel.page.mouse
    expect(box.dialog).to_contain_text("3 of 3")
    expect(box.image).not_to_have_class("zk-lightbox-rough")
    left, top, width = box.place
    at = left + width / 4, top + width / 4
    mouse.move(*at)
    mouse.wheel(0, -400)
    panel.page.wait_for_function(
        "width => document.querySelector('.zk-lightbox[open] img').getBoundingClientRect().width > width", arg=width
    )
    left, top, width = box.place
    assert (at[0] - left) / width == pytest.approx(0.25, abs=0.01), "what is under the pointer stays there"
    assert (at[1] - top) / width == pytest.approx(0.25, abs=0.01)

    # a right click must not hold the picture, a left one does until it is let go
    mouse.click(640, 500, button="right")
    mouse.move(500, 400)
    assert box.place == (left, top, width)
    mouse.move(640, 500)
    mouse.down()
    mouse.move(600, 460, steps=3)
    assert box.place[:2] == pytest.approx((left - 40, top - 40), abs=1)
    mouse.up()
    mouse.move(300, 300)
    assert box.place[:2] == pytest.approx((left - 40, top - 40), abs=1)
    panel.notebook.shot("lightbox", box.dialog)

    box.dialog.press("f")
    mouse.dblclick(640, 500)
    assert box.place[2] == pytest.approx(256, abs=1), "1:1"
    expect(box.dialog.get_by_role("button", name="Actual pixels")).to_have_attribute("aria-pressed", "true")
    mouse.dblclick(640, 500)
    whole = box.place[2]
    assert whole > 512

    box.touch("touchStart", (600, 500), (680, 500))
    box.touch("touchMove", (560, 500), (720, 500))
    box.touch("touchEnd")
    assert box.place[2] == pytest.approx(2 * whole, rel=0.02)
    box.touch("touchStart", (600, 500))
    box.touch("touchMove", (500, 500))
    box.touch("touchEnd")
    expect(box.dialog).to_contain_text("3 of 3"), "an enlarged picture is moved"
    box.dialog.press("0")
    box.touch("touchStart", (500, 500))
    box.touch("touchMove", (600, 505))
    box.touch("touchEnd")
    expect(box.dialog).to_contain_text("2 of 3")
    panel.notebook.wait("studio.artifact is studio.artifacts[1]")
    box.dialog.press("ArrowLeft")
    box.dialog.press("ArrowLeft")
    expect(box.dialog).to_contain_text("1 of 3")
    previous = box.dialog.get_by_role("button", name="Previous picture")
    expect(previous).to_be_disabled()
    previous.focus()
    expect(previous).to_be_focused()
    panel.page.set_viewport_size({"width": 420, "height": 800})
    box.dialog.press("i")
    assert panel.notebook.axe(".zk-lightbox[open]") == []
    assert box.dialog.evaluate("box => box.scrollWidth <= 420")
    panel.notebook.shot("lightbox_420", box.dialog)
    for _ in range(2):
        panel.page.keyboard.press("Escape")
    expect(box.dialog).to_be_hidden()


def test_the_strip_is_one_tab_stop_and_a_picture_of_the_panel_is_no_foreign_file(panel: Panel) -> None:
    for seed in (1, 2, 3):
        panel.fill(seed=seed, steps=1)
        panel.generate()
    assert panel.root.locator(".zk-thumb[tabindex='0']").count() == 1
    panel.thumbs.nth(2).focus()
    panel.page.keyboard.press("Home")
    expect(panel.thumbs.first).to_be_focused()
    panel.page.keyboard.press("ArrowRight")
    expect(panel.thumbs.nth(1)).to_be_focused()
    assert panel.root.locator(".zk-thumb[tabindex='0']").count() == 1

    panel.thumbs.nth(1).hover()
    panel.page.wait_for_timeout(1500)  # the file is fetched while the pointer rests there
    carried = panel.page.evaluate(DRAG_OUT)
    kind, name, address = carried["download"].split(":", 2)
    assert (kind, Path(name).suffix) == ("image/png", ".png")
    content = panel.page.evaluate("async url => [...new Uint8Array(await (await fetch(url)).arrayBuffer())]", address)
    saved = Path(panel.notebook.lab.place) / "dragged.png"
    saved.write_bytes(bytes(content))
    assert zk.open(saved).request.seed == 2
    assert carried["drop"] is None, "its own picture over the panel"
    assert panel.python("len(studio.artifacts)") == 3


def test_several_pictures_and_the_seeds_buttons(panel: Panel) -> None:
    panel.fill(seed=100, steps=2)
    panel.field("How many").fill("3")
    panel.field("How many").press("Enter")
    panel.generate(3)
    assert panel.python("[artifact.request.seed for artifact in studio.artifacts]") == [100, 101, 102]
    panel.field("How many").fill("1")
    expect(panel.button("Keep")).to_have_attribute("aria-pressed", "true")
    panel.button("Keep").click()
    expect(panel.button("Keep")).to_have_attribute("aria-pressed", "false")
    panel.generate()
    assert panel.python("studio.artifact.request.seed") not in (100, 101, 102)
    panel.button("Dice").click()
    panel.button("Last seed").click()
    panel.notebook.wait("studio.form.seed.value == studio.artifact.request.seed and studio.form.lock.value")


def test_a_cell_runs_while_a_picture_is_being_made(panel: Panel) -> None:
    panel.fill(steps=120)
    panel.button("Generate").click()
    expect(panel.progress).to_contain_text("of 120", timeout=30_000)
    cell = panel.notebook.run_cell("print('the kernel', 'is free')", wait=True)
    expect(panel.notebook.output(cell)).to_contain_text("the kernel is free")
    assert panel.python("len(session.status().jobs)") == 1
    panel.button("Cancel").click()
    expect(panel.progress).to_contain_text("cancelled")


def test_what_was_typed_and_chosen_while_a_cell_ran_counts_and_it_is_said_that_it_waits(
    panel: Panel, tmp_path: Path
) -> None:
    panel.fill(steps=2, stages=[{"kind": "text_overlay", "text": "Sea"}])
    with panel.busy(tmp_path):
        panel.prompt.fill("")
        panel.prompt.press_sequentially("a yellow boat under a starry sky", delay=10)
        panel.field("Steps").first.fill("3")
        for place in ("top left", "left", "top right"):
            panel.field("Place").select_option(label=place)
        for ratio in (3, 5):
            panel.field("Size").first.select_option(index=ratio)
        panel.prompt.press("Control+Enter")
        expect(panel.root.locator(".zk-queue")).to_have_text("busy; this follows")
        expect(panel.button("Cancel")).to_be_enabled()
    panel.made(1)
    assert panel.python("studio.artifact.request.prompt") == "a yellow boat under a starry sky"
    assert panel.python("studio.artifact.request.steps") == 3
    assert panel.python("studio.artifact.request.stages[0].place") == "top-right"
    assert panel.python("(studio.artifact.request.width, studio.artifact.request.height)") == [192, 320]
    panel.notebook.wait("studio.form.ratio.value == (192, 320) and studio.request.stages[0].place == 'top-right'")
    expect(panel.field("Width")).to_have_value("192")
    expect(panel.root.locator(".zk-queue")).to_have_text("")
    run = panel.page.locator(".jp-Cell").nth(1).locator(".jp-InputPrompt")
    expect(run).to_have_text("[2]:")  # Ctrl+Enter did not run the cell again


def test_escape_is_heard_while_a_click_waits_for_a_cell(panel: Panel, tmp_path: Path) -> None:
    panel.fill(steps=200)
    with panel.busy(tmp_path):
        panel.prompt.press("Control+Enter")
        panel.prompt.press("Escape")
    expect(panel.progress).to_contain_text("cancelled")
    panel.notebook.wait("not session.status().jobs and not studio.artifacts")


def test_what_was_asked_for_first_is_done_first(panel: Panel) -> None:
    panel.fill(seed=5)
    panel.generate()
    panel.prompt.fill("a yellow boat under a starry sky")
    panel.button("Use this recipe").click()
    panel.prompt.press("Control+Enter")
    expect(panel.progress).to_contain_text("again")
    assert panel.python("len(studio.artifacts)") == 1, "it was the recipe that was drawn again, not the boat"
    expect(panel.prompt).to_have_value(BALLOON)


def test_who_looks_at_an_earlier_picture_is_left_there(panel: Panel) -> None:
    panel.fill(seed=1)
    panel.generate()
    panel.fill(seed=2, steps=16)
    panel.button("Generate").click()
    expect(panel.progress).to_contain_text("of 16", timeout=30_000)
    panel.thumbs.first.click()
    expect(panel.button("Remove")).to_be_enabled()
    panel.notebook.wait("len(studio.artifacts) == 2")
    expect(panel.thumbs).to_have_count(2)
    assert panel.python("studio.artifact is studio.artifacts[0]")
    expect(panel.thumbs.first).to_have_attribute("aria-current", "true")


def test_the_focus_is_seen_and_is_not_lost(panel: Panel) -> None:
    panel.fill(stages=[{"kind": "upscale"}, {"kind": "refine"}, {"kind": "text_overlay", "text": "Sea"}])
    outline = "field => getComputedStyle(field).outlineStyle"
    for field in (panel.prompt, panel.field("Steps").first, panel.field("Model").first):
        field.focus()
        assert field.evaluate(outline) == "solid"
    focused = "() => document.activeElement.title"
    panel.button("Move Text up").press("Enter")
    panel.notebook.wait("[stage.kind for stage in studio.request.stages][1] == 'text_overlay'")
    expect(panel.root.locator(".zk-stage").nth(1).get_by_role("button", name="Move Text up")).to_be_focused()
    panel.button("Remove Text").press("Enter")
    panel.page.wait_for_function("() => document.activeElement.textContent === 'Restore Text'")
    panel.page.keyboard.press("Enter")
    panel.notebook.wait("len(studio.request.stages) == 3")
    assert panel.page.evaluate(focused) is not None
    panel.root.get_by_label("Language").focus()
    panel.root.get_by_label("Language").select_option("zh")
    expect(panel.button("生成")).to_be_visible()
    panel.page.wait_for_function("() => document.activeElement.classList.contains('zk-language')")
    panel.root.get_by_label("语言").select_option("en")
    expect(panel.button("Generate")).to_be_visible()


def test_a_large_file_arrives_in_pieces(panel: Panel) -> None:
    made = "session.run('a yellow boat under a starry sky', model='nano', seed=99, steps=2, width=64, height=64)"
    encoded = panel.python(f"__import__('base64').b64encode({made}.png_bytes()).decode()")
    panel.page.evaluate(DROP, ["large.png", encoded, 12_000_000])  # what follows a PNG's end is ignored
    expect(panel.prompt).to_have_value("a yellow boat under a starry sky")
    expect(panel.thumbs).to_have_count(1)


def test_a_page_loaded_again_shows_what_was_there(panel: Panel) -> None:
    panel.fill(seed=3)
    panel.generate()
    panel.fill(seed=4, steps=150)
    panel.page.evaluate("async () => await jupyterapp.commands.execute('docmanager:save')")
    panel.button("Generate").click()
    expect(panel.progress).to_contain_text("of 150", timeout=30_000)
    panel.page.reload()
    expect(panel.thumbs).to_have_count(1)
    expect(panel.prompt).to_have_value(BALLOON)
    expect(panel.progress).to_contain_text("of 150")
    panel.button("Cancel").click()
    expect(panel.progress).to_contain_text("cancelled")
    cell = panel.notebook.run_cell("studio", wait=True)
    again = panel.notebook.output(cell)
    expect(again.locator(".zk-thumb")).to_have_count(1)
    expect(again.locator(".jp-RenderedImage img")).to_be_visible()
    panel.page.evaluate("() => jupyterapp.commands.execute('notebook:delete-cell')")
    expect(panel.root).to_have_count(1)


def test_it_is_accessible_and_legible_at_700_pixels(panel: Panel) -> None:
    panel.fill(stages=[{"kind": "pose"}, {"kind": "text_overlay", "text": "Sea"}])
    panel.generate()
    panel.button("Compare").click()
    assert panel.notebook.axe(".zk-studio") == []
    panel.page.set_viewport_size({"width": 700, "height": 1000})
    overflow = "() => { const p = document.querySelector('.zk-studio'); return p.scrollWidth - p.clientWidth; }"
    panel.page.wait_for_function("() => document.querySelector('.zk-studio').clientWidth < 700")
    assert panel.page.evaluate(overflow) <= 1
    side, rest = (panel.root.locator(name).bounding_box() for name in (".zk-side", ".zk-rest"))
    assert side is not None and rest is not None and side["y"] < rest["y"], "the picture before the settings"
    assert panel.notebook.axe(".zk-studio") == []
    panel.notebook.shot("studio_700")


def test_the_kernel_restarts_and_the_model_is_loaded_no_second_time(panel: Panel) -> None:
    panel.fill()
    panel.generate()
    loads = panel.python("session.status().model_loads")
    assert panel.notebook.restart(), panel.notebook.text()
    expect(panel.button("Generate")).to_be_visible()
    expect(panel.prompt).to_have_value(BALLOON)
    expect(panel.thumbs).to_have_count(1)
    panel.fill(seed=8)
    panel.generate()
    assert panel.python("session.status().model_loads") == loads == 1


def test_different_ones_are_looked_for_and_come_in_fours(panel: Panel) -> None:
    panel.fill(width=64, height=64, steps=3)
    panel.button("Different ones").click()
    panel.made(4)
    panel.button("Different ones").click()
    panel.made(8)
    seeds = panel.python("[each.request.seed for each in studio.artifacts]")
    assert len(set(seeds)) == 8
    assert set(seeds) <= set(range(7, 31))
    panel.notebook.shot("studio_different_ones")


def test_a_panel_whose_kernel_has_ended_says_so(panel: Panel) -> None:
    panel.fill()
    panel.notebook.end_kernel()
    panel.button("Generate").click()
    expect(panel.root).to_contain_text("The kernel has ended; run the cell again.")
    assert panel.notebook.run_all(), panel.notebook.text()
    expect(panel.button("Generate")).to_be_visible()
    expect(panel.root).not_to_contain_text("The kernel has ended")


def test_dark_theme_and_chinese_and_two_notebooks_on_one_session(panel: Panel, notebook: OpenOne) -> None:
    panel.fill(steps=40)
    other = Panel(notebook(CELLS, theme="dark", height=1000, env={"ZIMAGE_LANG": "zh"}))
    expect(other.button("生成")).to_be_visible()
    ground = other.root.evaluate("panel => getComputedStyle(panel).backgroundColor")
    assert max(int(part) for part in ground.strip("rgba()").split(",")[:3]) < 60, f"{ground} is no dark background"
    other.prompt.fill("海上的红色热气球，旁边有一只恐龙")
    expect(other.root.locator(".zk-tokens")).to_contain_text("nano 不认识：恐龙")
    panel.button("Generate").click()
    expect(panel.progress).to_contain_text("of 40", timeout=30_000)
    other.button("生成").click()
    other.made(1)
    panel.made(1)
    assert panel.python("session.status().model_loads") == other.python("session.status().model_loads") == 1
    assert panel.python("session.status().clients") == 2
    assert other.notebook.axe(".zk-studio") == []
    other.notebook.shot("studio_dark_chinese")
    other.root.get_by_label("语言").select_option("en")
    expect(other.button("Generate")).to_be_visible()
    expect(other.prompt).to_have_value("海上的红色热气球，旁边有一只恐龙")
    expect(other.thumbs).to_have_count(1)
