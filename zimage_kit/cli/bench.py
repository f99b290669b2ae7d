"""`zimage bench`: how long pictures take on this machine, in several ways, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .run import AsJson, Device, Dtype, Model

if TYPE_CHECKING:
    from PIL import Image

    from ..doctor.bench import Bench, Profile
    from ..recipe.artifact import Artifact


def bench(
    model: Model = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEED[:SIZE]",
            help="A way to compute, as in exact or exact:8GB; may be given several times [default: stock and exact].",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(metavar="WxH", help="May be given several times [default: the model's own]."),
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="[default: the model's own]")] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures of which medians are taken.")] = 5,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also say how far the profiles' pictures of the same seeds are apart.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the table as Markdown and CSV, all as JSON, a plot, and the sheet."),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Measure how long pictures take here: speeds, sizes and memory limits side by side.

    Each profile loads the model in this process and draws 2 + 2 N pictures of each size; what is shown are medians.
    Close what else uses the device first. Ctrl-C ends it. The table can be pasted into an issue as it is.

    \b
    Examples:
      zimage bench
      zimage bench --model turbo --profile stock --profile exact --size 1024x1024 --size 512x512
      zimage bench --model turbo --profile exact --profile exact:8GB --compare --save measured
    """
    from .. import files
    from ..doctor import bench as measuring
    from ..engine.settings import Settings
    from ..errors import BadRequest
    from ..models.spec import default_model, resolve
    from ..recipe.request import parse_size

    profiles = list(dict.fromkeys(measuring.Profile.parse(text) for text in profile or ("stock", "exact")))
    if compare and len(profiles) < 2:
        raise BadRequest("--compare with one profile", expected="two or more", mend="Name another --profile.")
    chosen = model or default_model()
    sizes = list(dict.fromkeys(map(parse_size, size or ()))) or [resolve(chosen).native]
    if save is not None:
        save = files.check_writable_file(save / "bench.json").parent
    pictures: dict[str, list[Image.Image]] = {}

    def keep(profile: Profile, artifact: Artifact) -> None:
        pictures.setdefault(str(profile), []).append(artifact.image)

    with console.progress("measuring", quiet=as_json) as bar:
        found = measuring.measure(
            chosen,
            profiles,
            sizes,
            Settings(device=device, dtype=dtype),
            steps,
            rounds,
            lambda doing, done, total: bar.update(done, total, doing),
            keep,
        )
    if compare:
        from ..doctor.bench_compare import differences

        found.differences = differences(pictures)
    if save is not None:
        _write(save, found, pictures if compare else {})
        console.say(f"written to {save}")
    if as_json:
        console.result_json(found.to_json())
        return
    console.result(found.to_markdown().rstrip())


def _write(folder: Path, found: Bench, pictures: dict[str, list[Image.Image]]) -> None:
    """The files of --save, each whole."""
    import io
    import json

    from .. import files
    from ..doctor.bench_compare import sheet
    from ..doctor.bench_plot import plot

    written = {
        "bench.md": found.to_markdown(),
        "bench.csv": found.to_csv(),
        "bench.json": json.dumps(found.to_json(), ensure_ascii=False, indent=2) + "\n",
        "bench.svg": plot(found),
    }
    for name, text in written.items():
        files.write_whole(folder / name, text.encode())
    if pictures:
        first = {name: drawn[:4] for name, drawn in pictures.items()}
        sheet(first).save(png := io.BytesIO(), format="PNG")
        files.write_whole(folder / "sheet.png", png.getvalue())
