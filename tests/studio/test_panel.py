"""The panel without a page: the form gives back the recipe it was shown, and nothing that goes wrong is lost."""

from __future__ import annotations

import html
import io
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from panel_jobs import finish
from PIL import Image
from safetensors.numpy import save_file

import zimage_kit as zk
from zimage_kit import Artifact, Context, Event, Field, Request, Session, Stage, errors
from zimage_kit import studio as widgets
from zimage_kit.engine.gpus import Gpu, Holder
from zimage_kit.engine.preflight import check
from zimage_kit.engine.worker_status import WorkerStatus
from zimage_kit.errors import BadRequest, CannotWrite, JobFailed, NoRecipe, OutOfMemory, UnknownModel, ZImageError
from zimage_kit.models.spec import SPECS, resolve
from zimage_kit.models.tokens import count_tokens
from zimage_kit.recipe.artifact import Trace
from zimage_kit.recipe.request import LARGEST_SEED, SIDE_MULTIPLE, StageData
from zimage_kit.session.inline import _Job as InlineJob
from zimage_kit.session.status import JobStatus, Status
from zimage_kit.stages import extensions
from zimage_kit.stages.extensions import build_stages
from zimage_kit.stages.stage import registry, stage
from zimage_kit.studio.panel.actions import ORDER, draft
from zimage_kit.studio.panel.error_box import ErrorBox, error_html, error_line
from zimage_kit.studio.panel.fields import Entry, StageLabels, entry_for
from zimage_kit.studio.panel.form import Form
from zimage_kit.studio.panel.job_progress import progress_of
from zimage_kit.studio.panel.jobs import Place
from zimage_kit.studio.panel.results import MOST, THUMB, Result, Results, differing_fields
from zimage_kit.studio.panel.size import aspects
from zimage_kit.studio.panel.stage_list import SHOWN, StageList
from zimage_kit.studio.panel.status_line import status_html
from zimage_kit.studio.panel.studio import Studio
from zimage_kit.studio.panes.registry import BUILT_IN
from zimage_kit.studio.translations import ON_PAGE, Language, Texts, catalogue, language, languages
from zimage_kit.text import catalogues, units

EN = Texts("en")
FOLDER = Path(widgets.__file__).parent
ROOT = FOLDER.parents[1]
SHIPPED = ("control", "inpaint", "pose", "refine", "text_overlay", "upscale", "variety")
FIELDS = [(kind, name) for kind in SHIPPED for name in extensions.stage_class(kind).model_fields]  # type: ignore[union-attr]
PERSON = {"pose_keypoints_2d": [0.5, 0.3, 1.0, *([0.4, 0.5, 1.0] * 17)]}
STAGES = (
    {"kind": "pose", "people": [PERSON], "canvas": [512, 768], "scale": 0.7, "start": 0.1, "end": 0.8, "mirror": True,
     "fit": "frame", "size": 0.6, "body": "small", "controlnet": "/models/control.safetensors"},
    {"kind": "refine", "strength": 0.55, "steps": 5, "scale": 1.5, "model": "nano", "prompt": "two\nlines 海",
     "negative_prompt": "blurry", "guidance": 2.5, "seed": LARGEST_SEED},
    {"kind": "upscale", "factor": 4, "weights": "nano", "engine": "realesrgan", "tile": 96, "precision": "float32"},
    {"kind": "text_overlay", "text": "海上生明月\n{seed}", "place": "top", "box": [0.1, 0.2, 0.9, 0.55], "margin": 0.1,
     "direction": "vertical", "align": "left", "size": 0.08, "smallest": 9, "line_spacing": 1.1, "font": "Noto Serif",
     "weight": "regular", "colour": "gold", "light": "#ffeedd", "dark": "navy", "outline": 0.02, "shadow": 0.5,
     "behind": "plate", "behind_opacity": 0.4, "opacity": 0.9, "rotation": -12.5},
    {"kind": "variety", "strength": 0.35},
    {"kind": "control", "picture": "/photos/house.jpg", "type": "depth", "scale": 0.7, "start": 0.1, "end": 0.8,
     "source": "map", "fit": "pad", "low": 50, "high": 150, "controlnet": "/models/control.safetensors"},
)  # fmt: skip
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"prompt": "a red boat"},
    "free size": {"prompt": "a red boat", "width": 272, "height": 496},
    "preset": {"prompt": "a red boat", "width": 224, "height": 288},
    "all numbers": {"prompt": " spaces \n海 <b>", "width": 64, "height": 512, "steps": 200, "seed": LARGEST_SEED},
    "least": {"prompt": "", "steps": 1, "seed": 0, "width": 64, "height": 64},
    "guided": {"prompt": "a cat", "guidance": 3.75, "negative_prompt": "a dog"},
    "base": {"prompt": "a cat", "model": "base", "guidance": 4.5, "negative_prompt": "blurry <i>", "width": 1248,
             "height": 832, "steps": 28},
    "turbo, largest": {"prompt": "a cat", "model": "turbo", "width": 2048, "height": 2048, "steps": 8},
    "loras": {"prompt": "a cat", "loras": [("papercut", -0.35), ("/files/my.safetensors", 4.0), ("a folder", 1 / 3)]},
    "stages": {"prompt": "a cat", "stages": STAGES},
    "stages, backwards and twice": {"prompt": "a cat", "stages": [*STAGES[::-1], STAGES[2]]},
    "stages at their defaults": {"prompt": "a cat", "stages": [{"kind": kind} for kind in SHIPPED]},
    "a named pose": {"prompt": "a cat", "stages": [{"kind": "pose", "preset": ["waving", "sitting"]}]},
    "a photograph": {"prompt": "a cat", "stages": [{"kind": "pose", "photo": "/a/b.jpg", "body": "adult"}]},
}  # fmt: skip


def whole(fields: dict[str, Any]) -> Request:
    """A request as the form gives it: nothing left open, stages with all their fields."""
    model = resolve(fields.get("model", "nano"))
    width, height = model.native
    basis = {"model": "nano", "width": width, "height": height, "steps": 8, "guidance": model.guidance, "seed": 7}
    request = Request(**{**basis, **fields})
    return request.but(stages=build_stages(request.stages))


def hidden(control: Any) -> bool:
    return "zk-hidden" in control._dom_classes


