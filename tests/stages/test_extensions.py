"""Extensions are read without running them; a broken one is told and skipped and never stops the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import Request
from zimage_kit.errors import BadRequest, ExtensionProblem
from zimage_kit.stages import extensions
from zimage_kit.stages.stage import registry

MANIFEST = 'name = "{name}"\nsummary = "a test"\napi = 1\nstages = [{stages}]\n'
CODE = '''"""A test."""
from PIL import Image
from zimage_kit import Context, Field, Stage, stage

@stage
class Frame(Stage):
    """A frame."""
    kind = "{kind}"
    width: int = Field(4, ge=1, le=64, description="pixels")

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        return image.copy()
'''


def write(root: Path, name: str, stages: tuple[str, ...], code: str, extra: str = "") -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    quoted = ", ".join(f'"{kind}"' for kind in stages)
    (folder / "extension.toml").write_text(MANIFEST.format(name=name, stages=quoted) + extra)
    (folder / "__init__.py").write_text(code)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(registry.kinds())
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path / "mine"))
    yield tmp_path / "mine"
    for kind in set(registry.kinds()) - before:
        registry.remove(kind)
    for name in [name for name in sys.modules if name.startswith("zimage_extensions.")]:
        del sys.modules[name]


def found(name: str) -> extensions.Extension:
    return next(extension for extension in extensions.discover() if extension.name == name)


def test_manifests_are_read_without_running_code(root: Path) -> None:
    write(root, "loud", ("loud_stage",), "raise SystemExit('this must not run')")
    assert found("loud").stages == ("loud_stage",)
    assert "loud_stage" in extensions.kinds()
    assert "loud_stage" in dir(zk.stages)
    assert registry.get("loud_stage") is None


def test_a_stage_is_imported_when_it_is_first_needed(root: Path) -> None:
    write(root, "frames", ("test_frame",), CODE.format(kind="test_frame"))
    assert "zimage_extensions.frames" not in sys.modules
    stage = zk.stages.test_frame(width=9)
    assert "zimage_extensions.frames" in sys.modules
    data = Request(prompt="x").then(stage).stages
    assert extensions.build_stages(data) == (stage,)


def test_a_broken_extension_is_told_and_stops_nobody_else(root: Path) -> None:
    broken = write(root, "broken", ("test_broken",), "import a_module_that_is_not_there")
    write(root, "frames", ("test_frame",), CODE.format(kind="test_frame"))
    (write(root, "torn", (), "") / "extension.toml").write_text("name = ")
    (write(root, "old", (), "") / "extension.toml").write_text('name = "old"\napi = 7\n')
    with pytest.raises(ExtensionProblem, match="a_module_that_is_not_there") as caught:
        zk.stages.test_broken  # noqa: B018
    assert str(broken) in str(caught.value)
    assert "Traceback" in caught.value.facts["traceback"]
    assert "a_module_that_is_not_there" in found("broken").problem
    assert "cannot be read" in found("torn").problem
    assert "api=7; expected 1" in found("old").problem
    assert zk.stages.test_frame(width=3).width == 3


def test_an_extension_that_ends_the_program_does_not(root: Path) -> None:
    write(root, "rude", ("test_rude",), "raise SystemExit('I am leaving')")
    with pytest.raises(ExtensionProblem, match="SystemExit: I am leaving"):
        zk.stages.test_rude  # noqa: B018
    assert found("rude").state == "broken"


def test_an_extension_that_breaks_half_way_leaves_no_stage_behind(root: Path) -> None:
    write(root, "half", ("test_half",), CODE.format(kind="test_half") + "\nraise RuntimeError('too late')\n")
    with pytest.raises(ExtensionProblem, match="too late"):
        zk.stages.test_half  # noqa: B018
    assert registry.get("test_half") is None


def test_two_extensions_with_one_kind_are_both_named(root: Path) -> None:
    one = write(root, "one", ("test_twice",), CODE.format(kind="test_twice"))
    two = write(root, "two", ("test_twice",), CODE.format(kind="test_twice"))
    with pytest.raises(ExtensionProblem) as caught:
        zk.stages.test_twice  # noqa: B018
    assert str(one) in str(caught.value)
    assert str(two) in str(caught.value)


def test_two_extensions_of_one_name_are_both_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write(root, "same", ("test_one",), CODE.format(kind="test_one"))
    two = write(tmp_path / "other", "same", ("test_two",), CODE.format(kind="test_two"))
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", f"{root}{os.pathsep}{tmp_path / 'other'}")
    for kind in ("test_one", "test_two"):
        with pytest.raises(ExtensionProblem, match="extension 'same'") as caught:
            getattr(zk.stages, kind)
        assert str(one) in str(caught.value)
        assert str(two) in str(caught.value)


def test_code_that_was_changed_is_imported_anew(root: Path) -> None:
    folder = write(root, "frames", ("test_frame",), CODE.format(kind="test_frame"))
    (folder / "inner.py").write_text("DEPTH = 1\n")
    code = folder / "__init__.py"
    code.write_text(code.read_text() + "\nfrom .inner import DEPTH\n")
    assert zk.stages.test_frame().width == 4
    stamp = extensions.code_digest_of("test_frame")
    code.write_text(code.read_text().replace("Field(4,", "Field(44,"))
    (folder / "inner.py").write_text("DEPTH = 22\n")
    assert zk.stages.test_frame().width == 44
    assert extensions.load_module("frames").DEPTH == 22
    assert extensions.code_digest_of("test_frame") != stamp, "or a picture made by the old code would be shown"


def test_an_extension_broken_by_a_change_is_told_and_mended_by_the_next(root: Path) -> None:
    folder = write(root, "frames", ("test_frame",), CODE.format(kind="test_frame"))
    assert zk.stages.test_frame().width == 4
    code, whole = folder / "__init__.py", (folder / "__init__.py").read_text()
    code.write_text(whole + "\nraise RuntimeError('half way')\n")
    for _ in range(2):
        with pytest.raises(ExtensionProblem, match="half way"):
            zk.stages.test_frame  # noqa: B018
    assert found("frames").state == "broken"
    code.write_text(whole)
    assert zk.stages.test_frame().width == 4
    assert found("frames").state == "ready"


def test_a_requirement_that_is_none_is_told(root: Path) -> None:
    write(root, "odd", ("test_odd",), "", 'requires = ["pillow >"]\n')
    assert found("odd").state == "broken"
    assert "requires:" in found("odd").problem


def test_what_an_extension_requires_is_told_with_the_command_and_never_installed(root: Path) -> None:
    extra = 'requires = ["pillow", "pydantic>=999", "no-such-thing; python_version < \'3\'"]\n'
    write(root, "wanting", ("test_wanting",), CODE.format(kind="test_wanting"), extra)
    assert found("wanting").missing == ("pydantic>=999",)
    with pytest.raises(ExtensionProblem, match='pip install "pydantic>=999"'):
        zk.stages.test_wanting  # noqa: B018


def test_a_manifest_that_promises_more_than_the_code_has_is_told(root: Path) -> None:
    write(root, "empty", ("test_absent",), '"""Nothing."""')
    with pytest.raises(ExtensionProblem, match="test_absent"):
        zk.stages.test_absent  # noqa: B018


def test_an_unknown_kind_names_the_closest(root: Path) -> None:
    write(root, "frames", ("test_frame",), CODE.format(kind="test_frame"))
    with pytest.raises(BadRequest, match="Did you mean test_frame?"):
        extensions.build_stages(Request(prompt="x", stages=[{"kind": "test_farme"}]).stages)
    assert not hasattr(zk.stages, "nothing_like_this")


def test_an_installed_package_brings_its_extension(tmp_path: Path) -> None:
    package = write(tmp_path / "site", "installed_frames", ("test_installed",), CODE.format(kind="test_installed"))
    metadata = package.parent / "installed_frames-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-frames\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[zimage_kit.extensions]\nframes = installed_frames\n")
    code = (
        "import sys; from zimage_kit import stages; from zimage_kit.stages import extensions;"
        "found = {e.name: e for e in extensions.discover()}['installed_frames'];"
        "assert found.stages == ('test_installed',), found;"
        "assert 'installed_frames' not in sys.modules;"
        "print(stages.test_installed(width=5).width)"
    )
    path = [str(package.parent), str(Path(zk.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}; {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "5"), done.stderr
