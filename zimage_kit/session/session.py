"""Session: what `connect()` returns. `run` makes pictures; `submit` returns a Job to follow or cancel.

A request is checked here, before anything is loaded; then it goes to an engine, which answers with events and an
artifact.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args, overload
from weakref import WeakValueDictionary

from ..engine.events import Event
from ..engine.preflight import Checked, check, check_applied
from ..engine.task import Priority, Task
from ..errors import BadRequest, ZImageError
from ..library.store import outputs_dir
from ..models.listing import ModelList, list_models
from ..models.spec import default_notice
from ..recipe.artifact import Artifact, picture_digest, read_any
from ..recipe.request import Request
from ..stages.stage import Stage
from . import scout as scouting
from .engine import Engine, Status
from .job import Job
from .progress import watcher
from .stream import Stream, seeds_for

if TYPE_CHECKING:
    from PIL import Image

    from ..grid import Grid
    from ..grid.plan import Labels
    from ..library.library import Library
    from ..studio.panel.studio import Studio
    from .scout import Scouted

__all__ = ["Job", "Session"]

OnEvent = Callable[[Event], None]


class Session:
    """Makes pictures on one engine. Safe to use from several threads.

    As a context manager it is closed at the end: this process's jobs are cancelled and no more are accepted. A shared
    session itself goes on; `zimage session stop` ends it.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name
        self._warned: set[str] = set()
        self._jobs: WeakValueDictionary[str, Job] = WeakValueDictionary()
        self._looks: dict[tuple[str, int], dict[int, Image.Image]] = {}

    def submit(
        self,
        request: Request | str,
        *,
        fresh: bool = False,
        keep: bool = False,
        priority: Priority = "interactive",
        **fields: Any,
    ) -> Job:
        """Check a request and queue it. `fields` are changes to the request; `fresh` bypasses the cache of pictures.

        `keep`: the session saves the picture in the outputs folder, and the job goes on when this process ends.
        `priority` "batch" lets every interactive job go first. Await the job, or call its `result()`. Raises at once,
        with nothing loaded, what `zimage_kit.engine.preflight.check` raises.
        """
        return self.start(self.check(request, **fields), fresh=fresh, keep=keep, priority=priority)

    @overload
    def run(
        self,
        request: Request | str,
        on_event: OnEvent | None = ...,
        *,
        fresh: bool = ...,
        keep: bool = ...,
        priority: Priority | None = ...,
        **fields: Any,
    ) -> Artifact: ...

    @overload
    def run(
        self,
        request: Iterable[Request | str],
        on_event: OnEvent | None = ...,
        *,
        fresh: bool = ...,
        keep: bool = ...,
        priority: Priority | None = ...,
        **fields: Any,
    ) -> Iterator[Artifact]: ...

    def run(
        self,
        request: Request | str | Iterable[Request | str],
        on_event: OnEvent | None = None,
        *,
        fresh: bool = False,
        keep: bool = False,
        priority: Priority | None = None,
        **fields: Any,
    ) -> Artifact | Iterator[Artifact]:
        """Make a picture and wait for it. For several requests, return an iterator over artifacts, each as it is done.

        `on_event` is called in this thread; without it a notebook's cell or a terminal shows the progress. All requests
        are checked before the first begins; with several, `seed` may be a sequence with one seed for each. An interrupt
        while waiting cancels what is not done. `fresh`, `keep` and `priority` are as for `submit`; by default one
        request is "interactive" and several are "batch".
        """
        if isinstance(request, Request | str):
            job = self.submit(request, fresh=fresh, keep=keep, priority=priority or "interactive", **fields)
            with closing(watcher()) as watch:
                return self._wait(job, on_event or watch.hear)
        requests = list(request)
        seeds = seeds_for(fields.pop("seed", None), len(requests))
        checked = [
            self.check(each, **(fields if seed is None else {**fields, "seed": seed}))
            for each, seed in zip(requests, seeds, strict=True)
        ]
        jobs = [self.start(each, fresh=fresh, keep=keep, priority=priority or "batch") for each in checked]
        return Stream(jobs, self._wait, on_event)

    def apply(
        self,
        picture: Artifact | Image.Image | str | os.PathLike[str],
        *stages: Stage,
        on_event: OnEvent | None = None,
    ) -> Artifact:
        """Run stages on a finished picture: an artifact, a PIL picture or a file. The picture itself is not changed.

        Raises BadRequest for a stage that can only condition a generation.
        """
        artifact = _as_artifact(picture)
        done = len(artifact.request.stages)
        request, notes, derived = check_applied(artifact.request.then(*stages), done, self._engine.models())
        self.warn(notes)
        with closing(watcher()) as watch:
            job = self.extend(artifact, request, notes, (*artifact.trace.derived, *derived))
            made = self._wait(job, on_event or watch.hear)
        made._applied_to = artifact
        return made

    def scout(
        self,
        request: Request | str,
        look_at: int = scouting.LOOK_AT,
        keep: int = scouting.KEEP,
        steps: int = scouting.STEPS,
        *,
        on_event: OnEvent | None = None,
        **fields: Any,
    ) -> Scouted:
        """Make `keep` pictures that differ more than those of seeds counted up, and wait for them.

        The first `steps` steps of `look_at` seeds are evaluated, counted up from the request's (a random one if it has
        none); those whose predicted pictures are farthest apart are finished. Show what is returned, or take its
        `pictures` and `seeds`; `more()` finishes the next ones without looking again. The looking costs look_at * steps
        / all steps pictures, which the progress says before. Raises what `run` raises.
        """
        asked = request.but(**fields) if isinstance(request, Request) else Request(prompt=request, **fields)
        return scouting.look(self, asked, look_at, steps, on_event).finish(keep, on_event)

    def grid(
        self,
        base: Request | str,
        axes: Any = None,
        /,
        *,
        rows: str | Sequence[str] | None = None,
        columns: str | Sequence[str] | None = None,
        pages: str | Sequence[str] | None = None,
        inner: str | Sequence[str] | None = None,
        zip: bool | Sequence[str] = False,
        labels: Labels | None = None,
        title: str = "",
        yes: bool = False,
        **more: Any,
    ) -> Grid:
        """Make pictures side by side, one for each combination of the axes' values. Only missing cells are made.

        An axis is a field of the request (`prompt`, `seed`, `steps`, `guidance`, `width`, `height`, `model`), `size`,
        `lora` (names, or names with weights), `"lora weight"`, a stage's field (`"stages.pose.scale"`), a stage on or
        off (`"stages.upscale"`: True, False), or a `{slot}` in the prompt. Give axes by keyword, as a mapping `axes`
        (for names with dots, and for slots named like an option of this method), or as a table with one cell in each
        row (pandas, or the path of a CSV file). Values are a list, a `range`, an array, or text: one value a line,
        "a; b", "1-9(+2)". A single value by keyword (`steps=8`) applies to all cells. `seed="scout"`, "scout 6" or
        "scout 6 of 48" are seeds whose pictures differ, found at the first cell as `scout` does.

        `rows`, `columns`, `pages` and `inner` say where axes go (several names vary together). By default the first
        axis gives the rows, the second the columns, the third the pages, and the fourth the pictures inside each cell;
        a single axis goes from left to right. `zip`: all axes vary together, or those that are named.

        Everything is checked before anything runs, and the estimated cost is shown; above 200 new cells it asks, unless
        `yes`. Returns at once: show the grid, `wait()` for it, or `save` it. Raises BadRequest, naming the cell.
        """
        from ..grid import make_grid, scouted_plan

        layout = {"rows": rows, "columns": columns, "pages": pages, "inner": inner}
        options = {"layout": layout, "zipped": zip, "labels": labels, "title": title}
        return make_grid(self, scouted_plan(self, base, axes, more, **options), yes=yes)

    def status(self) -> Status:
        """The session's status: models, workers, jobs, GPUs and who uses their memory. Answers within two seconds."""
        return self._engine.status()

    def job(self, job_id: str) -> Job:
        """Return any job of the session by its id (`status().jobs` lists them), to follow, await or cancel.

        A job of another process starts with its latest event; a kept one gives its picture even when it is over. Raises
        BadRequest when there is no such job (any more).
        """
        job = self._jobs.get(job_id)
        if job is None:
            job = Job(None, self._engine, job_id)
            job.request  # noqa: B018  asks the engine, which raises for a job that is not there
            self._jobs[job_id] = job
        return job

    def cancel(self, job: Job | str) -> bool:
        """Cancel a job, given itself or its id, whichever program submitted it. False: it is already over."""
        return self._engine.cancel(job.id if isinstance(job, Job) else job)

    def hasten(self, job: Job | str) -> bool:
        """Put one of this program's waiting jobs before its others. False: it has begun, is over, or is another's."""
        return self._engine.hasten(job.id if isinstance(job, Job) else job)

    @cached_property
    def library(self) -> Library:
        """The library of the outputs folder on this machine: every picture that was saved, found again."""
        from ..library.library import Library

        return Library()

    def studio(self, **options: Any) -> Studio:
        """Return the panel of widgets for this session; a cell shows it as its last value.

        `language` is "en" or "zh" (default: the user's), `save` False keeps pictures out of the outputs folder, and
        `pictures` is how many also appear as plain output of the cell (8). Raises ZImageError without ipywidgets.
        """
        try:
            from ..studio.panel.studio import Studio
        except ModuleNotFoundError as error:
            raise ZImageError(
                f"the studio needs {error.name}, which is not installed", mend='pip install "zimage-kit[notebook]"'
            ) from None
        return Studio(self, **options)

    @property
    def closed(self) -> bool:
        """True once the session has ended."""
        return self._engine.closed

    def models(self) -> ModelList:
        """List the models known by name, and which of them this session can use."""
        return list_models(self._engine.models())

    def unload(self) -> None:
        """Free the models' memory once running jobs have ended. The next job loads its model again."""
        self._engine.unload()

    def restart(self) -> None:
        """Cancel all jobs, other programs' too, and start again without a model. Use it when a worker is stuck."""
        self._engine.restart()

    def close(self) -> None:
        """Cancel this process's jobs and leave. An inline session frees its memory; a shared one goes on."""
        self._engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        status = self._engine.status()
        return f"<Session {self._name}: {status.state}, {status.model or 'no model loaded'}, {status.queued} queued>"

    def check(self, request: Request | str, **changes: Any) -> Checked:
        """Check and resolve a request as `submit` does, with nothing loaded. Raises what `submit` raises.

        Warns once in a session, before its first picture, when nano draws because turbo is missing.
        """
        request = request.but(**changes) if isinstance(request, Request) else Request(prompt=request, **changes)
        checked = check(request, self._engine.models())
        notice = default_notice(checked.request.model) if request.model is None else None
        if notice and not self._engine.status().model_loads:
            logging.getLogger("zimage_kit").warning(notice)
        self.warn(checked.warnings)
        return checked

    def warn(self, notes: Iterable[str]) -> None:
        """Log what stages warn about before they run, each sentence once per session. The trace has them too."""
        for note in notes:
            if note not in self._warned:
                self._warned.add(note)
                logging.getLogger("zimage_kit").warning(note, extra={"in_trace": True})

    def start(
        self, checked: Checked, *, fresh: bool = False, keep: bool = False, priority: Priority, look: int = 0
    ) -> Job:
        """Queue what `check` gave; `submit` in two steps, for what builds on sessions as grids do.

        `look`: end after so many steps; the outcome is the preview of what the picture would become.
        """
        if priority not in get_args(Priority):
            raise BadRequest(f"priority={priority!r}", expected=" or ".join(get_args(Priority)))
        job = Job(checked.request, self._engine)
        folder = outputs_dir().absolute() if keep else None
        task = Task(
            job.id, checked.request, checked, fresh=fresh, keep=keep, priority=priority, folder=folder, look=look
        )
        return self._queue(job, task)

    def extend(
        self,
        base: Artifact,
        request: Request,
        notes: Iterable[str],
        derived: Iterable[str] = (),
        priority: Priority = "interactive",
    ) -> Job:
        """Queue the stages of a resolved request that `base` does not have yet.

        Its trace gets `notes`, and `derived`, the names of all fields that nobody gave.
        """
        noted = tuple(dict.fromkeys((*base.trace.notes, *notes)))
        trace = base.trace.model_copy(update={"notes": noted, "derived": tuple(derived)})
        job, done = Job(request, self._engine), len(base.request.stages)
        task = Task(job.id, request, picture=base.image, trace=trace, done=done, priority=priority)
        return self._queue(job, task)

    def _queue(self, job: Job, task: Task) -> Job:
        self._jobs[job.id] = job
        self._engine.submit(task, job.hear, job.finish)
        return job

    def _wait(self, job: Job, on_event: OnEvent | None) -> Artifact:
        try:
            if on_event is not None:
                for event in job.events():
                    on_event(event)
            artifact = job.result()
        except BaseException:  # above all an interrupt: nobody waits for the job any more
            job.cancel()
            raise
        artifact.connect(self)
        return artifact


def _as_artifact(picture: Artifact | Image.Image | str | os.PathLike[str]) -> Artifact:
    """The picture to apply stages to. One that was not made here is identified by its pixels from now on."""
    if isinstance(picture, Artifact):
        artifact = picture
    elif isinstance(picture, str | os.PathLike):
        artifact = read_any(picture)
    else:
        artifact = Artifact.from_image(picture)
    if artifact.trace.fingerprint or artifact.request.source is not None:
        return artifact
    # its recipe came from another program's parameters line; running it here would give another picture
    known = Artifact(artifact.image, artifact.request.but(source=picture_digest(artifact.image)), artifact.trace)
    known.path = artifact.path
    return known
