"""Models are found where they lie on this disk, whole or not at all, and a missing one says how to get it."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit.errors import BadRequest, ModelMissing, NoRecipe, UnknownModel
from zimage_kit.models import spec as models
from zimage_kit.models.directories import fingerprint, missing_files
from zimage_kit.models.listing import list_models
from zimage_kit.models.loras import lora_file
from zimage_kit.models.spec import SPECS, default_model, require, resolve

COMPONENTS = {"text_encoder": "model", "transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}


def fake(directory: Path) -> Path:
    """A directory of Z-Image-Turbo's layout with tiny files: 2 shards with an index, as published."""
    index = {"_class_name": "ZImagePipeline", "scheduler": ["d", "S"], "tokenizer": ["t", "T"]}
    index |= {component: ["x", "Y"] for component in COMPONENTS}
    files = {
        "model_index.json": json.dumps(index),
        "scheduler/scheduler_config.json": "{}",
        "tokenizer/tokenizer.json": "{}",
        "tokenizer/tokenizer_config.json": "{}",
    }
    for component, stem in COMPONENTS.items():
        shards = [f"{stem}-0000{i}-of-00002.safetensors" for i in (1, 2)]
        files |= {f"{component}/{shard}": "weights" for shard in shards}
        files[f"{component}/config.json"] = '{"dim": 3840}'
        weight_map = dict(zip("ab", shards, strict=True))
        files[f"{component}/{stem}.safetensors.index.json"] = json.dumps({"weight_map": weight_map})
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


LAYOUTS = (
    "zimage/models/turbo",
    ".cache/modelscope/hub/models/Tongyi-MAI/Z-Image-Turbo",
    ".cache/modelscope/hub/Tongyi-MAI/Z-Image-Turbo",
    ".cache/modelscope/models/Tongyi-MAI/Z-Image-Turbo",
    ".cache/modelscope/models/Tongyi-MAI--Z-Image-Turbo/snapshots/master",
    "huggingface/hub/models--Tongyi-MAI--Z-Image-Turbo/snapshots/0123abcd",
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_turbo_is_found_where_clients_leave_it(home: Path, layout: str) -> None:
    assert default_model() == "nano"
    directory = fake(home / layout)
    assert require("turbo") == directory
    assert default_model() == "turbo"


def test_turbo_is_found_in_the_caches_that_the_environment_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        "ZIMAGE_MODELS": "turbo",
        "MODELSCOPE_CACHE": "models/Tongyi-MAI/Z-Image-Turbo",
        "HF_HUB_CACHE": "models--Tongyi-MAI--Z-Image-Turbo/snapshots/0123abcd",
    }
    for name, inside in places.items():
        monkeypatch.setenv(name, str(home / name))
        directory = fake(home / name / inside)
        assert require("turbo") == directory
        shutil.rmtree(home / name)


def test_a_name_with_a_dot_is_found_as_modelscope_spells_it(home: Path) -> None:
    spec = SPECS["turbo"].model_copy(update={"hub_ids": {"modelscope": "Owner/Model-2.1"}})
    directory = fake(home / ".cache/modelscope/hub/models/Owner/Model-2___1")
    assert spec.directory() == directory


@pytest.mark.parametrize(
    "lost",
    [
        "model_index.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "text_encoder/model-00001-of-00002.safetensors",
        "vae/diffusion_pytorch_model-00001-of-00002.safetensors",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
    ],
)
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_directory_that_lacks_a_file_does_not_count(home: Path, lost: str, how: str) -> None:
    directory = fake(home / "zimage/models/turbo")
    (directory / lost).unlink() if how == "absent" else (directory / lost).write_text("")
    assert missing_files(directory) == [lost]
    with pytest.raises(ModelMissing):
        require("turbo")


def test_a_missing_model_says_how_to_get_it_without_asking_the_network(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", asked)
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    with pytest.raises(ModelMissing) as caught:
        require("turbo")
    line, facts = str(caught.value), caught.value.facts
    assert "zimage models download turbo" in line
    assert "33 GB" in line
    assert f"{facts['free_bytes'] / 1e9:.0f} GB are free" in line
    assert facts["command"] == "zimage models download turbo"
    assert not (home / "zimage").exists()


def test_unknown_names_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="Did you mean turbo?"):
        resolve("trubo")
    with pytest.raises(UnknownModel, match="model_index.json"):
        resolve(tmp_path)
    with pytest.raises(UnknownModel, match="folder"):
        resolve(tmp_path / "nothing")


