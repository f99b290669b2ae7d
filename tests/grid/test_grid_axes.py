"""Axes of a grid: what may vary, how values are written, and what a cell's request is then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import zimage_kit as zk
from zimage_kit import Request
from zimage_kit.errors import BadRequest
from zimage_kit.grid import Plan, plan
from zimage_kit.grid.axis_values import label_of, parse_values, values_of
from zimage_kit.grid.planning import GRID_SEED
from zimage_kit.recipe.templates import resolve


def requests(made: Plan) -> list[Request]:
    return [made.request(place) for place in made.places()]


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("seed", "1,2,3", ["1", "2", "3"]),
        ("seed", "1-4", ["1", "2", "3", "4"]),
        ("seed", "1-9(+2)", ["1", "3", "5", "7", "9"]),
        ("seed", "9-1(-4)", ["9", "5", "1"]),
        ("seed", "3-1", ["3", "2", "1"]),
        ("seed", "1-3, 7，9", ["1", "2", "3", "7", "9"]),
        ("seed", "1，2；3;4,5\n6", ["1", "2", "3", "4", "5", "6"]),
        ("lora.weight", "0.1-0.4(+0.1)", ["0.1", "0.2", "0.3", "0.4"]),
        ("lora.weight", "-1-1(+1)", ["-1", "0", "1"]),
        ("guidance", "0-1[5]", ["0", "0.25", "0.5", "0.75", "1"]),
        ("steps", "1-8[3]", ["1", "4", "8"]),
        ("prompt", "a cat, ink", ["a cat, ink"]),
        ("prompt", "a cat, ink; a dog", ["a cat, ink", "a dog"]),
        ("prompt", "一只猫；一条鱼", ["一只猫", "一条鱼"]),
        ("prompt", "a cat; really\na dog\n\n", ["a cat; really", "a dog"]),
        ("colour", "red, blue", ["red", "blue"]),
        ("colour", "红，蓝", ["红", "蓝"]),
        ("years", "1990-1995", ["1990-1995"]),  # not numbers of a field: a range says so
        ("years", "1990-1992(+1)", ["1990", "1991", "1992"]),
        ("size", "256x256, 320x192", ["256x256", "320x192"]),
    ],
)
def test_values_are_written_as_people_write_them(name: str, text: str, values: list[str]) -> None:
    assert parse_values(name, text) == values


@pytest.mark.parametrize(
    ("name", "slot", "text", "values"),
    [
        ("what", True, '"a red, shiny boat","a balloon"', ["a red, shiny boat", "a balloon"]),
        ("what", True, 'plain, "with, comma" , "say ""hi"""', ["plain", "with, comma", 'say "hi"']),
        ("what", True, '"a; b"; c', ["a; b", "c"]),
        ("what", True, '5" nails, 6" nails', ['5" nails', '6" nails']),
        ("prompt", False, '"a cat, asleep", "a dog"', ["a cat, asleep", "a dog"]),
        ("prompt", False, 'a sign that says "open", by night', ['a sign that says "open", by night']),
        ("prompt", False, '"only one, quoted"', ['"only one, quoted"']),
    ],
)
def test_quoted_values_may_contain_what_separates_values(name: str, slot: bool, text: str, values: list[str]) -> None:
    assert parse_values(name, text, slot) == values


def test_a_slot_may_be_empty() -> None:
    assert parse_values("style", "; ink; oil;", slot=True) == ["", "ink", "oil"]
    made = plan("a cat {style}", {"style": "; ink"})
    assert made.labels_of("columns") == ("no style", "ink")
    assert parse_values("prompt", "; a cat;") == ["a cat"]


