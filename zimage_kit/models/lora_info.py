"""What a LoRA's file says of itself: trigger words, what it was trained with. Reads headers only, loads no weights.

Trainers write it into the header of the .safetensors file, download tools into files beside it. Nobody checks what
stands there, so everything is cut to size, and what cannot be read is left out.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..text.line_breaks import shortened

_MOST_BYTES = 32_000_000
"""Of a header or a file beside it; larger ones are not read."""
_MOST_WORDS, _WORD, _LINE = 12, 60, 400
"""Trigger words that are kept, letters of one, letters of a text."""
_MOST_TAGS = 1000
"""Of the captions, that are looked at."""
_BESIDE = (".json", ".civitai.info", ".metadata.json", ".cm-info.json")
"""Endings of files beside a LoRA, of A1111, its Civitai Helper, ComfyUI's LoRA Manager and Stability Matrix."""
_TRIGGERS = (
    "activation text", "activation_text", "trainedwords", "trained_words", "triggerwords", "trigger_words",
    "trigger_word", "trigger words", "trigger word", "trigger_phrase", "trigger phrase", "modelspec.trigger_phrase",
    "ss_trigger_words", "instance_prompt",
)  # fmt: skip
_TITLES = ("modelspec.title", "title", "model_name", "ss_output_name", "name")
_AUTHORS = ("modelspec.author", "author", "creator")
_TEXTS = ("modelspec.description", "description", "notes")
_BASES = ("ss_base_model_version", "basemodel", "base_model", "modelspec.architecture", "sd version")
_SOFTWARE = ("software", "ss_training_software", "trainer")
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class LoraInfo:
    """What is said of a LoRA; "" and None where nothing is.

    `triggers`: words that the prompt should have; `tags`: the most frequent of the captions that it was trained with.
    """

    triggers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    title: str = ""
    author: str = ""
    description: str = ""
    base: str = ""
    software: str = ""
    rank: float | None = None
    alpha: float | None = None


def lora_info(file: Path) -> LoraInfo:
    """What a .safetensors file and those beside it say. Never raises: what cannot be read says nothing."""
    header = _header(file)
    beside = [found for ending in _BESIDE if (found := _json(_content(file.with_name(file.stem + ending))))]
    sources = [*beside, header]
    said = [each for source in sources for each in _entries(source)]

    def first(keys: Iterable[str]) -> str:
        found = (_line(value) for key in keys for name, value in said if name == key)
        return next(filter(None, found), "")

    def number(key: str) -> float | None:
        try:
            found = float(first([key]))
        except ValueError:
            return None
        return found if 0 < found < math.inf else None

    triggers = _words(value for key in _TRIGGERS for name, value in said if name == key)
    tags = [tag for tag in _frequent(header.get("ss_tag_frequency")) if tag not in triggers]
    text = _content(file.with_suffix(".txt"))[:4000].decode("utf-8", "ignore")  # A1111's description
    return LoraInfo(
        triggers,
        tuple(tags[:_MOST_WORDS]),
        first(_TITLES),
        first(_AUTHORS),
        first(_TEXTS) or _line(text),
        first(_BASES),
        first(_SOFTWARE),
        number("ss_network_dim"),
        number("ss_network_alpha"),
    )


def _header(file: Path) -> dict[str, Any]:
    """The metadata in a .safetensors file: its first eight bytes are the length of the JSON that follows."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            content = opened.read(length) if length <= _MOST_BYTES else b""
    except OSError:
        return {}
    found = _json(content).get("__metadata__")
    return found if isinstance(found, dict) else {}


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes() if file.is_file() and file.stat().st_size <= _MOST_BYTES else b""
    except (OSError, ValueError):
        return b""


def _json(content: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _entries(source: Mapping[str, Any], depth: int = 2) -> Iterator[tuple[str, Any]]:
    """Names in small letters, and values; of what a value holds too, which may be JSON in a string."""
    for name, value in source.items():
        yield str(name).lower(), value
        inner = _json(value) if isinstance(value, str) and value[:1] == "{" else value
        if isinstance(inner, dict) and depth and not name.startswith("ss_"):
            if {"name", "version"} <= {*inner}:  # ai-toolkit's software
                yield str(name).lower(), f"{inner['name']} {inner['version']}"
            else:
                yield from _entries(inner, depth - 1)


def _line(value: Any) -> str:
    """A text in one line, without HTML, which Civitai's descriptions are; "" for other values."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if abs(value) < 1e100 else ""
    if not isinstance(value, str) or value[:1] == "{":
        return ""
    text = "".join(each if each.isprintable() else " " for each in html.unescape(_TAG.sub(" ", value[: 8 * _LINE])))
    text = " ".join(text.split())
    return "" if text in ("None", "null") else shortened(text, _LINE)


def _words(values: Iterable[Any]) -> tuple[str, ...]:
    """Texts, or lists of texts, cut at commas; each word once."""
    found: dict[str, str] = {}
    for value in values:
        for text in value[:_MOST_WORDS] if isinstance(value, list) else [value]:
            if len(found) >= _MOST_WORDS:
                return tuple(found.values())[:_MOST_WORDS]
            for word in re.split(r"[,，、;；\n]", text[: 8 * _LINE]) if isinstance(text, str) else ():
                if (line := _line(word)) and len(line) <= _WORD:
                    found.setdefault(line.casefold(), line)
    return tuple(found.values())[:_MOST_WORDS]


def _frequent(value: Any) -> list[str]:
    """Kohya's {folder: {tag: count}}: tags, the most frequent first; those of a single caption are not."""
    counts: Counter[str] = Counter()
    folders = _json(value) if isinstance(value, str) else value
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int):
                counts[tag] += count
    lines: Counter[str] = Counter()
    for tag, count in counts.most_common(_MOST_TAGS):  # a file may have millions
        if (line := _line(tag)) and len(line) <= _WORD:
            lines[line] += count
    return [tag for tag, count in lines.most_common(2 * _MOST_WORDS) if count > 1]
