"""Variety: pictures of one prompt differ more from seed to seed, and obey it a little less.

A distilled model's seeds look alike: its first step decides nearly everything, by the prompt. Noise on the prompt's
embedding in that step, and in no other, lets each seed begin elsewhere; the steps after it draw what was asked for.
Of the ways that were tried it buys the most difference for the obedience that it costs; docs/measurements.md has them.
`session.scout` costs time instead, and no obedience.
"""

from __future__ import annotations

from typing import Any, ClassVar

from zimage_kit import Call, Context, Field, Stage, stage

__all__ = ["FULL", "Variety"]

FULL = 3.0
"""Standard deviations of the embedding at strength 1; beyond, difference grows no more."""


@stage
class Variety(Stage):
    """Seeds differ more: the first step sees the prompt through noise of the seed's own.

    The same seed and strength give the same picture. Of two things one may be lost now and then.
    """

    kind = "variety"
    identity: ClassVar[dict[str, Any]] = {"strength": 0.0}

    strength: float = Field(
        0.5, ge=0.0, le=1.0, allow_inf_nan=False,
        description="0 is none; 0.5 makes nano's pictures differ 1.6 times as much, 1 twice",
    )  # fmt: skip

    def before(self, call: Call, ctx: Context) -> Call:
        """The call with noise on its embedding."""
        return call.but(variety=FULL * self.strength)
