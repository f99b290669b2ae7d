"""The scripts without a browser: Node tests their logic (`tests/js`), and takes each of them as the page gets it."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from zimage_kit.grid import web_page
from zimage_kit.stages import extensions
from zimage_kit.studio.grid_view.board import Board
from zimage_kit.studio.panel.bar import Bar
from zimage_kit.studio.panel.viewer import Viewer
from zimage_kit.studio.panes.compare.slider import Compare

ROOT = Path(__file__).resolve().parents[2]
TESTS = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))
OLDEST = 18
editor: Any = import_module(f"{extensions.load_module('pose').__name__}.editor")
WIDGETS: list[Any] = [Bar, Viewer, Compare, Board, editor.PoseEditor]
WHOLE = """
const { default: found } = await import(process.argv[1]);
const widget = typeof found === "function" ? await found() : found;
if (typeof widget.render !== "function") throw new Error("it renders nothing");
"""


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("no Node on this machine, so the scripts' logic is not tested (`npm` brings it)")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
        pytest.skip(f"Node {version.strip()} is too old to test the scripts' logic; it takes {OLDEST}")
    return found


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.partition(".")[0])
def test_the_logic_of_the_scripts(node: str, file: Path) -> None:
    run(node, "--test", file)


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
def test_a_widgets_script_is_whole(node: str, widget: Any, tmp_path: Path) -> None:
    """As anywidget imports it: one module, whose names do not clash, with a widget for its default."""
    script = tmp_path / "widget.mjs"
    script.write_text(str(widget._esm), "utf-8")
    run(node, "--input-type=module", "--eval", WHOLE, script.as_uri())


def test_the_web_pages_script_is_whole(node: str, tmp_path: Path) -> None:
    script = tmp_path / "page.mjs"
    script.write_text("\n".join(map(web_page._asset, web_page._SCRIPTS)), "utf-8")
    run(node, "--check", script)


def test_every_script_is_joined_into_what_the_page_gets() -> None:
    served = [str(widget._esm) for widget in WIDGETS] + ["\n".join(map(web_page._asset, web_page._SCRIPTS))]
    folders = [ROOT / "zimage_kit", Path(editor.__file__).parent]
    scripts = [file for folder in folders for file in folder.rglob("*.js")]
    assert len(scripts) > 15
    left_out = [file.name for file in scripts if not any(file.read_text("utf-8") in whole for whole in served)]
    assert left_out == []
    assert not [file.name for file in scripts if re.search(r"^import ", file.read_text("utf-8"), re.M)], (
        "a script in a page cannot import its neighbours"
    )