class Words(HTMLParser):
    """The text of a page, its tags, and the texts inside of each tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.open, self.inside = "", list[str](), list[str](), dict[str, str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data + " "
        for tag in self.open:
            self.inside[tag] = self.inside.get(tag, "") + data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.open.remove(tag)


@pytest.fixture
def form(session: Session) -> Form:
    return Form(EN, session.models(), lambda: None)


@pytest.fixture
def stages() -> StageList:
    return StageList(EN, lambda: None)


@pytest.fixture
def studio(session: Session) -> Iterator[Studio]:
    studio = Studio(session, language="en", save=False)
    yield studio
    studio.close()
    finish()


def saved(studio: Studio) -> None:
    """Until what was to be saved is saved."""
    studio._saver.submit(lambda: None).result(30)


# the form


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_goes_into_the_form_and_comes_out_the_same(form: Form, name: str) -> None:
    request = whole(REQUESTS[name])
    form.set(request)
    assert form.request().to_json() == request.to_json()
    assert form.lock.value, "the seed of a recipe is kept"


def test_a_model_folder_goes_through_the_form(form: Form, model_directory: Path) -> None:
    request = whole({"prompt": "a cat", "model": str(model_directory)})
    form.set(request)
    assert form.request().to_json() == request.to_json()
    assert str(model_directory) in [value for _, value in form.model.options]


def test_one_request_leaves_nothing_behind_in_the_next(form: Form) -> None:
    for name in ("stages", "plain", "base", "least", "loras", "guided", "a named pose", "turbo, largest", "preset"):
        form.set(whole(REQUESTS[name]))
        assert form.request().to_json() == whole(REQUESTS[name]).to_json(), name


def test_what_a_request_leaves_open_is_the_models_default(form: Form) -> None:
    form.set(Request(prompt="a cat", model="turbo"))
    made, turbo = form.request(), SPECS["turbo"]
    assert (made.width, made.height, made.steps, made.guidance) == (*turbo.native, turbo.steps, turbo.guidance)
    assert not form.lock.value, "no seed was named"


@pytest.mark.parametrize("name", REQUESTS)
def test_another_language_keeps_all_that_stands_in_the_form(studio: Studio, name: str) -> None:
    studio.request = whole(REQUESTS[name])
    studio.form.count.value, studio.form.lock.value = 3, False
    if studio.form.stages.forms:
        studio.form.stages.forms[0].on.value = studio.form.stages.forms[0].fold.value = False
    studio.form.loras.add("unfinished", 0.5)
    before, state, tokens = studio.request.to_json(), studio.form.state(), studio.form.tokens.value
    studio.language = "zh"
    assert studio.form.prompt.description == Texts("zh")("form.prompt")
    assert (studio.request.to_json(), studio.form.state()) == (before, state)
    studio.language = "en"
    assert (studio.request.to_json(), studio.form.state()) == (before, state)
    assert studio.form.tokens.value == tokens


def test_a_negative_prompt_stays_in_sight_in_another_language(form: Form, session: Session) -> None:
    form.set(whole(REQUESTS["guided"]))
    other = Form(Texts("zh"), session.models(), lambda: None)
    other.restore(form.state())
    assert not hidden(form.negative) and not hidden(other.negative) and not hidden(other.guidance)


def test_a_lora_row_without_a_name_stays_without_one_in_another_language(form: Form, session: Session) -> None:
    form.loras.add("papercut")
    form.loras.rows[0].path.value = ""
    other = Form(Texts("zh"), session.models(), lambda: None)
    other.restore(form.state())
    assert other.request().loras == form.request().loras == ()


def test_what_a_lora_says_is_shown_and_its_words_are_put_in_once(form: Form, tmp_path: Path) -> None:
    file = tmp_path / "ink.safetensors"
    said = {"modelspec.trigger_phrase": "ink wash, 水墨", "ss_network_dim": "8", "modelspec.author": "<img src=x>&"}
    save_file({}, file, said)
    form.prompt.value = "pink wash,"
    form.loras.add(str(file))
    (row,) = form.loras.rows
    title, *words = row.words.children
    assert title.value == "Trigger words:" and [word.description for word in words] == ["ink wash", "水墨"]
    assert row.about.value == "<p>by &amp; · rank 8</p>"
    for word in (*words, *words):
        word.click()
    assert form.request().prompt == form.prompt.value == "pink wash, ink wash, 水墨"
    for name in ("papercut", "nothing", "", "a\0b", str(tmp_path)):
        row.path.value = name
        assert not row.words.children or name == str(tmp_path)
    said["modelspec.trigger_phrase"] = ""
    save_file({}, file, {**said, "ss_tag_frequency": '{"a": {"boat": 3}}'})
    row.path.value = str(file)
    assert [each.value if hasattr(each, "value") else each.description for each in row.words.children] == [
        "Often in its captions:", "boat",
    ]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_ratios_are_sizes_that_the_model_draws(spec: Any) -> None:
    found = aspects(spec)
    assert [label.split(" · ")[0] for label, _ in found] == ["1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "21:9"]
    assert len({size for _, size in found}) == len(found), "a menu's values differ"
    for label, (width, height) in found:
        assert f"{width} x {height}" in label
        assert width % SIDE_MULTIPLE == height % SIDE_MULTIPLE == 0
        assert max(width, height) <= spec.advised_side <= spec.largest_side
        assert width * height > spec.native[0] * spec.native[1] / 2, "smaller ones are noted as small"
        across, down = map(int, label.split(" · ")[0].split(":"))
        assert width / height == pytest.approx(across / down, rel=0.08)
    assert found[0][1] == spec.native
    assert {(896, 1152), (832, 1216), (768, 1344)} & set(spec.sizes) <= {size for _, size in found}


def test_a_size_typed_by_hand_is_called_free_and_a_preset_sets_both_sides(form: Form) -> None:
    form.ratio.value = (224, 288)
    assert (form.width.value, form.height.value) == (224, 288)
    form.width.value = 240
    assert form.ratio.value == (0, 0)
    form.width.value = 224
    assert form.ratio.value == (224, 288)
    form.width.value = 250
    with pytest.raises(BadRequest, match="width=250.*Use 240 or 256"):
        form.request()


def test_another_model_brings_its_own_size_steps_and_guidance(form: Form) -> None:
    for name, spec in SPECS.items():
        form.model.value = name
        assert (form.width.value, form.height.value) == spec.native
        assert (form.steps.value, form.guidance.value) == (spec.steps, spec.guidance)
        assert form.ratio.value == spec.native


def test_the_chosen_ratio_stays_when_the_model_changes(form: Form) -> None:
    form.ratio.index = 6
    assert (form.width.value, form.height.value) == (320, 192)
    form.model.value = "turbo"
    assert form.ratio.label == "16:9 · 1344 x 768" and (form.width.value, form.height.value) == (1344, 768)
    form.width.value, form.height.value = 1280, 640
    form.model.value = "base"
    assert (form.width.value, form.height.value) == (1280, 640), "it draws what turbo draws"
    form.model.value = "nano"
    width, height = form.width.value, form.height.value
    assert width / height == pytest.approx(2, rel=0.1) and width <= 320


def test_width_and_height_are_swapped_in_one_change(session: Session) -> None:
    seen: list[tuple[int, int]] = []
    form = Form(EN, session.models(), lambda: seen.append(form.size.value))
    form.size.show((320, 192))
    seen.clear()
    form.size.swap.click()
    assert (form.width.value, form.height.value) == (192, 320) and "9:16" in form.ratio.label
    assert (320, 320) not in seen and (192, 192) not in seen


def test_a_size_with_an_open_side_is_shown_as_it_is_drawn(form: Form) -> None:
    for sides in ({"width": 128}, {"height": 192}, {}):
        drawn = check(Request(prompt="a cat", model="nano", seed=1, **sides)).request
        form.set(Request(prompt="a cat", model="nano", **sides))
        assert form.size.value == (drawn.width, drawn.height), sides
        half = draft(Request(prompt="a cat", model="nano", **sides))
        assert half.width == max(64, (drawn.width or 0) // 2), sides


def test_what_a_model_has_no_use_for_is_not_shown(form: Form) -> None:
    shown = {}
    for name in SPECS:
        form.model.value = name
        shown[name] = not hidden(form.negative), not hidden(form.guidance)
    assert shown == {"nano": (False, False), "turbo": (False, False), "base": (True, True)}
    form.set(whole(REQUESTS["guided"]))
    assert not hidden(form.negative) and not hidden(form.guidance), "a recipe that has them is shown whole"


def test_a_negative_prompt_that_is_shown_is_not_dropped_in_silence(form: Form) -> None:
    form.set(whole({"prompt": "a cat", "negative_prompt": "a dog"}))
    assert hidden(form.negative) or form.request().negative_prompt == "a dog"


def test_a_side_beyond_the_model_is_not_made_smaller_in_silence(form: Form) -> None:
    request = whole({"prompt": "a cat", "width": 1024, "height": 1024})
    try:
        form.set(request)
    except ZImageError:
        return
    assert form.request().width == 1024


def test_an_unlocked_seed_is_drawn_anew_and_a_locked_one_counts_up(form: Form) -> None:
    form.set(whole(REQUESTS["plain"]))
    form.lock.value, form.count.value = False, 3
    drawn = [[request.seed for request in form.requests()] for _ in range(3)]
    for seeds in drawn:
        assert seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]  # type: ignore[operator]
    assert len({seeds[0] for seeds in drawn}) == 3
    form.lock.value = True
    again = [[request.seed for request in form.requests()] for _ in range(2)]
    assert again == [drawn[-1], drawn[-1]]


def test_the_last_seed_comes_back_and_is_kept(form: Form) -> None:
    assert form.seeds.last.disabled
    form.lock.value = False
    first = form.requests()[0].seed
    assert not form.seeds.last.disabled
    form.seeds.dice.click()
    assert form.seed.value != first
    form.seeds.last.click()
    assert (form.seed.value, form.lock.value) == (first, True)
    assert form.requests()[0].seed == first


def test_several_pictures_never_have_one_seed(form: Form) -> None:
    form.set(whole({"prompt": "a cat", "seed": LARGEST_SEED}))
    form.count.value = 2
    try:
        seeds = [request.seed for request in form.requests()]
    except ZImageError:
        return
    assert len(set(seeds)) == 2


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"stages": [{"kind": "upscale"}, {"kind": "nonsense"}]}, BadRequest),
        ({"model": "nanp"}, UnknownModel),
        ({"model": "/no/such/folder"}, UnknownModel),
    ],
    ids=["stage", "model", "folder"],
)
def test_a_recipe_that_cannot_be_had_changes_nothing_in_the_form(
    form: Form, bad: dict[str, Any], error: type[ZImageError]
) -> None:
    form.set(whole(REQUESTS["stages"]))
    state, options = form.state(), form.model.options
    with pytest.raises(error):
        form.set(Request(prompt="another", width=64, **bad))
    assert form.state() == state
    assert form.model.options == options
    assert len(form.stages.box.children[0].children) == len(STAGES), "what the page shows"


def test_a_stage_with_a_choice_that_is_none_changes_nothing_in_the_form(form: Form) -> None:
    form.set(whole(REQUESTS["stages"]))
    state = form.state()
    with pytest.raises(ZImageError):
        form.set(Request(prompt="another", stages=[{"kind": "upscale", "factor": 3}]))
    assert form.state() == state


def test_a_stage_with_an_unknown_field_is_refused_as_the_stage_refuses_it(form: Form) -> None:
    with pytest.raises(BadRequest, match="unknown field"):
        form.set(Request(prompt="a cat", stages=[{"kind": "upscale", "faktor": 2}]))


def test_a_stage_with_a_number_out_of_range_is_not_put_right_in_silence(form: Form) -> None:
    recipe = Request(prompt="a cat", stages=[{"kind": "text_overlay", "text": "x", "smallest": 1000}])
    try:
        form.set(recipe)
        form.request()
    except ZImageError as error:
        assert "smallest=1000" in str(error)
    else:
        pytest.fail("a recipe that the stage refuses became another one")


def test_tokens_are_counted_as_the_model_counts_them(form: Form, model: str) -> None:
    form.set(whole({"prompt": "x", "model": model}))
    directory, limit = form.spec.directory(), form.spec.prompt_tokens
    assert directory is not None
    for prompt in ("a red boat", "海上生明月", "a <b>boat</b>"):
        form.prompt.value = prompt
        assert f"{count_tokens(prompt, directory)} of {limit} tokens" in form.tokens.value
        assert "zk-over" not in form.tokens.value
    form.prompt.value = "boat " * limit
    assert "zk-over" in form.tokens.value and f"{count_tokens(form.prompt.value, directory)} of" in form.tokens.value
    form.model.value = "turbo"
    assert form.tokens.value == "", "its tokenizer is not on this disk"


def test_words_that_the_model_never_met_are_named(form: Form) -> None:
    form.set(whole({"prompt": "a red boat"}))
    assert "never met" not in form.tokens.value
    form.prompt.value = "a red zeppelin and a 恐龙 & <b>"
    words = Words(form.tokens.value)
    assert "Words nano was not trained on: zeppelin" in words.text and "恐龙" in words.text and "b" not in words.tags


# fields of stages


def legal(kind: str, name: str) -> list[Any]:
    """The default of a field and other JSON values that the stage takes for it."""
    info = extensions.stage_class(kind).model_fields[name]  # type: ignore[union-attr]
    default = StageData(kind=kind, **{name: info.get_default()}).model_dump(mode="json")[name]
    kinds = [part for part in get_args(info.annotation) if part is not type(None)]
    optional = type(None) in get_args(info.annotation)
    plain = kinds[0] if optional and len(kinds) == 1 else info.annotation
    values: list[Any] = [default, *([None] if optional else [])]
    low = next((limit.ge for limit in info.metadata if hasattr(limit, "ge")), 0)
    high = next((limit.le for limit in info.metadata if hasattr(limit, "le")), 100)
    if plain is bool:
        values += [True, False]
    elif get_origin(plain) is Literal:
        values += get_args(plain)
    elif plain is int:
        values += [low, high, (low + high) // 2]
    elif plain is float:
        values += [low, high, round((low + high) / 3, 3)]
    elif plain in (str, Path):
        values += ["gold", "/a/b c.bin", '海 "x" {seed}', *(["two\nlines"] if name in ("text", "prompt") else [])]
    elif name == "box":
        values += [[0.1, 0.2, 0.9, 0.55], [0.0, 0.0, 1.0, 1.0]]
    elif name == "people":
        values += [[PERSON]]
    elif name == "preset":
        values += [["waving"], ["waving", "sitting"]]
    elif name == "canvas":
        values += [[512, 768]]
    elif name == "extend":
        values += [[0, 64, 0, 128]]
    else:
        pytest.fail(f"this test knows no value of {kind}.{name}: {info.annotation}")
    return values


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind}.{name}" for kind, name in FIELDS])
def test_every_value_of_a_field_is_shown_and_read_back(kind: str, name: str) -> None:
    cls = extensions.stage_class(kind)
    assert cls is not None
    made: Entry = entry_for(cls, name, StageLabels.of(kind, "en"), "automatic")
    values = legal(kind, name)
    emptied = [None] if values[0] in ((), []) else []  # an empty list is an empty line, which says: the default
    assert made.value in [values[0], *emptied]
    for value in [*values, *values[::-1]]:
        made.value = value
        assert made.value in [value, *(emptied if not value else [])], f"{kind}.{name}"
        assert made.show(made.read(made.widget.value)) == made.widget.value


def test_a_number_that_may_be_left_open_keeps_all_its_digits(form: Form) -> None:
    request = whole({"prompt": "a cat", "stages": [{"kind": "refine", "strength": 0.5, "guidance": 1 / 3}]})
    form.set(request)
    assert form.request().to_json() == request.to_json()


WRONG = [
    ("upscale", "tile", "large"),
    ("upscale", "tile", "7"),
    ("refine", "steps", "many"),
    ("refine", "steps", "0"),
    ("refine", "guidance", "-1"),
    ("refine", "seed", "1.5"),
    ("text_overlay", "box", "0.9 0 0.1 1"),
    ("text_overlay", "box", "<b>"),
    ("text_overlay", "box", "[0, 0, 1]"),
    ("text_overlay", "size", "2"),
    ("text_overlay", "colour", "no colour"),
    ("text_overlay", "outline", "thick"),
]


@pytest.mark.parametrize(("kind", "name", "text"), WRONG, ids=[f"{k}.{n}={t}" for k, n, t in WRONG])
def test_wrong_text_gives_the_stages_own_error_in_the_stages_form(
    stages: StageList, kind: str, name: str, text: str
) -> None:
    made = stages.add(kind)
    (control,) = [each.widget for each in made._entries if each.name == name]
    right = control.value
    control.value = text
    (typed,) = [each.value for each in made._entries if each.name == name]
    with pytest.raises(BadRequest) as own:
        extensions.stage_class(kind)(**{name: typed})  # type: ignore[misc]
    assert f"{kind}.{name}" in str(own.value)
    shown = Words(made.problem.value)
    assert " ".join(shown.text.split()) == str(own.value) and shown.tags == ["p"]
    with pytest.raises(BadRequest, match=re.escape(str(own.value))):
        stages.stages()
    made.on.value = False
    assert stages.stages() == [] and made.problem.value == "", "a stage that is off is not in the way"
    made.on.value = True
    assert made.problem.value
    control.value = right
    assert made.problem.value == "" and len(stages.stages()) == 1


def test_limits_choices_and_what_it_means_are_read_off_the_field(stages: StageList) -> None:
    made = {each.name: each.widget for each in stages.add("text_overlay")._entries}
    assert (made["margin"].min, made["margin"].max, made["margin"].step) == (0.0, 0.4, 0.01)
    assert (made["smallest"].min, made["smallest"].max, made["smallest"].value) == (4, 200, 12)
    assert [value for _, value in made["weight"].options] == ["regular", "bold"]
    assert made["size"].placeholder == "automatic" and made["size"].value == ""
    assert made["margin"].tooltip == "distance from the edges / shorter side; a box has none"


# the list of stages


def kinds_of(stages: StageList) -> list[str]:
    return [each.kind for each in stages.stages()]


def test_stages_are_chosen_from_a_menu_moved_and_switched_off(stages: StageList) -> None:
    assert {value for _, value in stages.menu.options} == {"", *extensions.kinds()}
    for kind in ("upscale", "text_overlay", "refine"):
        stages.menu.value = kind
        assert stages.menu.value == "", "ready for the next one"
    assert kinds_of(stages) == ["upscale", "text_overlay", "refine"]
    first, second, third = stages.forms
    assert [(each.up.disabled, each.down.disabled) for each in stages.forms] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    third.up.click()
    assert kinds_of(stages) == ["upscale", "refine", "text_overlay"]
    first.down.click()
    first.down.click()
    assert kinds_of(stages) == ["refine", "text_overlay", "upscale"]
    stages.move(first, 1)
    assert kinds_of(stages) == ["refine", "text_overlay", "upscale"], "it is the last one"
    assert list(stages.box.children[0].children) == [third.box, second.box, first.box]
    second.on.value = False
    assert kinds_of(stages) == ["refine", "upscale"]
    second.on.value = True
    assert kinds_of(stages) == ["refine", "text_overlay", "upscale"]


def test_a_removed_stage_comes_back_in_its_place_with_what_stood_in_it(stages: StageList) -> None:
    for data in STAGES[:4]:
        stages.add(data["kind"], {name: value for name, value in data.items() if name != "kind"})
    before = stages.stages()
    assert hidden(stages.undo)
    stages.forms[1].remove.click()
    assert kinds_of(stages) == ["pose", "upscale", "text_overlay"]
    assert not hidden(stages.undo) and stages.undo.description == "Restore Refine"
    stages.undo.click()
    assert stages.stages() == before and hidden(stages.undo)
    stages.bring_back()
    assert stages.stages() == before, "it comes back once"


def test_fields_that_are_seldom_needed_fold_out_and_those_that_are_set_show_themselves(stages: StageList) -> None:
    plain = stages.add("text_overlay", {"text": "x"})
    button, rest = plain.body.children[1:3]
    assert button.description == f"{len(plain._entries) - SHOWN} more settings" and hidden(rest)
    button.value = True
    assert not hidden(rest)
    rare = stages.add("text_overlay", {"text": "x", "rotation": 5.0})
    assert not hidden(rare.body.children[2])
    rare.fold.value = False
    assert hidden(rare.body)


def test_a_stages_own_control_is_told_of_size_model_picture_and_language(studio: Studio, artifact: Artifact) -> None:
    content = artifact.png_bytes()
    studio.request = whole({"prompt": "a cat", "stages": [{"kind": "pose", "preset": ["waving"]}]})
    control = studio.form.stages.forms[0].control
    assert (control.size, control.model, control.backdrop, control.language) == ((256, 256), "nano", b"", "en")
    studio.form.width.value = 320
    assert control.size == (320, 256)
    studio.form.model.value = "turbo"
    assert (control.size, control.model) == ((1152, 896), "turbo"), "of about the same ratio"
    studio.bar._handle_custom_msg({"do": "open", "name": "x.png", "part": 0, "parts": 1}, [content])
    studio.form.stages.add("pose")
    (added,) = [each.control for each in studio.form.stages.forms]
    assert added.size == (64, 64) and Image.open(io.BytesIO(added.backdrop)).size == (64, 64)
    studio.language = "zh"
    (again,) = [each.control for each in studio.form.stages.forms]
    assert (again.language, again.size, again.model) == ("zh", (64, 64), "nano")
    assert again.backdrop == added.backdrop


def test_a_photo_takes_the_place_of_a_named_pose_and_the_other_way_round(stages: StageList) -> None:
    form = stages.add("pose", {"preset": ["waving"], "size": 0.5})
    photo = next(entry for entry in form._entries if entry.name == "photo")
    photo.widget.value = "/photos/me.jpg"
    assert form.problem.value == "" and (form.stage().preset, form.stage().size) == ((), 0.5)  # type: ignore[attr-defined]
    assert str(form.stage().photo) == "/photos/me.jpg"  # type: ignore[attr-defined]
    form.control.value = {"preset": ["sitting"]}
    assert form.problem.value == "" and form.stage().photo is None  # type: ignore[attr-defined]
    form.value = {"photo": "/photos/me.jpg"}
    assert str(form.stage().photo) == "/photos/me.jpg" and form.stage().preset == ()  # type: ignore[attr-defined]


def test_what_the_hand_did_in_a_stages_own_control_is_in_the_request(stages: StageList) -> None:
    made = stages.add("pose")
    assert not {each.name for each in made._entries} & set(made.control.edits)
    made.control.value = {"people": [PERSON], "canvas": [512, 512]}
    (built,) = stages.stages()
    assert built.model_dump(mode="json")["people"][0]["pose_keypoints_2d"] == PERSON["pose_keypoints_2d"]
    made.control.value = {"preset": ["no such pose"]}
    assert "no such pose" in made.problem.value


# texts


def places(text: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_every_language_has_the_same_texts_with_the_same_places() -> None:
    english = catalogue(FOLDER / "texts", "en")
    for other in languages():
        texts = catalogue(FOLDER / "texts", other)
        assert texts.keys() == english.keys()
        assert [key for key in english if places(texts[key]) != places(english[key])] == [], other
        assert [key for key in english if not texts[key].strip()] == []


def used_texts() -> set[str]:
    """The keys that the panel's sources name, in Python as "section.key", in a script as text("key")."""
    there = set(catalogue(FOLDER / "texts", "en"))
    sections = {key.partition(".")[0] for key in there}
    literal = re.compile(rf"""["']((?:{"|".join(sections)})\.(?!js|css)[a-z_]+)["']""")
    used = {key for path in FOLDER.rglob("*.py") for key in literal.findall(path.read_text("utf-8"))}
    for section in ("bar", "viewer"):
        script = (FOLDER / "panel" / f"{section}.js").read_text("utf-8")
        used |= {f"{section}.{key}" for key in re.findall(r'\btext\("([a-z_]+)"\)', script)}
    box = (FOLDER / "js" / "lightbox.js").read_text("utf-8")
    used |= {f"lightbox.{key}" for key in re.findall(r'\btext\("([a-z_]+)"\)', box)}
    board = "\n".join(path.read_text("utf-8") for path in (FOLDER / "grid_view").glob("grid_*.js"))
    used |= {f"board.{key}" for key in re.findall(r'\btext\("([a-z_]+)"\)', board)}
    chosen = {f"board.{key}" for key in re.findall(r'"([a-z_]+)"', board)}  # by a condition, or out of a list
    used |= chosen & set(catalogue(FOLDER / "texts", "en"))
    buttons = re.findall(r'this\.button\("(\w+)"', board)
    used |= {f"board.{name}{ending}" for name in buttons for ending in ("", "_help")}
    used |= {f"viewer.{name}{ending}" for name in ORDER for ending in ("", "_help")}
    for section in ("bar", "queue", "library"):  # words that a script takes out of a list, and their explanations
        folder = FOLDER / "panel" / "bar.js" if section == "bar" else FOLDER / "panes" / section
        scripts = [folder] if folder.is_file() else [*folder.glob("*.js")]
        words = {word for script in scripts for word in re.findall(r'"([a-z_]+)"', script.read_text("utf-8"))}
        used |= {f"{section}.{word}{ending}" for word in words for ending in ("", "_help")} & there
        texts = re.findall(r"text\(`([a-z_]+_)\$\{", "\n".join(script.read_text("utf-8") for script in scripts))
        used |= {key for key in there if key.startswith(tuple(f"{section}.{start}" for start in texts))}
    composed = re.compile(rf"""f["']((?:{"|".join(sections)})\.[a-z_]+_)\{{""")
    starts = {start for path in FOLDER.rglob("*.py") for start in composed.findall(path.read_text("utf-8"))}
    used |= {key for key in there if key.startswith(tuple(starts))}
    used |= {f"{key}{ON_PAGE}" for key in used} & there
    used |= {f"{pane.name}.{part}" for pane in BUILT_IN for part in ("label", "help_line")} & there
    viewer = (FOLDER / "panel" / "viewer.js").read_text("utf-8")
    for name, values in re.findall(r'^  (\w+): \{ beside: "\w+", values: \[(.*?)\]', viewer, re.MULTILINE):
        used |= {f"viewer.{name}", f"viewer.{name}_help"} | {
            f"viewer.{name}_{each}" for each in re.findall(r"\w+", values)
        }
    script = (FOLDER / "panes" / "compare" / "slider.js").read_text("utf-8")
    used |= {f"compare.{key}" for key in ("label", "position") if f"texts.{key}" in script}
    used |= {f"compare.{side}" for side in ("before", "after")}  # its two pictures, by their names
    used |= {f"state.{state}" for state in get_args(Status.model_fields["state"].annotation)}
    return used | {f"errors.{name}" for name in shown_errors()} | {"errors.other"}


