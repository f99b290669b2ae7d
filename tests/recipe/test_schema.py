"""The recipe's JSON Schema accepts what pictures carry, and refuses what the program refuses; a page names each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

import zimage_kit as zk
from zimage_kit import Artifact, Request, Trace, cli
from zimage_kit.errors import BadRequest
from zimage_kit.stages.extensions import build_stages, kinds

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    from zimage_kit.stages.schema import recipe_schema

    found = recipe_schema()
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def recipe(**fields: Any) -> Any:
    request = Request(prompt="a boat", model="nano", width=64, height=64, steps=8, seed=1).but(**fields)
    return json.loads(json.dumps(Artifact(Image.new("RGB", (64, 64)), request, Trace()).recipe))


def test_what_a_picture_carries_is_accepted(schema: Draft202012Validator, tmp_path: Path) -> None:
    stages = [
        zk.stages.pose(preset=["waving"]), zk.stages.control(picture=tmp_path / "edges.png"),
        zk.stages.inpaint(mask=tmp_path / "mask.png"), zk.stages.refine(strength=0.3), zk.stages.upscale(factor=4),
        zk.stages.text_overlay(text="Boat", box=(0, 0, 1, 0.5)), zk.stages.variety(strength=0.5),
    ]  # fmt: skip
    assert sorted(stage.kind for stage in stages) == sorted(kinds()), "each kind that ships"
    for made in (recipe(), recipe(loras=[("papercut", 0.5)], stages=stages, template="a {boat|ship}", guidance=1.5)):
        assert list(schema.iter_errors(made)) == []
    assert list(schema.iter_errors(recipe(stages=[{"kind": "of_another_machine", "any": [1, {"thing": None}]}]))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0}, {"steps": "many"}, {"width": 63}, {"seed": -1}, {"unknown": 1}, {"version": 2},
        {"loras": [{"weight": 1}]},
        {"stages": [{"factor": 2}]}, {"stages": [{"kind": "upscale", "factor": 3}]},
        {"stages": [{"kind": "refine", "strenght": 0.5}]}, {"stages": [{"kind": "variety", "strength": "much"}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_program_refuses_is_refused(schema: Draft202012Validator, change: dict[str, Any]) -> None:
    made = recipe()
    made["request"] |= change
    assert list(schema.iter_errors(made)) != []
    with pytest.raises(BadRequest):
        build_stages(Request(**made["request"]).stages)


def test_the_command_prints_it(schema: Draft202012Validator, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["recipe", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema.schema


@pytest.mark.parametrize(("title", "model"), [("`request`", Request), ("`trace`", Trace)])
def test_the_page_names_every_field(title: str, model: type[Request] | type[Trace]) -> None:
    part = PAGE.read_text("utf-8").partition(f"## {title}")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(model.model_fields)
