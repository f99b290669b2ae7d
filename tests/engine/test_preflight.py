"""Bad input is told in one line with the mend before torch is imported, and defaults are filled in for all to see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit import Artifact, Request
from zimage_kit.engine.preflight import check, check_applied
from zimage_kit.errors import BadRequest, ModelMissing, NoRecipe
from zimage_kit.models.spec import SPECS

BAD = {
    "size that is no multiple of 16": ({"width": 250}, "Use 240 or 256."),
    "size over the model's limit": ({"width": 1024, "height": 1024}, "nano draws up to 512 pixels a side. Draw it at"),
    "no steps": ({"steps": 0}, "expected 1 to 200"),
    "unknown model": ({"model": "trubo"}, "Did you mean turbo?"),
    "missing model": ({"model": "turbo"}, "Run: zimage models download turbo"),
    "unknown field": ({"promt": "x"}, "Did you mean prompt?"),
    "unknown stage": ({"stages": [{"kind": "no_such_stage"}]}, "unknown stage 'no_such_stage'."),
    "prompt over the limit": ({"prompt": "seven red boats " * 60}, "at most 128 for nano. Shorten it by"),
    "empty prompt": ({"prompt": "  "}, "Say what to draw."),
    "negative prompt that is ignored": ({"negative_prompt": "blurry"}, "would be ignored: nano runs without guidance."),
    "missing lora": ({"loras": [{"path": "nothing.safetensors"}]}, "is neither a file nor a name in"),
    "a lora of another kind": ({"loras": [{"path": __file__}]}, "expected exactly one .safetensors file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_one_line_before_anything_is_loaded(case: str, model: str) -> None:
    fields, expected = BAD[case]
    code = (
        "import json, sys, zimage_kit as zk\n"
        "try: zk.connect('inline').run(zk.Request(**json.loads(sys.argv[1])))\n"
        "except zk.ZImageError as error: print(error)\n"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    request = json.dumps({"prompt": "a red balloon", "model": model, **fields})
    done = subprocess.run([sys.executable, "-c", code, request], capture_output=True, text=True, check=True)
    message, loaded = done.stdout.splitlines()
    assert expected in message
    assert loaded == "[]"
    assert done.stderr == ""


def test_everything_is_resolved_and_the_callers_request_is_not_touched(model: str) -> None:
    request = Request(prompt="a red balloon", model=model)
    before = request.to_json()
    checked = check(request)
    r = checked.request
    assert r.resolved
    assert (r.width, r.height, r.steps, r.guidance) == (256, 256, 8, 0.0)
    assert request.to_json() == before
    assert check(request).request.seed != r.seed
    assert check(r).request == r  # a recipe resolves to itself


def test_what_was_chosen_for_the_user_is_noted(model: str) -> None:
    def notes(**fields: object) -> str:
        return " | ".join(check(Request(prompt="a red balloon", model=model, **fields)).notes)

    assert notes() == ""
    assert "only one side was given" in notes(width=320)
    assert "more than the 320 pixels a side" in notes(width=512, height=512)
    assert "is small for nano" in notes(width=64, height=64)
    assert "made for guidance 0" in notes(guidance=2.0)


def test_guidance_makes_a_negative_prompt_mean_something(model: str) -> None:
    assert check(Request(prompt="x", model=model, guidance=2.0, negative_prompt="red")).request.negative_prompt == "red"


def test_a_negative_prompt_at_guidance_0_is_refused_for_the_base_model_too() -> None:
    with pytest.raises(BadRequest, match="guidance is 0"):
        check(Request(prompt="x", model="base", guidance=0.0, negative_prompt="blurry"))
    with pytest.raises(ModelMissing):  # the next thing that is wrong
        check(Request(prompt="x", model="base", negative_prompt="blurry"))


def test_the_prompt_limit_counts_tokens_and_says_how_many(model: str) -> None:
    limit = SPECS["nano"].prompt_tokens
    with pytest.raises(BadRequest) as caught:
        check(Request(prompt="月" * 400, model=model))
    facts = caught.value.facts
    assert facts["limit"] == limit
    assert facts["tokens"] > limit
    assert f"has {facts['tokens']} tokens" in str(caught.value)
    assert f"Shorten it by {facts['tokens'] - limit} tokens" in str(caught.value)


def test_a_recipe_that_starts_from_a_picture_says_how_to_use_it(artifact: Artifact) -> None:
    request = Artifact.from_image(artifact.image).request
    with pytest.raises(NoRecipe, match=r"session\.apply\(picture, \*request\.stages\)"):
        zk.connect("inline").run(request)


def test_a_lora_gets_its_absolute_path(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "style.safetensors").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    for given in ("style.safetensors", "."):
        checked = check(Request(prompt="x", model=model, loras=[zk.Lora(path=given)]))
        assert checked.request.loras[0].path == tmp_path / "style.safetensors"
    (tmp_path / "other.safetensors").write_bytes(b"x")
    with pytest.raises(BadRequest, match="holds 2 .safetensors files"):
        check(Request(prompt="x", model=model, loras=[zk.Lora(path=".")]))


def test_connecting_to_what_is_no_session_says_what_would_be_one() -> None:
    with pytest.raises(BadRequest, match=r'nothing, "shared", "inline" or the path of a scheduler\.json'):
        zk.connect("somewhere")
    with pytest.raises(BadRequest, match="there is no session file"):
        zk.connect("somewhere.json")


def test_what_stages_need_is_looked_for_where_the_model_is() -> None:
    """Workers elsewhere have turbo and base; this disk has neither, nor turbo's ControlNet."""
    refine, pose = zk.stages.refine(model="base"), zk.stages.pose(preset="waving")
    request, there = Request(prompt="x", model="turbo", seed=1).then(pose, refine), frozenset({"nano", "turbo", "base"})
    assert check(request, there).directory is None
    with pytest.raises(ModelMissing):
        check(request)
    finished = check(request.but(stages=()), there).request.then(refine)
    resolved, notes, _ = check_applied(finished, 0, there)
    assert (resolved.stages[0].steps, notes) == (12, [])
    with pytest.raises(ModelMissing):
        check_applied(finished, 0)
    with pytest.raises(BadRequest, match="conditions the generation"):
        check_applied(request, 0, there)
