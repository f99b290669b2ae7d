"""What is right in a picture: a scene that was asked for against a judge's verdict."""

from __future__ import annotations

from collections import Counter

from zimage_kit.nano.data import facing
from zimage_kit.nano.judge import Verdict
from zimage_kit.nano.scenes import Scene, has_hour

# How far a thing may be from the place asked for, as a share of the width, and from the extent asked for, as a factor.
PLACES = {"left": (0.0, 0.46), "middle": (0.36, 0.64), "right": (0.54, 1.0)}
EXTENTS = {"small": (0.0, 0.42), "medium": (0.3, 0.72), "large": (0.46, 2.0)}


def right(scene: Scene, verdict: Verdict) -> dict[str, bool]:
    """Return which parts of `scene` the verdict confirms, by name, and `all`, which holds when all of them do.

    `things` holds when every kind is there in the right number, `nothing_extra` when no other kind is. `place` and
    `size` are reported beside the rest, for single things. Keys that a scene does not have are left out.
    """
    wanted = Counter(thing.kind for thing in scene.things)
    marks = {"background": verdict.background == scene.background, "style": verdict.style == scene.style}
    marks["nothing_extra"] = all(kind in wanted or not n for kind, n in verdict.count.items())
    if wanted:
        marks["things"] = all(verdict.count[kind] == n for kind, n in wanted.items())
        marks["colours"] = all(
            {thing.colour for thing in scene.things if thing.kind == kind} == set(verdict.colours.get(kind, ()))
            for kind in wanted
        )
    if has_hour(scene.background, scene.style):
        marks["hour"] = verdict.hour == scene.hour
    poses = {thing.pose for thing in scene.things if thing.kind == "person"}
    if len(poses) == 1:
        marks["pose"] = verdict.pose == next(iter(poses))
    ways = {(thing.kind, not thing.flip) for thing in scene.things if facing(thing)}
    if ways and len(dict(ways)) == len(ways):
        marks["facing"] = all(verdict.faces_right[kind] == right for kind, right in ways)
    marks["all"] = all(marks.values())
    marks[f"all_{len(scene.things)}"] = marks["all"]
    if len(scene.things) == 1:
        thing = scene.things[0]
        low, high = PLACES[thing.place]
        marks["place"] = low <= verdict.x[thing.kind] <= high
        low, high = EXTENTS[thing.size]
        marks["size"] = low <= verdict.extent[thing.kind] <= high
    return marks
