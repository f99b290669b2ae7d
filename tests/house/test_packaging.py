"""What is installed, and that the files which say so agree with each other and with the code."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import zimage_kit

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
NAMED_BY_THE_USER = (
    "torch", "diffusers", "transformers", "modelscope", "ipywidgets", "jupyterlab", "controlnet-aux", "realesrgan",
    "pillow",
)  # fmt: skip

# The name to import is not the name to install.
INSTALLED_AS = {
    "PIL": "pillow",
    "pynvml": "nvidia-ml-py",
    "huggingface_hub": "huggingface-hub",
    "modelscope_hub": "modelscope",
    "yaml": "pyyaml",
    "tqdm": "huggingface-hub",
    "tornado": "distributed",
    "IPython": "ipykernel",
    "jupyter_client": "ipykernel",
    "jupyter_server": "voila",
    "traitlets": "ipywidgets",
}


def names(lines: list[str]) -> set[str]:
    return {Requirement(line).name for line in lines}


def everything() -> set[str]:
    """All that `zimage-kit[all]` brings, extras followed."""
    found, todo = names(PROJECT["dependencies"]), ["all"]
    while todo:
        for line in EXTRAS[todo.pop()]:
            requirement = Requirement(line)
            if requirement.name == PROJECT["name"]:
                todo.extend(requirement.extras)
            else:
                found.add(requirement.name)
    return found


BROUGHT_BY = {"triton": "torch", "requests": "modelscope"}
"""triton where it is there: torch's builds for GPUs require the very version that they were built for. requests is what
ModelScope's client speaks through, and the first contact with that hub goes the same way."""


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["version"] == zimage_kit.__version__
    assert f"## {zimage_kit.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_conda_environment_installs_this_project_with_everything() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "python=3.12" in conda
    assert "pip" in conda
    assert pip == ["-e .[all]"], "packages are listed in pyproject.toml only, so that the two cannot drift apart"


def test_everything_holds_every_package_the_project_is_for() -> None:
    assert set(NAMED_BY_THE_USER) <= everything()
    optional = {name for name in EXTRAS if name not in ("all", "dev")}
    assert Requirement(EXTRAS["all"][0]).extras == optional, "a new extra belongs into `all` too"


def test_python_312_can_take_every_package() -> None:
    """environment.yml promises 3.12; a marker must not leave a package out there."""
    lines = [line for extra in EXTRAS.values() for line in extra] + PROJECT["dependencies"]
    for requirement in map(Requirement, lines):
        if requirement.marker is not None:
            assert requirement.marker.evaluate({"python_version": "3.12", "python_full_version": "3.12.0"}), requirement


def test_every_package_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("[project.optional-dependencies]")]
    for line in block.splitlines():
        if line.strip().startswith('"'):
            assert re.search(r"#\s\S+", line), f"why is this needed: {line.strip()}"


def test_what_is_imported_is_declared() -> None:
    declared = names(PROJECT["dependencies"]) | {n for extra in EXTRAS.values() for n in names(extra)}
    undeclared = set()
    for path in (ROOT / "zimage_kit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
            for module in modules:
                top = module.split(".")[0]
                if top in sys.stdlib_module_names or top in ("zimage_kit", ""):
                    continue
                if BROUGHT_BY.get(top, INSTALLED_AS.get(top, top)).lower() not in declared:
                    undeclared.add(f"{top} ({path.relative_to(ROOT)})")
    assert undeclared == set()


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "README.zh-CN.md"):
        promised = set(re.findall(r"make ([a-z-]+)", (ROOT / page).read_text()))
        assert promised <= targets, page
        assert {"lab", "test"} <= promised, page


@pytest.mark.slow
def test_the_wheel_holds_the_weights_and_the_model_card(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in ("zimage_kit", "extensions", "notebooks"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "zimage_kit").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in held
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        assert f"zimage_kit/cli/course_notebooks/{path.relative_to(ROOT / 'notebooks').as_posix()}" in held
    code = (  # from the wheel alone, in which there is no checkout
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from zimage_kit import cli\n"
        "cli.call(['lab', '--copy', sys.argv[2]])\n"
    )
    unpacked, mine = tmp_path / "unpacked", tmp_path / "mine"
    zipfile.ZipFile(wheel).extractall(unpacked)
    done = subprocess.run(
        [sys.executable, "-c", code, str(unpacked), str(mine)], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "notebooks written to" in done.stdout
    assert {path.name for path in mine.glob("*.ipynb")} == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
