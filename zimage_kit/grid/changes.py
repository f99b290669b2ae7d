"""Changes: a base request with the values of one cell put in: fields first, then stages, then slots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BadRequest
from ..recipe.request import Lora, Request, StageData, parse_size
from .axis_names import SLOT, TEXT_FIELDS, slots_in
from .dimensions import Point


def request_with(base: Request, point: Point, slot_names: frozenset[str]) -> Request:
    """The base with the values of a point: fields first, then slots, since a prompt may bring slots of its own.

    `slot_names` are the axes that are slots. Raises BadRequest for a slot without an axis and for what cannot be.
    """
    request = with_fields(base, {name: value for name, value in point.items() if name not in slot_names})
    return _with_slots_filled(request, {name: str(point[name]) for name in point if name in slot_names})


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
        raise BadRequest(f"axis {name}: no {kind} stage is left here", mend="Another axis removes it.", axis=name)
    if rest:
        stages[places[number - 1]] = StageData(kind=kind, **{**old.fields(), rest[0]: value})
    elif value is False:
        stages[places[number - 1]] = None
    elif value is not True:
        stages[places[number - 1]] = StageData(kind=kind, **{**old.fields(), **value})


def _with_slots_filled(request: Request, texts: Mapping[str, str]) -> Request:
    """Fill in slots. In a stage's texts only those that are axes; other braces belong to the stage.

    A text without a slot stays as it is, `{{` and all.
    """

    def fill(text: str, strict: bool) -> str:
        if not slots_in(text):
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
                    mend=f'Give it values ({match[1]}=[…]), or {match[1]}="{match[0]}" for literal braces.',
                    axis=match[1],
                )
            return match[0]

        return SLOT.sub(one, text)

    stages = [
        StageData(kind=stage.kind, **{key: fill(each, False) if isinstance(each, str) else each
                                      for key, each in stage.fields().items()})
        for stage in request.stages
    ] if texts else request.stages  # fmt: skip
    prompts = {name: fill(getattr(request, name), True) for name in TEXT_FIELDS}
    return request.but(**prompts, stages=stages)
