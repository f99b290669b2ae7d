"""Converting to bfloat16: the right bits, nothing lost wherever it breaks off, pictures that stay what they were."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from hub_server import HubServer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_models import fake

import zimage_kit as zk
from zimage_kit import cli
from zimage_kit.engine import gpus
from zimage_kit.errors import BadRequest, CannotWrite, JobFailed
from zimage_kit.models import convert as module
from zimage_kit.models import hub, rounding
from zimage_kit.models.convert import convert
from zimage_kit.models.directories import (
    content_fingerprint,
    fingerprint,
    header,
    missing_files,
    rounded_fingerprint,
    savings,
)
from zimage_kit.models.hub_sources import SOURCES
from zimage_kit.models.spec import SPECS

SHARDS = [f"transformer/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
INDEX = "transformer/diffusion_pytorch_model.safetensors.index.json"
VAE = "vae/diffusion_pytorch_model-00001-of-00002.safetensors"
WIDE, HALF, MIXED = ["float32"] * 2, ["bfloat16"] * 2, ["bfloat16", "float32"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The layout of turbo: float32 in the transformer and the autoencoder, bfloat16 in the text encoder."""
    directory = fake(tmp_path / "tiny")
    for seed, path in enumerate(sorted(directory.rglob("*.safetensors"))):
        values = torch.randn(5, 1001, generator=torch.Generator().manual_seed(seed))
        values = values.bfloat16() if path.parent.name == "text_encoder" else values
        tensors = {"a": values, "b": values[0, :2].clone(), "ids": torch.arange(3), "n": torch.tensor([7]).int()}
        save_file(tensors, path, metadata={"format": "pt"})
    index = json.loads((directory / INDEX).read_text())
    (directory / INDEX).write_text(json.dumps({"metadata": {"total_size": 2 * (5007 * 4 + 28)}, **index}))
    return directory


def types(directory: Path) -> list[str]:
    """Of the transformer's weights, shard by shard, each of which must be whole; and no part of one may be left."""
    found = []
    for shard in SHARDS:
        with safe_open(directory / shard, framework="pt") as file:
            tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
        assert all(torch.isfinite(tensor.float()).all() for tensor in tensors)
        found.append(str(tensors[0].dtype).removeprefix("torch."))
    assert not list(directory.rglob("*.part"))
    return found


def md5s(directory: Path) -> dict[str, str]:
    return {p.relative_to(directory).as_posix(): hub.digest(p, "md5") for p in directory.rglob("*.*") if p.is_file()}


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def stop_at(count: int, how: Callable[[], None] = interrupt) -> hub.OnProgress:
    """Progress that calls `how` with the report of this number."""
    reports = iter([False] * (count - 1) + [True])
    return lambda _: how() if next(reports, False) else None


def test_every_bit_is_rounded_as_torch_rounds() -> None:
    random = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, dtype=np.uint32)
    ties = (np.arange(1 << 16, dtype=np.uint32) << 16) | 0x8000  # every bfloat16 and a half; NaN, subnormals, infinity
    bits = np.concatenate([random, ties - 1, ties, ties + 1, ties - 0x8000, np.array([0x7F800001, 1], np.uint32)])
    found = torch.from_numpy(rounding.to_bfloat16(bits).view(np.int16)).view(torch.bfloat16)
    expected = torch.from_numpy(bits.view(np.int32)).view(torch.float32).to(torch.bfloat16)
    nan = torch.isnan(expected)
    assert 1000 < nan.sum() < len(bits) / 50
    assert torch.equal(torch.isnan(found), nan)
    assert torch.equal(found.view(torch.int16)[~nan], expected.view(torch.int16)[~nan])