def shown_errors() -> set[str]:
    """Every kind of error but the root, and the one that is no error to whoever cancelled."""
    found = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, ZImageError)}
    return found - {"ZImageError", "JobCancelled"}


def test_every_text_that_the_panel_names_exists_and_none_is_left_over() -> None:
    there, used = set(catalogue(FOLDER / "texts", "en")), used_texts()
    assert len(used) > 100
    assert used - there == set()
    assert there - used == set()


def test_the_language_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZIMAGE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for spoken, expected in {"zh_CN.UTF-8": "zh", "en_GB.UTF-8": "en", "de_DE": "en", "C": "en"}.items():
        monkeypatch.setenv("LANG", spoken)
        assert language() == expected, spoken
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    monkeypatch.setenv("LC_ALL", "zh_TW.UTF-8")
    assert language() == "zh"
    for given, expected in {"en": "en", "ZH": "zh", "zh_CN": "zh"}.items():
        monkeypatch.setenv("ZIMAGE_LANG", given)
        assert language() == expected
    monkeypatch.setenv("ZIMAGE_LANG", "fr")
    with pytest.raises(BadRequest, match="ZIMAGE_LANG=fr; expected en or zh"):
        language()


def test_a_third_language_is_one_file(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "texts"
    shutil.copytree(FOLDER / "texts", folder)
    (folder / "fr.toml").write_text('[language]\nname = "Français"\n[bar]\ngenerate = "Générer"\n', "utf-8")
    monkeypatch.setattr(catalogues, "FOLDER", folder)
    assert languages() == {"en": "English", "fr": "Français", "zh": "中文"}
    studio.language = "zh"
    assert studio.bar.languages["fr"] == "Français", "it stands in the menu"
    studio.bar._handle_custom_msg({"do": "language", "to": "fr"}, [])
    assert studio.language == "fr" and studio.bar.texts["generate"] == "Générer"
    assert studio.bar.texts["cancel"] == "Cancel", "what it lacks is said in English"
    studio.bar._handle_custom_msg({"do": "language", "to": "xx"}, [])
    assert studio.language == "fr"
    monkeypatch.setenv("ZIMAGE_LANG", "fr_FR")
    assert language() == "fr"


def test_what_the_program_says_in_english_is_said_in_chinese() -> None:
    zh = Texts("zh")
    tried: list[tuple[dict[str, Any], str]] = [
        ({"prompt": ""}, "提示词是空的"),
        ({"prompt": "a cat", "width": 250}, '应为 16 的倍数</p><p class="zk-mend">请用 240 或 256。'),
        ({"prompt": "a cat", "width": 1024}, "应为 nano 每边最多 512 像素"),
        ({"prompt": "a cat", "loras": [("papercat", 1)]}, "您是指 papercut 吗？"),
    ]
    for fields, said in tried:
        with pytest.raises(BadRequest) as caught:
            check(Request(model="nano", **fields))
        shown = error_html(caught.value, zh)
        assert said in shown and html.escape(str(caught.value)) in shown.partition("<details>")[2], shown
        assert str(caught.value) == error_line(caught.value, EN)
    event = Event(kind="stage", job="a", message="upscale: tile 3 of 9")
    assert progress_of(event, zh, {"upscale": "放大"})["text"] == "放大：第 3 / 9 块"  # type: ignore[index]
    event = Event(kind="step", job="a", step=1, steps=8, drawing=10.5)
    assert progress_of(event, zh, {})["text"] == "第 1 / 8 步 · 还需 1 分 13 秒"  # type: ignore[index]
    for seconds in (1.44, 59.9, 60, 185.4, 3600, 7812):
        assert EN.duration(seconds) == units.duration(seconds)


def test_the_sentences_that_are_translated_are_the_programs() -> None:
    sources = [*(ROOT / "zimage_kit").rglob("*.py"), *(ROOT / "extensions").rglob("*.py")]
    code = re.sub(r'"\s+(?:\+ )?f?"', "", "\n".join(path.read_text("utf-8") for path in sources))
    code = re.sub(r"\{[^{}]*\}", "", code)
    for english, said in catalogues._tables(FOLDER / "texts", "zh")["sentences"].items():
        assert sorted(places(english)) == sorted(places(said)) or set(places(said)) < set(places(english)), english
        chunks = [chunk.strip(" .:;,?(") for chunk in re.split(r"\{\w+\}", english)]
        assert max(chunks, key=len) in code, english


def test_an_unknown_text_is_the_programs_mistake() -> None:
    with pytest.raises(KeyError):
        EN("panel.nonsense")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZIMAGE_PRESETS", str(tmp_path / "own"))
    return tmp_path / "own"


def test_a_preset_is_saved_replaced_used_and_forgotten(own: Path, studio: Studio) -> None:
    form, menu = studio.form, studio.form.saved.kinds["preset"]
    form.saved.fold.value = True
    form.prompt.value, form.steps.value = "a boat", 3

    def save(name: str) -> None:
        values = [[menu.name.model_id, "value", name]]
        studio.bar._handle_custom_msg({"do": "save_preset", "selected": "", "values": values}, [])

    save("quick")
    kept = zk.preset("quick")
    assert (kept.prompt, kept.steps, kept.width, kept.seed) == ("a boat", 3, None, None)
    form.steps.value = 5
    save("quick")
    assert zk.preset("quick").steps == 3 and menu.save.description == "Replace quick?"
    again = Form(EN, studio.session.models(), lambda: None)
    again.restore(form.state())
    assert again.saved.fold.value and again.saved.kinds["preset"].name.value == "quick"
    save("quick")
    assert zk.preset("quick").steps == 5 and menu.save.description == "Save"
    form.steps.value = 8
    menu.menu.value = "quick"
    assert form.steps.value == 5 and menu.menu.value == "", "it can be chosen again"
    menu.forget.click()
    assert zk.presets() == () and menu.undo.description == "Restore quick"
    menu.undo.click()
    assert zk.preset("quick").steps == 5 and [label for label, _ in menu.menu.options][1:] == ["quick"]
    save("a/b")
    assert "is no name" in studio.problem._content.value


def test_a_style_ends_the_prompt_once_and_is_kept_from_what_is_selected(own: Path, studio: Studio) -> None:
    form, menu = studio.form, studio.form.saved.kinds["style"]
    shipped = zk.styles("en")
    form.prompt.value, menu.name.value = "a boat, chalk on slate", "chalk"
    studio.bar._handle_custom_msg({"do": "save_style", "selected": "chalk on slate"}, [])
    assert zk.styles("en") == {**shipped, "chalk": "chalk on slate"} and zk.presets() == ()
    form.prompt.value = "a cat"
    for _ in range(2):
        menu.menu.value = "chalk"
        assert form.prompt.value == "a cat, chalk on slate"
    menu.forget.click()
    assert zk.styles("en") == shipped
    menu.undo.click()
    assert zk.styles("en") == {**shipped, "chalk": "chalk on slate"}
    (own / ".styles.json").write_text("[", "utf-8")
    with pytest.raises(BadRequest, match="cannot be read"):
        zk.styles()


def test_the_menu_offers_the_styles_that_the_model_knows_and_takes_one_out_again(own: Path, studio: Studio) -> None:
    form, menu = studio.form, studio.form.saved.kinds["style"]
    form.saved.fold.value = True
    assert [value for _, value in menu.menu.options] == ["", *zk.styles("en", "nano")]
    form.prompt.value = "a cat,"
    menu.menu.value = "Ink wash"
    assert form.prompt.value == "a cat, ink wash painting" and menu.undo.description == "Take out Ink wash"
    menu.undo.click()
    assert form.prompt.value == "a cat,", "exactly as it was"
    menu.menu.value = "Neon"
    form.prompt.value += ", at night"
    menu.undo.click()
    assert form.prompt.value == "a cat, at night", "what was written since stays"
    form.model.value = "turbo"
    assert [value for _, value in menu.menu.options] == ["", *zk.styles("en", "turbo")]
    studio.language = "zh"
    form = studio.form
    form.saved.fold.value = True
    assert [value for _, value in form.saved.kinds["style"].menu.options] == ["", *zk.styles("zh", "turbo")]


# errors and the status line


def raised(error: Exception) -> Exception:
    """The error with a traceback, as whoever shows it has it."""
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize("spoken", languages())
def test_an_error_says_what_was_seen_and_what_to_do_and_folds_its_traceback(spoken: Language) -> None:
    texts = Texts(spoken)
    error = raised(BadRequest("<script>x=1", expected="no & script", mend="Take <b>y</b>."))
    shown = Words(error_html(error, texts))
    assert texts("errors.BadRequest") in shown.text
    assert "<script>x=1; expected no & script" in shown.text and "Take <b>y</b>." in shown.text
    assert shown.tags == ["div", "p", "b", "p", "p", "details", "summary", "pre"]
    assert "Traceback (most recent call last)" in shown.inside["details"]
    assert "Traceback (most" not in shown.inside["div"]


def test_an_error_out_of_a_worker_shows_the_traceback_that_it_brought() -> None:
    error = raised(OutOfMemory("no room", traceback="File stage.py, line 3 <i>"))
    shown = Words(error_html(error, EN))
    assert shown.inside["pre"] == "File stage.py, line 3 <i>" and "i" not in shown.tags
    assert EN("errors.OutOfMemory") in shown.text
    other = Words(error_html(raised(ValueError("<i>")), EN))
    assert EN("errors.other") in other.text and "ValueError: <i>" in other.inside["div"]


def test_the_error_box_opens_and_closes() -> None:
    box = ErrorBox(EN)
    assert hidden(box.box) and box.error is None
    error = BadRequest("that")
    box.show(error)
    assert not hidden(box.box) and box.error is error
    box.box.children[1].click()
    assert hidden(box.box) and box.error is None and box.box.children[0].value == ""


def test_the_status_line_says_how_the_card_is_and_who_holds_it() -> None:
    worker = WorkerStatus(
        name="a", host="box", pid=5, state="running", model="/models/<b>mine", device="cuda:0", dtype="bfloat16",
        placement="resident", plan={"peak_bytes": 22_500_000_000, "speed": "exact"}, resident_bytes=20_500_000_000,
    )  # fmt: skip
    holders = (Holder(5, "python", 8_000_000_000), Holder(9, "<script>", 2_000_000_000))
    gpu = Gpu(0, 'RTX "4090"', "570", 24_000_000_000, 12_000_000_000, True, holders, 61, 300.0, "box")
    jobs = (
        JobStatus(id="j1", state="running", prompt="a cat", model="nano", step=2, steps=8, owner="<i>x.ipynb"),
        JobStatus(id="j2", state="queued", prompt="a dog", model="nano", position=0),
        JobStatus(id="j3", state="queued", prompt="a cow", model="nano", position=1),
    )
    shown = status_html(
        Status(engine="shared", state="running", workers=(worker,), jobs=jobs, gpus=(gpu,), clients=2), EN
    )
    words = Words(shown)
    assert set(words.tags) == {"ul", "li", "b", "meter"}
    assert "drawing" in words.text and "<b>mine" in words.text and "/models" not in words.text
    assert "cuda:0, bfloat16, resident, exact" in words.text and "20.5 GB · at most 22.5 GB" in words.text
    assert "Z-Image-Turbo here" not in words.text, "a model is loaded: its own plan is shown"
    assert "12.0 GB of 24.0 GB" in words.text and 'value="0.500"' in shown and "61 °C" in words.text
    assert "this session uses 8.0 GB" in words.text and "<script> (pid 9) uses 2.0 GB" in words.text
    assert "<i>x.ipynb: step 2/8" in words.text and "2 queued" in words.text and "2 clients" in words.text
    assert html.escape('RTX "4090": 12.0 GB', quote=True) in shown, "the bar's name"


def test_the_status_line_without_a_model_a_card_or_company() -> None:
    words = Words(status_html(Status(engine="inline", state="idle"), EN))
    assert "ready" in words.text and "no model loaded" in words.text and "0 queued" in words.text
    assert "clients" not in words.text and "meter" not in words.tags


@pytest.mark.parametrize(
    ("name", "gib", "told"),
    [
        ("NVIDIA GeForce RTX 4090", 24, "Z-Image-Turbo here: stays on the card, about 4.5 s a picture (computed)"),
        ("NVIDIA GeForce RTX 4060", 8, "of 34 blocks are copied to the card in each step, about"),
        ("Some other card", 12, "blocks are copied to the card in each step"),
        ("NVIDIA GeForce GT 1030", 2, "this card is too small for Z-Image-Turbo"),
    ],
)
def test_before_a_model_is_loaded_the_status_line_says_what_to_expect(name: str, gib: int, told: str) -> None:
    gpu = Gpu(0, name, "570", gib << 30, 0, True, ())
    assert told in Words(status_html(Status(engine="inline", state="idle", gpus=(gpu,)), EN)).text


# results


def picture(artifact: Artifact, **changes: Any) -> Artifact:
    return Artifact(artifact.image, artifact.request.but(**changes), artifact.trace)


def test_only_what_recipes_differ_in_is_told(artifact: Artifact) -> None:
    assert differing_fields([]) == [] and differing_fields([artifact, artifact]) == [{}, {}]
    one = picture(artifact, seed=1, loras=[("papercut", 0.5)], stages=[{"kind": "upscale", "factor": 2}])
    two = picture(artifact, seed=2, loras=[("papercut", 1.0)], stages=[{"kind": "upscale", "factor": 4}])
    assert differing_fields([one, two]) == [
        {"seed": 1, "loras": "papercut 0.5", "upscale.factor": 2},
        {"seed": 2, "loras": "papercut 1", "upscale.factor": 4},
    ]
    without = picture(artifact, seed=1, loras=[("papercut", 0.5)])
    assert differing_fields([one, without]) == [{"stages": "upscale"}, {"stages": ""}], "factor is not told of both"


def test_two_stages_of_one_kind_are_told_apart(artifact: Artifact) -> None:
    last = {"kind": "text_overlay", "text": "the same"}
    pictures = [picture(artifact, stages=[{"kind": "text_overlay", "text": text}, last]) for text in ("one", "two")]
    told = differing_fields(pictures)
    assert [list(each.values()) for each in told] == [["one"], ["two"]]


def test_the_strip_keeps_the_latest(artifact: Artifact) -> None:
    results = Results()
    added = [results.add(artifact) for _ in range(MOST + 3)]
    assert [gone for _, gone in added if gone] == [["r1"], ["r2"], ["r3"]]
    assert len(results) == MOST and [each.number for each in results] == list(range(4, MOST + 4))
    assert results.get("r1") is None
    results.remove("r4")
    assert len(results) == MOST - 1
    assert results.add(artifact)[0].id == f"r{MOST + 4}", "no number comes again"


@pytest.mark.parametrize("size", [(64, 64), (2048, 1024), (1024, 2048), (4096, 64), (168, 168)])
def test_a_thumb_fits_the_strip_and_the_picture_stays_whole(artifact: Artifact, size: tuple[int, int]) -> None:
    made = Result(1, Artifact(Image.new("RGB", size, "red"), artifact.request, Trace()))
    thumb, shown = Image.open(io.BytesIO(made.thumb)), Image.open(io.BytesIO(made.jpeg))
    assert shown.size == size and shown.format == thumb.format == "JPEG"
    assert thumb.width <= 2 * THUMB and thumb.height <= THUMB
    fits = size[0] <= 2 * THUMB and size[1] <= THUMB
    assert thumb.size == size if fits else thumb.width == 2 * THUMB or thumb.height == THUMB


def test_what_is_transparent_is_shown_on_white(artifact: Artifact) -> None:
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    made = Result(1, Artifact(clear, artifact.request, Trace()))
    for encoded in (made.jpeg, made.thumb):
        assert min(low for low, _ in Image.open(io.BytesIO(encoded)).convert("RGB").getextrema()) > 250


def test_a_caption_and_a_label_say_what_it_is(artifact: Artifact) -> None:
    long = picture(artifact, prompt="a boat " * 20, seed=None)
    assert Result(3, artifact).label() == "3: 海上生明月, a boat, 7"
    assert len(Result(3, long).label()) == len("3: ") + 40
    artifact.path = Path("/a/b.png")
    assert Result(3, artifact).caption(EN) == "seed 7 · 64 x 64 · b.png"


# the studio, without a page


SMALL = {"prompt": "a red boat", "width": 64, "height": 64, "steps": 2, "seed": 7}


@pytest.fixture
def small(model: str) -> Request:
    return Request(**SMALL, model=model)


@pytest.fixture
def broken(session: Session) -> Iterator[list[str]]:
    """A stage that fails, unless its text is "well"; what it was called with."""
    called: list[str] = []

    class Broken(Stage):
        """Fails."""

        kind = "panel_broken"
        text: str = ""

        def after(self, image: Any, ctx: Any) -> Any:
            """Fail."""
            called.append(self.text)
            raise RuntimeError(f"broke at seed {ctx.request.seed}")

    stage(Broken)
    yield called
    registry.remove("panel_broken")


def test_the_panel_makes_the_same_pixels_as_a_cell(studio: Studio, session: Session, small: Request) -> None:
    studio.request = small
    studio.generate()
    finish()
    (made,) = studio.artifacts
    assert studio.artifact is made and studio.problem.error is None
    same = session.run(small, fresh=True)
    assert made.request == same.request and made.image.tobytes() == same.image.tobytes()
    assert Image.open(io.BytesIO(studio.viewer.picture)).size == (64, 64)
    assert [each["id"] for each in studio.viewer.results] == ["r1"] and studio.viewer.selected == "r1"
    assert not studio.bar.busy and not studio.viewer.progress["active"]
    assert studio.viewer.progress["said"] == "done"


def test_a_click_counts_with_what_the_page_holds(studio: Studio, small: Request) -> None:
    studio.request = small
    form = studio.form
    values = [[form.ratio.model_id, "index", 5], [form.prompt.model_id, "value", "a yellow boat"]]
    values += [[form.seed.model_id, "value", 9], [form.width.model_id, "value", 64], ["elsewhere", "value", 1]]
    assert {model for model, *_ in values[:-1]} <= set(studio.bar.inputs)
    studio.bar._handle_custom_msg({"do": "generate", "values": values}, [])
    finish()
    (made,) = studio.artifacts
    assert (made.request.prompt, made.request.seed) == ("a yellow boat", 9)
    assert (made.request.width, made.request.height) == (64, 320), "9:16 was chosen before the width was typed"


def test_the_same_picture_made_again_is_selected_and_not_added(studio: Studio, small: Request) -> None:
    studio.request = small.but(prompt="a red boat")
    studio.generate()
    finish()
    studio.request = small.but(prompt="a red boat", seed=8)
    studio.generate()
    finish()
    assert [each.request.seed for each in studio.artifacts] == [7, 8]
    studio.request = small.but(prompt="a red boat")
    studio.generate()
    finish()
    assert [each.request.seed for each in studio.artifacts] == [7, 8] and studio.viewer.selected == "r1"
    assert studio.viewer.progress["said"] == "1: a red boat, 7 again: the same recipe gives the same picture"
    studio.forget(studio.results.get("r1"))  # type: ignore[arg-type]
    studio.generate()
    finish()
    assert [each.request.seed for each in studio.artifacts] == [8, 7], "one that was removed is made anew"


def test_loading_is_never_told_as_steps() -> None:
    loading = Event(kind="loading", job="a", message="loading nano", bytes_done=3 * 10**9, bytes_total=9 * 10**9)
    shown = progress_of(loading, EN, {})
    assert shown == {"value": 3 * 10**9, "max": 9 * 10**9, "text": "loading nano (3.0 GB / 9.0 GB)"}
    first = progress_of(Event(kind="step", job="a", step=1, steps=8), EN, {})
    assert first is not None and first["text"] == "step 1 of 8", "no time is told that is not known"
    job = JobStatus(id="j", state="running", prompt="a cat", model="nano")
    words = Words(status_html(Status(engine="inline", state="loading", jobs=(job,)), EN))
    assert "this process: at work" in words.text and "step" not in words.text
    own = InlineJob(None, lambda event: None, lambda outcome, last: None, step=(8, 8))  # type: ignore[arg-type]
    own.listen(loading)
    assert own.step == (None, None), "a stage's model is loaded after the last step"


def test_several_pictures_come_in_order_with_seeds_that_count_up(studio: Studio, small: Request) -> None:
    studio.request = small
    studio.form.count.value = 3
    studio.generate()
    finish()
    assert [artifact.request.seed for artifact in studio.artifacts] == [7, 8, 9]
    studio.viewer.selected = "r1"
    assert studio.artifact is studio.artifacts[0]
    studio.bar._handle_custom_msg({"do": "forget", "id": "r1"}, [])
    assert [artifact.request.seed for artifact in studio.artifacts] == [8, 9]
    assert studio.artifact is studio.artifacts[0], "its neighbour is shown, not the newest"
    studio.viewer.selected = "r3"
    studio.bar._handle_custom_msg({"do": "forget", "id": "r2"}, [])
    assert studio.viewer.selected == "r3", "one that is not shown goes without a jump"


def test_an_error_of_a_picture_is_shown_and_the_next_one_works(
    studio: Studio, small: Request, broken: list[str]
) -> None:
    studio.request = small.but(stages=[{"kind": "panel_broken"}])
    studio.generate()
    finish()
    assert broken == [""]
    assert isinstance(studio.problem.error, JobFailed) and "broke at seed 7" in str(studio.problem.error)
    assert studio.artifacts == [] and not studio.bar.busy and not studio.viewer.progress["active"]
    studio.request = small
    studio.generate()
    finish()
    assert len(studio.artifacts) == 1 and studio.problem.error is None


def test_what_undoes_a_removal_is_there_before_the_row_goes(studio: Studio) -> None:
    """A page that is told of the row first looks for another place for the focus."""
    stages, seen = studio.form.stages, []
    form = stages.add("upscale")
    stages._rows.observe(lambda _: seen.append((stages.undo.description, stages.undo._dom_classes)), "children")
    stages.remove(form)
    assert [(text, "zk-hidden" in classes) for text, classes in seen] == [(f"Restore {form.title}", False)]
    stages.bring_back()
    assert stages.forms == [form] and "zk-hidden" in stages.undo._dom_classes


def test_of_several_pictures_one_that_fails_leaves_the_panel_ready(
    studio: Studio, small: Request, broken: list[str]
) -> None:
    studio.request = small.but(stages=[{"kind": "panel_broken"}])
    studio.form.count.value = 3
    studio.generate()
    finish()
    assert isinstance(studio.problem.error, JobFailed)
    assert not studio.bar.busy and studio.bar.queue == ""


def test_what_the_form_cannot_mean_is_raised_in_a_cell_and_shown_in_the_panel(studio: Studio, small: Request) -> None:
    studio.request = small
    studio.form.width.value = 100
    with pytest.raises(BadRequest, match="width=100"):
        studio.generate()
    studio.bar._handle_custom_msg({"do": "generate", "values": []}, [])
    assert "width=100" in str(studio.problem.error)
    studio.form.width.value = 64
    studio.form.prompt.value = ""
    studio.generate()
    finish()
    assert "the prompt is empty" in str(studio.problem.error)


def test_cancel_ends_all_pictures_of_the_panel(studio: Studio, session: Session, small: Request) -> None:
    studio.request = small.but(steps=200, width=256, height=256)
    studio.form.count.value = 3
    stepping = threading.Event()
    studio.viewer.observe(lambda change: change["new"]["max"] == 200 and stepping.set(), "progress")
    studio.generate()
    assert stepping.wait(30)
    assert studio.bar.busy
    studio.bar._handle_custom_msg({"do": "cancel"}, [])
    finish()
    assert studio.artifacts == [] and studio.problem.error is None
    assert studio.viewer.progress["said"] == "cancelled"
    assert not studio.bar.busy and session.status().jobs == ()


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("zimage-")}


