"""The command `zimage`. Each command imports what it needs when it runs, so `zimage --help` loads neither torch nor us.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. An error is one line on stderr that says what to do;
`ZIMAGE_DEBUG=1` shows its traceback as well.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from . import bench, coach, console, extensions, grid, library, machine, models, recipe, run, session, template

if TYPE_CHECKING:
    from ..errors import ZImageError

app = typer.Typer(
    name="zimage",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text: the same on a terminal, in a log and in the README
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        console.result(f"zimage_kit {__version__}")
        raise typer.Exit(console.DONE)


@app.callback()
def _zimage(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Pictures with Z-Image-Turbo, or with its miniature nano; every picture carries the recipe that made it.

    \b
    Examples:
      zimage run "a red hot-air balloon over the sea"
      zimage run "海上的红色热气球" --seed 7
      zimage doctor
    """


app.command("run", short_help="Make a picture from a prompt.")(run.run)
app.command("grid", short_help="Make pictures side by side.")(grid.grid)
app.command("template", short_help="What a prompt with {choices|…} becomes.")(template.template)
app.command("coach", short_help="What would make a prompt work better.")(coach.coach)
app.add_typer(models.app, name="models")
app.add_typer(recipe.app, name="recipe")
app.add_typer(library.app, name="library")
app.add_typer(extensions.app, name="extensions")
app.add_typer(session.app, name="session")
app.command("worker", short_help="Let this machine work for a session elsewhere.")(session.worker)
app.command("doctor", short_help="What this machine can run, what is wrong.")(machine.doctor)
app.command("bench", short_help="How long pictures take on this machine.")(bench.bench)
app.command("lab", short_help="Open JupyterLab on the notebooks.")(machine.lab)
app.command("app", short_help="Open the studio as a web page.")(machine.app)


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit status; nothing but KeyboardInterrupt's own signal leaves here."""
    from ..errors import BadRequest, JobCancelled, ZImageError

    log = logging.getLogger("zimage_kit")
    log.addFilter(_not_in_trace)
    try:
        status = app(arguments, prog_name="zimage", standalone_mode=False)
    except (KeyboardInterrupt, JobCancelled):
        status = console.INTERRUPTED
    except BadRequest as error:
        return _fail(error, console.USAGE)
    except ZImageError as error:
        return _fail(error, console.FAILED)
    except BrokenPipeError:  # the reader of our output has closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return console.FAILED
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # typer's own, for wrong usage
            return _wrong_usage(error)
        if os.environ.get("ZIMAGE_DEBUG"):
            raise
        console.say(f"zimage: {type(error).__name__}: {' '.join(str(error).split())}. ZIMAGE_DEBUG=1 shows more.")
        return console.FAILED
    finally:
        log.removeFilter(_not_in_trace)  # callers from Python still get every record
    if status == console.INTERRUPTED:  # typer itself may have turned Ctrl-C into this
        console.say("zimage: interrupted; nothing was left half-written")
    return status if isinstance(status, int) else console.DONE


def _not_in_trace(record: logging.LogRecord) -> bool:
    """Whether to print a record: notes in a picture's trace are printed with the picture."""
    return not getattr(record, "in_trace", False)


def _fail(error: ZImageError, status: int) -> int:
    inside = error.facts.get("traceback", "")  # of a job that failed in the engine
    if os.environ.get("ZIMAGE_DEBUG"):
        import traceback

        traceback.print_exception(error)
        console.say(inside)
    console.say(f"zimage: {error}" + (" ZIMAGE_DEBUG=1 prints it." if inside else ""))
    return status


def _wrong_usage(error: Exception) -> int:
    message = error.format_message()  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":  # `zimage models` alone: the message is the help
        console.say(message)
    else:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "zimage"
        console.say(f"{where}: {' '.join(message.split()).rstrip('.')}. Try: {where} --help")
    return console.USAGE


def main() -> None:
    """The entry point of the command `zimage`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Chinese shows ? instead of failing
    if not sys.warnoptions and not os.environ.get("ZIMAGE_DEBUG"):
        warnings.simplefilter("ignore")  # other packages' notes to their own users
    status = call(sys.argv[1:])
    gc.freeze()  # what is left goes with the process: with torch in it, looking through it takes half a second
    sys.exit(status)
