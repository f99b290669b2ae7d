"""Panes: the studio's own keep the contract, and a stranger's is found, works and can be broken without harm."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from zimage_kit import Session
from zimage_kit.errors import ExtensionProblem
from zimage_kit.stages import scaffold, scaffold_pane
from zimage_kit.studio.panel.studio import Studio
from zimage_kit.studio.panes import contract
from zimage_kit.studio.panes.registry import BUILT_IN, pane_classes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("pane", BUILT_IN, ids=lambda pane: pane.name)
def test_our_own_keep_the_contract(pane: type) -> None:
    contract.check(pane.name)  # type: ignore[attr-defined]


def test_a_new_one_is_complete_and_its_own_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path / "mine"))
    folder = scaffold.write("test_palette", tmp_path / "mine", pane=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    found, problems = pane_classes()
    assert [pane.name for pane in found][-1] == "test_palette" and problems == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("class ", "class Other"), None),
        (('name = "test_torn"', 'name = "another"'), "names a pane 'test_torn'"),
        (("import ipywidgets as w", "import a_module_that_is_not_there"), "does not load.*a_module_that_is_not_there"),
        (('name = "test_torn"', 'name = "library"'), "names a pane 'test_torn'"),
    ],
)
def test_a_broken_one_is_told_and_the_studio_works_without_it(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], problem: str | None
) -> None:
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path))
    file = scaffold.write("test_torn", tmp_path, pane=True) / "panes.py"
    file.write_text(file.read_text("utf-8").replace(*change), "utf-8")
    studio = Studio(session, language="en", save=False)
    assert ("test_torn" in studio.panes) == (problem is None)
    if problem is not None:
        assert isinstance(studio.problem.error, ExtensionProblem)
        assert re.search(problem, str(studio.problem.error))
    assert {pane.name for pane in BUILT_IN} <= set(studio.panes)
    studio.close()


def test_two_of_one_name_are_told(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path))
    folder = scaffold.write("test_twice", tmp_path, pane=True)
    manifest, code = folder / "extension.toml", folder / "panes.py"
    manifest.write_text(manifest.read_text("utf-8").replace('panes = ["test_twice"]', 'panes = ["library"]'), "utf-8")
    code.write_text(code.read_text("utf-8").replace('name = "test_twice"', 'name = "library"'), "utf-8")
    _, problems = pane_classes()
    assert any("there is a pane 'library' already" in str(problem) for problem in problems)


def test_what_breaks_the_contract_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path))
    file = scaffold.write("test_bad", tmp_path, pane=True) / "panes.py"
    text = file.read_text("utf-8").replace('return {"colours": self.colours}', 'return {"colours": {1, 2}}')
    file.write_text(text.replace('    """The main colours of a picture, as swatches."""\n', ""), "utf-8")
    with pytest.raises(AssertionError) as caught:
        contract.check("test_bad")
    for line in ("the class has no docstring", "state() is no JSON"):
        assert line in str(caught.value)
    with pytest.raises(AssertionError, match="no pane 'nothing'"):
        contract.check("nothing")


def test_the_page_for_authors_has_the_code_that_is_tested_here() -> None:
    page = (ROOT / "docs" / "panes.md").read_text("utf-8")
    code = scaffold_pane.PANES.format(name="palette", title="Palette")
    assert f"```python\n{code}```" in page
    assert scaffold_pane.MANIFEST.format(name="palette") in page
