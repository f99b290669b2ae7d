"""Nobody but the same user gets in: not through a port, not with another certificate, not through a file."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import shutil
import socket
import ssl
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.comm.utils import to_frames
from distributed.security import Security
from programs import Hold, Place, Submit, eventually

import zimage_kit as zk
from zimage_kit import Session
from zimage_kit.errors import BadRequest, SessionDied
from zimage_kit.session.shared import launch
from zimage_kit.session.shared.shared_engine import SharedEngine


@pytest.fixture
def session_(place: Place, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session whose user is careless with permissions, and whose temporary files can be told apart."""
    temporary = place.root / "temporary"
    temporary.mkdir(exist_ok=True)
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = os.umask(0)
    try:
        session = place.session()
    finally:
        os.umask(before)
    eventually(lambda: session.status().workers, "a worker is there")
    return session


def listening(place: Place) -> list[tuple[str, int]]:
    """(address, port) of everything that a process of the session listens on."""
    found = [
        (connection.laddr.ip, connection.laddr.port)
        for process in place.processes()
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    ]
    assert len(found) == 3, "the scheduler, the nanny and the worker listen, and nothing else (no dashboard)"
    return found


def test_nothing_listens_beyond_this_machine(place: Place, session_: Session) -> None:
    assert [ip for ip, _ in listening(place) if not ipaddress.ip_address(ip).is_loopback] == []


def first_answer(ip: str, port: int, context: ssl.SSLContext | None, message: bytes = b"") -> bytes:
    """What a server says first; b"" when it hangs up, or says nothing within a second."""
    try:
        with socket.create_connection((ip, port), timeout=1) as plain:
            line = plain if context is None else context.wrap_socket(plain)
            line.sendall(message)
            with line:
                return line.recv(4096)
    except OSError:  # ssl's errors are some
        return b""


def contexts(place: Place) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Ways to ask that do not care who answers: with the session's certificate, with a foreign one, with none."""
    session = launch.read_session_file(place.file)
    other = Security.temporary().get_tls_config_for_role("client")
    foreign = {"certificate": other["ca_file"], "key": other["key"]}
    ours = {"certificate": session.certificate, "key": session.key}
    for name, pair in (("ours", ours), ("foreign", foreign), ("none", None)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if pair:
            file = place.root / f"{name}.pem"
            file.write_text(pair["certificate"] + pair["key"])
            context.load_cert_chain(file)
        yield name, context


def test_only_who_has_the_sessions_certificate_gets_an_answer(place: Place, session_: Session) -> None:
    ways = dict(contexts(place))
    ports = listening(place)
    welcome = [port for port in ports if first_answer(*port, ways["ours"])]
    assert welcome == ports, "not even the session's own certificate is answered: this test proves nothing"
    for name in ("foreign", "none"):
        assert [port for port in ports if first_answer(*port, ways[name])] == [], f"answered with {name} certificate"


def test_who_speaks_dask_in_the_clear_gets_no_answer(place: Place, session_: Session) -> None:
    frames = asyncio.run(to_frames({"op": "identity", "reply": True}))
    lengths = [len(frames), *map(len, frames)]
    body = struct.pack(f"Q{len(lengths)}Q", 8 * len(lengths) + sum(lengths[1:]), *lengths) + b"".join(frames)
    for message in (body, b""):
        for port in listening(place):
            answer = first_answer(*port, None, message)
            assert answer == b"" or answer.startswith(b"\x15\x03"), f"port {port}: {answer!r} is no TLS alert"


def test_no_page_is_served(place: Place, session_: Session) -> None:
    """Dask's own dashboard, metrics and health pages have no password."""
    for ip, port in listening(place):
        for page in ("/", "/status", "/health", "/metrics", "/sitemap.json"):
            answer = first_answer(ip, port, None, f"GET {page} HTTP/1.1\r\nHost: {ip}:{port}\r\n\r\n".encode())
            assert not answer.startswith(b"HTTP"), f"{port}{page}: {answer[:200]!r}"


def test_a_file_with_another_certificate_is_refused_clearly(
    place: Place, session_: Session, tmp_path: Path, apply: Submit
) -> None:
    other = Security.temporary().get_tls_config_for_role("client")
    data = json.loads(place.file.read_text())
    file = tmp_path / "scheduler.json"
    file.touch(0o600)
    file.write_text(json.dumps({**data, "certificate": other["ca_file"], "key": other["key"]}))
    with pytest.raises(SessionDied, match=r"does not accept this file's certificate.*Copy its scheduler\.json again"):
        zk.connect(file)
    file.write_text(json.dumps({**data, "certificate": "", "key": ""}))
    with pytest.raises(BadRequest, match="is encrypted, and its file has no certificate"):
        zk.connect(file)
    assert apply(session_, zk.stages.probe_touch()).result(30).image.size == (16, 16)


def test_a_copied_file_is_all_that_another_program_needs(place: Place, session_: Session, tmp_path: Path) -> None:
    file = Path(shutil.copy(place.file, tmp_path / "copy.json"))
    with zk.connect(file) as copied:
        assert copied.status().address == session_.status().address


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"address": 7}', "not json"])
def test_a_file_that_is_none_of_a_session_is_refused_clearly(text: str, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    with pytest.raises(BadRequest, match=r"there is no session file.*zimage session start"):
        zk.connect(file)
    file.touch(0o600)
    file.write_text(text)
    with pytest.raises(BadRequest, match="is not a session file"):
        zk.connect(file)


@pytest.mark.parametrize("address", ["", "ftp://127.0.0.1:1", "tcp://127.0.0.1:1", "tls://127.0.0.1:notaport"])
def test_an_address_that_cannot_be_right_is_refused_clearly(
    place: Place, session_: Session, address: str, tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    file.touch(0o600)
    file.write_text(json.dumps({**json.loads(place.file.read_text()), "address": address}))
    with pytest.raises(BadRequest, match=r"in the session file .*; expected an address like tls://"):
        zk.connect(file)


def modes(folder: Path) -> dict[str, str]:
    """Everything in a folder, and itself, with permissions that are not only its owner's."""
    wrong = {}
    for path in (folder, *folder.rglob("*")):
        about = path.lstat()
        mode = stat.S_IMODE(about.st_mode)
        if mode != (0o700 if stat.S_ISDIR(about.st_mode) else 0o600):
            wrong[str(path.relative_to(folder))] = oct(mode)
    return wrong


def test_every_file_is_its_owners_only_also_while_a_job_runs(place: Place, session_: Session, hold: Hold) -> None:
    held = hold(session_)
    assert {path.name for path in place.state.iterdir()} >= {launch.FILE, launch.LOG, launch.LOCK}
    assert modes(place.state) == {}
    held.let_go()
    held.job.result(30)
    assert modes(place.state) == {}


def test_the_session_leaves_its_files_in_its_own_folder(place: Place, session_: Session) -> None:
    assert session_.status().workers
    assert [str(path) for path in (place.root / "temporary").rglob("*")] == [], "in a folder that all users share"


def test_an_open_folder_is_closed_before_anything_is_written_there(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    launch.private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("there", [False, True], ids=["nothing there", "a session is there"])
def test_the_folder_of_another_user_is_refused(
    place: Place, session_: Session, there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever could put a session there would see every prompt, and send what pictures they like."""
    folder = place.state if there else tmp_path
    monkeypatch.setenv("ZIMAGE_STATE", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SessionDied, match=r"belongs to another user.*Set ZIMAGE_STATE"):
        SharedEngine.of_user()
    assert there or list(tmp_path.iterdir()) == []
