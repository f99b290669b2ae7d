"""Stage: one composable step around the model, and the registry of kinds. Extensions define the stages.

A stage conditions the generation (`before`), transforms the finished picture (`after`), or both. Its typed fields are
declared once; validation, JSON, forms and the command line follow from them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..errors import BadRequest, ExtensionProblem, closest
from ..files import content_digest, expanded, no_file
from ..recipe import asset
from ..recipe.request import Lora, Request, StageData, explain

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class ControlNetInput:
    """A picture that guides the generation through a ControlNet.

    `picture` is RGB and has the call's size; `weights` is a .safetensors file, or a folder in diffusers' layout. The
    ControlNet acts with strength `scale` on the steps between `start` and `end`, fractions of all steps.
    """

    picture: Image.Image
    weights: Path
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def acts_on(self, steps: int) -> range:
        """The steps (from 0), of `steps` in all, on which it acts: those that lie completely in [start, end]."""
        first = next((step for step in range(steps) if step / steps >= self.start - 1e-9), steps)
        return range(first, max(first, sum((step + 1) / steps <= self.end + 1e-9 for step in range(steps))))


@dataclass(frozen=True)
class Call:
    """The arguments of one generation. A stage's `before` returns a changed copy: `call.but(steps=4)`.

    width and height in pixels. With an `image` (RGB, of that size) generation starts from it instead of from noise
    (img2img): `strength` says how much of it may change, above 0 (nothing) up to 1 (everything). With a `mask` too (L,
    of that size) it is drawn where that is white; the rest stays, as exactly as latents of 8x8 pixels can keep it.
    `variety` is noise on the prompt's embedding in the first step, in standard deviations; see the stage `variety`.
    `until` is the last step that anybody waits for, of a picture that is only looked at; None: all.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    loras: tuple[Lora, ...] = ()
    controls: tuple[ControlNetInput, ...] = ()
    image: Image.Image | None = None
    strength: float = 1.0
    mask: Image.Image | None = None
    variety: float = 0.0
    until: int | None = None

    def but(self, **changes: Any) -> Call:
        """A copy with some values changed."""
        return replace(self, **changes)


def _nothing(*_: str) -> None:
    """The default for a context's callbacks."""


def _no_pipeline(*_: Any) -> Any:
    raise BadRequest(
        "this stage needs the resident pipeline", mend="Run it in a session: session.apply(picture, stage)."
    )


@dataclass(frozen=True)
class Context:
    """What a stage can use while it runs. For a test of a stage, `Context(request)` is enough.

    `request` is the whole recipe. `note(text)` adds a sentence to the picture's trace, for anything that was chosen for
    the user. `progress(text)` shows the waiting user a text. `check()` raises JobCancelled once the job is cancelled,
    so call it between long pieces of work. `draw(call)` draws a picture with the recipe's model, `draw(call, "base")`
    with another one; `pipeline()` returns the resident pipeline itself. Both load the model if needed. `hold(key,
    load)` returns what `load()` made for this key, now or for an earlier picture: the stage's own network, which is
    unloaded with the model. Only the stage's latest key is held.
    """

    request: Request
    note: Callable[[str], None] = _nothing
    progress: Callable[[str], None] = _nothing
    check: Callable[[], None] = _nothing
    draw: Callable[..., Image.Image] = _no_pipeline
    pipeline: Callable[[], Any] = _no_pipeline
    hold: Callable[[str, Callable[[], Any]], Any] = lambda key, load: load()
    placed: Callable[[], tuple[str, str]] = lambda: ("cpu", "float32")

    @property
    def device(self) -> str:
        """The models' device: "cpu", "cuda:0" or "mps". The first access may import torch."""
        return self.placed()[0]

    @property
    def dtype(self) -> str:
        """The type they compute in: "float32" or "bfloat16"."""
        return self.placed()[1]


