"""`zimage run`: a prompt in, pictures out. Says what it does while it does it, and where the pictures lie."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files import parsed_json
from ..text.units import duration
from . import console

if TYPE_CHECKING:
    from ..engine.events import Event
    from ..recipe.artifact import Artifact
    from ..recipe.request import Request
    from ..session.session import Session

Inline = Annotated[bool, typer.Option("--inline", help="Load the model in this command, even if your session runs.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="nano, turbo, base or a folder [default: turbo if it is on this disk, else nano]."
    ),
]
Size = Annotated[
    str | None, typer.Option(metavar="WxH", help="Pixels, multiples of 16 [default: the model's native size].")
]
Steps = Annotated[
    int | None, typer.Option(metavar="N", help="Evaluations of the model [default: what it was made for].")
]
Guidance = Annotated[float | None, typer.Option(metavar="X", help="0 for nano and turbo, 3 to 5 for base.")]
Negative = Annotated[str, typer.Option(metavar="TEXT", help="What to avoid; only base heeds it.")]
Loras = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[:WEIGHT]", help="A LoRA by name or file [weight: 1]; may be given several times."),
]
Stages = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND:KEY=VALUE,…", help="A stage to apply; may be given several times, in order."),
]
Dtype = Annotated[
    str | None, typer.Option(metavar="NAME", help="float32, bfloat16 or float16 [default: what the device has].")
]
Memory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="The most a model may take there, such as 8GB [default: all]."),
]
Precision = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="int8 or fp8: weights wait in 8 bits, in half the RAM [default: 16]."),
]
Speed = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="exact, half (summed in float16), fast (8 bits) or stock (diffusers) [default: exact]."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cpu, cuda, mps, cuda:1, or cuda:0,cuda:1 [default: the best]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
FIRST_PROMPT = "a red hot-air balloon over the sea"
MOST_OF_ALL = 200
"""Pictures that `--all` makes."""


def run(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What to draw, in English or Chinese.", show_default=FIRST_PROMPT),
    ] = None,
    model: Model = None,
    size: Size = None,
    steps: Steps = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The same seed, the same picture [default: a new one].")
    ] = None,
    guidance: Guidance = None,
    negative: Negative = "",
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many pictures; their seeds count up.")] = 1,
    scout: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Look at N seeds and finish the --count (or 4) that differ most."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every combination of a template once, all with the same seed.")
    ] = False,
    template_seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of a template's choice [default: the picture's seed].")
    ] = None,
    lora: Loras = None,
    stage: Stages = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Begin from this preset, see `zimage recipe presets`; the rest goes on top."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A .png, .jpg or .webp [default: dated, in the outputs folder]."
        ),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    memory: Memory = None,
    precision: Precision = None,
    speed: Speed = None,
    inline: Inline = False,
    as_json: AsJson = False,
) -> None:
    """Make a picture from a prompt and save it with its recipe.

    If your session runs (see `zimage session status`), it makes the picture, with the model that it holds; else this
    command loads one, as it does with --inline or --device. Several pictures (--count) are saved as FILE-1.png,
    FILE-2.png and so on. PROMPT may be a template, "a {red|blue} boat": each picture chooses by its seed, and its
    recipe has both; see `zimage template`.

    Seeds counted up often look alike. --scout 24 evaluates two steps of 24 seeds, which takes as long as about 6
    pictures, and finishes those whose pictures will be farthest apart.

    \b
    Examples:
      zimage run "a red hot-air balloon over the sea" --seed 7
      zimage run "海上的红色热气球" --count 4 --output balloon.png
      zimage run "a red boat" --scout 24 --count 4
      zimage run "a {red|blue|white} {boat|balloon}" --count 4
      zimage run "a white cat under the moon" --size 320x192 --json
      zimage run "a girl on the grass" --lora papercut:0.8 --stage pose:preset=waving --stage upscale
      zimage run "a red boat" --stage text_overlay:text="Sea and moon",place=bottom
    """
    from ..errors import BadRequest
    from ..recipe import presets, templates
    from ..recipe.request import Request, parse_size, random_seed
    from ..session import scout as scouting

    if every and (count > 1 or scout is not None):
        raise BadRequest(f"--all with --{'count' if scout is None else 'scout'}", expected="one or the other")
    base = Request(prompt=FIRST_PROMPT) if preset is None else presets.preset(preset)
    width, height = parse_size(size) if size else (None, None)
    fields = {
        "prompt": prompt, "negative_prompt": negative or None, "model": model, "width": width, "height": height,
        "steps": steps, "guidance": guidance, "seed": seed, "template_seed": template_seed,
    }  # fmt: skip
    request = base.but(
        **{name: value for name, value in fields.items() if value is not None},
        loras=(*base.loras, *map(parse_lora, lora or ())),
        stages=(*base.stages, *map(parse_stage, stage or ())),
    )
    if scout is not None and count == 1:
        count = scouting.KEEP
    if (count > 1 or scout is not None or every) and request.seed is None:
        request = request.but(seed=random_seed())
    if every:
        requests = templates.every_request(request, MOST_OF_ALL)
        console.say(f"{len(requests)} combination{'s' * (len(requests) != 1)}")
    else:
        requests = [request.but(seed=seed) for seed in counted(request, count)]
    paths = numbered(output, len(requests))
    check_targets(paths)
    session = open_session(inline, device=device, dtype=dtype, memory=memory, precision=precision, speed=speed)
    saved = []
    if scout is not None:
        requests = found(session, request, scout, count, quiet=as_json)
    for each, path in zip(requests, paths, strict=True):
        artifact = make(session, each, quiet=as_json)
        saved.append((artifact, artifact.save(path)))
        if not as_json:
            finish(saved[-1:], as_json)
    if as_json:
        finish(saved, as_json)


def open_session(inline: bool, **settings: str | None) -> Session:
    """The session that runs, or that $ZIMAGE_SESSION names; without one, or with settings of its own, this process."""
    from ..session.connect import connect
    from ..session.shared import launch

    if inline or any(settings.values()):
        return connect("inline", **settings)
    return connect() if os.environ.get("ZIMAGE_SESSION") or launch.runs() else connect("inline")


def make(session: Session, request: Request, quiet: bool = False) -> Artifact:
    """Run one request and show how far it is. Ctrl-C cancels it between two steps and is passed on."""
    with console.progress("queued", quiet=quiet) as bar:
        job = session.submit(request)
        try:
            for event in job.events():
                if (now := console.told(event)) is not None:
                    bar.update(*now)
            return job.result()
        except KeyboardInterrupt:
            job.cancel()
            for _ in job.events():  # until the step that is running has ended
                pass
            raise


def counted(request: Request, count: int) -> Sequence[int | None]:
    """Seeds for `count` pictures, counted up from the request's."""
    return [None if request.seed is None else request.seed + number for number in range(count)]


