"""`zimage library`: pictures found again by words, stars and dates; marked, exported, removed with undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadRequest
from ..text.line_breaks import shortened
from ..text.units import bytes_of, counted, gigabytes
from . import console
from .run import AsJson

if TYPE_CHECKING:
    from ..library.found import Found
    from ..library.library import Library

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Your pictures: list, search, star, tag, export, clean."
)

_WORTH_SHOWING = 500
"""Pictures, of which fewer are read or copied in no time."""

Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="A folder of pictures [default: the outputs folder].")
]
Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="Pictures of the library.")]
Words = Annotated[str, typer.Option("--words", metavar="TEXT", help='Words, "a phrase", -without.')]
Stars = Annotated[int, typer.Option("--stars", metavar="N", min=0, max=5, help="At least so many stars.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="With this tag; may be repeated.")]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Made with this model.")]
Stage = Annotated[str | None, typer.Option("--stage", metavar="KIND", help="With this stage.")]
Lora = Annotated[str | None, typer.Option("--lora", metavar="NAME", help="With this LoRA.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="With this seed.")]
Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="From then on: 2026-11-30, or 7d ago.")]
Until = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to then.")]
Like = Annotated[Path | None, typer.Option("--like", metavar="FILE", help="That look like this picture.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many.")]


@app.command("list", short_help="The latest pictures.")
def list_(limit: Limit = 20, folder: Folder = None, as_json: AsJson = False) -> None:
    """List the latest pictures.

    \b
    Examples:
      zimage library list
      zimage library list -n 100 --json
    """
    with _opened(folder, as_json) as library:
        _show(library.search(limit=limit), as_json)


@app.command(short_help="Pictures by words, stars, dates, likeness.")
def search(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD…", help='Words, "a phrase"; after -- also -without.')
    ] = None,
    stars: Stars = 0,
    tag: Tag = None,
    model: Model = None,
    stage: Stage = None,
    lora: Lora = None,
    seed: Seed = None,
    since: Since = None,
    until: Until = None,
    like: Like = None,
    limit: Limit = 20,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Find pictures. All that is given must hold; words may stand anywhere in the prompt, in tags and names.

    \b
    Examples:
      zimage library search red boat
      zimage library search -- red -boat
      zimage library search 红色 --since 7d --stars 3
      zimage library search --like boat.png
    """
    asked: dict[str, Any] = {"stars": stars, "tags": tag or (), "model": model, "stage": stage, "lora": lora}
    with _opened(folder, as_json) as library:
        found = library.search(
            " ".join(_quoted(word) for word in words or ()),
            since=since,
            until=until,
            like=like,
            seed=seed,
            limit=limit,
            **asked,
        )
        _show(found, as_json)


@app.command(short_help="What the library knows of a picture.")
def show(file: Annotated[str, typer.Argument(metavar="FILE")], folder: Folder = None, as_json: AsJson = False) -> None:
    """Show what the library knows of one picture; `zimage recipe show` tells how it was made.

    \b
    Example:
      zimage library show boat.png
    """
    with _opened(folder, as_json) as library:
        picture = library[file]
    data = picture.data()
    if as_json:
        console.result_json(data)
        return
    rows = [(name.replace("_", " "), _text(value)) for name, value in data.items() if value not in (None, "", [], ())]
    console.result(console.table(rows))


@app.command(short_help="Give pictures stars.")
def star(
    files: Files,
    stars: Annotated[int, typer.Option("--stars", metavar="N", min=0, max=5, help="0 removes them.")] = 1,
    folder: Folder = None,
) -> None:
    """Give pictures 1 to 5 stars, or none.

    \b
    Examples:
      zimage library star boat.png
      zimage library star boat.png cat.png --stars 5
    """
    with _opened(folder) as library:
        library.star(files, stars)
    console.say(f"{counted(len(set(files)), 'picture')}: {'★' * stars or 'no stars'}")


