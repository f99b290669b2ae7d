"""Request: everything that determines a picture, frozen, to and from JSON. Resolved (no field None) it is the recipe.

Stages are kept as plain data, so that a recipe made with an extension that is not installed can still be read.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, field_validator

from ..errors import BadRequest, closest
from ..text.line_breaks import shortened
from ..text.tables import facts

SIDE_MULTIPLE = 16
"""Pixels. The VAE shrinks by 8 and the transformer reads 2x2 patches, so both sides are multiples of 16."""

LARGEST_SEED = 2**53 - 1
"""JSON readers that use doubles (a browser) represent every whole number up to this one exactly."""


class StageData(BaseModel):
    """One stage of a recipe as data: `kind` and the stage's fields as JSON values (read them as attributes)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    def fields(self) -> dict[str, JsonValue]:
        """The stage's own fields, without `kind`."""
        return dict(self.model_extra or {})


class Lora(BaseModel):
    """A LoRA for the transformer. `weight` 0 is the base model exactly, 1 what its author trained.

    In a request it may be just a name or path, or ("name", weight).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="a name in the LoRA folder, a .safetensors file, or a folder that holds one")
    weight: float = Field(1.0, ge=-4.0, le=4.0, allow_inf_nan=False, description="strength")

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise explain(error, type(self).model_fields, owner="lora") from None


def _stage_data(value: Any) -> Any:
    """Convert a Stage object, StageData or a mapping to a mapping of JSON values."""
    if isinstance(value, StageData):
        return value
    if isinstance(value, BaseModel) and isinstance(getattr(value, "kind", None), str):
        return {"kind": value.kind, **value.model_dump(mode="json")}  # type: ignore[attr-defined]
    if not isinstance(value, Mapping):
        raise ValueError('a stage, zk.stages.<kind>(…), or its data, {"kind": …}')
    return dict(value)


def _lora(value: Any) -> Any:
    """Convert a name or path, or (name or path, weight), to a Lora's fields."""
    if isinstance(value, str | Path):
        return {"path": value}
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError('a name, or ("name", weight)')
        return {"path": value[0], "weight": value[1]}
    return value


def _check_whole(text: str) -> None:
    broken = next((char for char in text if "\ud800" <= char <= "\udfff"), None)
    if broken is not None and "\udc80" <= broken <= "\udcff":  # a byte of a command line or a file's name
        encoding = sys.getfilesystemencoding()
        raise ValueError(f"text in this system's encoding, {encoding}|Set LC_ALL=C.UTF-8, or PYTHONUTF8=1.")
    if broken is not None:
        raise ValueError(f"whole characters|Remove {broken!a}, half of a surrogate pair.")


OPEN = ("model", "width", "height", "steps", "guidance", "seed")
"""The fields of a request that may be left open."""
SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
"""Pixels; a model may draw less."""

Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE, description=f"pixels, a multiple of {SIDE_MULTIPLE}")]


class Request(BaseModel):
    """What to make. None means the model's own default; `resolved` is true once no field is open.

    Raises BadRequest, in one line, for unknown fields, values out of range and sides that are not multiples of 16.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)

    version: Literal[1] = Field(1, description="version of this recipe format")
    prompt: str = Field("", description="what to draw, English or Chinese")
    negative_prompt: str = Field("", description="what to avoid; needs guidance > 0 and a model that supports it")
    model: str | None = Field(None, min_length=1, description="nano, turbo, base, or a folder in diffusers' layout")
    width: Side | None = None
    height: Side | None = None
    steps: int | None = Field(None, ge=1, le=200, description="evaluations of the transformer")
    guidance: float | None = Field(None, ge=0.0, le=30.0, allow_inf_nan=False, description="0 switches it off")
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED, description="of the noise; same seed, same picture")
    loras: tuple[Annotated[Lora, BeforeValidator(_lora)], ...] = ()
    stages: tuple[Annotated[StageData, BeforeValidator(_stage_data)], ...] = ()
    source: str | None = Field(None, description="SHA-256 of the picture that the stages were applied to, if not ours")
    template: str = Field(
        "", description="what the prompt was resolved from, see recipe/templates.py; changes no pixel"
    )
    negative_template: str = Field("", description="the same of the negative prompt")
    template_seed: int | None = Field(
        None, ge=0, le=LARGEST_SEED, description="of a template's choice; by default the picture's"
    )

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise explain(error, type(self).model_fields) from None

    @field_validator("prompt", "negative_prompt", "model", "source", "template", "negative_template")
    @classmethod
    def _whole_characters(cls, text: str | None) -> str | None:
        """Refuse half of a surrogate pair: it is not a character, and no file or tokenizer accepts it."""
        _check_whole(text or "")
        return text

    @field_validator("stages")
    @classmethod
    def _whole_characters_in_stages(cls, stages: tuple[StageData, ...]) -> tuple[StageData, ...]:
        for stage in stages:
            _check_whole(json.dumps(stage.fields(), ensure_ascii=False))
        return stages

    @field_validator("width", "height")
    @classmethod
    def _multiple(cls, side: int | None) -> int | None:
        if side is not None and side % SIDE_MULTIPLE:
            below = side - side % SIDE_MULTIPLE
            raise ValueError(f"a multiple of {SIDE_MULTIPLE}|Use {below} or {below + SIDE_MULTIPLE}.")
        return side

    @classmethod
    def from_json(cls, text: str | bytes) -> Request:
        """Read what `to_json` wrote. Raises BadRequest for anything else."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the recipe is not JSON ({error})", mend="Pass what request.to_json() wrote.") from None
        if not isinstance(data, dict):
            raise BadRequest(f"the recipe is a JSON {type(data).__name__}", expected="an object with a prompt")
        return cls(**data)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, non-ASCII letters as they are. Equal requests give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def resolved(self) -> bool:
        """True once model, sides, steps, guidance and seed are set: then this is a recipe."""
        return all(getattr(self, name) is not None for name in OPEN)

    def _repr_html_(self) -> str:
        """In a notebook: a table of the fields that are set, and of the stages' fields that are not empty."""
        size = f"{self.width or 'native'} x {self.height or 'native'}" if self.width or self.height else None
        loras = ", ".join(f"{lora.path} ({lora.weight:g})" for lora in self.loras)
        stages = "\n".join(f"{stage.kind} {_fields_line(stage)}".strip() for stage in self.stages)
        names = (
            "prompt", "template", "negative_prompt", "negative_template", "model", "size", "steps", "guidance", "seed",
            "template_seed", "loras", "stages", "source",
        )  # fmt: skip
        values = {**dict(self), "size": size, "loras": loras, "stages": stages}
        return facts((name.replace("_", " "), values[name]) for name in names)

    def but(self, **changes: Any) -> Request:
        """Return a new request with some fields changed, validated like any other.

        Another prompt was not resolved from the template of this one, which is forgotten.
        """
        for name, record in (("prompt", "template"), ("negative_prompt", "negative_template")):
            if name in changes and changes[name] != getattr(self, name):
                changes = {record: "", **changes}
        return Request(**{**dict(self), **changes})

    def then(self, *stages: Any) -> Request:
        """Return a new request with these stages added at the end."""
        return self.but(stages=(*self.stages, *stages))

    def opened(self, fields: Iterable[str]) -> Request:
        """Return a new request in which these fields are open; a stage's, such as stages.0.body, have defaults."""
        open_fields = set(fields)
        stages = []
        for number, stage in enumerate(self.stages):
            kept = {
                name: value for name, value in stage.fields().items() if f"stages.{number}.{name}" not in open_fields
            }
            stages.append(StageData(kind=stage.kind, **kept))
        return self.but(**{name: None for name in OPEN if name in open_fields}, stages=stages)


