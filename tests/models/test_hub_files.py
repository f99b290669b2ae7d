"""What a download and a repair do with files that are partial, wrong, in the way, or lead out of the model's folder."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from zimage_kit.errors import BadRequest, DownloadFailed, ModelMissing
from zimage_kit.models import hub, hub_files, hub_network
from zimage_kit.models.extras import EXTRAS
from zimage_kit.models.hub_sources import SOURCES
from zimage_kit.models.spec import SPECS, TURBO, register_model

BIG = "transformer/diffusion_pytorch_model.safetensors"
SMALL = "vae/config.json"
FILES = {"model_index.json": 300, SMALL: 200, BIG: 3_000_000}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    for name in list(os.environ):
        if name in ("MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE") or name.lower() in hub_network.PROXIES:
            monkeypatch.delenv(name)
    content = random.Random(1)
    for path, size in FILES.items():
        (tmp_path / "repository" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / path).write_bytes(content.randbytes(size))
    monkeypatch.setenv("ZIMAGE_MODELS", str(tmp_path / "models"))
    with HubServer(tmp_path / "repository") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder without any file, but with the folders for them."""
    for path in FILES:
        (tmp_path / "model" / path).parent.mkdir(parents=True, exist_ok=True)
    return tmp_path / "model"


def fetch(server: HubServer, source: str, folder: Path, checksums: dict[str, str] | None = None) -> hub.Download:
    done = hub.fetch(server.repository, SOURCES[source](), folder, checksums or {})
    whole(server, folder)
    return done


def whole(server: HubServer, folder: Path) -> None:
    assert all((folder / file).read_bytes() == content for file, content in server.files().items())
    assert not (folder / hub_files.STAGING).exists()


def asked(server: HubServer) -> set[str]:
    return {each.path for each in server.asked}


@pytest.mark.parametrize("rubbish", [b"<html>log in</html>", b"x" * FILES[BIG], b"y" * (FILES[BIG] + 9), b""])
def test_rubbish_in_place_of_a_weight_or_of_its_part_is_fetched_again(
    source: str, rubbish: bytes, server: HubServer, folder: Path
) -> None:
    (folder / BIG).write_bytes(rubbish)
    assert fetch(server, source, folder).repaired == (BIG,)
    (folder / BIG).unlink()
    (folder / f"{BIG}.incomplete").write_bytes(rubbish)
    assert fetch(server, source, folder).fetched == (BIG,)


def test_a_small_file_of_the_right_size_with_other_content_is_seen_without_a_checksum_of_its_authors(
    server: HubServer, folder: Path
) -> None:
    (folder / SMALL).write_bytes(b"?" * FILES[SMALL])
    assert fetch(server, "huggingface", folder).repaired == (SMALL,)  # by the sum that Git has of it


def test_a_file_where_a_folder_belongs_and_the_reverse_are_renamed_and_told(
    source: str, server: HubServer, folder: Path
) -> None:
    (folder / "vae").rmdir()
    (folder / "vae").write_text("mine")
    (folder / "vae.aside").write_text("older")
    (folder / "model_index.json").mkdir()
    (folder / f"{BIG}.incomplete").mkdir()
    (folder / ".cache").write_text("where Hugging Face's client keeps notes")
    done = fetch(server, source, folder)
    assert set(done.aside) == {"vae-1.aside", "model_index.json.aside"}
    assert (folder / "vae-1.aside").read_text() == "mine"
    folder = folder.with_name("file")
    folder.write_text("mine")
    with pytest.raises(DownloadFailed, match=r"file is a file, not a folder.*--directory"):
        fetch(server, source, folder)
    assert folder.read_text() == "mine"


def test_a_broken_file_stays_until_its_replacement_is_there(source: str, server: HubServer, folder: Path) -> None:
    fetch(server, source, folder)
    (folder / BIG).write_bytes(b"x" * 1000)
    server.pages = ("diffusion_pytorch_model",)  # which is what the hub sends now
    with pytest.raises(DownloadFailed):
        fetch(server, source, folder)
    assert (folder / BIG).read_bytes() == b"x" * 1000
    server.pages = ()
    assert fetch(server, source, folder).repaired == (BIG,)


def test_a_replacement_that_broke_off_is_resumed(server: HubServer, folder: Path) -> None:
    fetch(server, "modelscope", folder)
    (folder / BIG).write_bytes(b"x")
    half = folder / hub_files.STAGING / f"{BIG}.incomplete"
    half.parent.mkdir(parents=True)
    half.write_bytes(server.files()[BIG][:2_000_000])
    server.asked.clear()
    seen: list[hub.Progress] = []
    hub.fetch(server.repository, SOURCES["modelscope"](), folder, {}, seen.append)
    assert server.starts(BIG) == [2_000_000]
    assert seen[0].done >= 2_000_000
    whole(server, folder)


