"""A client's connection to a shared session: encrypted, and served by its own thread. Imports no torch."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import platform
import sys
import threading
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from distributed.batched import BatchedSend
from distributed.comm.core import connect

from ...errors import BadRequest, SessionDied, ZImageError
from . import wire
from .launch import SessionFile

CONNECT_SECONDS = 2.0
_log = logging.getLogger("zimage_kit")

OnMessage = Callable[[wire.Message], None]
OnLost = Callable[[], None]


class NoSession(SessionDied):
    """Nothing listens at the address: the session is gone."""


class NotAnswering(SessionDied):
    """Something listens but does not answer in time."""


class Connection:
    """Opened by `Connection(file, on_message, on_lost)`; `on_lost` is called once, when the connection ends.

    Both callbacks run in the connection's thread, in order. Raises NoSession, NotAnswering, and SessionDied when the
    address belongs to something else or refuses the certificate.
    """

    def __init__(
        self, file: SessionFile, on_message: Callable[[wire.Message], None], on_lost: Callable[[], None]
    ) -> None:
        self.file, self._on_message, self._on_lost = file, on_message, on_lost
        self.open = self._ending = False
        self.welcome: wire.Message = {}
        self._numbers = count(1)
        self._answers: dict[int, concurrent.futures.Future[Any]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="zimage-connection", daemon=True)
        self._thread.start()
        try:
            self._run_in_loop(self._connect(), None)
        except BaseException:
            self._end()
            raise

    def send(self, **message: Any) -> None:
        """Send a message without waiting. Raises SessionDied when the connection is gone."""
        if not self.open:
            raise SessionDied("the session is gone", mend="Run it again: zk.connect() finds or starts a session.")
        self._call_in_loop(self._stream.send, message)

    def ask(self, what: str, seconds: float | None, **arguments: Any) -> Any:
        """Ask the broker and wait for its answer. Raises its error, SessionDied when it is gone, and TimeoutError."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("an event listener cannot wait for the session: its own thread delivers the answer")
        number = next(self._numbers)
        answer = self._answers[number] = concurrent.futures.Future()
        try:
            self.send(op="zimage-ask", number=number, what=what, **arguments)
            return _wait(answer, seconds)
        finally:
            self._answers.pop(number, None)

    def tell(self, what: str, **arguments: Any) -> None:
        """Ask the broker for something without waiting for the answer; from any thread. Does nothing if it is gone."""
        with suppress(SessionDied):
            self.send(op="zimage-ask", number=next(self._numbers), what=what, **arguments)

    def close(self) -> None:
        """End the connection; messages sent before are still delivered."""
        if self.open and threading.current_thread() is not self._thread:
            with suppress(TimeoutError, SessionDied, concurrent.futures.CancelledError):
                self._run_in_loop(self._flush(), 2)
        self.open = False
        self._end()

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _call_in_loop(self, call: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the connection is gone, and `on_lost` reports that
            self._loop.call_soon_threadsafe(call, *arguments)

    async def _connect(self) -> None:
        if self.file.alive() is False:  # known at once, while connecting would retry for a while
            raise _no_session(self.file)
        arguments = self.file.security().get_connection_args("client")
        try:
            async with asyncio.timeout(CONNECT_SECONDS + 0.5):  # longer than Dask's own time-out, which gives a reason
                comm = await connect(self.file.address, timeout=CONNECT_SECONDS, **arguments)
        except TimeoutError:
            raise _not_answering(self.file) from None
        except OSError as error:
            raise _connect_error(self.file, error) from None
        except (ValueError, RuntimeError) as error:  # what Dask raises for a bad address or missing encryption
            raise BadRequest(
                f"{self.file.address!r} in the session file ({error})", expected="an address like tls://127.0.0.1:8786"
            ) from None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                attach = {"op": "zimage_attach", "label": label(), "name": uuid.uuid4().hex}
                await comm.write({**attach, "protocol": wire.PROTOCOL})
                first = await comm.read()
        except (TimeoutError, OSError):
            comm.abort()
            raise _not_answering(self.file) from None
        messages = first if isinstance(first, list | tuple) else [first]
        if not messages or not isinstance(messages[0], dict) or messages[0].get("op") != "welcome":
            comm.abort()
            raise SessionDied(
                f"a Dask scheduler listens at {self.file.address}, but it is not a zimage_kit session",
                mend="Start its scheduler with --preload zimage_kit.session.shared.broker.",
            )
        self.welcome = messages[0]
        if self.welcome.get("protocol") != wire.PROTOCOL:
            comm.abort()
            theirs = self.welcome.get("version", "an earlier version")
            raise SessionDied(
                f"the session at {self.file.address} runs zimage_kit {theirs}, which uses another protocol version",
                mend="`zimage session stop --force` ends it; the next connect starts a new one.",
            )
        self._comm = comm
        self._stream = BatchedSend(interval="1ms")
        self._stream.start(comm)
        self.open = True
        self._reading = asyncio.ensure_future(self._read(messages[1:]))

    async def _flush(self) -> None:
        await self._stream.close(timeout=1)  # writes what is buffered, then closes

    async def _read(self, messages: Any) -> None:
        try:
            while True:
                for message in messages:
                    try:
                        if message["op"] == "answer":
                            self._answered(message)
                        else:
                            self._on_message(message)
                    except Exception:  # one bad message must not stop the others
                        _log.exception("A message from the session could not be read")
                messages = await self._comm.read()
        except OSError:  # Dask's CommClosedError is one
            pass
        finally:
            self.open = False
            self._comm.abort()
            for answer in list(self._answers.values()):
                if not answer.done():
                    answer.set_exception(SessionDied("the session ended before it answered"))
            self._on_lost()
            self._end()

    def _answered(self, message: wire.Message) -> None:
        answer = self._answers.pop(message["number"], None)
        if answer is None:
            return  # the caller has stopped waiting
        if "failed" in message:
            try:
                answer.set_exception(wire.error_in(message["failed"]))
            except Exception as error:
                answer.set_exception(SessionDied(f"the session's answer cannot be read ({error})"))
        else:
            answer.set_result(message["value"])

    def _run_in_loop(self, work: Coroutine[Any, Any, None], seconds: float | None) -> None:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop has just been closed
            work.close()
            raise SessionDied("the session is gone") from None
        _wait(future, seconds)

    def _end(self) -> None:
        """Stop the loop and wait for its thread. May be called repeatedly, and from that thread."""

        async def cancel_all() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self._loop.stop()

        def end() -> None:  # in the thread
            if not self._ending:
                self._ending = True
                self._last = self._loop.create_task(cancel_all())

        if self._thread.is_alive():
            self._call_in_loop(end)
            if threading.current_thread() is not self._thread:
                self._thread.join(2)


def label() -> str:
    """The name of this process in a session's status: its notebook or program, its pid, its machine."""
    notebook = os.environ.get("JPY_SESSION_NAME", "")
    program = Path(notebook or sys.argv[0] or "python").name
    if program == "ipykernel_launcher.py":  # a kernel whose notebook has no name
        program = "web page" if os.environ.get("SERVER_SOFTWARE", "").startswith("voila") else "notebook"
    return f"{program} (pid {os.getpid()} on {platform.node()})"


def _wait(future: concurrent.futures.Future[Any], seconds: float | None) -> Any:
    """Wait in short intervals, so that an interrupt is noticed on every system."""
    left = seconds
    while True:
        interval = 0.5 if left is None else min(left, 0.5)
        try:
            return future.result(interval)
        except TimeoutError:
            if future.done():
                raise  # the answer itself is a time-out
        if left is not None:
            left -= interval
            if left <= 0:
                raise TimeoutError


def _connect_error(file: SessionFile, error: OSError) -> ZImageError:
    reason = str(error.__cause__ or error)
    if "certificate" in reason.lower() or "ssl" in reason.lower():
        return SessionDied(
            f"the session at {file.address} does not accept this file's certificate",
            mend="Copy its scheduler.json again: each session has a new one.",
        )
    return _not_answering(file) if file.alive() else _no_session(file)


def _no_session(file: SessionFile) -> NoSession:
    return NoSession(f"no session listens at {file.address}", mend="`zimage session start` starts one.")


def _not_answering(file: SessionFile) -> NotAnswering:
    return NotAnswering(
        f"the session at {file.address} does not answer",
        mend="`zimage session stop --force` ends it; zk.connect() then starts a new one.",
        pid=file.pid,
    )
