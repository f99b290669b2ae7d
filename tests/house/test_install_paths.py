"""The ways of installing: the page about them, the container's recipe, and the conda file name what there is."""

from __future__ import annotations

import json
import re
import shlex

from packaging.requirements import Requirement
from test_packaging import EXTRAS, PROJECT, ROOT

PAGES = ("docs/guide.md", "docs/guide.zh-CN.md", "docs/install.md")
RECIPE = (ROOT / "Containerfile").read_text()


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, its words) of a Containerfile, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(each[0], each[2]) for line in joined.splitlines() if line for each in [line.partition(" ")]]


def test_every_extra_that_a_page_or_a_message_names_exists() -> None:
    paths = [ROOT / name for name in PAGES] + list((ROOT / "zimage_kit").rglob("*.py"))
    named = 0
    for path in paths:
        for extras in re.findall(r'(?:zimage-kit|"\.|-e \.|\[")\[([a-z,]+)\]"', path.read_text("utf-8")):
            named += 1
            assert set(extras.split(",")) <= set(EXTRAS), f"{path}: [{extras}]"
    assert named > 8


def test_both_guides_have_a_row_for_each_extra() -> None:
    for page in PAGES[:2]:
        rows = re.findall(r"^\| `([a-z]+)` \| ", (ROOT / page).read_text("utf-8"), re.MULTILINE)
        assert set(EXTRAS) - {"dev"} <= set(rows), page


def test_the_versions_of_python_on_the_page_are_those_that_pip_takes() -> None:
    assert PROJECT["requires-python"] == ">=3.11"
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "docs" / "install.md").read_text()


def test_the_image_runs_without_root_and_keeps_models_and_pictures_outside() -> None:
    found = instructions(RECIPE)
    kinds = [kind for kind, _ in found]
    assert kinds.count("FROM") == 2, "what builds stays out of the image"
    final = found[len(kinds) - 1 - kinds[::-1].index("FROM") :]
    said = dict(final)
    assert said["USER"] not in ("0", "root")
    assert kinds.index("USER") > max(place for place, kind in enumerate(kinds) if kind == "RUN")
    assert said["VOLUME"] == '["/data/models", "/data/outputs"]'
    for variable, folder in (("ZIMAGE_MODELS", "/data/models"), ("ZIMAGE_OUTPUTS", "/data/outputs")):
        assert f"{variable}={folder}" in shlex.split(said["ENV"])
    assert "ZIMAGE_STATE=" in said["ENV"] and "/data" not in said["ENV"].partition("ZIMAGE_STATE=")[2]
    assert "zimage session status" in said["HEALTHCHECK"] and ":7860" in said["HEALTHCHECK"]
    assert said["EXPOSE"] == "7860"
    assert json.loads(said["CMD"]) == ["zimage", "app", "--host", "0.0.0.0", "--no-browser"]


def test_the_image_has_the_package_as_pip_builds_it() -> None:
    """Every folder that pyproject.toml takes files from is copied, and let through by .containerignore."""
    copied = {word for kind, words in instructions(RECIPE) if kind == "COPY" for word in words.split()[:-1]}
    let_through = set(re.findall(r"^!(.+)$", (ROOT / ".containerignore").read_text(), re.MULTILINE))
    needed = {"pyproject.toml", "README.md", "LICENSE", "zimage_kit", "extensions", "notebooks"}
    assert needed <= copied & let_through
    extras = re.search(r"^ARG EXTRAS=(.+)$", RECIPE, re.MULTILINE)
    assert extras is not None and set(extras[1].split(",")) == {"engine", "notebook"}


def test_the_page_publishes_the_images_port_on_this_machine_only() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    for text in (page, RECIPE):
        assert "-p 127.0.0.1:7860:7860" in text
        assert not re.search(r"-p (?!127\.0\.0\.1:)\S*7860", text)


def test_what_the_light_client_lacks_comes_with_the_extras_that_draw() -> None:
    for extra in ("pose", "realesrgan", "all"):
        own = [each for each in map(Requirement, EXTRAS[extra]) if each.name == PROJECT["name"]]
        assert any("engine" in each.extras for each in own), extra
    assert not any(Requirement(line).name == PROJECT["name"] for line in EXTRAS["notebook"]), "a laptop's notebooks"