def test_what_is_computed_in_bfloat16_is_converted_and_nothing_else(tiny: Path) -> None:
    before, old, freed = md5s(tiny), load_file(tiny / SHARDS[0]), savings(tiny)
    done = convert(tiny)
    assert freed == 2 * 5007 * 2 and abs(done.before - done.after - freed) < 100
    new = load_file(tiny / SHARDS[0])
    kinds = {"a": torch.bfloat16, "b": torch.bfloat16, "ids": torch.int64, "n": torch.int32}
    assert {name: tensor.dtype for name, tensor in new.items()} == kinds
    assert all(torch.equal(new[name], old[name].to(kinds[name])) for name in old)
    with safe_open(tiny / SHARDS[0], framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert header(tiny / SHARDS[0])["n"]["data_offsets"][0] % 4 == 0, "where its type may lie"
    assert json.loads((tiny / INDEX).read_text())["metadata"]["total_size"] == 2 * (5007 * 2 + 28)
    assert {name for name, md5 in md5s(tiny).items() if before.get(name, md5) != md5} == {*SHARDS, INDEX}
    assert savings(tiny) == 0 and not convert(tiny).shards


def test_wherever_it_breaks_off_every_shard_is_whole_and_it_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "REPORTS_PER_SECOND", 10**6)
    monkeypatch.setattr(rounding, "CHUNK_BYTES", 4096)
    before, whole, seen = fingerprint(tiny), copytree(tiny, tmp_path / "whole"), []
    reports: list[hub.Progress] = []
    convert(whole, on_progress=reports.append)
    assert reports[-1].done == reports[-1].total and len(reports) > 20
    for count in range(1, len(reports)):
        copy = copytree(tiny, tmp_path / f"{count}")
        with pytest.raises(KeyboardInterrupt):
            convert(copy, on_progress=stop_at(count))
        seen.append(types(copy))
        assert fingerprint(copy) == before and not missing_files(copy)
        convert(copy)
        assert content_fingerprint(copy) == content_fingerprint(whole) and fingerprint(copy) == before
    assert WIDE in seen and MIXED in seen


KILLED = """
import os, sys, signal, pathlib; from zimage_kit.models import convert, hub, rounding
when, folder, replace = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path.replace
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
def replaced(part, goal):
    if 'rename' in when and '00002-of' in goal.name:
        when.startswith('before') or replace(part, goal)
        kill()
    return replace(part, goal)
rounding.CHUNK_BYTES, pathlib.Path.replace = 4096, replaced
hub.Meter.received = lambda *_: (folder / (sys.argv[3] + '.part')).exists() and when == 'in a shard' and kill()
convert.convert(folder)
"""


@pytest.mark.parametrize("when", ["in a shard", "before a rename", "after a rename"])
def test_a_killed_conversion_is_resumed(tiny: Path, when: str) -> None:
    before, after = fingerprint(tiny), when.startswith("after")
    done = subprocess.run([sys.executable, "-c", KILLED, when, str(tiny), SHARDS[1]], check=False)
    assert done.returncode == -signal.SIGKILL and fingerprint(tiny) == before
    assert [path.name for path in tiny.rglob("*.part")] == ([] if after else [Path(SHARDS[1]).name + ".part"])
    kept = (tiny / SHARDS[0]).stat().st_mtime_ns
    assert convert(tiny).shards == (() if after else (SHARDS[1],))
    assert (tiny / SHARDS[0]).stat().st_mtime_ns == kept, "what was done is not done again"
    assert types(tiny) == HALF and fingerprint(tiny) == before


def test_two_at_once_are_refused(tiny: Path) -> None:
    refused = []

    def second() -> None:
        with pytest.raises(BadRequest, match="by another process"):
            convert(tiny)
        refused.append(True)

    convert(tiny, on_progress=stop_at(1, second))
    assert refused and types(tiny) == HALF


def test_what_the_disk_did_not_keep_replaces_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_back", lambda part, told: (damage(part), rounding.read_back(part, told))[1])
    with pytest.raises(JobFailed, match="does not hold what was written.*left as it is"):
        convert(tiny)
    assert types(tiny) == WIDE


def test_a_damaged_file_is_not_converted(tiny: Path) -> None:
    sums = md5s(tiny)
    damage(tiny / SHARDS[1])
    with pytest.raises(JobFailed, match="00002-of.*not the file that its authors published"):
        convert(tiny, checksums=sums)
    assert types(tiny) == MIXED
    (tiny / SHARDS[1]).write_bytes((tiny / SHARDS[1]).read_bytes() + b"more")
    with pytest.raises(JobFailed, match="not a whole safetensors file"):
        convert(tiny)


def test_a_disk_without_room_for_a_shard_is_told_at_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = module.SPARE_BYTES + 10_000
    monkeypatch.setattr(module, "free_bytes", lambda _: free)
    with pytest.raises(CannotWrite, match=r"100 MB are needed for a while.*only 100 MB free") as caught:
        convert(tiny)
    assert 10_000 < caught.value.facts["needed"] < 11_000, "one shard and not two"
    assert types(tiny) == WIDE and not (tiny / ".zimage.json").exists()


def test_a_disk_that_fills_up_leaves_every_shard_whole(tiny: Path) -> None:
    script = (
        "import resource, signal, sys, pathlib; from zimage_kit.models import convert\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "convert.convert(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tiny)], capture_output=True, text=True, check=False)
    assert re.search("CannotWrite.*Every file there is whole", done.stderr), done.stderr
    assert types(tiny) == WIDE


