"""What is installed, and that the files which say so agree with each other and with the code."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import metadata
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
    "modelscope_hub": "modelscope-hub",
    "controlnet_aux": "controlnet-aux",
    "cv2": "opencv-python-headless",
    "IPython": "ipython",
    "jupyter_client": "jupyter-client",
    "jupyter_server": "jupyter-server",
}
BROUGHT_BY = {"triton": "torch", "basicsr": "realesrgan"}
"""triton where it is there: torch's builds for GPUs require the very version that they were built for. basicsr has the
networks that realesrgan, by the same author, runs."""

AT_THE_TOP = {
    "zimage_kit/engine": "engine",
    "zimage_kit/nano": "engine",
    "zimage_kit/studio": "notebook",
    "zimage_kit/notebook": "notebook",
    "extensions/pose/editor.py": "notebook",
    "extensions/refine/painter.py": "notebook",
    "extensions/upscale/tiles.py": "engine",
}
"""Where a module may import what an extra brings at its top. Elsewhere only inside of functions, so that a light client
can import it."""


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


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """(the package as it is installed, at the top of the module?) of what a module imports from elsewhere."""
    tree = ast.parse(path.read_text("utf-8"))

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if isinstance(child, ast.Import):
                modules = [alias.name for alias in child.names]
            else:
                modules = [child.module or ""] if isinstance(child, ast.ImportFrom) and not child.level else []
            for name in (module.partition(".")[0] for module in modules):
                if name not in sys.stdlib_module_names and name not in ("zimage_kit", "zimage_extensions", ""):
                    yield BROUGHT_BY.get(name, INSTALLED_AS.get(name, name)), top
            inside = for_types or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, top and not inside)

    return visit(tree, True)


def sources() -> list[Path]:
    """Every module that is installed."""
    paths = [path for folder in ("zimage_kit", "extensions") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in paths if "tests" not in path.parts]


def test_what_is_imported_is_declared() -> None:
    undeclared = {
        f"{name} ({path.relative_to(ROOT)})"
        for path in sources()
        for name, _ in imported(path)
        if name not in everything()
    }
    assert undeclared == set()


def test_only_what_every_installation_has_is_imported_at_the_top() -> None:
    base = names(PROJECT["dependencies"])
    wrong = set()
    for path in sources():
        own = path.relative_to(ROOT).as_posix()
        extras = [extra for place, extra in AT_THE_TOP.items() if own == place or own.startswith(f"{place}/")]
        allowed = base.union(*(names(EXTRAS[extra]) for extra in extras))
        wrong |= {f"{name} ({own})" for name, top in imported(path) if top and name not in allowed}
    assert wrong == set()


def test_what_is_declared_is_imported() -> None:
    """Or it is there for a reason that no import shows."""
    unseen = {
        "jupyterlab": "a program that is started",
        "ipykernel": "the kernels that run notebooks",
        "torchvision": "diffusers and transformers import it",
        "rich": "typer and the progress bars import it",
        "cryptography": "distributed makes the session's certificate with it",
        "modelscope": "brings modelscope-hub in a version that fits",
        "matplotlib": "controlnet-aux imports it",
        "traitlets": "named apart, since widgets are made of it",
    }
    seen = {name for path in sources() for name, _ in imported(path)}
    assert everything() - seen <= set(unseen)


def test_an_upper_bound_has_its_reason_beside_it() -> None:
    """It keeps people from a newer version, so the line says what is used that may change, and where it was seen."""
    bounded = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if re.match(r'\s+"[^"]+,<', line)]
    assert len(bounded) > 6
    for line in bounded:
        assert "#" in line, f"why not newer: {line.strip()}"
    held = {
        Requirement(line).name
        for line in PROJECT["dependencies"] + EXTRAS["engine"] + EXTRAS["notebook"]
        if ",<" in line
    }
    assert {
        "modelscope-hub",
        "distributed",
        "dask",
        "torch",
        "diffusers",
        "transformers",
        "ipywidgets",
        "voila",
    } <= held


def test_what_draws_comes_with_the_engine_only() -> None:
    heavy = {"torch", "torchvision", "diffusers", "transformers", "spandrel", "safetensors"}
    assert heavy == names(EXTRAS["engine"])
    assert not heavy & (names(PROJECT["dependencies"]) | names(EXTRAS["notebook"]))
    assert "EXTRAS   ?= engine,notebook" in (ROOT / "Makefile").read_text(), "`make lab` draws"


PERMISSIVE = {
    "Apache-2.0", "MIT", "BSD", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Zlib", "CC0-1.0", "MIT-CMU", "PSF", "BSL-1.0",
    "Apache-2.0 WITH LLVM-exception",
}  # fmt: skip
FILE_BY_FILE = {"tqdm": "MPL-2.0", "hypothesis": "MPL-2.0"}
"""Whose licence asks that changes to its own files stay free; nothing of it is changed or copied here."""


def test_every_dependency_has_a_permissive_licence() -> None:
    page = (ROOT / "docs" / "licences.md").read_text()
    rows = dict(re.findall(r"^\| ([\w.-]+) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    rows.pop("package", None)
    declared = names(PROJECT["dependencies"]).union(*map(names, EXTRAS.values())) - {PROJECT["name"]}
    assert set(rows) == declared, "run: python scripts/licences.py"
    for name, licence in rows.items():
        parts = set(re.split(r" AND | OR ", licence.strip())) - {FILE_BY_FILE.get(name, "")}
        assert parts <= PERMISSIVE, f"{name}: {licence}"


def test_the_licences_are_read_from_the_packages() -> None:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "licences.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs" / "licences.md").read_text()
    assert page.startswith(script.HEAD)
    assert [script.licence(metadata(name)) for name in ("typer", "torch", "ipykernel", "jupyterlab")] == [
        "MIT", re.findall(r"^\| torch \| [^|]+ \| ([^|]+) \|", page, re.MULTILINE)[0], "BSD-3-Clause", "BSD",
    ]  # fmt: skip


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "README.zh-CN.md"):
        promised = set(re.findall(r"make ([a-z-]+)", (ROOT / page).read_text()))
        assert promised <= targets, page
        assert {"lab", "test"} <= promised, page


def read_text(wheel: Path, name: str) -> str:
    return zipfile.ZipFile(wheel).read(name).decode()


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_its_course(tmp_path: Path) -> None:
    """Weights, scripts, texts, notebooks: all that is tracked but tests and the pictures of the extensions' pages."""
    source = tmp_path / "source"
    for folder in ("zimage_kit", "extensions", "notebooks"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    inside = {
        "extensions": "zimage_extensions",
        "notebooks": "zimage_kit/cli/course_notebooks",
        "zimage_kit": "zimage_kit",
    }
    missing = []
    for folder, place in inside.items():
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT / folder)
            if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(name.parts):
                beside = folder == "extensions" and {"tests", "images"} & set(name.parts)
                if not beside and f"{place}/{name.as_posix()}" not in held:
                    missing.append(f"{folder}/{name}")
    assert missing == []
    (about,) = (name for name in held if name.endswith("METADATA"))
    required = [
        Requirement(line) for line in re.findall(r"^Requires-Dist: (.+)$", read_text(wheel, about), re.MULTILINE)
    ]
    assert {each.name for each in required if each.marker is None} == names(PROJECT["dependencies"])
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
