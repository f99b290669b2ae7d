"""One of the programs of the soak: it draws, cancels, keeps, makes grids and marks pictures, and writes down each end.

    python -m tests.soak.client JOURNAL SEED

It may be killed at any moment. It ends by itself once its input does, after what it is at. JOURNAL gets a JSON object a
line: {"began": job, "does": …}, {"ended": job, "state": …, "error": …, "file": …, "pixels": …}, {"problem": traceback}.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import zimage_kit as zk
from zimage_kit import Artifact, Grid, Job, Request, Session
from zimage_kit.engine.events import LAST
from zimage_kit.errors import SessionDied, ZImageError
from zimage_kit.recipe.artifact import picture_digest
from zimage_kit.session.shared import launch

PROMPTS = (
    "a red boat on the sea",
    "一只黑色的猫",
    "a blue house and a green tree",
    "a yellow flower, ink",
    "雪山上的热气球",
)
NOT_MADE = re.compile(r"(\d+) of \d+ cells were not made: their jobs were cancelled")
"""What a grid tells its user of cells whose jobs somebody else has cancelled."""
ENOUGH = 120.0
"""Seconds after which a session that does not come back is a problem."""


class Journal:
    """Lines that are in the file once they are written, whoever kills this process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._local = 0

    def write(self, **line: Any) -> None:
        """One line; one call of the system, so never half of one in another's."""
        os.write(self._file, (json.dumps({**line, "at": round(time.time(), 3)}) + "\n").encode())

    def name(self) -> str:
        """A name for work that has no job of its own to be named by."""
        self._local += 1
        return f"{os.getpid()}-{self._local}"

    @contextmanager
    def job(self, name: str, does: str) -> Iterator[Callable[[Artifact], None]]:
        """Work that ends: the block hands over its picture, which is saved, or raises."""
        self.write(began=name, does=does)
        made: list[Artifact] = []
        try:
            yield made.append
        except ZImageError as error:
            self.failed(name, error)
            if isinstance(error, SessionDied):
                raise
        else:
            for artifact in made:
                path = artifact.save()
                self.write(ended=name, state="done", file=str(path), pixels=picture_digest(artifact.image))

    def failed(self, name: str, error: ZImageError) -> None:
        """Work that ended without a picture."""
        kind = type(error).__name__
        state = {"JobCancelled": "cancelled", "SessionDied": "lost"}.get(kind, "failed")
        self.write(ended=name, state=state, error=kind, text=str(error)[:300])


@contextmanager
def told_as_cancelled() -> Iterator[list[int]]:
    """Of how many cells a grid tells its user, meanwhile, that they were not made since their jobs were cancelled."""
    told: list[int] = []

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if found := NOT_MADE.match(record.getMessage()):
                told.append(int(found[1]))

    reader, log = Reader(), logging.getLogger("zimage_kit")
    log.addHandler(reader)
    try:
        yield told
    finally:
        log.removeHandler(reader)


