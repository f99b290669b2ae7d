"""What the tests beside this file rely on: a click in the page is felt in the kernel, and nothing goes wrong unseen."""

from __future__ import annotations

import pytest
from lab import Lab
from opened import OpenOne
from playwright.sync_api import expect

from zimage_kit.session.shared import launch

BUTTON = """
import ipywidgets
button, clicks = ipywidgets.Button(description="Press"), []
button.on_click(clicks.append)
button
"""
COUNTER = '''
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    """Counts in the page, breaks on demand."""

    _esm = """
    export default {
        render({model, el}) {
            const button = document.createElement("button");
            button.textContent = "count";
            button.onclick = () => {
                if (model.get("count") === 2) throw new Error("no more than two");
                model.set("count", model.get("count") + 1);
                model.save_changes();
            };
            el.append(button);
        }
    };
    """
    count = traitlets.Int(0).tag(sync=True)

counter = Counter()
counter
'''
CONNECT = "import zimage_kit as zk; session = zk.connect()"
BACKGROUND = "getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim()"


def test_a_click_in_the_page_is_felt_in_the_kernel(notebook: OpenOne) -> None:
    nb = notebook([BUTTON, "print('ran')"])
    expect(nb.output(1)).to_contain_text("ran")
    assert nb.python("len(clicks)") == 0
    nb.output(0).get_by_role("button", name="Press").click()
    nb.wait("len(clicks) == 1")
    assert nb.axe(".jp-OutputArea-output") == []
    assert nb.python("[clicks[0] is button, button, None]")[0] is True
    with pytest.raises(RuntimeError, match="nothing_of_that_name"):
        nb.python("nothing_of_that_name")

    added = nb.run_cell("print(6 * 7)", wait=True)
    expect(nb.output(added)).to_have_text("42")
    assert nb.restart()
    assert nb.python("len(clicks)") == 0, "another process, the same notebook"
    expect(nb.output(0).get_by_role("button", name="Press")).to_be_visible()


@pytest.mark.parametrize(("theme", "color"), [("dark", ("#111111", "#111")), ("light", ("white", "#fff"))])
def test_a_notebook_opens_in_the_theme_and_width_asked_for(notebook: OpenOne, theme: str, color: str) -> None:
    nb = notebook(["1 + 1"], theme=theme)
    assert nb.page.evaluate(BACKGROUND) in color
    box = nb.page.locator(".jp-NotebookPanel-notebook").bounding_box()
    assert box is not None
    assert box["width"] >= 1250, "nothing beside the notebook takes room from it"
    assert nb.shot(f"harness_{theme}").stat().st_size > 1000


def test_a_widgets_script_runs_and_its_errors_are_noticed(notebook: OpenOne) -> None:
    nb = notebook([COUNTER])
    button = nb.output(0).get_by_role("button", name="count")
    for count in (1, 2):
        button.click()
        nb.wait(f"counter.count == {count}")
    assert nb.errors == []
    with nb.page.expect_event("pageerror"):
        button.click()
    (error,) = nb.errors
    assert "no more than two" in error
    nb.errors.clear()


def test_a_kernel_has_the_environment_asked_for_and_goes_with_its_notebook(notebook: OpenOne, lab: Lab) -> None:
    before = set(lab.kernels())
    nb = notebook([CONNECT, "import os; 1 / 0"], env={"ZIMAGE_LANG": "zh"}, raises=True)
    expect(nb.output(1)).to_contain_text("ZeroDivisionError")
    assert nb.python("os.environ['ZIMAGE_LANG']") == "zh"
    nb.wait("session.status().state == 'idle'", timeout=60)
    assert (lab.state / launch.FILE).is_file(), "the session is the tests' own"
    (kernel,) = set(lab.kernels()) - before
    nb.close()
    assert kernel not in lab.kernels()
