"""What became of the jobs that their programs left to the session: each is followed to its end, from outside."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import zimage_kit as zk
from zimage_kit import Session
from zimage_kit.errors import BadRequest, ZImageError

OVER = ("done", "failed", "cancelled")
EVERY = 0.5
"""Seconds from one look to the next: a session remembers the last 200 jobs that ended."""


class Watch:
    """Asks the session again and again for each kept job until it is over. Ends with the `with` block."""

    def __init__(
        self, lines: Callable[[], list[dict[str, Any]]], session: Callable[[], AbstractContextManager[Session]]
    ) -> None:
        self.states: dict[str, str] = {}
        self._lines, self._session = lines, session
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kept jobs")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._session() as own:
                    while not self._stop.wait(EVERY):
                        self.look(own)
            except ZImageError:  # it was killed; the next one is asked, as soon as there is one
                self._stop.wait(EVERY)

    def look(self, own: Session) -> None:
        """Ask once for each job that is not known to be over."""
        for line in self._lines():
            job = line.get("kept")
            if job is None or self.states.get(job) in OVER:
                continue
            try:
                self.states[job] = own.job(job).state
            except BadRequest:  # not this session's
                self.states.setdefault(job, "unknown")


def seeds(folder: Path) -> set[int]:
    """The seeds of all pictures in a library."""
    library = zk.library(folder)
    found = {each.seed for each in library.search(limit=None) if each.seed is not None}
    library.close()
    return found


def ends(
    lines: Iterable[dict[str, Any]], states: dict[str, str], killed: set[int], seeds: set[int]
) -> tuple[Counter[str], list[str]]:
    """How each kept job ended, and what is wrong with that.

    `states` as they were seen last, `killed` the processes of sessions that were killed, `seeds` those of the library's
    pictures: a job that is done has its picture there, and a job without an end was lost with its session.
    """
    found: Counter[str] = Counter()
    problems = []
    for line in lines:
        if "kept" not in line:
            continue
        state, saved = states.get(line["kept"], "unknown"), line["seed"] in seeds
        if state not in OVER and saved:
            state = "done"
        elif state not in OVER and line["server"] in killed:
            state = "lost with its session"
        elif state not in OVER:
            problems.append(f"kept {line['kept']} vanished: it was seen last as {state}")
            state = "vanished"
        if state == "done" and not saved:
            problems.append(f"kept {line['kept']} is done, and its picture is not there")
        found[state] += 1
    return found, problems
