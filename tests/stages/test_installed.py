"""Extensions from installed packages: a small wheel that is built and installed here, and those of our own wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zimage_kit.stages import scaffold

ROOT = Path(__file__).resolve().parents[2]
WHEEL = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w"]
INSTALL = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--disable-pip-version-check", "--target"]


def installed(wheel: Path, site: Path) -> Path:
    subprocess.run([*INSTALL, str(site), str(wheel)], check=True, capture_output=True)
    return site


def run(code: str, *path: Path, cwd: Path) -> str:
    """What a fresh process prints that sees these folders before everything else."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_wheel_brings_an_extension(tmp_path: Path) -> None:
    source = tmp_path / "source"
    folder = scaffold.write("test_border", source)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "zimage-border"\nversion = "2.5"\n'
        '[project.entry-points."zimage_kit.extensions"]\nborder = "test_border"\n'
        '[tool.setuptools]\npackages = ["test_border"]\n'
        '[tool.setuptools.package-data]\ntest_border = ["extension.toml", "README.md"]\n'
    )
    manifest = folder / "extension.toml"
    manifest.write_text(manifest.read_text().replace('version = "0.1"\n', ""))
    subprocess.run([*WHEEL, str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = installed(wheel, tmp_path / "site")
    code = (
        "import sys, json; from PIL import Image; import zimage_kit as zk; from zimage_kit.stages import extensions;"
        "found = {e.name: e for e in extensions.discover()}['test_border'];"
        "assert 'test_border' not in sys.modules;"
        "picture = zk.stages.test_border(width=0.5, colour='red').after("
        "    Image.new('RGB', (8, 8)), zk.Context(zk.Request(prompt='x')));"
        "print(json.dumps([found.state, found.version, str(found.folder), picture.getpixel((0, 0))]))"
    )
    state, version, place, pixel = json.loads(run(code, site, ROOT, cwd=tmp_path))
    assert (state, version, pixel) == ("ready", "2.5", [255, 0, 0])
    assert Path(place) == (site / "test_border").resolve()


@pytest.mark.slow
def test_the_four_extensions_are_in_our_wheel_and_work_from_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    nothing = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(ROOT / "zimage_kit", source / "zimage_kit", ignore=nothing)
    for name in ("extensions", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=nothing)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run([*WHEEL, str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = installed(wheel, tmp_path / "site")
    code = (
        "import json, zimage_kit as zk; from zimage_kit.stages import extensions;"
        "found = extensions.discover();"
        "made = [getattr(zk.stages, kind)().kind for e in found for kind in e.stages];"
        "print(json.dumps([zk.__file__, [[e.name, e.state, e.problem, str(e.folder)] for e in found], made]))"
    )
    package, found, made = json.loads(run(code, site, cwd=tmp_path))
    assert Path(package).is_relative_to(site)
    ours = {name: (state, problem) for name, state, problem, folder in found if Path(folder).is_relative_to(site)}
    assert ours == dict.fromkeys(("control", "pose", "refine", "text_overlay", "upscale", "variety"), ("ready", ""))
    assert sorted(made) == ["control", "inpaint", "pose", "refine", "text_overlay", "upscale", "variety"]
    assert not list(site.rglob("extensions/*/tests")), "tests stay in the checkout"
