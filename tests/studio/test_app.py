"""`zimage app` before it serves anything: whose the port is, and who is let in. The page itself: tests/studio."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from zimage_kit import cli
from zimage_kit.errors import BadRequest, ZImageError
from zimage_kit.session.shared import launch
from zimage_kit.studio.web_app import address
from zimage_kit.studio.web_app.attempts import OF_ALL, OF_ONE, WITHIN_SECONDS, Attempts


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZIMAGE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("ZIMAGE_APP_TOKEN", raising=False)
    return tmp_path / "state"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_taken_port_is_one_line_that_says_who_holds_it_and_starts_nothing(
    taken: int, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.call(["app", "--port", str(taken), "--no-browser"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert re.search(rf"port {taken} is taken by \S+ \(process {os.getpid()}\).*--next-port.*--port {taken + 1}", line)
    assert not (state / launch.FILE).exists(), "no session was started for a page that cannot be"


def test_the_next_free_port_is_taken_and_held(taken: int) -> None:
    port, listening = address.listen("127.0.0.1", taken, next_port=True)
    with listening:
        assert taken < port <= taken + address.TRIES
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        with pytest.raises(ZImageError, match=f"port {port} is taken"):
            address.listen("127.0.0.1", port)


def test_no_free_port_among_those_tried_is_said(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "TRIES", 0)
    with pytest.raises(ZImageError, match=f"{taken} to {taken} are all taken.*--port N"):
        address.listen("127.0.0.1", taken, next_port=True)


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid"])
def test_a_host_that_is_not_this_machine_is_wrong_usage(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["app", "--host", host, "--no-browser"]) == 2
    assert re.match(rf"zimage: --host {host} \(.*expected 127\.0\.0\.1 or an address", capsys.readouterr().err)


def test_without_voila_the_command_that_installs_it_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "voila", None)
    assert cli.call(["app", "--no-browser"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r'zimage: Voila is not installed\. \S+ -m pip install "', line)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_a_loopback_address_may_be_without_a_token(host: str, loopback: bool) -> None:
    assert address.is_loopback(host) == loopback
    if loopback:
        assert address.keys(host, "").token == ""
    else:
        with pytest.raises(BadRequest, match="without a token.*Leave --token out"):
            address.keys(host, "")
    assert len(address.keys(host, None).token) == 32


@pytest.mark.parametrize(
    "weak", ["1", "hunter2", "123456789012345", "aaaaaaaaaaaaaaaaaaaaaaaa", "abababababababab1234"]
)
def test_where_others_can_reach_it_a_token_cannot_be_guessed(weak: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadRequest, match="which others can guess; expected 16 characters or more.*Leave --token out"):
        address.keys("0.0.0.0", weak)
    assert cli.call(["app", "--host", "0.0.0.0", "--token", weak, "--no-browser"]) == 2
    assert "which others can guess" in capsys.readouterr().err
    assert address.keys("127.0.0.1", weak).token == weak, "on this machine attempts are limited"
    assert address.keys("0.0.0.0", "correct horse battery").token


def test_wrong_tokens_are_counted_for_each_address_and_in_all() -> None:
    now = [100.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(OF_ONE):
        assert attempts.seconds_to_wait("one") == 0
        attempts.failed("one")
    assert attempts.seconds_to_wait("one") == WITHIN_SECONDS and attempts.seconds_to_wait("other") == 0
    now[0] += WITHIN_SECONDS
    assert attempts.seconds_to_wait("one") == 0
    for number in range(OF_ALL):
        attempts.failed(f"address {number}")
    assert attempts.seconds_to_wait("another still") == WITHIN_SECONDS
    for number in range(5000):
        attempts.failed(f"many {number}")
    assert len(attempts._of) <= 1000


def test_ones_own_token_is_kept_private_and_comes_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, given = (address.keys("127.0.0.1", token) for token in (None, None, "given"))
    assert (first.token, first.cookie_secret) == (again.token, again.cookie_secret), "an open browser stays let in"
    assert first.one_time_key != again.one_time_key
    assert given.token == "given"
    assert given.cookie_secret != first.cookie_secret, "another token shuts out those who came with the first"
    assert stat.S_IMODE((state / address.SECRET).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    monkeypatch.setenv("ZIMAGE_STATE", str(state.with_name("another user's")))
    assert address.keys("127.0.0.1", None).token != first.token


def test_an_address_can_be_opened_as_it_is_printed() -> None:
    assert address.url("127.0.0.1", 7860) == "http://127.0.0.1:7860/"
    assert address.url("::1", 7860, "a b&c") == "http://[::1]:7860/?token=a%20b%26c"
    assert address.url("0.0.0.0", 7860) == f"http://{socket.gethostname()}:7860/"


def test_the_page_is_one_cell_that_connects_to_the_session() -> None:
    notebook = nbformat.read(Path(address.__file__).with_name("studio.ipynb"), as_version=4)
    nbformat.validate(notebook)
    (cell,) = notebook.cells
    assert cell.source.startswith("import zimage_kit as zk\n\nzk.connect().studio(")
    assert cell.outputs == []