def test_a_closed_panel_cancels_and_ends_its_threads(session: Session, small: Request) -> None:
    before = own_threads()
    studio = Studio(session, language="en", save=True)
    studio.request = small
    studio.generate()
    finish()
    saved(studio)
    studio.bar._handle_custom_msg({"do": "shown"}, [])
    studio.bar._handle_custom_msg({"do": "compare", "id": "r1"}, [])
    studio.request = small.but(steps=200, width=256, height=256)
    stepping = threading.Event()
    studio.viewer.observe(lambda change: change["new"]["max"] == 200 and stepping.set(), "progress")
    studio.generate()
    assert stepping.wait(30)
    threads = own_threads() - before
    assert {thread.name.partition("_")[0] for thread in threads} >= {"zimage-job", "zimage-save", "zimage-status"}
    studio.close()
    for thread in threads:
        thread.join(10)
    assert [thread.name for thread in threads if thread.is_alive()] == []
    assert session.status().jobs == ()


def test_a_dropped_picture_fills_the_form_and_joins_the_strip(studio: Studio, artifact: Artifact) -> None:
    studio.bar._handle_custom_msg(
        {"do": "open", "name": "boat.png", "part": 0, "parts": 1}, [memoryview(artifact.png_bytes())]
    )
    assert studio.problem.error is None
    assert studio.request.to_json() == artifact.request.to_json()
    assert [each.request for each in studio.artifacts] == [artifact.request]
    assert "boat.png" in studio.viewer.progress["said"]
    studio.bar._handle_custom_msg({"do": "open", "name": "no.png", "part": 0, "parts": 1}, [b"no picture"])
    assert isinstance(studio.problem.error, NoRecipe)
    assert studio.request.to_json() == artifact.request.to_json() and len(studio.artifacts) == 1


