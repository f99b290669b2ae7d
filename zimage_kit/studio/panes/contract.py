"""What every pane promises, as a check for an extension's own tests: `contract.check("my_pane")`.

The studio's own panes pass the same check.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from PIL import Image

from ...recipe.artifact import Artifact, Trace
from ...recipe.request import Request
from ...session.connect import connect
from ..panel.studio import Studio
from ..translations import languages


def check(name: str) -> None:
    """Open the pane in a studio, in every language, with a picture; use its actions; close it.

    Nothing is drawn. Raises AssertionError that lists every broken promise, one line each.
    """
    before = set(threading.enumerate())
    session = connect("inline", device="cpu")  # left open: the caller's other tests may use it
    studio = Studio(session, name="", language="en", save=False)
    try:
        broken = [*_registered(studio, name)] or [*_in_use(studio, name)]
    finally:
        studio.close()
    for thread in set(threading.enumerate()) - before:
        if not thread.daemon:
            thread.join(5.0)
            if thread.is_alive():
                broken.append(f"the thread {thread.name} goes on after close()")
    assert not broken, f"pane {name} breaks the contract:\n" + "\n".join(f"- {line}" for line in broken)


def _registered(studio: Studio, name: str) -> list[str]:
    if name in studio.panes:
        return []
    return [f"the studio has no pane {name!r}: {studio.problem.error or 'no extension.toml names it'}"]


def _in_use(studio: Studio, name: str) -> list[str]:
    broken: list[str] = []

    def tried(what: str, work: Any) -> Any:
        try:
            return work()
        except Exception as error:
            broken.append(f"{what} raises {type(error).__name__}: {error}")
            return None

    def told(what: str) -> None:
        if studio.problem.error is not None:
            broken.append(f"{what} shows an error: {studio.problem.error}")
            studio.problem.clear()

    pane = studio.panes[name]
    studio.add_opened(Artifact(Image.new("RGB", (64, 64), "teal"), Request(prompt="a boat", model="nano"), Trace()))
    told("a picture in the strip")
    if not (type(pane).__doc__ or "").strip():
        broken.append("the class has no docstring")
    tried("open()", pane.open)
    for action in pane.actions(studio.texts):
        result = next(iter(studio.results))
        if action.applies(result):
            tried(f"its action {action.name}", lambda action=action, result=result: action.do(result))
    state = tried("state()", pane.state)
    if state is not None:
        try:
            again = json.loads(json.dumps(state))
        except (TypeError, ValueError) as error:
            broken.append(f"state() is no JSON: {error}")
        else:
            tried("restore(state())", lambda: pane.restore(again))
            if (after := tried("state()", pane.state)) != again and after is not None:
                broken.append(f"restore() of {again!r} gives the state {after!r}")
    tried("restore({})", lambda: pane.restore({}))
    for language in (*languages(), "en"):
        tried(f"building it in {language}", lambda language=language: setattr(studio, "language", language))
        if not pane.label(studio.texts).strip():
            broken.append(f"it has no label in {language}")
    for hook in ("form_changed", "pictures_changed", "jobs_changed"):
        tried(f"{hook}()", getattr(pane, hook))
    if pane.receive({"do": "something of another pane"}) is not False:
        broken.append("receive() takes a message that is not its own")
    told("using it")
    return broken
