"""Grids in JupyterLab, as their users meet them: they fill, fail, are looked at, rated, compared and made again.

The layout of the board, its keys and what differs between cells are tested without a browser, in tests/js.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab import Lab
from opened import OpenNotebook, OpenOne
from PIL import Image
from playwright.sync_api import Browser, Locator, TimeoutError, expect

from zimage_kit import Grid

UNIT = Path(__file__).parents[1] / "grid"
CONNECT = "import zimage_kit as zk; session = zk.connect()"
FINISHED = f"import sys; sys.path.insert(0, {str(UNIT)!r}); from grids import finished"
VIEW = "from zimage_kit.studio.grid_view.view import GridView"
PROMPT = "a {colour} hot-air balloon over the sea"
STAGE = '''"""Fails for one mood, until the weather is better."""
from pathlib import Path
from zimage_kit import Stage, stage

@stage
class Moody(Stage):
    """Changes nothing."""
    kind = "moody"
    mood: str = "good"

    def after(self, image, ctx):
        """The same picture."""
        if self.mood == "bad" and Path(__file__).with_name("storm").exists():
            raise RuntimeError("the weather is too bad for a balloon")
        return image.copy()
'''
SEEN = """() => [...document.querySelectorAll(".zk-cell")].every(cell => {
    const image = cell.querySelector("img");
    return cell.dataset.state === "done" && image.complete && image.naturalWidth > 0;
}) && document.querySelectorAll(".zk-cell").length > 0"""


AROUND = """([left, top]) => [...document.querySelectorAll(".zk-cell")].some(cell => {
    const near = (place, scrolled) => Math.abs(parseInt(place) - scrolled - 200) < 200;
    return near(cell.style.left, left) && near(cell.parentNode.style.top, top);
})"""
OUT_OF_ORDER = """() => [...document.querySelectorAll(".zk-space, .zk-header, .zk-line")].flatMap(parent => {
    const of = (each, name) => each.getAttribute(`aria-${name}index`);
    const at = [...parent.children].map(each => Number(of(each, "row") ?? of(each, "col") ?? 0));
    return at.some((number, place) => number < at[place - 1]) ? [at] : [];
})"""


class GridPage:
    """The view of a grid in a notebook: where its parts are."""

    def __init__(self, notebook: OpenNotebook, name: str = "view") -> None:
        self.notebook, self.page, self._name = notebook, notebook.page, name
        self.root = self.page.locator(".zk-gridview")
        self.scroll = self.root.locator(".zk-scroll")
        self.told = self.root.locator(".zk-told")
        self.error = self.root.get_by_role("alert")
        self.card = self.root.locator(".zk-card")
        self.enlarged = self.root.locator(".zk-lightbox")

    def cell(self, index: int) -> Locator:
        return self.root.locator(f'.zk-cell[data-cell="{index}"]')

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def python(self, expression: str) -> Any:
        return self.notebook.python(expression)

    def header(self, role: str, number: int) -> Locator:
        return self.root.locator(f'.zk-head[data-{role}="{number}"]')

    def choose(self, role: str, number: int, field: str, value: str) -> None:
        """Use the menu of a row or a column."""
        self.header(role, number).locator(".zk-dots").click()
        menu = self.root.locator(".zk-menu")
        menu.locator("select").select_option(label=field)
        menu.locator("input").fill(value)
        menu.locator("input").press("Enter")
        expect(menu).to_be_hidden()

    def focus_comes(self, number: int, why: str = "") -> None:
        """Until the cell of this number has the focus."""
        try:
            self.page.wait_for_function(
                "number => Number(document.activeElement.closest('.zk-cell')?.dataset.cell ?? -1) === number",
                arg=number,
            )
        except TimeoutError:
            pytest.fail(f"cell {number} did not get the focus {why}")

    def all_seen(self) -> None:
        self.page.wait_for_function(SEEN)


# a grid that is being made


def test_a_grid_fills_while_the_kernel_waits_for_it(notebook: OpenOne) -> None:
    base = f"zk.Request(prompt={PROMPT!r}, model='nano', steps=8)"
    opened = notebook([CONNECT, f"grid = session.grid({base}, colour=['red', 'blue'], seed=range(3))\ngrid"])
    grid = GridPage(opened)
    preview = grid.root.locator('.zk-cell[data-state="running"] img:not([hidden])')
    expect(preview).to_be_visible(timeout=60_000)
    index = opened.run_cell("grid.wait(); print('waited')")
    expect(grid.root.locator('.zk-cell[data-state="running"]')).to_contain_text("of 8")
    opened.shot("grid_filling")
    grid.cell(0).hover()
    expect(grid.card).to_contain_text("a red hot-air balloon over the sea")
    expect(grid.cell(0)).to_have_attribute("data-state", "done", timeout=60_000)
    if (
        "waited" not in opened.output(index).inner_text()
    ):  # the kernel is busy still: what is asked for waits and says so
        grid.cell(0).click()
        expect(grid.enlarged.locator("img")).to_be_visible()
        grid.page.keyboard.press("Escape")
    expect(grid.told).to_have_text("6 of 6", timeout=120_000)
    expect(opened.output(index)).to_contain_text("waited")
    grid.all_seen()
    assert opened.python("len(grid.done)") == 6
    opened.shot("grid_done")

    # a column with another seed beside its neighbour, and back
    grid.choose("column", 1, "Seed", "9")
    expect(grid.header("column", 2)).to_contain_text("seed 9")
    expect(grid.told).to_have_text("8 of 8", timeout=60_000)
    assert opened.python("[cell.request.seed for cell in grid.cells]") == [0, 1, 2, 0, 1, 2], (
        "the grid itself is not changed"
    )
    grid.button("Undo").click()
    expect(grid.told).to_have_text("6 of 6")
    expect(grid.header("column", 2)).to_contain_text("seed 2")

    # what a saved notebook keeps
    output = opened.output(1).locator(".jp-RenderedImage img")
    expect(output).to_have_count(1, timeout=30_000)
    expect(output).to_be_hidden()
    opened.page.evaluate("async () => await jupyterapp.commands.execute('docmanager:save')")
    saved = nbformat.read(opened.path, as_version=4)
    (kept,) = [each["data"]["image/jpeg"] for each in saved.cells[1].outputs if "image/jpeg" in each.get("data", {})]
    content = base64.b64decode(kept)
    assert len(content) <= 300_000
    width, height = Image.open(io.BytesIO(content)).size
    assert width > 200 and height > 100


def test_a_failed_cell_says_why_and_is_tried_again(notebook: OpenOne, tmp_path: Path) -> None:
    extension = tmp_path / "moody"
    extension.mkdir()
    (extension / "extension.toml").write_text('name = "moody"\napi = 1\nstages = ["moody"]\n')
    (extension / "__init__.py").write_text(STAGE)
    (extension / "storm").touch()
    cells = [
        CONNECT,
        "small = dict(model='nano', steps=2, width=64, height=64)\n"
        "base = zk.Request(prompt='a red boat', stages=[{'kind': 'moody'}], **small)\n"
        "grid = session.grid(base, {'stages.moody.mood': ['good', 'bad', 'fair']}, seed=[1, 2])\ngrid",
    ]
    opened = notebook(cells, env={"ZIMAGE_EXTENSIONS": str(tmp_path)})
    grid = GridPage(opened)
    expect(grid.told).to_contain_text("4 of 6 · 2 failed", timeout=60_000)
    expect(grid.cell(2)).to_contain_text("the weather is too bad for a balloon")
    grid.cell(2).focus()
    expect(grid.card).to_contain_text("the weather is too bad")
    opened.shot("grid_failed")
    assert opened.axe(".zk-gridview") == []
    grid.page.keyboard.press("Escape")
    (extension / "storm").unlink()
    grid.cell(2).get_by_role("button", name="Retry").click()
    expect(grid.cell(2)).to_have_attribute("data-state", "done", timeout=30_000)
    expect(grid.cell(3)).to_have_attribute("data-state", "failed")
    grid.button("Retry all failed").click()
    expect(grid.told).to_have_text("6 of 6", timeout=30_000)
    expect(grid.button("Retry all failed")).to_be_hidden()
    assert opened.python("[cell.state for cell in grid.cells]") == ["done"] * 6


def test_a_grid_is_stopped_and_goes_on(notebook: OpenOne) -> None:
    base = "zk.Request(prompt='a green boat', model='nano', steps=12)"
    opened = notebook([CONNECT, f"grid = session.grid({base}, seed=range(4))\ngrid"])
    grid = GridPage(opened)
    expect(grid.root.locator('.zk-cell[data-state="running"]').first).to_be_visible(timeout=60_000)
    grid.button("Stop").click()
    expect(grid.told).to_contain_text("stopped", timeout=30_000)
    assert opened.python("grid.state") == "stopped"
    grid.button("Resume").click()
    expect(grid.told).to_have_text("4 of 4", timeout=90_000)


# a grid that is there


@pytest.fixture(scope="module")
def opened(browser: Browser, lab: Lab) -> Iterator[GridPage]:
    words = [
        "a small boat",
        "a very long label that says at length what is to be seen",
        "海上生明月，天涯共此时",
        "a kite",
    ]
    cells = [
        f"{FINISHED}; {VIEW}",
        f"axes = dict(colour=['red', 'blue', 'green'], thing={words!r})",
        "grid = finished('{colour} light on {thing}', failed=[5], **axes)",
        "view = GridView(grid, 'en'); view",
    ]
    notebook = OpenNotebook(browser, lab, lab.write(cells, None), "light", 1280, 1000)
    assert notebook.run_all(), notebook.text()
    yield GridPage(notebook)
    notebook.close()


@pytest.fixture
def grid(opened: GridPage) -> Iterator[GridPage]:
    """The one finished grid of this module, 3 x 4 with a failed cell. An error of its scripts fails the test."""
    opened.python("[setattr(cell, 'rating', 0) for cell in grid.done] and grid.pick(None)")
    opened.python("(view._feed.send_marks(), view.pair_pane.show(False)) and None")
    opened.page.mouse.move(2, 2)
    expect(opened.told).to_have_text("11 of 12 · 1 failed")
    yield opened
    opened.page.keyboard.press("Escape")
    errors = list(opened.notebook.errors)
    opened.notebook.errors.clear()
    assert not errors, "\n".join(errors)


def test_pointing_at_a_cell_shows_its_recipe_and_its_neighbours_difference(grid: GridPage) -> None:
    grid.cell(6).hover()
    expect(grid.card).to_be_visible()
    expect(grid.card).to_contain_text("blue light on 海上生明月")
    left, above = (grid.card.locator(".zk-recipe-differs").nth(number) for number in (0, 1))
    expect(left).to_contain_text("thing")
    expect(left).not_to_contain_text("colour")
    expect(above.locator("li")).to_have_text("colour: red → blue")
    grid.notebook.shot("grid_recipe")
    grid.page.mouse.move(2, 2)
    expect(grid.card).to_be_hidden()


def test_the_keyboard_goes_everywhere(grid: GridPage) -> None:
    grid.cell(0).focus()
    for key, at in (("ArrowRight", 1), ("End", 3), ("Control+End", 11), ("PageUp", 7), ("Home", 4), ("PageDown", 8)):
        grid.page.keyboard.press(key)
        grid.focus_comes(at, key)
    assert grid.root.locator('.zk-scroll [tabindex="0"]').count() == 1
    grid.page.keyboard.press("ArrowLeft")
    expect(grid.header("row", 2)).to_be_focused()
    grid.page.keyboard.press("Enter")
    expect(grid.root.locator(".zk-menu input")).to_be_focused()
    grid.page.keyboard.press("Escape")
    expect(grid.header("row", 2)).to_be_focused()
    grid.page.keyboard.press("ArrowRight")
    grid.focus_comes(8)
    grid.page.keyboard.press("?")
    expect(grid.root.locator(".zk-help")).to_contain_text("picks the winner")
    grid.page.keyboard.press("?")
    expect(grid.root.locator(".zk-help")).to_be_hidden()
    grid.notebook.wait("view.selected.index == 8")


def test_a_menu_that_closes_takes_the_focus_from_nobody(grid: GridPage) -> None:
    """The browser tells that it closed a moment later, when the user may be in another cell already."""
    grid.header("row", 2).focus()
    grid.page.keyboard.press("Enter")
    expect(grid.root.locator(".zk-menu input")).to_be_focused()
    cell = grid.cell(8)
    stays = cell.evaluate(
        """cell => new Promise((told) => {
          const menu = document.querySelector(".zk-menu:popover-open");
          const look = () => setTimeout(() => told(document.activeElement === cell));
          menu.addEventListener("toggle", look, { once: true });
          menu.hidePopover();
          cell.focus();
        })"""
    )
    assert stays, "it went back to what the menu was opened from"


def test_ratings_and_the_winner_reach_python_and_the_disk(grid: GridPage) -> None:
    grid.cell(0).focus()
    grid.page.keyboard.press("4")
    grid.page.keyboard.press("w")
    grid.page.keyboard.press("ArrowRight")
    grid.page.keyboard.press("2")
    grid.notebook.wait("[cell.rating for cell in grid.cells][:3] == [4, 2, 0] and grid.winner is grid.cells[0]")
    expect(grid.cell(0)).to_contain_text("Winner")
    expect(grid.cell(0).locator(".zk-sign.zk-on")).to_have_count(5)
    grid.cell(2).hover()
    grid.cell(2).get_by_role("button", name="Rate 5").click()
    grid.notebook.wait("grid.store.mark(grid.cells[2].key).rating == 5")
    grid.page.keyboard.press("0")
    grid.notebook.wait("[cell.rating for cell in grid.cells][:3] == [4, 2, 0]")
    expect(grid.enlarged).to_be_hidden()
    grid.notebook.shot("grid_rated")


def test_a_cell_is_enlarged_and_its_neighbours_follow_the_arrows(grid: GridPage) -> None:
    grid.cell(1).click()
    expect(grid.enlarged).to_be_visible()
    expect(grid.enlarged).to_contain_text("red, a very long label")
    expect(grid.enlarged).to_contain_text("64 × 64")
    grid.page.keyboard.press("3")
    grid.notebook.wait("grid.cells[1].rating == 3")
    expect(grid.enlarged.get_by_role("img", name="Rated 3 of 5")).to_be_visible()
    grid.page.keyboard.press("i")
    sheet = grid.enlarged.get_by_role("complementary")
    expect(sheet).to_contain_text("Left neighbour")
    grid.notebook.shot("grid_enlarged", grid.enlarged)
    assert grid.notebook.axe(".zk-lightbox") == []
    grid.page.keyboard.press("?")
    expect(sheet).to_contain_text("make it the winner")
    grid.page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    grid.enlarged.get_by_role("button", name="The winner (w)").click()
    grid.notebook.wait("grid.cells[1].winner")
    grid.page.keyboard.press("w")
    grid.notebook.wait("not grid.cells[1].winner")
    grid.page.keyboard.press("ArrowRight")
    expect(grid.enlarged).to_contain_text("red, 海上生明月")
    grid.page.keyboard.press("ArrowDown")
    expect(grid.enlarged).to_contain_text("blue, 海上生明月")
    grid.page.keyboard.press("Escape")
    expect(grid.enlarged).to_be_hidden()
    grid.focus_comes(6)


def test_any_two_are_compared(grid: GridPage) -> None:
    grid.cell(0).focus()
    grid.page.keyboard.press("c")
    expect(grid.root.locator(".zk-waits")).to_contain_text("Press c on another cell")
    grid.cell(7).focus()
    grid.page.keyboard.press("c")
    slider = grid.root.get_by_role("slider", name="Position of the dividing line, percent from the left")
    expect(slider).to_be_visible()
    expect(grid.cell(7).locator(".zk-badge")).to_have_text("B")
    expect(grid.root.locator(".zk-pair figcaption")).to_contain_text("of the pixels differ")
    image = grid.root.get_by_role("img", name="Where the two pictures differ")
    assert image.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 64
    words = grid.root.locator(".zk-words")
    assert [each.split(": ")[-1].split(":\n")[-1].strip() for each in words.locator("del").all_inner_texts()]
    expect(words.locator("del").first).to_contain_text("red")
    expect(words.locator("ins").first).to_contain_text("blue")
    assert grid.notebook.axe(".zk-gridview") == []
    grid.page.keyboard.press("Escape")
    expect(grid.card).to_be_hidden()
    grid.notebook.shot("grid_compare", grid.root.locator(".zk-pane"))


def test_what_is_asked_for_while_a_cell_runs_waits_and_says_so(notebook: OpenOne, tmp_path: Path) -> None:
    """In a page that has asked for nothing yet: after that, this JupyterLab lets a kernel's subshell answer at once."""
    opened = notebook(
        [f"{FINISHED}; {VIEW}", "grid = finished(seed=range(6))", "view = GridView(grid, 'en'); view"], fresh=True
    )
    grid, done = GridPage(opened), tmp_path / "done"
    expect(grid.told).to_have_text("6 of 6")
    busy = f"import os, time\nprint('busy')\nwhile not os.path.exists({str(done)!r}): time.sleep(0.05)"
    expect(opened.output(opened.run_cell(busy))).to_contain_text("busy")
    try:
        grid.cell(3).focus()
        grid.page.keyboard.press("3")
        expect(grid.cell(3).locator(".zk-sign.zk-on")).to_have_count(3)
        expect(grid.root.locator(".zk-waits")).to_contain_text("waiting for the running cell to finish")
        grid.page.keyboard.press("Enter")
        expect(grid.enlarged).to_contain_text("the full picture will follow")
        expect(grid.enlarged.locator("img")).to_be_visible()
    finally:
        done.touch()
    expect(grid.enlarged).to_contain_text("64 × 64")
    grid.page.keyboard.press("Escape")
    opened.wait("grid.cells[3].rating == 3")
    expect(grid.root.locator(".zk-waits")).to_be_hidden()
    expect(grid.cell(3).locator(".zk-sign.zk-on")).to_have_count(3)


