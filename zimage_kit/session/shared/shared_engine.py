"""The shared engine, seen from a notebook: one session for all of a user's programs, in processes of its own.

Jobs are sent to the session's desk, which deals them to workers; events and outcomes come back. This side loads no
torch. A session that is gone is found or started anew with the next job.
"""

from __future__ import annotations

import atexit
import gc
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import zimage_kit

from ...engine.events import Event, Listen
from ...engine.settings import Settings
from ...engine.task import Task
from ...errors import BadRequest, JobCancelled, JobFailed, SessionDied, ZImageError
from ...models.spec import models_here
from ...recipe.artifact import read
from ...recipe.request import Request
from ..engine import Finish
from ..outcome import last_event
from ..status import Status
from . import launch, wire
from .connection import Connection, NoSession, NotAnswering, OnLost, OnMessage

STATUS_SECONDS = 1.9
_log = logging.getLogger("zimage_kit")

Open = Callable[[OnMessage, OnLost], Connection]


@dataclass
class _Listener:
    """Someone in this process who hears of a job. `kept`: it goes on when this process leaves."""

    listen: Listen
    finish: Finish
    kept: bool = True


_ListenersByJob = dict[str, list[_Listener]]


class SharedEngine:
    """`SharedEngine.of_user(…)` finds or starts the user's session; `SharedEngine.at(path)` attaches to a file's."""

    def __init__(self, open_link: Open, where: str, on_this_disk: bool) -> None:
        self._open, self._where, self._on_this_disk = open_link, where, on_this_disk
        self._listeners: _ListenersByJob = {}
        self._lock = threading.RLock()
        self._closed = False
        self._models: frozenset[str] = frozenset()
        self._link = self._attach()
        _end_quickly()
        atexit.register(self.close)

    @classmethod
    def of_user(cls, settings: Settings | None = None, **options: Any) -> SharedEngine:
        """The one session of this user on this machine.

        `settings` and the further `options` are for starting it: host, port, idle_unload. Raises BadRequest when one is
        there with other settings than those given.
        """
        options.setdefault("idle_unload", launch.idle_unload_setting())
        settings = settings or Settings()

        def open_link(on_message: OnMessage, on_lost: OnLost) -> Connection:
            link = find_or_start({**options, **settings.given()}, on_message, on_lost)
            there = Settings(**link.welcome["settings"])
            if any(getattr(there, name) != value for name, value in settings.given().items()):
                link.close()
                raise BadRequest(
                    f"{settings}, but your session runs with {there}",
                    mend='Stop it (`zimage session stop`) and connect again, or use connect("inline", …).',
                )
            return link

        return cls(open_link, str(launch.state_folder() / launch.FILE), on_this_disk=True)

    @classmethod
    def running(cls) -> SharedEngine | None:
        """The user's session if it runs; none is started. Raises what `find` raises."""

        def open_link(on_message: OnMessage, on_lost: OnLost) -> Connection:
            link = find(on_message, on_lost)
            if link is None:
                raise NoSession("no session runs", mend="zk.connect() or `zimage session start` starts one.")
            return link

        try:
            return cls(open_link, str(launch.state_folder() / launch.FILE), on_this_disk=True)
        except NoSession:
            return None

    @classmethod
    def at(cls, path: Path) -> SharedEngine:
        """The session that a file names, here or on another machine. Raises BadRequest and SessionDied."""

        def open_link(on_message: OnMessage, on_lost: OnLost) -> Connection:
            return Connection(launch.read_session_file(path), on_message, on_lost)

        return cls(open_link, str(path), on_this_disk=False)

    def submit(self, task: Task, listen: Listen, finish: Finish) -> None:
        """Send a task to the broker. A session that is gone is opened anew first."""
        message = wire.task_out(task)  # before anybody waits for it
        with self._lock:
            link = self._line()
            self._listeners[task.id] = [_Listener(listen, finish, task.keep)]
            request = task.request
            try:
                link.send(op="zimage-submit", task=message, prompt=request.prompt, model=request.model or "")
            except BaseException:
                self._listeners.pop(task.id, None)
                raise

    def follow(self, task_id: str, listen: Listen, finish: Finish) -> Request:
        """Hear of any process's job, from how it is now. A kept job that is done gives its picture from its file."""
        listener = _Listener(listen, finish)
        with self._lock:
            link = self._line()  # first: a connection that is opened anew has listeners of its own
            self._listeners.setdefault(task_id, []).append(listener)
        try:
            answer = link.ask("follow", STATUS_SECONDS, job=task_id)
            request = wire.request_in(answer["request"])
            if "path" in answer:  # it is over
                self._forget(task_id, listener)
                finish(_finished(task_id, answer), wire.event_in(answer["event"]))
            return request
        except TimeoutError:
            self._forget(task_id, listener)
            raise _no_answer("where the job is") from None
        except BaseException:
            self._forget(task_id, listener)
            raise

    def cancel(self, task_id: str, wait: bool = True) -> bool:
        """Ask the broker to stop a job, whoever's it is. Raises NotAnswering when it does not say whether it did."""
        if not wait:
            self._link.tell("cancel", job=task_id)
            return True
        try:
            return bool(self._link.ask("cancel", STATUS_SECONDS, job=task_id))
        except TimeoutError:
            raise _no_answer("whether the job was cancelled") from None
        except SessionDied:
            return False  # with its session gone a job is over

    def status(self) -> Status:
        """How the session is; "not answering" when it does not say so within two seconds."""
        if not self._link.open:
            return Status(engine="shared", state="closed", address=self._link.file.address, clients=0)
        try:
            return Status.model_validate(self._link.ask("status", STATUS_SECONDS))
        except TimeoutError:
            return Status(engine="shared", state="not answering", address=self._link.file.address)
        except SessionDied:
            return Status(engine="shared", state="closed", address=self._link.file.address, clients=0)

    def models(self) -> frozenset[str]:
        """What the workers have told so far, and what lies on this disk if the session's own worker reads it."""
        return self._models | (models_here() if self._on_this_disk else frozenset())

    def unload(self) -> None:
        """Every worker gives its memory back once what it runs is done."""
        self._line().ask("unload", None)

    def restart(self) -> None:
        """Cancel everyone's jobs and start the workers' processes anew, stuck ones too."""
        self._line().ask("restart", None)

    def stop(self) -> None:
        """End the session for everyone."""
        self._link.ask("stop", STATUS_SECONDS)
        self.close()

    def close(self) -> None:
        """Leave the session: this process's jobs are cancelled, but for those to be kept; others go on."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._link.close()
        atexit.unregister(self.close)

    @property
    def closed(self) -> bool:
        """True once `close` was called, and when the connection is gone; the next job opens another one then."""
        return self._closed or not self._link.open

    def _line(self) -> Connection:
        """The connection, opened anew if the session is gone."""
        with self._lock:
            if self._closed:
                raise SessionDied("this session is closed", mend="zk.connect() opens a new one.")
            if not self._link.open:
                self._link = self._attach()
                _log.warning("The session was gone; this is a new one, and its models load again.")
            return self._link

    def _attach(self) -> Connection:
        # each connection has its own: the end of an old one must not touch a new one's jobs
        listeners: _ListenersByJob = {}
        link = self._open(partial(self._on_message, listeners), partial(self._on_lost, listeners))
        self._listeners, self._models = listeners, frozenset(link.welcome["models"])
        theirs, ours = link.welcome["version"], zimage_kit.__version__
        if theirs != ours:
            _log.warning(
                "Your session runs zimage_kit %s, this is %s: `zimage session stop`, then connect again.", theirs, ours
            )
        return link

    def _on_message(self, listeners: _ListenersByJob, message: wire.Message) -> None:
        match message["op"]:
            case "event":
                _tell(listeners, wire.event_in(message["event"]))
            case "positions":
                for job, position in message["positions"].items():
                    _tell(listeners, Event(kind="queued", job=job, position=position))
            case "outcome":
                self._finish(listeners, message)
            case "models":
                self._models = frozenset(message["models"])

    def _finish(self, listeners: _ListenersByJob, message: wire.Message) -> None:
        """A job is over. An outcome that cannot be read is one too: nobody waits for ever."""
        job = str(message.get("job") or message["event"]["job"])
        with self._lock:
            told = listeners.pop(job, [])
        for each in told:
            try:
                outcome, last = wire.outcome_in(message["outcome"]), wire.event_in(message["event"])
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                mend = "Session and program may be of different versions: `zimage session stop`, then connect again."
                outcome = JobFailed(f"what the session made of job {job} cannot be read ({reason})", mend=mend)
                last = last_event(job, outcome)
            try:
                each.finish(outcome, last)
            except Exception:
                _log.exception("A listener of job %s failed", job)

    def _on_lost(self, listeners: _ListenersByJob) -> None:
        """The connection is gone, and so is what was asked for."""
        with self._lock:
            jobs = dict(listeners)
            listeners.clear()
        for job, told in jobs.items():
            for each in told:
                error = self._why_lost(job, each)
                each.finish(error, last_event(job, error))

    def _why_lost(self, job: str, listeners: _Listener) -> ZImageError:
        if not self._closed:
            mend = "Run it again: a new session starts by itself."
            return SessionDied(f"the session ended before job {job} was done", mend=mend, session=self._where)
        if not listeners.kept:
            return JobCancelled(f"job {job} was cancelled: its session was closed")
        return SessionDied(
            f"the session was closed here before job {job} was done",
            mend=f"The job goes on: zk.connect().job({job!r}) follows it.",
        )

    def _forget(self, task_id: str, listeners: _Listener) -> None:
        with self._lock:
            left = [each for each in self._listeners.pop(task_id, []) if each is not listeners]
            if left:
                self._listeners[task_id] = left


@cache
def _end_quickly() -> None:
    """Spare the interpreter's end the search through all that Dask has imported: a fifth of a short program's time.

    Not where torch is: its bindings list every object that was not collected.
    """
    atexit.register(lambda: None if "torch" in sys.modules else gc.freeze())


def _tell(listeners: _ListenersByJob, event: Event) -> None:
    for each in tuple(listeners.get(event.job, ())):
        try:
            each.listen(event)
        except Exception:
            _log.exception("A listener of job %s failed", event.job)


def _no_answer(what: str) -> NotAnswering:
    return NotAnswering(
        f"the session did not say within {STATUS_SECONDS:g} s {what}", mend="zimage session status says how it is."
    )


def find_or_start(options: dict[str, Any], on_message: OnMessage, on_lost: OnLost) -> Connection:
    """A link to the user's session, which is started if there is none.

    One that is there but does not answer is left alone: that it is slow (a machine that swaps) is no reason to end it.
    Raises NotAnswering then.
    """
    link = find(on_message, on_lost)
    if link is not None:
        return link
    folder = launch.private_folder(launch.state_folder())
    with launch.starting(folder):
        link = find(on_message, on_lost)  # another program may have started it while we waited for the lock
        return link or Connection(launch.start(folder, options), on_message, on_lost)


def find(on_message: OnMessage, on_lost: OnLost) -> Connection | None:
    """A link to the user's session if there is one. Raises NotAnswering, and SessionDied for another user's folder."""
    file = launch.state_folder() / launch.FILE
    if not file.exists():
        return None
    launch.private_folder(file.parent)  # before its file is believed
    try:
        return Connection(launch.read_session_file(file), on_message, on_lost)
    except NoSession:
        return None
    except SessionDied as error:
        if isinstance(error, NotAnswering) or launch.read_session_file(file).alive():
            raise
        return None  # a killed session's address was given to someone else


def _finished(task_id: str, answer: wire.Message) -> Any:
    """The outcome of a job that was over when it was asked for."""
    path = answer["path"]
    try:
        if path is not None:
            return read(Path(path))
    except ZImageError as error:
        return error
    state = answer["event"]["kind"]
    return BadRequest(
        f"job {task_id} is over ({state}) and its picture was not kept here",
        mend="Jobs submitted with keep=True are saved and can be asked for later.",
    )
