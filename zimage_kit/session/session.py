"""Session: what users hold. `connect()` gives it, `run` makes pictures, `submit` gives a Job to follow or cancel.

A Request is checked here, before anything is loaded; then it goes to an engine, which answers with events and an
artifact.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, overload
from weakref import WeakValueDictionary

from ..engine.events import Event
from ..engine.preflight import Checked, check, check_applied
from ..engine.task import Priority, Task
from ..errors import BadRequest, NoRecipe, ZImageError
from ..library.store import outputs_dir
from ..models.spec import ModelList, default_notice, list_models
from ..recipe.artifact import Artifact, read
from ..recipe.request import Request
from ..stages.stage import Stage
from .engine import Engine, Status
from .inline import InlineEngine
from .job import Job
from .progress import watcher
from .shared import launch

if TYPE_CHECKING:
    from PIL import Image

    from ..grid import Grid
    from ..grid.plan import Labels
    from ..studio.panel.studio import Studio

__all__ = ["Job", "Session", "connect"]

OnEvent = Callable[[Event], None]


class Session:
    """The way to one engine. Safe to use from several threads.

    As a context manager it is closed at the end: then this process's jobs are cancelled and no more are taken. A shared
    session itself lives on; `zimage session stop` ends it.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name
        self._warned: set[str] = set()
        self._jobs: WeakValueDictionary[str, Job] = WeakValueDictionary()

    def submit(
        self,
        request: Request | str,
        *,
        fresh: bool = False,
        keep: bool = False,
        priority: Priority = "interactive",
        **fields: Any,
    ) -> Job:
        """Check a request and queue it. `fields` are changes to it; `fresh` goes around the cache of pictures.

        `keep`: the session saves the picture in the outputs folder, and the job goes on when this process ends.
        `priority` "batch" lets every interactive job go first. Await the job, or ask it for its result. Raises at once,
        with nothing loaded, what `zimage_kit.engine.preflight.check` says.
        """
        return self._start(self._checked(request, fields), fresh, keep, priority)

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
        """Make a picture and wait for it; of several requests, an iterator that gives each artifact as it is done.

        `on_event` is called in this thread; without it a notebook's cell or a terminal shows how far it is. All
        requests are checked before the first begins; `seed` may then be a sequence with one seed for each. An interrupt
        while waiting cancels what is not done. `fresh`, `keep` and `priority` are as for `submit`; several requests are
        "batch" unless told otherwise, one is "interactive".
        """
        if isinstance(request, Request | str):
            job = self.submit(request, fresh=fresh, keep=keep, priority=priority or "interactive", **fields)
            with closing(watcher()) as watch:
                return self._wait(job, on_event or watch.hear)
        requests = list(request)
        seeds = _seeds(fields.pop("seed", None), len(requests))
        checked = [
            self._checked(each, fields if seed is None else {**fields, "seed": seed})
            for each, seed in zip(requests, seeds, strict=True)
        ]
        jobs = [self._start(each, fresh, keep, priority or "batch") for each in checked]
        return _Stream(jobs, self._wait, on_event)

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
        done = len(artifact.request.stages)
        request, notes = check_applied(artifact.request.then(*stages), done, self._engine.models())
        self._warn(notes)
        with closing(watcher()) as watch:
            made = self._wait(self._extend(artifact, request, notes), on_event or watch.hear)
        made._applied_to = artifact
        return made

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
        """Pictures side by side, with what varies as axes: only cells that are not there yet are made.

        An axis is a field of the request (`prompt`, `seed`, `steps`, `guidance`, `width`, `height`, `model`), `size`,
        `lora` (names, or names with weights), `"lora weight"`, a stage's field (`"stages.pose.scale"`), a stage being
        there (`"stages.upscale"`: True, False), or a `{slot}` in the prompt. Give axes by keyword, as a mapping `axes`
        (for names with dots, and for slots that are called like an option here), or as a table with one cell in each
        row (pandas, or the path of a CSV file). Values are a list, a `range`, an array, or text: one value a line,
        "a; b", "1-9(+2)". A single value of a field by keyword (`steps=8`) is a setting of all cells.

        `rows`, `columns`, `pages` and `inner` say where axes go (several names: these go in step); without them the
        first axis gives the rows, the second the columns, then pages, then side by side in each cell, and one axis
        alone goes from left to right. `zip`: all axes go in step, or those that are named.

        Everything is checked before anything runs, and what it will cost is told; above 200 new cells it asks, unless
        `yes`. Returns at once: show the grid, `wait()` for it, or `save` it. Raises BadRequest, naming the cell.
        """
        from ..grid import make_grid, plan

        layout = {"rows": rows, "columns": columns, "pages": pages, "inner": inner}
        return make_grid(self, plan(base, axes, more, layout=layout, zipped=zip, labels=labels, title=title), yes=yes)

    def status(self) -> Status:
        """How the session is: models, workers, jobs, cards and who holds their memory. Answers within two seconds."""
        return self._engine.status()

    def job(self, job_id: str) -> Job:
        """Any job of the session by its id (`status().jobs` has them), to follow, await or cancel.

        A job of another process tells how it is now and all that follows; a kept one gives its picture even when it is
        over. Raises BadRequest for one that is not there (any more).
        """
        job = self._jobs.get(job_id)
        if job is None:
            job = Job(None, self._engine, job_id)
            job.request  # noqa: B018  asks the engine, which raises for a job that is not there
            self._jobs[job_id] = job
        return job

    def cancel(self, job: Job | str) -> bool:
        """Cancel a job, or the one with this id, whoever asked for it. False: it is over already."""
        return self._engine.cancel(job.id if isinstance(job, Job) else job)

    def studio(self, **options: Any) -> Studio:
        """The panel of widgets on this session, to be shown as a cell's last value.

        `language` "en" or "zh" (by default the user's), `save` False to keep pictures out of the outputs folder,
        `pictures` how many also appear as plain output of the cell (8). Raises ZImageError without ipywidgets.
        """
        try:
            from ..studio.panel.studio import Studio
        except ModuleNotFoundError as error:
            raise ZImageError(
                f"the studio needs {error.name}, which is not installed", mend='pip install "zimage-kit[notebook]"'
            ) from None
        return Studio(self, **options)

    def models(self) -> ModelList:
        """The models that are known by name, and which of them this session can draw with."""
        return list_models(self._engine.models())

    def unload(self) -> None:
        """Give the models' memory back; the next job loads its model again. Waits for what runs."""
        self._engine.unload()

    def restart(self) -> None:
        """Cancel all jobs, everyone's, and begin anew without a model. The way out when a worker is stuck."""
        self._engine.restart()

    def close(self) -> None:
        """Cancel this process's jobs and leave. An inline session gives its memory back; a shared one lives on."""
        self._engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        status = self._engine.status()
        return f"<Session {self._name}: {status.state}, {status.model or 'no model loaded'}, {status.queued} queued>"

    def _checked(self, request: Request | str, changes: dict[str, Any]) -> Checked:
        """A request that can run; says once in a process when nano stands in for turbo."""
        request = request.but(**changes) if isinstance(request, Request) else Request(prompt=request, **changes)
        checked = check(request, self._engine.models())
        notice = default_notice(checked.request.model) if request.model is None else None
        if notice:
            logging.getLogger("zimage_kit").warning(notice)
        self._warn(checked.warnings)
        return checked

    def _warn(self, notes: Iterable[str]) -> None:
        """Tell what stages have to say before they run, each sentence once in a session; it is in the trace as well."""
        for note in notes:
            if note not in self._warned:
                self._warned.add(note)
                logging.getLogger("zimage_kit").warning(note, extra={"in_trace": True})

    def _start(self, checked: Checked, fresh: bool, keep: bool, priority: Priority) -> Job:
        if priority not in get_args(Priority):
            raise BadRequest(f"priority={priority!r}", expected=" or ".join(get_args(Priority)))
        job = Job(checked.request, self._engine)
        folder = outputs_dir().absolute() if keep else None
        task = Task(job.id, checked.request, checked, fresh=fresh, keep=keep, priority=priority, folder=folder)
        return self._queue(job, task)

    def _extend(
        self, base: Artifact, request: Request, notes: Iterable[str], priority: Priority = "interactive"
    ) -> Job:
        """A job that runs the stages of a resolved request which `base` does not have yet."""
        trace = base.trace.model_copy(update={"notes": tuple(dict.fromkeys((*base.trace.notes, *notes)))})
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
        except BaseException:  # an interrupt above all: nobody waits for it any more
            job.cancel()
            raise
        artifact._session = self
        return artifact


