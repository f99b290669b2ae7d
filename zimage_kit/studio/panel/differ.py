"""Different ones: pictures whose seeds were scouted, so that they do not look alike. Pressed again, the next ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ...engine.events import Event
from ...recipe.request import Request
from ...session.scout import KEEP, LOOK_AT, STEPS, Scouted, look

if TYPE_CHECKING:
    from .studio import Studio


class DifferentOnes:
    """Makes the form's pictures, four if it asks for one, with seeds that are far apart.

    As long as the form stays as it is, further ones come from the same looks.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._asked: Request | None = None
        self._scouted: Scouted | None = None

    def __call__(self) -> None:
        """Look and make them. Returns at once."""
        studio, form = self._studio, self._studio.form
        count = form.count.value if form.count.value > 1 else KEEP
        kept = form.seeds.lock.value
        asked = form.request() if kept else form.request().but(seed=None)
        known = self._scouted if asked == self._asked else None
        if known is None or known.left < count:
            known, (seed,) = None, form.seeds.take(1)
            request = asked.but(seed=seed)
        else:
            request = asked
        self._asked = asked
        form.remember([request])
        studio.bar.history = form.history
        studio.jobs.find(partial(self._find, request, known, count))

    def _find(
        self, request: Request, known: Scouted | None, count: int, hear: Callable[[Event], None]
    ) -> Sequence[Request]:
        scouted = known or look(self._studio.session, request, max(LOOK_AT, 2 * count), STEPS, hear)
        requests = scouted.requests(count)
        self._scouted = scouted.beside(tuple(each.seed for each in requests if each.seed is not None))
        return requests