def _fields_line(stage: StageData) -> str:
    """A stage's fields that are not empty, in one line."""
    parts = [f"{name}={_short(value)}" for name, value in stage.fields().items() if value not in (None, "", [], False)]
    return ", ".join(parts)


def random_seed() -> int:
    """A random seed, 0 to 2**32 - 1 (a range that other tools accept too)."""
    return secrets.randbelow(2**32)


def parse_size(text: str) -> tuple[int, int]:
    """Parse `"1024x768"` (also ×, * or a comma) to (width, height) in pixels. Raises BadRequest."""
    parts = text.lower().replace("×", "x").replace("*", "x").replace(",", "x").split("x")
    try:
        width, height = (int(part) for part in parts)
    except ValueError:
        raise BadRequest(f"size={text!r}", expected="WIDTHxHEIGHT in pixels", mend="For example 1024x768.") from None
    return width, height


def explain(error: ValidationError, fields: Iterable[str] | Mapping[str, Any], owner: str = "") -> BadRequest:
    """Turn Pydantic's report into one BadRequest: the first problem, what to do, and how many more there are.

    `owner` goes before the field's name ("caption" gives "caption.size=0.9"); `fields` are the existing fields. A
    validator's ValueError may hold "expected|what to do".
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    name = ".".join(str(part) for part in ((owner,) if owner else ()) + first["loc"])
    more = f" ({len(problems) - 1} more like this.)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return BadRequest(f"unknown field {name}", mend=closest(str(first["loc"][-1]), fields) + more, field=name)
    if first["type"] == "missing":
        return BadRequest(f"{name or 'a value'} is missing", mend=f"Give it a value.{more}", field=name)
    value = f"{name}={_short(first['input'])}" if name else _short(first["input"])
    if first["type"] == "value_error":
        expected, _, mend = str(first["ctx"]["error"]).partition("|")
    else:
        expected, mend = _range_of(name, fields, first["loc"]) or _plain(first["msg"]), ""
    return BadRequest(value, expected=expected, mend=(mend + more).strip(), field=name)


def _short(value: Any) -> str:
    text = repr(value)
    return shortened(text, 58)


def _plain(message: str) -> str:
    """`Input should be a valid integer` to `a valid integer`."""
    if message.startswith("Input is not a valid path"):
        return "a path"
    for opening in ("Input should be ", "Value error, ", "Value should be "):
        message = message.removeprefix(opening)
    return message[:1].lower() + message[1:]


def _range_of(name: str, fields: Iterable[str] | Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    """`1 to 200` from the field's own limits, where it has both."""
    field = fields.get(str(loc[0])) if isinstance(fields, Mapping) and len(loc) == 1 else None
    metadata = list(getattr(field, "metadata", ()))
    for argument in getattr(getattr(field, "annotation", None), "__args__", ()):  # Annotated[...] | None
        for extra in getattr(argument, "__metadata__", ()):
            metadata.extend(getattr(extra, "metadata", ()))
    low = next((m.ge for m in metadata if hasattr(m, "ge")), None)
    high = next((m.le for m in metadata if hasattr(m, "le")), None)
    return f"{_number(low)} to {_number(high)}" if low is not None and high is not None else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
