"""Real sessions for the tests beside this file: each module has one in a folder of its own, and leaves no process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from programs import KINDS, PROBES, Held, Hold, Place, Submit

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session
from zimage_kit.engine.task import Task
from zimage_kit.session.job import Job
from zimage_kit.stages.stage import Stage, registry


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The folder of this module's tests. Their session starts with whoever connects first, and ends with them."""
    place = Place(tmp_path_factory.mktemp("place"))
    (place.root / "home").mkdir()
    extension = place.root / "extensions" / "probes"
    extension.mkdir(parents=True)
    (extension / "extension.toml").write_text(f'name = "probes"\napi = 1\nstages = {json.dumps(KINDS)}\n')
    (extension / "__init__.py").write_text(PROBES)
    yield place
    for kind in KINDS:
        registry.remove(kind)
    sys.modules.pop("zimage_extension_probes", None)
    place.end()


@pytest.fixture(autouse=True)
def home(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Instead of the other tests' home for each: the session's processes keep the one that they started in."""
    for name, value in place.settings.items():
        monkeypatch.setenv(name, value)
    yield place.root / "home"
    place.leave()


@pytest.fixture
def shared(place: Place) -> Session:
    """A line of this test's own to the session, which is started if there is none."""
    return place.session()


@pytest.fixture
def small(model: str) -> Request:
    return Request(prompt="a red balloon", model=model, width=64, height=64, steps=2, seed=1)


@pytest.fixture
def long(small: Request) -> Request:
    """Seconds of work, in small steps."""
    return small.but(steps=200, width=128, height=128)


@pytest.fixture
def picture() -> Image.Image:
    return Image.new("RGB", (16, 16), "red")


@pytest.fixture
def apply(picture: Image.Image, tmp_path: Path) -> Submit:
    """Queue stages on a picture, as `session.apply` does, without waiting: a job that needs no model."""

    def apply(session: Session, *stages: Stage, picture: Image.Image = picture, keep: bool = False) -> Job:
        artifact = Artifact.from_image(picture)
        request = artifact.request.then(*stages)
        job = Job(request, session._engine)
        task = Task(job.id, request, picture=artifact.image, keep=keep, folder=tmp_path / "kept" if keep else None)
        return session._queue(job, task)

    return apply


@pytest.fixture
def hold(apply: Submit, tmp_path: Path) -> Iterator[Hold]:
    """Keep the session's worker busy. Returns once the job runs."""
    held: list[Held] = []

    def hold(session: Session) -> Held:
        file = tmp_path / f"go{len(held)}"
        job = apply(session, zk.stages.probe_hold(until=str(file)))
        next(event for event in job.events() if event.message == "holding")
        held.append(Held(job, file))
        return held[-1]

    yield hold
    for each in held:
        each.let_go()
