"""Models from files as ComfyUI and others keep them: nano's weights in each layout draw nano's pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models.layouts import KINDS, comfyui, own, write_gguf
from zimage_kit import Session, cli
from zimage_kit.doctor.report import _models
from zimage_kit.engine.fill import opened
from zimage_kit.engine.load import Keeping, load_networks
from zimage_kit.errors import BadRequest, JobFailed, ModelMissing, UnknownModel
from zimage_kit.models.assembled import add, remove
from zimage_kit.models.directories import added, component_sizes, fingerprint
from zimage_kit.models.listing import list_models
from zimage_kit.models.spec import fingerprints_here, resolve
from zimage_kit.models.weights import component_weights, components_in
from zimage_kit.nano import DIRECTORY

NETWORKS = ("transformer", "text_encoder", "vae")


def split(folder: Path) -> list[Path]:
    """ComfyUI's folder of models, with a file of each kind and others."""
    places = {"transformer": "diffusion_models/z.safetensors", "text_encoder": "text_encoders/qwen.safetensors"}
    files = []
    for component in NETWORKS:
        file = folder / places.get(component, "vae/ae.safetensors")
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(comfyui(component), file)
        files.append(file)
    (folder / "diffusion_models" / "flux").mkdir()
    save_file(
        {"double_blocks.0.img_attn.qkv.weight": torch.zeros(6, 2)}, folder / "diffusion_models/flux/f.safetensors"
    )
    return files


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZIMAGE_MODELS", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def nanos_picture(session: Session) -> Any:
    return picture(session, "nano")


def picture(session: Session, name: str) -> Any:
    return np.asarray(session.run("a red boat", model=name, width=64, height=64, steps=2, seed=3, fresh=True).image)


def single(folder: Path) -> list[Path]:
    """All in one checkpoint, with the prefixes that ComfyUI writes."""
    prefixes = {"transformer": "model.diffusion_model.", "vae": "vae."}
    prefixes["text_encoder"] = "text_encoders.qwen3_4b.transformer."
    names = {prefixes[each] + name: value for each in NETWORKS for name, value in comfyui(each).items()}
    save_file(names, folder / "all.safetensors", metadata={"format": "pt"})
    return [folder / "all.safetensors"]


def of_diffusers(folder: Path) -> list[Path]:
    return [DIRECTORY]


@pytest.mark.parametrize("written", [split, lambda folder: (split(folder), [folder])[1], single, of_diffusers])
def test_pixels_are_those_of_the_same_weights(
    session: Session, written: Any, nanos_picture: Any, tmp_path: Path, home: Path
) -> None:
    files = written(tmp_path)
    done = add("mine", files, like="nano")
    assert done.directory == home / "mine" and not done.borrowed and set(added()) == {"mine"}
    assert sum(path.stat().st_size for path in done.directory.rglob("*") if "tokenizer" not in path.parts) < 20_000
    assert component_sizes(done.directory) == component_sizes(DIRECTORY)
    assert resolve("mine").native == resolve("nano").native
    assert [(each.name, each.directory) for each in list_models()][-1] == ("mine", done.directory)
    assert fingerprints_here()["mine"] == fingerprint(done.directory)
    assert np.array_equal(picture(session, "mine"), nanos_picture)
    assert remove("mine") == done.directory and not added()
    assert all(path.exists() for path in files), "the files are not ours to remove"
    with pytest.raises(UnknownModel):
        resolve("mine")


def test_a_finetune_borrows_what_it_lacks(session: Session, nanos_picture: Any, tmp_path: Path) -> None:
    files = split(tmp_path)
    done = add("tuned", files[:1], like="nano")
    assert done.borrowed == ("text_encoder", "vae")
    assert np.array_equal(picture(session, "tuned"), nanos_picture)