def found(session: Session, request: Request, look_at: int, count: int, quiet: bool = False) -> list[Request]:
    """The request with the `count` of `look_at` seeds that differ most; shows what looking costs and how far it is."""
    from ..session import scout as scouting

    with console.progress("queued", quiet=quiet) as bar:
        steps = session.check(request).request.steps or scouting.STEPS
        if not quiet:
            console.say(scouting.cost(look_at, scouting.STEPS, steps, count))

        def show(event: Event) -> None:
            if (now := console.told(event)) is not None:
                bar.update(*now)

        return scouting.look(session, request, look_at, scouting.STEPS, show).requests(count)


def finish(saved: list[tuple[Artifact, Path]], as_json: bool) -> None:
    """Say where pictures lie and what is worth knowing about them; as JSON, all of them in one object."""
    if as_json:
        console.result_json({"pictures": [{"path": str(path), **artifact.recipe} for artifact, path in saved]})
        return
    for artifact, path in saved:
        trace = artifact.trace
        took = f", {duration(trace.milliseconds['total'] / 1000)}" if "total" in trace.milliseconds else ""
        if trace.unknown_words:
            words = ", ".join(trace.unknown_words)
            console.say(f"{artifact.request.model} does not know: {words}. It drew the rest.")
        for note in trace.notes:
            console.say(f"note: {note}")
        if artifact.request.template:
            console.say(f"prompt: {artifact.request.prompt}")
        console.result(f"saved {path} (seed {artifact.request.seed}{took})")


def parse_lora(text: str) -> tuple[str, float]:
    """Read `NAME` or `NAME:WEIGHT`; a name may have colons itself. Raises BadRequest for a weight that is no number."""
    from ..errors import BadRequest

    name, colon, weight = text.rpartition(":")
    if not colon or "/" in weight or "\\" in weight:
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise BadRequest(f"--lora {text!r}", expected="NAME or NAME:WEIGHT", mend="Such as papercut:0.8.") from None


def parse_stage(text: str) -> dict[str, Any]:
    """Read `kind`, `kind:key=value,key="a, b"` or `kind:{"key": [1, 2]}` into a stage's data.

    Values stay text where they are not JSON; the stage's own fields say what they are. Raises BadRequest.
    """
    from ..errors import BadRequest

    kind, _, rest = text.partition(":")
    expected = "KIND or KIND:KEY=VALUE,KEY=VALUE"
    if not kind.strip():
        raise BadRequest(f"--stage {text!r}", expected=expected)
    if rest.lstrip().startswith("{"):
        try:
            pairs = list(parsed_json(rest).items())
        except ValueError as error:
            raise BadRequest(f"--stage {text!r} is not JSON ({error})", expected=expected) from None
    else:
        words = shlex.shlex(rest, posix=True)
        words.whitespace, words.whitespace_split, words.quotes, words.commenters, words.escape = ",", True, '"', "", ""
        try:
            split = [word.partition("=") for word in words]
        except ValueError:
            raise BadRequest(f"--stage {text!r} has an open quote", expected=expected) from None
        for key, equals, _value in split:
            if not equals or not key.strip():
                raise BadRequest(f"--stage {text!r}: {key!r} has no value", expected=expected)
        pairs = [(key.strip(), value) for key, _, value in split]
    names = ["kind", *(key for key, _ in pairs)]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        mend = f"Its kind is {kind.strip()}: another field says what you mean." if twice == "kind" else ""
        raise BadRequest(f"--stage {text!r} gives {twice} twice", expected=expected, mend=mend)
    return {"kind": kind.strip(), **dict(pairs)}


def check_targets(paths: Sequence[Path | None]) -> None:
    """Check that pictures can be written there before any is drawn; None is the outputs folder. Raises CannotWrite."""
    from .. import files
    from ..library.store import outputs_dir

    for path in paths:
        if path is not None:
            files.check_writable(path)
        else:
            files.check_writable_file(outputs_dir() / "picture.png")


def numbered(output: Path | None, count: int) -> list[Path | None]:
    """The paths for `count` pictures: as given for one, with -1, -2 before the ending for more; None: the default."""
    if output is None or count == 1:
        return [output] * count
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]
