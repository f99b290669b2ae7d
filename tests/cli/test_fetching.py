"""`zimage models download` and `verify --repair`: what they show, ask, do and tell."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from zimage_kit import cli
from zimage_kit.cli import fetching
from zimage_kit.models import hub_network

SMALL = "vae/config.json"


@pytest.fixture
def server(model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    for name in list(os.environ):
        if name in ("MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE") or name.lower() in hub_network.PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZIMAGE_MODELS", str(tmp_path / "models"))
    with HubServer(model_directory, repository="Tongyi-MAI/Z-Image", license="apache-2.0") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def test_a_download_shows_what_it_will_fetch_before_it_does(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.call(["models", "download", "base"]) == 0
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "Tongyi-MAI/Z-Image on modelscope, licence: apache-2.0 (says ModelScope)"
    where = re.escape(str(tmp_path / "models" / "base"))
    assert re.fullmatch(rf"\d+ MB to fetch \(\d+ files; \d+ MB in all\) to {where}, where .* are free", second)
    assert cli.call(["models", "download", "base"]) == 0
    assert "to fetch" not in capsys.readouterr().err, "there is nothing to fetch any more"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("answer", "options", "status"), [("n", [], 1), ("", ["--json"], 1), ("y", [], 0), (None, ["--yes"], 0)]
)
def test_on_a_terminal_a_large_download_is_asked_about(
    answer: str | None,
    options: list[str],
    status: int,
    server: HubServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "WORTH_ASKING_BYTES", 1)
    ours, theirs = os.openpty()
    if answer is not None:
        os.write(ours, f"{answer}\n".encode())
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert cli.call(["models", "download", "base", *options]) == status
    os.close(ours)
    shown = capsys.readouterr()
    assert ("Fetch it? [y/N]" in shown.err) == (answer is not None)
    assert ("nothing was fetched" in shown.err) == (status == 1) == (server.asked == [])
    assert shown.out == "" or status == 0


def test_a_repair_tells_what_was_wrong_and_what_it_did(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.call(["models", "download", "base"]) == 0
    place = tmp_path / "models" / "base"
    (place / SMALL).unlink()
    (place / "model_index.json").write_text("<html>")
    server.asked.clear()
    capsys.readouterr()
    assert cli.call(["models", "verify", "base", "--repair"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"base at {place} is repaired: 2 files fetched, every file is whole now\n"
    assert "model_index.json was broken and has been fetched again" in shown.err
    assert f"{SMALL} was missing and has been fetched" in shown.err
    assert {asked.path for asked in server.asked} == {SMALL, "model_index.json"}
    assert cli.call(["models", "verify", "base", "--repair", "--json"]) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert (told["ok"], told["fetched"], told["repaired"], shown.err) == (True, [], [], "")
    assert cli.call(["models", "verify", "base", "--repair"]) == 0
    assert "every file is whole, nothing was fetched" in capsys.readouterr().out
    assert cli.call(["models", "verify", "base", "--source", "huggingface"]) == 2
    assert "--source is for --repair" in capsys.readouterr().err
