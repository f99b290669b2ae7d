"""`zimage session` and `zimage worker` as they are typed, and a session that Dask's own commands have started."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import psutil
import pytest
from PIL import Image
from programs import Place, eventually

import zimage_kit as zk
from zimage_kit import Session, cli
from zimage_kit.session.shared import launch
from zimage_kit.session.shared.shared_engine import SharedEngine


def typed(*words: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, run to its end."""
    command = [sys.executable, "-m", "zimage_kit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def zimage(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command in this process, which has imported all that it needs."""
    command, out, err = [str(word) for word in words], io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in settings.items():
            patch.setenv(name, value)
        status = cli.call(command)
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())


@pytest.fixture
def started(place: Place) -> Iterator[Place]:
    """A session that a command has started, and that is stopped afterwards."""
    done = typed("session", "start")
    assert done.returncode == 0, done.stderr
    yield place
    if place.file.exists():
        assert zimage("session", "stop", "--force").returncode == 0


def test_a_session_is_started_seen_and_stopped(place: Place) -> None:
    before = zimage("session", "status")
    assert (before.returncode, before.stdout.startswith("no session runs; zk.connect()")) == (1, True)
    assert json.loads(zimage("session", "status", "--json").stdout) == {"state": "closed"}
    assert zimage("session", "stop").stdout == "no session runs\n"
    assert "no session runs" in zimage("session", "unload").stderr

    began = json.loads(typed("session", "start", "--idle-unload", "5", "--json").stdout)
    assert (began["file"], began["log"]) == (str(place.file), str(place.state / launch.LOG))
    again = zimage("session", "start")
    assert again.returncode == 1
    assert f"your session runs already, at {began['address']}" in again.stderr

    eventually(lambda: json.loads(zimage("session", "status", "--json").stdout)["workers"], "a worker is there")
    told = json.loads(zimage("session", "status", "--json").stdout)
    assert (told["state"], told["address"], told["idle_unload"]) == ("idle", began["address"], 300.0)
    shown = zimage("session", "status").stdout
    assert "0 model loads" in shown and f"log: {began['log']}" in shown

    pid = told["workers"][0]["pid"]
    assert zimage("session", "restart").stdout == "restarted\n"
    assert json.loads(zimage("session", "status", "--json").stdout)["workers"][0]["pid"] != pid
    assert zimage("session", "unload").stdout == "unloaded\n"
    assert zimage("session", "stop").stdout == "the session is stopped\n"
    assert not place.file.exists()
    eventually(lambda: place.processes() == [], "every process of the session is gone")


def test_the_idle_time_out_is_one_setting(place: Place) -> None:
    assert (
        "ZIMAGE_IDLE_UNLOAD='soon'" in zimage("run", "a cat", ZIMAGE_SESSION="shared", ZIMAGE_IDLE_UNLOAD="soon").stderr
    )
    code = "import zimage_kit as zk; print(zk.connect().status().idle_unload)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ZIMAGE_IDLE_UNLOAD": "2.5"},
    )
    assert done.stdout == "150.0\n"
    assert zimage("session", "stop").returncode == 0


def test_run_uses_the_session_that_runs_and_loads_nothing_itself(started: Place, model: str, tmp_path: Path) -> None:
    size = ("--model", model, "--size", "64x64", "--steps", 1)
    done = typed("run", "a cat", "--seed", 1, *size, "--output", tmp_path / "one.png")
    assert done.returncode == 0, done.stderr
    status = json.loads(zimage("session", "status", "--json").stdout)
    assert (status["model_loads"], status["clients"]) == (1, 1)
    alone = ("run", "a cat", "--seed", 1, *size, "--inline", "--output", tmp_path / "two.png")
    assert cli.call([str(word) for word in alone]) == 0
    assert json.loads(zimage("session", "status", "--json").stdout)["model_loads"] == 1
    one, two = (Image.open(tmp_path / name).tobytes() for name in ("one.png", "two.png"))
    assert one == two


def test_without_a_session_run_does_not_leave_one_behind(place: Place, model: str, tmp_path: Path) -> None:
    words = ("run", "a cat", "--model", model, "--size", "64x64", "--steps", 1, "--output", tmp_path / "alone.png")
    assert cli.call([str(word) for word in words]) == 0
    assert not place.file.exists()
    assert place.processes() == []


