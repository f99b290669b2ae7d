"""A session that nobody uses gives its model's memory back by itself, where the user wants that."""

from __future__ import annotations

import time

from programs import Hold, Place, eventually

from zimage_kit import Request

IDLE_SECONDS = 1.0


def test_an_idle_session_unloads_by_itself_and_loads_again(place: Place, small: Request, hold: Hold) -> None:
    session = place.session(idle_unload=IDLE_SECONDS)
    assert session.status().idle_unload == IDLE_SECONDS
    session.run(small)
    begin = time.monotonic()
    assert session.status().model == small.model
    eventually(lambda: session.status().model is None, "it unloads by itself", 5)
    assert time.monotonic() - begin > 0.5 * IDLE_SECONDS
    assert session.status().model_loads == 1

    session.run(small, fresh=True)
    assert session.status().model_loads == 2
    held = hold(session)  # whatever runs, is no idleness
    begin = time.monotonic()
    eventually(lambda: time.monotonic() - begin > 1.5 * IDLE_SECONDS, "longer than it may be idle", 5)
    assert session.status().model == small.model
    held.let_go()
    held.job.result(30)
    begin = time.monotonic()
    eventually(lambda: session.status().model is None, "it unloads again", 5)
    assert time.monotonic() - begin > 0.5 * IDLE_SECONDS, "the time that a job took counted as idle"
    assert place.session().status().model_loads == 2
