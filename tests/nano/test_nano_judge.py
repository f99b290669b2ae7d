"""What measures nano is held to what it says: labels, verdicts, marks and the distance between sets of features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zimage_kit.nano import judge as judging
from zimage_kit.nano import packed, people, scenes
from zimage_kit.nano.data import COLUMNS, LABELS, labels_of
from zimage_kit.nano.judge import Judge, Verdict, frechet
from zimage_kit.nano.lexicon import KINDS
from zimage_kit.nano.scenes import Scene, Thing
from zimage_kit.nano.score import right

K, C = judging.K, judging.C


def perfect(labels: np.ndarray) -> tuple[torch.Tensor, ...]:
    """The answers of a judge that errs in nothing, for one row of labels."""
    row = torch.from_numpy(labels)
    table, pairs = row[: COLUMNS * K].reshape(K, COLUMNS), row[COLUMNS * K : COLUMNS * K + K * C]
    count = 40.0 * torch.nn.functional.one_hot(table[:, 0].long(), 3).float()
    rest = [torch.zeros(n) for n in judging.OUTPUTS[-4:]]
    for answer, which in zip(rest, row[-4:].long().tolist(), strict=True):
        if which >= 0:
            answer[which] = 40.0
    facing = 80.0 * table[:, 3].clamp(min=0) - 40.0
    return count.flatten(), 80.0 * pairs - 40.0, table[:, 1], table[:, 2], facing, *rest


def thing(kind: str, colour: str, place: str = "middle", x: float = 128.0, pose: str = "") -> Thing:
    points = people.keypoints(people.ANGLES[pose]) if pose else None
    return Thing(kind, colour, "medium", place, x, 128.0, 120.0, False, pose, "girl" if pose else "", points)


def scene(*things: Thing) -> Scene:
    return Scene(256, 256, "sea", "flat", things, 1)


def verdict(count: dict[str, int], colours: dict[str, tuple[str, ...]], pose: str = "standing") -> Verdict:
    return Verdict(
        dict.fromkeys(KINDS, 0) | count,
        colours,
        dict.fromkeys(KINDS, 0.5),
        dict.fromkeys(KINDS, 0.47),
        dict.fromkeys(KINDS, True),
        "sea",
        "flat",
        pose,
        "day",
    )


def test_labels_read_as_a_verdict_confirm_their_own_scene() -> None:
    beside: list[bool] = []
    for seed in range(400):
        told = scenes.sample(seed)
        labels = labels_of(told)
        assert labels.shape == (LABELS,)
        marks = right(told, judging._read(perfect(labels)))
        beside += [marks.pop(name) for name in ("place", "size") if name in marks]
        assert all(marks.values()), (seed, marks, told)
    assert sum(beside) / len(beside) > 0.98  # a wide thing in a narrow picture cannot go all the way to a side


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    labels = np.stack([labels_of(scenes.sample(seed)) for seed in range(32)])
    answers = tuple(torch.stack(parts) for parts in zip(*map(perfect, labels), strict=True))
    rows = torch.from_numpy(labels)
    assert float(judging.loss(answers, rows)) < 1e-3
    for i in range(len(answers)):
        wrong = [answer.clone() for answer in answers]
        wrong[i] = -wrong[i] + 1.0
        assert float(judging.loss(tuple(wrong), rows)) > 0.1, i


def test_equal_sets_are_at_distance_zero() -> None:
    a = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    assert frechet(a, a) == pytest.approx(0, abs=1e-3)


def test_the_distance_of_two_gaussians_is_the_known_one() -> None:
    rng = np.random.default_rng(1)
    shift, wide = np.array((3.0, 0.0, -4.0)), np.array((2.0, 1.0, 3.0))
    a = rng.normal(size=(200_000, 3)).astype(np.float32)
    b = (rng.normal(size=(200_000, 3)) * wide + shift).astype(np.float32)
    # |mean|^2 + sum of (sigma_a - sigma_b)^2 for independent coordinates
    assert frechet(a, b) == pytest.approx(25 + (1 + 0 + 4), rel=0.01)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-4)


def test_everything_right_is_right() -> None:
    asked = scene(thing("cat", "red"))
    marks = right(asked, verdict({"cat": 1}, {"cat": ("red",)}))
    assert marks == dict.fromkeys(
        ("background", "style", "hour", "nothing_extra", "things", "colours", "all", "all_1", "place", "size"), True
    )


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (verdict({}, {}), {"things", "colours"}),
        (verdict({"cat": 2}, {"cat": ("red",)}), {"things"}),
        (verdict({"cat": 1}, {"cat": ("blue",)}), {"colours"}),
        (verdict({"cat": 1, "dog": 1}, {"cat": ("red",), "dog": ("red",)}), {"nothing_extra"}),
        (replace(verdict({"cat": 1}, {"cat": ("red",)}), background="city"), {"background"}),
        (replace(verdict({"cat": 1}, {"cat": ("red",)}), style="ink"), {"style"}),
    ],
)
def test_one_fault_is_marked_and_spoils_the_whole(seen: Verdict, wrong: set[str]) -> None:
    marks = right(scene(thing("cat", "red")), seen)
    assert {name for name, fine in marks.items() if not fine} == wrong | {"all", "all_1"}


def test_place_and_size_are_told_beside_the_rest() -> None:
    seen = verdict({"cat": 1}, {"cat": ("red",)})
    seen.x["cat"], seen.extent["cat"] = 0.9, 0.9
    marks = right(scene(thing("cat", "red", "left", 70.0)), seen)
    assert marks["all"]
    assert not marks["place"]
    assert not marks["size"]


def test_two_of_a_kind_need_both_colours() -> None:
    asked = scene(thing("cat", "red", "left", 66.0), thing("cat", "blue", "right", 190.0))
    assert right(asked, verdict({"cat": 2}, {"cat": ("blue", "red")}))["all_2"]
    assert not right(asked, verdict({"cat": 2}, {"cat": ("red",)}))["all_2"]


def test_a_pose_counts_where_a_person_was_asked_for() -> None:
    asked = scene(thing("person", "red", pose="waving"))
    assert right(asked, verdict({"person": 1}, {"person": ("red",)}, "waving"))["all"]
    assert right(asked, verdict({"person": 1}, {"person": ("red",)}, "running"))["pose"] is False
    assert "pose" not in right(scene(thing("cat", "red")), verdict({"cat": 1}, {"cat": ("red",)}))


def test_which_way_a_thing_faces_counts_where_it_faces_a_way() -> None:
    left = replace(thing("dog", "red"), flip=True)
    seen = verdict({"dog": 1}, {"dog": ("red",)})
    assert right(scene(thing("dog", "red")), seen)["all"]
    assert right(scene(left), seen)["facing"] is False
    assert "facing" not in right(scene(thing("cat", "red")), verdict({"cat": 1}, {"cat": ("red",)}))
    both = scene(left, replace(thing("dog", "red"), flip=False))
    assert "facing" not in right(both, replace(seen, count=seen.count | {"dog": 2}))


def test_an_hour_counts_where_a_place_has_one() -> None:
    asked, seen = scene(thing("cat", "red")), verdict({"cat": 1}, {"cat": ("red",)})
    assert right(replace(asked, hour="night"), seen)["hour"] is False
    assert "hour" not in right(replace(asked, background="sunset"), replace(seen, background="sunset"))


def test_two_people_who_do_different_things_have_no_pose_to_be_judged() -> None:
    asked = scene(thing("person", "red", "left", 66.0, "waving"), thing("person", "blue", "right", 190.0, "running"))
    assert "pose" not in right(asked, verdict({"person": 2}, {"person": ("red", "blue")}))


def test_an_empty_scene_must_stay_empty() -> None:
    assert right(scene(), verdict({}, {}))["all_0"]
    assert not right(scene(), verdict({"moon": 1}, {"moon": ("yellow",)}))["all_0"]


def test_the_judge_looks_at_pictures_of_every_size(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = Judge().eval()
    packed.save(judge.state_dict(), tmp_path / judging.FILE)
    pictures = [Image.new("RGB", size, "orange") for size in scenes.SIZES]
    features, verdicts = judging.look(judging.load(tmp_path / judging.FILE), pictures)
    assert features.shape == (len(pictures), judging.FEATURES)
    assert len(verdicts) == len(pictures)
    assert all(seen.background and seen.style and seen.pose for seen in verdicts)
