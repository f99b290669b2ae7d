"""What crosses between processes comes out as it went in: tasks, events, artifacts, errors. Plain values only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from zimage_kit import Artifact, Event, Lora, Request, errors
from zimage_kit.engine.preflight import Checked
from zimage_kit.engine.task import Task
from zimage_kit.errors import JobFailed, OutOfMemory, ZImageError
from zimage_kit.recipe.artifact import Trace
from zimage_kit.recipe.request import StageData
from zimage_kit.session.shared import wire


def sent(message: Any) -> Any:
    """What arrives: msgpack takes plain values only, and makes tuples lists."""
    return msgpack.unpackb(msgpack.packb(message), strict_map_key=True)


def error_classes(cls: type[ZImageError] = ZImageError) -> Iterator[type[ZImageError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    return Request(
        prompt="海上生明月",
        model="nano",
        width=64,
        height=128,
        steps=3,
        guidance=0.5,
        seed=2**40,
        loras=(Lora(path=tmp_path / "a.safetensors", weight=0.5),),
        stages=(StageData(kind="caption", text="é", size=0.1),),
    )


def test_a_task_arrives_as_it_was(request_: Request, artifact: Artifact, tmp_path: Path) -> None:
    task = Task(
        id="abc",
        request=request_,
        picture=artifact.image,
        trace=artifact.trace,
        done=1,
        fresh=True,
        keep=True,
        priority="batch",
        folder=tmp_path / "outputs",
    )
    there = wire.task_in(sent(wire.task_out(task)))
    assert there.picture is not None
    assert there.picture.tobytes() == artifact.image.tobytes()
    for name in ("id", "request", "trace", "done", "fresh", "keep", "priority", "folder"):
        assert getattr(there, name) == getattr(task, name), name


def test_what_was_checked_stays_behind_but_its_notes_go_along(request_: Request) -> None:
    from zimage_kit.models.spec import resolve

    checked = Checked(request_, resolve("nano"), Path("/here/only"), 7, ("a note",))
    message = sent(wire.task_out(Task("abc", request_, checked)))
    assert message["notes"] == ["a note"]
    assert "/here/only" not in str(message)
    assert wire.task_in(message).checked is None


def test_a_folder_means_something_on_its_own_machine_only(request_: Request) -> None:
    """Whatever machines are called: containers of one host may share its name."""
    task = Task("abc", request_, keep=True, folder=Path("/home/someone/outputs"))
    message = wire.task_out(task)
    assert wire.task_in(message).folder == task.folder
    assert wire.task_in({**message, "machine": "another"}).folder is None


@pytest.mark.parametrize(
    "event",
    [
        Event(kind="queued", job="a", position=0),
        Event(kind="loading", job="a", message="loading nano", bytes_done=0, bytes_total=10),
        Event(kind="step", job="a", step=1, steps=2, sigma=0.0, preview=b"\xff\xd8\x00", seconds=0.0),
        Event(kind="stage", job="a", step=1, steps=1, message="caption"),
        Event(kind="done", job="a", seconds=1.5),
        Event(kind="failed", job="a", message="it broke"),
        Event(kind="cancelled", job="a"),
    ],
    ids=lambda event: event.kind,
)
def test_an_event_arrives_as_it_was(event: Event) -> None:
    assert wire.event_in(sent(wire.event_out(event))) == event


def test_a_picture_arrives_with_its_recipe_its_trace_and_its_path(artifact: Artifact, tmp_path: Path) -> None:
    artifact.path = tmp_path / "x.png"
    there = wire.outcome_in(sent(wire.outcome_out(artifact)))
    assert isinstance(there, Artifact)
    assert there.image.tobytes() == artifact.image.tobytes()
    assert there.image.size == artifact.image.size
    assert (there.request, there.trace, there.path) == (artifact.request, artifact.trace, artifact.path)


@pytest.mark.parametrize("cls", list(error_classes()), ids=lambda cls: cls.__name__)
def test_every_error_arrives_as_it_was(cls: type[ZImageError]) -> None:
    error = cls("seen 7.", expected="8", mend="Do it.", bytes=3, names=["a"], nothing=None)
    there = wire.outcome_in(sent(wire.outcome_out(error)))
    assert type(there) is cls
    assert isinstance(there, ZImageError)
    assert str(there) == str(error)
    assert (there.seen, there.expected, there.mend, there.facts) == (
        error.seen,
        error.expected,
        error.mend,
        error.facts,
    )


def test_every_error_of_the_tree_is_tried_here() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert {cls.__name__ for cls in error_classes()} == {*drawn, "ZImageError"}
    assert len(drawn) == 13


def test_facts_that_are_no_plain_values_become_text(tmp_path: Path) -> None:
    error = JobFailed("it broke", path=tmp_path, size=(1, 2), traceback="Traceback …")
    there = wire.error_in(sent(wire.error_out(error)))
    assert there.facts == {"path": str(tmp_path), "size": [1, 2], "traceback": "Traceback …"}


def test_an_error_of_a_later_version_is_a_failed_job() -> None:
    message = {"error": "NotInventedYet", "seen": "x", "words": ["", ""], "facts": {}}
    assert type(wire.error_in(message)) is JobFailed


def test_an_error_that_a_user_derived_arrives_as_what_it_derives_from() -> None:
    class OutOfPatience(OutOfMemory):
        """Of a user's own extension."""

    there = wire.error_in(sent(wire.error_out(OutOfPatience("too slow"))))
    assert type(there) is OutOfMemory


def test_a_trace_keeps_its_numbers(request_: Request, artifact: Artifact) -> None:
    trace = Trace(model="nano", milliseconds={"total": 1.25}, peak_bytes={"total": 7}, sigmas=(1.0, 0.3), notes=("n",))
    there = wire.outcome_in(sent(wire.outcome_out(Artifact(artifact.image, request_, trace))))
    assert isinstance(there, Artifact)
    assert there.trace == trace
