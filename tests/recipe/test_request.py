"""A Request is a value: JSON both ways, never changed in place, and wrong ones are told in one line."""

from __future__ import annotations

import pytest

from zimage_kit import Lora, Request
from zimage_kit.errors import BadRequest
from zimage_kit.recipe.request import LARGEST_SEED, parse_size, random_seed


def test_json_round_trip_keeps_everything() -> None:
    request = Request(
        prompt="雪山 at dawn",
        model="turbo",
        width=1024,
        height=768,
        steps=8,
        guidance=0.0,
        seed=LARGEST_SEED,
        loras=[Lora(path="a.safetensors", weight=0.5)],
        stages=[{"kind": "caption", "text": "海", "size": 0.1}],
    )
    again = Request.from_json(request.to_json())
    assert again == request
    assert again.to_json() == request.to_json()
    assert again.digest == request.digest
    assert again.stages[0].fields() == {"text": "海", "size": 0.1}
    assert request.resolved


def test_a_request_with_open_fields_is_not_resolved() -> None:
    assert not Request(prompt="x").resolved
    assert not Request(prompt="x", model="nano", width=64, height=64, steps=8, guidance=0.0).resolved


def test_but_and_then_give_new_requests() -> None:
    first = Request(prompt="x", seed=1)
    second = first.but(seed=2).then({"kind": "caption"})
    assert (first.seed, first.stages) == (1, ())
    assert (second.seed, second.stages[0].kind) == (2, "caption")
    with pytest.raises(BadRequest):
        first.but(seed=-1)


def test_the_callers_lists_are_left_alone() -> None:
    stages, loras = [{"kind": "caption", "words": ["a"]}], [{"path": "x", "weight": 1.0}]
    Request(prompt="x", stages=stages, loras=loras).then({"kind": "other"})
    assert stages == [{"kind": "caption", "words": ["a"]}]
    assert loras == [{"path": "x", "weight": 1.0}]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"width": 1000}, "width=1000; expected a multiple of 16. Use 992 or 1008."),
        ({"width": 8192}, "width=8192; expected 64 to 4096"),
        ({"height": 1}, "height=1; expected 64 to 4096"),
        ({"steps": 0}, "steps=0; expected 1 to 200"),
        ({"steps": "many"}, "steps='many'; expected 1 to 200"),
        ({"guidance": -1}, "guidance=-1; expected 0 to 30"),
        ({"guidance": float("nan")}, "guidance=nan; expected 0 to 30"),
        ({"seed": -1}, f"seed=-1; expected 0 to {LARGEST_SEED}"),
        ({"seed": 1.5}, f"seed=1.5; expected 0 to {LARGEST_SEED}"),
        ({"wdith": 64}, "unknown field wdith. Did you mean width?"),
        ({"loras": [{"path": "a", "weight": 9}]}, "lora.weight=9; expected -4 to 4"),
        ({"stages": [{"size": 1}]}, "stages.0.kind is missing. Give it a value."),
        (
            {"stages": ["caption"]},
            "stages.0='caption'; expected a stage, zk.stages.<kind>(…), or its data, {\"kind\": …}",
        ),
        ({"version": 2}, "version=2; expected 1"),
        ({"prompt": None}, "prompt=None; expected a valid string"),
        ({"steps": 0, "seed": -1}, "steps=0; expected 1 to 200. (1 more like this.)"),
    ],
)
def test_wrong_values_are_told_in_one_line(fields: dict[str, object], line: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Request(**fields)
    assert str(caught.value) == line


@pytest.mark.parametrize("text", ["", "{", "[]", '"prompt"', "null"])
def test_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        Request.from_json(text)


def test_sizes_are_read_as_people_write_them() -> None:
    assert parse_size("1024x768") == parse_size("1024×768") == parse_size("1024*768") == (1024, 768)
    for wrong in ("1024", "axb", "1x2x3", ""):
        with pytest.raises(BadRequest, match="WIDTHxHEIGHT"):
            parse_size(wrong)


def test_random_seeds_are_seeds_and_differ() -> None:
    seeds = {random_seed() for _ in range(50)}
    assert len(seeds) > 45
    assert all(Request(prompt="x", seed=seed).seed == seed for seed in seeds)