def test_a_dropped_photo_joins_the_strip_upright_and_leaves_the_form_as_it_is(
    studio: Studio, artifact: Artifact
) -> None:
    studio.request = artifact.request
    photo, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 64), "red").save(photo, "JPEG", exif=exif)
    studio.bar._handle_custom_msg({"do": "open", "name": "photo.jpg", "part": 0, "parts": 1}, [photo.getvalue()])
    assert studio.problem.error is None
    assert studio.request.to_json() == artifact.request.to_json()
    assert studio.artifacts[-1].image.size == (64, 96)
    assert "photo.jpg carries no recipe" in studio.viewer.progress["said"]


def test_a_dropped_picture_belongs_to_the_panels_session(
    studio: Studio, session: Session, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_SESSION", "inline")
    studio.bar._handle_custom_msg({"do": "open", "name": "boat.png", "part": 0, "parts": 1}, [artifact.png_bytes()])
    assert studio.artifacts[0]._connected() is session


def test_pictures_are_saved_only_if_asked_for(session: Session, small: Request, home: Path) -> None:
    outputs = home / "outputs"
    studio = Studio(session, language="en", save=False)
    studio.request = small
    studio.generate()
    finish()
    saved(studio)
    assert len(studio.artifacts) == 1 and not outputs.exists()
    studio.save.value = True
    studio.generate()
    finish()
    saved(studio)
    (file,) = outputs.rglob("*.png")
    (made,) = studio.artifacts  # the same picture, saved now
    assert made.path == file and file.name in studio.viewer.about["caption"]
    read = zk.open(file)
    assert read.request == made.request and read.image.tobytes() == made.image.tobytes()
    studio.close()


def test_a_picture_that_cannot_be_saved_is_shown_all_the_same(
    session: Session, small: Request, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("in the way")
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(home / "file"))
    studio = Studio(session, language="en")
    studio.request = small
    studio.generate()
    finish()
    saved(studio)
    assert isinstance(studio.problem.error, CannotWrite) and not hidden(studio.problem.box)
    (made,) = studio.artifacts
    assert made.path is None and Image.open(io.BytesIO(studio.viewer.picture)).size == (64, 64)
    studio.close()


def test_what_stands_at_the_models_defaults_follows_another_model(studio: Studio) -> None:
    studio.form.model.value = "nano"
    studio.form.prompt.value, studio.form.steps.value, studio.form.width.value = "a girl", 1, 128
    studio.form.stages.add("pose", {"preset": ["waving"]})
    studio.generate()
    finish()
    (made,) = studio.artifacts
    assert {"guidance", "stages.0.body"} <= set(made.trace.derived) and not {"steps", "width"} & set(made.trace.derived)
    used = made.reopened()
    assert (used.steps, used.width, used.guidance) == (1, 128, None) and "body" not in used.stages[0].fields()
    studio.bar._handle_custom_msg({"do": "use", "id": "r1", "how": "exactly"}, [])
    assert studio.request.stages[0].fields()["body"] == "small"
    studio.bar._handle_custom_msg({"do": "use", "id": "r1"}, [])
    assert studio.request.stages[0].fields()["body"] is None, "it follows the model again"


def test_a_picture_is_used_varied_enlarged_and_sent_to_the_grid(studio: Studio, small: Request, model: str) -> None:
    studio.request = small
    studio.generate()
    finish()

    def ask(what: str, id_: str = "r1") -> None:
        studio.bar._handle_custom_msg({"do": what, "id": id_}, [])
        finish()
        assert studio.problem.error is None

    studio.form.prompt.value = "something else"
    ask("use")
    assert studio.request == studio.artifacts[0].request
    for how, seed, locked in (("seed", 7, True), ("exactly", 7, True), ("open", 7, False)):
        studio.bar._handle_custom_msg({"do": "use", "id": "r1", "how": how}, [])
        assert (studio.form.seed.value, studio.form.lock.value) == (seed, locked), how
    studio.form.lock.value = True
    ask("vary")
    assert studio.artifacts[1].request.but(seed=7) == studio.artifacts[0].request
    ask("upscale")
    assert studio.artifacts[2].image.size == (128, 128)
    assert [each.kind for each in studio.artifacts[2].request.stages] == ["upscale"]
    ask("grid", "r2")
    ask("grid", "r1")
    ask("grid", "r2")
    assert [each.request.seed for each in studio.sent] == [7, studio.artifacts[1].request.seed]
    assert (
        "zk-hidden" not in studio.panes["tray"].box._dom_classes
        and "<b>seed</b>" in studio.panes["tray"]._content.value
    )
    ask("forget", "r1")
    assert len(studio.sent) == 1
    ask("grid", "nonsense")


class ContendedLock:
    """A lock that says when a thread has to wait for it."""

    def __init__(self, waits: threading.Event) -> None:
        self._lock, self._waits = threading.RLock(), waits

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._waits.set()
            self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_a_picture_chosen_while_an_event_is_sent_is_shown(
    studio: Studio, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock ipywidgets forgot the picture: chosen in between, it was among what the event had sent."""
    viewer, page = studio.viewer, dict[str, Any]()
    chosen, told = threading.Event(), threading.Event()  # the picture is chosen, or that waits; the event is told
    studio.lock = viewer._lock = ContendedLock(chosen)  # type: ignore[assignment]
    other = Artifact(Image.new("RGB", artifact.image.size, "red"), artifact.request, artifact.trace)
    studio._add(artifact)
    studio._add(other)
    wanted = studio.results.get("r1")
    assert wanted is not None
    click = threading.Thread(target=viewer.set_state, args=({"selected": "r1"},))
    event = threading.Thread(target=studio.on_event, args=(Event(kind="step", job="j", step=1, steps=8), Place()))

    def send_state(key: Any = None) -> None:
        names = {key} if isinstance(key, str) else set(key or ())
        page.update({name: getattr(viewer, name) for name in names})
        if threading.current_thread() is event:
            click.start()
            assert chosen.wait(30)

    def picture_is_set(change: Any) -> None:
        chosen.set()
        assert told.wait(30)

    monkeypatch.setattr(viewer, "send_state", send_state)
    monkeypatch.setattr(viewer.comm, "kernel", object(), raising=False)  # somebody listens
    viewer.observe(picture_is_set, "picture")
    event.start()
    event.join(30)
    told.set()
    click.join(30)
    assert page["progress"]["text"].startswith("step 1 of 8")
    assert viewer.selected == "r1" and page["picture"] == wanted.jpeg


def test_a_new_language_keeps_pictures_selection_and_what_goes_on(studio: Studio, artifact: Artifact) -> None:
    for seed in (1, 2):
        dropped = picture(artifact, seed=seed).png_bytes()
        studio.bar._handle_custom_msg({"do": "open", "name": f"{seed}.png", "part": 0, "parts": 1}, [dropped])
    studio.viewer.selected = "r1"
    studio.bar._handle_custom_msg({"do": "grid", "id": "r2"}, [])
    shown, made = studio.viewer.picture, studio.artifacts
    studio.bar._handle_custom_msg({"do": "language", "to": "zh"}, [])
    assert studio.language == "zh" and studio.artifacts == made and studio.artifact is made[0]
    assert studio.viewer.picture == shown and [each["id"] for each in studio.viewer.results] == ["r1", "r2"]
    assert studio.viewer.about["caption"].startswith("种子 1") and studio.sent == [made[1]]
    controls = [*studio.form.inputs(), *studio.panes["grid"].inputs()]
    assert set(studio.bar.inputs) == {control.model_id for control in controls}


def test_a_new_language_keeps_the_error_and_the_open_panes(studio: Studio, artifact: Artifact) -> None:
    studio.bar._handle_custom_msg({"do": "open", "name": "x.png", "part": 0, "parts": 1}, [artifact.png_bytes()])
    studio.bar._handle_custom_msg({"do": "grid", "id": "r1"}, [])
    studio.problem.show(BadRequest("that"))
    studio.language = "zh"
    assert str(studio.problem.error) == "that"
    assert not hidden(studio.panes["tray"].box)


def test_a_cancel_in_the_midst_of_many_leaves_none_running(studio: Studio, session: Session, small: Request) -> None:
    studio.request = small.but(steps=30)
    studio.form.count.value = 64
    running = threading.Event()
    studio.bar.observe(lambda change: change["new"] and running.set(), "busy")
    studio.generate()
    assert running.wait(30)
    studio.cancel()
    finish()
    assert session.status().jobs == () and not studio.bar.busy and len(studio.jobs) == 0
    assert studio.viewer.progress["said"] == "cancelled"


def test_a_seed_that_was_typed_is_kept_and_a_rolled_one_counts_once(form: Form, session: Session) -> None:
    form.set(whole({"prompt": "a cat"}))
    form.lock.value = False
    form.seed.value = 42
    assert form.lock.value and [request.seed for request in form.requests()] == [42]
    form.lock.value = False
    form.seeds.dice.click()
    shown = form.seed.value
    assert not form.lock.value, "rolling is not locking"
    again = Form(EN, session.models(), lambda: None)
    again.restore(form.state())
    for each in (form, again):
        assert [request.seed for request in each.requests()] == [shown]
        assert [request.seed for request in each.requests()] != [shown] and not each.lock.value


def test_a_lora_file_that_is_new_is_offered_without_a_restart(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_LORAS", str(tmp_path))
    form.loras.add("papercut")
    for number, look in enumerate([form.loras.refresh.click, form.loras.add_button.click]):
        save_file({"x": np.zeros(1, np.float32)}, tmp_path / f"new{number}.safetensors")
        assert f"new{number}" not in form.loras.rows[0].path.options
        look()
        assert all(f"new{number}" in row.path.options for row in form.loras.rows)


def test_who_looks_at_an_earlier_picture_is_not_taken_away_from_it(studio: Studio, artifact: Artifact) -> None:
    studio._add(artifact, save=False)
    studio.viewer.following = False
    studio._add(picture(artifact, seed=2), save=False)
    assert studio.viewer.selected == "r1" and studio.artifact is studio.artifacts[0]
    studio.forget(studio.results.get("r1"))
    assert studio.artifact is not None and studio.artifact.request.seed == 2


def test_a_file_in_pieces_is_put_together(studio: Studio, artifact: Artifact) -> None:
    content = artifact.png_bytes()
    halves = content[: len(content) // 2], content[len(content) // 2 :]
    for part, half in enumerate(halves):
        studio.bar._handle_custom_msg({"do": "open", "name": "x.png", "part": part, "parts": 2}, [half])
    assert studio.problem.error is None and [each.request for each in studio.artifacts] == [artifact.request]
    studio.bar._handle_custom_msg({"do": "refuse", "name": "film.mov", "bytes": 900_000_000}, [])
    assert "film.mov has 900 MB" in str(studio.problem.error)


def test_a_picture_that_comes_after_the_panel_was_closed_is_let_go(session: Session, artifact: Artifact) -> None:
    studio = Studio(session, language="en")
    parts = [studio.bar, studio.viewer, studio.form.prompt]
    studio.close()
    assert all(part.comm is None for part in parts), "the page forgets all of it"
    studio._add(artifact)
    assert studio.artifacts == []


def test_any_stage_has_a_form_that_means_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Stage):
        """Fields that no shipped stage has."""

        kind = "panel_odd"
        needed: int = Field(description="without a default")
        open: float | None = Field(0.5, description="its default is not None")

        def after(self, image: Image.Image, ctx: Context) -> Image.Image:
            return image.copy()

    registry.add(Odd)
    try:
        stages = StageList(Texts("en"), lambda: None)
        form = stages.add("panel_odd")
        assert form.stage() == Odd(needed=form.value["needed"])
        stages.set([StageData(kind="panel_odd", needed=3, open=None)])
        assert stages.stages() == [Odd(needed=3, open=None)]
    finally:
        registry.remove("panel_odd")


def test_a_picture_is_put_into_the_stage_that_needs_one(studio: Studio, artifact: Artifact, home: Path) -> None:
    studio._worker.submit(lambda: None).result(30)
    fields = {each["value"] for each in studio.viewer.inputs}
    assert fields == {"control.picture", "inpaint.mask", "pose.photo"}
    studio.request = whole({"prompt": "a cat", "stages": [{"kind": "pose", "preset": ["waving"]}]})
    studio.add_opened(artifact)
    for field in sorted(fields):
        studio.bar._handle_custom_msg({"do": "input", "id": "r1", "as": field}, [])
        assert studio.problem.error is None
    assert [stage.kind for stage in studio.request.stages] == ["pose", "control", "inpaint"]
    pose, control, inpaint = (stage.fields() for stage in studio.request.stages)
    assert pose["photo"] == control["picture"] == inpaint["mask"] and not pose.get("preset")
    assert pose["photo"].startswith("asset:")
    (kept,) = (home / "outputs" / "assets").rglob("*.png")
    assert kept.stem in pose["photo"]


def test_stages_are_applied_to_the_picture_that_is_shown(studio: Studio, artifact: Artifact) -> None:
    studio.add_opened(artifact)
    studio.bar._handle_custom_msg({"do": "apply", "id": "r1"}, [])
    assert "no stage" in str(studio.problem.error)
    studio.form.stages.set([StageData(kind="upscale"), StageData(kind="pose", preset=["waving"])])
    studio.bar._handle_custom_msg({"do": "apply", "id": "r1"}, [])
    finish()
    assert studio.problem.error is None and [made.image.size for made in studio.artifacts] == [(64, 64), (128, 128)]


def test_a_dropped_picture_without_a_recipe_is_asked_about(studio: Studio) -> None:
    plain = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(plain, "PNG")
    studio.bar._handle_custom_msg({"do": "open", "name": "photo.png", "part": 0, "parts": 1}, [plain.getvalue()])
    buttons = {each.description: each for each in studio.question._buttons.children}
    assert "photo.png" in studio.question._content.value
    assert {"Apply stages", "Not now"} < set(buttons) and len(buttons) == 5
    next(button for label, button in buttons.items() if label.startswith("Control")).click()
    assert studio.request.but(prompt="x").stages[0].kind == "control"
    assert "zk-hidden" in studio.question.box._dom_classes


def test_a_picture_that_is_removed_is_compared_no_more(studio: Studio, small: Request) -> None:
    studio.request = small
    studio.form.count.value = 3
    studio.generate()
    finish()
    pane = studio.panes["compare"]
    pane.pair(studio.results.get("r1"), studio.results.get("r3"))
    studio._worker.submit(lambda: None).result(30)
    was = pane.slider.before
    studio.forget(studio.results.get("r1"))
    studio._worker.submit(lambda: None).result(30)
    assert (pane.left.value, pane.right.value) == ("r3", "r3")
    assert pane.slider.before != was and pane.slider.before == pane.slider.after, "the slider shows what the menus say"


def test_the_picture_before_is_sent_when_it_is_asked_for(
    studio: Studio, session: Session, artifact: Artifact, small: Request
) -> None:
    studio.request = small.but(stages=[{"kind": "upscale"}])
    studio.generate()
    finish()
    sent: list[tuple[dict[str, Any], int]] = []
    studio.viewer.send = lambda content, buffers=(): sent.append((content, len(buffers)))  # type: ignore[method-assign]
    studio.bar._handle_custom_msg({"do": "before", "id": "r1", "view": "v"}, [])
    studio._worker.submit(lambda: None).result(30)
    assert sent == [({"before": "r1", "view": "v"}, 1)]
    studio.add_opened(
        Artifact(artifact.image, artifact.request.but(source="0" * 64, stages=[{"kind": "upscale"}]), Trace())
    )
    studio.bar._handle_custom_msg({"do": "before", "id": "r2", "view": "v"}, [])
    studio._worker.submit(lambda: None).result(30)
    assert "does not contain the picture" in sent[1][0]["error"] and sent[1][1] == 0
