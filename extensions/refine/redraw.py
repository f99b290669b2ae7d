"""What refine and inpaint share: which model draws again, with what, and whether it can."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image

from zimage_kit import Call, Request
from zimage_kit.errors import BadRequest
from zimage_kit.models.spec import ModelSpec, default_model, require, resolve
from zimage_kit.models.tokens import count_tokens
from zimage_kit.recipe.request import SIDE_MULTIPLE


def resolved_fields(stage: Any, request: Request) -> dict[str, Any]:
    """Model, steps, guidance and seed of a stage that draws again, filled in, so that the recipe is explicit."""
    spec = model_of(stage, request)
    same = request.model is None or spec.name == request.model
    theirs = request.guidance if same else None
    return {
        "model": spec.name,
        "steps": stage.steps or max(1, math.ceil(spec.steps * stage.strength - 1e-9)),
        "guidance": stage.guidance if stage.guidance is not None else spec.guidance if theirs is None else theirs,
        "seed": stage.seed if stage.seed is not None else request.seed or 0,
    }


def model_of(stage: Any, request: Request) -> ModelSpec:
    """The stage's model, else the picture's, else the default."""
    return resolve(stage.model or request.model or default_model())


def check(stage: Any, request: Request) -> tuple[str, ...]:
    """Check that there is a prompt that the model can read, and that the model is on this disk."""
    spec, kind = model_of(stage, request), stage.kind
    prompt = stage.prompt or request.prompt
    if not prompt.strip():
        raise BadRequest(f"{kind} has no prompt, and neither has the picture", mend=f"Use {kind}(prompt='…').")
    directory = require(spec.name)
    if (tokens := count_tokens(prompt, directory)) > spec.prompt_tokens:
        raise BadRequest(
            f"{kind}: the prompt has {tokens} tokens", expected=f"at most {spec.prompt_tokens} for {spec.family}"
        )
    if stage.negative_prompt and not stage.guidance:
        raise BadRequest(
            f"{kind}.negative_prompt would be ignored: {spec.family} runs without guidance",
            mend="Leave it out, or use the base model.",
        )
    if request.loras and spec.name != request.model:
        return (f"{kind}: the picture's LoRAs are not used with {spec.name}",)
    return ()


def call_of(whole: Any, request: Request, draft: Image.Image, mask: Image.Image | None = None) -> Call:
    """The call of a resolved stage that draws over a picture (RGB, sides that are multiples of 16)."""
    return Call(
        prompt=whole.prompt or request.prompt,
        negative_prompt=whole.negative_prompt,
        width=draft.width,
        height=draft.height,
        steps=whole.steps or 1,
        guidance=whole.guidance or 0.0,
        seed=whole.seed or 0,
        loras=request.loras if whole.model == request.model else (),
        image=draft,
        strength=whole.strength,
        mask=mask,
    )


def size_of(size: tuple[int, int], scale: float, spec: ModelSpec, kind: str, mend: str) -> tuple[int, int]:
    """Width and height after enlarging, multiples of 16. Raises BadRequest beyond what the model draws."""
    width, height = (max(SIDE_MULTIPLE, round(side * scale / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in size)
    if max(width, height) > spec.largest_side:
        raise BadRequest(
            f"{kind} would draw {width}x{height}",
            expected=f"{spec.family} draws up to {spec.largest_side} pixels a side",
            mend=mend,
        )
    return width, height