class Stage(BaseModel):
    """Base of all stages: frozen fields, a `kind`, and `before` or `after` (or both) overridden.

    Increase `version` when the same fields begin to give another picture; it is part of a picture's identity.
    `identity` are fields with which the stage changes nothing at all. `finishing`: later stages would spoil what this
    one draws (letters, a frame), so it belongs at the end; another order gives a warning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    identity: ClassVar[Mapping[str, Any] | None] = None
    finishing: ClassVar[bool] = False

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise explain(error, type(self).model_fields, owner=self.kind) from None

    @model_validator(mode="before")
    @classmethod
    def _chosen_numbers(cls, fields: Any) -> Any:
        """Convert the command line's text for a field that is a choice of numbers: factor="2" becomes factor=2."""
        if not isinstance(fields, dict):
            return fields
        texts = {name: value for name, value in fields.items() if isinstance(value, str) and name in cls.model_fields}
        return {**fields, **{name: _number_of(cls.model_fields[name].annotation, text) for name, text in texts.items()}}

    def resolved(self, request: Request) -> Stage:
        """Return the stage with its open fields (None) filled in, as the recipe will have it. Must not import torch."""
        return self

    def check(self, request: Request) -> Sequence[str]:
        """Check everything that can be checked before anything is loaded. `request` is resolved, with all its stages.

        Raises BadRequest for what cannot work (a missing file, an unknown name). Returns sentences for the trace about
        what works but deserves a warning. Must not import torch.
        """
        return ()

    def before(self, call: Call, ctx: Context) -> Call:
        """Condition the generation: return the call to make. `call` is frozen."""
        return call

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        """Transform the picture (RGB, or RGBA if it has an alpha channel; 8 bits per channel).

        Returns a new picture of the same mode and does not change `image`.
        """
        return image

    @classmethod
    def conditions(cls) -> bool:
        """True if this kind overrides `before`: then a change of its fields needs a new denoising."""
        return cls.before is not Stage.before

    @classmethod
    def transforms(cls) -> bool:
        """True if this kind overrides `after`."""
        return cls.after is not Stage.after

    @classmethod
    def control(cls) -> Any | None:
        """Return a widget for the panel in place of some fields' form entries; None: the form has all fields.

        A new ipywidget with each call. Its class attribute `edits: tuple[str, ...]` names the fields that it edits (the
        form leaves them out). Its trait `value` is a dict with JSON values of some of these fields; a missing one has
        its default. The panel sets `value` from a recipe; the widget assigns a new dict when the user edits, with which
        `cls(**value)` must work. A class attribute `instead`, such as {"photo": ("preset", "people")}, names fields of
        the form that exclude fields of the value: the one that is set last counts. The panel also sets these traits if
        the widget has them: `size`, width and height of the picture in pixels; `model`, the chosen model's name;
        `backdrop`, the last picture as bytes of a JPEG or PNG, empty for none; and `language`, such as "en". Only the
        panel calls this, so import what it needs (ipywidgets, anywidget) in here, not with the stage.
        """
        return None

    def depends(self, request: Request) -> Mapping[str, str]:
        """What the outcome depends on beside the fields: name -> digest, such as {"network": content_digest(file)}.

        An entry with a field's name replaces that field. By default every field with the path of a file counts by the
        file's content, not by its path. `request` is the whole resolved recipe. An override should begin with
        `super().depends(request)`. Must not import torch. May raise what `check` raises.
        """
        paths = {name: value for name, value in dict(self).items() if isinstance(value, Path)}
        known = {name: found for name, path in paths.items() if (found := asset.parsed(path)) is not None}
        files = {name: expanded(path) for name, path in paths.items() if name not in known}
        return {
            **{name: found.sha256[:16] for name, found in known.items()},  # as `content_digest` of its file
            **{name: content_digest(path) for name, path in files.items() if not no_file(path)},
        }

    def data(self) -> StageData:
        """The stage as a recipe has it: `{"kind": …, fields…}`."""
        return StageData(kind=self.kind, **self.model_dump(mode="json"))


def _number_of(annotation: Any, text: str) -> Any:
    """The number in a Literal that a text spells; the text itself if there is none."""
    literals = [each for each in (annotation, *get_args(annotation)) if get_origin(each) is Literal]
    choices = [choice for each in literals for choice in get_args(each)]
    return next((each for each in choices if type(each) in (int, float) and str(each) == text.strip()), text)


