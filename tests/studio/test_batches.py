"""Batches: each picture is a job of its own, whatever happens to the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zimage_kit import Artifact, Request, Session, Stage
from zimage_kit.engine.events import Event
from zimage_kit.errors import BadRequest, JobFailed, SessionDied
from zimage_kit.session.job import Job
from zimage_kit.stages.stage import registry, stage
from zimage_kit.studio.panel.actions import draft, final
from zimage_kit.studio.panel.jobs import JobCallbacks, Jobs, Place, Tally
from zimage_kit.studio.panel.studio import Studio
from zimage_kit.studio.translations import Texts


@pytest.fixture
def picky(session: Session) -> Iterator[None]:
    """A stage that fails at seed 8, until it has failed once."""
    failed: list[int] = []

    class Picky(Stage):
        """Fails at seed 8."""

        kind = "test_picky"

        def after(self, image: Any, ctx: Any) -> Any:
            """Fail once."""
            if ctx.request.seed == 8 and not failed:
                failed.append(8)
                raise RuntimeError("not this one")
            return image.copy()

    stage(Picky)
    yield
    registry.remove("test_picky")


class Heard:
    """Jobs of one panel, and what it heard of them."""

    def __init__(self, session: Session, counted: Callable[[int], None] = lambda count: None) -> None:
        self.pictures, self.errors, self.tallies = list[Artifact](), list[Exception](), list[Tally]()
        self.places: list[Place] = []
        self.over = threading.Event()
        self.jobs = Jobs(
            session,
            JobCallbacks(self._event, self.pictures.append, counted, self._end, self._error, lambda: None),
        )

    def _event(self, event: Event, place: Place) -> None:
        self.places.append(place)

    def _end(self, tally: Tally) -> None:
        self.tallies.append(tally)
        self.over.set()

    def _error(self, error: Exception, given_up: int) -> None:
        self.errors.append(error)
        if given_up:
            self.over.set()

    def wait(self) -> None:
        assert self.over.wait(60)
        self.over.clear()


@pytest.fixture
def heard(session: Session) -> Heard:
    return Heard(session)


def test_one_that_fails_leaves_the_others_and_is_made_again(heard: Heard, small: Request, picky: None) -> None:
    heard.jobs.make([small.but(seed=seed, stages=[{"kind": "test_picky"}]) for seed in (7, 8, 9)])
    heard.wait()
    assert [made.request.seed for made in heard.pictures] == [7, 9]
    assert heard.tallies == [Tally(made=2, failed=1)]
    assert heard.tallies[0].told(Texts("en")) == "2 made · 1 failed"
    assert [type(error) for error in heard.errors] == [JobFailed]
    assert [request.seed for request in heard.jobs.unmade] == [8]
    heard.jobs.retry()
    heard.wait()
    assert [made.request.seed for made in heard.pictures] == [7, 9, 8] and heard.jobs.unmade == []


def test_one_that_is_cancelled_elsewhere_does_not_stand_for_all(heard: Heard, session: Session, small: Request) -> None:
    heard.jobs.make([small.but(seed=seed, steps=20, width=128, height=128) for seed in range(3)])
    while len(heard.jobs.running) < 3:
        time.sleep(0.002)
    last = list(heard.jobs.running)[-1]
    assert session.cancel(last)
    heard.wait()
    assert heard.tallies == [Tally(made=2, cancelled=1)]
    assert heard.tallies[0].told(Texts("en")) == "2 made · 1 cancelled"
    assert heard.errors == [] and heard.jobs.unmade == []


def test_the_one_being_made_is_skipped(heard: Heard, small: Request) -> None:
    heard.jobs.make([small.but(seed=seed, steps=60, width=128, height=128) for seed in range(2)])
    while not any(place.seconds_left for place in heard.places):
        time.sleep(0.002)
    heard.jobs.skip()
    heard.wait()
    assert [made.request.seed for made in heard.pictures] == [1]
    assert heard.tallies == [Tally(made=1, cancelled=1)]
    assert heard.places[-1].number == heard.places[-1].count == 2


def test_one_whose_worker_died_is_submitted_once_more(heard: Heard, session: Session, small: Request) -> None:
    dead, real = list[str](), session.submit

    def submit(request: Request, **options: Any) -> Job:
        job = real(request, **options)
        if len(dead) < deaths:
            dead.append(job.id)
            job.result(60)
            died = SessionDied("the worker w died", worker="w")
            job._outcome = type(job._outcome)()
            job._outcome.set_exception(died)
        return job

    heard.jobs._session = Lent(submit, session)  # type: ignore[assignment]
    for deaths, made in ((1, 1), (2, 0)):
        dead.clear()
        heard.pictures.clear()
        heard.jobs.make([small])
        heard.wait()
        assert len(dead) == deaths and len(heard.pictures) == made
    assert isinstance(heard.errors[-1], SessionDied) and heard.jobs.unmade == [small]


class Lent:
    """A session whose `submit` is another."""

    def __init__(self, submit: Callable[..., Job], session: Session) -> None:
        self.submit, self._session = submit, session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def test_what_cannot_be_submitted_makes_none(heard: Heard, small: Request, session: Session) -> None:
    heard.jobs.make([small, small.but(prompt=""), small.but(seed=9)])
    heard.wait()
    assert heard.pictures == [] and isinstance(heard.errors[0], BadRequest)
    assert not heard.jobs.running


def test_jobs_of_an_earlier_panel_are_followed_and_lost_ones_are_told(
    heard: Heard, session: Session, small: Request
) -> None:
    running = session.submit(small.but(steps=20))
    heard.jobs.resume([(running.id, running.request), ("gone", small.but(seed=77))])
    heard.wait()
    assert [made.request.seed for made in heard.pictures] == [7]
    assert [request.seed for request in heard.jobs.unmade] == [77]
    heard.jobs.drop()
    assert heard.jobs.unmade == []


def test_no_picture_that_is_over_counts_as_under_way(session: Session, small: Request) -> None:
    jobs = [session.submit(small.but(seed=seed)) for seed in range(12)]
    for job in jobs:
        job.result(60)
    for slow in (0.0, 0.001, 0.003):  # a panel that tells of the count while other threads wait
        heard = Heard(session, lambda count, slow=slow: time.sleep(slow))
        heard.jobs.resume([(job.id, job.request) for job in jobs])
        heard.wait()
        assert len(heard.pictures) == 12 and heard.jobs.running == {}


def test_a_waiting_job_is_put_first(session: Session, small: Request) -> None:
    slow = session.submit(small.but(steps=200, width=256, height=256))
    jobs = [session.submit(small, seed=seed, fresh=True, priority="batch") for seed in (1, 2, 3)]
    while slow.state != "running":
        time.sleep(0.002)
    assert session.hasten(jobs[2])
    assert [job.id for job in session.status().jobs] == [slow.id, jobs[2].id, jobs[0].id, jobs[1].id]
    assert not session.hasten(slow), "it has begun"
    assert not session.hasten("no such job")
    slow.cancel()
    for job in jobs:
        job.result(60)
    assert not session.hasten(jobs[2]), "it is over"


def test_words_in_braces_are_asked_about(session: Session, small: Request) -> None:
    studio = Studio(session, language="en", save=False)
    studio.request = small.but(prompt="a {colour} boat")
    studio.bar._handle_custom_msg({"do": "generate"}, [])
    grid, *_ = studio.question._buttons.children
    assert "{colour}" in studio.question._content.value and not studio.jobs
    grid.click()
    assert studio.panes["grid"].is_open and studio.panes["grid"].fields[0].value == "colour"
    studio.bar._handle_custom_msg({"do": "generate"}, [])
    studio.question._buttons.children[1].click()
    assert "zk-hidden" in studio.question.box._dom_classes
    end = time.monotonic() + 60
    while not studio.artifacts:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert studio.artifacts[0].request.prompt == "a {colour} boat"
    studio.close()


def test_a_draft_is_small_and_its_final_is_twice_its_size(small: Request) -> None:
    request = small.but(width=224, height=288, steps=8)
    sketch = draft(request)
    assert (sketch.width, sketch.height, sketch.steps, sketch.seed) == (112, 144, 4, 7)
    assert (final(sketch).width, final(sketch).height, final(sketch).steps) == (224, 288, None)
    assert (draft(Request(prompt="x", model="turbo")).width, draft(Request(prompt="x", model="turbo")).steps) == (
        512,
        4,
    )
