"""A grid's web page from the disk, in a real browser: it asks for nothing, filters, enlarges, tells what differs.

Which cells pass the filter, where keys lead and how texts differ is tested without a browser, in tests/js.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from opened import AXE, SEEN_BY_AXE, SHOTS
from playwright.sync_api import Browser, Locator, Page, expect

sys.path.append(str(Path(__file__).resolve().parents[1] / "grid"))
from grids import finished

from zimage_kit import Grid

EVIL = '</script><script>window.hurt = 1</script><img src=x onerror="window.hurt = 1"> <b>bold</b>'
CHINESE = "海上生明月，天涯共此时"

NOWHERE = "https://cdn.example/x.png"

Theme = Literal["light", "dark"]
Opens = Callable[..., Page]


@pytest.fixture
def page_of(browser: Browser, tmp_path: Path) -> Iterator[Opens]:
    """Opens the page of a grid from the disk. Fails for anything that it asks for, and for any error of its script."""
    contexts, wrong = [], list[str]()

    def open_page(grid: Grid | None = None, theme: Theme = "light", width: int = 1280) -> Page:
        grid = grid or finished(
            "a {colour} balloon", title="Balloons", picture=(400, 320), colour=["red", "blue", CHINESE], seed=range(4),
            steps=[4, 8], layout={"inner": "steps"}, failed=[9], missing=[23], ratings={0: 4, 5: 2}, winner=5,
        )  # fmt: skip
        (path,) = grid.save(tmp_path / "grid.html")
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme))
        page: Page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: request.url.startswith("data:") or asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda message: (
                wrong.append(message.text) if message.type == "error" and NOWHERE not in message.text else None
            ),
        )
        asked: list[str] = []
        page.goto(path.as_uri())
        assert asked == [path.as_uri()]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)


def cells(page: Page) -> Locator:
    return page.locator(".cell:visible")


def cell(page: Page, index: int) -> Locator:
    return page.locator(f".cell[data-cell='{index}']")


def axe(page: Page, selector: str = "body") -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install in tests/studio (make test does it)")
    page.evaluate(AXE.read_text("utf-8"))  # not as an element: the page lets no other script in
    assert page.evaluate(SEEN_BY_AXE, selector) == []


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def test_the_page_shows_every_cell_and_its_policy_lets_nothing_out(page_of: Opens) -> None:
    page = page_of()
    expect(page).to_have_title("Balloons")
    expect(cells(page)).to_have_count(24)
    expect(page.locator("#count")).to_have_text("24 of 24 pictures")
    assert cell(page, 0).locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 256
    expect(cell(page, 9)).to_contain_text("the text has no letters")
    expect(cell(page, 23)).to_contain_text("not made")
    blocked = page.evaluate(
        """async (source) => {
        const heard = new Promise(told => document.addEventListener("securitypolicyviolation", told, {once: true}));
        new Image().src = source;
        return (await heard).effectiveDirective;
    }""",
        NOWHERE,
    )
    assert blocked == "img-src"
    shot(page, "grid_page")


def test_headers_stay_in_sight(page_of: Opens) -> None:
    page = page_of(finished("x", picture=(256, 256), prompt=[f"prompt {n}" for n in range(12)], seed=range(12)))
    page.locator("#size").fill("256")
    page.mouse.wheel(900, 1200)
    page.wait_for_function("scrollX > 500 && scrollY > 800")
    column = page.locator("thead th").nth(6).bounding_box()
    row = page.locator("tbody th").nth(5).bounding_box()
    assert column is not None
    assert row is not None
    assert column["y"] == 0
    assert 0 <= row["x"] <= 32


def test_the_card_tells_the_recipe_and_what_differs(page_of: Opens) -> None:
    page = page_of()
    card = page.locator("#card")
    cell(page, 10).hover()
    expect(card).to_be_visible()
    expect(card.locator("dd").first).to_have_text("a blue balloon")
    left, above = (card.locator("ul").nth(number) for number in range(2))
    expect(left).to_have_text("seed: 0 → 1")
    expect(above).to_have_text("prompt: …red… → …blue…")
    shot(page, "grid_page_card")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()


def test_keys_walk_enlarge_and_come_back(page_of: Opens) -> None:
    page = page_of()
    page.locator("[type=reset]").focus()
    page.keyboard.press("Tab")
    expect(cell(page, 0)).to_be_focused()
    expect(page.locator("#card")).to_be_visible()
    assert cell(page, 0).get_attribute("aria-describedby") == "card"
    page.keyboard.press("ArrowRight")
    expect(cell(page, 1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(cell(page, 9)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    expect(cell(page, 0)).to_be_focused()
    page.keyboard.press("End")
    expect(cell(page, 23)).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    dialog, name = page.locator("dialog"), page.locator("dialog h2")
    expect(dialog).to_be_visible()
    expect(name).to_have_text("red, seed 0, steps 4")
    for key, label in (
        ("ArrowRight", "red, seed 0, steps 8"), ("ArrowDown", "blue, seed 0, steps 8"),
        ("ArrowLeft", "blue, seed 0, steps 4"), ("ArrowLeft", "red, seed 3, steps 8"),
    ):  # fmt: skip
        page.keyboard.press(key)
        expect(name).to_have_text(label)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(cell(page, 7)).to_be_focused()
    assert page.locator(".cell[tabindex='0']").count() == 1


def test_a_click_enlarges_to_fit_and_to_every_pixel(page_of: Opens) -> None:
    page = page_of(finished("x", picture=(1600, 1200), seed=[1, 2], steps=[4]))
    cell(page, 1).click()
    picture, stage = page.locator("dialog img"), page.locator(".zk-lightbox-stage")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1600, "not the small one"
    box, room = picture.bounding_box(), stage.bounding_box()
    assert box is not None
    assert room is not None
    assert box["width"] <= room["width"]
    assert box["height"] <= room["height"]
    assert box["width"] / box["height"] == pytest.approx(4 / 3, abs=0.01)
    picture.dblclick(position={"x": 10, "y": 10})
    width = "image => image.getBoundingClientRect().width"
    assert picture.evaluate(width) == pytest.approx(1600)
    expect(page.get_by_role("button", name="Actual pixels")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("0")
    assert picture.evaluate(width) < 1000
    page.get_by_role("button", name="Close").click()
    expect(page.locator("dialog")).to_be_hidden()


def test_a_failed_cell_enlarged_shows_its_whole_error(page_of: Opens) -> None:
    page = page_of()
    cell(page, 9).click()
    expect(page.locator(".zk-lightbox-problem")).to_have_text(
        "failed: stage caption broke: ValueError: the text has no letters. Give it a text."
    )
    expect(page.locator("dialog img")).to_be_hidden()
    page.locator("summary").click()
    expect(page.locator("dialog pre")).to_contain_text('"prompt": "a blue balloon"')


def test_the_filter_takes_words_values_and_ratings(page_of: Opens) -> None:
    page = page_of()
    count = page.locator("#count")
    page.get_by_label("Find").fill("BLUE seed")
    expect(count).to_have_text("8 of 24 pictures")
    expect(page.locator("tbody tr:visible")).to_have_count(1)
    page.get_by_label("seed", exact=True).select_option("seed 2")
    expect(count).to_have_text("2 of 24 pictures")
    expect(page.locator("thead th:visible")).to_have_count(1)
    expect(page.locator("thead th:visible")).to_contain_text("seed 2")
    page.get_by_role("button", name="Reset").click()
    expect(count).to_have_text("24 of 24 pictures")
    expect(page.locator("thead th:visible")).to_have_count(4)
    page.get_by_label("Rating").select_option("★★★ or more")
    expect(count).to_have_text("1 of 24 pictures")
    expect(cells(page)).to_have_attribute("data-cell", "0")
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Winner only").check()
    expect(cells(page)).to_have_attribute("data-cell", "5")
    page.keyboard.press("Enter")
    assert "?" not in page.url, "a form of a page on a disk goes nowhere"


def test_a_filter_works_on_lines_of_pictures_and_on_pages_too(page_of: Opens) -> None:
    page = page_of(finished("x", seed=range(6), steps=[4, 8], layout={"columns": "seed", "pages": "steps"}))
    page.get_by_label("steps", exact=True).select_option("steps 8")
    expect(page.locator("section:visible")).to_have_count(1)
    page.get_by_label("seed", exact=True).select_option("seed 3")
    expect(page.locator("li:visible")).to_have_count(1)
    expect(page.locator("li:visible")).to_contain_text("seed 3")
    assert page.get_by_label("Winner only").count() == 0 or page.get_by_label("Winner only").is_hidden()


def test_a_prompt_does_nothing_wherever_it_is_shown(page_of: Opens) -> None:
    page = page_of(finished("x", title=EVIL, prompt=[EVIL, "b"], seed=[1, 2], failed=[1]))
    cell(page, 3).hover()
    expect(page.locator("#card")).to_contain_text("onerror")
    cell(page, 0).click()
    expect(page.locator("dialog h2")).to_contain_text("</script>")
    page.locator("summary").click()
    assert page.evaluate("window.hurt") is None
    assert page.locator("#grid b").all_inner_texts() == ["failed"], "no element of the prompt's"
    assert set(page.locator("dialog b").all_inner_texts()) <= {"prompt", "seed"}


def test_pictures_grow_and_shrink(page_of: Opens) -> None:
    page = page_of(finished("x", picture=(256, 192), seed=[1, 2], steps=[4]))
    for size in (480, 64):
        page.locator("#size").fill(str(size))
        box = cell(page, 0).bounding_box()
        assert box is not None
        assert (box["width"], box["height"]) == (size, size * 0.75)


def test_a_wide_table_is_seen_whole_at_first(page_of: Opens) -> None:
    page = page_of(finished("x", picture=(256, 256), seed=range(8), steps=[4, 8]))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_is_wrong_for_who_cannot_see_it(page_of: Opens, theme: Theme) -> None:
    page = page_of(theme=theme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(250, 248, 244)", "dark": "rgb(23, 24, 26)"}[theme]
    axe(page)
    cell(page, 5).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#card")).to_be_visible()
    axe(page)
    page.keyboard.press("Enter")
    page.locator("summary").click()
    axe(page, "dialog")
    shot(page, f"grid_page_enlarged_{theme}")


def test_the_page_speaks_chinese(page_of: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_LANG", "zh")
    page = page_of()
    expect(page.locator("#count")).to_have_text("24 张，共 24 张")
    page.get_by_label("种子", exact=True).select_option("seed 1")
    expect(page.locator("#count")).to_have_text("6 张，共 24 张")
    page.get_by_role("button", name="重置").click()
    page.get_by_label("查找").fill("blue")
    expect(page.locator("#count")).to_have_text("8 张，共 24 张")
    cell(page, 10).hover()
    expect(page.locator("#card")).to_contain_text("与左边一张不同：")
    expect(page.locator("#card dt").first).to_have_text("提示词")


def test_four_hundred_cells_are_there_at_once(page_of: Opens) -> None:
    page = page_of(finished("x", prompt=[f"scene{n}." for n in range(20)], seed=range(20), picture=(256, 256)))
    took = page.evaluate("performance.getEntriesByType('navigation')[0].domComplete")
    expect(page.locator("#count")).to_have_text("400 of 400 pictures")
    assert took < 5000, f"{took:.0f} ms"
    page.get_by_label("Find").fill("scene19.")
    expect(page.locator("#count")).to_have_text("20 of 400 pictures")