StageType = TypeVar("StageType", bound=Stage)
_KIND = re.compile(r"[a-z][a-z0-9_]*")


class Registry:
    """The stages that this process defined itself, by kind; `extensions` keeps those of extensions.

    If `add` raises, the registry is left unchanged.
    """

    def __init__(self) -> None:
        self._stages: dict[str, type[Stage]] = {}
        self._collecting: ContextVar[dict[str, type[Stage]] | None] = ContextVar("collecting", default=None)

    @contextmanager
    def collecting(self) -> Iterator[dict[str, type[Stage]]]:
        """Context manager: inside, newly defined stages go into the yielded mapping, for the import of an extension."""
        found: dict[str, type[Stage]] = {}
        token = self._collecting.set(found)
        try:
            yield found
        finally:
            self._collecting.reset(token)

    def add(self, cls: type[StageType]) -> type[StageType]:
        """Register a Stage class. Defining the same class again (a notebook cell run twice) replaces it.

        Raises ExtensionProblem for a kind that another class has, a kind that is not a lower-case identifier, and a
        class that overrides neither `before` nor `after`.
        """
        if not (isinstance(cls, type) and issubclass(cls, Stage)):
            raise ExtensionProblem(f"@stage on {cls!r}", expected="a subclass of zimage_kit.Stage")
        where = f"{cls.__module__}.{cls.__qualname__}"
        if not isinstance(cls.kind, str) or not _KIND.fullmatch(cls.kind):
            raise ExtensionProblem(
                f"{where} has kind={cls.kind!r}",
                expected="lower-case letters, digits and _, a letter first",
                mend='Give it one, such as kind = "caption".',
            )
        if not (cls.conditions() or cls.transforms()):
            raise ExtensionProblem(f"stage {cls.kind} ({where}) has neither before nor after", mend="Define one.")
        if hasattr(cls, "cache_key"):
            raise ExtensionProblem(
                f"{where} defines cache_key",
                expected="depends(request)",
                mend="Return a mapping of names to digests from depends.",
            )
        if "kind" in cls.model_fields:
            raise ExtensionProblem(f"{where} annotates kind", mend='Write kind = "caption" without an annotation.')
        collected = self._collecting.get()
        stages = self._stages if collected is None else collected
        there = stages.get(cls.kind)
        if there is not None and origin(there) != origin(cls):
            raise ExtensionProblem(
                f"two stages of kind {cls.kind!r}: {there.__module__}.{there.__qualname__} and {where}",
                mend="Recipes name stages by kind, so rename one of them or remove one extension.",
                kind=cls.kind,
            )
        stages[cls.kind] = cls
        return cls

    def get(self, kind: str) -> type[Stage] | None:
        """The class of this kind, or None."""
        return self._stages.get(kind)

    def remove(self, kind: str) -> None:
        """Remove a kind (for tests and reloads of an extension)."""
        self._stages.pop(kind, None)

    def kinds(self) -> tuple[str, ...]:
        """All kinds, sorted."""
        return tuple(sorted(self._stages))


def origin(cls: type[Stage]) -> tuple[str, str]:
    """Where a class is defined: its file (which may be imported under two names) or else its module, and its name."""
    module = sys.modules.get(cls.__module__)
    return getattr(module, "__file__", None) or cls.__module__, cls.__qualname__


registry = Registry()
"""The registry of this process."""


def stage(cls: type[StageType]) -> type[StageType]:
    """Class decorator that registers a stage under its kind. Raises ExtensionProblem, see `Registry.add`."""
    return registry.add(cls)


def build(data: StageData, cls: type[Stage] | None, known: Mapping[str, Any] | tuple[str, ...]) -> Stage:
    """Make the Stage for a recipe's data. Raises BadRequest with the closest match for an unknown kind or field."""
    if cls is None:
        mend = closest(data.kind, known) if known else "No extension provides it: put its folder into extensions/."
        raise BadRequest(f"unknown stage {data.kind!r}", mend=mend, kind=data.kind)
    return cls(**data.fields())
