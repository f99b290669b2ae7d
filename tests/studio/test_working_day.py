"""A day at the panel: fifty pictures, grids, inpaints, F5, a new kernel, a search, an export; nothing is lost."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from opened import OpenNotebook
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Locator, expect

import zimage_kit as zk
from zimage_kit.library.library import Library

CELLS = ["import zimage_kit as zk; session = zk.connect()", "studio = session.studio(pictures=0); studio"]
SIZE = {"model": "nano", "width": 64, "height": 64, "steps": 2}
BATCHES, EACH = 5, 10
STATE = "[studio.problem.error, studio.request, studio.bar.queue, studio.jobs.running, studio.viewer.progress]"
"""What a panel is at from which no pictures come."""


class Day:
    def __init__(self, notebook: OpenNotebook, outputs: Path) -> None:
        self.notebook, self.page, self.outputs = notebook, notebook.page, outputs
        self.root = self.page.locator(".zk-studio")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def python(self, expression: str) -> Any:
        return self.notebook.python(expression)

    def fill(self, **fields: Any) -> None:
        self.python(f"setattr(studio, 'request', zk.Request(**{SIZE | fields!r}))")

    def generate(self, count: int = 1) -> None:
        """Press Generate for so many pictures."""
        self.root.get_by_label("How many").fill(str(count))
        self.button("Generate").click()

    def saved(self) -> int:
        """Pictures in the outputs folder, without those of grids."""
        return sum("grids" not in path.parts for path in self.outputs.rglob("2*/*.png"))

    def until_saved(self, count: int) -> None:
        for _ in range(3000):
            if self.saved() >= count:
                return
            self.page.wait_for_timeout(20)
        pytest.fail(f"{self.saved()} of {count} pictures: {self.python(STATE)}")

    def reload(self) -> None:
        """F5, and the panel's cell run again."""
        self.notebook.reload()
        expect(self.button("Generate")).to_be_visible()


@pytest.fixture
def day(browser: Browser, lab: Lab, tmp_path: Path) -> Iterator[Day]:
    outputs = tmp_path / "outputs"
    notebook = OpenNotebook(browser, lab, lab.write(CELLS, {"ZIMAGE_OUTPUTS": str(outputs)}), "light", 1280, 1000)
    assert notebook.run_all(), notebook.text()
    yield Day(notebook, outputs)
    errors = list(notebook.errors)
    notebook.close()
    assert not errors, "\n".join(errors)


def test_a_working_day_without_a_lost_picture(day: Day, tmp_path: Path) -> None:
    expect(day.button("Generate")).to_be_visible()
    for batch in range(BATCHES):
        day.fill(prompt=f"a red boat, {batch}", seed=100 * batch)
        day.generate(EACH)
        if batch == 1:  # F5 in the midst of a batch
            day.until_saved(EACH + 2)
            day.reload()
            expect(day.root.locator(".zk-prompt textarea")).to_have_value("a red boat, 1")
        if batch == 3:  # the kernel is restarted in the midst of one
            day.until_saved(3 * EACH + 2)
            assert day.notebook.restart(), day.notebook.text()
            expect(day.root.locator(".zk-prompt textarea")).to_have_value("a red boat, 3")
        day.until_saved(EACH * (batch + 1))
    expect(day.root.locator(".zk-thumb")).to_have_count(BATCHES * EACH)

    day.button("Grid").click()
    for number in range(3):
        day.fill(prompt=f"a blue house {number}", seed=number)
        day.python("setattr(studio.panes['grid'].fields[0], 'value', 'seed')")
        day.python("setattr(studio.panes['grid'].values[0], 'value', '1-4')")
        day.button("Make grid").click()
        day.notebook.wait(f"studio.grid and studio.grid.plan.base.prompt == 'a blue house {number}'")
        day.notebook.wait("[cell.state for cell in studio.grid.cells] == ['done'] * 4", 60)

    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((16, 16, 48, 48), fill=255)
    mask.save(tmp_path / "mask.png")
    stage = {"kind": "inpaint", "mask": str(tmp_path / "mask.png"), "prompt": "a blue boat"}
    for number in range(5):
        day.fill(prompt=f"a red boat, inpainted {number}", seed=number, stages=[stage])
        day.generate()
        day.until_saved(BATCHES * EACH + number + 1)
    day.reload()
    expect(day.root.locator(".zk-thumb")).to_have_count(BATCHES * EACH + 5)
    assert day.python("len(studio.request.stages)") == 1

    day.button("Library").click()
    library = day.root.locator(".zk-library")
    told = library.locator(".zk-library-told")
    expect(told).to_contain_text(f"{BATCHES * EACH + 5 + 12} pictures")
    library.get_by_label("Words").fill("inpainted")
    expect(told).to_contain_text("5 pictures")
    library.locator(".zk-tile").first.click()
    day.page.keyboard.press("Control+a")
    with day.page.expect_download() as download:
        library.get_by_role("button", name="Download", exact=True).click()
    download.value.save_as(tmp_path / "day.zip")
    with zipfile.ZipFile(tmp_path / "day.zip") as archive:
        assert sum(name.endswith(".png") for name in archive.namelist()) == 5
    day.notebook.shot("working_day", day.root)

    found = Library(day.outputs).search(limit=None)
    wanted = {(f"a red boat, {batch}", 100 * batch + number) for batch in range(BATCHES) for number in range(EACH)}
    wanted |= {(f"a red boat, inpainted {number}", number) for number in range(5)}
    wanted |= {(f"a blue house {number}", seed) for number in range(3) for seed in range(1, 5)}
    assert {(each.prompt, each.seed) for each in found} == wanted and found.total == len(wanted), "each once, none lost"
    assert all(zk.open(each.path).request.prompt == each.prompt for each in found)
    assert day.python("repr(studio.problem.error)") == "None"
