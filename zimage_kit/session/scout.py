"""Scouting: among many seeds, those whose pictures will differ most, found from their first steps.

A distilled model's seeds look alike, and disturbing it buys difference with obedience. Looking costs neither: the
first steps of many seeds are evaluated, the pictures that the model then expects are compared in the colours of the
preview, and only the seeds that are farthest apart are finished. What comes out are plain seeds, so recipes are exact.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ..engine.events import Event
from ..errors import BadRequest
from ..recipe import templates
from ..recipe.artifact import Artifact
from ..recipe.colour import areas, distances, mean_distance
from ..recipe.picture import on_white
from ..recipe.request import LARGEST_SEED, Request, random_seed
from .progress import watcher
from .stream import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from .session import Session

LOOK_AT, KEEP, STEPS = 24, 4, 2
"""Seeds that are looked at, pictures that are finished, steps of a look."""
LARGEST_LOOK = 500
_KNOWN = 8
"""Scouted requests that a session remembers, so that the same cell run again looks at nothing twice."""
_LOOK_SIDE = 128
"""Pixels of a look that is kept: four times what is compared, and little memory for hundreds."""
_BESIDE, _GAP, _FOOT = 4, 8, 22  # pictures in a row of the strip; pixels between them, and below for the seed

OnEvent = Callable[[Event], None]


class Scouted:
    """Pictures of one request with seeds far apart, and the small pictures of all seeds that were looked at.

    `request`: what was asked for, without a seed; `looks`: seed -> the picture that the model expected after `steps`
    steps; `seeds` and `pictures`: what was finished, in the same order. `more()` gives the next ones.
    """

    def __init__(
        self, session: Session, request: Request, steps: int, looks: dict[int, Image.Image], taken: tuple[int, ...] = ()
    ) -> None:
        self._session, self.request, self.steps, self.looks, self._taken = session, request, steps, looks, taken
        self.seeds: tuple[int, ...] = ()
        self.pictures: tuple[Artifact, ...] = ()

    @property
    def left(self) -> int:
        """Seeds that were looked at and are not finished."""
        return len(self.looks) - len(self._taken) - len(self.seeds)

    @property
    def diversity(self) -> float:
        """How far apart the finished pictures are: mean ΔE*ab of all pairs, as `grid.diversity()`; 0 for one."""
        return mean_distance([each.image for each in self.pictures]) if len(self.pictures) > 1 else 0.0

    def choose(self, keep: int) -> tuple[int, ...]:
        """The `keep` seeds farthest apart, and far from those that were finished before. Draws nothing.

        Raises BadRequest when fewer are left.
        """
        if not 1 <= keep <= self.left:
            raise BadRequest(
                f"keep={keep}, and {self.left} seeds are left",
                expected=f"1 to {self.left}" if self.left else "seeds that were not finished",
                mend=f"Look at more: session.scout(…, look_at={len(self.looks) * 2}).",
            )
        seeds, gone = list(self.looks), {*self._taken, *self.seeds}
        apart = distances([areas(self.looks[seed]) for seed in seeds])
        taken = [place for place, seed in enumerate(seeds) if seed in gone]
        return tuple(seeds[place] for place in farthest(apart, keep, taken))

    def requests(self, keep: int) -> list[Request]:
        """The request with each of the `keep` seeds farthest apart; a template has chosen once for all of them."""
        return [self.request.but(seed=seed) for seed in self.choose(keep)]

    def finish(self, keep: int, on_event: OnEvent | None = None) -> Scouted:
        """Draw the `keep` seeds farthest apart; returns this. For the next ones call `more`."""
        wanted = self.requests(keep)
        jobs = [self._session.submit(each, priority="batch") for each in wanted]
        self.pictures = tuple(Stream(jobs, self._session._wait, on_event))
        self.seeds = tuple(each.seed for each in wanted if each.seed is not None)
        return self

    def more(self, keep: int = KEEP, on_event: OnEvent | None = None) -> Scouted:
        """Finish the next `keep` seeds, far from each other and from the finished ones. Nothing is looked at again."""
        return self.beside(()).finish(keep, on_event)

    def beside(self, seeds: tuple[int, ...]) -> Scouted:
        """The same looks, to choose from beside the finished seeds and these."""
        taken = (*self._taken, *self.seeds, *seeds)
        return Scouted(self._session, self.request, self.steps, self.looks, taken)

    def __repr__(self) -> str:
        return (
            f"<Scouted {len(self.looks)} seeds, {self.steps} steps each: "
            f"seeds {', '.join(map(str, self.seeds))}; {self.diversity:.1f} apart>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """In a notebook: the pictures side by side, each above its seed."""
        if not self.pictures:
            return {"text/plain": repr(self)}
        out = io.BytesIO()
        strip([each.image for each in self.pictures], self.seeds).save(out, "JPEG", quality=90)
        return {"image/jpeg": out.getvalue(), "text/plain": repr(self)}


def cost(look_at: int, steps: int, of: int, keep: int = 0) -> str:
    """What scouting will take, in words and in pictures' worth of steps."""
    looking = look_at * min(steps, of) / of
    more = f", then {keep} to finish" if keep else ""
    return f"looking at {look_at} seeds, {steps} of {of} steps each: the work of {looking:.3g} pictures{more}"


