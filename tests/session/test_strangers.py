"""Another user of the same machine reads no key, gets no answer and sees no picture, even in a home open to all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Place, eventually

from zimage_kit import Request, files
from zimage_kit.session.shared import launch

NOBODY = 65534
STRANGER = """
import encodings.idna, json, os, socket, ssl, sys  # all of it now: the library may not be the stranger's to read
wanted = json.loads(sys.argv[1])
os.setgroups([])
os.setgid(wanted["uid"])
os.setuid(wanted["uid"])
seen = {"files": [], "listed": [], "answers": [], "lines": "", "environments": 0}
for top in wanted["folders"]:
    for folder, _, names in os.walk(top):
        for name in names:
            seen["listed"].append(os.path.join(folder, name))
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    file.read(1)
                seen["files"].append(os.path.join(folder, name))
            except OSError:
                pass
for port in wanted["ports"]:
    for encrypted in (False, True):
        try:
            line = socket.create_connection(("127.0.0.1", port), timeout=2)
            if encrypted:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                line = context.wrap_socket(line)
            line.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
            answer = line.recv(100)
            if answer and not answer.startswith(b"\\x15\\x03"):  # a TLS alert
                seen["answers"].append([port, repr(answer)])
        except OSError:
            pass
for pid in wanted["pids"]:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        seen["lines"] += file.read().decode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            seen["environments"] += bool(file.read())
    except OSError:
        pass
print(json.dumps(seen))
"""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become another user"
)


@pytest.fixture
def open_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A user whose folders everybody may enter, and who has set nothing."""
    root = Path(tempfile.mkdtemp(prefix="zimage-open-"))
    root.chmod(0o755)
    place = Place(root)
    (root / "home").mkdir(mode=0o755)
    for name, value in place.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ZIMAGE_OUTPUTS")
    before = os.umask(0o022)
    yield place
    os.umask(before)
    place.leave()
    place.end()
    shutil.rmtree(root)


def look(folders: list[Path], ports: list[int], pids: list[int]) -> Any:
    """What another user sees."""
    wanted = {"uid": NOBODY, "folders": list(map(str, folders)), "ports": ports, "pids": pids}
    command = [sys.executable, "-I", "-S", "-c", STRANGER, json.dumps(wanted)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_stranger_on_this_machine_sees_nothing(
    open_place: Place, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.ALLOWED, str(open_place.root))
    session = open_place.session()
    artifact = session.run(Request(prompt="a secret boat", model=model, width=64, height=64, steps=1, seed=1))
    saved = artifact.save()
    kept = session.submit("a secret cat", model=model, width=64, height=64, steps=1, seed=2, keep=True)
    kept.result(60)
    session.library.star(saved, 5)
    (open_place.root / "open.txt").write_text("everybody's")
    eventually(lambda: session.status().workers, "a worker is there")
    processes = open_place.processes()
    ports = [
        line.laddr.port for process in processes for line in process.net_connections("inet") if line.status == "LISTEN"
    ]
    with socket.create_server(("127.0.0.1", 0)) as plain:
        seen = look([open_place.root], [*ports, plain.getsockname()[1]], [process.pid for process in processes])
        accepted = plain.accept()[0]
        with accepted:
            assert accepted.recv(3) == b"GET", "the stranger can connect to what is open"
    assert saved.is_relative_to(open_place.root / "home" / "zimage" / "outputs")
    assert seen["files"] == [str(open_place.root / "open.txt")], "everything else is its owner's"
    assert not [name for name in seen["listed"] if name.endswith(".png")], "not even the names of pictures are told"
    assert len(ports) == 3 and seen["answers"] == []
    assert seen["environments"] == 0
    assert "server" in seen["lines"], "command lines can be read by all: nothing secret stands there"
    key = launch.read_session_file(open_place.file)
    for secret in (key.key, key.certificate, "secret boat", "secret cat"):
        assert secret and secret not in seen["lines"]
    assert files.ALLOWED not in open_place.server().environ(), "the limits of one page would be those of every program"
    log = (open_place.state / launch.LOG).read_text()
    trace = artifact.trace.model_dump_json()
    picture = saved.read_bytes().decode("latin-1")
    body = key.key.strip().splitlines()[1]
    for text in (log, trace, picture):
        assert body not in text and "BEGIN" not in text and "secret cat" not in text
