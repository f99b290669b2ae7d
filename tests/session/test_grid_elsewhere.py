"""A grid whose model lies on the session's machine and not on the notebook's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from programs import Place, eventually

from zimage_kit import Request
from zimage_kit.models.spec import fingerprints_here


def test_cells_of_a_model_elsewhere_are_known_by_what_its_worker_tells(
    place: Place, model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = place.root / "models"
    shutil.copytree(model_directory, models / "turbo")  # nano's files where turbo's would be
    monkeypatch.setenv("ZIMAGE_MODELS", str(models))
    shared = place.session()
    eventually(lambda: shared.status().workers, "a worker is there")
    there = fingerprints_here()["turbo"]
    monkeypatch.delenv("ZIMAGE_MODELS")
    assert "turbo" not in fingerprints_here()

    base = Request(prompt="a {colour} boat", model="turbo", width=64, height=64, steps=1)
    made = shared.grid(base, colour=["red", "blue"]).wait(120)
    assert (made.computed, made.failed) == (2, 0)
    assert {cell.trace.fingerprint for cell in made if cell.trace} == {there}
    assert shared.grid(base, colour=["red", "blue"]).wait().computed == 0
    monkeypatch.setenv("ZIMAGE_MODELS", str(models))  # once it is here too, the pictures are the same ones
    here = shared.grid(base, colour=["red", "blue"]).wait()
    assert here.computed == 0
    assert [cell.key for cell in here] == [cell.key for cell in made]

    weights = next((models / "turbo" / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes() + b"\0")
    changed = shared.grid(base, colour=["red"])
    changed.cancel()
    changed.wait()
    assert changed[0].key != made[0].key, "other files, another picture"
