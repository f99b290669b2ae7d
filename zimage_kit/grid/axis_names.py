"""Names of axes: any field of a request or of a stage, or a `{slot}` in its texts; and the type that each has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ..errors import BadRequest, closest
from ..recipe.request import Request
from ..stages.extensions import stage_class

TEXT_FIELDS = ("prompt", "negative_prompt")
_NUMBERS: dict[str, type] = {"seed": int, "steps": int, "width": int, "height": int, "guidance": float}
_FIELDS = (*TEXT_FIELDS, "model", *_NUMBERS)
_COMBINED = ("size", "lora")
_OTHER_PROGRAMS = {
    "num_inference_steps": "steps", "inference_steps": "steps", "sampling_steps": "steps", "cfg": "guidance",
    "cfg_scale": "guidance", "guidance_scale": "guidance", "negative": "negative_prompt", "checkpoint": "model",
    "resolution": "size", "loras": "lora", "sampler": "", "sampler_name": "", "scheduler": "", "sampling_method": "",
}  # fmt: skip
"""Names of fields in other programs -> ours; empty: there is no counterpart."""

SLOT = re.compile(r"\{\{|\}\}|\{(\w[\w -]*)\}")


def slots(request: Request) -> frozenset[str]:
    """The names in braces in the request's prompts."""
    return slots_in(request.prompt) | slots_in(request.negative_prompt)


def slots_in(text: str) -> frozenset[str]:
    """The names in braces in a text."""
    return frozenset(match[1] for match in SLOT.finditer(text) if match[1])


def canonical(name: str, request: Request, slot_names: frozenset[str]) -> str:
    """The one name of an axis: "pose.scale" is "stages.pose.scale", "lora weight" is "lora.weight".

    Raises BadRequest for a name that is neither a field nor a slot of the request.
    """
    name = name.strip()
    if name in slot_names or name in _FIELDS or name in _COMBINED:
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
    known = [*slot_names, *_FIELDS, *_COMBINED, *(["lora.weight"] if request.loras else []), *_stage_fields(request)]
    mend = closest(name, known)
    if name.lower() in _OTHER_PROGRAMS:
        here = _OTHER_PROGRAMS[name.lower()]
        mend = f"Use {here}." if here else "It cannot be chosen: every model comes with its own."
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


def number_type(name: str) -> type | None:
    """Int or float for an axis of numbers, else None."""
    if (name.startswith("lora.") and name.endswith(".weight")) or name == "lora.weight":
        return float
    field = field_type(name)
    return field if field in (int, float) else _NUMBERS.get(name)


def stage_field(name: str) -> str:
    """The field of `stages.kind.field` or `stages.kind.2.field`; empty for an axis that is the stage itself."""
    parts = [part for part in name.split(".")[2:] if not part.isdigit()]
    return parts[0] if parts else ""


def field_type(name: str) -> type | None:
    """int, float, str or bool of a stage's field; None for anything else, words to choose from too, and other axes."""
    if not name.startswith("stages.") or not stage_field(name):
        return None
    cls = stage_class(name.split(".")[1])
    field = cls.model_fields.get(stage_field(name)) if cls else None
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