def test_float8_with_scales(session: Session, tmp_path: Path) -> None:
    """A scale for a whole matrix, for rows, or none: as the products of both would be in one file."""
    weights, whole = comfyui("transformer"), {}
    for number, (name, value) in enumerate(list(weights.items())):
        whole[name] = value
        if not name.endswith(".weight") or value.ndim < 2:
            continue
        rows = number % 3 == 0
        largest = value.float().abs().amax(1, keepdim=True) if rows else value.float().abs().max()
        scale = largest / 448
        if number % 3 == 1:  # plain
            weights[name] = value.to(torch.float8_e4m3fn)
            whole[name] = weights[name].float()
            continue
        weights[name] = (value.float() / scale).to(torch.float8_e4m3fn)
        weights[name.removesuffix(".weight") + (".weight_scale" if rows else ".scale_weight")] = scale
        whole[name] = weights[name].float() * scale
    weights["scaled_fp8"] = torch.zeros(2).to(torch.float8_e4m3fn)
    save_file(weights, tmp_path / "f8.safetensors")
    save_file({name: value.contiguous() for name, value in whole.items()}, tmp_path / "whole.safetensors")
    add("eight", [tmp_path / "f8.safetensors"], like="nano")
    add("whole", [tmp_path / "whole.safetensors"], like="nano")
    assert np.array_equal(picture(session, "eight"), picture(session, "whole"))
    assert fingerprint(resolve("eight").directory() or Path()) != fingerprint(resolve("whole").directory() or Path())


def test_gguf(session: Session, tmp_path: Path) -> None:
    """Each code in turn, and what gguf unpacks of it as safetensors: the same picture, and the same while it waits."""
    for component in ("transformer", "text_encoder"):
        save_file(write_gguf(component, tmp_path / f"{component}.gguf", KINDS), tmp_path / f"{component}.safetensors")
    packed_, plain = (
        add(name, [tmp_path / f"{component}{ending}" for component in NETWORKS[:2]], like="nano")
        for name, ending in (("packed", ".gguf"), ("plain", ".safetensors"))
    )
    assert np.array_equal(picture(session, "packed"), picture(session, "plain"))
    assert component_sizes(packed_.directory) == component_sizes(plain.directory)
    keeping = Keeping(torch.device("cpu"), torch.float32)
    given = {"transformer": (keeping, lambda count: ("files",) * count)}
    networks = [load_networks(each.directory, given, lambda *_: None)["transformer"] for each in (packed_, plain)]
    for one, other in zip(*(network.blocks for network in networks), strict=True):
        wanted = other.whole()
        assert all(torch.equal(weight, wanted[name]) for name, weight in one.whole().items())
    for network in networks:
        network.close()


def test_a_cut_gguf(tmp_path: Path) -> None:
    for size in (0, 10, 100):
        file = tmp_path / "cut.gguf"
        file.write_bytes((b"GGUF\x03\x00\x00\x00" + bytes([200] * 100))[:size])
        assert components_in(file) == []
        with pytest.raises(BadRequest, match="holds no transformer"):
            add("mine", [file], like="nano")
        with pytest.raises(JobFailed, match="cannot be read"), opened(file):
            pass


def test_weights_that_wait_in_such_files_are_read_from_there(tmp_path: Path) -> None:
    done = add("mine", split(tmp_path), like="nano")
    keeping = Keeping(torch.device("cpu"), torch.float32)
    given = {"transformer": (keeping, lambda count: ("files",) * count)}
    theirs, ours = (load_networks(each, given, lambda *_: None)["transformer"] for each in (done.directory, DIRECTORY))
    for one, other in zip(theirs.blocks, ours.blocks, strict=True):
        assert one.buffer is None
        wanted = other.whole()
        assert all(torch.equal(weight, wanted[name]) for name, weight in one.whole().items())
    for network in (theirs, ours):
        network.close()


def test_files_that_went_away_are_told(session: Session, tmp_path: Path) -> None:
    files = split(tmp_path)
    add("mine", files, like="nano")
    files[0].unlink()
    with pytest.raises(ModelMissing, match=r"z\.safetensors"):
        picture(session, "mine")
    told = next(each for each in _models() if each.what == "mine")
    assert told.verdict == "fail" and "z.safetensors" in told.saw and "zimage models remove mine" in told.mend