def test_a_caches_links_are_left_alone_and_a_copy_is_made(tiny: Path, tmp_path: Path) -> None:
    before = fingerprint(tiny)
    (tmp_path / "blobs").mkdir()
    for number, path in enumerate([path for path in tiny.rglob("*.*") if path.is_file()]):
        path.symlink_to(path.rename(tmp_path / "blobs" / str(number)))
    with pytest.raises(BadRequest, match="hub's cache.*--to FOLDER"):
        convert(tiny)
    convert(tiny, copy := tmp_path / "copy")
    assert types(tiny) == WIDE and types(copy) == HALF
    assert not missing_files(copy) and not any(path.is_symlink() for path in copy.rglob("*"))
    assert (copy / VAE).stat().st_nlink == 2, "what stays as it is takes no room twice"
    assert fingerprint(copy) == fingerprint(tiny) == before != content_fingerprint(copy)


def test_an_interrupted_copy_is_no_model_until_it_is_finished(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "REPORTS_PER_SECOND", 10**6)
    reports: list[hub.Progress] = []
    convert(tiny, tmp_path / "whole", on_progress=reports.append)
    for count in range(1, len(reports)):
        copy = tmp_path / f"copy {count}"
        with pytest.raises(KeyboardInterrupt):
            convert(tiny, copy, on_progress=stop_at(count))
        assert "model_index.json" in missing_files(copy)
        if not (copy / VAE).exists():
            (copy / VAE).parent.mkdir(exist_ok=True)
            (copy / f"{VAE}.part").write_text("of a process that was killed")
        assert convert(tiny, copy).copied and (copy / VAE).read_bytes() == (tiny / VAE).read_bytes()
        assert not missing_files(copy) and fingerprint(copy) == fingerprint(tiny) and types(copy) == HALF
    early = tmp_path / "early"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        write = module.write_whole
        patch.setattr(
            module, "write_whole", lambda path, of: interrupt() if path.suffix == ".part" else write(path, of)
        )
        convert(tiny, early)
    assert (early / "transformer").is_dir() and convert(tiny, early).copied
    for wrong in (tiny / "inside", tiny.parent, tiny):
        with pytest.raises(BadRequest, match="neither in it nor around it"):
            convert(tiny, wrong)
    with pytest.raises(BadRequest, match="holds something else"):
        convert(tiny, fake(tmp_path / "other"))
    assert types(tiny) == WIDE


def test_the_fingerprint_is_the_contents_once_anything_else_has_changed(tiny: Path) -> None:
    before = fingerprint(tiny)
    convert(tiny)
    assert fingerprint(tiny) == before and rounded_fingerprint(tiny) == content_fingerprint(tiny) != before
    damage(tiny / VAE)
    assert fingerprint(tiny) == content_fingerprint(tiny) != before and not rounded_fingerprint(tiny)


def test_verify_accepts_what_was_converted_and_finds_what_was_damaged(tiny: Path) -> None:
    def states(checksums: dict[str, str]) -> list[str]:
        found = {check.path: check.state for check in hub.verify(tiny, checksums)}
        return [found[name] for name in (INDEX, *SHARDS, VAE)]

    sums = md5s(tiny)
    convert(tiny, checksums=sums)
    assert states(sums) == ["converted"] * 3 + ["ok"] and states({}) == ["converted"] * 3 + ["unknown"]
    damage(tiny / SHARDS[1])
    damage(tiny / VAE)
    assert states(sums) == ["converted"] * 2 + ["broken"] * 2
    assert states({}) == ["converted"] * 2 + ["broken", "unknown"]


