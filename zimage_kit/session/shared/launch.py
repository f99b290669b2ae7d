"""Finds and starts this user's session: its folder (0700), its file (0600), the lock, the detached process.

The session file holds the address and the certificate's key: anyone who can read it can use the session and run code as
its user. Copied to another machine, it lets that machine join or attach.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from ... import files
from ...errors import BadRequest, SessionDied, need_engine
from ...files import expanded, parsed_json

if TYPE_CHECKING:
    from distributed.security import Security

FILE, LOG, LOCK = "scheduler.json", "session.log", "lock"
SERVER = "zimage_kit.session.shared.server"
START_SECONDS, STOP_SECONDS = 30.0, 10.0
WINDOWS = sys.platform == "win32"
WINDOWS_SAYS = (
    "The shared session needs Linux, WSL2 or macOS. On native Windows each program and notebook loads its own model."
)


@dataclass(frozen=True)
class SessionFile:
    """The content of a session file: the address and, for our own sessions, certificate and key (PEM), host and pid."""

    address: str
    certificate: str = ""
    key: str = ""
    host: str = ""
    pid: int = 0

    def security(self) -> Security:
        """TLS settings for both ends: each shows this certificate and accepts no other.

        A file without a certificate takes Dask's configuration. Raises BadRequest when that has none either.
        """
        from distributed.security import Security

        if not self.certificate:
            security = Security()
            if self.address.startswith("tls:") and not security.get_connection_args("client").get("ssl_context"):
                raise BadRequest(
                    f"the session at {self.address} is encrypted, and its file has no certificate",
                    mend="Give the scheduler.json that it wrote, or name the certificate in Dask's configuration.",
                )
            return security
        roles = ("scheduler", "worker", "client")
        parts = {"cert": self.certificate, "key": self.key}
        pairs = {f"tls_{role}_{part}": text for role in roles for part, text in parts.items()}
        return Security(require_encryption=True, tls_ca_file=self.certificate, **pairs)

    def alive(self) -> bool | None:
        """Whether its process is running; None when it is on another machine."""
        if self.host != platform.node() or not self.pid:
            return None
        try:
            return SERVER in psutil.Process(self.pid).cmdline()  # another process may have got its pid
        except psutil.Error:
            return False


def state_folder() -> Path:
    """The folder of this user's session on this machine: $ZIMAGE_STATE, else in the system's folder for user state.

    One per machine, since several may share a home folder.
    """
    given = os.environ.get("ZIMAGE_STATE")
    if given:
        return expanded(Path(given))
    from platformdirs import user_state_path

    return user_state_path("zimage", appauthor=False) / (platform.node() or "machine")


def private_folder(path: Path) -> Path:
    """Create `path` if needed and make it private (0700). Raises SessionDied for a folder of another user."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    about = path.stat()
    if hasattr(os, "geteuid") and about.st_uid != os.geteuid():
        raise SessionDied(
            f"{path} belongs to another user", mend="Set ZIMAGE_STATE to a folder of your own.", path=str(path)
        )
    if stat.S_IMODE(about.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def read_session_file(path: Path) -> SessionFile:
    """Read a session file, ours or Dask's. Raises BadRequest for any other file.

    Raises SessionDied for a file with a key that other users may read, as ssh refuses such keys: anyone who has read it
    can run code as its user.
    """
    path = expanded(path)
    try:
        data = parsed_json(path.read_bytes())
        known = {name: data[name] for name in ("address", "certificate", "key", "host", "pid") if name in data}
        if not isinstance(known["address"], str):
            raise ValueError(f"address={known['address']!r}")
        mode = stat.S_IMODE(path.stat().st_mode)
        if known.get("key") and not WINDOWS and mode & 0o077:
            raise SessionDied(
                f"{path} holds the session's key, and others may read it (mode {mode:04o})",
                expected="a file that only you can read",
                mend=f"Run: chmod 600 {path}. If someone may have read it, stop the session and start a new one.",
                path=str(path),
            )
        return SessionFile(**known)
    except FileNotFoundError:
        raise BadRequest(f"there is no session file {path}", mend="`zimage session start` writes one.") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadRequest(f"{path} is not a session file ({error})", expected="a scheduler.json") from None


def write_session_file(path: Path, address: str, security: Security) -> None:
    """Write the session file atomically, readable by this user only."""
    data = {
        "address": address,
        **_pem(security),
        "host": platform.node(),
        "pid": os.getpid(),
        "note": "Anyone who can read this file can use the session and run code as its user.",
    }
    files.write_whole(path, json.dumps(data, indent=2).encode(), mode=0o600)


def _pem(security: Security) -> dict[str, str]:
    arguments = security.get_tls_config_for_role("client")
    return {"certificate": arguments["ca_file"], "key": arguments["key"]}


def forget_session_file(path: Path) -> None:
    """Remove the session file if it is this process's, and not a later one's."""
    with suppress(BadRequest, FileNotFoundError):
        if read_session_file(path).pid == os.getpid():
            path.unlink()


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Hold the lock, so that only one of several programs starts the session. Raises SessionDied on a time-out."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / LOCK, timeout=START_SECONDS + 10, mode=0o600):
            yield
    except Timeout:
        raise SessionDied(
            f"another program has been starting the session for {START_SECONDS + 10:.0f} s",
            mend=f"See {folder / LOG}.",
        ) from None


def start(folder: Path, options: dict[str, Any]) -> SessionFile:
    """Start a detached session and wait until it listens. Raises SessionDied with the end of its log if it does not.

    Raises what `server_command` raises.
    """
    file, log = folder / FILE, folder / LOG
    command = server_command("--file", str(file), **options)
    file.unlink(missing_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != files.ALLOWED},  # a page's is not ours
            start_new_session=True,
            close_fds=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if file.exists():
            process.returncode = 0  # the process goes on; without this, Popen warns when it is collected
            return read_session_file(file)
        if process.poll() is not None:
            raise _did_not_start(f"the session ended as it started (exit status {process.returncode})", log)
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise _did_not_start(f"the session did not start within {START_SECONDS:.0f} s", log)


def idle_unload_setting() -> float | None:
    """$ZIMAGE_IDLE_UNLOAD (minutes) in seconds; None if it is not set. Raises BadRequest."""
    text = os.environ.get("ZIMAGE_IDLE_UNLOAD")
    if not text:
        return None
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not minutes > 0:
        raise BadRequest(f"ZIMAGE_IDLE_UNLOAD={text!r}", expected="minutes, more than 0", mend="Correct or unset it.")
    return minutes * 60


def server_command(*arguments: str, **options: Any) -> list[str]:
    """The command line of `server.py`; options that are None are left out. Raises EngineMissing in a light client."""
    need_engine("a session on this machine")
    given = {f"--{name.replace('_', '-')}": str(value) for name, value in options.items() if value is not None}
    return [sys.executable, "-m", SERVER, *arguments, *(word for pair in given.items() for word in pair)]


def _did_not_start(seen: str, log: Path) -> SessionDied:
    text = log.read_text(errors="replace").strip()
    last = text.splitlines()[-1] if text else "its log is empty"
    return SessionDied(f"{seen}: {last}", mend=f"The whole log is {log}.", log=text[-4000:])


def gone(session: SessionFile, seconds: float) -> bool:
    """Wait until a stopped session's process has ended. False: it still runs, or it is on another machine."""
    deadline = time.monotonic() + seconds
    while session.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return session.alive() is False


def runs() -> bool:
    """Whether this user's session is running on this machine. Asks the system, not the session."""
    file = state_folder() / FILE
    return file.exists() and read_session_file(file).alive() is True


def kill(session: SessionFile) -> bool:
    """Kill the process of a session that does not answer, and its workers. False: it is not running on this machine.

    Python's resource tracker is left to end by itself: once the others are gone, it removes what they named in shared
    memory.
    """
    if not session.alive():
        return False
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(session.pid)
        family = [process, *process.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                if not any("multiprocessing.resource_tracker" in word for word in member.cmdline()):
                    member.kill()
        psutil.wait_procs(family, timeout=5)
    return True
