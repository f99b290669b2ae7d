"""Preflight: finds every error that can be found before anything is loaded, and fills in the defaults.

`check` turns a Request into a resolved one. It imports no torch and does not use the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadRequest, NoRecipe
from ..files import check_allowed, content_digest, expanded, no_file
from ..models.loras import lora_file
from ..models.sizes import drawn_size
from ..models.spec import ModelSpec, default_model, models_here, require, resolve
from ..models.tokens import count_tokens
from ..recipe import asset, templates
from ..recipe.request import OPEN, SIDE_MULTIPLE, Lora, Request, random_seed
from ..stages.extensions import build_stages, stage_class
from ..stages.stage import Stage


@dataclass(frozen=True)
class Checked:
    """A request that can run: resolved, with the model's directory and notes on what was chosen for the user.

    Directory and token count are None when the model is on another machine, where the request is checked again.
    `warnings`: the notes that come from stages. `derived`: the fields that were filled in: steps, stages.0.body.
    """

    request: Request
    spec: ModelSpec
    directory: Path | None
    prompt_tokens: int | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()


def check(request: Request, models: frozenset[str] | None = None) -> Checked:
    """Resolve a request and check it against its model, on this disk or among `models` (those of a session's workers).

    Its templates become plain prompts. Raises BadRequest (size over the model's limit, prompt too long or empty, a
    wrong template, a negative prompt that would be ignored, a missing LoRA, an unknown stage or field), UnknownModel,
    ModelMissing, ExtensionProblem, and NoRecipe for a recipe that starts from a picture.
    """
    if request.source is not None:
        raise NoRecipe(
            "this recipe starts from a picture that is not part of it",
            mend="Use session.apply(picture, *request.stages).",
            source=request.source,
        )
    stages = build_stages(request.stages)
    spec = resolve(request.model or default_model(models or None))
    asked = request
    request, notes = _filled(request, spec, stages)
    derived = (*(name for name in OPEN if getattr(asked, name) is None), *_derived(stages, request, 0))
    notes += _check_sizes(request, spec)
    notes += _check_texts(request, spec)
    warnings = [] if _elsewhere(models) else stage_notes(request)
    notes += warnings
    if models and spec.name in models and spec.directory() is None:
        return Checked(request, spec, None, None, tuple(notes), tuple(warnings), derived)
    directory = require(spec.name)
    tokens = _check_length(request, spec, directory)
    return Checked(request, spec, directory, tokens, tuple(notes), tuple(warnings), derived)


def _filled(request: Request, spec: ModelSpec, stages: Sequence[Stage]) -> tuple[Request, list[str]]:
    """Fill in every field. If only one side is given, the picture is square."""
    notes = []
    width, height = drawn_size(spec, request.width, request.height)
    if (request.width is None) != (request.height is None):
        notes.append(f"only one side was given, so the picture is square: {width}x{height}")
    if request.model is None:
        notes.append(f"no model was named: {spec.name}")
    resolved = request.but(
        model=spec.name,
        width=width,
        height=height,
        steps=spec.steps if request.steps is None else request.steps,
        guidance=spec.guidance if request.guidance is None else request.guidance,
        seed=random_seed() if request.seed is None else request.seed,
        loras=tuple(_found(lora, spec) for lora in request.loras),
    )
    resolved = templates.resolved(resolved)
    return resolved.but(stages=[named_for_all(stage.resolved(resolved)).data() for stage in stages]), notes


def _derived(stages: Sequence[Stage], request: Request, first: int) -> list[str]:
    """The fields of stages, of which the first is number `first` of the resolved request, that were filled in."""
    found = []
    for number, stage in enumerate(stages, first):
        given = named_for_all(stage).data().fields()
        filled = request.stages[number].fields()
        found += [f"stages.{number}.{name}" for name, value in filled.items() if value != given.get(name)]
    return found


def named_for_all(stage: Stage) -> Stage:
    """The stage with its files as a recipe names them: inputs by their content, other files by their absolute paths.

    Another process with another working folder may read them. Raises BadRequest for what names no asset.
    """
    changes = {}
    for name, value in dict(stage).items():
        if isinstance(value, Path) and asset.parsed(value) is None:
            check_allowed(value)
            changes[name] = expanded(value).absolute()
            if asset.is_field(type(stage).model_fields[name]) and not no_file(changes[name]):
                found = asset.of_file(changes[name])
                changes[name] = changes[name] if found is None else Path(str(found))
    return stage.model_copy(update=changes) if changes else stage


def named_files(request: Request, spec: ModelSpec | None) -> dict[str, tuple[Path, str]]:
    """The files that a resolved recipe names: name in the recipe -> (absolute path here, digest of the content).

    `spec` is its model's. LoRAs are found with it, so they are left out if it is None.
    """
    found = {str(lora.path): lora_file(lora, spec) for lora in request.loras} if spec is not None else {}
    known = [data for data in request.stages if stage_class(data.kind) is not None]  # others ran before
    for stage in build_stages(tuple(known)):
        paths = [value for value in dict(stage).values() if isinstance(value, Path)]
        found |= {str(path): path for path in paths if not no_file(path)}
    return {name: (path, content_digest(path)) for name, path in found.items()}


def _found(lora: Lora, spec: ModelSpec) -> Lora:
    """The LoRA as a recipe names it: by its name in a LoRA folder, else by its absolute path."""
    file = lora_file(lora, spec)
    by_name = lora.path.parent == Path() and not lora.path.is_file() and not lora.path.is_dir()
    return Lora(path=Path(file.stem) if by_name else file, weight=lora.weight)


def _check_sizes(request: Request, spec: ModelSpec) -> list[str]:
    notes = []
    width, height = request.width or 0, request.height or 0
    for name, side in (("width", width), ("height", height)):
        if side > spec.largest_side:
            raise BadRequest(
                f"{name}={side}",
                expected=f"{spec.family} draws up to {spec.largest_side} pixels a side",
                mend=f"Draw it at {_native(spec)} and enlarge it with an upscale stage.",
                field=name,
                limit=spec.largest_side,
            )
    if max(width, height) > spec.advised_side:
        notes.append(
            f"{width}x{height} is more than the {spec.advised_side} pixels a side that {spec.family} draws well: "
            f"draw it at {_native(spec)} and enlarge it with an upscale stage"
        )
    elif width * height < spec.native[0] * spec.native[1] // 2:
        notes.append(f"{width}x{height} is small for {spec.family}, which draws best at {_native(spec)}")
    assert width % SIDE_MULTIPLE == height % SIDE_MULTIPLE == 0  # Request's own validation
    return notes


def _native(spec: ModelSpec) -> str:
    return f"{spec.native[0]}x{spec.native[1]}"


def _check_texts(request: Request, spec: ModelSpec) -> list[str]:
    if not request.prompt.strip():
        raise BadRequest("the prompt is empty", mend="Say what to draw.", field="prompt")
    if request.negative_prompt and not request.guidance:
        why = f"{spec.family} runs without guidance" if not spec.guidance else "guidance is 0"
        raise BadRequest(
            f"negative_prompt={request.negative_prompt[:40]!r} would be ignored: {why}",
            mend="Leave it out and describe in the prompt what you want"
            + (", or set guidance." if spec.negative_prompt else ", or use the base model."),
            field="negative_prompt",
        )
    if request.guidance and not spec.guidance:
        return [
            f"{spec.family} was made for guidance 0; {request.guidance:g} doubles the time and may harm the picture"
        ]
    return []


def _check_length(request: Request, spec: ModelSpec, directory: Path) -> int:
    tokens = count_tokens(request.prompt, directory)
    negative = count_tokens(request.negative_prompt, directory) if request.negative_prompt else 0
    for name, count in (("prompt", tokens), ("negative_prompt", negative)):
        if count > spec.prompt_tokens:
            raise BadRequest(
                f"the {name} has {count} tokens",
                expected=f"at most {spec.prompt_tokens} for {spec.family}",
                mend=f"Shorten it by {count - spec.prompt_tokens} tokens: the rest would be cut off.",
                field=name,
                tokens=count,
                limit=spec.prompt_tokens,
            )
    return tokens


def stage_notes(request: Request, done: int = 0) -> list[str]:
    """The notes of the stages after the first `done`, and of finishing stages that are not at the end."""
    stages = build_stages(request.stages)
    notes = [note for stage in stages[done:] for note in stage.check(request)]
    for number, stage in enumerate(stages):
        spoils = [later.kind for later in stages[max(done, number + 1) :] if later.transforms() and not later.finishing]
        if stage.finishing and spoils:
            notes.append(f"{stage.kind} comes before {spoils[0]}, which will change what it drew: put it last")
    return notes


def _elsewhere(models: frozenset[str] | None) -> bool:
    """Whether a session's workers have models that are not on this disk; then they check files themselves."""
    return models is not None and not models <= models_here()


def check_applied(
    request: Request, done: int, models: frozenset[str] | None = None
) -> tuple[Request, list[str], list[str]]:
    """Resolve the stages after the first `done`, which will run on a finished picture.

    Returns the request, notes, and the names of the fields that were filled in. `models` are those of a session's
    workers, as for `check`. Raises BadRequest for a stage that can only condition a generation, and what stages raise.
    """
    built = build_stages(request.stages[done:])
    if not built:
        raise BadRequest("no stage to apply", mend="Give one, such as zk.stages.<kind>(…).")
    for stage in built:
        if not stage.transforms():
            raise BadRequest(
                f"stage {stage.kind} conditions the generation and cannot change a finished picture",
                mend="Use session.run(request.then(stage)).",
            )
    request = request.but(
        stages=[*request.stages[:done], *(named_for_all(stage.resolved(request)).data() for stage in built)]
    )
    return request, [] if _elsewhere(models) else stage_notes(request, done), _derived(built, request, done)
