"""Refine: a second denoising pass over the picture, with the same or another model, larger if you like.

The draft-then-finish way of working: quick small drafts, many of them, and a second pass over the one that is worth it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from PIL import Image

from zimage_kit import Context, Field, Request, Stage, stage
from zimage_kit.models.directories import fingerprint
from zimage_kit.models.spec import ModelSpec, require, resolve
from zimage_kit.recipe.picture import bled
from zimage_kit.recipe.request import LARGEST_SEED
from zimage_kit.stages.extensions import stage_class

from . import redraw
from .inpaint import Inpaint

__all__ = ["Inpaint", "Refine"]


@stage
class Refine(Stage):
    """Add noise to the picture and denoise it again: details are redrawn, the composition stays.

    The pass makes exactly `steps` evaluations, from the noise level of `strength` down, on the model's own schedule.
    """

    kind = "refine"
    identity: ClassVar[dict[str, Any]] = {"strength": 0.0}

    strength: float = Field(
        0.4,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="how much may change: 0 nothing, 0.3 details, 1 all",
    )
    steps: int | None = Field(
        None, ge=1, le=200, description="evaluations of the model [default: its own steps x strength, rounded up]"
    )
    scale: float = Field(
        1.0, ge=1.0, le=4.0, allow_inf_nan=False, description="enlarge before (Lanczos), to the nearest multiples of 16"
    )
    model: str | None = Field(None, min_length=1, description="nano, turbo, base or a folder [default: the picture's]")
    prompt: str = Field(
        "",
        description="what to draw [default: the picture's own prompt]",
        json_schema_extra={"format": "multiline"},
    )
    negative_prompt: str = Field("", description="what to avoid; only where the model and guidance > 0 allow it")
    guidance: float | None = Field(
        None,
        ge=0.0,
        le=30.0,
        allow_inf_nan=False,
        description="[default: the picture's with its model, else the model's]",
    )
    seed: int | None = Field(
        None, ge=0, le=LARGEST_SEED, description="of the noise that is put on [default: the picture's]"
    )

    def resolved(self, request: Request) -> Stage:
        """The same with model, steps, guidance and seed filled in, so that the recipe is explicit."""
        return self.model_copy(update=redraw.resolved_fields(self, request))

    def check(self, request: Request) -> tuple[str, ...]:
        """Check that there is a prompt, that the model is on this disk, and that it can draw the size."""
        if not self.strength:
            return ()
        notes = redraw.check(self, request)
        if request.width and request.height and not _something_before(self, request):
            _size((request.width, request.height), self.scale, redraw.model_of(self, request))
        return notes

    def depends(self, request: Request) -> dict[str, str]:
        """The model's files; the picture's LoRAs act here as well, and are in its identity already."""
        if not self.model or not self.strength:
            return {}
        return {"model": fingerprint(require(self.model))}

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        """The refined picture; an alpha channel is kept and resized."""
        if not self.strength:
            return image.copy()
        whole = self.resolved(ctx.request)
        assert isinstance(whole, Refine)
        spec = resolve(whole.model or "")
        width, height = _size(image.size, self.scale, spec)
        draft = bled(image).resize((width, height), Image.Resampling.LANCZOS)
        call = redraw.call_of(whole, ctx.request, draft)
        what = f"{call.steps} steps of {spec.name} from strength {self.strength:g}"
        ctx.note(f"refine: {what} at {width}x{height}, seed {call.seed}")
        drawn = ctx.draw(call, spec.name)
        if image.mode == "RGBA":
            drawn.putalpha(image.getchannel("A").resize((width, height), Image.Resampling.LANCZOS))
        return drawn


def _size(size: tuple[int, int], scale: float, spec: ModelSpec) -> tuple[int, int]:
    mend = "Use a smaller scale, and enlarge the result with an upscale stage."
    return redraw.size_of(size, scale, spec, "refine", mend)


def _something_before(refine: Refine, request: Request) -> bool:
    """Whether a stage before this one may give the picture another size than the recipe's."""
    before = request.stages[: request.stages.index(refine.data())]
    return any((cls := stage_class(data.kind)) is None or cls.transforms() for data in before)
