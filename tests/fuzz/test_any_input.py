"""Inputs of any kind, made by hypothesis: what is valid comes back as it was; the rest is one of our errors.

The same examples in every run. `ZIMAGE_FUZZ_EXAMPLES=5000` makes so many of each, at random.
"""

from __future__ import annotations

import csv
import io
import json
import os
import string
import struct
from pathlib import Path
from typing import Any

import pytest
from bounds import bounded, prepare
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as some
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from targets import TARGETS

import zimage_kit as zk
from zimage_kit import Artifact, Request, cli
from zimage_kit.errors import BadRequest, NoRecipe, ZImageError
from zimage_kit.grid.axis_table import escape_formula, table_of, unescape_formula
from zimage_kit.recipe import templates
from zimage_kit.recipe.artifact import Trace
from zimage_kit.recipe.request import LARGEST_SEED, StageData
from zimage_kit.stages.extensions import kinds, stage_class
from zimage_kit.stages.stage import build

MANY = int(os.environ.get("ZIMAGE_FUZZ_EXAMPLES", "0"))


def of(examples: int) -> settings:
    """So many examples of a test, always the same ones."""
    return settings(
        max_examples=MANY or examples,
        derandomize=not MANY,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of this module: hypothesis runs all examples of a test in one."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("any")
        for name, value in prepare(place).items():
            patch.setenv(name, value)
        yield place


texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=40)
anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=12),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
json_values = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**53), 2**53)
    | some.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
sides = some.none() | some.integers(4, 256).map(lambda number: 16 * number)
names = some.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)
stages = some.builds(
    lambda kind, fields: {**fields, "kind": kind}, names, some.dictionaries(names, json_values, max_size=3)
)
valid = some.fixed_dictionaries(
    {},
    optional={
        "prompt": texts,
        "negative_prompt": texts,
        "model": some.none() | texts.filter(bool),
        "width": sides,
        "height": sides,
        "steps": some.none() | some.integers(1, 200),
        "guidance": some.none() | some.floats(0, 30),
        "seed": some.none() | some.integers(0, LARGEST_SEED),
        "loras": some.lists(names | some.tuples(names, some.floats(-4, 4)), max_size=3),
        "stages": some.lists(stages, max_size=3),
        "source": some.none() | texts,
        "template": texts,
        "template_seed": some.none() | some.integers(0, LARGEST_SEED),
    },
)
FIELDS = sorted(Request.model_fields)
any_fields = some.dictionaries(some.sampled_from([*FIELDS, "self", "cls", "prompts"]), anything, max_size=5)


@of(80)
@given(valid)
def test_a_valid_request_comes_back_from_json(fields: dict[str, Any]) -> None:
    request = Request(**fields)
    again = Request.from_json(request.to_json())
    assert again == request and again.to_json() == request.to_json() and again.digest == request.digest
    assert Request.from_json(request.model_dump_json()) == request
    request._repr_html_()


@of(80)
@given(any_fields)
def test_any_fields_make_a_request_or_one_line(fields: dict[str, Any]) -> None:
    try:
        request = Request(**fields)
    except BadRequest as error:
        assert "\n" not in str(error)
    else:
        assert Request.from_json(request.to_json()) == request


@of(80)
@given(some.sampled_from(kinds()), some.data())
def test_any_fields_make_a_stage_or_one_line(kind: str, data: Any) -> None:
    cls = stage_class(kind)
    assert cls is not None
    known = some.sampled_from([*sorted(cls.model_fields), "self", "kinds"])
    fields = data.draw(some.dictionaries(known, anything | texts, max_size=4))
    try:
        stage = build(StageData(kind=kind, **fields), cls, kinds())
        (back,) = Request.from_json(Request(prompt="x").then(stage).to_json()).stages
    except BadRequest as error:
        assert "\n" not in str(error)
    else:
        assert build(back, cls, kinds()) == stage


@of(30)
@given(valid, some.sampled_from([".png", ".jpg", ".webp"]))
def test_a_picture_keeps_any_recipe(fields: dict[str, Any], ending: str) -> None:
    request = templates.literal(Request(**{**fields, "stages": [], "model": "nano"}))
    made = Artifact(Image.new("RGB", (8, 8)), request, Trace(notes=(request.prompt,)))
    again = zk.open(made.encoded(ending))
    assert again.request == request and again.trace == made.trace


@of(60)
@given(some.text(max_size=20), some.text(max_size=60), some.booleans())
def test_any_text_chunk_of_a_png_is_read_or_refused(name: str, text: str, folded: bool) -> None:
    info, out = PngInfo(), io.BytesIO()
    try:
        info.add_itxt(name, text, zip=folded)
        Image.new("RGB", (2, 2)).save(out, "PNG", pnginfo=info)
    except (ValueError, UnicodeError):
        assume(False)
    with pytest.raises(NoRecipe):
        zk.open(out.getvalue())


CHUNKS = ("zimage_kit", "parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Comment")


