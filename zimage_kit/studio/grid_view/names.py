"""Names of axes and recipe fields in the user's language, and the axes that a request may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...grid.axis_names import slots
from ...grid.cell import Cell
from ...recipe.request import Request
from ...stages.extensions import stage_class
from ..panel.fields import StageLabels
from ..panel.results import flat_recipe, value_text
from ..translations import Texts

_FORM = {
    "prompt": "form.prompt",
    "negative_prompt": "form.negative",
    "model": "form.model",
    "size": "form.size",
    "width": "form.width",
    "height": "form.height",
    "steps": "form.steps",
    "guidance": "form.guidance",
    "seed": "form.seed",
    "lora": "form.lora",
    "loras": "form.loras",
    "stages": "form.stages",
}
_OFFERED = ("prompt", "seed", "steps", "size", "model", "guidance", "negative_prompt")


class Names:
    """Names of axes and recipe fields. Discovers stages once."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._stages = StageLabels.of_all(texts.language)

    def of(self, name: str) -> str:
        """An axis or a flat field, such as `pose.scale`; unknown ones keep their name."""
        if name in _FORM:
            return self._texts(_FORM[name])
        if name == "lora.weight":
            return self._texts("form.weight")
        if name.startswith("lora."):
            return f"{name.removeprefix('lora.').removesuffix('.weight')} · {self._texts('form.weight')}"
        kind, *rest = name.removeprefix("stages.").replace(" ", ".").split(".")
        words = self._stages.get(kind)
        if words is None or (not rest and not name.startswith("stages.")):
            return name
        number = f" {rest.pop(0)}" if rest and rest[0].isdigit() else ""
        title = words.title + number
        return f"{title} · {words.label(rest[0])}" if rest else title

    def choices(self, request: Request, first: Sequence[str] = ()) -> list[tuple[str, str]]:
        """(label, axis) of what may vary in a request: `first`, slots, its own fields, LoRAs, fields of its stages."""
        names = [*first, *sorted(slots(request)), *_OFFERED]
        if len(request.loras) == 1:
            names.append("lora.weight")
        elif request.loras:
            names += [f"lora.{lora.path.stem}.weight" for lora in request.loras]
        names.append("lora")
        seen: list[str] = []
        for stage in request.stages:
            seen.append(stage.kind)
            nth = seen.count(stage.kind)
            own = f"stages.{stage.kind}" + (f".{nth}" if nth > 1 else "")
            cls = stage_class(stage.kind)
            names += [own, *(f"{own}.{field}" for field in (cls.model_fields if cls else stage.fields()))]
        return [(self.of(name), name) for name in dict.fromkeys(names)]


def recipes(cells: Sequence[Cell], names: Names) -> dict[str, Any]:
    """All recipes of a grid without repetition: `same` holds for every cell, `vary` has the values that differ.

    `vary` is {field: {values, of}}, `of` the number of the value for each cell. `labels` are the names of the fields.
    """
    all_flat: list[Mapping[str, Any]] = [flat_recipe(cell.request) for cell in cells]
    fields = list(dict.fromkeys(name for each in all_flat for name in each))
    same: dict[str, str] = {}
    vary: dict[str, dict[str, Any]] = {}
    for field in fields:
        numbers: dict[str, int] = {}
        of = [numbers.setdefault(value_text(each.get(field)), len(numbers)) for each in all_flat]
        if len(numbers) == 1:
            same[field] = next(iter(numbers))
        else:
            vary[field] = {"values": list(numbers), "of": of}
    shared = {field: value for field, value in same.items() if value}
    labels = {field: names.of(field) for field in fields if field in shared or field in vary}
    return {"same": shared, "vary": vary, "labels": labels}
