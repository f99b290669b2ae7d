"""A notebook that is open in Chromium: what its page shows, and what is true in its own kernel."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from jupyter_client import BlockingKernelClient
from lab import Lab
from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, expect

HERE = Path(__file__).resolve().parent
SHOTS = HERE.parents[1] / "build" / "browser"
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"

Theme = Literal["light", "dark"]

OPEN = "() => window.jupyterapp?.shell?.currentWidget?.context !== undefined"
READY = """async () => {
    await jupyterapp.restored;
    const panel = jupyterapp.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.revealed;
    await panel.sessionContext.session.kernel.info;
    return panel.sessionContext.session.kernel.id;
}"""
ROOM = """async () => {
    jupyterapp.shell.collapseLeft();
    jupyterapp.shell.collapseRight();
    for (const side of ["left", "right"])
        if (jupyterapp.shell.isSideTabBarVisible(side)) jupyterapp.shell.toggleSideTabBarVisibility(side);
}"""
THEME = """async (theme) => {
    if (document.body.dataset.jpThemeName !== theme)
        await jupyterapp.commands.execute("apputils:change-theme", {theme});
}"""
THEMED = "(theme) => document.body.dataset.jpThemeName === theme"
RUN_ALL = "async () => await jupyterapp.commands.execute('notebook:run-all-cells')"
ADD_CELL = """async (source) => {
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = notebook.widgets.length - 1;
    await jupyterapp.commands.execute("notebook:insert-cell-below");
    notebook.activeCell.model.sharedModel.setSource(source);
    return notebook.activeCellIndex;
}"""
RUN_CELL = """async ([index, wait]) => {
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = index;
    notebook.deselectAll();
    const ran = jupyterapp.commands.execute("notebook:run-cell");
    if (wait) await ran;
}"""
SAVE = "async () => await jupyterapp.commands.execute('docmanager:save')"
RESTART = """async () => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    await kernel.restart();
    await kernel.info;
}"""
OTHER_CELLS = """(sources) => {
    const model = jupyterapp.shell.currentWidget.content.model.sharedModel;
    const cell = source => ({cell_type: "code", source, metadata: {}, outputs: [], execution_count: null});
    model.transact(() => {
        model.deleteCellRange(0, model.cells.length);
        model.insertCells(0, sources.map(cell));
    });
}"""
EMPTY_KERNEL = """
import ipywidgets, zimage_kit
ipywidgets.Widget.close_all()
[each.close() for each in list(globals().values()) if isinstance(each, zimage_kit.Session)]
get_ipython().reset()
"""
STACKS = """
import sys, threading, traceback
names = {each.ident: each.name for each in threading.enumerate()}
frames = sys._current_frames().items()
globals()["stacks"] = "\\n".join(f"{names.get(i)}\\n" + "".join(traceback.format_stack(at)[-9:]) for i, at in frames)
"""
WIDGETS = ".jp-OutputArea-output.jupyter-widgets, .jp-OutputArea-output > .jupyter-widgets"
SEEN_BY_AXE = """async (selector) => {
    const found = await axe.run(selector, {resultTypes: ["violations"]});
    return found.violations
        .filter(each => ["serious", "critical"].includes(each.impact))
        .map(({id, impact, help, nodes}) => ({id, impact, help, nodes: nodes.map(node => node.html)}));
}"""


class OpenNotebook:
    """A notebook in a page of its own. `page` is Playwright's; `errors` are those of widgets' scripts."""

    def __init__(self, browser: Browser, lab: Lab, path: Path, theme: Theme, width: int, height: int) -> None:
        self.path, self.lab, self.errors = path, lab, list[str]()
        self._client: BlockingKernelClient | None = None
        self._kernel = ""
        self._context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        self.page = self._context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("pageerror", self._uncaught)
        self.page.on("console", self._said)
        self.page.goto(lab.address(path))
        self.page.wait_for_function(OPEN)
        self._kernel = self.page.evaluate(READY)
        self.page.evaluate(ROOM)
        self.dress(theme)

    def renew(self, cells: list[str], theme: Theme, width: int, height: int) -> None:
        """Put other cells into it, before a kernel that has forgotten all: much sooner there than another notebook."""
        self.errors.clear()
        self.page.mouse.move(0, 0)
        self.page.set_viewport_size({"width": width, "height": height})
        self.dress(theme)
        self.python(f"exec({EMPTY_KERNEL!r})")
        self.page.evaluate(OTHER_CELLS, cells)

    def run_all(self) -> bool:
        """Run every cell and wait for the last; False when one raised."""
        return bool(self.page.evaluate(RUN_ALL))

    def run_cell(self, source: str, wait: bool = False) -> int:
        """Add a cell at the end and run it; its index, for `output`."""
        index = int(self.page.evaluate(ADD_CELL, source))
        self.page.evaluate(RUN_CELL, [index, wait])
        return index

    def restart(self) -> bool:
        """A new process behind the same notebook, and every cell run again; False when one raised."""
        self.end_kernel()
        return self.run_all()

    def end_kernel(self) -> None:
        """A new process behind the same notebook, in which nothing has run: its widgets stay in the page."""
        self._leave_kernel()
        self.page.evaluate(RESTART)

    def reload(self) -> None:
        """F5, and every cell run again once what it showed is there again: the kernel is the same.

        A cell that runs while JupyterLab is still fetching a busy kernel's widgets may show nothing (seen with
        jupyterlab_widgets 3.0.17: two answers about one widget, of which it waits for the one that does not come).
        """
        shown = self.page.locator(WIDGETS).count()
        self.page.evaluate(SAVE)
        self.page.reload()
        self.page.wait_for_function(OPEN)
        self.page.evaluate(READY)
        self.page.evaluate(ROOM)
        expect(self.page.locator(WIDGETS)).to_have_count(shown)
        assert self.run_all(), self.text()

    def output(self, index: int) -> Locator:
        """Everything that the cell with this index shows."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputArea")

    def text(self) -> str:
        """What the cells printed or raised, for a failing test."""
        return "\n".join(self.page.locator(".jp-OutputArea-output").all_inner_texts())

    def python(self, expression: str, timeout: float = 30.0) -> Any:
        """The expression's value in the notebook's kernel, by way of JSON; what JSON lacks comes as its repr.

        It is computed when the kernel has done what it is at. Raises RuntimeError with the kernel's traceback.
        """
        client = self._client = self._client or self._attach()
        code = f"__import__('json').dumps(eval({expression!r}), default=repr)"
        reply = client.execute("", silent=True, user_expressions={"value": code}, reply=True, timeout=timeout)
        answer = reply["content"]["user_expressions"]["value"]
        if answer["status"] != "ok":
            raise RuntimeError(f"{expression}\n" + "\n".join(answer["traceback"]))
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def threads(self) -> str:
        """What each thread of the kernel is at, for a failing test."""
        try:
            return str(self.python(f"exec({STACKS!r}) or stacks", 10.0))
        except (RuntimeError, TimeoutError) as error:
            return f"cannot be read: {error}"

    def wait(self, expression: str, timeout: float = 30.0) -> Any:
        """Until the expression is true in the kernel; its value then."""
        deadline = time.monotonic() + timeout
        while True:
            value = self.python(expression, timeout)
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout:g} s in the kernel: {expression} (last: {value!r})")
            self.page.wait_for_timeout(20)  # the page's events are heard meanwhile

    def shot(self, name: str, locator: Locator | None = None) -> Path:
        """A picture of the notebook's content, or of one part of the page, in build/browser/."""
        path = SHOTS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (locator or self.page.locator(".jp-NotebookPanel-notebook")).screenshot(path=path)
        return path

    def axe(self, selector: str = ".jp-Notebook") -> list[dict[str, Any]]:
        """What axe-core finds seriously or critically wrong there. Skips the test where axe-core is not installed."""
        if not AXE.is_file():
            pytest.skip("axe-core is not installed: npm install in tests/studio (make test does it)")
        if not self.page.evaluate("() => window.axe !== undefined"):
            self.page.add_script_tag(path=AXE)
        return list(self.page.evaluate(SEEN_BY_AXE, selector))

    def close(self) -> None:
        self._leave_kernel()
        self._context.close()
        if self._kernel:
            self.lab.end_kernel(self._kernel)
            self._kernel = ""

    def dress(self, theme: Theme) -> None:
        """Show it in this theme, which its system asks for as well."""
        self.page.emulate_media(color_scheme=theme)
        named = f"JupyterLab {theme.capitalize()}"
        self.page.evaluate(THEME, named)
        self.page.wait_for_function(THEMED, arg=named)

    def _attach(self) -> BlockingKernelClient:
        client = BlockingKernelClient(connection_file=str(self.lab.connection_file(self._kernel)))
        client.load_connection_file()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        return client

    def _leave_kernel(self) -> None:
        if self._client is not None:
            self._client.stop_channels()
            self._client = None

    def _uncaught(self, error: Error) -> None:
        stack = error.stack or ""
        if "Failed to initialize model" in error.message and "AbortSignal" in stack:
            return  # anywidget's word for a widget that was closed while the page was still fetching it
        if "blob:" in stack or "anywidget" in stack:  # a widget's script is a blob; the rest is JupyterLab's
            self.errors.append(f"uncaught: {error.message}\n{stack}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and ("blob:" in message.location.get("url", "") or "anywidget" in message.text):
            self.errors.append(f"console.error: {message.text}")


class OpenOne(Protocol):
    """See the fixture `notebook`."""

    def __call__(
        self,
        cells: list[str],
        theme: Theme = "light",
        width: int = 1280,
        height: int = 900,
        env: Mapping[str, str] | None = None,
        raises: bool = False,
        fresh: bool = False,
    ) -> OpenNotebook: ...