class _Stream(Iterator[Artifact]):
    """Artifacts in the order of their jobs. Whoever stops listening (an error, an interrupt, close) stops the rest."""

    def __init__(
        self, jobs: Sequence[Job], wait: Callable[[Job, OnEvent | None], Artifact], on_event: OnEvent | None
    ) -> None:
        self._jobs, self._wait, self._on_event, self._count = list(jobs), wait, on_event, len(jobs)
        self._watch = watcher()

    def __next__(self) -> Artifact:
        if not self._jobs:
            self._watch.close()
            raise StopIteration
        of = f"picture {self._count - len(self._jobs) + 1} of {self._count}: "
        try:
            artifact = self._wait(self._jobs[0], self._on_event or (lambda event: self._watch.hear(event, of)))
        except BaseException:
            self.close()
            raise
        self._jobs.pop(0)
        if not self._jobs:
            self._watch.close()
        return artifact

    def __len__(self) -> int:
        return len(self._jobs)

    def close(self) -> None:
        """Cancel what is not done."""
        for job in self._jobs:
            job.cancel()
        self._jobs.clear()
        self._watch.close()


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


_sessions: dict[tuple[str, str | None, str | None], Session] = {}
_connecting = threading.Lock()


def connect(
    where: str | os.PathLike[str] | None = None, *, device: str | None = None, dtype: str | None = None
) -> Session:
    """The session to make pictures with. Connecting again gives the same one, with its model still loaded.

    | where | which session |
    |---|---|
    | None | $ZIMAGE_SESSION if it is set (to one of the following), else "shared" |
    | "shared" | your one session on this machine, for all notebooks and programs; it is started if there is none |
    | a scheduler.json | the session that this file names, here or on another machine |
    | "inline" | this process itself; the model goes when the process ends |

    `device` is "cpu", "cuda:0" or "mps", `dtype` "float32" or "bfloat16"; left out, they are chosen. On native Windows
    None means "inline", with a warning. Raises BadRequest, and SessionDied for a session that cannot be reached.
    """
    name = os.fspath(where or os.environ.get("ZIMAGE_SESSION") or "shared")
    if name == "shared" and launch.WINDOWS:
        if where == "shared":
            raise BadRequest('connect("shared") on native Windows', mend=launch.WINDOWS_SAYS)
        logging.getLogger("zimage_kit").warning(launch.WINDOWS_SAYS)
        name = "inline"
    if name not in ("shared", "inline") and not name.endswith(".json"):
        raise BadRequest(
            f"connect({name!r})",
            expected='nothing, "shared", "inline" or the path of a scheduler.json',
            mend="zk.connect() is what you want.",
        )
    if name.endswith(".json"):
        name = str(Path(name).expanduser().absolute())
        if device or dtype:
            raise BadRequest("device and dtype with a session file", mend="Its workers say what they compute with.")
    key = (str(launch.state_folder()) if name == "shared" else name, device, dtype)
    with _connecting:
        session = _sessions.get(key)
        if session is None or session._engine.closed:
            session = _sessions[key] = Session(_engine(name, device, dtype), name)
        return session


def _engine(name: str, device: str | None, dtype: str | None) -> Engine:
    if name == "inline":
        return InlineEngine(device, dtype)
    from .shared.shared_engine import SharedEngine

    return SharedEngine.of_user(device=device, dtype=dtype) if name == "shared" else SharedEngine.at(Path(name))