def test_headers_stay_in_sight_and_a_column_is_removed_and_brought_back(grid: GridPage) -> None:
    grid.page.set_viewport_size({"width": 700, "height": 640})
    grid.scroll.scroll_into_view_if_needed()
    grid.scroll.evaluate("place => { place.scrollTop = 300; place.scrollLeft = 150; }")
    expect(grid.cell(8)).to_be_in_viewport()
    box, row, column = (
        grid.scroll.bounding_box(),
        grid.header("row", 2).bounding_box(),
        grid.header("column", 2).bounding_box(),
    )
    assert box and row and column
    assert abs(row["x"] - box["x"]) <= 2 and abs(column["y"] - box["y"]) <= 2
    grid.notebook.shot("grid_narrow")
    grid.page.set_viewport_size({"width": 1280, "height": 1000})
    grid.header("column", 3).locator(".zk-dots").click()
    grid.button("Remove this column").click()
    expect(grid.told).to_have_text("8 of 9 · 1 failed")
    assert grid.python("view.grid.shape") == [3, 3]
    grid.button("Undo").click()
    expect(grid.told).to_have_text("11 of 12 · 1 failed")
    assert grid.python("view.grid is grid")


def test_a_value_that_cannot_be_says_so_and_changes_nothing(grid: GridPage) -> None:
    grid.choose("column", 0, "Steps", "many")
    expect(grid.error).to_contain_text("a whole number", timeout=30_000)
    assert grid.python("view.grid is grid")
    grid.button("Dismiss").click()