def test_on_the_command_line(nanos_picture: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = split(tmp_path)
    assert cli.call(["models", "add", "mine", str(tmp_path), "--like", "nano", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == dict(zip(NETWORKS, ([str(file)] for file in files), strict=True))
    assert cli.call(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["mine"]["directory"] == told["directory"]
    assert cli.call(["models", "add", "nano", str(files[0])]) != 0
    assert "comes with zimage_kit" in capsys.readouterr().err
    assert cli.call(["models", "remove", "mine"]) == 0 and not added()
    assert "forgotten" in capsys.readouterr().out


def test_what_is_refused(tmp_path: Path, home: Path) -> None:
    files = split(tmp_path / "comfy")
    lora = tmp_path / "lora.safetensors"
    save_file({"diffusion_model.layers.0.attention.qkv.lora_A.weight": torch.zeros(2, 4)}, lora)
    coded = tmp_path / "nf4.safetensors"
    codes = {name: value.to(torch.uint8) if value.ndim > 1 else value for name, value in comfyui("transformer").items()}
    save_file({**codes, "cap_embedder.1.weight": comfyui("transformer")["cap_embedder.1.weight"]}, coded)
    another = tmp_path / "another.safetensors"
    save_file({**comfyui("transformer"), "cap_embedder.1.weight": torch.zeros(64, 64)}, another)
    cases: list[tuple[tuple[str, list[Path]], str]] = [
        (("nano", files), "comes with zimage_kit"),
        (("../up", files), "a plain name"),
        (("mine", [tmp_path / "none.safetensors"]), "is not there"),
        (("mine", [lora]), "holds no transformer, text encoder or VAE"),
        (("mine", [files[0], files[0]]), "both hold a transformer"),
        (("mine", [coded]), "is stored as U8"),
        (("mine", [another]), r"as \[64, 64\], not \[256, 256\]"),
        (("mine", [tmp_path / "comfy" / "vae"]), "has no weights of Z-Image"),
    ]
    for given, words in cases:
        with pytest.raises(BadRequest, match=words):
            add(given[0], given[1], like="nano")
    with pytest.raises(BadRequest, match="no text encoder among the files"):
        add("mine", [files[0]])
    save_file(comfyui("vae"), tmp_path / "comfy" / "vae" / "ae2.safetensors")
    with pytest.raises(BadRequest, match=r"several files with a vae: vae/ae.safetensors, vae/ae2.safetensors"):
        add("mine", [tmp_path / "comfy"], like="nano")
    assert not added() and not list(home.glob("*")), "nothing is left behind"
    (home / "kept").mkdir()
    with pytest.raises(BadRequest, match="was not added by this command"):
        add("kept", files, like="nano")
    with pytest.raises(BadRequest, match="was not added"):
        remove("kept")


def test_turbos_layout_is_known_without_turbo(tmp_path: Path) -> None:
    """Configurations and the tokenizer that is missing: what is said about weights of another size."""
    files = split(tmp_path)
    with pytest.raises(BadRequest, match="come without a tokenizer"):
        add("mine", files)
    with pytest.raises(BadRequest, match=r"not \[3840, 2560\]"):
        add("mine", files, tokenizer=DIRECTORY / "tokenizer")


def test_headers_tell_what_a_file_holds(tmp_path: Path) -> None:
    files = split(tmp_path)
    assert [components_in(file) for file in files] == [["transformer"], ["text_encoder"], ["vae"]]
    assert components_in(single(tmp_path)[0]) == list(NETWORKS)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(json.dumps({"a": 1}).encode())
    assert components_in(broken) == []


def test_nanos_own_folder_is_read_as_before() -> None:
    for component in NETWORKS:
        weights = component_weights(DIRECTORY / component)
        assert {name: weight.shape for name, weight in weights.items()} == {
            name.removeprefix("model."): tuple(value.shape) for name, value in own(component).items()
        }