NAMES = {
    "outside its own folder": ["vae/../../up", "/etc/up", "C:/up", "vae\\..\\..\\up", "\\\\host\\up", "vae//up", ""],
    "not a file name on every system": [
        *("vae/C:up", "vae\\up", "vae/up\0", "vae/u\np", "vae/*.json", "vae/nul.json", "vae/COM1"),
        *("vae/up.", "vae./up", "vae/\ud800", "./vae"),
    ],
    "one file on some systems": ["vae/a.json vae/A.json", "vae/é vae/e\u0301"],
    "cannot both be there": ["VAE vae/a.json"],
    "": ["vae/a.json vae/console.json vae/.gitattributes vae/com10 vae/漢字.json"],
}


@pytest.mark.parametrize(("told", "names"), [(told, names) for told, each in NAMES.items() for names in each])
def test_a_name_that_could_lead_out_or_clash_on_any_system_is_refused(told: str, names: str) -> None:
    wrong = hub_files.refused(names.split(" "))
    assert wrong.endswith(told) and bool(wrong) == bool(told)


@pytest.mark.parametrize(
    "name", ["vae/../../up.json", "transformer/../../up.json", "vae/..\\..\\up.json", "vae/aux.json", "vae/Config.json"]
)
def test_a_hub_that_lists_such_a_name_is_refused_before_anything_is_written(
    source: str, name: str, server: HubServer, tmp_path: Path
) -> None:
    server.listed_too = [name]
    with pytest.raises(DownloadFailed, match="lists .*Do not use this repository"):
        fetch(server, source, tmp_path / "model")
    assert not (tmp_path / "model").exists() and not list(tmp_path.rglob("up.json"))


def test_a_link_out_of_the_folder_is_replaced_and_never_followed(
    source: str, server: HubServer, folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "cache").mkdir(parents=True)
    for name in ("weights", "part", "range", "new"):
        (outside / name).write_bytes(b"not yours")
    (folder / BIG).symlink_to(outside / "weights")
    (folder / SMALL).symlink_to(outside / "absent")
    (folder / "model_index.json.incomplete").symlink_to(outside / "part")
    (folder / "model_index.json_0_299").symlink_to(outside / "range")
    (folder / ".cache").symlink_to(outside / "cache")
    (folder / hub_files.STAGING).mkdir()
    (folder / hub_files.STAGING / "vae").symlink_to(outside)
    fetch(server, source, folder)
    assert sorted(path.name for path in outside.rglob("*")) == ["cache", "new", "part", "range", "weights"]
    assert {path.read_bytes() for path in outside.iterdir() if path.is_file()} == {b"not yours"}
    assert not (folder / BIG).is_symlink()


def test_a_folder_that_is_a_link_out_is_refused_only_where_something_must_be_written(
    source: str, server: HubServer, folder: Path, tmp_path: Path
) -> None:
    fetch(server, source, folder)
    (folder / "vae").rename(tmp_path / "elsewhere")
    (folder / "vae").symlink_to(tmp_path / "elsewhere")
    assert fetch(server, source, folder).fetched == ()
    (folder / SMALL).write_text("broken")
    with pytest.raises(DownloadFailed, match=r"vae is a link to .*elsewhere, outside of the model's folder"):
        fetch(server, source, folder)
    assert (tmp_path / "elsewhere" / "config.json").read_text() == "broken"