class Program:
    """What one program does, at random, until its input ends."""

    def __init__(self, journal: Journal, seed: int) -> None:
        self.journal, self.chance = journal, random.Random(seed)
        self.session: Session | None = None
        self.over = threading.Event()
        self.actions: dict[Callable[[Session], None], float] = {
            self.picture: 30, self.staged: 14, self.broken: 4, self.inpaint: 8, self.grid: 5, self.cancel: 14,
            self.kept: 8, self.batch: 5, self.mark: 10, self.unload: 0.7, self.restart: 0.15,
        }  # fmt: skip

    def run(self) -> None:
        """Until the input ends."""
        threading.Thread(target=self._wait, daemon=True).start()
        since = time.monotonic()
        while not self.over.is_set():
            try:
                if self.session is None:
                    self.session = zk.connect()
                (action,) = self.chance.choices(list(self.actions), list(self.actions.values()))
                action(self.session)
                since = time.monotonic()
            except ZImageError as error:  # the session has died, or is just being started anew
                if time.monotonic() - since > ENOUGH:
                    raise
                self.journal.write(disturbed=type(error).__name__, text=str(error)[:300])
                time.sleep(0.5)
                if self.session is not None and self.session.closed:
                    self.session = None

    def _wait(self) -> None:
        sys.stdin.read()
        self.over.set()

    def request(self, **changes: Any) -> Request:
        """A small one, of which some have been drawn before."""
        side = self.chance.choice((64, 96, 128))
        return Request(
            prompt=self.chance.choice(PROMPTS), model="nano", width=side, height=side, steps=self.chance.randint(1, 3),
            seed=self.chance.randint(1, 40),
        ).but(**changes)  # fmt: skip

    def wait(self, job: Job, does: str) -> None:
        """Follow a job to its end, which is one."""
        with self.journal.job(job.id, does) as keep:
            try:
                keep(job.result())
            finally:
                last = [event.kind for event in job.events() if event.kind in LAST]
                if last != [job.state]:
                    self.journal.write(problem=f"job {job.id} ended as {last}, and its state is {job.state}")

    def picture(self, session: Session) -> None:
        self.wait(session.submit(self.request(), fresh=self.chance.random() < 0.5), "picture")

    def staged(self, session: Session) -> None:
        stages = [{"kind": "upscale"}, {"kind": "refine", "strength": 0.4}, {"kind": "text_overlay", "text": "春 soak"}]
        chosen = self.chance.sample(stages, self.chance.randint(1, 2))
        self.wait(session.submit(self.request(stages=chosen)), "stages")

    def broken(self, session: Session) -> None:
        self.wait(session.submit(self.request(stages=[{"kind": "soak_break"}])), "broken stage")

    def inpaint(self, session: Session) -> None:
        picture = Image.new("RGB", (96, 96), "skyblue")
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).ellipse((20, 20, 76, 76), fill=255)
        path = Path(os.environ["SOAK_INPUTS"], f"{self.chance.randint(1, 5)}-{os.getpid()}.png")
        mask.save(path)
        with self.journal.job(self.journal.name(), "inpaint") as keep:
            seed = self.chance.randint(1, 20)
            keep(session.apply(picture, zk.stages.inpaint(mask=path, prompt="a red boat", seed=seed, model="nano")))

    def grid(self, session: Session) -> None:
        name, begin = self.journal.name(), self.chance.randint(1, 30)
        grid = session.grid(self.request(seed=None), seed=range(begin, begin + 4), steps=[1, 2], yes=True)
        for cell in grid:
            self.journal.write(began=f"{name}-{cell.index}", does="grid's cell")
        if stopped := self.chance.random() < 0.3:
            time.sleep(self.chance.random())
            grid.cancel()
        self.cells(grid, name, stopped)

    def cells(self, grid: Grid, name: str, stopped: bool) -> None:
        """Follow a grid to its end, and write down each cell's. `stopped`: this program has cancelled it itself."""
        lost: ZImageError | None = None
        with told_as_cancelled() as told:
            try:
                grid.wait()
            except ZImageError as error:
                lost = error
        if waiting := sum(cell.state == "waiting" for cell in grid):  # another program has restarted the session
            stopped = stopped or waiting in told
        for cell in grid:
            end, problem = f"{name}-{cell.index}", cell.error or lost
            if cell.artifact is not None:
                self.journal.write(ended=end, state="done", pixels=picture_digest(cell.artifact.image), file="")
            elif problem is not None:
                self.journal.failed(end, problem)
            elif stopped:
                self.journal.write(ended=end, state="cancelled")
            else:
                self.journal.write(problem=f"a cell of a grid that was waited for is {cell.state}: {end}")
        if lost is not None:
            raise lost

    def cancel(self, session: Session) -> None:
        job = session.submit(self.request(steps=self.chance.choice((8, 60)), seed=self.chance.randint(1, 10**9)))
        time.sleep(self.chance.random() * 1.5)
        job.cancel()
        self.wait(job, "cancelled")

    def kept(self, session: Session) -> None:
        seed, server = self.chance.randint(1, 10**9), launch.read_session_file(launch.state_folder() / launch.FILE).pid
        job = session.submit(self.request(seed=seed), keep=True)
        self.journal.write(began=job.id, does="kept")  # and left; the library has it, whatever becomes of this program
        self.journal.write(kept=job.id, seed=seed, server=server)

    def batch(self, session: Session) -> None:
        name = self.journal.name()
        for number, request in enumerate([self.request() for _ in range(3)]):
            with self.journal.job(f"{name}-{number}", "one of a batch") as keep:
                keep(session.run(request))

    def mark(self, session: Session) -> None:
        """Stars, tags, and a removal that is taken back, or not yet when this program is killed."""
        self.journal.write(did="library")
        library = session.library
        library.refresh()
        found = library.search(limit=30)
        if not found:
            return
        library.star(self.chance.sample(list(found), min(3, len(found))), self.chance.randint(0, 5))
        library.tag([self.chance.choice(list(found))], self.chance.choice(("good", "后来")))
        library.search("boat", limit=10)
        removal = library.remove([self.chance.choice(list(found))])
        library.restore(removal.name)

    def unload(self, session: Session) -> None:
        self.journal.write(did="unload")
        session.unload()

    def restart(self, session: Session) -> None:
        self.journal.write(did="restart")
        session.restart()


def main() -> int:
    """Run from the command line."""
    journal = Journal(sys.argv[1])
    try:
        Program(journal, int(sys.argv[2])).run()
    except BaseException:
        journal.write(problem=traceback.format_exc())
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