# what leaves it


def test_a_grid_is_downloaded_as_a_file_that_opens_it_again(grid: GridPage, tmp_path: Path) -> None:
    for kind, ending in (("PNG", "png"), ("HTML", "html"), ("CSV", "csv")):
        with grid.page.expect_download() as told:
            grid.button(kind).click()
        assert told.value.suggested_filename.endswith(f".{ending}")
        path = tmp_path / told.value.suggested_filename
        told.value.save_as(path)
        if ending != "csv":
            assert Grid.open(path).shape == (3, 4)
        expect(grid.root.locator(".zk-unseen").first).to_contain_text("is downloaded")
    assert path.read_text("utf-8-sig").startswith("colour,thing,")


def test_a_cells_recipe_is_copied_where_there_is_no_form(grid: GridPage) -> None:
    grid.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    grid.cell(6).click()
    expect(grid.enlarged.get_by_role("button", name="Copy this recipe (u)")).to_be_visible()
    grid.page.keyboard.press("u")
    expect(grid.root.locator(".zk-unseen").first).to_have_text("The recipe is copied")
    copied = json.loads(grid.page.evaluate("navigator.clipboard.readText()"))
    assert copied["prompt"] == grid.python("grid.cells[6].request.prompt")


# large ones, other themes, other shapes


