"""The pages beside the README: each is in the table of contents, its links lead somewhere, its code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
BEGIN = "import zimage_kit as zk\nsession = zk.connect()\n"


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Of its headings, as a page on the web has them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text(name)):
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text("utf-8")), f"{target}#{anchor}"


def test_every_page_is_in_the_table_of_contents() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)", text("docs/README.md")))
    assert {f"docs/{name}" for name in linked if "/" not in name} == set(PAGES) - {"CONTRIBUTING.md", "docs/README.md"}
    assert {"../README.md", "../README.zh-CN.md", "../CONTRIBUTING.md", "../CHANGELOG.md"} <= linked
    for name in ("README.md", "README.zh-CN.md"):
        assert "](docs/README.md)" in text(name)


def run(line: list[str], place: Path, **more: str) -> str:
    environment = {**os.environ, "ZIMAGE_OUTPUTS": str(place / "outputs"), "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [("docs/templates.md", ""), ("docs/recipe.md", "8\n"), ("docs/extensions.md", "negative identical\n")],
)
def test_the_python_examples_run_as_they_stand(name: str, said: str, running: Path, tmp_path: Path) -> None:
    code = "\n".join(blocks(name, "python"))
    begin = "" if "zk.connect()" in code else BEGIN
    assert run([sys.executable, "-c", begin + code], tmp_path).endswith(said)


@pytest.mark.slow
def test_the_commands_of_the_page_about_stages_run_as_they_stand(running: Path, tmp_path: Path) -> None:
    (script,) = blocks("docs/extensions.md", "")
    zimage = f'"{sys.executable}" -m zimage_kit'.replace("\\", r"\\")
    out = run(["sh", "-c", "set -e\n" + re.sub(r"^zimage", zimage, script, flags=re.MULTILINE)], tmp_path)
    assert re.search(r"my_frame +ready", out) and (tmp_path / "framed.png").is_file()


def test_the_pane_that_is_shown_is_the_one_that_is_written(tmp_path: Path) -> None:
    run([sys.executable, "-m", "zimage_kit", "extensions", "new", "palette", "--pane", "--in", "mine"], tmp_path)
    folder = tmp_path / "mine" / "palette"
    assert blocks("docs/panes.md", "python") == [(folder / "panes.py").read_text("utf-8")]
    assert blocks("docs/panes.md", "toml") == [(folder / "extension.toml").read_text("utf-8")]


def test_what_contributors_are_told_to_run_is_there() -> None:
    page = text("CONTRIBUTING.md")
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", page)) <= targets
    for name in re.findall(r"`((?:tests|scripts|docs|extensions)/[\w./]+)`", page):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`([a-z]+/\w+\.py)`", page):
        assert (ROOT / "zimage_kit" / name).exists() or (ROOT / name).exists(), name
    gate = re.findall(r"^make ([\w -]+)$", text(".ci/run"), re.MULTILINE)
    (check,) = re.findall(r"^check: ([^#]+)", text("Makefile"), re.MULTILINE)
    assert gate == check.split(), "`make check` is what CI runs"