def look(session: Session, request: Request, look_at: int, steps: int, on_event: OnEvent | None = None) -> Scouted:
    """Look at seeds counted up from the request's. Finishes none; nothing that the session has seen is drawn again.

    Raises BadRequest for numbers that make no sense, and what `session.check` raises.
    """
    if not isinstance(look_at, int) or not 2 <= look_at <= LARGEST_LOOK:
        raise BadRequest(f"look_at={look_at!r}", expected=f"2 to {LARGEST_LOOK}")
    if not isinstance(steps, int) or steps < 1:
        raise BadRequest(f"steps={steps!r}", expected="at least 1")
    first = random_seed() if request.seed is None else request.seed
    if first + look_at - 1 > LARGEST_SEED:
        raise BadRequest(f"seed={first}", expected=f"at most {LARGEST_SEED - look_at + 1}, to count {look_at} seeds up")
    request = templates.resolved(request.but(seed=first))  # the seeds of one prompt are compared
    checked = session.check(request)
    plain, of = checked.request.but(seed=None), checked.request.steps or steps
    known = session._looks.setdefault((plain.model_dump_json(), steps), {})
    while len(session._looks) > _KNOWN:
        session._looks.pop(next(iter(session._looks)))
    seeds = range(first, first + look_at)
    wanted = [seed for seed in seeds if seed not in known]
    jobs = [session.start(session.check(plain, seed=seed), priority="batch", look=steps) for seed in wanted]
    with closing(watcher()) as watch:
        hear = on_event or partial(watch.hear, prefix=f"{cost(look_at, steps, of)}: ")

        def hear_beginning(event: Event) -> None:
            if event.kind in ("queued", "loading"):  # a look's steps are not told, only that it is done
                hear(event)

        try:
            for number, (seed, job) in enumerate(zip(wanted, jobs, strict=True), 1):
                known[seed] = session._wait(job, hear_beginning).image
                known[seed].thumbnail((_LOOK_SIDE, _LOOK_SIDE))
                hear(Event(kind="step", job=job.id, step=number, steps=len(jobs), message="seed"))
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
    return Scouted(session, request.but(seed=None), steps, {seed: known[seed] for seed in seeds})


def farthest(apart: NDArray[Any], keep: int, taken: Sequence[int] = ()) -> list[int]:
    """The `keep` places that are farthest from each other and from `taken`, by the sum of their distances.

    `apart`: [n, n]. Begins with the two farthest (or the farthest from what is taken), adds one after the other, then
    exchanges single ones for as long as that helps. The order is that of the places.
    """
    free = [place for place in range(len(apart)) if place not in taken]
    beside = {place: float(apart[place, list(taken)].sum()) for place in free}

    def total(chosen: Iterable[int]) -> float:
        places = list(chosen)
        return float(apart[places][:, places].sum()) / 2 + sum(beside[place] for place in places)

    chosen = list[int]()
    if not taken and keep > 1:
        chosen = list(max(combinations(free, 2), key=total))
    while len(chosen) < keep:
        chosen.append(max((place for place in free if place not in chosen), key=lambda place: total([*chosen, place])))
    while True:
        best, swapped = total(chosen), None
        for out in chosen:
            for place in free:
                other = [place if each == out else each for each in chosen]
                if place not in chosen and total(other) > best + 1e-6:
                    best, swapped = total(other), other
        if swapped is None:
            return sorted(chosen)
        chosen = swapped


def strip(pictures: Sequence[Image.Image], seeds: Sequence[int]) -> Image.Image:
    """Pictures of one size in rows, each above its seed."""
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    width, height = pictures[0].size
    beside, rows = min(_BESIDE, len(pictures)), -(-len(pictures) // _BESIDE)
    sheet = Pictures.new("RGB", (beside * (width + _GAP) - _GAP, rows * (height + _FOOT)), "white")
    pen, letters = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for number, (image, seed) in enumerate(zip(pictures, seeds, strict=True)):
        x, y = number % _BESIDE * (width + _GAP), number // _BESIDE * (height + _FOOT)
        sheet.paste(on_white(image).convert("RGB"), (x, y))
        pen.text((x + width / 2, y + height + 3), f"seed {seed}", "#55514a", letters, anchor="ma")
    return sheet