def test_hundreds_of_cells_are_shown_soon_and_few_at_a_time(notebook: OpenOne) -> None:
    many = "grid = finished('a {thing}', thing=[str(number) for number in range(20)], seed=range(20))"
    opened = notebook([f"{FINISHED}; {VIEW}", many])
    begin = opened.page.evaluate("performance.now()")
    opened.run_cell("view = GridView(grid, 'en'); view")
    opened.page.wait_for_function("document.querySelector('.zk-board')?.dataset.pictures === '400'")
    grid = GridPage(opened)
    grid.all_seen()
    assert opened.page.evaluate("performance.now()") - begin < 6000
    expect(grid.told).to_have_text("400 of 400")
    assert grid.root.locator(".zk-cell").count() < 150
    grid.cell(0).focus()
    opened.page.keyboard.press("Control+End")
    grid.focus_comes(399)
    grid.all_seen()
    assert grid.root.locator(".zk-cell").count() < 150
    assert [grid.scroll.get_attribute(name) for name in ("aria-rowcount", "aria-colcount")] == ["21", "21"]
    for left, top in ((600, 900), (0, 0), (300, 450)):
        grid.scroll.evaluate("(scroll, [left, top]) => scroll.scrollTo(left, top)", [left, top])
        opened.page.wait_for_function(AROUND, arg=[left, top])
        assert opened.page.evaluate(OUT_OF_ORDER) == [], "screen readers and Tab go by the order in the page"
    opened.shot("grid_hundreds")


