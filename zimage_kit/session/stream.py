"""The artifacts of several jobs, in order, each as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from ..engine.events import Event
from ..errors import BadRequest, ZImageError
from ..recipe.artifact import Artifact
from .job import Job
from .progress import watcher

OnEvent = Callable[[Event], None]


class Stream(Iterator[Artifact]):
    """Artifacts in the order of their jobs. An error, an interrupt, `break` or `close` cancels the rest."""

    def __init__(
        self, jobs: Sequence[Job], wait: Callable[[Job, OnEvent | None], Artifact], on_event: OnEvent | None
    ) -> None:
        self._jobs, self._wait, self._on_event, self._count = list(jobs), wait, on_event, len(jobs)
        self._watch = watcher()

    def __next__(self) -> Artifact:
        if not self._jobs:
            self._watch.close()
            raise StopIteration
        prefix = f"picture {self._count - len(self._jobs) + 1} of {self._count}: "
        try:
            artifact = self._wait(self._jobs[0], self._on_event or (lambda event: self._watch.hear(event, prefix)))
        except BaseException:
            self.close()
            raise
        self._jobs.pop(0)
        if not self._jobs:
            self._watch.close()
        return artifact

    def __len__(self) -> int:
        return len(self._jobs)

    def close(self) -> None:
        """Cancel the jobs that are not done."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.cancel()
        self._watch.close()

    def __del__(self) -> None:
        """Cancel the rest: a loop that was left by `break` has dropped its iterator."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            with suppress(ZImageError):
                job.abandon()


def seeds_for(seed: Any, count: int) -> Sequence[int | None]:
    """One seed for each of `count` requests, from None, one seed for all, or a sequence. Raises BadRequest."""
    if seed is None or isinstance(seed, int):
        return [seed] * count
    seeds = list(seed)
    if len(seeds) != count:
        raise BadRequest(f"{len(seeds)} seeds for {count} requests", expected="one seed, or one for each request")
    return seeds
