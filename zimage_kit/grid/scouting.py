"""`seed="scout"`: the seeds of a grid are those whose pictures differ most, found at its first cell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest
from ..recipe.request import Request
from ..session.scout import KEEP, LOOK_AT, STEPS, look
from .planning import plan

if TYPE_CHECKING:
    from ..session.session import Session
    from .plan import Plan

_SCOUT = re.compile(r"\s*scout(?:\s+(\d+))?(?:\s+of\s+(\d+))?\s*")


def scouted_plan(session: Session, base: Request | str, axes: Any, more: Mapping[str, Any], **options: Any) -> Plan:
    """The plan of these arguments, as `plan` makes it. Seeds given as a text that begins with "scout" are looked for.

    "scout" is four of 24, "scout 6" six, "scout 6 of 48" says how many are looked at, counted up from the base's seed.
    All rows share the seeds, which are plain ones in the plan. Raises what `plan` and `look` raise.
    """
    for given in (axes, more):
        text = given.get("seed") if isinstance(given, Mapping) else None
        if isinstance(text, str) and text.strip().startswith("scout"):
            if not (found := _SCOUT.fullmatch(text)):
                raise BadRequest(f"seed={text!r}", expected='"scout", "scout 6" or "scout 6 of 48"', axis="seed")
            keep, look_at = int(found[1] or KEEP), int(found[2] or max(LOOK_AT, 2 * int(found[1] or KEEP)))
            probe = plan(base, *_with_seeds(axes, more, given, [None]), **options)
            scouted = look(session, probe.request(next(probe.places())), look_at, STEPS)
            return plan(base, *_with_seeds(axes, more, given, list(scouted.choose(keep))), **options)
    return plan(base, axes, more, **options)


def _with_seeds(axes: Any, more: Any, given: Any, seeds: list[int | None]) -> tuple[Any, Any]:
    """Axes and keywords with these seeds in the one that had them."""
    changed = {**given, "seed": seeds}
    return (changed, more) if given is axes else (axes, changed)
