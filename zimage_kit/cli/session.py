"""`zimage session` and `zimage worker`: the one holder of the model for every notebook, and further machines."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files import expanded
from . import console
from .run import Dtype, Memory, Precision, Speed

if TYPE_CHECKING:
    from ..session.shared.shared_engine import SharedEngine

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The session that all notebooks share: start, status, stop …"
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda or mps [default: the best there is].")]
File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Another session's scheduler.json [default: your own].")
]

GRANTS = (
    "Whoever has this file can use the session and run any program as you on its machines. Copy it only to machines "
    "that you trust, over an encrypted way (scp), and keep it readable by you alone. A new session has a new one."
)


@app.command(short_help="Start it, and say where it is.")
def start(
    listen: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            show_default=False,
            help="This machine's address for others to reach it [default: this machine only].",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", show_default=False, help="Port [default: a free one].")] = 0,
    device: Device = None,
    dtype: Dtype = None,
    memory: Memory = None,
    precision: Precision = None,
    speed: Speed = None,
    idle_unload: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            envvar="ZIMAGE_IDLE_UNLOAD",
            min=0.01,
            help="Give the model's memory back after so long without a job [default: never].",
        ),
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C, as a service does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start the session: a scheduler, and a worker for each GPU. zk.connect() does this by itself when it needs to.

    With --listen, other machines can join: copy the file that is named to them and run `zimage worker --join` there.

    \b
    Examples:
      zimage session start
      zimage session start --idle-unload 10
      zimage session start --listen 192.168.1.20
    """
    from ..engine.settings import Settings
    from ..errors import SessionDied
    from ..session.shared import launch
    from ..session.shared import shared_engine as shared

    supported()
    settings = Settings(device=device, dtype=dtype, memory=memory, precision=precision, speed=speed)
    options: dict[str, Any] = {"host": listen, "port": port}
    options["idle_unload"] = None if idle_unload is None else idle_unload * 60
    folder = launch.private_folder(launch.state_folder())
    file = folder / launch.FILE
    found = shared.SharedEngine.running()
    if found is not None:
        address = found.status().address
        found.close()
        raise SessionDied(f"your session runs already, at {address}", mend="See `zimage session status` and `stop`.")
    if foreground:
        raise typer.Exit(stay(launch.server_command("--file", str(file), **options, **settings.given())))
    engine = shared.SharedEngine.of_user(settings, **options)
    address = engine.status().address
    engine.close()
    if as_json:
        console.result_json({"address": address, "file": str(file), "log": str(folder / launch.LOG)})
        return
    console.result(f"your session is at {address}; its file is {file}")
    if listen != "127.0.0.1":
        console.say(f"On each further machine: zimage worker --join {launch.FILE}")
        console.say(GRANTS)


@app.command(short_help="Models, jobs, workers, cards and who holds them.")
def status(file: File = None, as_json: AsJson = False) -> None:
    """Say how the session is. Exit status 1 if none runs.

    \b
    Examples:
      zimage session status
      zimage session status --json
    """
    from ..session.shared import launch

    engine = attached(file)
    if engine is None:
        if as_json:
            console.result_json({"state": "closed"})
        else:
            console.result("no session runs; zk.connect() or `zimage session start` starts one")
        raise typer.Exit(console.FAILED)
    current = engine.status()
    engine.close()
    if as_json:
        console.result_json(current.model_dump(mode="json"))
    else:
        console.result(str(current))
        if file is None:
            console.result(f"  log: {launch.state_folder() / launch.LOG}")


@app.command(short_help="End it, and with it everyone's jobs.")
def stop(
    file: File = None,
    force: Annotated[
        bool, typer.Option("--force", help="Kill its process on this machine if it does not answer.")
    ] = False,
) -> None:
    """End the session: jobs that run or wait are lost, the memory is free. Nothing to stop is no error.

    \b
    Examples:
      zimage session stop
      zimage session stop --force
    """
    from ..errors import SessionDied
    from ..session.shared import launch

    path = file or launch.state_folder() / launch.FILE
    try:
        engine = attached(file)
        if engine is None:
            console.result("no session runs")
            return
        there = launch.read_session_file(path)
        engine.stop()
        stopped = launch.gone(there, launch.STOP_SECONDS)
    except (SessionDied, TimeoutError):
        if not force:
            raise
        there, stopped = launch.read_session_file(path), False
        console.say("it cannot be asked to end, so it is killed")
    if not stopped and there.alive() is not None:
        launch.kill(there)
        path.unlink(missing_ok=True)
    elif not stopped and force:
        raise SessionDied("its process is on another machine", mend=f"End process {there.pid} on {there.host}.")
    console.result("the session is stopped")


@app.command(short_help="Give the models' memory back.")
def unload(file: File = None) -> None:
    """Give the models' memory back once what runs is done. The session stays; the next job loads its model again.

    \b
    Example:
      zimage session unload
    """
    _with_session(file, lambda engine: engine.unload())
    console.result("unloaded")


@app.command(short_help="Start its workers anew, stuck ones too.")
def restart(file: File = None) -> None:
    """Cancel everyone's jobs and start the workers' processes anew: the way out when one is stuck.

    \b
    Example:
      zimage session restart
    """
    _with_session(file, lambda engine: engine.restart())
    console.result("restarted")


def worker(
    join: Annotated[Path, typer.Option("--join", metavar="FILE", help="The session's scheduler.json, copied here.")],
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="This machine's address [default: the one that leads to the session]."),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    memory: Memory = None,
    precision: Precision = None,
    speed: Speed = None,
) -> None:
    """Let this machine's GPUs work for a session on another one, until Ctrl-C or the end of the session.

    The session must have been started with --listen. Its file gives the address and the certificate: whoever has it
    can use the session and run any program as its user, so copy it over an encrypted way and keep it to yourself.

    \b
    Example:
      zimage worker --join scheduler.json
    """
    from ..engine.settings import Settings
    from ..session.shared import launch

    supported()
    session = launch.read_session_file(join)
    console.say(f"joining the session at {session.address}; Ctrl-C leaves it")
    settings = Settings(device=device, dtype=dtype, memory=memory, precision=precision, speed=speed)
    options = {"join": expanded(join).absolute(), "host": host, **settings.given()}
    raise typer.Exit(stay(launch.server_command(**options)))


def supported() -> None:
    """Raises BadRequest where a shared session does not work."""
    from ..errors import BadRequest
    from ..session.shared import launch

    if launch.WINDOWS:
        raise BadRequest("a shared session on native Windows", mend=launch.WINDOWS_SAYS)


def stay(command: list[str]) -> int:
    """Run a server in the foreground; Ctrl-C reaches it as well, and it is waited for."""
    process = subprocess.Popen(command)
    while True:
        try:
            status = process.wait()
            return console.FAILED if status > 0 else console.DONE
        except KeyboardInterrupt:
            continue


def attached(file: Path | None) -> SharedEngine | None:
    """The session of a file, or the user's own if it runs; never starts one."""
    from ..session.shared.shared_engine import SharedEngine

    supported()
    return SharedEngine.running() if file is None else SharedEngine.at(file)


def _with_session(file: Path | None, do: Callable[[SharedEngine], Any]) -> None:
    from ..errors import SessionDied

    engine = attached(file)
    if engine is None:
        raise SessionDied("no session runs", mend="zk.connect() or `zimage session start` starts one.")
    try:
        do(engine)
    finally:
        engine.close()
