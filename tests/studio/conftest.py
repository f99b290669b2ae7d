"""JupyterLab in a real browser. One server serves all tests of a process, one browser those of a module.

Not one browser for all: while Playwright runs, the thread's event loop is its own, and other tests want theirs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from opened import OpenNotebook, OpenOne, Theme
from playwright.sync_api import Browser, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from zimage_kit import Request

NAMES = ("chromium", "chromium-browser", "google-chrome")
expect.set_options(timeout=30_000)  # a state that comes late on a busy machine has come
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that fails tells what its pages showed, and what the threads of their kernels were at."""
    outcome: Any = yield
    report = outcome.get_result()
    for opened in getattr(item, "funcargs", {}).values():
        page = getattr(opened, "page", None)
        if report.when == "call" and report.failed and page is not None:
            try:
                report.sections.append(("the page", f"{page.url}\n{page.inner_text('body', timeout=5000)[:4000]}"))
            except PlaywrightError as error:
                report.sections.append(("the page", f"cannot be read: {error}"))
            if isinstance(notebook := getattr(opened, "notebook", opened), OpenNotebook):
                report.sections.append(("threads of its kernel", notebook.threads()))


@pytest.fixture
def small(model: str) -> Request:
    """What is drawn in a moment."""
    return Request(prompt="a red boat", model=model, width=64, height=64, steps=2, seed=7)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's browser; without one its tests are skipped before a server is started for them."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(NAMES)} is in PATH")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium: str, running: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"), running)
    yield lab
    lab.end()


@pytest.fixture(scope="module")
def reused(browser: Browser, lab: Lab) -> Iterator[Callable[[], OpenNotebook]]:
    """The notebook that most tests of a module have one after the other; opened for the first of them."""
    opened: list[OpenNotebook] = []

    def reused() -> OpenNotebook:
        if not opened:
            opened.append(OpenNotebook(browser, lab, lab.write([], None), "light", 1280, 900))
        return opened[0]

    yield reused
    for one in opened:
        one.close()


@pytest.fixture
def notebook(browser: Browser, lab: Lab, reused: Callable[[], OpenNotebook]) -> Iterator[OpenOne]:
    """Gives a notebook with these cells and runs them all. A cell that raises fails the test, unless it `raises`.

    The first one of a test is the module's, emptied; it is a new page with a new kernel where a test wants it `fresh`
    or with an environment of its own. At the end an error of a widget's script that the test did not take out of
    `errors` fails the test.
    """
    given: list[OpenNotebook] = []
    own: list[OpenNotebook] = []

    def open_one(
        cells: list[str],
        theme: Theme = "light",
        width: int = 1280,
        height: int = 900,
        env: Mapping[str, str] | None = None,
        raises: bool = False,
        fresh: bool = False,
    ) -> OpenNotebook:
        if fresh or env or given:
            one = OpenNotebook(browser, lab, lab.write(cells, env), theme, width, height)
            own.append(one)
        else:
            one = reused()
            one.renew(cells, theme, width, height)
        given.append(one)
        assert one.run_all() != raises, f"the cells {'all ran' if raises else 'raised'}:\n{one.text()}"
        return one

    yield open_one
    errors = [error for one in given for error in one.errors]
    for one in own:
        one.close()
    assert not errors, "\n".join(errors)