def test_lines_of_a_file_are_values(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("一只猫\na dog; asleep\n", encoding="utf-8-sig")
    assert parse_values("prompt", f"@{tmp_path / 'prompts.txt'}") == ["一只猫", "a dog; asleep"]
    (tmp_path / "one.txt").write_text("a cat; asleep")
    assert parse_values("prompt", f"@{tmp_path / 'one.txt'}") == ["a cat; asleep"]
    with pytest.raises(BadRequest, match="cannot be read"):
        parse_values("prompt", f"@{tmp_path / 'none.txt'}")


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "gbk.csv").write_bytes("prompt\n海上的红色热气球\n".encode("gbk"))
    with pytest.raises(BadRequest, match=r"gbk.csv is not UTF-8; expected .*Save it again"):
        parse_values("prompt", f"@{tmp_path / 'gbk.csv'}")
    with pytest.raises(BadRequest, match=r"gbk.csv is not UTF-8; expected .*Save it again"):
        plan("-", tmp_path / "gbk.csv")


@pytest.mark.parametrize("text", ["1-9(+0)", "1-9(-2)", "0-1[1]", "1-100000", "one", "", "1.5"])
def test_a_range_that_leads_nowhere_is_told(text: str) -> None:
    with pytest.raises(BadRequest, match="axis seed"):
        values_of("seed", text)


def test_values_have_one_normal_form() -> None:
    assert values_of("seed", range(3)) == [0, 1, 2]
    assert values_of("seed", np.arange(3)) == [0, 1, 2]
    assert values_of("seed", pd.Series([1.0, 2.0])) == [1, 2]
    assert values_of("seed", 7) == [7]
    assert values_of("seed", (number for number in (4, 5))) == [4, 5]
    assert values_of("size", (320, 192)) == ["320x192"]
    assert values_of("size", [256, "320×192", (192, 320)]) == ["256x256", "320x192", "192x320"]
    assert values_of("lora", [None, "papercut", ("papercut", 0.5), "papercut:0.8"]) == [
        [], [["papercut", 1.0]], [["papercut", 0.5]], [["papercut", 0.8]],
    ]  # fmt: skip
    assert values_of("lora", ("papercut", 0.5)) == [[["papercut", 0.5]]]
    assert values_of("stages.upscale", "on, off") == [True, False]
    assert values_of("colour", [1, 2.5, "red"], slot=True) == ["1", "2.5", "red"]
    assert values_of("seed", [1, None]) == [1, None]  # as the base has it
    box = [0.1, 0.2, 0.8, 0.9]
    assert values_of("stages.text_overlay.box", [tuple(box), "[0.1, 0.2, 0.8, 0.9]", None]) == [box, box, None]
    assert values_of("stages.text_overlay.box", "[0.1, 0.2, 0.8, 0.9]") == [box]
    assert values_of("stages.text_overlay.text", ["[1]"]) == ["[1]"]  # a text is a text
    assert values_of("stages.pose.mirror", "on,off") == [True, False]
    assert values_of("stages.text_overlay", [zk.stages.text_overlay(text="a")])[0]["text"] == "a"  # type: ignore[index,call-overload]
    assert values_of("stages.upscale", ['{"factor": 4}', "True", None]) == [{"factor": 4}, True, False]
    with pytest.raises(BadRequest, match=r"axis stages.text_overlay.box: '\[0.1'; expected JSON"):
        values_of("stages.text_overlay.box", ["[0.1"])
    for bad in (True, 1.5, "x"):
        with pytest.raises(BadRequest, match="a whole number"):
            values_of("seed", [bad])
    with pytest.raises(BadRequest, match="no values"):
        values_of("seed", [])
    assert values_of("size", "256，192；64x64") == ["256x192", "64x64"]
    with pytest.raises(BadRequest, match="axis size: 'big'; expected WIDTHxHEIGHT"):
        values_of("size", "big")
    for name, slot in (("prompt", False), ("negative_prompt", False), ("model", False), ("colour", True)):
        for odd in (b"a cat", object(), {"a": 1}):
            with pytest.raises(BadRequest, match=f"axis {name}: .*expected a text"):
                values_of(name, [odd], slot)
    with pytest.raises(BadRequest, match=r"axis prompt: b'xxx.{1,60}…; expected"):
        values_of("prompt", b"x" * 900)


def test_values_may_come_one_by_one() -> None:
    assert plan("-", {"prompt": (f"{number} cats" for number in (1, 2))}).shape == (2,)


