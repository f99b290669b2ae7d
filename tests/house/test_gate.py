"""What the tests rely on: whose warnings fail one, and that no setting of the machine's owner is in force."""

from __future__ import annotations

import os
import re
import subprocess
import warnings
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["zimage_kit.recipe.request", "zimage_extensions.pose", "test_gate", "conftest"])
def test_a_warning_from_our_modules_fails_a_test(module: str) -> None:
    with pytest.raises(DeprecationWarning, match="old"):
        warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, module)


def test_a_warning_from_a_dependency_fails_none() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, "diffusers.utils")
    assert [str(each.message) for each in heard] == ["old"]


def test_no_setting_of_the_machines_owner_is_in_force() -> None:
    assert {name for name in os.environ if name.startswith("ZIMAGE_")} == {"ZIMAGE_OUTPUTS", "ZIMAGE_STATE"}


def test_the_tracked_files_stay_small() -> None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True).stdout
    sizes = {name: (root / name).stat().st_size for name in filter(None, names.split("\0")) if (root / name).is_file()}
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:12]
    assert sum(sizes.values()) < 48e6, {name: sizes[name] for name in largest}


def test_no_test_closes_the_session_that_all_tests_of_a_process_share() -> None:
    """Connecting with the same settings gives the same engine, and `with` closes it, for the next test too."""
    closes = re.compile(r'(with|\n {4,})[ \w.=(]*connect\("inline"(, device="cpu")?\) as')
    root = Path(__file__).parents[2]
    paths = [path for folder in ("tests", "extensions") for path in (root / folder).rglob("test_*.py")]
    assert len(paths) > 100
    assert [str(path.relative_to(root)) for path in paths if closes.search(path.read_text("utf-8"))] == []
