"""The library's pane in the page: hundreds of pictures, found, marked, used, removed and brought back."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from opened import OpenNotebook
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Locator, expect

from zimage_kit import Request
from zimage_kit.library.library import Library
from zimage_kit.recipe.artifact import Artifact, Trace

COUNT = 300
CELLS = ["import zimage_kit as zk; session = zk.connect('inline')", "studio = session.studio(save=False); studio"]
COLOURS = ("red", "green", "blue", "gold", "purple", "teal")


def fill(folder: Path, count: int = COUNT) -> None:
    """Pictures with recipes, a colour and a number each; the first is the oldest."""
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        image = Image.new("RGB", (96, 64 if number % 3 else 96), colour)
        ImageDraw.Draw(image).text((8, 8), str(number), fill="white")
        request = Request(
            prompt=f"a {colour} boat {number}" if number else "海上的红色小船", model="nano", seed=number,
            width=image.width, height=image.height, steps=4, guidance=0.0,
        )  # fmt: skip
        when = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=11 * number)
        Artifact(image, request, Trace(model="nano", created=when.isoformat())).save(folder=folder)


class LibraryInPage:
    def __init__(self, notebook: OpenNotebook) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.root = self.page.locator(".zk-library")
        self.tiles = self.root.locator(".zk-tile")
        self.told = self.root.locator(".zk-library-told")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def tile(self, number: int) -> Locator:
        """The picture with this number."""
        return self.root.locator(f'[role="option"][title*="boat {number} "]')

    def python(self, expression: str) -> Any:
        return self.notebook.python(expression)

    def search(self, words: str) -> None:
        self.root.get_by_label("Words").fill(words)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def opened(browser: Browser, lab: Lab, outputs: Path) -> Iterator[LibraryInPage]:
    path = lab.write(CELLS, {"ZIMAGE_OUTPUTS": str(outputs)})
    notebook = OpenNotebook(browser, lab, path, "light", 1280, 1000)
    assert notebook.run_all(), notebook.text()
    notebook.page.locator(".zk-studio").get_by_role("button", name="Library", exact=True).click()
    found = LibraryInPage(notebook)
    expect(found.told).to_contain_text(f"{COUNT} pictures")
    yield found
    notebook.close()


@pytest.fixture
def pane(opened: LibraryInPage) -> Iterator[LibraryInPage]:
    """The pane from its top, with nothing searched for."""
    opened.python("setattr(studio.panes['library'].view, 'query', {})")
    opened.page.set_viewport_size({"width": 1280, "height": 1000})
    expect(opened.told).to_contain_text(f"{COUNT} pictures")
    opened.root.locator(".zk-library-frame").evaluate("frame => frame.scrollTo(0, 0)")
    yield opened
    errors = list(opened.notebook.errors)
    opened.notebook.errors.clear()
    assert not errors, "\n".join(errors)
    assert opened.python("repr(studio.problem.error)") == "None"


def test_only_what_is_seen_is_in_the_page_and_the_latest_come_first(pane: LibraryInPage) -> None:
    expect(pane.tile(COUNT - 1)).to_have_attribute("aria-posinset", "1")
    assert pane.tiles.count() < 120
    pane.root.locator(".zk-library-frame").evaluate("frame => frame.scrollTo(0, frame.scrollHeight)")
    pane.page.wait_for_function(
        "count => document.querySelector(`[aria-posinset='${count}'] img`)?.naturalWidth > 0", arg=COUNT
    )
    order = pane.tiles.evaluate_all("tiles => tiles.map(tile => Number(tile.getAttribute('aria-posinset')))")
    assert order == sorted(order), "in the page they stand as they are read"
    pane.notebook.shot("library_light", pane.page.locator(".zk-pane-library"))
    assert pane.notebook.axe(".zk-pane-library") == []


def test_words_and_filters_find(pane: LibraryInPage) -> None:
    pane.search("红色")
    expect(pane.tiles).to_have_count(1)
    expect(pane.told).to_contain_text("1 pictures")
    pane.search('gold -"boat 93"')
    expect(pane.told).to_contain_text("49 pictures")
    pane.search("no such thing")
    expect(pane.root.locator(".zk-empty")).to_have_text("No picture matches.")
    pane.button("Show all").click()
    expect(pane.told).to_contain_text(f"{COUNT} pictures")
    expect(pane.root.get_by_label("Words")).to_have_value("")


def test_stars_are_given_by_key_and_found_again(pane: LibraryInPage, outputs: Path) -> None:
    pane.tile(299).click()
    pane.tile(297).click(modifiers=["Control"])
    pane.page.keyboard.press("4")
    expect(pane.tile(299).locator(".zk-tile-stars")).to_have_text("★★★★")
    expect(pane.tile(297).locator(".zk-tile-stars")).to_have_text("★★★★")
    assert {each.seed for each in Library(outputs).search(stars=4)} == {297, 299}
    pane.root.get_by_label("Stars").select_option("4")
    expect(pane.told).to_contain_text("2 pictures")
    pane.tiles.first.click()
    pane.page.keyboard.press("Control+a")
    pane.page.keyboard.press("0")
    pane.root.get_by_label("Stars").select_option("")
    expect(pane.told).to_contain_text(f"{COUNT} pictures")
    assert len(Library(outputs).search(stars=1)) == 0


def test_all_are_chosen_those_too_that_were_never_in_the_page(pane: LibraryInPage) -> None:
    pane.tile(299).click()
    pane.page.keyboard.press("Control+a")
    expect(pane.told).to_contain_text(f"{COUNT} chosen")
    pane.page.keyboard.press("Escape")
    pane.tile(299).click()
    pane.root.locator(".zk-library-frame").evaluate("frame => frame.scrollTo(0, frame.scrollHeight)")
    pane.root.locator(f'[aria-posinset="{COUNT}"]').click(modifiers=["Shift"])
    expect(pane.told).to_contain_text(f"{COUNT} chosen")
    pane.page.keyboard.press("Escape")


def test_keys_walk_choose_enlarge_and_come_back(pane: LibraryInPage) -> None:
    pane.tile(299).click()
    pane.page.keyboard.press("ArrowRight")
    expect(pane.tile(298)).to_be_focused()
    pane.page.keyboard.press("Space")
    expect(pane.tile(298)).to_have_attribute("aria-selected", "true")
    expect(pane.tile(299)).to_have_attribute("aria-selected", "true")
    pane.page.keyboard.press("Enter")
    dialog = pane.root.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("a purple boat 298")
    pane.page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text("boat 297")
    pane.page.wait_for_function("() => document.querySelector('.zk-library dialog img').naturalWidth === 96")
    pane.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(pane.tile(297)).to_be_focused()
    pane.page.keyboard.press("End")
    expect(pane.root.locator(f'[aria-posinset="{COUNT}"]')).to_be_focused()
    pane.page.keyboard.press("Home")
    expect(pane.tile(299)).to_be_focused()
    pane.page.keyboard.press("Escape")
    expect(pane.root.locator('[aria-selected="true"]')).to_have_count(0)


def test_a_recipe_is_used_two_are_compared_and_some_stand_side_by_side(pane: LibraryInPage) -> None:
    studio = pane.page.locator(".zk-studio")
    pane.tile(290).click()
    pane.button("Use this recipe").click()
    expect(studio.locator(".zk-prompt textarea")).to_have_value("a blue boat 290")
    expect(studio.get_by_label("Seed", exact=True)).to_have_value("290")
    expect(pane.button("Compare")).to_be_disabled()
    pane.tile(291).click(modifiers=["Control"])
    pane.button("Compare").click()
    expect(studio.locator(".zk-thumb")).to_have_count(2)
    pane.notebook.wait("studio.panes['compare'].slider.before and studio.panes['compare'].slider.after")
    pane.button("Side by side").click()
    expect(studio.locator(".zk-tray figure")).to_have_count(2)
    expect(studio.locator(".zk-thumb")).to_have_count(2)  # what is in the strip is not put there twice


def test_one_is_downloaded_with_its_recipe_and_several_as_a_zip(pane: LibraryInPage, tmp_path: Path) -> None:
    pane.tile(280).click()
    with pane.page.expect_download() as one:
        pane.button("Download").click()
    one.value.save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert '"seed":280' in "".join(map(str, image.info.values())).replace(" ", "")
    pane.tile(281).click(modifiers=["Control"])
    with pane.page.expect_download() as several:
        pane.button("Download").click()
    several.value.save_as(tmp_path / "several.zip")
    with zipfile.ZipFile(tmp_path / "several.zip") as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 2


def test_what_is_deleted_comes_back(pane: LibraryInPage, outputs: Path) -> None:
    pane.tile(270).click()
    pane.tile(268).click(modifiers=["Shift"])
    expect(pane.told).to_contain_text("3 chosen")
    pane.page.keyboard.press("Delete")
    expect(pane.told).to_contain_text(f"{COUNT - 3} pictures")
    expect(pane.tile(269)).to_have_count(0)
    pane.button("Undo").click()
    expect(pane.told).to_contain_text(f"{COUNT} pictures")
    expect(pane.tile(269)).to_have_count(1)
    expect(pane.button("Undo")).to_be_hidden()
    assert len(Library(outputs).search(limit=None)) == COUNT


def test_in_chinese_and_on_a_phone(pane: LibraryInPage) -> None:
    pane.python("setattr(studio, 'language', 'zh')")
    expect(pane.told).to_contain_text(f"共 {COUNT} 张")
    pane.page.set_viewport_size({"width": 420, "height": 900})
    pane.page.wait_for_timeout(200)
    pane.root.scroll_into_view_if_needed()
    assert pane.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
    pane.notebook.shot("library_zh_420", pane.page.locator(".zk-pane-library"))
    pane.notebook.dress("dark")
    pane.notebook.shot("library_dark_420", pane.page.locator(".zk-studio"))
    pane.notebook.dress("light")
    pane.python("setattr(studio, 'language', 'en')")
    expect(pane.told).to_contain_text(f"{COUNT} pictures")
