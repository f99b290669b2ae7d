"""The recipe in a picture as a JSON Schema, for programs that read or write recipes: request, trace, stages."""

from __future__ import annotations

from typing import Any

from ..recipe.artifact import Trace
from ..recipe.request import Request
from .extensions import kinds, stage_class

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """The schema of what `zimage recipe show --json` prints and a PNG's `zimage_kit` chunk holds.

    A stage that is not installed here may have any fields. Raises ExtensionProblem.
    """
    definitions: dict[str, Any] = {}
    request = _hoisted(Request.model_json_schema(), definitions)
    trace = _hoisted(Trace.model_json_schema(mode="serialization"), definitions)
    cases = []
    for kind in kinds():
        stage = stage_class(kind)
        assert stage is not None, kind
        fields = _hoisted(stage.model_json_schema(), definitions)
        fields["properties"] = {"kind": {"const": kind}, **fields.get("properties", {})}
        fields["required"] = ["kind", *fields.get("required", [])]
        definitions[f"stage_{kind}"] = fields
        is_it = {"properties": {"kind": {"const": kind}}}
        cases.append({"if": is_it, "then": {"$ref": f"#/$defs/stage_{kind}"}})
    definitions["StageData"] = {
        "description": "`kind` and the fields of that stage",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"type": "string"}},
        "allOf": cases,
    }
    return {
        "$schema": DIALECT,
        "title": "The recipe of a picture by zimage_kit",
        "type": "object",
        "required": ["request", "trace"],
        "properties": {"request": request, "trace": trace},
        "$defs": dict(sorted(definitions.items())),
    }


def _hoisted(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema without its own definitions, which go to those of the whole."""
    definitions |= schema.pop("$defs", {})
    return schema