def test_a_session_that_does_not_answer_is_stopped_by_force_only(started: Place) -> None:
    server = started.server()
    server.suspend()
    try:
        refused = zimage("session", "stop")
        assert refused.returncode == 1
        assert "does not answer. `zimage session stop --force` ends it" in refused.stderr
        assert server.is_running()
        assert zimage("session", "stop", "--force").returncode == 0
        assert not psutil.pid_exists(server.pid) or server.status() == psutil.STATUS_ZOMBIE
    finally:
        if server.is_running():
            server.resume()
    eventually(lambda: started.processes() == [], "every process of the session is gone")


def test_a_machine_joins_until_it_is_told_to_leave(started: Place, tmp_path: Path) -> None:
    copied = tmp_path / "scheduler.json"
    copied.touch(0o600)
    copied.write_bytes(started.file.read_bytes())
    command = [sys.executable, "-m", "zimage_kit", "worker", "--join", str(copied), "--host", "127.0.0.3"]
    joined = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "ZIMAGE_STATE": str(tmp_path / "elsewhere")}
    )
    assert joined.stderr is not None
    assert joined.stderr.readline().startswith("joining the session at tls://127.0.0.1:")
    session = started.session()
    eventually(lambda: len(session.status().workers) == 2, "the machine has joined")
    joined.send_signal(signal.SIGINT)
    for child in psutil.Process(joined.pid).children():
        child.send_signal(signal.SIGINT)  # a terminal's Ctrl-C goes to both
    _, rest = joined.communicate(timeout=30)
    assert joined.returncode == 0, rest
    eventually(lambda: len(session.status().workers) == 1, "the machine has left")


def test_what_cannot_be_joined_is_told_in_one_line(place: Place, tmp_path: Path) -> None:
    done = zimage("worker", "--join", tmp_path / "scheduler.json")
    assert done.returncode == 2
    assert "there is no session file" in done.stderr.splitlines()[-1]
    for address, status, why in (
        ("tcp://127.0.0.1:9", 1, "no session listens at tcp://127.0.0.1:9"),
        ("tls://127.0.0.1:9", 2, "is encrypted, and its file has no certificate"),
    ):
        (tmp_path / "old.json").write_text(json.dumps({"address": address}))
        gone = zimage("session", "status", "--file", tmp_path / "old.json")
        assert (gone.returncode, why in gone.stderr) == (status, True), gone.stderr


def test_any_deployment_of_dask_will_do(place: Place, picture: Image.Image, tmp_path: Path) -> None:
    file = tmp_path / "dask.json"
    base = [sys.executable, "-m", "dask"]
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["worker", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0", "--local-directory", str(tmp_path)]
    commands = (
        [*base, *scheduler, "--preload", "zimage_kit.session.shared.broker", "--scheduler-file", str(file)],
        [*base, *worker, "--preload", "zimage_kit.session.shared.worker", "--scheduler-file", str(file)],
    )
    started = []
    try:
        with (tmp_path / "log").open("w") as log:
            for command in commands:
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
                eventually(lambda: file.exists() and file.read_text(), "the scheduler has written its file")
        session = Session(SharedEngine.at(file), "dask")
        place.sessions.append(session)
        eventually(lambda: session.status().workers, "the worker is there")
        made = session.apply(picture, zk.stages.probe_touch())
        assert [stage.kind for stage in made.request.stages] == ["probe_touch"]
        assert session.status().workers[0].state == "idle"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def test_a_dask_scheduler_without_our_broker_is_reported_as_such(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "dask.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with (tmp_path / "log").open("w") as log:
        scheduler = subprocess.Popen([*command, "--scheduler-file", str(file)], stdout=log, stderr=log)
    try:
        eventually(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler has written its file")
        with pytest.raises(
            zk.ZImageError, match=r"not a zimage_kit session.*--preload zimage_kit\.session\.shared\.broker"
        ):
            zk.connect(str(file))
    finally:
        scheduler.terminate()
        scheduler.wait(30)
