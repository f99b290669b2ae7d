"""Axes: what varies in a grid. Any field of a request or of a stage, or a `{slot}` in its texts, by name.

Values come as Python values or as text ("1-9(+2)", one value a line) and leave as JSON values, in one normal form each,
so that a grid can be written down and read again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, time
from decimal import Decimal
from numbers import Number
from pathlib import Path, PurePath
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, TypeAdapter

from ..errors import BadRequest, closest
from ..recipe.request import Lora, Request, StageData, parse_size
from ..stages.extensions import stage_class

Point = Mapping[str, JsonValue]
"""One place on a dimension of a grid: axis names with the values that hold there."""

LARGEST_AXIS = 10_000
_TEXTS = ("prompt", "negative_prompt")
_NUMBERS: dict[str, type] = {"seed": int, "steps": int, "width": int, "height": int, "guidance": float}
_FIELDS = (*_TEXTS, "model", *_NUMBERS)
_OWN = ("size", "lora")
_ELSEWHERE = {
    "num_inference_steps": "steps", "inference_steps": "steps", "sampling_steps": "steps", "cfg": "guidance",
    "cfg_scale": "guidance", "guidance_scale": "guidance", "negative": "negative_prompt", "checkpoint": "model",
    "resolution": "size", "loras": "lora", "sampler": "", "sampler_name": "", "scheduler": "", "sampling_method": "",
}  # fmt: skip
"""What fields are called in other programs, and here; empty: there is no such thing."""
_SLOT = re.compile(r"\{\{|\}\}|\{(\w[\w -]*)\}")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*([+-]\s*(?:\d+\.?\d*|\.\d+))\s*\)|\[\s*(\d+)\s*\])?")


def slots(request: Request) -> frozenset[str]:
    """The names in braces in the request's prompts."""
    return _slots_of(request.prompt) | _slots_of(request.negative_prompt)


def _slots_of(text: str) -> frozenset[str]:
    return frozenset(match[1] for match in _SLOT.finditer(text) if match[1])


def canonical(name: str, request: Request, slot_names: frozenset[str]) -> str:
    """The one name of an axis: "pose.scale" is "stages.pose.scale", "lora weight" is "lora.weight".

    Raises BadRequest for a name that is neither a field nor a slot of the request.
    """
    name = name.strip()
    if name in slot_names or name in _FIELDS or name in _OWN:
        return name
    if name.replace("_", " ") in ("lora weight", "loras weight") or name in ("lora.weight", "loras.weight"):
        return "lora.weight"
    head, dot, tail = name.partition(".")
    if head in ("lora", "loras") and dot and tail:
        return f"lora.{tail.removesuffix('.weight')}.weight"
    if head == "stages" and tail:
        return _stage_axis(tail, request)
    if dot and any(stage.kind == head for stage in request.stages):
        return _stage_axis(name, request)
    known = [*slot_names, *_FIELDS, *_OWN, *(["lora.weight"] if request.loras else []), *_stage_fields(request)]
    mend = closest(name, known)
    if name.lower() in _ELSEWHERE:
        here = _ELSEWHERE[name.lower()]
        mend = f"It is called {here} here." if here else "There is none to choose: every model comes with its own."
    elif name.isidentifier():
        near = f"{mend} Else write" if mend.startswith("Did") else "Write"
        mend = f"{near} {{{name}}} in the prompt, where its values belong."
    raise BadRequest(
        f"axis {name!r}",
        expected="a field of the request, one of a stage (stages.KIND.FIELD) or a {slot} in the prompt",
        mend=mend,
        axis=name,
    )


