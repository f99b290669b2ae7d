"""Finished grids without a model: coloured pictures where the cells' own would lie."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from PIL import Image, ImageDraw

from zimage_kit.errors import JobFailed
from zimage_kit.grid import Cell, Cells, Grid, plan
from zimage_kit.grid.cell_store import CellStore
from zimage_kit.recipe.artifact import Artifact, Trace
from zimage_kit.recipe.request import Request

Paint = Callable[[Request, int], Image.Image]


def coloured(request: Request, index: int) -> Image.Image:
    """A disc on a ground, of colours that follow from the cell's number."""
    size = request.width or 64, request.height or 64
    hue = index * 0.381966 % 1.0
    ground, disc = (tuple(round(255 * part) for part in colorsys.hls_to_rgb(hue, light, 0.6)) for light in (0.75, 0.45))
    picture = Image.new("RGB", size, ground)
    radius, x, y = min(size) / 4, size[0] / 2, size[1] / 2
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), disc)
    return picture


def finished(
    base: Request | str = "a balloon",
    *,
    picture: tuple[int, int] = (64, 64),
    title: str = "",
    labels: Any = None,
    layout: Mapping[str, Any] | None = None,
    zipped: Any = False,
    paint: Paint = coloured,
    failed: Iterable[int] = (),
    missing: Iterable[int] = (),
    ratings: Mapping[int, int] | None = None,
    winner: int | None = None,
    **axes: Any,
) -> Grid:
    """A grid of these axes whose cells are done, but for those whose numbers are `failed` or `missing`."""
    request = base if isinstance(base, Request) else Request(prompt=base)
    request = request.but(width=request.width or picture[0], height=request.height or picture[1])
    made = plan(request, axes, layout=layout, zipped=zipped, labels=labels or {}, title=title)
    store = CellStore()
    cells = []
    for index, place in enumerate(made.places()):
        asked = made.request(place)
        resolved = asked.but(
            model=asked.model or "nano",
            steps=asked.steps or 8,
            guidance=asked.guidance or 0.0,
            seed=42 if asked.seed is None else asked.seed,
        )
        key = resolved.digest[:40]
        if index not in (*failed, *missing) and not store.has(key):
            trace = Trace(
                created="2026-01-02T03:04:05+00:00",
                model=resolved.model or "",
                device="cpu",
                dtype="float32",
                milliseconds={"denoise": 900.0, "total": 1234.5 + index},
                peak_bytes={"denoise": 4_000_000, "total": 5_000_000},
            )
            store.write(key, Artifact(paint(resolved, index), resolved, trace))
        cell = Cell(index, place, made.point(place), made.where(place), key, store)
        cell._requested = resolved
        cells.append(cell)
    grid = Grid(made, cells, store, None)
    for index in failed:
        cells[index].state = "failed"
        cells[index].error = JobFailed(
            "stage caption broke: ValueError: the text has no letters", mend="Give it a text.", traceback=""
        )
    for index, rating in (ratings or {}).items():
        cells[index].rating = rating
    if winner is not None:
        cells[winner].winner = True
    return grid


def pictures(cells: Cells | Grid) -> list[bytes]:
    """The pixels of the cells that are done."""
    return [cell.artifact.image.tobytes() for cell in cells if cell.artifact is not None]