def test_a_wall_pages_and_pictures_side_by_side(notebook: OpenOne) -> None:
    things = ["a boat", "一盏很长很长的灯笼，挂在海边的老房子门前", "a kite", "a cat", "the moon", "a tree", "a dog"]
    wall = f"finished('{{thing}}', thing={things!r})"
    axes = "thing=['boat', 'kite'], place=['sea', 'sky'], size=['64x64', '96x64', '64x128'], seed=[1, 2]"
    layout = {"rows": "place", "columns": "size", "pages": "thing", "inner": "seed"}
    pages = f"finished('{{thing}} in {{place}}', {axes}, layout={layout!r})"
    cells = [f"{FINISHED}; {VIEW}", f"GridView({wall}, 'zh')", f"view = GridView({pages}, 'zh'); view"]
    opened = notebook(cells, height=1300)
    grid = GridPage(opened)
    expect(grid.told).to_have_text(["7 / 7", "24 / 24"])
    first, second = opened.output(1), opened.output(2)
    lines = first.locator(".zk-line")
    expect(lines).to_have_count(2)
    expect(first.locator(".zk-under").nth(1)).to_contain_text("老房子")
    tabs = second.get_by_role("tab")
    expect(tabs).to_have_text(["boat", "kite"])
    tabs.first.press("ArrowRight")
    expect(tabs.nth(1)).to_be_focused()
    expect(second.locator(".zk-cell").first).to_have_attribute("aria-label", "sea, 64 × 64, kite, seed 1")
    grid.all_seen()
    for theme in ("light", "dark"):
        opened.dress(theme)
        assert opened.axe(".zk-gridview") == []
        opened.shot(f"grid_shapes_{theme}")