def _stage_axis(tail: str, request: Request) -> str:
    """`stages.kind`, `stages.kind.field` or `stages.kind.2.field`, checked against the request's stages."""
    kind, _, rest = tail.partition(".")
    number, _, field = rest.partition(".")
    if not number.isdigit():
        number, field = "1", rest
    there = sum(stage.kind == kind for stage in request.stages)
    if not 1 <= int(number) <= there:
        has = ", ".join(stage.kind for stage in request.stages) or "none"
        raise BadRequest(
            f"axis stages.{tail}: the request has {f'only {there}' if there else 'no'} {kind} stage",
            expected=f"one of its stages ({has})",
            mend=f"Give the grid a request with it: request.then(zk.stages.{kind}(…)).",
            axis=f"stages.{tail}",
        )
    cls = stage_class(kind)
    if field and cls is not None and field not in cls.model_fields:
        raise BadRequest(f"axis stages.{tail}", expected=f"a field of {kind}", mend=closest(field, cls.model_fields))
    return ".".join(part for part in ("stages", kind, number if there > 1 else "", field) if part)


def _stage_fields(request: Request) -> list[str]:
    names = []
    for stage in request.stages:
        cls = stage_class(stage.kind)
        names += [f"stages.{stage.kind}.{field}" for field in (cls.model_fields if cls else stage.fields())]
    return names


def values_of(name: str, given: Any, slot: bool = False) -> list[JsonValue]:
    """The values of an axis (by its canonical name) in their normal form, those of a slot as text.

    Text is read as `parse_values` says. Raises BadRequest when there are none, too many, or one that cannot be read.
    """
    if isinstance(given, str):
        found: list[Any] = parse_values(name, given, slot)
    elif hasattr(given, "tolist"):  # an array, a column of a table; or a number of numpy's
        listed = given.tolist()
        found = listed if isinstance(listed, list) else [listed]
    elif not slot and _is_one(name, given):
        found = [given]
    elif isinstance(given, Iterable) and not isinstance(given, Mapping | bytes | BaseModel):
        found = list(given)
    else:
        found = [given]
    if not found:
        raise BadRequest(f"axis {name} has no values", mend="Give it one at least.", axis=name)
    if len(found) > LARGEST_AXIS:
        raise BadRequest(f"axis {name} has {len(found)} values", expected=f"at most {LARGEST_AXIS}", axis=name)
    return [_slot_text(name, value) if slot else _normal(name, value) for value in found]


def is_one_value(name: str, given: Any, values: Sequence[JsonValue]) -> bool:
    """Whether a value was given as such, and not as a list of one."""
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping | BaseModel)
    return len(values) == 1 and (not several or _is_one(name, given) or getattr(given, "ndim", 1) == 0)


def _is_one(name: str, value: Any) -> bool:
    """Whether a tuple is one value: a size, or a LoRA with its weight."""
    pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int | float)
    return pair and (name == "lora" or (name == "size" and isinstance(value[0], int)))


def _slot_text(name: str, value: Any) -> str:
    """A slot's value; None (an empty cell of a table) is nothing at all, as there is none in the base."""
    if hasattr(value, "item") and not isinstance(value, str):  # numpy's own
        value = value.item()
    if not isinstance(value, str | Number | PurePath | date | time | None):
        raise BadRequest(f"axis {name}: {short(value)}", expected="a text or a number", axis=name)
    return value if isinstance(value, str) else "" if value is None else _plain(value)


def number_type(name: str) -> type | None:
    """Int or float for an axis of numbers, else None."""
    if (name.startswith("lora.") and name.endswith(".weight")) or name == "lora.weight":
        return float
    field = _field_type(name)
    return field if field in (int, float) else _NUMBERS.get(name)


def _stage_field(name: str) -> str:
    """The field of `stages.kind.field` or `stages.kind.2.field`; empty for an axis that is the stage itself."""
    parts = [part for part in name.split(".")[2:] if not part.isdigit()]
    return parts[0] if parts else ""


def _field_type(name: str) -> type | None:
    """int, float, str or bool of a stage's field; None for anything else, words to choose from too, and other axes."""
    if not name.startswith("stages.") or not _stage_field(name):
        return None
    cls = stage_class(name.split(".")[1])
    field = cls.model_fields.get(_stage_field(name)) if cls else None
    found = set(_types(field.annotation)) if field else set()
    return next((kind for kind in (bool, int, float, str) if kind in found), None)