@app.command(short_help="Add or remove tags.")
def tag(
    files: Files,
    add: Annotated[list[str] | None, typer.Option("--add", metavar="TAG", help="May be repeated.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="TAG", help="May be repeated.")] = None,
    folder: Folder = None,
) -> None:
    """Add tags to pictures, or remove some.

    \b
    Example:
      zimage library tag boat.png --add poster --remove draft
    """
    if not add and not remove:
        raise BadRequest("no tag was given", mend="Use --add TAG or --remove TAG.")
    with _opened(folder) as library:
        library.tag(files, *(add or ()), remove=remove or ())
    console.say(f"{counted(len(set(files)), 'picture')} tagged")


@app.command(short_help="Copy pictures, with a contact sheet.")
def export(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A new folder, or a .zip file.")],
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE…", help="Pictures [default: all found].")] = None,
    words: Words = "",
    stars: Stars = 0,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    sheet: Annotated[bool, typer.Option("--sheet/--no-sheet", help="With a contact sheet.")] = True,
    recipe: Annotated[bool, typer.Option("--recipe/--no-recipe", help="With the recipes inside.")] = True,
    folder: Folder = None,
) -> None:
    """Copy pictures into a new folder or a .zip file.

    \b
    Examples:
      zimage library export best.zip --stars 4
      zimage library export for-anna boat.png cat.png --no-recipe
    """
    if not files and not (words or stars or tag or since or until):
        raise BadRequest("nothing says which pictures", mend="Name them, or give --words, --stars, --tag or --since.")
    with _opened(folder) as library:
        chosen: Sequence[Any] = files or (
            library.search(words, stars=stars, tags=tag or (), since=since, until=until, limit=None)
        )
        with _progress("copying") as count:
            place = library.export(chosen, target, sheet=sheet, recipe=recipe, on_progress=count)
    console.say(f"{counted(len(chosen), 'picture')} in")
    console.result(str(place))


@app.command(short_help="Remove old pictures; says first which.")
def clean(
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Made longer ago: 36h, 7d, 2w.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="The oldest, until the rest fits: 20GB.")
    ] = None,
    keep_starred: Annotated[
        bool, typer.Option("--keep-starred/--also-starred", help="Stars, tags and winners of grids stay.")
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it.")] = False,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Say which pictures are old or too many, and with --yes move them to the trash, where they wait for 30 days.

    \b
    Examples:
      zimage library clean --older-than 7d
      zimage library clean --max-size 20GB --yes
    """
    size = None if max_size is None else bytes_of(max_size)
    if max_size is not None and not size:
        raise BadRequest(f"--max-size {max_size}", expected="a size, such as 20GB")
    with _opened(folder, as_json) as library:
        plan = library.clean(older_than, max_bytes=size, keep_starred=keep_starred)
        removal = plan.remove() if yes and (plan.pictures or plan.inputs) else None
    if as_json:
        names = [each.name for each in plan.pictures]
        removed, inputs = removal.name if removal else None, [str(path) for path in plan.inputs]
        console.result_json(
            {"pictures": names, "bytes": plan.bytes, "kept": plan.kept, "inputs": inputs, "removal": removed}
        )
        return
    console.result(str(plan))
    if removal and removal.pictures:
        console.say(f"removed; `zimage library restore` brings them back until {removal.until:%Y-%m-%d}")
    elif not yes and (plan.pictures or plan.inputs):
        console.say("nothing was removed yet: add --yes")


@app.command(short_help="Move pictures to the trash.")
def remove(files: Files, folder: Folder = None) -> None:
    """Move pictures to the trash, where they wait for 30 days.

    \b
    Example:
      zimage library remove boat.png cat.png
    """
    with _opened(folder) as library:
        removal = library.remove([library[file] for file in files])
    console.say(f"{counted(len(removal.pictures), 'picture')} removed; `zimage library restore` brings them back")


@app.command(short_help="What is in the trash.")
def trash(
    empty: Annotated[bool, typer.Option("--empty", help="Delete it all, for good.")] = False,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """List what was removed, the latest first.

    \b
    Examples:
      zimage library trash
      zimage library trash --empty
    """
    with _opened(folder, as_json) as library:
        if empty:
            console.say(f"{counted(library.empty_trash(), 'removal')} deleted")
        found = library.trash()
    if as_json:
        times = [{at: getattr(each, at).isoformat(timespec="seconds") for at in ("when", "until")} for each in found]
        console.result_json([{**vars(each), **time} for each, time in zip(found, times, strict=True)])
    elif found:
        rows = [
            (each.name, counted(len(each.pictures), "picture"), gigabytes(each.bytes), f"until {each.until:%Y-%m-%d}")
            for each in found
        ]
        console.result(console.table(rows))


@app.command(short_help="Bring back what was removed.")
def restore(
    removal: Annotated[
        str | None, typer.Argument(metavar="REMOVAL", help="As `trash` lists it [default: the latest].")
    ] = None,
    folder: Folder = None,
) -> None:
    """Bring back what was removed together.

    \b
    Example:
      zimage library restore
    """
    with _opened(folder) as library:
        back = library.restore(removal)
    console.say(f"{counted(len(back), 'picture')} back")
    for picture in back:
        console.result(str(picture.path))


@contextmanager
def _opened(folder: Path | None, quiet: bool = False) -> Iterator[Library]:
    from ..library.library import Library

    with _progress("reading pictures", quiet) as count:
        library = Library(folder, count)
    try:
        if library.index_note and not quiet:
            console.say(f"note: {library.index_note}")
        yield library
    finally:
        library.close()


@contextmanager
def _progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how far it is; nothing is shown before its first call."""
    with ExitStack() as shown:
        bar: console.Bar | None = None

        def count(done: int, total: int) -> None:
            nonlocal bar
            if total < _WORTH_SHOWING:
                return
            bar = bar or shown.enter_context(console.progress(what, quiet=quiet))
            bar.update(done, total, f"{done} of {total}")

        yield count


def _show(found: Found, as_json: bool) -> None:
    if as_json:
        console.result_json({"total": found.total, "pictures": [each.data() for each in found]})
        return
    if not found:
        console.say("no pictures")
        return
    rows = [(f"{each.made:%Y-%m-%d %H:%M}", "★" * each.stars, str(each.path), _short(each.prompt)) for each in found]
    console.result(console.table(rows))
    if found.total > len(found):
        console.say(f"{len(found)} of {found.total}; -n shows more")


def _quoted(word: str) -> str:
    """One argument of the shell as one word of the search."""
    minus = "-" if word.startswith("-") else ""
    return f'{minus}"{word.removeprefix("-")}"' if " " in word else word


def _short(text: str, most: int = 60) -> str:
    return shortened(" ".join(text.split()), most)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
