"""Pictures and recipes from anywhere: cut off, huge, deep or half a character; each is one of our errors in a line."""

from __future__ import annotations

import json
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import zimage_kit as zk
from zimage_kit import Artifact, Request, files
from zimage_kit.errors import BadRequest, NoRecipe

DEEP = "[" * 100_000 + "]" * 100_000


def png(width: int, height: int) -> bytes:
    """A PNG that claims to be so large and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("content", [b"", b"notes", png(60000, 60000), png(20000, 10000), png(64, 64)[:40]])
def test_what_is_no_picture_is_told_in_a_line_before_anything_is_allocated(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(content)
    begin = time.monotonic()
    for read in (lambda: zk.open(file), lambda: zk.open(content), lambda: zk.connect("inline").apply(file)):
        with pytest.raises(NoRecipe) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert time.monotonic() - begin < 10


def test_a_folder_and_a_file_that_is_not_there_are_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.png"):
        with pytest.raises(NoRecipe):
            zk.open(path)


def test_a_large_picture_of_ours_opens_again(tmp_path: Path, artifact: Artifact) -> None:
    large = Artifact(Image.new("RGB", (9600, 9600)), artifact.request, artifact.trace)  # over Pillow's own limit
    assert zk.open(large.save(tmp_path / "large.png")).image.size == (9600, 9600)


@pytest.mark.parametrize("recipe", [DEEP, "{}", "[]", '{"request": 3, "trace": {}}', json.dumps({"request": {}})])
def test_a_recipe_that_cannot_be_read_is_told(tmp_path: Path, recipe: str) -> None:
    info = PngInfo()
    info.add_text("zimage_kit", recipe)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(NoRecipe, match="cannot read"):
        zk.open(tmp_path / "x.png")
    if recipe is DEEP:
        with pytest.raises(BadRequest, match="not JSON"):
            Request.from_json(DEEP)


def test_half_a_character_is_refused_where_it_comes_in() -> None:
    for fields in ({"prompt": "a \ud83c cat"}, {"prompt": "x", "negative_prompt": "\udf88"}):
        with pytest.raises(BadRequest, match="half of a surrogate pair") as caught:
            Request(**fields)
        str(caught.value).encode()


def test_another_users_stale_file_stops_no_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / ".zimage-0123456789abcdef.part"
    left.write_bytes(b"half")

    def refused(self: Path, missing_ok: bool = False) -> None:
        if self == left:
            raise PermissionError(1, "Operation not permitted")
        unlink(self, missing_ok=missing_ok)

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.setattr(files, "_STALE_SECONDS", -1.0)
    files.write_whole(tmp_path / "x.png", b"whole")
    assert (tmp_path / "x.png").read_bytes() == b"whole"


def test_half_a_surrogate_pair_in_a_stage_is_refused_too() -> None:
    for fields in ({"text": "a\ud83d"}, {"lines": ["a", {"b": "\ude00"}]}):
        with pytest.raises(BadRequest, match="half of a surrogate pair"):
            Request(prompt="x").then({"kind": "text_overlay", **fields})
