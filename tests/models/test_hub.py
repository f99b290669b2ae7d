"""Downloads, with the real clients of both hubs against a hub on 127.0.0.1."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from zimage_kit.errors import BadRequest, DownloadFailed, ModelMissing, UnknownModel
from zimage_kit.models import hub
from zimage_kit.models.extras import EXTRAS
from zimage_kit.models.hub_sources import SOURCES

BIG = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
SOURCE_NAMES = ["modelscope", "huggingface"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    root = tmp_path / "repository"
    content = random.Random(1)
    for path, size in {
        "model_index.json": 300,
        "scheduler/scheduler_config.json": 200,
        "vae/diffusion_pytorch_model.safetensors": 50_000,
        BIG: 24_000_000,
        "assets/poster.png": 400_000,
        "README.md": 1_000,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.randbytes(size))
    for name in ("MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE", "ZIMAGE_MODELS"):
        monkeypatch.delenv(name, raising=False)
    with HubServer(root) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def md5s(server: HubServer) -> dict[str, str]:
    return {p: hashlib.md5(b).hexdigest() for p, b in server.files().items() if p.startswith(hub.PARTS)}


def fetch(server: HubServer, source: str, folder: Path | None, **options: object) -> hub.Download:
    checksums = options.pop("checksums", md5s(server))
    return hub.fetch(server.repository, SOURCES[source](), folder, checksums, **options)  # type: ignore[arg-type]


def same(server: HubServer, folder: Path) -> bool:
    return all((folder / p).read_bytes() == b for p, b in server.files().items() if p.startswith(hub.PARTS))


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_a_download_brings_the_pipelines_files_and_nothing_else(source: str, server: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    done = fetch(server, source, folder)
    assert done.directory == folder
    assert same(server, folder)
    assert done.repaired == () and done.newer == ()
    assert done.bytes == sum(len(b) for p, b in server.files().items() if p.startswith(hub.PARTS))
    assert not (folder / "assets").exists(), "the pictures of the hub's web page are not part of the model"


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_weights_beside_a_model_are_fetched_alone_by_their_name(
    source: str, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "vae/diffusion_pytorch_model.safetensors"
    extra = EXTRAS["turbo-control"].model_copy(update={"hub_ids": {source: server.repository}, "files": (file,)})
    monkeypatch.setitem(EXTRAS, "turbo-control", extra)
    with pytest.raises(ModelMissing, match="Run: zimage models download turbo-control"):
        extra.require()
    folder = hub.download("turbo-control", source).directory
    assert extra.require() == folder
    assert (folder / file).read_bytes() == server.files()[file]
    assert not (folder / "model_index.json").exists()
    other = next(name for name in SOURCE_NAMES if name != source)
    with pytest.raises(BadRequest, match=f"Use --source {source}"):
        hub.download("turbo-control", other)
    monkeypatch.setitem(EXTRAS, "turbo-control", extra.model_copy(update={"files": ("gone.safetensors",)}))
    with pytest.raises(DownloadFailed, match=r"has no gone\.safetensors"):
        hub.download("turbo-control", source)


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_progress_counts_every_byte_once(source: str, server: HubServer, tmp_path: Path) -> None:
    seen: list[hub.Progress] = []
    done = fetch(server, source, tmp_path / "model", on_progress=seen.append)
    assert seen[-1].done == seen[-1].total == done.bytes
    assert [p.done for p in seen] == sorted(p.done for p in seen)


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_a_second_download_asks_for_no_bytes(source: str, server: HubServer, tmp_path: Path) -> None:
    fetch(server, source, tmp_path / "model")
    server.asked.clear()
    fetch(server, source, tmp_path / "model")
    assert server.asked == []


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_a_cut_connection_is_resumed_where_it_broke(source: str, server: HubServer, tmp_path: Path) -> None:
    server.cut[BIG] = 15_000_000  # the clients write in pieces of 1 and of 10 MB
    fetch(server, source, tmp_path / "model")
    first, second = server.starts(BIG)
    assert first == 0
    assert 0 < second <= 15_000_000, "the second request has to start where the first broke off"
    assert same(server, tmp_path / "model")


def test_a_killed_download_goes_on_from_its_partial_file(server: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    server.hold[BIG] = 4_000_000
    script = (
        "import sys, pathlib; from zimage_kit.models import hub; from zimage_kit.models.hub_sources import SOURCES;"
        "hub.fetch(sys.argv[1], SOURCES['modelscope'](), pathlib.Path(sys.argv[2]), {})"
    )
    process = subprocess.Popen([sys.executable, "-c", script, server.repository, str(folder)])
    try:
        assert server.held.wait(60), "the download never reached the middle of the large file"
        partial = folder / f"{BIG}.incomplete"
        deadline = time.monotonic() + 30
        while not (partial.is_file() and partial.stat().st_size >= 1_000_000):  # what was sent reaches the disk
            assert time.monotonic() < deadline, "nothing was written to the partial file"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / BIG).exists(), "a half file must not carry the name of a whole one"
    kept = partial.stat().st_size
    server.release.set()
    server.asked.clear()
    seen: list[hub.Progress] = []
    fetch(server, "modelscope", folder, on_progress=seen.append)
    assert server.starts(BIG) == [kept]
    assert seen[0].done >= kept, "progress starts from what is there"
    assert same(server, folder)


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_a_file_that_broke_on_the_disk_is_fetched_again(source: str, server: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    fetch(server, source, folder)
    damaged = bytearray((folder / BIG).read_bytes())
    damaged[3_000_000] ^= 0xFF
    (folder / BIG).write_bytes(damaged)
    checks = {check.path: check.state for check in hub.verify(folder, md5s(server))}
    assert checks.pop(BIG) == "broken"
    assert set(checks.values()) == {"ok"}
    server.asked.clear()
    done = fetch(server, source, folder)
    assert {asked.path for asked in server.asked} == {BIG}
    assert same(server, folder)
    assert done.repaired in ((), (BIG,))  # ModelScope's client sees it itself, Hugging Face's does not


def test_a_file_that_arrives_broken_is_fetched_again_and_named(server: HubServer, tmp_path: Path) -> None:
    server.wrong["model_index.json"] = 1  # no SHA-256 for it on Hugging Face: only the authors' sum can tell
    done = fetch(server, "huggingface", tmp_path / "model")
    assert done.repaired == ("model_index.json",)
    assert same(server, tmp_path / "model")


def test_a_file_that_stays_broken_is_an_error_that_names_it(server: HubServer, tmp_path: Path) -> None:
    server.wrong["model_index.json"] = 100
    with pytest.raises(DownloadFailed, match=r"model_index\.json arrived broken twice.*--source"):
        fetch(server, "huggingface", tmp_path / "model")


def test_a_newer_revision_on_the_hub_is_told_apart_from_a_broken_file(server: HubServer, tmp_path: Path) -> None:
    sums = md5s(server) | {BIG: "0" * 32}
    done = fetch(server, "modelscope", tmp_path / "model", checksums=sums)
    assert done.newer == (BIG,)
    assert done.repaired == ()


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_without_a_network_the_answer_comes_at_once(
    source: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for name in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    start = time.perf_counter()
    with pytest.raises(DownloadFailed, match=rf"127\.0\.0\.1:{port} does not answer.*--source"):
        fetch(server, source, tmp_path / "model")
    assert time.perf_counter() - start < 5
    assert not (tmp_path / "model").exists()


def test_too_small_a_disk_stops_before_anything_is_fetched(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(hub, "SPARE_BYTES", free + 1)
    with pytest.raises(DownloadFailed, match=r"GB free.*ZIMAGE_MODELS") as caught:
        fetch(server, "modelscope", tmp_path / "model")
    assert caught.value.facts["missing"] > 24_000_000
    assert server.asked == []


def test_a_repository_without_a_pipeline_is_refused(server: HubServer, tmp_path: Path) -> None:
    (server.root / "model_index.json").unlink()
    with pytest.raises(DownloadFailed, match=r"no model_index\.json"):
        fetch(server, "modelscope", tmp_path / "model")


@pytest.mark.parametrize(("source", "variable"), [("modelscope", "MODELSCOPE_CACHE"), ("huggingface", "HF_HOME")])
def test_a_hubs_own_cache_is_used_where_the_user_named_one(
    source: str, variable: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    place = SOURCES[source]()
    assert hub.target("turbo", place) is None
    done = hub.fetch(server.repository, place, None, md5s(server))
    assert done.directory.is_relative_to(tmp_path / "cache")
    assert same(server, done.directory)
    # ZIMAGE_MODELS goes before it, a folder of one's own before everything
    monkeypatch.setenv("ZIMAGE_MODELS", str(tmp_path / "mine"))
    assert hub.target("turbo", place) == tmp_path / "mine" / "turbo"
    assert hub.target("turbo", place, tmp_path / "there") == tmp_path / "there"


def test_a_broken_file_in_a_hubs_cache_is_repaired_too(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    place = hub.fetch(server.repository, SOURCES["huggingface"](), None, md5s(server)).directory
    (place / BIG).resolve().write_bytes(b"x" * 24_000_000)
    done = hub.fetch(server.repository, SOURCES["huggingface"](), None, md5s(server))
    assert done.repaired == (BIG,)
    assert same(server, done.directory)


def test_verify_tells_missing_broken_and_unknown_files_apart(server: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    fetch(server, "modelscope", folder)
    (folder / "scheduler/scheduler_config.json").unlink()
    (folder / "vae/extra.json").write_text("{}")
    states = {check.path: check.state for check in hub.verify(folder, md5s(server))}
    assert states["scheduler/scheduler_config.json"] == "missing"
    assert states["vae/extra.json"] == "unknown"
    assert states[BIG] == "ok"


def test_wrong_names_are_told_before_the_network_is_touched() -> None:
    with pytest.raises(BadRequest, match=r"source='hugging'.*modelscope.*huggingface"):
        hub.download("turbo", source="hugging")
    with pytest.raises(UnknownModel):
        hub.download("turbp")
    with pytest.raises(BadRequest, match="comes with zimage_kit"):
        hub.download("nano")


def test_the_clients_stay_silent(server: HubServer, tmp_path: Path) -> None:
    """Their bars and messages would break ours, and `--json`."""
    script = (
        "import sys, pathlib; from zimage_kit.models import hub; from zimage_kit.models.hub_sources import SOURCES;"
        "done = hub.fetch(sys.argv[1], SOURCES[sys.argv[3]](), pathlib.Path(sys.argv[2]), {});"
        "import json; print(json.dumps([done.bytes, 'torch' in sys.modules]))"
    )
    for source in SOURCE_NAMES:
        command = [sys.executable, "-c", script, server.repository, str(tmp_path / source), source]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=True)
        size, torch_loaded = json.loads(done.stdout)
        assert done.stderr == ""
        assert size > 24_000_000
        assert torch_loaded is False, "a download needs no torch"


def test_a_download_remembers_where_it_came_from(server: HubServer, tmp_path: Path) -> None:
    fetch(server, "modelscope", tmp_path / "model")
    assert json.loads((tmp_path / "model" / ".zimage.json").read_text())["hub"] == "modelscope"
