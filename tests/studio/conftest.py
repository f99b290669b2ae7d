"""JupyterLab in a real browser. One server serves all tests of a process, one browser those of a module.

Not one browser for all: while Playwright runs, the thread's event loop is its own, and other tests want theirs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

import pytest
from lab import Lab
from opened import OpenNotebook, OpenOne, Theme
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


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
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.end()


@pytest.fixture
def notebook(browser: Browser, lab: Lab) -> Iterator[OpenOne]:
    """Opens a notebook with these cells and runs them all. A cell that raises fails the test, unless it `raises`.

    At the end an error of a widget's script that the test did not take out of `errors` fails the test.
    """
    opened: list[OpenNotebook] = []

    def open_one(
        cells: list[str],
        theme: Theme = "light",
        width: int = 1280,
        height: int = 900,
        env: Mapping[str, str] | None = None,
        raises: bool = False,
    ) -> OpenNotebook:
        one = OpenNotebook(browser, lab, lab.write(cells, env), theme, width, height)
        opened.append(one)
        assert one.run_all() != raises, f"the cells {'all ran' if raises else 'raised'}:\n{one.text()}"
        return one

    yield open_one
    for one in opened:
        one.close()
    errors = [error for one in opened for error in one.errors]
    assert not errors, "\n".join(errors)
