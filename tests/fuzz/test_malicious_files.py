"""Files that were made to harm: code in weights, headers that lie, small files that unpack to large ones.

Each is refused in our words, in bounded time and memory, and nothing in it runs.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from bounds import bounded
from PIL import Image

import zimage_kit as zk
from zimage_kit import Context, Request, Session
from zimage_kit.engine import controlnet
from zimage_kit.errors import BadRequest, JobFailed, NoRecipe, ZImageError
from zimage_kit.grid.grid import Grid
from zimage_kit.library import scan
from zimage_kit.models import assembled, lora_info, weights


class Payload:
    """Pickled, it makes a file named `ran` where it is loaded."""

    def __init__(self, ran: Path) -> None:
        self._ran = ran

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"__import__('pathlib').Path({str(self._ran)!r}).touch()",)


def zipped(path: Path, content: bytes, name: str = "archive/data.pkl") -> Path:
    """A file in PyTorch's layout, compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
        file.writestr("archive/version", "3\n")
    return path


def safetensors(path: Path, header: object, length: int | None = None, tail: bytes = bytes(64)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + tail)
    return path


def tensor(shape: list[object], offsets: list[object], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


LAYER = "diffusion_model.layers.0.attention.to_q.lora_A.weight"
DEEP = b"[" * 100_000 + b"]" * 100_000
LIES: dict[str, Callable[[Path], Path]] = {
    "beyond the file": lambda path: safetensors(path, {LAYER: tensor([1 << 20], [0, 1 << 22])}),
    "overlapping": lambda path: safetensors(path, {LAYER: tensor([8], [0, 32]), "b": tensor([8], [16, 48])}),
    "2**63 numbers": lambda path: safetensors(path, {LAYER: tensor([1 << 63], [0, 1 << 63])}),
    "sides whose product is small again": lambda path: safetensors(path, {LAYER: tensor([1 << 32, 1 << 32], [0, 0])}),
    "backwards": lambda path: safetensors(path, {LAYER: tensor([8], [32, 0])}),
    "below zero": lambda path: safetensors(path, {LAYER: tensor([-8], [-32, 0])}),
    "nested": lambda path: safetensors(path, b'{"a":' + DEEP + b"}"),
    "a header of a gigabyte": lambda path: safetensors(path, b"{}", 1 << 30),
    "a header of 2**63 bytes": lambda path: safetensors(path, b"{}", 1 << 63),
    "entries that are numbers": lambda path: safetensors(path, {LAYER: 3, "__metadata__": 4}),
    "metadata of numbers": lambda path: safetensors(path, {"__metadata__": {"a": 1}, LAYER: tensor([2], [0, 8])}),
    "empty": lambda path: safetensors(path, b"", tail=b""),
    "a pickle": lambda path: safetensors(path, pickle.dumps({"a": 1}), tail=b""),
}


@pytest.fixture(scope="module")
def ready(session: Session) -> Session:
    """A session that has drawn already, and whatever is imported for networks."""
    request = Request(prompt="a boat", width=64, height=64, steps=1, seed=1)
    session.run(request)
    for engine in ("spandrel", "realesrgan"):
        with contextlib.suppress(ZImageError):
            zk.stages.upscale(weights="nano", engine=engine).after(Image.new("RGB", (8, 8)), Context(request))
    return session


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 MB as 300 kB, in PyTorch's layout."""
    return zipped(tmp_path_factory.mktemp("bomb") / "bomb", bytes(300 << 20))


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_told_wherever_such_a_file_is_taken(lie: str, tmp_path: Path, ready: Session) -> None:
    file = LIES[lie](tmp_path / "file.safetensors")
    request = Request(prompt="a boat", width=64, height=64, steps=1, seed=1)
    with bounded():
        with pytest.raises((BadRequest, JobFailed)) as caught:
            ready.run(request.but(loras=[file]))
        assert "\n" not in str(caught.value)
        with pytest.raises(BadRequest):
            controlnet.configuration(file)
        with pytest.raises(BadRequest):
            assembled.add("mine", [file], like="nano")
        lora_info.lora_info(file)
        assert not weights.components_in(file)
    with bounded(seconds=4), pytest.raises(BadRequest):
        zk.stages.upscale(weights=str(file)).after(Image.new("RGB", (64, 64)), Context(request))


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".bin"])
@pytest.mark.parametrize("packed", [False, True])
def test_code_in_weights_never_runs(ending: str, packed: bool, tmp_path: Path, ready: Session) -> None:
    ran, file = tmp_path / "ran", tmp_path / f"weights{ending}"
    content = pickle.dumps({"params": Payload(ran)}, protocol=2)
    if packed:
        zipped(file, content)
    else:
        file.write_bytes(content)
    request = Request(prompt="a boat", width=64, height=64, steps=1, seed=1)
    for run in (
        lambda: ready.run(request.but(loras=[file])),
        lambda: assembled.add("mine", [file], like="nano"),
        lambda: controlnet.configuration(file),
        lambda: zk.stages.upscale(weights=str(file)).after(Image.new("RGB", (64, 64)), Context(request)),
        lambda: zk.stages.upscale(weights=str(file), engine="realesrgan").after(
            Image.new("RGB", (64, 64)), Context(request)
        ),
    ):
        with pytest.raises(ZImageError):
            run()
        assert not ran.exists(), "the file's code has run"


