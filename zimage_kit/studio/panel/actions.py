"""What the studio itself does with a picture; panes and extensions add theirs. The page has a button for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import BadRequest, ZImageError
from ...models.sizes import drawn_size
from ...models.spec import resolve
from ...recipe.asset import is_field, store
from ...recipe.request import SIDE_MULTIPLE, Request, random_seed
from ...stages.extensions import stage_class
from ...stages.kinds import stages
from ..panes.pane import Action
from ..translations import Texts
from .fields import StageLabels
from .results import TYPES, Result, used

if TYPE_CHECKING:
    from .studio import Studio

ORDER = ("use", "vary", "final", "upscale", "apply", "input", "compare", "grid", "copy", "download", "zoom", "forget")
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
    yield action("apply", lambda result: apply_stages(studio, result), lambda _: True)
    yield action("input", lambda result: use_as(studio, result, str(message.get("as"))), lambda _: True)
    for name in ("copy", "zoom"):  # the page does these by itself
        yield action(name, lambda _: None, lambda _: True)
    yield action("download", lambda result: download(studio, result, message), lambda _: True)
    yield action("forget", studio.forget, lambda _: True)


def apply_stages(studio: Studio, result: Result) -> None:
    """Run the form's stages on a picture: those that change one, such as refine, inpaint, upscale and text."""
    chosen = [stage for stage in studio.form.stages.stages() if stage.transforms()]
    if not chosen:
        raise BadRequest(studio.texts("panel.no_stage"), mend=studio.texts("panel.add_stage"))
    studio.jobs.apply(result.artifact, *chosen)


def inputs(texts: Texts) -> list[dict[str, str]]:
    """The fields of stages that take a picture: "pose.photo", with its label."""
    found = []
    for kind, labels in StageLabels.of_all(texts.language).items():
        cls = stage_class(kind)
        for name, info in cls.model_fields.items() if cls is not None else ():
            if is_field(info):
                found.append({"value": f"{kind}.{name}", "label": f"{labels.title} · {labels.label(name)}"})
    return found


def use_as(studio: Studio, result: Result, field: str) -> None:
    """Put a picture into a field of a stage in the form, which is added if it is not there."""
    kind, _, name = field.partition(".")
    artifact = result.artifact
    saved = artifact.path is not None and artifact.path.is_file()
    content = artifact.path.read_bytes() if saved and artifact.path is not None else artifact.png_bytes()
    studio.form.stages.put(kind, name, str(store(content, result.file("png")[0])))
    studio.announce(studio.texts("panel.used_as", field=field))


def download(studio: Studio, result: Result, message: Mapping[str, Any]) -> None:
    """Send a picture with its recipe to the page that asks, as the format that it names."""
    format = str(message.get("format")) if message.get("format") in TYPES else "png"

    def send() -> None:
        name, content = result.file(format)
        studio.viewer.send({"file": name, "type": TYPES[format], "view": message.get("view", "")}, [content])

    studio.in_background(send)


def has_prompt(result: Result) -> bool:
    """Whether a picture has a recipe that can be used."""
    request = result.artifact.request
    return request.source is None and bool(request.prompt)


def draft(request: Request) -> Request:
    """The same at half the size with half the steps, to see soon whether the words do; another composition, though."""
    spec = resolve(request.model or "")
    width, height = (
        max(64, side // 2 // SIDE_MULTIPLE * SIDE_MULTIPLE) for side in drawn_size(spec, request.width, request.height)
    )
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