def test_in_a_hubs_cache_the_file_behind_a_link_is_repaired_but_never_one_outside(
    source: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    spec = TURBO.model_copy(update={"hub_ids": dict.fromkeys(SOURCES, server.repository), "checksums": {}})
    monkeypatch.setitem(SPECS, "turbo", spec)
    place = hub.fetch(server.repository, SOURCES["huggingface"](), None, {}).directory
    monkeypatch.delenv("ZIMAGE_MODELS")
    assert hub.quote("turbo", "huggingface").files == 0, "it is in the cache"
    blob = (place / BIG).resolve()
    blob.write_bytes(b"x" * FILES[BIG])
    (tmp_path / "mine").write_text("not yours")
    (place / SMALL).unlink()
    (place / SMALL).symlink_to(tmp_path / "mine")
    work = hub.repair("turbo", source)
    assert work.directory == place and work.download is not None
    assert set(work.download.repaired) == {BIG, SMALL}
    assert (place / BIG).resolve() == blob, "the cache's own file was replaced, the link to it is as it was"
    assert (tmp_path / "mine").read_text() == "not yours"
    whole(server, place)


@pytest.fixture
def turbo(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository downloaded as turbo, with the checksums of its authors; returns its folder."""
    sums = {path: hashlib.md5(content).hexdigest() for path, content in server.files().items()}
    ids = dict.fromkeys(SOURCES, server.repository)
    monkeypatch.setitem(SPECS, "turbo", TURBO.model_copy(update={"hub_ids": ids, "checksums": sums}))
    place = hub.download("turbo", "huggingface").directory
    server.asked.clear()
    return place


def test_a_repair_fetches_what_is_missing_or_broken_and_nothing_else(
    source: str, turbo: Path, server: HubServer
) -> None:
    (turbo / SMALL).unlink()
    (turbo / BIG).write_bytes(b"<html>")
    found: list[hub.FileCheck] = []
    seen: list[hub.Progress] = []
    work = hub.repair("turbo", source, seen.append, on_file=found.append)
    assert {check.path: check.state for check in found} == {SMALL: "missing", BIG: "broken", "model_index.json": "ok"}
    assert work.checks == tuple(found) and work.download is not None
    assert (work.download.fetched, work.download.repaired) == ((SMALL,), (BIG,))
    assert asked(server) == {SMALL, BIG}
    assert seen[-1].done == seen[-1].total == sum(FILES.values())
    (turbo / "model_index.json").unlink()  # so that it is no model any more
    assert hub.repair("turbo", source).directory == turbo
    whole(server, turbo)


def test_a_whole_model_is_repaired_without_the_network(turbo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (turbo / "model_index.json").write_text("{}")
    sums = {**SPECS["turbo"].checksums, "model_index.json": hashlib.md5(b"{}").hexdigest()}
    monkeypatch.setitem(SPECS, "turbo", SPECS["turbo"].model_copy(update={"checksums": sums}))
    assert hub.repair("turbo").download is None


def test_without_published_checksums_a_repair_asks_the_hub_for_its_own(
    turbo: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPECS, "turbo", SPECS["turbo"].model_copy(update={"checksums": {}}))
    (turbo / BIG).write_bytes(b"x" * FILES[BIG])
    work = hub.repair("turbo")
    assert {check.state for check in work.checks} == {"unknown"} and work.download is not None
    assert work.download.repaired == (BIG,) and asked(server) == {BIG}


def test_a_folder_is_repaired_from_the_hub_that_it_came_from_or_told_that_there_is_none(
    turbo: Path, server: HubServer, tmp_path: Path
) -> None:
    moved = turbo.rename(tmp_path / "moved")
    (moved / "model_index.json").write_text("{}")
    work = hub.repair(str(moved))
    assert work.download is not None and work.download.repaired == ("model_index.json",)
    whole(server, moved)
    (moved / ".zimage.json").unlink()
    with pytest.raises(BadRequest, match=r"moved were not downloaded from a hub.*by hand"):
        hub.repair(str(moved))
    with pytest.raises(BadRequest, match=r"nano comes with zimage_kit.*Install"):
        hub.repair("nano")
    register_model("mine", moved)
    try:
        with pytest.raises(BadRequest, match=r"moved were not downloaded"):
            hub.repair("mine")
    finally:
        del SPECS["mine"]
    with pytest.raises(ModelMissing, match="zimage models download turbo"):
        hub.repair("turbo")
    with pytest.raises(BadRequest, match="expected modelscope or huggingface"):
        hub.repair("turbo", "hugging")


def test_an_extra_is_repaired_too(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = EXTRAS["openpose"].model_copy(update={"hub_ids": {"huggingface": server.repository}, "files": (BIG, SMALL)})
    monkeypatch.setitem(EXTRAS, "openpose", extra)
    with pytest.raises(ModelMissing, match="--source huggingface"):
        hub.repair("openpose")
    place = hub.download("openpose", "huggingface").directory
    (place / BIG).write_bytes(b"x" * FILES[BIG])
    (place / SMALL).unlink()
    work = hub.repair("openpose")
    assert work.download is not None
    assert (work.download.fetched, work.download.repaired) == ((SMALL,), (BIG,))
    assert extra.directory() == place
    with pytest.raises(BadRequest, match="openpose is not on ModelScope"):
        hub.repair("openpose", "modelscope")
