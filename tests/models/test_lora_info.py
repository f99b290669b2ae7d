"""What LoRA files say of themselves, as trainers and download tools write it; rubbish says nothing and never raises."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from zimage_kit.models.lora_info import LoraInfo, lora_info

FREQUENCY = {"10_ink": {"ink wash": 20, "mountain": 7, "a boat": 1}, "2_more": {"mountain": 5, "x" * 99: 30}}
KOHYA = {
    "ss_output_name": "ink", "ss_network_dim": "16", "ss_network_alpha": "8.0", "ss_base_model_version": "zimage",
    "ss_tag_frequency": json.dumps(FREQUENCY), "modelspec.title": "Ink wash", "modelspec.author": "Li",
    "modelspec.trigger_phrase": "inkwash, Ink Style", "ss_training_comment": "None",
}  # fmt: skip
CIVITAI = {
    "name": "v1.0", "trainedWords": ["papercut style", "red, Red"], "baseModel": "ZImageTurbo",
    "description": "<p>Cut <b>paper</b></p>", "model": {"name": "Papercut"}, "images": [{"meta": {"prompt": "x"}}],
}  # fmt: skip


def write(path: Path, metadata: Any) -> Path:
    """A file without tensors."""
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def test_what_kohya_writes(tmp_path: Path) -> None:
    info = lora_info(write(tmp_path / "a.safetensors", KOHYA))
    assert info.triggers == ("inkwash", "Ink Style") and info.tags == ("ink wash", "mountain")
    assert (info.title, info.author, info.base, info.rank, info.alpha) == ("Ink wash", "Li", "zimage", 16, 8)


def test_what_ai_toolkit_writes(tmp_path: Path) -> None:
    software = json.dumps({"name": "ai-toolkit", "repo": "https://…", "version": "0.5.7"})
    metadata = {"name": "ink", "software": software, "training_info": '{"step": 2000}', "trigger_word": "p3r5on"}
    info = lora_info(write(tmp_path / "a.safetensors", metadata))
    assert (info.title, info.software, info.triggers) == ("ink", "ai-toolkit 0.5.7", ("p3r5on",))


@pytest.mark.parametrize(
    ("ending", "content", "expected"),
    [
        (".json", {"activation text": "ink, wash", "description": "Two\nlines"}, (("ink", "wash"), "Two lines")),
        (".civitai.info", CIVITAI, (("papercut style", "red"), "Cut paper")),
        (".metadata.json", {"civitai": CIVITAI}, (("papercut style", "red"), "Cut paper")),
        (".cm-info.json", {"TrainedWords": ["剪纸，红色"]}, (("剪纸", "红色"), "")),
        (".txt", None, ((), "A description")),
    ],
)
def test_files_beside_it(tmp_path: Path, ending: str, content: Any, expected: Any) -> None:
    file = write(tmp_path / "a.v1.safetensors", {})
    file.with_name("a.v1" + ending).write_text("A description\n" if content is None else json.dumps(content), "utf-8")
    info = lora_info(file)
    assert (info.triggers, info.description) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x10", b"\xff" * 64, (1 << 60).to_bytes(8, "little") + b"{}", b"[" * 200_000,
        b"\x02\0\0\0\0\0\0\0[]", b"\x16\0\0\0\0\0\0\0" + b'{"__metadata__": "no"}',
    ],
)  # fmt: skip
def test_rubbish_says_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    for ending in (".json", ".civitai.info", ".txt"):
        file.with_suffix(ending).write_bytes(b"\0" if ending == ".txt" else content)
    assert lora_info(file) == LoraInfo() == lora_info(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "value",
    [None, 3, True, [], {}, [[["a"]]], {"a": {"a": {"a": 1}}}, "{", "\ud800", "nan", "-1", 10**999, float("nan")],
)
def test_values_of_any_type_raise_nothing(tmp_path: Path, value: Any) -> None:
    keys = (*KOHYA, *CIVITAI, "software", "activation text")
    info = lora_info(write(tmp_path / "a.safetensors", dict.fromkeys(keys, value)))
    assert info.rank is None or info.rank == 3
    json.dumps([info.title, info.triggers]).encode()


def test_a_pipe_beside_it_is_not_waited_for(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", {})
    os.mkfifo(file.with_suffix(".json"))
    assert lora_info(file) == LoraInfo()


def test_everything_is_cut_to_size(tmp_path: Path) -> None:
    many = ",".join(f"word{i}" for i in range(9999))
    metadata = {"trigger_words": many, "modelspec.description": "x" * 99_999, "modelspec.title": "a\x1b[31m\u202eb"}
    info = lora_info(write(tmp_path / "a.safetensors", metadata))
    assert len(info.triggers) == 12 and len(info.description) == 400 and info.title == "a [31m b"
