"""The pose editor's kernel side: values are what the stage takes, JSON goes in and out, and nothing fails unseen."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zimage_kit as zk
from zimage_kit.stages import extensions
from zimage_kit.stages.stage import StageData
from zimage_kit.studio.translations import catalogue

pose: Any = extensions.load_module("pose")
editor: Any = import_module(f"{pose.__name__}.editor")
openpose, presets, skeleton = pose.openpose, pose.presets, pose.skeleton
Pose = zk.stages.pose


@pytest.fixture
def widget() -> Any:
    return editor.PoseEditor(language="en")


def asked(widget: Any, **content: Any) -> tuple[dict[str, Any], list[bytes]]:
    """What the browser gets for a message of its own."""
    answers: list[tuple[dict[str, Any], list[bytes]]] = []
    widget.send = lambda answer, buffers=None: answers.append((answer, buffers or []))
    widget._handle_custom_msg(content, [])
    (answer,) = answers
    return answer


def shown(widget: Any) -> list[dict[str, list[float]]]:
    assert widget.figures["of"] == widget.value, "the browser would take these for another value's"
    return list(widget.figures["people"])


def by_hand() -> dict[str, Any]:
    """As the browser sends it: a person with a hand, whose left ear is missing."""
    body = presets.points("waving", "adult")
    body[:, 0] = 0.5 + 0.4 * body[:, 0]
    body[17] = 0
    hand = np.column_stack((np.linspace(0.5, 0.6, 21), np.linspace(0.4, 0.5, 21), np.ones(21)))
    figure = {
        "pose_keypoints_2d": body.ravel().round(5).tolist(),
        "hand_left_keypoints_2d": hand.ravel().round(5).tolist(),
    }
    return {"people": [figure], "canvas": [1024, 1024]}


def test_the_stage_brings_the_editor_for_fields_that_it_has() -> None:
    control = Pose.control()
    now = import_module(
        f"{pose.__name__}.editor"
    )  # imported anew, if its code was loaded anew since this file was read
    assert isinstance(control, now.PoseEditor)
    assert set(control.edits) <= set(Pose.model_fields)
    assert control is not Pose.control(), "two panels would move each other's people"


def test_the_stage_is_there_without_widgets() -> None:
    code = (
        "import sys; sys.modules['anywidget'] = sys.modules['ipywidgets'] = None\n"
        "import zimage_kit as zk; print(zk.stages.pose(preset='waving').preset)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.stdout.strip() == "('waving',)", ran.stderr


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"preset": ["waving"]},
        {"preset": ["sitting", "star"], "size": 0.5, "body": "small", "mirror": True},
        by_hand(),
        {**by_hand(), "canvas": [512, 1024], "fit": "frame", "size": 0.9},
    ],
    ids=["nothing", "preset", "presets", "by hand", "fill the frame"],
)
@pytest.mark.parametrize("size", [(1024, 1024), (1216, 832)], ids=str)
def test_the_browser_gets_the_figures_of_the_stage(widget: Any, value: dict[str, Any], size: tuple[int, int]) -> None:
    widget.size, widget.value = size, value
    assert widget.value == value, "a value stays as it was written"
    assert widget.problem == ""
    figures = Pose(**value).figures(*size)
    assert [person["pose_keypoints_2d"] for person in shown(widget)] == [list(f.pose_keypoints_2d) for f in figures]
    assert widget.figures["size"] == list(size)
    json.dumps(widget.figures)


def test_people_moved_by_hand_are_drawn_where_they_were_put(widget: Any) -> None:
    """The fractions of the browser's picture are those of the stage's, as long as the size is the same."""
    widget.value = by_hand()
    assert shown(widget) == by_hand()["people"]
    assert widget.stage().data() == StageData(kind="pose", **Pose(**by_hand()).model_dump(mode="json"))


def test_another_size_of_the_picture_keeps_proportions(widget: Any) -> None:
    widget.value = by_hand()
    before = np.reshape(shown(widget)[0]["pose_keypoints_2d"], (18, 3))[:17, :2] * 1024
    widget.size = (1024, 512)
    after = np.reshape(shown(widget)[0]["pose_keypoints_2d"], (18, 3))[:17, :2] * (1024, 512)
    assert np.allclose(np.diff(after, axis=0), np.diff(before, axis=0) / 2, atol=0.05)


def test_a_whole_recipe_fills_the_editor(widget: Any) -> None:
    """The panel hands over every field as it stands in the recipe, defaults and all."""
    recipe = Pose(preset="waving", mirror=True).model_dump(mode="json")
    widget.value = {name: recipe[name] for name in widget.edits}
    assert widget.problem == ""
    assert shown(widget)[0]["pose_keypoints_2d"] == list(
        Pose(preset="waving", mirror=True).figures(1024, 1024)[0].pose_keypoints_2d
    )


def test_people_are_drawn_as_the_model_draws_them(widget: Any) -> None:
    widget.value = {"preset": ["standing"]}
    grown_up = shown(widget)
    widget.model = "nano"
    assert shown(widget) != grown_up
    assert widget.figures["body"] == "small"
    assert widget.value == {"preset": ["standing"]}, "the recipe leaves the body to the model"
    widget.value = {"preset": ["standing"], "body": "adult"}
    assert shown(widget) == grown_up


def test_a_value_that_the_stage_refuses_is_told_and_forgotten_with_the_next(widget: Any) -> None:
    people = shown(widget)
    widget.value = {"preset": ["levitating"]}
    assert "levitating" in widget.problem
    assert widget.figures["people"] == people, "the last people stay in sight"
    widget.value = {"preset": ["waving"]}
    assert widget.problem == ""
    widget.model = "no such model"
    assert "no such model" in widget.problem


@pytest.mark.parametrize("form", ["object", "frames", "list", "25 points", "byte order mark"])
def test_json_of_other_tools_is_read(widget: Any, form: str) -> None:
    whole = json.loads(openpose.write(Pose(**by_hand()).figures(512, 768), 512, 768))
    if form == "25 points":
        flat = whole["people"][0]["pose_keypoints_2d"]
        whole["people"][0]["pose_keypoints_2d"] = flat[:24] + [0, 0, 0] + flat[24:] + [0.0] * 18
    given = {"frames": [whole], "list": Pose(**by_hand()).model_dump(mode="json")["people"]}.get(form, whole)
    text = ("\ufeff" if form == "byte order mark" else "") + json.dumps(given)
    answer, _ = asked(widget, do="read", text=text)
    assert answer["do"] == "read", answer
    assert answer["size"] == [1024, 1024]
    (person,) = answer["people"]
    assert len(person["pose_keypoints_2d"]) == 54
    assert len(person["hand_left_keypoints_2d"]) == 63
    assert Pose(people=answer["people"], canvas=answer["size"]).figures(1024, 1024)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "OpenPose JSON"),
        ("", "OpenPose JSON"),
        ('"/etc/hostname"', "OpenPose JSON with people"),
        ("[]", "at least one person"),
        ('{"colours": []}', "people"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, 1]}]}', "18 points"),
        (json.dumps({"people": [{"pose_keypoints_2d": [300, 200, 1] * 18}]}), "canvas_width"),
        ('{"people": [3]}', ""),
        ('{"people": [{"pose_keypoints_2d": "all of them"}]}', ""),
    ],
)
def test_what_cannot_be_read_is_told_on_one_line(widget: Any, text: str, said: str) -> None:
    before = widget.value
    answer, _ = asked(widget, do="read", text=text)
    assert answer["do"] == "fail", answer
    assert said in answer["text"]
    assert answer["text"].startswith("Not imported: ")
    assert "\n" not in answer["text"]
    assert "|" not in answer["text"]
    assert widget.value == before


def test_an_unknown_question_is_answered_too(widget: Any) -> None:
    answer, _ = asked(widget, do="dance")
    assert answer["do"] == "fail"


def test_what_is_exported_is_openposes_own_json_and_the_control_picture(widget: Any) -> None:
    widget.size, widget.value = (640, 832), by_hand()
    figures = Pose(**by_hand()).figures(640, 832)
    answer, (data,) = asked(widget, do="write")
    assert answer == {"do": "save", "name": "pose.json", "type": "application/json"}
    assert data.decode() == openpose.write(figures, 640, 832)
    _, (png,) = asked(widget, do="draw")
    drawn = Image.open(io.BytesIO(png))
    assert drawn.tobytes() == Pose(**by_hand()).skeleton(640, 832).tobytes()


def test_it_speaks_the_language_that_is_asked_for(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    widget.language = "zh"
    assert widget.texts["points"][4] == "右腕"
    assert asked(widget, do="read", text="")[0]["text"].startswith("未能导入")
    monkeypatch.setenv("ZIMAGE_LANG", "zh")
    assert editor.PoseEditor().texts["presets"]["waving"] == "挥手"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_named_pose_and_every_point_has_a_name(language: str) -> None:
    texts = catalogue(editor.TEXTS, language)
    assert {key.removeprefix("presets.") for key in texts if key.startswith("presets.")} == set(presets.ANGLES)
    points = {key.removeprefix("points.") for key in texts if key.startswith("points.")}
    assert points == {name.replace(" ", "_") for name in skeleton.NAMES}


def test_both_languages_say_the_same_things_with_the_same_values() -> None:
    import re

    english, chinese = ({**catalogue(editor.TEXTS, language)} for language in ("en", "zh"))
    ours = {key for key in chinese if not key.startswith("help.")}
    assert {key for key in english if not key.startswith("help.")} == ours
    places = {key: set(re.findall(r"\{\w+\}", english[key])) for key in ours}
    assert {key: set(re.findall(r"\{\w+\}", chinese[key])) for key in ours} == places


def test_the_script_says_nothing_that_has_no_text() -> None:
    import re

    script = str(editor.PoseEditor._esm)
    said = set(re.findall(r'\bsay\("(\w+)"', script)) | set(re.findall(r'\b(?:button|row|slider)\("(\w+)"', script))
    said |= {"undo", "redo", "reset", "mirror", "smaller", "larger", "fit", "remove_point", "remove_person"}
    said |= {"skeleton", "picture", "body_model", "body_adult", "body_small", "move", "resize", "not_read", "not_made"}
    texts = {key.removeprefix("editor.") for key in catalogue(editor.TEXTS, "en") if key.startswith("editor.")}
    assert texts == said


def test_a_saved_notebook_keeps_the_skeleton_as_a_picture(widget: Any) -> None:
    widget.value, widget.size = {"preset": ["waving"]}, (1024, 512)
    kept = Image.open(io.BytesIO(widget._repr_mimebundle_()[0]["image/jpeg"])).convert("RGB")
    drawn = Pose(preset="waving").skeleton(512, 256)
    assert kept.size == drawn.size
    assert np.abs(np.asarray(kept, np.int16) - np.asarray(drawn, np.int16)).mean() < 2
