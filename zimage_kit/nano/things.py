"""The things that nano's scenes are made of, each drawn by one function in a box of one unit, centre at (0, 0).

y runs down; what stands on the ground stands at y = 0.5. Tones light, main and dark are the thing's own colour. What
has a side to face (`lexicon.FACING`) faces right and may be mirrored; all else is always drawn the same way round, so
that one picture of each is learnt.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zimage_kit.nano import animals, nature, objects
from zimage_kit.nano.drawing import Pen

# Things drawn by one function each; a person is drawn by `zimage_kit.nano.people`.
THINGS: dict[str, Callable[[Pen, np.random.Generator], None]] = {
    function.__name__: function
    for function in (
        animals.cat, animals.dog, animals.rabbit, animals.bird, animals.fish, animals.butterfly,
        animals.panda, animals.dragon, animals.crane,
        nature.tree, nature.bamboo, nature.flower, nature.mushroom, nature.apple,
        objects.house, objects.pagoda, objects.bridge, objects.boat, objects.car, objects.balloon, objects.teacup,
        objects.lantern, objects.umbrella, objects.kite, nature.mountain, nature.moon,
        nature.sun, nature.star, nature.cloud, nature.plum, nature.snowman,
        objects.temple, objects.cake, objects.book, objects.chair, objects.robot, objects.rocket, objects.train,
        objects.bicycle, objects.fan,
    )
}  # fmt: skip