def test_the_studio_makes_grids_of_what_its_form_says(notebook: OpenOne) -> None:
    opened = notebook([CONNECT, "studio = session.studio(language='en'); studio"], height=1300)
    panel = opened.page.locator(".zk-studio")
    expect(panel.get_by_role("button", name="Generate", exact=True)).to_be_visible()
    fields = {"prompt": "a {colour} lantern", "model": "nano", "steps": 2, "seed": 7, "width": 64, "height": 64}
    opened.python(f"setattr(studio, 'request', zk.Request(**{fields!r}))")
    panel.get_by_role("button", name="Grid", exact=True).click()
    values = panel.locator(".zk-axis textarea")
    expect(panel.get_by_label("Rows", exact=True)).to_have_value("colour")
    expect(panel.get_by_label("Values: Rows", exact=True)).to_be_visible()
    values.first.fill("red\nblue")
    panel.get_by_label("Columns", exact=True).select_option(label="Seed")
    values.nth(1).fill("1-3")
    expect(panel.locator(".zk-grid-buttons")).to_contain_text("6 cells, 6 new")
    values.nth(1).press("Control+Enter")
    expect(panel.locator(".zk-told")).to_have_text("6 of 6", timeout=60_000)
    assert opened.python("[cell.request.prompt for cell in studio.grid.cells][3:4]") == ["a blue lantern"]
    assert opened.python("len(studio.artifacts)") == 0, "the keys made the grid, and no picture"
    opened.shot("grid_studio")
    panel.locator('.zk-cell[data-cell="4"]').click()
    panel.get_by_role("button", name="Use this recipe in the form (u)").click()
    expect(panel.locator(".zk-gridview .zk-lightbox")).to_be_hidden()
    expect(panel.locator(".zk-prompt textarea")).to_have_value("a blue lantern")
    assert opened.python("(studio.request.seed, studio.request.steps)") == [2, 2]
    opened.python(f"setattr(studio, 'request', zk.Request(**{fields!r}))")
    values.nth(1).fill("1-300")
    expect(panel.locator(".zk-grid-buttons")).to_contain_text("600 cells, 594 new", timeout=30_000)
    panel.get_by_role("button", name="Make grid").click()
    expect(panel.get_by_role("button", name="Make all 594")).to_be_visible(timeout=30_000)
    values.nth(1).fill("many")
    panel.get_by_role("button", name="Make grid").click()
    expect(panel.get_by_role("alert")).to_contain_text("a whole number")
    assert opened.axe(".zk-studio") == []
