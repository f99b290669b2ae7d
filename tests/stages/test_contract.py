"""Every stage of every extension that comes along keeps the contract; and the contract sees what breaks it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit import Context, Field, Stage
from zimage_kit.errors import BadRequest
from zimage_kit.stages import contract, extensions, scaffold
from zimage_kit.stages.stage import registry, stage

OURS = [extension for extension in extensions.discover() if extension.folder.parent == extensions.checkout()]
KINDS = [kind for extension in OURS for kind in extension.stages]


def test_the_four_extensions_are_there() -> None:
    assert {"control", "pose", "refine", "text_overlay", "upscale", "variety"} <= {extension.name for extension in OURS}
    assert {"control", "pose", "refine", "text_overlay", "upscale", "variety"} <= set(dir(zk.stages))


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_keeps_the_contract(kind: str) -> None:
    contract.check(kind)


@pytest.mark.parametrize("extension", OURS, ids=lambda extension: extension.name)
def test_every_extension_has_a_page_with_pictures_that_are_there_and_all_fields(
    extension: extensions.Extension,
) -> None:
    import re

    page = (extension.folder / "README.md").read_text("utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert pictures
    assert [name for name in pictures if not (extension.folder / name).is_file()] == []
    for kind in extension.stages:
        cls = extensions.stage_class(kind)
        assert cls is not None
        assert [name for name in cls.model_fields if f"`{name}`" not in page] == []


def test_every_extension_has_a_notebook_that_shows_it() -> None:
    checkout = extensions.checkout()
    assert checkout is not None
    pages = [path.read_text("utf-8") for path in (checkout.parent / "notebooks").glob("*.ipynb")]
    assert [kind for kind in KINDS if not any(f"stages.{kind}(" in page for page in pages)] == []


class Careless(Stage):
    """Breaks what can be broken."""

    kind = "test_careless"
    identity: ClassVar[dict[str, Any]] = {"depth": 0}

    depth: int = Field(3, ge=0)

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        image.putpixel((0, 0), (1, 2, 3) if image.mode == "RGB" else (1, 2, 3, 4))
        return image


@pytest.fixture
def careless() -> Iterator[str]:
    stage(Careless)
    yield "test_careless"
    registry.remove("test_careless")


def test_what_breaks_the_contract_is_told_line_by_line(careless: str) -> None:
    with pytest.raises(AssertionError) as caught:
        contract.check(careless)
    for line in (
        "field depth has no description",
        "after() changes a picture of mode RGB with {'depth': 0}",
        "after() changes a picture of mode RGBA",
        "after() changes the picture that it was given",
        "after() returns the picture that it was given",
        "no extension.toml names it",
    ):
        assert line in str(caught.value)


def test_a_stage_that_imports_torch_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path))
    folder = scaffold.write("test_heavy", tmp_path)
    code = folder / "__init__.py"
    code.write_text(code.read_text() + "\nimport torch\n")
    with pytest.raises(AssertionError, match=r"importing it imports \['torch'\]"):
        contract.check("test_heavy")


def test_a_new_extension_is_complete_and_its_own_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path / "mine"))
    folder = scaffold.write("test_glow", tmp_path / "mine")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "README.md", "__init__.py", "extension.toml", "tests/test_test_glow.py",
    ]  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    for name, hint in (("test_glow", "already"), ("My Frame", "For example my_frame"), ("pose", "already")):
        with pytest.raises(BadRequest, match=hint):
            scaffold.write(name, tmp_path / "mine")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "zimage_kit", "extensions", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_list_says_state_version_stages_and_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    done = command("list")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert rows["pose"].split()[:4] == ["pose", "ready", "1.0", "pose"]
    assert set(rows) == {"control", "pose", "refine", "text_overlay", "upscale", "variety"}

    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path))
    good, torn, wanting = (scaffold.write(f"test_{name}", tmp_path) for name in ("good", "torn", "wanting"))
    (torn / "__init__.py").write_text("import a_module_that_is_not_there\n")
    manifest = wanting / "extension.toml"
    manifest.write_text(manifest.read_text().replace("requires = []", 'requires = ["no-such-thing>=2"]'))
    assert command("list").returncode == 0, "nothing is imported to list it"
    done = command("list", "--load", "--json")
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["extensions"]}
    assert done.returncode == 1
    assert (found["test_good"]["state"], found["test_good"]["folder"]) == ("ready", str(good.resolve()))
    assert found["test_torn"]["state"] == "broken"
    assert "a_module_that_is_not_there" in found["test_torn"]["problem"]
    assert "Traceback" in found["test_torn"]["traceback"]
    assert found["test_wanting"]["state"] == "needs packages"
    assert found["test_wanting"]["install"] == 'pip install "no-such-thing>=2"'
    assert 'run: pip install "no-such-thing>=2"' in command("list").stdout


def test_a_new_one_is_written_where_it_is_asked_for_and_says_what_to_do_next(tmp_path: Path) -> None:
    done = command("new", "test_glow", "--in", str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert f"written: {tmp_path / 'mine' / 'test_glow'}" in done.stdout
    assert f"export ZIMAGE_EXTENSIONS={tmp_path / 'mine'}" in done.stderr
    assert command("new", "Not A Name").returncode == 2
