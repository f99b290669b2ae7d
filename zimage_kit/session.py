"""Session: what users hold. `connect()` gives it, `run` makes pictures, `submit` gives a Job to follow or cancel.

A Request is checked here, before anything is loaded; then it goes to an engine, which answers with events and an
artifact.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from .artifact import Artifact, read
from .engines import Engine, Status
from .engines.inline import InlineEngine
from .errors import BadRequest, NoRecipe
from .events import Event
from .execute import Task
from .job import Job
from .models import default_notice
from .preflight import Checked, check, check_applied
from .request import Request
from .stage import Stage

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Job", "Session", "connect"]

OnEvent = Callable[[Event], None]


class Session:
    """The way to one engine. Use it as a context manager to close it at the end. Safe to use from several threads."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name

    def submit(self, request: Request | str, *, fresh: bool = False, **fields: Any) -> Job:
        """Check a request and queue it. `fields` are changes to it; `fresh` goes around the cache of pictures.

        Raises at once, with nothing loaded, what `zimage_kit.preflight.check` says.
        """
        return self._start(_checked(request, fields), fresh)

    @overload
    def run(
        self, request: Request | str, on_event: OnEvent | None = ..., *, fresh: bool = ..., **fields: Any
    ) -> Artifact: ...

    @overload
    def run(
        self, request: Iterable[Request | str], on_event: OnEvent | None = ..., *, fresh: bool = ..., **fields: Any
    ) -> Iterator[Artifact]: ...

    def run(
        self,
        request: Request | str | Iterable[Request | str],
        on_event: OnEvent | None = None,
        *,
        fresh: bool = False,
        **fields: Any,
    ) -> Artifact | Iterator[Artifact]:
        """Make a picture and wait for it; of several requests, an iterator that gives each artifact as it is done.

        `on_event` is called in this thread. All requests are checked before the first begins; `seed` may then be a
        sequence with one seed for each. An interrupt while waiting cancels what is not done.
        """
        if isinstance(request, Request | str):
            return self._wait(self.submit(request, fresh=fresh, **fields), on_event)
        requests = list(request)
        seeds = _seeds(fields.pop("seed", None), len(requests))
        checked = [
            _checked(each, fields if seed is None else {**fields, "seed": seed})
            for each, seed in zip(requests, seeds, strict=True)
        ]
        jobs = [self._start(each, fresh) for each in checked]
        return _Stream(jobs, lambda job: self._wait(job, on_event))

    def apply(
        self,
        picture: Artifact | Image.Image | str | os.PathLike[str],
        *stages: Stage,
        on_event: OnEvent | None = None,
    ) -> Artifact:
        """Run stages on a picture that is there already: an artifact, a PIL picture or a file. It is left as it was.

        Raises BadRequest for a stage that can only condition a generation.
        """
        artifact = _as_artifact(picture)
        request = artifact.request.then(*stages)
        done = len(artifact.request.stages)
        built = check_applied(request.stages[done:])
        request = artifact.request.then(*built)
        job = Job(request, self._engine)
        task = Task(job.id, request, picture=artifact.image, trace=artifact.trace, done=done)
        return self._wait(self._queue(job, task), on_event)

    def status(self) -> Status:
        """How the engine is: model, model_loads, queue, device, memory. Answers at once."""
        return self._engine.status()

    def cancel(self, job: Job | str) -> bool:
        """Cancel a job, or the one with this id. False: it is over already."""
        return self._engine.cancel(job.id if isinstance(job, Job) else job)

    def unload(self) -> None:
        """Give the model's memory back; the next job loads it again. Waits for the jobs before it."""
        self._engine.unload()

    def restart(self) -> None:
        """Cancel all jobs and begin anew without a model."""
        self._engine.restart()

    def close(self) -> None:
        """Cancel all jobs and give everything back. A later `connect()` opens a new session."""
        self._engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        status = self.status()
        return f"<Session {self._name}: {status.state}, {status.model or 'no model loaded'}, {status.queued} queued>"

    def _start(self, checked: Checked, fresh: bool) -> Job:
        job = Job(checked.request, self._engine)
        return self._queue(job, Task(job.id, checked.request, checked=checked, fresh=fresh))

    def _queue(self, job: Job, task: Task) -> Job:
        self._engine.submit(task, job.hear, job.finish)
        return job

    def _wait(self, job: Job, on_event: OnEvent | None) -> Artifact:
        try:
            if on_event is not None:
                for event in job.events():
                    on_event(event)
            artifact = job.result()
        except BaseException:  # an interrupt above all: nobody waits for it any more
            job.cancel()
            raise
        artifact._session = self
        return artifact


class _Stream(Iterator[Artifact]):
    """Artifacts in the order of their jobs. Whoever stops listening (an error, an interrupt, close) stops the rest."""

    def __init__(self, jobs: Sequence[Job], wait: Callable[[Job], Artifact]) -> None:
        self._jobs, self._wait = list(jobs), wait

    def __next__(self) -> Artifact:
        if not self._jobs:
            raise StopIteration
        try:
            artifact = self._wait(self._jobs[0])
        except BaseException:
            self.close()
            raise
        self._jobs.pop(0)
        return artifact

    def __len__(self) -> int:
        return len(self._jobs)

    def close(self) -> None:
        """Cancel what is not done."""
        for job in self._jobs:
            job.cancel()
        self._jobs.clear()


def _checked(request: Request | str, changes: dict[str, Any]) -> Checked:
    """A request that can run; says once in a process when nano stands in for turbo."""
    request = request.but(**changes) if isinstance(request, Request) else Request(prompt=request, **changes)
    checked = check(request)
    notice = default_notice() if request.model is None else None
    if notice:
        logging.getLogger("zimage_kit").warning(notice)
    return checked


def _seeds(seed: Any, count: int) -> Sequence[int | None]:
    """One seed for each request: none, the same for all, or a sequence of as many."""
    if seed is None or isinstance(seed, int):
        return [seed] * count
    seeds = list(seed)
    if len(seeds) != count:
        raise BadRequest(f"{len(seeds)} seeds for {count} requests", expected="one seed, or one for each request")
    return seeds


def _as_artifact(picture: Artifact | Image.Image | str | os.PathLike[str]) -> Artifact:
    if isinstance(picture, Artifact):
        return picture
    if not isinstance(picture, str | os.PathLike):
        return Artifact.from_image(picture)
    try:
        return read(picture)
    except NoRecipe:
        from PIL import Image

        if not os.path.exists(picture):  # noqa: PTH110  `picture` may be any PathLike
            raise
        with Image.open(picture) as file:
            return Artifact.from_image(file)


_sessions: dict[tuple[str | None, str | None], Session] = {}
_connecting = threading.Lock()


def connect(where: str | None = None, *, device: str | None = None, dtype: str | None = None) -> Session:
    """The session of this process: `"inline"`, or None for the default, which is the same for now.

    Asked again with the same device and dtype, it is the same session, with its model still loaded. `device` is "cpu",
    "cuda:0" or "mps", `dtype` "float32" or "bfloat16"; left out, they are chosen. Raises BadRequest for any other.
    """
    if where not in (None, "inline"):
        raise BadRequest(f"connect({where!r})", expected='"inline" or nothing', mend="zk.connect() is what you want.")
    with _connecting:
        session = _sessions.get((device, dtype))
        if session is None or session.status().state == "closed":
            session = _sessions[device, dtype] = Session(InlineEngine(device, dtype), where or "inline")
        return session
