"""Address and keys of the studio's page: port, token, cookie secret."""

from __future__ import annotations

import errno
import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import threading
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from ... import files
from ...errors import BadRequest, ZImageError
from ...session.shared import launch

PORT = 7860
TRIES = 100
"""Number of further ports that `next_port` tries."""
LEAST, LEAST_DIFFERENT = 16, 8
"""Characters of a token, and of these different ones, where other machines can try to guess it."""
SECRET = "page.key"  # beside the session's file, in the user's private folder


@dataclass(frozen=True)
class Keys:
    """Keys of the page: the token (empty: none is needed) and the secret that signs the login cookie.

    `one_time_key` opens it once. The browser that we start gets it, since every user can read its command line.
    """

    token: str
    cookie_secret: bytes
    one_time_key: str


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int, next_port: bool = False) -> tuple[int, socket.socket]:
    """Take a port of this machine: its number and its socket, so that nobody else can have it from here on.

    Raises ZImageError if it is taken (with `next_port`: if the hundred after it are as well) and BadRequest for a host
    that is not this machine.
    """
    for candidate in range(port, min(port + TRIES, 65535) + 1 if next_port else port + 1):
        try:
            family, *_, place = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            listening = socket.create_server(place, family=family)
        except socket.gaierror as error:
            raise _no_such_host(host, error.strerror or str(error)) from None
        except OSError as error:
            if error.errno == errno.EACCES:
                raise ZImageError(f"port {candidate} is not for this user", mend="Take one above 1023.") from None
            if error.errno != errno.EADDRINUSE:  # another machine's address
                raise _no_such_host(host, os.strerror(error.errno or 0)) from None
        else:
            listening.setblocking(False)
            return candidate, listening
    if next_port:
        raise ZImageError(f"ports {port} to {candidate} are all taken", mend="Name another: --port N.")
    raise ZImageError(
        f"port {port} is taken by {holder(port)}",
        mend=f"`zimage app --next-port` takes the next free one, `zimage app --port {port + 1}` that one.",
        port=port,
    )


def _no_such_host(host: str, reason: str) -> BadRequest:
    return BadRequest(f"--host {host} ({reason})", expected="127.0.0.1 or an address of this machine")


def holder(port: int) -> str:
    """Name of the process that listens on a port, as far as this user may see it."""
    try:
        found = [each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port]
        pid = next(filter(None, found), None)
        return f"{psutil.Process(pid).name()} (process {pid})" if pid else "another user's program"
    except psutil.Error:  # a Mac tells root only; or the process has just ended
        return "another program"


def keys(host: str, token: str | None) -> Keys:
    """`token`, or this user's own when it is None: kept, so that a browser that was let in once stays so.

    Raises BadRequest for an empty or weak token on an address that other machines reach.
    """
    if token == "" and not is_loopback(host):
        raise BadRequest(
            f"--host {host} without a token: whoever reaches it could use your session",
            mend="Leave --token out, and one is made.",
        )
    if token and not is_loopback(host) and (len(token) < LEAST or len(set(token)) < LEAST_DIFFERENT):
        raise BadRequest(
            f"--host {host} with a token of {len(token)} characters, {len(set(token))} of them different, which others "
            "can guess",
            expected=f"{LEAST} characters or more, {LEAST_DIFFERENT} of them different",
            mend="Leave --token out, and one is made.",
        )
    secret = _secret(launch.private_folder(launch.state_folder()) / SECRET)
    if token is None:
        token = _derived(secret, "token").hex()[:32]
    return Keys(token, _derived(secret, f"cookie {token}"), secrets.token_hex(16) if token else "")


def url(host: str, port: int, token: str = "") -> str:
    """What to open in a browser."""
    if host in ("0.0.0.0", "::"):  # every address of this machine: name it
        host = socket.gethostname()
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")


def open_browser(host: str, port: int, keys: Keys) -> None:
    """Open this user's browser there, without waiting for it: one in a terminal stays until it is left."""
    place = url(host, port, keys.one_time_key)
    threading.Thread(target=webbrowser.open, args=(place,), daemon=True).start()


def _secret(path: Path) -> bytes:
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        kept = b""
    if len(kept) < 32:
        kept = secrets.token_bytes(32)
        files.write_whole(path, kept, mode=0o600)
    return kept


def _derived(secret: bytes, use: str) -> bytes:
    return hmac.new(secret, use.encode(), hashlib.sha256).digest()
