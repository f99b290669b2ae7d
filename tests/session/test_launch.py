"""Where a session is kept, who works in it, and what is said where it cannot work. No process is started here."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import cli
from zimage_kit.engine.gpus import Gpu
from zimage_kit.errors import BadRequest
from zimage_kit.session.shared import launch, server
from zimage_kit.session.shared.worker import renumbered


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [Gpu(index, "NVIDIA H200", "580", 150 << 30, 0, True, ()) for index in (0, 1)]
    monkeypatch.setattr(server, "list_gpus", lambda: (cards, ""))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("device", "allowed", "expected"),
    [
        (None, None, ["0", "1"]),
        ("cuda", None, ["0", "1"]),
        ("cuda:1", None, ["1"]),
        ("cuda:1,cuda:0", None, ["1,0"]),
        ("cuda:0,cuda:1", "5,7,6", ["5,7"]),
        (None, "1", ["1"]),
        (None, "GPU-8cf5565c,GPU-f168d49b", ["GPU-8cf5565c", "GPU-f168d49b"]),
        (None, "", [None]),
        (None, "-1", [None]),
        ("cpu", None, [None]),
        ("mps", None, [None]),
    ],
)
@pytest.mark.usefixtures("two_cards")
def test_there_is_a_worker_for_each_card_that_may_be_used_or_one_without(
    device: str | None, allowed: str | None, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    environments = server.environments(device)
    assert [environment.get("CUDA_VISIBLE_DEVICES") for environment in environments] == expected
    assert all(environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" for environment in environments if environment)


@pytest.mark.parametrize(
    ("device", "cards", "expected"),
    [
        (None, "1", None),
        ("cuda:1", "1", "cuda"),
        ("cuda", "1", "cuda"),
        ("cuda:1", None, "cuda:1"),
        ("cpu", "", "cpu"),
        ("cuda:1,cuda:0", "1,0", "cuda:0,cuda:1"),
        ("cuda:2,cuda:3", "GPU-8cf5565c,GPU-f168d49b", "cuda:0,cuda:1"),
        ("cuda:0,cuda:3", "0", "cuda:0,cuda:3"),  # refused by the plan, not drawn on one
    ],
)
def test_a_worker_numbers_the_cards_that_it_sees_from_0(
    device: str | None, cards: str | None, expected: str | None
) -> None:
    assert renumbered(device, cards) == expected


def test_a_session_is_kept_by_machine_in_the_users_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ZIMAGE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = launch.state_folder()
    assert folder.name == platform.node(), "a home may be shared between machines"
    assert not folder.exists(), "asking makes nothing"
    monkeypatch.setenv("ZIMAGE_STATE", "~/somewhere")
    assert launch.state_folder() == Path.home() / "somewhere"


@pytest.mark.parametrize("minutes", ["soon", "0", "-3", "nan"])
def test_an_idle_time_out_that_cannot_be_right_is_told(minutes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_IDLE_UNLOAD", minutes)
    with pytest.raises(BadRequest, match=r"expected minutes, more than 0"):
        launch.idle_unload_setting()


def test_an_idle_time_out_is_given_in_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_IDLE_UNLOAD", "1.5")
    assert launch.idle_unload_setting() == 90
    monkeypatch.delenv("ZIMAGE_IDLE_UNLOAD")
    assert launch.idle_unload_setting() is None


def test_native_windows_works_in_the_process_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "WINDOWS", True)
    with caplog.at_level(logging.WARNING, logger="zimage_kit"):
        session = zk.connect(dtype="bfloat16")
    assert session.status().engine == "inline"
    assert [record.message for record in caplog.records] == [launch.WINDOWS_SAYS]
    session.close()
    with pytest.raises(BadRequest, match="needs Linux, WSL2 or macOS"):
        zk.connect("shared")
    for command in (["session", "start"], ["session", "status"], ["worker", "--join", "scheduler.json"]):
        assert cli.call(command) == 2
        assert "needs Linux, WSL2 or macOS" in capsys.readouterr().err


def test_where_to_connect_can_be_set_for_every_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZIMAGE_SESSION", "inline")
    assert zk.connect().status().engine == "inline"
    monkeypatch.setenv("ZIMAGE_SESSION", str(tmp_path / "scheduler.json"))
    with pytest.raises(BadRequest, match="there is no session file"):
        zk.connect()
    with pytest.raises(BadRequest, match="device together with a session file"):
        zk.connect(device="cpu")