def test_a_folder_whose_weights_are_pickles_is_incomplete(copied_model: Path, tmp_path: Path, session: Session) -> None:
    for file in (copied_model / "transformer").glob("*.safetensors*"):
        file.unlink()
    ran = tmp_path / "ran"
    (copied_model / "transformer" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(ZImageError):
        session.run(Request(prompt="a boat", model=str(copied_model)))
    assert not ran.exists()


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize("engine", ["spandrel", "realesrgan"])
def test_a_network_that_unpacks_to_far_more_is_refused(
    ending: str, engine: str, tmp_path: Path, bomb: Path, ready: Session
) -> None:
    file = Path(shutil.copy(bomb, tmp_path / f"bomb{ending}"))
    stage = zk.stages.upscale(weights=str(file), engine=engine)
    with bounded(), pytest.raises(BadRequest):
        stage.after(Image.new("RGB", (64, 64)), Context(Request(prompt="a boat")))


FAR = {"four bytes": b"r" + struct.pack("<I", 1 << 26), "in letters": b"p%d\n" % (1 << 26)}
"""A pickle remembers something under a number; Python's reader, and PyTorch's, make a list of that length."""


@pytest.mark.parametrize("remembered", FAR.values(), ids=FAR)
@pytest.mark.parametrize("packed", ["zip", "legacy", "tar", "another number before"])
@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt"])
def test_a_network_that_numbers_its_parts_far_beyond_its_size_is_refused(
    ending: str, packed: str, remembered: bytes, tmp_path: Path, ready: Session
) -> None:
    file, evil = tmp_path / f"far{ending}", b"\x80\x02]" + remembered + b"."
    if packed == "zip":
        torch.save({}, tmp_path / "whole")
        with zipfile.ZipFile(tmp_path / "whole") as whole, zipfile.ZipFile(file, "w") as changed:
            for name in whole.namelist():
                changed.writestr(name, evil if name.endswith("data.pkl") else whole.read(name))
    elif packed == "tar":
        with tarfile.open(file, "w") as archive:
            for name in ("N.N.N.N.N.", "storages", "tensors", "pickle"):
                entry = tarfile.TarInfo(name)
                entry.size = len(evil)
                archive.addfile(entry, io.BytesIO(evil))
    else:
        if packed == "another number before":  # which one reader of pickles takes and another does not
            evil = b"\x80\x02I0x10\n0" + evil[2:]
        begin = [pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        file.write_bytes(b"".join([*begin, evil, pickle.dumps([], 2)]))
    stage = zk.stages.upscale(weights=str(file))
    with bounded(), pytest.raises(BadRequest):
        stage.after(Image.new("RGB", (64, 64)), Context(Request(prompt="a boat")))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, width: int = 8, height: int = 8, pixels: bytes = bytes(8 * 25)) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@cache
def folded() -> bytes:
    """300 MB as 300 kB."""
    packer, piece = zlib.compressobj(6), bytes(1 << 20)
    return b"".join([*(packer.compress(piece) for _ in range(300)), packer.flush()])


BOMBS: dict[str, Callable[[], bytes]] = {
    "iTXt": lambda: png(chunk(b"iTXt", b"workflow\0\1\0\0\0" + folded())),
    "zTXt": lambda: png(chunk(b"zTXt", b"prompt\0\0" + folded())),
    "ours": lambda: png(chunk(b"iTXt", b"zimage_kit\0\1\0\0\0" + folded())),
    "a grid's": lambda: png(chunk(b"iTXt", b"zimage_kit_grid\0\1\0\0\0" + folded())),
    "many texts": lambda: png(
        *[chunk(b"zTXt", b"prompt%d\0\0" % i + zlib.compress(bytes(1 << 20))) for i in range(100)]
    ),
    "a colour profile": lambda: png(chunk(b"iCCP", b"x\0\0" + folded())),
    "pixels": lambda: png(width=1 << 30, height=1 << 30),
    "pixels within the limit": lambda: png(width=13_000, height=13_000),
    "more pixels than its size": lambda: png(pixels=bytes(300 << 20)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_picture_that_unpacks_to_far_more_is_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(BOMBS[kind]())
    more = 600 if kind == "pixels within the limit" else 200  # of 170 million pixels each is three bytes
    with bounded(seconds=4, megabytes=more):
        with pytest.raises(NoRecipe) as caught:
            zk.open(file)
        assert "\n" not in str(caught.value)
    with bounded():
        scan.facts(file, scan.Stamp(file.stat().st_size, 0))
        with pytest.raises(ZImageError):
            Grid.open(file)


def packet(body: str) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:q="urn:zimage_kit">{body}</x:xmpmeta>'.encode()


@pytest.mark.parametrize(
    "body", ["<q:recipe>" * 90_000, "<q:recipe " * 90_000, "<exif:UserComment>" * 50_000, "<rdf:li>" * 100_000]
)
def test_a_packet_of_beginnings_without_an_end_takes_no_time(body: str, tmp_path: Path) -> None:
    file = tmp_path / "x.webp"
    Image.new("RGB", (8, 8)).save(file, xmp=packet("<exif:UserComment>" + body))
    with bounded(), pytest.raises(NoRecipe):
        zk.open(file)


def test_a_page_of_beginnings_without_an_end_takes_no_time(tmp_path: Path) -> None:
    file = tmp_path / "grid.html"
    file.write_text('<script type="application/json" id="zimage_kit_grid">' * 60_000)
    with bounded(), pytest.raises(NoRecipe):
        Grid.open(file)


def test_a_graph_whose_every_number_comes_from_the_next_node_takes_no_time(tmp_path: Path) -> None:
    def link(number: int) -> list[object]:
        return [str(number + 1), 0]

    graph = {str(i): {"class_type": "X", "inputs": {"steps": link(i), "seed": link(i)}} for i in range(5_000)}
    graph["0"] = {"class_type": "KSampler", "inputs": {"latent_image": link(0), "positive": link(0), "seed": link(0)}}
    file = tmp_path / "graph.png"
    file.write_bytes(png(chunk(b"tEXt", b"prompt\0" + json.dumps(graph).encode())))
    with bounded():
        assert zk.open(file).request.seed is None


def test_trigger_words_without_end_take_no_time(tmp_path: Path) -> None:
    tags = json.dumps({"a": dict.fromkeys(range(300_000), 2)})
    words = {"ss_trigger_words": "ab," * 3_000_000, "ss_tag_frequency": tags}
    with bounded():
        found = lora_info.lora_info(safetensors(tmp_path / "x.safetensors", {"__metadata__": words}))
    assert found.triggers == ("ab",) and len(found.tags) == 12
