"""A scene is a function of its seed, what is held out stays out, and everything that can be asked for can be drawn."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, product

import numpy as np
import pytest

from zimage_kit.nano import backgrounds, papercut, people, scenes
from zimage_kit.nano.drawing import PALETTE, Pen
from zimage_kit.nano.lexicon import BACKGROUNDS, COLOURS, FACING, HOURLY, KINDS, POSES, SIZES, STYLES
from zimage_kit.nano.scenes import Scene, Thing
from zimage_kit.nano.things import THINGS

DRAWN_STYLES = ("flat", "ink", "neon", "pencil", "pixel")
SWAPPED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)  # right for left and left for right


def one(kind: str, colour: str, background: str, style: str, pose: str = "standing") -> Scene:
    """One thing in the middle of 128 x 128 pixels."""
    points = None
    if kind == "person":
        points = people.keypoints(people.ANGLES[pose]) * 90 + (64.0, 64.0)
    thing = Thing(kind, colour, "large", "middle", 64, 64, 90, False, pose, "girl", points)
    return Scene(128, 128, background, style, (thing,), seed=3)


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(scenes.render(scene)).astype(int)


def differing(a: np.ndarray, b: np.ndarray) -> float:
    """The share of pixels that differ visibly."""
    return float((np.abs(a - b).max(-1) > 24).mean())


def test_drawing_and_telling_scenes_loads_no_torch() -> None:
    told = "import sys, zimage_kit.nano.captions, zimage_kit.nano.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


@pytest.mark.parametrize("novel", [False, True])
def test_a_seed_always_gives_the_same_picture(novel: bool) -> None:
    for seed in range(12):
        first, again = (scenes.sample(seed, novel=novel) for _ in range(2))
        assert scenes.render(first).tobytes() == scenes.render(again).tobytes()


def test_seeds_give_different_pictures() -> None:
    pictures = {scenes.render(scenes.sample(seed, size=(256, 256))).tobytes() for seed in range(12)}
    assert len(pictures) == 12


def test_training_never_sees_what_is_held_out() -> None:
    for seed in range(1500):
        scene = scenes.sample(seed)
        for thing in scene.things:
            assert not scenes.held_out(thing.kind, thing.colour, scene.background, scene.style), seed


def test_every_thing_of_a_novel_scene_is_held_out() -> None:
    for seed in range(300):
        scene = scenes.sample(seed, novel=True)
        for thing in scene.things:
            assert scenes.held_out(thing.kind, thing.colour, scene.background, scene.style), seed


def test_about_one_combination_in_sixteen_is_held_out_and_none_loses_a_whole_attribute() -> None:
    everything = list(product(KINDS, COLOURS, BACKGROUNDS, STYLES))
    out = [combination for combination in everything if scenes.held_out(*combination)]
    assert 0.8 < len(out) / len(everything) * scenes.HELD_OUT < 1.2
    for left_in in set(product(KINDS, COLOURS)):
        assert any(not scenes.held_out(*left_in, b, s) for b, s in product(BACKGROUNDS, STYLES))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_thing_is_seen_in_every_style(kind: str, style: str) -> None:
    scene = one(kind, "red", "day", style)
    bare = Scene(128, 128, "day", style, (), seed=3)
    assert differing(pixels(scene), pixels(bare)) > 0.02


@pytest.mark.parametrize("style", STYLES)
def test_backgrounds_are_told_apart(style: str) -> None:
    drawn = [pixels(Scene(128, 128, background, style, (), seed=3)) for background in BACKGROUNDS]
    for a, b in combinations(range(len(drawn)), 2):
        assert differing(drawn[a], drawn[b]) > 0.03, (list(BACKGROUNDS)[a], list(BACKGROUNDS)[b])


def test_styles_are_told_apart() -> None:
    drawn = {style: pixels(one("house", "red", "day", style)) for style in STYLES}
    for a, b in combinations(drawn, 2):
        least = 0.15 if {a, b} == {"flat", "pixel"} else 0.3  # pixel art keeps the flat colours: its edges are steps
        assert differing(drawn[a], drawn[b]) > least, (a, b)


@pytest.mark.parametrize("style", STYLES)
def test_colours_are_told_apart(style: str) -> None:
    drawn = [pixels(one("car", colour, "day", style)) for colour in COLOURS]
    for a, b in combinations(range(len(drawn)), 2):
        assert differing(drawn[a], drawn[b]) > 0.03, (list(COLOURS)[a], list(COLOURS)[b])


def test_poses_are_told_apart() -> None:
    drawn = [pixels(one("person", "red", "day", "flat", pose)) for pose in POSES]
    for a, b in combinations(range(len(drawn)), 2):
        assert differing(drawn[a], drawn[b]) > 0.008, (list(POSES)[a], list(POSES)[b])


def test_every_pose_that_can_be_asked_for_has_its_angles() -> None:
    assert set(people.ANGLES) == set(POSES)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("pose", POSES)
def test_a_figure_has_18_points_and_its_right_side_is_at_the_left_of_the_picture(pose: str, mirrored: bool) -> None:
    points = people.keypoints(people.ANGLES[pose], mirrored)
    assert points.shape == (18, 2)
    for right, left in ((2, 5), (8, 11), (14, 15), (16, 17)):  # shoulders, hips, eyes, ears
        assert points[right, 0] < points[left, 0]
    nose, neck, hips = points[0, 1], points[1, 1], points[[8, 11], 1].mean()
    assert points[[14, 15], 1].max() < nose < neck < hips < points[[10, 13], 1].max()


@pytest.mark.parametrize("pose", POSES)
def test_a_mirrored_figure_swaps_its_sides(pose: str) -> None:
    there, mirrored = (people.keypoints(people.ANGLES[pose], flip) for flip in (False, True))
    np.testing.assert_allclose(mirrored, there[list(SWAPPED)] * (-1, 1), atol=1e-12)


def test_limbs_keep_their_lengths_in_every_pose() -> None:
    for pose in POSES:
        points = people.keypoints(people.ANGLES[pose])
        for start, elbow, end in ((2, 3, 4), (5, 6, 7)):
            assert np.hypot(*(points[elbow] - points[start])) == pytest.approx(people.UPPER_ARM)
            assert np.hypot(*(points[end] - points[elbow])) == pytest.approx(people.FOREARM)


def test_keypoints_lie_well_within_the_picture() -> None:
    seen = 0
    for seed in range(1500):
        scene = scenes.sample(seed)
        for thing in scene.things:
            assert (thing.keypoints is not None) == (thing.kind == "person") == bool(thing.pose)
            if thing.keypoints is not None:
                seen += 1
                assert thing.keypoints.min() > 8, seed
                assert (thing.keypoints < np.array((scene.width, scene.height)) - 8).all(), seed
    assert seen > 100


@pytest.mark.parametrize("size", scenes.SIZES)
def test_pictures_have_the_size_asked_for(size: tuple[int, int]) -> None:
    picture = scenes.render(scenes.sample(5, size=size))
    assert (picture.size, picture.mode) == (size, "RGB")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_as_many_things_as_asked_for(count: int) -> None:
    assert {len(scenes.sample(seed, count=count).things) for seed in range(50)} == {count}


def test_sizes_come_out_as_named() -> None:
    for seed in range(600):
        scene = scenes.sample(seed, count=1)
        (thing,) = scene.things
        if thing.kind != "person":
            low, high = scenes.EXTENT[thing.size][0]
            assert low <= thing.extent / min(scene.width, scene.height) <= high
    assert set(scenes.EXTENT) == set(SIZES)


def test_every_attribute_turns_up_in_training() -> None:
    told = [scenes.sample(seed) for seed in range(1500)]
    things = [thing for scene in told for thing in scene.things]
    assert {thing.kind for thing in things} == set(KINDS)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.pose for thing in things} == {"", *POSES}
    assert {scene.background for scene in told} == set(BACKGROUNDS)
    assert {scene.style for scene in told} == set(STYLES)
    assert {(scene.width, scene.height) for scene in told} == set(scenes.SIZES)


@pytest.mark.parametrize("kind", THINGS)
def test_a_thing_stays_in_its_box_and_stands_on_its_foot(kind: str) -> None:
    pen = Pen()
    THINGS[kind](pen, np.random.default_rng(0))
    points = np.concatenate([shape.points for shape in pen.shapes])
    assert np.abs(points).max() < 0.54
    if kind not in (*scenes.FLYING, "fish"):
        assert points[:, 1].max() == pytest.approx(scenes.FOOT.get(kind, 0.5), abs=0.03)


@pytest.mark.parametrize("kind", THINGS)
def test_only_what_faces_a_way_is_mirrored(kind: str) -> None:
    there, mirrored = (
        Scene(128, 128, "day", "flat", (Thing(kind, "red", "large", "middle", 64, 64, 90, flip),), seed=3)
        for flip in (False, True)
    )
    assert (differing(pixels(there), pixels(mirrored)) > 0.005) == (kind in FACING)


@pytest.mark.parametrize("style", DRAWN_STYLES)
def test_every_style_shows_every_background_and_hour_apart_from_the_others(style: str) -> None:
    drawn = {
        (name, hour): pixels(Scene(128, 128, name, style, (), 3, hour))
        for name, background in backgrounds.BACKGROUNDS.items()
        for hour in ("day", *(("night",) if background.night else ()))
    }
    for (one_of, a), (other, b) in combinations(drawn.items(), 2):
        shade = np.abs(a - b).max(-1)
        assert (shade > 12).mean() > 0.03, (one_of, other)


def test_what_can_be_asked_for_can_be_drawn() -> None:
    assert {*KINDS} == {*THINGS, "person"} == {*scenes.NATURAL}
    assert {*HOURLY} == {name for name, background in backgrounds.BACKGROUNDS.items() if background.night}
    assert {*BACKGROUNDS} == {*backgrounds.BACKGROUNDS}
    assert {*STYLES} == {*scenes.STYLE_SHARES}
    assert sum(scenes.STYLE_SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("style", DRAWN_STYLES)
def test_a_time_of_day_has_no_other_hour(style: str) -> None:
    for name in ("day", "sunset", "night"):
        day, night = (scenes.render(Scene(96, 64, name, style, (), 3, hour)) for hour in ("day", "night"))
        assert day.tobytes() == night.tobytes()


@pytest.mark.parametrize("style", DRAWN_STYLES)
def test_every_colour_of_the_palette_is_told_apart(style: str) -> None:
    drawn = [pixels(one("apple", colour, "grassland", style)) for colour in PALETTE]
    for a, b in combinations(range(len(drawn)), 2):
        assert differing(drawn[a], drawn[b]) > 0.03, (list(PALETTE)[a], list(PALETTE)[b])


@pytest.mark.parametrize("style", DRAWN_STYLES)
@pytest.mark.parametrize("size", [*scenes.SIZES, (101, 66)])
def test_an_enlarged_scene_is_the_same_picture(size: tuple[int, int], style: str) -> None:
    thing = Thing("robot", "cyan", "large", "middle", size[0] / 2, size[1] / 2, 0.7 * min(size), False)
    scene = Scene(*size, "room", style, (thing,), 3, "night")
    once, again, twice = scenes.render(scene), scenes.render(scene), scenes.render(scene, enlarged=2)
    assert once.tobytes() == again.tobytes()
    assert (once.size, twice.size) == (size, (2 * size[0], 2 * size[1]))
    assert np.abs(np.asarray(twice.reduce(2)).astype(int) - np.asarray(once)).mean() < 4


def test_pixel_art_is_made_of_cells() -> None:
    picture = np.asarray(scenes.render(one("robot", "red", "room", "pixel")))
    cells = picture[::4, ::4]
    assert (picture == cells.repeat(4, 0).repeat(4, 1)).all()
    assert len(np.unique(cells.reshape(-1, 3), axis=0)) < 48


@pytest.mark.parametrize("kind", THINGS)
def test_every_thing_and_background_can_be_cut_of_paper(kind: str) -> None:
    for name in backgrounds.BACKGROUNDS:
        scene = one(kind, "red", name, "flat")
        bare = Scene(128, 128, name, "flat", (), seed=3)
        cut = np.asarray(papercut.render(scene)).astype(int)
        assert differing(cut, np.asarray(papercut.render(bare)).astype(int)) > 0.02