@of(60)
@given(some.sampled_from(CHUNKS), any_fields | some.dictionaries(some.sampled_from(["request", "trace"]), any_fields))
def test_any_json_of_any_program_is_read_or_refused(name: str, content: Any) -> None:
    info, out = PngInfo(), io.BytesIO()
    info.add_text(name, json.dumps(content))
    Image.new("RGB", (2, 2)).save(out, "PNG", pnginfo=info)
    try:
        found = zk.open(out.getvalue())
    except NoRecipe as error:
        assert "\n" not in str(error)
    else:
        assert Request.from_json(found.request.to_json()) == found.request


person = some.dictionaries(some.sampled_from(["pose_keypoints_2d", "face_keypoints_2d", "x"]), anything)
people = some.lists(person, max_size=2)
poses = anything | some.dictionaries(
    some.sampled_from(["people", "keypoints", "canvas_width", "canvas_height", "width", "height"]), anything | people
)
binary = some.binary(max_size=60)
prompts = some.text("ab{}|$:_\\ 0129.-,，", max_size=60)
csv_rows = some.lists(some.lists(texts, min_size=2, max_size=2), min_size=1, max_size=4)
toml = some.text(string.ascii_letters + "=[]{}\"'\n,.#0123456789", max_size=60)
headers = some.dictionaries(
    some.sampled_from(["__metadata__", "x.lora_A.weight", "x.lora_B.weight", "x.alpha"]),
    anything
    | some.fixed_dictionaries(
        {"dtype": some.sampled_from(["F32", "I64", "x"]), "shape": anything, "data_offsets": anything}
    ),
)
INPUTS = {
    "pose": poses.map(lambda value: json.dumps(value).encode()) | binary,
    "template": prompts.map(str.encode),
    "word_list": prompts.map(str.encode) | binary,
    "lora_header": headers.map(lambda value: json.dumps(value).encode()) | binary,
    "manifest": toml.map(str.encode) | binary,
    "table": some.text("a,;\"\n\t='1x", max_size=60).map(str.encode) | binary,
    "axis": some.tuples(
        some.sampled_from(["seed", "size", "lora", "variety", "slot", "x"]), some.text(max_size=30)
    ).map(lambda pair: "\n".join(pair).encode(errors="surrogatepass")),
    "lora_name": some.text(max_size=40).map(lambda text: text.encode(errors="surrogatepass")),
    "asset": some.text(max_size=40).map(lambda text: text.encode(errors="surrogatepass")),
    "metadata": binary,
    "gguf": binary.map(lambda tail: b"GGUF" + struct.pack("<I", 3) + tail),
    "marks": some.text("<>/&;:=\"' arxmpRating5", max_size=60).map(str.encode) | binary,
    "grid": anything.map(lambda value: json.dumps({"dimensions": value}).encode()),
    "kept": anything.map(lambda value: json.dumps(value).encode()) | binary,
    "model_folder": anything.map(lambda value: json.dumps(value).encode()) | binary,
}


@pytest.mark.parametrize("name", INPUTS)
def test_readers_take_inputs_of_their_kind(name: str, folder: Path) -> None:
    target = TARGETS[name]
    target.read(target.seeds()[0].read_bytes(), folder)  # imports

    @of(40)
    @given(INPUTS[name])
    def read(data: bytes) -> None:
        with bounded():
            target.read(data, folder)

    read()


@of(60)
@given(some.lists(some.tuples(texts, texts), min_size=1, max_size=5))
def test_a_table_that_was_written_is_read_as_it_was(rows: list[tuple[str, str]]) -> None:
    file = Path(os.environ["HOME"]) / "rows.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerows([("prompt", "negative_prompt"), *(map(escape_formula, row) for row in rows)])
    assert all(unescape_formula(escape_formula(value)) == value for row in rows for value in row)
    found = table_of(file)
    assert found == {
        name: [row[place] or None for row in rows] for place, name in enumerate(("prompt", "negative_prompt"))
    }


@of(60)
@given(some.text(max_size=60))
def test_an_escaped_text_is_itself(text: str) -> None:
    assert templates.resolve(templates.escape(text), 7) == text
    assert templates.count(templates.escape(text)) == 1


WORDS = some.sampled_from(
    ["recipe", "library", "models", "extensions", "template", "coach", "show", "list", "search", "count", "diff", "x"]
)
OPTIONS = some.sampled_from(["--seed", "--size", "--steps", "--stage", "--lora", "--model", "--guidance", "--json"])
COMMANDS = [
    ("recipe", "show"), ("recipe", "diff"), ("template",), ("coach",), ("library", "search"), ("extensions", "show"),
    ("run", "a boat", "--model", "nowhere", "--output", "boat.txt"), ("models", "path"),
]  # fmt: skip


@of(60)
@given(
    some.sampled_from(COMMANDS) | some.lists(WORDS, max_size=2),
    some.lists(OPTIONS | some.text(max_size=12), max_size=4),
)
def test_any_command_line_ends_with_a_status_and_a_line(words: Any, more: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZIMAGE_DEBUG", "1")  # what is none of our errors is raised
        assert cli.call([*words, *more]) in (0, 1, 2)


@of(60)
@given(some.text(max_size=40))
def test_any_text_for_a_stage_is_a_stage_or_one_line(text: str) -> None:
    try:
        data = cli.run.parse_stage(text)
        Request(prompt="x", stages=[data])
    except ZImageError as error:
        assert "\n" not in str(error)
