"""Programs of a user's, in processes of their own, and the place where their session is kept."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from zimage_kit import Session
from zimage_kit.engine.settings import Settings
from zimage_kit.session.job import Job
from zimage_kit.session.shared import launch
from zimage_kit.session.shared.shared_engine import SharedEngine

PROBES = '''"""Stages that tests of the session are made of: they need no model, and so no torch."""

import time
from pathlib import Path

from zimage_kit import Field, Stage, stage


@stage
class Touch(Stage):
    """The shortest of jobs."""

    kind = "probe_touch"
    number: int = Field(0, description="makes one recipe different from another")

    def after(self, image, ctx):
        return image.copy()


@stage
class Note(Stage):
    """Write a line into a file, so that it can be told in which order jobs ran."""

    kind = "probe_note"
    file: str = Field(description="its path")
    text: str = Field(description="the line")

    def after(self, image, ctx):
        with open(self.file, "a") as file:
            file.write(self.text + chr(10))
        return image.copy()


@stage
class Hold(Stage):
    """Work until a file is there, and look whether to stop at every turn."""

    kind = "probe_hold"
    until: str = Field(description="the file")

    def after(self, image, ctx):
        ctx.progress("holding")
        while not Path(self.until).exists():
            ctx.check()
            time.sleep(0.005)
        return image.copy()


@stage
class Break(Stage):
    """A mistake in a user's extension."""

    kind = "probe_break"

    def after(self, image, ctx):
        return self._divided(image)

    def _divided(self, image):
        return image.resize((image.width // 0, 1))


@stage
class Greedy(Stage):
    """More memory than there is."""

    kind = "probe_greedy"

    def after(self, image, ctx):
        import torch

        return torch.empty(1 << 58)


@stage
class Exit(Stage):
    """Code that ends the process that it runs in, as a crash in a library does."""

    kind = "probe_exit"

    def after(self, image, ctx):
        import os

        os._exit(3)


@stage
class Fault(Stage):
    """Leave the worker as a CUDA error that sticks does: even giving memory back raises."""

    kind = "probe_fault"

    def after(self, image, ctx):
        from zimage_kit.engine import resident

        def broken(device):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        resident.release = broken
        broken("cuda:0")


@stage
class Odd(Stage):
    """What no careful author writes, and what has to end like any other job."""

    kind = "probe_odd"
    does: str = Field(description="what exactly")

    def after(self, image, ctx):
        class Speechless(Exception):
            def __str__(self):
                raise ValueError("no words")

        class Hanging:
            def __reduce__(self):
                raise RuntimeError("not to be sent")

        if self.does == "half a character in progress":
            ctx.progress("half " + chr(0xD83D))
        if self.does == "a number for progress":
            ctx.progress(3)
        if self.does == "megabytes of progress":
            ctx.progress("x" * 5_000_000)
        if self.does == "half a character in an error":
            raise ValueError("half " + chr(0xD83D))
        if self.does == "an error without words":
            raise Speechless
        if self.does == "an error with odd facts":
            from zimage_kit.errors import ZImageError

            raise ZImageError("odd", thing=Hanging(), half=chr(0xD83D), numbers={1: float("nan"), (1, 2): 3})
        if self.does == "an odd note":
            ctx.note("half " + chr(0xD83D))
        if self.does == "nothing for a picture":
            return None
        if self.does == "a palette":
            return image.convert("P")
        return image.copy()
'''
KINDS = (
    "probe_odd", "probe_fault", "probe_touch", "probe_note", "probe_hold", "probe_break", "probe_greedy", "probe_exit",
)  # fmt: skip

PRELUDE = """
import json, os, sys, zimage_kit as zk

def say(*words):
    print(json.dumps(words), flush=True)

def heard():
    return sys.stdin.readline().strip()

def tell(event):
    say(event.kind, event.job, event.step, event.message)

"""


def eventually(true: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """Wait until `true()` is, and return it; fails with `what` was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.005)


class Client:
    """A program of the user's in a process of its own: Python code that says lines and hears lines."""

    def __init__(self, code: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.pid = self.process.pid
        self.errors: list[str] = []
        self._lines: queue.Queue[list[Any] | None] = queue.Queue()
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def hears(self, first: str | None = None, seconds: float = 120.0) -> list[Any]:
        """The next line that it says; with `first`, the next one that begins so."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"the program did not say {first or 'anything'!r} within {seconds:g} s: {self.errors}")
            if line is None:
                pytest.fail(f"the program ended and never said {first or 'anything'!r}: {''.join(self.errors)}")
            if first is None or line[0] == first:
                return line

    def tell(self, word: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def ends(self, seconds: float = 30.0) -> int:
        """Wait for its end; its exit status."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        return status

    def end(self) -> None:
        """Whatever it does."""
        self.process.kill()
        self.ends()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)


@dataclass
class Place:
    """One user's world: where the session is kept, the extensions, the pictures, and every process of it."""

    root: Path
    sessions: list[Session] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    joined: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def file(self) -> Path:
        return self.state / launch.FILE

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a program of this user's."""
        return {
            "HOME": str(self.root / "home"),
            "HF_HOME": str(self.root / "home" / "huggingface"),
            "ZIMAGE_STATE": str(self.state),
            "ZIMAGE_EXTENSIONS": str(self.root / "extensions"),
            "ZIMAGE_OUTPUTS": str(self.root / "outputs"),
        }

    def session(self, **options: Any) -> Session:
        """A line of its own to the session, as a second notebook has one; left when the test is over."""
        settings = {name: options.pop(name) for name in Settings.model_fields if name in options}
        session = Session(SharedEngine.of_user(Settings(**settings), **options), "shared")
        self.sessions.append(session)
        return session

    def program(self, code: str, *arguments: object, **settings: str) -> Client:
        """Start a program of the user's; killed when the test is over."""
        words = tuple(str(argument) for argument in arguments)
        client = Client(code, words, {**os.environ, **self.settings, **settings})
        self.clients.append(client)
        return client

    def join_command(self, file: Path) -> list[str]:
        """What brings a further machine's workers to the session of a file."""
        return launch.server_command("--join", str(file), "--host", "127.0.0.3")

    def second_machine(self) -> subprocess.Popen[bytes]:
        """Join as another machine would: with a copied file, its own state folder and its own address."""
        copied = Path(shutil.copy(self.file, self.root / "copied.json"))
        settings = {**os.environ, **self.settings, "ZIMAGE_STATE": str(self.root / "second")}
        command = self.join_command(copied)
        with (self.root / "second.log").open("ab") as log:
            joined = subprocess.Popen(command, stdout=log, stderr=log, env=settings, start_new_session=True)
        self.joined.append(joined)
        return joined

    def leave(self) -> None:
        """The end of a test: every program is gone, every job ends."""
        for client in self.clients:
            client.end()
        for session in self.sessions:
            session.close()
        self.clients.clear()
        self.sessions.clear()

    def processes(self) -> list[psutil.Process]:
        """Every process of the session, on all its machines: their environments name a state folder in this place."""
        return [process for process in psutil.process_iter() if self._ours(process)]

    def _ours(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get("ZIMAGE_STATE", "").startswith(str(self.root))
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def server(self) -> psutil.Process:
        """The process that holds the session together."""
        return psutil.Process(launch.read_session_file(self.file).pid)

    def end(self) -> None:
        """End the session, and see that nothing of it, and of those before it, is left."""
        if self.file.exists():
            launch.kill(launch.read_session_file(self.file))
        for machine in self.joined:
            machine.wait(10)
        psutil.wait_procs(self.processes(), timeout=5)
        left = [(process.pid, process.cmdline()) for process in self.processes()]
        for pid, _ in left:
            psutil.Process(pid).kill()
        assert not left, f"the session is over, and these still run: {left}"


Submit = Callable[..., Job]
"""See the fixture `apply`."""


@dataclass
class Held:
    """A job that works until it is let go."""

    job: Job
    file: Path

    def let_go(self) -> None:
        self.file.touch()


Hold = Callable[[Session], Held]
"""See the fixture `hold`."""