def test_a_folder_takes_the_limits_of_its_family(tmp_path: Path, model_directory: Path) -> None:
    assert resolve(fake(tmp_path / "my-turbo")).family == "turbo"
    assert resolve(fake(tmp_path / "Z-Image")).family == "turbo", "a folder's name is no evidence"
    small = resolve(model_directory)
    assert (small.family, small.native, small.name) == ("nano", (256, 256), str(model_directory))
    assert require(str(model_directory)) == model_directory


def test_the_default_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_noticed", False)
    first = models.default_notice("nano")
    assert first is not None
    assert "zimage models download turbo" in first
    assert models.default_notice("nano") is None


def test_the_fingerprint_is_of_the_content_not_of_the_place(tmp_path: Path, model_directory: Path) -> None:
    original = fingerprint(model_directory)
    copy = Path(shutil.copytree(model_directory, tmp_path / "copy"))
    assert fingerprint(copy) == original
    shard = max(copy.glob("transformer/*.safetensors"), key=lambda path: path.stat().st_size)
    with shard.open("r+b") as file:  # another training, the same shapes: every value changed
        header = int.from_bytes(file.read(8), "little") + 8
        file.seek(header)
        values = file.read()
        file.seek(header)
        file.write(bytes(byte ^ 1 for byte in values[: 1 << 20]) + values[1 << 20 :])
    assert fingerprint(copy) != original


def test_the_specs_are_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in SPECS.values():
        assert type(spec).model_validate_json(spec.model_dump_json()) == spec
        assert all(side % 16 == 0 for size in spec.sizes for side in size)
        assert spec.native in spec.sizes
    turbo = SPECS["turbo"]
    assert turbo.hub_id("modelscope") == turbo.hub_id("huggingface") == "Tongyi-MAI/Z-Image-Turbo"
    assert len(turbo.checksums) == 16
    assert turbo.latent_rgb is not None
    assert len(turbo.latent_rgb) == 16
    assert os.fspath(SPECS["nano"].path or "").endswith("weights")


def test_only_nano_has_a_vocabulary() -> None:
    assert SPECS["turbo"].unknown_words("a zeppelin") == []
    assert "qwrtzx" in SPECS["nano"].unknown_words("a red qwrtzx balloon")


def scheduler(directory: Path, **values: object) -> None:
    file = directory / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **values}))


@pytest.fixture
def large(copied_model: Path, tmp_path: Path) -> Path:
    """A folder that says of itself that its transformer is of Z-Image's width; called as one model, being another."""
    config = copied_model / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), "dim": 3840}))
    return copied_model.rename(tmp_path / "zimage-base")


def test_a_familys_evidence_is_in_the_files_and_not_in_the_folders_name(large: Path) -> None:
    scheduler(large, shift=3.0)
    assert resolve(large).family == "turbo", "its folder is called zimage-base"
    scheduler(large, shift=6.0)
    assert resolve(large).family == "base"
    (large / ".zimage.json").write_text('{"hub_id": "Tongyi-MAI/Z-Image-Turbo"}')
    assert resolve(large).family == "turbo", "where it was downloaded from says more than a number"


def test_a_folder_is_absolute_wherever_it_is_named_from(copied_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied_model.parent)
    assert resolve(copied_model.name).name == str(copied_model)


def test_a_model_of_ones_own_has_a_name(copied_model: Path, session: zk.Session) -> None:
    try:
        spec = zk.register_model("mine", copied_model, like="nano", steps=3)
        assert (spec.family, spec.steps, resolve("mine")) == ("nano", 3, spec)
        made = session.run("x", model="mine", width=64, height=64, seed=1)
        assert (made.request.model, made.request.steps) == ("mine", 3)
        with pytest.raises(BadRequest, match="comes with zimage_kit"):
            zk.register_model("turbo", copied_model)
        with pytest.raises(BadRequest, match="unknown field step. Did you mean steps"):
            zk.register_model("mine", copied_model, step=3)
    finally:
        SPECS.pop("mine", None)


def test_a_path_of_a_user_who_is_not_here_is_one_sentence() -> None:
    with pytest.raises(NoRecipe, match="nobody-of-this-name"):
        zk.open("~nobody-of-this-name/a.png")
    with pytest.raises(BadRequest, match="nobody-of-this-name"):
        lora_file(zk.Lora(path=Path("~nobody-of-this-name/a.safetensors")), SPECS["nano"])


def test_a_model_is_found_in_the_list_by_its_name_or_as_the_default() -> None:
    models_known = list_models()
    assert models_known.named("nano").native == (256, 256)
    assert models_known.named().default
    with pytest.raises(UnknownModel, match="nano, turbo, base"):
        models_known.named("nanno")
