"""SharedEngine: the client side of a shared session, one for all of a user's programs, in its own processes.

Jobs go to the session's broker, which assigns them to workers; events and outcomes come back. This side imports no
torch. If the session is gone, the next job finds or starts another one.
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
    """The callbacks of one `submit` or `follow`. `kept`: the job goes on when this process leaves."""

    listen: Listen
    finish: Finish
    kept: bool = True


_ListenersByJob = dict[str, list[_Listener]]


class SharedEngine:
    """`SharedEngine.of_user(…)` finds or starts the user's session; `SharedEngine.at(path)` attaches to a file's."""

    def __init__(self, open_connection: Open, where: str, on_this_disk: bool) -> None:
        self._open, self._where, self._on_this_disk = open_connection, where, on_this_disk
        self._listeners: _ListenersByJob = {}
        self._lock = threading.RLock()
        self._closed = False
        self._models: frozenset[str] = frozenset()
        self._machines: frozenset[str] = frozenset()
        self._connection = self._attach()
        _skip_final_gc()
        atexit.register(self.close)

    @classmethod
    def of_user(cls, settings: Settings | None = None, **options: Any) -> SharedEngine:
        """Attach to the user's session on this machine; start it if it is not running.

        `settings` and `options` (host, port, idle_unload) are for starting it. Raises BadRequest when it runs already
        with other settings than those given.
        """
        options.setdefault("idle_unload", launch.idle_unload_setting())
        settings = settings or Settings()

        def open_connection(on_message: OnMessage, on_lost: OnLost) -> Connection:
            connection = find_or_start({**options, **settings.given()}, on_message, on_lost)
            theirs = Settings(**connection.welcome["settings"])
            if any(getattr(theirs, name) != value for name, value in settings.given().items()):
                connection.close()
                raise BadRequest(
                    f"{settings}, but your session runs with {theirs}",
                    mend='Stop it (`zimage session stop`) and connect again, or use connect("inline", …).',
                )
            return connection

        return cls(open_connection, str(launch.state_folder() / launch.FILE), on_this_disk=True)

    @classmethod
    def running(cls) -> SharedEngine | None:
        """Attach to the user's session if it is running, else return None. Raises what `find` raises."""

        def open_connection(on_message: OnMessage, on_lost: OnLost) -> Connection:
            connection = find(on_message, on_lost)
            if connection is None:
                raise NoSession("no session is running", mend="zk.connect() or `zimage session start` starts one.")
            return connection

        try:
            return cls(open_connection, str(launch.state_folder() / launch.FILE), on_this_disk=True)
        except NoSession:
            return None

    @classmethod
    def at(cls, path: Path) -> SharedEngine:
        """Attach to the session that a file names, here or on another machine. Raises BadRequest and SessionDied."""

        def open_connection(on_message: OnMessage, on_lost: OnLost) -> Connection:
            return Connection(launch.read_session_file(path), on_message, on_lost)

        return cls(open_connection, str(path), on_this_disk=False)

    def submit(self, task: Task, listen: Listen, finish: Finish) -> None:
        """Send a task to the broker. If the session is gone, connect again first."""
        message = wire.task_out(task, elsewhere=self._elsewhere)  # first, since it may raise
        with self._lock:
            connection = self._connected()
            self._listeners[task.id] = [_Listener(listen, finish, task.keep)]
            request = task.request
            try:
                connection.send(op="zimage-submit", task=message, prompt=request.prompt, model=request.model or "")
            except BaseException:
                self._listeners.pop(task.id, None)
                raise

    def follow(self, task_id: str, listen: Listen, finish: Finish) -> Request:
        """Follow any process's job, from its latest event on. A kept job that is done is read from its file."""
        listener = _Listener(listen, finish)
        with self._lock:
            connection = self._connected()  # first: a new connection has its own listeners
            self._listeners.setdefault(task_id, []).append(listener)
        try:
            answer = connection.ask("follow", STATUS_SECONDS, job=task_id)
            request = wire.request_in(answer["request"])
            if "path" in answer:  # the job is over
                self._forget(task_id, listener)
                finish(_finished(task_id, answer), wire.event_in(answer["event"]))
            return request
        except TimeoutError:
            self._forget(task_id, listener)
            raise _no_answer("how far the job is") from None
        except BaseException:
            self._forget(task_id, listener)
            raise

    def cancel(self, task_id: str, wait: bool = True) -> bool:
        """Ask the broker to stop any process's job. Raises NotAnswering when the broker does not answer in time."""
        if not wait:
            self._connection.tell("cancel", job=task_id)
            return True
        try:
            return bool(self._connection.ask("cancel", STATUS_SECONDS, job=task_id))
        except TimeoutError:
            raise _no_answer("whether the job was cancelled") from None
        except SessionDied:
            return False  # the job ended with its session

    def hasten(self, task_id: str) -> bool:
        """Put one of this process's waiting jobs before its others. Raises SessionDied without an answer."""
        try:
            return bool(self._connection.ask("hasten", STATUS_SECONDS, job=task_id))
        except TimeoutError:
            raise _no_answer("whether the job is next") from None

    def status(self) -> Status:
        """The session's status; "not answering" when it does not answer within two seconds."""
        connection = self._connection
        if not connection.open:
            return Status(engine="shared", state="closed", address=connection.file.address, clients=0)
        try:
            return Status.model_validate(connection.ask("status", STATUS_SECONDS))
        except TimeoutError:
            return Status(engine="shared", state="not answering", address=connection.file.address)
        except SessionDied:
            return Status(engine="shared", state="closed", address=connection.file.address, clients=0)

    def models(self) -> frozenset[str]:
        """Names of the models that workers have reported, and of those on this disk if a worker reads it."""
        return self._models | (models_here() if self._on_this_disk else frozenset())

    @property
    def _elsewhere(self) -> bool:
        """Whether a worker may be on another machine, so that a job's inputs go along with it."""
        return self._machines != {wire.machine()} if self._machines else not self._on_this_disk

    def unload(self) -> None:
        """Every worker frees its memory once its running job has ended."""
        self._connected().ask("unload", None)

    def restart(self) -> None:
        """Cancel everyone's jobs and restart the workers' processes, stuck ones too."""
        self._connected().ask("restart", None)

    def stop(self) -> None:
        """End the session for everyone."""
        self._connection.ask("stop", STATUS_SECONDS)
        self.close()

    def close(self) -> None:
        """Leave the session. This process's jobs are cancelled, except kept ones; other programs' jobs go on."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._connection.close()
        atexit.unregister(self.close)

    @property
    def closed(self) -> bool:
        """True once `close` was called, or when the connection is gone; the next job then opens another one."""
        return self._closed or not self._connection.open

    def _connected(self) -> Connection:
        """The connection, opened again if the session is gone."""
        with self._lock:
            if self._closed:
                raise SessionDied("this session is closed", mend="zk.connect() opens a new one.")
            if not self._connection.open:
                self._connection = self._attach()
                _log.warning("The session was gone; this is a new one, and its models load again.")
            return self._connection

    def _attach(self) -> Connection:
        # each connection has its own listeners: the end of an old one must not end a new one's jobs
        listeners: _ListenersByJob = {}
        connection = self._open(partial(self._on_message, listeners), partial(self._on_lost, listeners))
        self._listeners, self._models = listeners, frozenset(connection.welcome["models"])
        self._machines = frozenset(connection.welcome["machines"])
        theirs, ours = connection.welcome["version"], zimage_kit.__version__
        if theirs != ours:
            _log.warning(
                "Your session runs zimage_kit %s, this is %s: `zimage session stop`, then connect again.", theirs, ours
            )
        return connection

    def _on_message(self, listeners: _ListenersByJob, message: wire.Message) -> None:
        match message["op"]:
            case "event":
                _notify(listeners, wire.event_in(message["event"]))
            case "positions":
                for job, position in message["positions"].items():
                    _notify(listeners, Event(kind="queued", job=job, position=position))
            case "outcome":
                self._finish(listeners, message)
            case "models":
                self._models, self._machines = frozenset(message["models"]), frozenset(message["machines"])

    def _finish(self, listeners: _ListenersByJob, message: wire.Message) -> None:
        """Finish a job. An outcome that cannot be read becomes JobFailed, so that its job ends all the same."""
        job = str(message.get("job") or message["event"]["job"])
        with self._lock:
            finished = listeners.pop(job, [])
        for each in finished:
            try:
                outcome, last = wire.outcome_in(message["outcome"]), wire.event_in(message["event"])
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                mend = "Session and program may have different versions: `zimage session stop`, then connect again."
                outcome = JobFailed(f"the outcome of job {job} cannot be read ({reason})", mend=mend)
                last = last_event(job, outcome)
            try:
                each.finish(outcome, last)
            except Exception:
                _log.exception("A listener of job %s failed", job)

    def _on_lost(self, listeners: _ListenersByJob) -> None:
        """The connection is gone: its jobs fail."""
        with self._lock:
            jobs = dict(listeners)
            listeners.clear()
        for job, lost in jobs.items():
            for each in lost:
                error = self._lost_error(job, each)
                each.finish(error, last_event(job, error))

    def _lost_error(self, job: str, listener: _Listener) -> ZImageError:
        if not self._closed:
            mend = "Run it again: a new session starts by itself."
            return SessionDied(f"the session ended before job {job} was done", mend=mend, session=self._where)
        if not listener.kept:
            return JobCancelled(f"job {job} was cancelled: its session was closed")
        return SessionDied(
            f"the session was closed here before job {job} was done",
            mend=f"The job goes on: zk.connect().job({job!r}) follows it.",
        )

    def _forget(self, task_id: str, listener: _Listener) -> None:
        with self._lock:
            left = [each for each in self._listeners.pop(task_id, []) if each is not listener]
            if left:
                self._listeners[task_id] = left


@cache
def _skip_final_gc() -> None:
    """Skip the garbage collection of Dask's modules at exit, which takes a fifth of a short program's time.

    Not where torch is imported: its bindings print every object that was not collected.
    """
    atexit.register(lambda: None if "torch" in sys.modules else gc.freeze())


def _notify(listeners: _ListenersByJob, event: Event) -> None:
    for each in tuple(listeners.get(event.job, ())):
        try:
            each.listen(event)
        except Exception:
            _log.exception("A listener of job %s failed", event.job)


def _no_answer(what: str) -> NotAnswering:
    return NotAnswering(
        f"the session did not say within {STATUS_SECONDS:g} s {what}", mend="`zimage session status` shows its state."
    )


def find_or_start(options: dict[str, Any], on_message: OnMessage, on_lost: OnLost) -> Connection:
    """Connect to the user's session; start it if it is not running.

    Raises NotAnswering when it runs but does not answer. It is not restarted then: it may just be slow (a machine that
    swaps).
    """
    connection = find(on_message, on_lost)
    if connection is not None:
        return connection
    folder = launch.private_folder(launch.state_folder())
    with launch.starting(folder):
        connection = find(on_message, on_lost)  # another program may have started it while we waited for the lock
        return connection or Connection(launch.start(folder, options), on_message, on_lost)


def find(on_message: OnMessage, on_lost: OnLost) -> Connection | None:
    """Connect to the user's session if it is running, else None.

    Raises NotAnswering, and SessionDied for a folder that belongs to another user.
    """
    file = launch.state_folder() / launch.FILE
    if not file.exists():
        return None
    launch.private_folder(file.parent)  # checked before its file is trusted
    try:
        return Connection(launch.read_session_file(file), on_message, on_lost)
    except NoSession:
        return None
    except SessionDied as error:
        if isinstance(error, NotAnswering) or launch.read_session_file(file).alive():
            raise
        return None  # the session was killed, and another program got its address


def _finished(task_id: str, answer: wire.Message) -> Any:
    """The outcome of a job that was over before it was followed."""
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
