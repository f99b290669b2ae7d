"""The light client: with what `pip install zimage-kit` brings, and nothing else, it draws in a session elsewhere.

Its environment is made of links to the installed packages, to those that the base dependencies bring and no others, so
that no second environment is installed. `-S` keeps Python from the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_packaging import PROJECT, ROOT

from zimage_kit import Request, Session, stages
from zimage_kit.cli import app
from zimage_kit.errors import EngineMissing, need_engine
from zimage_kit.recipe.artifact import picture_digest, read
from zimage_kit.session.shared import launch

ABSENT = ("torch", "torchvision", "diffusers", "transformers", "spandrel", "safetensors", "IPython", "ipywidgets")
MEND = 'Run: pip install "zimage-kit[engine]", or '
STAGED = Request(prompt="a red balloon over the sea", model="nano", seed=7, steps=2).then(
    stages.refine(strength=0.3, steps=1),
    stages.upscale(),
    stages.text_overlay(text="春节 Hello"),
)


@cache
def brought() -> frozenset[str]:
    """The distributions that the base dependencies bring, themselves among them."""
    found: set[str] = set()
    todo = [Requirement(line) for line in PROJECT["dependencies"]]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        extras = {"", *wanted.extras}
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if name in found and not wanted.extras:
            continue
        found.add(name)
        for line in distribution(name).requires or []:
            each = Requirement(line)
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
                each.marker = None
                todo.append(each)
    return frozenset(found)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to what the base dependencies bring."""
    folder = tmp_path_factory.mktemp("light")
    for name in brought():
        for file in distribution(name).files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder


@pytest.fixture
def environment(light: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(light), str(ROOT)])}


def python(environment: dict[str, str], *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-S", *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_what_draws_is_not_in_it(environment: dict[str, str], tmp_path: Path) -> None:
    code = f"from importlib.util import find_spec; print([name for name in {ABSENT} if find_spec(name)])"
    assert python(environment, "-c", code, cwd=tmp_path).stdout.strip() == "[]"
    for name in ("torch", "diffusers", "spandrel"):
        try:
            distribution(name)
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed: this test says nothing")
        assert name not in brought()


@pytest.mark.slow
def test_it_draws_in_a_session_elsewhere_what_a_local_run_draws(
    running: Path, session: Session, environment: dict[str, str], tmp_path: Path
) -> None:
    """From a copied session file, with stages that have networks of their own; the stages are checked on its side."""
    file = Path(shutil.copy(running / launch.FILE, tmp_path / "copied.json"))
    (tmp_path / "request.json").write_text(STAGED.model_dump_json())
    code = """
import sys, json, zimage_kit as zk
request = zk.Request.model_validate_json(open("request.json").read())
session = zk.connect(sys.argv[1])
art = session.run(request)
print(art.save("there.png"))
print(zk.open("there.png").verify(session))
print(len(session.grid(request, seed=[1, 2]).wait().done), "torch" in sys.modules)
"""
    state = {"ZIMAGE_STATE": str(tmp_path / "state")}  # nothing of the session but its file
    done = python({**environment, **state}, "-c", code, file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["identical", "2 False"]
    there, here = read(tmp_path / "there.png"), session.run(STAGED)
    assert there.image.size == (512, 512)
    assert picture_digest(there.image) == picture_digest(here.image)


@pytest.mark.slow
def test_its_commands_attach_too(running: Path, environment: dict[str, str], tmp_path: Path) -> None:
    elsewhere = {"ZIMAGE_SESSION": str(running / launch.FILE), "ZIMAGE_STATE": str(tmp_path / "state")}
    base = ["-m", "zimage_kit"]
    run = [*base, "run", "a red boat", "--seed", "3", "--steps", "2", "--model", "nano", "-o", "boat.png"]
    for line in (
        run,
        [*base, "recipe", "rerun", "boat.png", "--verify"],
        [*base, "grid", "a boat", "--model", "nano", "--x", "seed=1,2", "--steps=1", "-o", "boats.png"],
    ):
        done = python({**environment, **elsewhere}, *line, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    again = python(environment, *base, "grid", "--reopen", "boats.png", "-o", "boats.csv", cwd=tmp_path)
    assert again.returncode == 0, f"a grid that is done needs no session: {again.stderr}"


@pytest.mark.parametrize(
    "line",
    [
        ["run", "a boat"],
        ["run", "a boat", "--inline"],
        ["run", "a boat", "--device", "cpu"],
        ["grid", "a boat", "--x", "seed=1-2"],
        ["session", "start"],
        ["session", "start", "--foreground"],
        ["worker", "--join", "scheduler.json"],
        ["bench"],
    ],
    ids=" ".join,
)
def test_what_draws_here_says_in_one_sentence_what_to_install(
    line: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "scheduler.json").write_text('{"address": "tls://127.0.0.1:1"}')
    done = python({**environment, "ZIMAGE_STATE": str(tmp_path / "state")}, "-m", "zimage_kit", *line, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    said = [text for text in done.stderr.splitlines() if text.startswith("zimage:")]
    assert len(said) == 1 and MEND in said[0], done.stderr
    assert "Traceback" not in done.stderr and "No module" not in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        ["coach", "masterpiece, 8k, a cat"],
        ["template", "a {red|blue} boat"],
        ["models", "list"],
        ["models", "loras"],
        ["recipe", "styles"],
        ["recipe", "presets"],
        ["library", "list"],
        ["extensions", "list"],
        ["doctor"],
    ],
    ids=lambda line: line[0] + line[1][:5] if len(line) > 1 else line[0],
)
def test_what_draws_nothing_works(line: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    done = python({**environment, "ZIMAGE_STATE": str(tmp_path / "state")}, "-m", "zimage_kit", *line, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs packages" not in done.stdout, "a stage is checked here and run elsewhere"


def test_every_command_has_its_help(environment: dict[str, str], tmp_path: Path) -> None:
    lines = [[command.name] for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        commands = group.typer_instance.registered_commands
        lines += [[group.name, each.name or getattr(each.callback, "__name__", "")] for each in commands]
    assert len(lines) > 30
    code = f"from zimage_kit import cli; print([line for line in {lines} if cli.call([*line, '--help'])])"
    done = python(environment, "-c", code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_every_module_but_those_of_the_engine_and_nanos_tools_can_be_imported(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """And every stage's package, since a request is checked by its stages before it is sent."""
    rooms = ("recipe", "text", "models", "library", "session", "grid", "stages", "cli", "doctor")
    paths = [path for room in rooms for path in sorted((ROOT / "zimage_kit" / room).rglob("*.py"))]
    base = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    code = f"""
import importlib, json
failed = []
for name in {base}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed.append((name, str(error)))
from zimage_kit.stages import extensions
for each in extensions.discover():
    extensions.load(each)
print(json.dumps(failed))
"""
    done = python(environment, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_door_is_open_where_torch_is() -> None:
    need_engine("this test")
    assert issubclass(EngineMissing, Exception)