def test_every_field_of_a_request_is_an_axis() -> None:
    given: dict[str, Any] = {
        "prompt": "x", "negative_prompt": "y", "model": "base", "seed": 3, "steps": 4, "guidance": 2.0, "width": 320,
        "height": 192,
    }  # fmt: skip
    for name, value in given.items():
        (request,) = requests(plan("a cat", {name: [value]}))
        assert getattr(request, name) == value
    (request,) = requests(plan("a cat", {"size": ["320x192"]}))
    assert (request.width, request.height) == (320, 192)


def test_loras_and_their_weights_are_axes() -> None:
    base = Request(prompt="a cat", loras=["papercut"])
    assert [request.loras[0].weight for request in requests(plan(base, {"lora weight": "0-1(+0.5)"}))] == [0, 0.5, 1]
    assert [request.loras[0].weight for request in requests(plan(base, {"lora.papercut.weight": [0.3]}))] == [0.3]
    assert [len(request.loras) for request in requests(plan(base, {"lora": [None, "papercut:0.4"]}))] == [0, 1]
    with pytest.raises(BadRequest, match="has 0 LoRAs"):
        requests(plan("a cat", {"lora.weight": [1]}))
    two = base.but(loras=["papercut", "ink"])
    with pytest.raises(BadRequest, match="Name one"):
        requests(plan(two, {"lora.weight": [1]}))
    assert [lora.weight for lora in requests(plan(two, {"lora.ink.weight": [0.2]}))[0].loras] == [1, 0.2]


def test_fields_of_stages_and_stages_themselves_are_axes() -> None:
    base = Request(prompt="a girl").then(
        zk.stages.text_overlay(text="one"), zk.stages.upscale(), zk.stages.text_overlay(text="two")
    )
    made = requests(plan(base, {"stages.text_overlay.2.text": ["x", "海"]}))
    assert [request.stages[2].fields()["text"] for request in made] == ["x", "海"]
    assert made[0].stages[0].fields()["text"] == "one"
    assert [len(request.stages) for request in requests(plan(base, {"stages.upscale": [True, False]}))] == [3, 2]
    one = Request(prompt="a girl").then(zk.stages.text_overlay(text="one"))
    made = requests(plan(one, {"text_overlay.text": "a; b, c"}))  # short, and a text keeps its commas
    assert [request.stages[0].fields()["text"] for request in made] == ["a", "b, c"]


def test_numbers_to_choose_from_and_lists_of_words_are_read_from_text() -> None:
    base = Request(prompt="a girl").then(zk.stages.upscale(), zk.stages.pose())
    made = requests(plan(base, {"upscale.factor": "1,2"}))
    assert [request.stages[0].fields()["factor"] for request in made] == [1, 2]
    assert values_of("stages.upscale.factor", "1-4(+3)") == [1, 4]
    with pytest.raises(BadRequest, match="axis stages.upscale.factor: 'two'; expected a whole number"):
        plan(base, {"upscale.factor": "two"})
    assert values_of("stages.pose.preset", "waving,sitting") == ["waving", "sitting"]
    assert values_of("stages.pose.preset", "waving+sitting; standing") == ["waving+sitting", "standing"]
    assert values_of("stages.text_overlay.place", "top, bottom") == ["top", "bottom"]


def test_slots_of_the_prompt_are_axes_and_go_before_fields() -> None:
    made = requests(plan("a {colour} {size} cat", {"colour": ["red", "蓝色"], "size": ["small"]}))
    assert [request.prompt for request in made] == ["a red small cat", "a 蓝色 small cat"]
    assert made[0].width is None
    assert requests(plan("{{a}} {b}", {"b": ["x"]}))[0].prompt == "{a} x"
    made = requests(plan("-", {"prompt": ["a {c} cat", "a dog"], "c": ["red"]}))
    assert [request.prompt for request in made] == ["a red cat", "a dog"]
    with pytest.raises(BadRequest, match=r"slot \{c\} without an axis"):
        requests(plan("a {c} cat", {"seed": [1]}))


