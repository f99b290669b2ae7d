"""What all tests share: a home of their own, the miniature model, one session. No test touches the user's folders."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the tests run on every core already
os.environ["DASK_ZIMAGE__READY"] = "False"  # most tests' workers draw nothing, or are killed at once

from zimage_kit import Artifact, Request, Session, nano
from zimage_kit.models.directories import missing_files
from zimage_kit.recipe.artifact import Trace

for _name in [name for name in os.environ if name.startswith("ZIMAGE_")]:
    del os.environ[_name]  # what the machine's owner has set is none of the tests' business; a test sets its own
for _name in ("MODELSCOPE_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
    os.environ.pop(_name, None)


LONG = {"studio", "session", "notebook", "house"}
"""Folders whose tests start browsers, sessions and kernels."""


def pytest_configure() -> None:
    """A shell's background job begins with Ctrl-C ignored, and so would every process whose Ctrl-C is tested here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that at the end no processor waits while another has a whole one to do."""
    items.sort(key=lambda item: not LONG.intersection(item.path.parts))


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """An extension's folder is no package of tests: pytest would import its code a second time under another name."""
    return pytest.Dir.from_parent(parent, path=path) if (path / "extension.toml").is_file() else None


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: no model of the machine's owner is found, and nothing is written to their outputs."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(home / "outputs"))
    return home


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The place of these tests' session; see `running`. Whoever connects earlier starts it; it ends with the tests."""
    from zimage_kit.session.shared import launch

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("ZIMAGE_STATE", str(folder))
        yield folder
        if (folder / launch.FILE).exists():
            launch.kill(launch.read_session_file(folder / launch.FILE))


@pytest.fixture(scope="session")
def running(state_folder: Path) -> Path:
    """The folder of the shared session that runs for all tests of a process: torch and the model are loaded once.

    A test that ends, kills or unloads a session, or counts who is attached, has one of its own.
    """
    from zimage_kit.session.shared.shared_engine import SharedEngine

    with pytest.MonkeyPatch.context() as patch:
        home = state_folder / "home"
        home.mkdir(exist_ok=True)
        patch.setenv("HOME", str(home))
        patch.setenv("HF_HOME", str(home / "huggingface"))
        patch.setenv("ZIMAGE_OUTPUTS", str(home / "outputs"))
        SharedEngine.of_user().close()
    return state_folder


@pytest.fixture(scope="session")
def need() -> Callable[[object, str], None]:
    """`need(found, packages)`: where packages could have been installed, their absence is a failure, else a skip."""

    def check(found: object, packages: str) -> None:
        if found:
            return
        if shutil.which("apt-get") and os.geteuid() == 0:
            pytest.fail(f"not on this machine: {packages}. `make test` installs it, or: apt-get install -y {packages}")
        pytest.skip(f"not on this machine: {packages}")

    return check


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """nano's directory as a model's name: the embedded one, or the same classes with random weights."""
    if not missing_files(nano.DIRECTORY):
        return "nano"
    from zimage_kit.nano.architecture import build

    return str(build(tmp_path_factory.mktemp("nano"), seed=0))


@pytest.fixture(scope="session")
def model_directory(model: str) -> Path:
    return nano.DIRECTORY if model == "nano" else Path(model)


@pytest.fixture
def copied_model(model_directory: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(model_directory, tmp_path / "copy"))


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    """One session for all tests of a process: the model is loaded once."""
    import zimage_kit as zk

    with zk.connect("inline", device="cpu") as session:
        yield session


@pytest.fixture(scope="session")
def plain() -> Iterator[Session]:
    """One that computes with diffusers' modules, as they are."""
    import zimage_kit as zk

    with zk.connect("inline", device="cpu", speed="stock") as session:
        yield session


@pytest.fixture
def artifact() -> Artifact:
    """A picture with a recipe that no model was needed for."""
    from PIL import Image

    request = Request(
        prompt="海上生明月, a boat",
        model="nano",
        width=64,
        height=64,
        steps=8,
        guidance=0.0,
        seed=7,
        negative_prompt="",
    )
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    return Artifact(image, request, Trace(model="nano", fingerprint="0123456789abcdef", device="cpu", dtype="float32"))
