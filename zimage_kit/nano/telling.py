"""What a caption leaves out: the choices that English and Chinese captions of a scene share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zimage_kit.nano.lexicon import FACING, FACING_POSES, FIGURES, HOURLY, KINDS, Kind
from zimage_kit.nano.scenes import NATURAL, Scene, Thing, has_hour

Random = np.random.Generator


class Teller:
    """Tells one scene once: holds the random choices that a caption shares (which attributes are dropped).

    `complete` drops none.
    """

    def __init__(self, scene: Scene, rng: Random, complete: bool) -> None:
        self.scene, self.rng, self.complete = scene, rng, complete
        self.background = complete or not scene.things or rng.random() > 0.14
        told = {"night": 1.0 if complete else 0.96, "day": 0.08}[scene.hour]
        self.hour = scene.hour if has_hour(scene.background, scene.style) and rng.random() < told else ""
        if scene.style == "neon" and scene.background in HOURLY and rng.random() < 0.10:
            self.hour = "night"  # it is dark in any case
        self.style = scene.style != "flat" or rng.random() < 0.12
        if scene.style != "flat" and not complete and rng.random() < 0.01:
            self.style = False

    def pick(self, options: Sequence[str]) -> str:
        """Choose one: the first name more often, since it is the commonest."""
        return options[0] if self.rng.random() < 0.3 else options[int(self.rng.integers(len(options)))]

    def any(self, *options: str) -> str:
        """Choose one, each as often."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """Return True in this share of cases."""
        return bool(self.rng.random() < share)

    def kind(self, thing: Thing) -> Kind:
        """Return what to call a thing: a person as a rule girl or boy."""
        if thing.kind == "person" and (self.complete or self.chance(0.85)):
            return FIGURES[thing.figure]
        return KINDS[thing.kind]

    def with_colour(self, thing: Thing) -> bool:
        """Whether the colour is told: it may be left out where it is a natural one."""
        return self.complete or not self.chance(0.5 if thing.colour in NATURAL[thing.kind] else 0.03)

    def with_size(self, thing: Thing) -> bool:
        """Whether the size is told: medium never is."""
        return thing.size != "medium" and self.chance(0.9)

    def with_pose(self, thing: Thing) -> bool:
        """Whether the pose is told."""
        if thing.kind != "person" or not thing.pose:  # a pose without a name is not told
            return False
        return self.complete or self.chance(0.35 if thing.pose == "standing" else 0.96)

    def with_facing(self, thing: Thing) -> bool:
        """Whether it is told which way a thing faces: as a rule if that is left."""
        if thing.kind not in FACING and not (thing.kind == "person" and thing.pose in FACING_POSES):
            return False
        if thing.flip:
            return self.complete or self.chance(0.95)
        return self.chance(0.5 if self.complete else 0.15)

    def with_place(self) -> bool:
        """Whether the place is told: as a rule if that is not the middle."""
        if len(self.scene.things) != 1:
            return False
        return self.chance(0.10 if self.scene.things[0].place == "middle" else 0.95)

    def place_of(self) -> str:
        """The background as it is told here, "" if it is not."""
        return self.scene.background if self.background else ""

    def twins(self) -> bool:
        """Whether two things are told apart by nothing."""
        if len(self.scene.things) != 2:
            return False
        a, b = self.scene.things
        return (a.kind, a.colour, a.figure, a.pose, a.flip) == (b.kind, b.colour, b.figure, b.pose, b.flip)

    def pair(self) -> Kind | None:
        """What two people may be called together, if this caption calls them so; their colours are then not told."""
        things = self.scene.things
        if self.complete or len(things) != 2 or {thing.kind for thing in things} != {"person"} or self.chance(0.6):
            return None
        if things[0].pose != things[1].pose or things[0].flip != things[1].flip:
            return None
        alike = things[0].figure == things[1].figure
        return FIGURES[things[0].figure] if alike else KINDS["person"]