def test_braces_of_a_prompt_without_slots_are_its_own() -> None:
    for prompt in ('{"scene": {"subject": "cat"}}', "{{masterpiece}}, a cat", "}} {{ { }"):
        assert [request.prompt for request in requests(plan(prompt, {"seed": [1, 2]}))] == [prompt] * 2
    (request,) = requests(plan(Request(prompt="a {c} cat", negative_prompt="{{dark}}"), {"c": ["{c}"]}))
    assert (request.prompt, request.negative_prompt) == ("a {c} cat", "{{dark}}")  # as the error for a slot says


def test_stages_are_counted_as_they_stand_in_the_base() -> None:
    base = Request(prompt="a cat").then(zk.stages.text_overlay(text="one"), zk.stages.text_overlay(text="two"))
    made = requests(plan(base, {"stages.text_overlay.1": [True, False], "stages.text_overlay.2.text": ["x"]}))
    assert [[stage.fields()["text"] for stage in request.stages] for request in made] == [["one", "x"], ["x"]]
    gone = plan(base, {"stages.text_overlay.1": [False], "stages.text_overlay.1.text": ["x"]})
    with pytest.raises(BadRequest, match="no text_overlay stage is left here"):
        requests(gone)


def test_a_slot_is_filled_in_the_texts_of_stages_too() -> None:
    base = Request(prompt="a {colour} cat").then(zk.stages.text_overlay(text="{colour}, {seed}"))
    (request,) = requests(plan(base, {"colour": ["red"]}))
    assert request.stages[0].fields()["text"] == "red, {seed}"  # that one is the stage's own


def test_a_wrong_name_is_told_with_the_nearest_one() -> None:
    base = Request(prompt="a {colour} cat").then(zk.stages.upscale())
    for wrong, mend in (
        ("sede", "seed"), ("color", "colour"), ("upscale.factr", "factor"), ("stages.pose.scale", "no pose stage"),
        ("stages.upscale.2.factor", "only 1"), ("mood", "rite {mood} in the prompt"),
    ):  # fmt: skip
        with pytest.raises(BadRequest, match=mend):
            plan(base, {wrong: [1]})
    for elsewhere, here in (
        ("num_inference_steps", "Use steps"), ("cfg_scale", "Use guidance"),
        ("guidance_scale", "Use guidance"), ("sampler", "cannot be chosen"), ("Sampler", "cannot be chosen"),
    ):  # fmt: skip
        with pytest.raises(BadRequest, match=f"axis '{elsewhere}'.*{here}") as caught:
            plan(base, {elsewhere: [1]})
        assert "in the prompt, where" not in str(caught.value)
    with pytest.raises(BadRequest, match="without axes"):
        plan(base, {})
    with pytest.raises(BadRequest, match="two axes with the same name"):
        plan(base, {"upscale.factor": [2], "stages.upscale.factor": [4]})


def test_axes_are_laid_out_in_four_dimensions() -> None:
    axes = {"prompt": ["a", "b"], "seed": [1, 2, 3], "steps": [4, 8], "guidance": [0.0, 1.0]}
    made = plan("-", axes)
    assert made.shape == (2, 3, 2, 2)
    assert list(made.dimensions) == ["rows", "columns", "pages", "inner"]
    assert len(requests(made)) == 24
    assert plan("-", {"seed": [1, 2]}).dimensions.keys() == {"columns"}
    assert plan("-", {"seed": [1, 2]}, layout={"rows": "seed"}).dimensions.keys() == {"rows"}
    swapped = plan("-", axes, layout={"inner": "prompt", "columns": "steps"})
    assert {role: swapped.axes_of(role) for role in swapped.dimensions} == {
        "rows": ("seed",), "columns": ("steps",), "pages": ("guidance",), "inner": ("prompt",),
    }  # fmt: skip
    with pytest.raises(BadRequest, match="5 dimensions"):
        plan("a {c} cat", {**axes, "c": ["x"]})
    with pytest.raises(BadRequest, match="one place only"):
        plan("-", axes, layout={"rows": "seed", "columns": "seed"})
    with pytest.raises(BadRequest, match="no axis 'sed'"):
        plan("-", axes, layout={"rows": "sed"})