@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_a_download_keeps_what_was_converted_and_fetches_what_broke(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    folder, before = tmp_path / "model", ""
    with HubServer(tiny) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for expected in ([], [SHARDS[0]]):
            hub.fetch(server.repository, SOURCES[source](), folder, {})
            before = before or fingerprint(folder)
            convert(folder)
            if expected:
                damage(folder / SHARDS[0])
            server.asked.clear()
            hub.fetch(server.repository, SOURCES[source](), folder, {})
            assert {asked.path for asked in server.asked} == set(expected)
        assert types(folder) == MIXED[::-1]
        convert(folder)
        assert types(folder) == HALF and fingerprint(folder) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_tensor_is_converted_in_little_memory(tmp_path: Path) -> None:
    folder, size = fake(tmp_path / "large"), 200_000_000
    head = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    for name in SHARDS:
        (folder / name).write_bytes(len(head).to_bytes(8, "little") + head + bytes(range(256)) * 4096)
        os.truncate(folder / name, 8 + len(head) + size)  # the rest is a hole
    script = (  # not ru_maxrss, which begins with that of the process that started this one
        "import re, sys, pathlib; from zimage_kit.models import convert\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        "before = peak(); convert.convert(pathlib.Path(sys.argv[1])); print(peak() - before, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    grown, torch_loaded = done.stdout.split()
    assert int(grown) * 1024 < min(0.6 * size, 7 * rounding.CHUNK_BYTES)
    assert torch_loaded == "False" and (folder / SHARDS[0]).stat().st_size < size / 2 + 1000


@pytest.fixture
def wide(copied_model: Path) -> Path:
    """nano with a transformer in float32, of values that bfloat16 does not have."""
    for path in copied_model.glob("transformer/*.safetensors"):
        tensors = {name: tensor.float() * (1 + 2**-10) for name, tensor in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    return copied_model


SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 1}


def test_pictures_in_bfloat16_stay_the_same_bit_for_bit(wide: Path) -> None:
    def draw() -> zk.Artifact:
        with zk.connect("inline", device="cpu", dtype="bfloat16") as session:
            return session.run("a red balloon", model=str(wide), **SMALL)

    before, actual = draw(), rounding.read_back
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "read_back", lambda *each: interrupt() if "00002-of" in each[0].name else actual(*each))
        convert(wide)
    assert types(wide) == MIXED
    for _ in range(2):  # with one shard of each type, then with both converted
        after = draw()
        assert after.image.tobytes() == before.image.tobytes()
        assert after.trace.identity == before.trace.identity and after.trace.fingerprint == before.trace.fingerprint
        convert(wide)
    assert types(wide) == HALF


def test_a_picture_in_float32_is_another_one_afterwards_and_says_so(wide: Path) -> None:
    with zk.connect("inline", device="cpu", dtype="float32") as session:
        before = session.run("a red balloon", model=str(wide), **SMALL)
        convert(wide)
        after = session.run("a red balloon", model=str(wide), **SMALL)
        assert not after.trace.cached and session.status().model_loads == 2, "neither picture nor weights of before"
        verdict = before.verify(session)
    assert after.image.tobytes() != before.image.tobytes() and verdict.state != "identical"
    assert [reason.partition(" was ")[0] for reason in verdict.reasons] == ["model on disk"]
    refined = zk.Request(prompt="a cat", model="nano", **SMALL).then(zk.stages.refine(model=str(wide), steps=1))
    for dtype in ("float32", "bfloat16"):
        with zk.connect("inline", device="cpu", dtype=dtype) as session:
            entries = session.run(refined).trace.identity
        assert ("stage 1 refine model on disk" in entries) == (dtype == "float32") and "model on disk" not in entries


@pytest.fixture
def turbo(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny one as turbo, on a machine that computes in bfloat16."""
    monkeypatch.setenv("ZIMAGE_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(cli.models, "WORTH_BYTES", 10_000)
    monkeypatch.setattr(gpus, "computes_in_bfloat16", lambda: True)
    monkeypatch.setitem(SPECS, "turbo", SPECS["turbo"].model_copy(update={"checksums": md5s(tiny)}))
    (tmp_path / "models").mkdir()
    return tiny.rename(tmp_path / "models" / "turbo")


def test_the_commands_say_what_can_be_converted_and_what_was(
    turbo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(line: str, pattern: str, status: int = 0) -> bool:
        assert cli.call(["models", *line.split()]) == status, line
        return re.search(pattern, "".join(capsys.readouterr()), re.DOTALL) is not None

    advice = r"turbo is stored in float32.*`zimage models convert turbo` frees \d+ kB"
    assert says("list", advice)
    assert says("convert turbo", "no terminal to ask on. Add --yes", 2)
    assert says(f"convert {turbo} --to {tmp_path / 'copy'} --yes --json", f'"target": "{tmp_path / "copy"}"')
    assert types(turbo) == WIDE and types(tmp_path / "copy") == HALF
    answers = ["no\n", "y\n"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdin, "readline", lambda: answers.pop(0), raising=False)
    assert says("convert", "nothing was changed", 1) and types(turbo) == WIDE
    with monkeypatch.context() as patch:
        patch.setattr(gpus, "computes_in_bfloat16", lambda: False)
        patch.setattr(module, "read_back", interrupt)
        assert not says("list", advice)
        assert says("convert --yes", "pictures will differ.*the same command goes on from here", 130)
    assert says("convert", r"become \d+ kB, which frees \d+ kB.*GB free are needed.*Convert") and not answers
    assert types(turbo) == HALF and not says("list", advice) and says("convert turbo", "no float32 weights")
    assert says("verify turbo", r"3 files are as their conversion.*all \d+ others are what its authors published")
    damage(turbo / SHARDS[0])
    assert says("verify turbo", rf"{SHARDS[0]} \(broken\)", 1)
