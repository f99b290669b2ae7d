"""Identity: what a picture's pixels depend on, as an ordered mapping of names to digests. Defined only here.

The session's cache of pictures, a grid's cells, the trace and `verify` all use it: pictures with the same identity have
the same pixels; if identities differ, the entries that differ say why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from types import CodeType
from typing import Any, Protocol

from .request import Request, StageData

FIELDS = ("prompt", "negative_prompt", "width", "height", "steps", "guidance", "seed", "source")
"""A request's fields that count by their value. The model, LoRAs and stages count by the content of their files."""

Identity = dict[str, str]


class StageLike(Protocol):
    """The part of a stage that an identity needs."""

    def data(self) -> StageData:
        """Its kind and fields."""

    def depends(self, request: Request) -> Mapping[str, str]:
        """What its outcome depends on beside the fields: name -> digest; see `Stage.depends`."""


def identity(
    request: Request,
    stages: Sequence[StageLike],
    *,
    model: str,
    loras: Sequence[str] = (),
    code: Sequence[str] = (),
    circumstances: Mapping[str, str] | None = None,
) -> Identity:
    """What a resolved request's picture depends on.

    `model` is the fingerprint of the model's files, `loras` the digest of each LoRA's file, `code` that of the code of
    each of the `stages`, `circumstances` properties of the process that draws (device, dtype, speed, versions):
    they change single pixels by rounding, so a grid's cells leave them out. A LoRA counts by its content and weight,
    not by its name; so does a file that a stage's field names.
    """
    found = {name: _short(getattr(request, name)) for name in FIELDS if getattr(request, name) not in (None, "")}
    found["model"] = f"{_name(request.model or '')} {model}".strip()
    for number, (lora, digest) in enumerate(zip(request.loras, loras, strict=True), 1):
        found[f"lora {number}"] = f"{digest} at {lora.weight:g}"
    for number, stage in enumerate(stages, 1):
        found |= stage_identity(number, stage, request, code[number - 1] if code else "")
    return found | dict(circumstances or {})


def stage_identity(number: int, stage: StageLike, request: Request, code: str = "") -> Identity:
    """The entries of the recipe's stage `number` (from 1): its fields, version and code, and what it depends on."""
    data, depends = stage.data(), dict(stage.depends(request))
    name = f"stage {number} {data.kind}"
    fields = {field: value for field, value in data.fields().items() if field not in depends}
    found = {name: digest(fields), f"{name} version": str(getattr(stage, "version", 1))}
    if code:
        found[f"{name} code"] = code
    return found | {f"{name} {what}": value for what, value in depends.items()}


def key(of: Mapping[str, str]) -> str:
    """The digest of an identity, 40 hexadecimal digits."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:40]


def digest(value: Any) -> str:
    """The digest of a JSON value, 12 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def code_digest(cls: type) -> str:
    """The digest of a class's own functions, 12 hexadecimal digits. It changes when a cell is edited and run again."""

    def parts(code: CodeType) -> list[Any]:
        constants = [parts(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
        return [code.co_code.hex(), list(code.co_names), constants]

    functions = {name: getattr(value, "__func__", value) for name, value in vars(cls).items()}
    codes = {name: function.__code__ for name, function in functions.items() if hasattr(function, "__code__")}
    return digest({name: parts(code) for name, code in codes.items()})


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """The differences between two identities, a sentence for each entry."""
    return tuple(
        f"{name} was {then.get(name) or 'not recorded'}, is {now.get(name) or 'absent'}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name) != now.get(name)
    )


def library_versions() -> dict[str, str]:
    """Installed versions of the packages that pixels depend on, read from metadata (nothing is imported)."""
    return {name: found for name in ("zimage-kit", "torch", "diffusers", "transformers") if (found := _version(name))}


@lru_cache
def _version(name: str) -> str:
    """Empty if not installed (such as zimage_kit in a checkout: its version is in the Software chunk)."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _name(model: str) -> str:
    """A model's name; for a folder a digest of its path, to keep the path private.

    It counts beside the files' fingerprint, because that of large files covers only samples.
    """
    return digest(model) if "/" in model or "\\" in model else model


def _short(value: Any) -> str:
    """A short value as it is, a longer one by its start and digest."""
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}… ({digest(text)})"
