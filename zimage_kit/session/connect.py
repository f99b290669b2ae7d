"""connect: choose a program's session. Calling it again gives the same session, with its model still loaded."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from ..engine.settings import Settings
from ..errors import BadRequest
from ..files import expanded
from .engine import Engine
from .inline import InlineEngine
from .session import Session
from .shared import launch

_sessions: dict[tuple[str, Settings], Session] = {}
_connecting = threading.Lock()


def connect(
    where: str | os.PathLike[str] | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    memory: str | None = None,
    precision: str | None = None,
    speed: str | None = None,
) -> Session:
    """Return the session to make pictures with. Calling it again gives the same one, with its model still loaded.

    | where | which session |
    |---|---|
    | None | $ZIMAGE_SESSION if it is set (to one of the following), else "shared" |
    | "shared" | your session on this machine, shared by all notebooks and programs; started if it is not running |
    | a scheduler.json | the session that this file names, here or on another machine |
    | "inline" | this process itself; the model is freed when the process ends |

    Settings that are left out are "auto": `device` is "cpu", "cuda:0", "mps" or "cuda:0,cuda:1" (two cards for one
    picture), `dtype` "float32", "bfloat16" or "float16", `memory` the most that the model may take on the device, such
    as "8GB", `precision` "int8" or "fp8" to keep weights in 8 bits until they compute, and `speed` "fast" for products
    in 8 bits, which change pixels, "half" for float16 that is summed in float16, which suits GeForce cards, or "stock"
    for diffusers' plain modules. On native Windows `where` None means
    "inline", with a warning. Attach only to a session that you trust: the person who runs it sees the requests and
    makes the pictures. Raises BadRequest, and SessionDied for a session that cannot be reached.
    """
    settings = Settings(device=device, dtype=dtype, memory=memory, precision=precision, speed=speed)
    name = os.fspath(where or os.environ.get("ZIMAGE_SESSION") or "shared")
    if name == "shared" and launch.WINDOWS:
        if where == "shared":
            raise BadRequest('connect("shared") on native Windows', mend=launch.WINDOWS_SAYS)
        logging.getLogger("zimage_kit").warning(launch.WINDOWS_SAYS)
        name = "inline"
    if name not in ("shared", "inline") and not name.endswith(".json"):
        raise BadRequest(
            f"connect({name!r})",
            expected='nothing, "shared", "inline" or the path of a scheduler.json',
            mend="Usually zk.connect() is enough.",
        )
    if name.endswith(".json"):
        name = str(expanded(Path(name)).absolute())
        if settings.given():
            raise BadRequest(
                f"{', '.join(settings.given())} together with a session file",
                mend="Leave it out: the session's workers were started with their own settings.",
            )
    key = (str(launch.state_folder()) if name == "shared" else name, settings)
    with _connecting:
        session = _sessions.get(key)
        if session is None or session._engine.closed:
            session = _sessions[key] = Session(_engine(name, settings), name)
        return session


def _engine(name: str, settings: Settings) -> Engine:
    if name == "inline":
        return InlineEngine(settings)
    from .shared.shared_engine import SharedEngine

    return SharedEngine.of_user(settings=settings) if name == "shared" else SharedEngine.at(Path(name))
