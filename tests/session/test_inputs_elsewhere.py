"""Inputs of a job whose worker is on another machine: their bytes go along, once, checked, and no path is looked at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.engine.preflight import check
from zimage_kit.engine.task import Task
from zimage_kit.errors import BadRequest
from zimage_kit.recipe import asset
from zimage_kit.session.shared import transit, wire


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    Image.linear_gradient("L").resize((64, 64)).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.fixture
def asked(small: Request, mask: Path) -> Request:
    return small.then(zk.stages.inpaint(mask=mask, steps=1))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(transit, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_a_picture_is_made_on_a_machine_that_has_not_the_mask(
    shared: Session, asked: Request, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shared.run(asked)
    assert wire.task_out(Task("a", here.request))["assets"][asset.sha256(mask)]["bytes"] is None, "its path is enough"
    monkeypatch.setattr(wire, "machine", lambda: "another")  # this process, as the worker sees it
    assert shared._engine._elsewhere  # type: ignore[attr-defined]
    there = shared.run(asked, fresh=True)
    assert there.image.tobytes() == here.image.tobytes() and there.request == here.request


def test_what_arrives_is_checked_and_kept(asked: Request, mask: Path, cache: Path) -> None:
    checked = check(asked)
    message = wire.task_out(Task("a", checked.request, checked), elsewhere=True)
    message["machine"] = "another"
    digest = asset.sha256(mask)
    there = wire.task_in(message)
    assert there.assets == {digest: cache / digest[:2] / f"{digest}.png"}
    mask.unlink()
    with there.as_its_client():
        assert check(there.request).request == checked.request
    again = wire.task_in({**message, "assets": wire.task_out(Task("b", checked.request))["assets"]})
    assert again.assets == there.assets, "a second job needs no bytes"
    shutil.rmtree(cache)
    with (
        wire.task_in({**message, "assets": {}}).as_its_client(),
        pytest.raises(BadRequest, match="mask.png .* missing"),
    ):
        check(checked.request)
    bad = {digest: {"path": "", "name": "../../../x.png", "bytes": b"other"}}
    with pytest.raises(BadRequest, match="other content"):
        wire.task_in({**message, "assets": bad})
    with pytest.raises(BadRequest, match="names no asset"):
        wire.task_in({**message, "assets": {"../../x": bad[digest]}})
    assert not list(cache.rglob("*.png"))


def test_the_cache_has_a_limit_and_sent_bytes_too(
    asked: Request, mask: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        content = bytes([number]) * 1000
        found = asset.Asset(asset.store(content).sha256)
        sent = {found.sha256: {"path": "", "name": "", "bytes": content}}
        monkeypatch.setattr(transit, "CACHE", 2500)
        assert found.sha256 in transit.assets_in(sent, here=False)
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) == 2000
    monkeypatch.setattr(transit, "LARGEST", 10)
    with pytest.raises(BadRequest, match="to send to another machine"):
        transit.assets_out(check(asked).request, with_bytes=True)


def test_cells_of_a_grid_share_their_bytes() -> None:
    first = {"a": {"bytes": b"x" * 10}}
    second = {"a": {"bytes": bytes(bytearray(b"x" * 10))}}
    transit.shared(second, [first])
    assert second["a"]["bytes"] is first["a"]["bytes"]