def test_size_and_its_sides_cannot_both_be_axes() -> None:
    for side in ("width", "height"):
        with pytest.raises(BadRequest, match=f"axes size and {side}; expected size alone, or width and height"):
            plan("a cat", {"size": ["64x64"], side: [64, 128]})
    assert plan("a {size} cat", {"size": ["big"], "width": [64, 128]}).shape == (1, 2)  # that one is a slot


def test_a_dimension_may_begin_with_nothing(tmp_path: Path) -> None:
    made = plan("a cat", {"steps": [1, 2], "seed": [None, 1]})
    assert made.shape == (2, 2)
    assert made.labels_of("columns") == ("as it is", "seed 1")
    (tmp_path / "cells.csv").write_text("guidance,seed\n,2\n1,3\n")
    assert [request.seed for request in requests(plan("a cat", tmp_path / "cells.csv"))] == [2, 3]
    assert plan("a cat", {"guidance": [None], "seed": [None, 1]}).shape == (1, 2)


def test_a_slot_called_like_an_option_says_how_it_is_filled() -> None:
    for name in ("title", "rows", "columns", "pages", "inner", "zip", "labels", "yes"):
        with pytest.raises(BadRequest, match=rf'\{{"{name}": \[…\]\}}'):
            plan(f"a {{{name}}} cat", None, {"seed": [1]})
        assert plan(f"a {{{name}}} cat", {name: ["x", "y"]}, title="A").shape == (2,)
    with pytest.raises(BadRequest, match=r'second argument: \{"title"'):
        plan("a {title}", None, {}, title=["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match=r"title=\['a'\]; expected a text"):
        plan("a", {"seed": [1]}, title=["a"])  # type: ignore[arg-type]


def test_a_single_value_by_keyword_is_a_setting_and_no_axis() -> None:
    more: dict[str, Any] = {"colour": ["red", "blue"], "seed": range(2), "width": 64, "height": np.int64(64),
                            "steps": "1", "model": "nano", "guidance": None}  # fmt: skip
    made = plan("a {colour} balloon", None, more)
    assert (made.axes, made.shape) == (("colour", "seed"), (2, 2))
    base = made.base
    assert (base.width, base.height, base.steps, base.model, base.guidance) == (64, 64, 1, "nano", None)
    assert plan("a", None, {"seed": 7, "steps": [4]}).notes == ()
    assert plan("a", None, {"size": (320, 192), "lora": "ink", "steps": [4]}).base.loras[0].weight == 1
    one = plan("a {c} cat", None, {"c": "red", "seed": [3], "steps": "1-3"})  # a slot, a list, several in a text
    assert (one.axes, one.shape) == (("c", "seed", "steps"), (1, 1, 3))
    frame = pd.DataFrame({"seed": [1, 2]})
    assert plan("a", frame, {"steps": 4}).shape == (2,)
    zipped = plan("a", None, {"seed": [1, 2], "guidance": [0, 1], "steps": 4}, zipped=True)
    assert (zipped.shape, zipped.base.steps) == ((2,), 4)
    with pytest.raises(BadRequest, match="without axes"):
        plan("a", None, {"seed": 7})
    with pytest.raises(BadRequest, match="steps=0; expected 1 to 200"):
        plan("a", None, {"seed": [7], "steps": 0})
    two: dict[str, Any] = {"seed": [1, 2], "steps": 4}
    for options in ({"layout": {"rows": "steps"}}, {"labels": {"steps": ["four"]}}, {"zipped": ("seed", "steps")}):
        with pytest.raises(BadRequest, match=r"steps has one value; expected an axis.*steps=\[4\]"):
            plan("a", None, two, **options)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="two axes with the same name, seed"):
        plan("a", frame, {"seed": [3]})


def test_zipped_axes_go_in_step() -> None:
    axes = {"prompt": ["a", "b"], "seed": [1, 2], "steps": [4, 8]}
    made = plan("-", axes, zipped=True)
    assert [(r.prompt, r.seed, r.steps) for r in requests(made)] == [("a", 1, 4), ("b", 2, 8)]
    made = plan("-", axes, zipped=("prompt", "seed"))
    assert made.shape == (2, 2)
    assert made.labels_of("rows") == ("a · seed 1", "b · seed 2")
    assert plan("-", axes, layout={"columns": ("prompt", "seed")}).shape == (2, 2)
    with pytest.raises(BadRequest, match="different numbers of values"):
        plan("-", {"prompt": ["a", "b"], "seed": [1, 2, 3]}, zipped=True)


def test_a_table_has_a_cell_in_each_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["a cat", "一只狗"], "seed": [1, None], "size": ["64x64", "96x64"]})
    by_frame = requests(plan("-", frame))
    frame.to_csv(tmp_path / "cells.csv", index=False, encoding="utf-8-sig")
    by_file = requests(plan("-", tmp_path / "cells.csv"))
    assert by_frame == by_file
    assert [(r.prompt, r.seed, r.width) for r in by_file] == [("a cat", 1, 64), ("一只狗", GRID_SEED, 96)]
    (tmp_path / "uneven.csv").write_text("seed,steps\n1\n")
    with pytest.raises(BadRequest, match="line 2"):
        plan("-", tmp_path / "uneven.csv")
    with pytest.raises(BadRequest, match="cannot be read"):
        plan("-", "none.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed,steps,seed\n1,2,3\n", "two columns 'seed'"),
        ("prompt\n" + "x" * 200_000 + "\n", "line 2 of .*field larger than"),
        ("seed,steps\n\n1,2\n3\n", "line 4 of .* has 1 values; expected 2"),
        ("seed\n", "has 1 lines"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text(text)
    with pytest.raises(BadRequest, match=said):
        plan("-", tmp_path / "cells.csv")


def test_an_empty_cell_of_a_table_is_a_value_and_a_blank_line_is_none(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text('style\nink\n""\n\noil\n')
    made = plan("a cat {style}", tmp_path / "one.csv")
    assert [request.prompt for request in requests(made)] == ["a cat ink", "a cat ", "a cat oil"]
    assert made.labels_of("columns") == ("ink", "no style", "oil")
    (tmp_path / "two.csv").write_text("style,seed\nink,1\n,\n")
    made = plan("a cat {style}", tmp_path / "two.csv")
    assert [(request.prompt, request.seed) for request in requests(made)] == [("a cat ink", 1), ("a cat ", GRID_SEED)]


def test_without_a_seed_every_grid_has_the_same_one() -> None:
    made = plan("a cat", {"steps": [1, 2]})
    assert {request.seed for request in requests(made)} == {GRID_SEED}
    assert "42" in made.notes[0]
    assert plan(Request(prompt="a", seed=7), {"steps": [1]}).notes == ()


def test_labels_say_what_differs() -> None:
    assert label_of("prompt", "a cat") == "a cat"
    assert label_of("prompt", "") == "no prompt"
    assert label_of("seed", 3) == "seed 3"
    assert label_of("lora.weight", 0.5) == "LoRA 0.5"
    assert label_of("lora.papercut.weight", 0.5) == "papercut 0.5"
    assert label_of("lora", []) == "no LoRA"
    assert label_of("lora", [["papercut", 0.8]]) == "papercut 0.8"
    assert label_of("size", "320x192") == "320 × 192"
    assert label_of("stages.upscale", False) == "no upscale"
    assert label_of("stages.pose.scale", 0.8) == "scale 0.8"


def test_labels_can_be_others_and_change_no_request() -> None:
    axes = {"seed": [1, 2]}
    assert plan("a", axes, labels={"seed": ["first", "第二"]}).labels_of("columns") == ("first", "第二")
    made = plan("a", axes).relabelled({"seed": {2: "second"}})
    assert made.labels_of("columns") == ("seed 1", "second")
    assert requests(made) == requests(plan("a", axes))
    with pytest.raises(BadRequest, match="3 labels"):
        plan("a", axes, labels={"seed": ["x", "y", "z"]})


def test_a_plan_is_json_both_ways() -> None:
    import json

    base = Request(prompt="a {c} cat", loras=["papercut"]).then(zk.stages.upscale())
    axes = {"c": ["x", "海"], "lora": [None, "papercut:0.5"], "stages.upscale": [True, False], "size": "64x64"}
    made = plan(base, axes, labels={"c": ["A", "B"]}, title="标题")
    again = Plan.from_data(json.loads(json.dumps(made.data())))
    assert again == made
    assert requests(again) == requests(made)
    data = made.data()
    for broken in (
        {}, {"version": 2}, {**data, "dimensions": {"depth": [{}]}}, {**data, "base": {"x": 1}},
        {**data, "dimensions": {}}, {**data, "labels": []}, {**data, "labels": {"c": ["A"]}},
        {**data, "dimensions": {"rows": [{"seed": seed} for seed in range(10_001)]}},
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            Plan.from_data(broken)


def test_a_grid_beyond_all_measure_is_refused() -> None:
    with pytest.raises(BadRequest, match="40000 cells"):
        plan("a", {"seed": range(200), "steps": [number % 200 + 1 for number in range(200)]})


def test_a_template_is_an_axis_of_its_combinations() -> None:
    made = plan("", {"prompt": "a {red|blue} boat", "seed": [1, 2]})
    assert made.labels_of("rows") == ("red", "blue")
    assert [each.prompt for each in requests(made)] == ["a red boat"] * 2 + ["a blue boat"] * 2
    assert made.notes == ("prompt: each of the 2 combinations of a {red|blue} boat",)
    assert {each.template for each in requests(Plan.from_data(made.data()))} == {"a {red|blue} boat"}
    by_keyword = plan("", None, {"prompt": "a {red|blue} {boat|}", "steps": 4})
    assert by_keyword.labels_of("columns") == ("red · boat", "red", "blue · boat", "blue")
    assert {each.steps for each in requests(by_keyword)} == {4}
    assert Plan.from_data(by_keyword.data()).labels_of("columns") == by_keyword.labels_of("columns")


def test_the_prompt_of_a_grid_may_be_a_template() -> None:
    made = plan("a {red|blue} {what} on {2$$ink|oil|wood}", {"what": ["boat", "duck"]})
    assert made.axes == ("prompt", "what")
    assert [each.prompt for each in requests(made)][:2] == ["a red boat on ink, oil", "a red duck on ink, oil"]
    assert made.shape == (6, 2)
    assert made.labels_of("rows")[0] == "red · ink, oil"
    assert plan("a {red|blue} boat").labels_of("columns") == ("red", "blue")


def test_several_templates_and_plain_prompts_are_one_axis() -> None:
    made = plan("", {"prompt": ["a {red|blue} boat", "a duck", "a red boat", r"the word \{a|b\}"]})
    assert made.labels_of("columns") == ("a red boat", "a blue boat", "a duck", r"the word \{a\|b\}")
    assert resolve(requests(made)[-1].prompt, 7) == "the word {a|b}"


def test_axes_in_step_choose_by_the_seed() -> None:
    made = plan("a {red|blue} boat", {"seed": range(6)}, layout={"columns": ("prompt", "seed")})
    assert made.shape == (6,)
    assert {each.prompt for each in requests(made)} == {"a {red|blue} boat"}
    table = pd.DataFrame({"prompt": ["a {red|blue} boat", "a duck"], "seed": [1, 2]})
    assert plan("", table).shape == (2,)


def test_too_many_combinations_say_what_to_do() -> None:
    text = "{0|1|2|3|4|5|6|7|8|9}" * 3
    with pytest.raises(
        BadRequest, match="has 1000 combinations, too many for an axis; expected at most 200. Let cells"
    ):
        plan(text, {"seed": [1, 2]})
    assert plan(text, {"seed": [1, 2]}, layout={"columns": ("prompt", "seed")}).shape == (2,)
