"""What the studio itself does with a picture; panes and extensions add theirs. The page has a button for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ZImageError
from ...models.spec import resolve
from ...recipe.request import SIDE_MULTIPLE, Request, random_seed
from ...stages.kinds import stages
from ..panes.pane import Action
from ..translations import Texts
from .results import Result, used

if TYPE_CHECKING:
    from .studio import Studio

ORDER = ("use", "vary", "final", "upscale", "compare", "grid", "copy", "download", "zoom", "forget")
"""How the buttons stand; those of extensions follow. `copy` and `zoom` are the page's own."""


def own_actions(studio: Studio, texts: Texts, message: Mapping[str, Any]) -> Iterator[Action]:
    """The studio's actions. `message` is the one by which the page asks for one: with its choices, `how` and so on."""

    def action(name: str, do: Callable[[Result], None], applies: Callable[[Result], bool]) -> Action:
        return Action(name, texts(f"viewer.{name}"), texts(f"viewer.{name}_help"), do, applies)

    yield action("use", lambda result: studio.form.set(used(result.artifact, message.get("how"))), has_prompt)
    yield action("vary", lambda result: studio.jobs.make([result.artifact.request.but(seed=random_seed())]), has_prompt)
    yield action("final", lambda result: studio.jobs.make([final(result.artifact.request)]), is_small)
    yield action("upscale", lambda result: studio.jobs.apply(result.artifact, stages.upscale()),
                 lambda _: "upscale" in studio.form.stages.titles)  # fmt: skip
    for name in ("copy", "zoom"):  # the page does these by itself
        yield action(name, lambda _: None, lambda _: True)
    yield action("download", lambda result: studio.download(result, message), lambda _: True)
    yield action("forget", studio.forget, lambda _: True)


def has_prompt(result: Result) -> bool:
    """Whether a picture has a recipe that can be used."""
    request = result.artifact.request
    return request.source is None and bool(request.prompt)


def draft(request: Request) -> Request:
    """The same at half the size with half the steps, to see soon whether the words do; another composition, though."""
    spec = resolve(request.model or "")
    width, height = (max(64, side // 2 // SIDE_MULTIPLE * SIDE_MULTIPLE) for side in
                     (request.width or spec.native[0], request.height or spec.native[1]))  # fmt: skip
    return request.but(width=width, height=height, steps=max(2, -(-(request.steps or spec.steps) // 2)))


def final(request: Request) -> Request:
    """A draft's recipe at twice its size, with the model's own number of steps."""
    assert request.width is not None and request.height is not None
    return request.but(width=2 * request.width, height=2 * request.height, steps=None)


def is_small(result: Result) -> bool:
    """Whether a picture may be a draft: at twice its size the model still draws well."""
    request = result.artifact.request
    if not has_prompt(result) or request.width is None or request.height is None or request.model is None:
        return False
    try:
        spec = resolve(request.model)
    except ZImageError:  # its model is not there
        return False
    return 2 * max(request.width, request.height) <= max(*spec.native, spec.advised_side)