def _types(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, and the types of numbers to choose from."""
    if get_origin(annotation) is Literal:
        yield from {type(value) for value in get_args(annotation)} - {str}
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for each in get_args(annotation):
            yield from _types(each)
    else:
        yield annotation


def parse_values(name: str, text: str, slot: bool = False) -> list[str]:
    """One value a line; in one line `a; b`, and where a value has no commas of its own (not prompts) `a, b` as well.

    Ranges: `1-9` (for axes of numbers), `1-9(+2)`, `0.2-1(+0.2)`, `9-1(-4)`, and `0-1[5]`, five from 0 to 1. `@FILE`:
    the lines of a file.
    """
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        try:
            text = path.read_text("utf-8-sig") + "\n"
        except UnicodeDecodeError:
            raise not_utf8(f"axis {name}: {path}") from None
        except (OSError, ValueError) as error:
            raise BadRequest(f"axis {name}: {path} cannot be read ({error})", axis=name) from None
    sentences = not slot and (name in _TEXTS or _field_type(name) is str)
    sentences |= name.startswith("stages.") and text.lstrip()[:1] in ("[", "{")  # JSON
    if not slot and number_type(name) is not None:  # no number has any of these
        text = re.sub("[,，；\n]", ";", text)
    separator = "\n" if "\n" in text else ";" if ";" in text or "；" in text else None if sentences else ","
    text = text.replace("；", ";") if separator == ";" else text.replace("，", ",") if separator == "," else text
    parts = [part.strip() for part in (text.split(separator) if separator else [text])]
    if slot and separator == ";":  # "; ink; oil" begins with nothing at all
        parts = parts[:-1] if len(parts) > 1 and not parts[-1] else parts
    elif separator in ("\n", ";"):
        parts = [part for part in parts if part] or parts[:1]
    found: list[str] = []
    for part in parts:
        found += _range(name, part, None if slot else number_type(name)) or [part]
    return found


def not_utf8(seen: str) -> BadRequest:
    """What to say of a file of another encoding, such as GBK."""
    return BadRequest(f"{seen} is not UTF-8", expected="text in UTF-8", mend='Save it anew, with the encoding "UTF-8".')


def _range(name: str, text: str, number: type | None) -> list[str]:
    """The values of a range, empty for a text that is none. Decimal, so that 0.1 steps stay what they say."""
    match = _RANGE.fullmatch(text)
    if match is None or not (number or match[3] or match[4]):
        return []
    first, last = Decimal(match[1]), Decimal(match[2])
    if match[4]:
        count = int(match[4])
        if not 2 <= count <= LARGEST_AXIS:
            raise BadRequest(f"axis {name}: {text}", expected=f"2 to {LARGEST_AXIS} values in brackets", axis=name)
        found = [first + (last - first) * index / (count - 1) for index in range(count)]
        if number is int:
            found = [Decimal(round(value)) for value in found]
        return [f"{value:.10g}" if value != int(value) else str(int(value)) for value in found]
    step = Decimal(match[3].replace(" ", "")) if match[3] else Decimal(1 if last >= first else -1)
    if not step or (last - first) * step < 0:
        raise BadRequest(
            f"axis {name}: {text}",
            expected=f"a step that leads from {first} to {last}",
            mend="Such as 1-9(+2), 9-1(-2).",
        )
    if (last - first) / step > LARGEST_AXIS:
        raise BadRequest(f"axis {name}: {text}", expected=f"at most {LARGEST_AXIS} values", axis=name)
    return [str(first + index * step) for index in range(int((last - first) // step) + 1)]


def _normal(name: str, value: Any) -> JsonValue:
    """One value in its normal form; None leaves the base as it is. Raises BadRequest."""
    if hasattr(value, "item") and not isinstance(value, str):  # numpy's own numbers
        value = value.item()
    switched = name == "lora" or (name.startswith("stages.") and not _stage_field(name))
    if value is None and not switched:
        return None
    number = number_type(name)
    if number is not None:
        return _as_number(name, value, number)
    if name == "size":
        value = value.replace("，", ",") if isinstance(value, str) else value
        if isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit()):
            value = f"{value}x{value}"
        text = "x".join(str(side) for side in value) if isinstance(value, tuple | list) else str(value)
        try:
            return "x".join(str(side) for side in parse_size(text))
        except BadRequest as error:
            raise BadRequest(
                f"axis size: {short(value)}", expected=error.expected, mend=error.mend, axis=name
            ) from None
    if name == "lora":
        return _loras(value)
    if name.startswith("stages."):
        return _stage_value(name, value)
    if not isinstance(value, str) and not (name == "model" and isinstance(value, Path)):
        raise BadRequest(f"axis {name}: {short(value)}", expected="a text", axis=name)
    return str(value)


def _as_number(name: str, value: Any, number: type) -> int | float:
    try:
        if number is int and isinstance(value, str) and value.strip().lstrip("+-").isdigit():
            return int(value)  # exact beyond what a float holds
        found = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = None
    if found is None or (number is int and not found.is_integer()):
        hint = ' Ranges are written "1-9" or "1-9(+2)".' if isinstance(value, str) else ""
        expected = "a whole number" if number is int else "a number"
        raise BadRequest(f"axis {name}: {value!r}", expected=expected, mend=hint.strip(), axis=name)
    return int(found) if number is int and not isinstance(value, int) else value if number is int else found


def _loras(value: Any) -> JsonValue:
    """Of an axis `lora`: a list of [name, weight], empty for none."""
    if value in (None, "", "none", "None", False) or value == [] or value == ():
        return []
    if isinstance(value, str) and value.startswith("[["):  # several in one cell of a table
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, str):
        name, colon, weight = value.rpartition(":")
        if colon and re.fullmatch(_NUMBER, weight.strip()):
            return [[name.strip(), float(weight)]]
        return [[value.strip(), 1.0]]
    if isinstance(value, list):
        return [pair for one in value for pair in _loras(tuple(one) if isinstance(one, list) else one)]  # type: ignore[union-attr]
    lora = value if isinstance(value, Lora) else Request(loras=(value,)).loras[0]
    return [[str(lora.path), lora.weight]]


def _stage_value(name: str, value: Any) -> JsonValue:
    """A stage's field as JSON; of `stages.KIND` alone True (as it is), False (without it) or the fields to change."""
    try:
        value = _JSON.dump_python(value, mode="json")
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and _field_type(name) is not str:
            value = json.loads(value)
    except ValueError as error:
        raise BadRequest(f"axis {name}: {short(value)}", expected=f"JSON ({error})", axis=name) from None
    switched = not _stage_field(name)
    if isinstance(value, str) and (switched or _field_type(name) is bool):
        value = _WORDS.get(value.strip().lower(), value)
    if not switched:
        return value  # type: ignore[no-any-return]
    if value is None:
        value = False
    if not isinstance(value, bool | dict) or (isinstance(value, dict) and "kind" in value):
        raise BadRequest(f"axis {name}: {short(value)}", expected="on, off, or fields of the stage", axis=name)
    return value


_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "none": False, "false": False}


def label_of(name: str, value: JsonValue) -> str:
    """What a value is called on a sheet: texts as they are, others with their name."""
    short = name.removesuffix(".weight").split(".")[-1].replace("_", " ") if name != "lora.weight" else "LoRA"
    if name == "size":
        return str(value).replace("x", " × ")
    if name == "lora":
        pairs: Any = value
        names = [f"{Path(path).stem} {weight:g}" for path, weight in pairs]
        return " + ".join(names) or "no LoRA"
    if (name.startswith("stages.") and not _stage_field(name)) or isinstance(value, Mapping):
        if isinstance(value, Mapping):
            return short + " " + ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
        return short if value else f"no {short}"
    if isinstance(value, str):
        return value or f"no {short}"
    return f"{short} {_plain(value)}"


def short(value: Any) -> str:
    """A value in an error, long ones cut."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def changed(base: Request, point: Point, slot_names: frozenset[str]) -> Request:
    """The base with the values of a point: fields first, then slots, since a prompt may bring slots of its own.

    `slot_names` are the axes that are slots. Raises BadRequest for a slot without an axis and for what cannot be.
    """
    request = with_fields(base, {name: value for name, value in point.items() if name not in slot_names})
    return _filled(request, {name: str(point[name]) for name in point if name in slot_names})


def with_fields(base: Request, fields: Point) -> Request:
    """The base with other fields, of its stages too; these are counted as they stand in the base. Raises BadRequest."""
    request, stages = base, list[StageData | None](base.stages)
    for name in sorted(fields, key=lambda name: ("." in name, name)):
        if name.startswith("stages."):
            _change_stage(stages, base.stages, name, fields[name])
        else:
            request = _with_field(request, name, fields[name])
    return request.but(stages=[stage for stage in stages if stage is not None])


def _with_field(request: Request, name: str, value: Any) -> Request:
    if name == "size":
        width, height = parse_size(value)
        return request.but(width=width, height=height)
    if name == "lora":
        return request.but(loras=[(path, weight) for path, weight in value])
    if name.startswith("lora."):
        return request.but(loras=_weighted(request.loras, name, value))
    return request.but(**{name: value})


def _weighted(loras: Sequence[Lora], name: str, weight: float) -> list[Lora]:
    which = name.removeprefix("lora.").removesuffix("weight").removesuffix(".")
    chosen = [lora for lora in loras if not which or lora.path.stem == which or str(lora.path) == which]
    if len(chosen) != 1:
        known = [lora.path.stem for lora in loras]
        seen = f"axis {name}: the request has {len(loras)} LoRAs" if not which else f"axis {name}"
        mend = f"Name one: lora.{known[0]}.weight." if len(known) > 1 else "Give the request a LoRA."
        raise BadRequest(seen, expected=f"one of its LoRAs ({', '.join(known) or 'none'})", mend=mend, axis=name)
    return [Lora(path=lora.path, weight=weight) if lora is chosen[0] else lora for lora in loras]


def _change_stage(stages: list[StageData | None], base: Sequence[StageData], name: str, value: Any) -> None:
    """Change one of the stages, which keep the places that they have in the base; one taken away leaves None."""
    parts = name.split(".")[1:]
    kind, rest = parts[0], parts[1:]
    number = int(rest.pop(0)) if rest and rest[0].isdigit() else 1
    places = [place for place, stage in enumerate(base) if stage.kind == kind]
    old = stages[places[number - 1]] if number <= len(places) else None
    if old is None:
        raise BadRequest(f"axis {name}: no {kind} stage is left here", mend="Another axis takes it away.", axis=name)
    if rest:
        stages[places[number - 1]] = StageData(kind=kind, **{**old.fields(), rest[0]: value})
    elif value is False:
        stages[places[number - 1]] = None
    elif value is not True:
        stages[places[number - 1]] = StageData(kind=kind, **{**old.fields(), **value})


def _filled(request: Request, texts: Mapping[str, str]) -> Request:
    """Slots filled in; in a stage's texts only those that have an axis, the rest is the stage's own business.

    A text without a slot stays as it is, `{{` and all.
    """

    def fill(text: str, strict: bool) -> str:
        if not _slots_of(text):
            return text

        def one(match: re.Match[str]) -> str:
            if not match[1]:
                return match[0][0] if strict else match[0]
            if match[1] in texts:
                return texts[match[1]]
            if strict:
                known = ", ".join(texts) or "none"
                raise BadRequest(
                    f"the prompt has a slot {match[0]} without an axis",
                    expected=f"one of the axes ({known})",
                    mend=f'Give it values ({match[1]}=[…]), or {match[1]}="{match[0]}" if the braces are meant.',
                    axis=match[1],
                )
            return match[0]

        return _SLOT.sub(one, text)

    stages = [
        StageData(kind=stage.kind, **{key: fill(each, False) if isinstance(each, str) else each
                                      for key, each in stage.fields().items()})
        for stage in request.stages
    ] if texts else request.stages  # fmt: skip
    prompts = {name: fill(getattr(request, name), True) for name in _TEXTS}
    return request.but(**prompts, stages=stages)
