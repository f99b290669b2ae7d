"""Executes a task: stages' `before`, denoising, stages' `after`. Also the cache of pictures between stages."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest, ExtensionProblem, UnknownModel, printable
from ..files import content_digest
from ..models.directories import fingerprint, rounded_fingerprint
from ..models.loras import lora_file
from ..models.spec import resolve
from ..recipe.artifact import Artifact, Trace, picture_digest
from ..recipe.identity import Identity, identity, key, library_versions, stage_identity
from ..recipe.picture import opened
from ..recipe.request import Request
from ..stages.extensions import build_stages, code_digest_of
from ..stages.stage import Call, Context, Stage
from .contained import contained
from .events import Event
from .memory import Profiler, means_out_of_memory
from .preflight import Checked
from .task import Task

if TYPE_CHECKING:
    from PIL import Image

    from .pipeline import Drawn, ResidentPipeline
    from .plan import Plan
    from .steps import Step

_CACHE_BYTES = 256 << 20


@dataclass
class Runtime:
    """What an engine offers to a running task: its pipeline (loaded on demand), cache, events and cancellation.

    `plan` says where the task's model is or will be; `planned` returns the same if it is already known, else None.
    `device` is where the model is ("cpu" until torch is imported). `pipeline` takes a model's name, or none for the
    task's own. `make_room` moves the model off the device (False: it cannot). `hold` returns what `load()` made under
    a name, now or earlier, and keeps it on the device. `check_cancelled` raises JobCancelled once the job is
    cancelled.
    """

    plan: Callable[[], Plan]
    planned: Callable[[], Plan | None]
    device: Callable[[], str]
    pipeline: Callable[..., ResidentPipeline]
    cache: PictureCache
    emit: Callable[[Event], None]
    check_cancelled: Callable[[], None]
    elapsed: Callable[[], float]
    hold: Callable[[str, str, Callable[[], Any]], Any]
    make_room: Callable[[], bool]
    settings: dict[str, str] = field(default_factory=dict)
    parts: Profiler = field(default_factory=Profiler)
    notes: list[str] = field(default_factory=list)


class PictureCache:
    """A least-recently-used cache of the pictures between stages; 256 MiB of pixels by default."""

    def __init__(self, limit: int = _CACHE_BYTES) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[str, tuple[Image.Image, Trace]] = OrderedDict()

    def get(self, key: str) -> tuple[Image.Image, Trace] | None:
        """The picture and trace under this key, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        image, trace = self._kept[key]
        return image.copy(), trace  # the caller may draw on it

    def put(self, key: str, image: Image.Image, trace: Trace) -> None:
        """Keep a picture. The least recently used ones are dropped beyond the limit."""
        if key in self._kept:
            self._bytes -= _size(self._kept.pop(key)[0])
        self._kept[key] = (image.copy(), trace)
        self._bytes += _size(image)
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1][0])

    def clear(self) -> None:
        """Drop all pictures."""
        self._kept.clear()
        self._bytes = 0


def _size(image: Image.Image) -> int:
    return image.width * image.height * len(image.getbands())


def execute(task: Task, runtime: Runtime) -> Artifact:
    """Run one task. Raises what stages and the pipeline raise."""
    run = _Run(task, runtime)
    with runtime.parts.part("total", runtime.device):
        image, trace = run.made(task.checked) if task.checked is not None else run.applied()
    chosen = task.checked.notes if task.checked is not None else ()  # this request's, even if the picture is cached
    took = dict(runtime.parts.milliseconds)
    took["total"] += trace.milliseconds.get("total", 0.0)
    trace = trace.model_copy(
        update={
            "milliseconds": {**trace.milliseconds, **took},
            "peak_bytes": {**trace.peak_bytes, **runtime.parts.peak_bytes},
            "stage_versions": {stage.kind: stage.version for stage in run.stages},
            "settings": runtime.settings,
            "derived": task.checked.derived if task.checked is not None else task.trace.derived,
            "notes": tuple(dict.fromkeys((*chosen, *trace.notes, *run.notes, *runtime.notes))),
        }
    )
    return Artifact(image, task.request, trace)


def circumstances(plan: Plan | None) -> Identity:
    """What pixels depend on beside the recipe and its files. `plan` None: no device has been chosen yet."""
    found = {} if plan is None else {"device": plan.device_class, "dtype": plan.dtype, "speed": plan.speed}
    if plan is not None and plan.precision:
        found["precision"] = plan.precision
    return found | library_versions()


def rounded_weights(entries: Identity, directories: Iterable[Path], plan: Plan | None) -> Identity:
    """An entry for each of `entries` that is the fingerprint of a converted model, where that changes pixels.

    A fingerprint is that from before weights were rounded to bfloat16 on disk: then a plan in bfloat16 gives the same
    pixels, one in another type does not. `directories`: of the models that may be among them.
    """
    found: Identity = {}
    for directory in directories if plan is not None and plan.dtype != "bfloat16" else ():
        if state := rounded_fingerprint(directory):
            own = fingerprint(directory)
            found |= {f"{what} on disk": f"bfloat16 ({state})" for what, told in entries.items() if told.endswith(own)}
    return found


class _Looked(Exception):
    """Ends a picture of which enough was seen."""


class _Run:
    """One task on its way through an engine."""

    def __init__(self, task: Task, runtime: Runtime) -> None:
        self.task, self.runtime = task, runtime
        self.stages = build_stages(task.request.stages)
        self.notes: list[str] = []
        self.models: dict[str, str] = {}
        self.context = Context(
            request=task.request,
            placed=lambda: (runtime.plan().device, runtime.plan().dtype),
            note=lambda text: self.notes.append(printable(text)),
            progress=lambda text: self._say(message=printable(text)),
            check=runtime.check_cancelled,
            draw=self._draw_for_stage,
            pipeline=runtime.pipeline,
            hold=lambda name, load: runtime.hold(self.stage, name, load),
        )
        self.stage = ""

    def applied(self) -> tuple[Image.Image, Trace]:
        """Apply the stages that the given picture does not have yet."""
        if self.task.picture is None:
            raise ValueError("a task needs a checked request or a picture")
        image, trace = self.task.picture, self.task.trace
        for number in range(self.task.done + 1, len(self.stages) + 1):
            image, trace = self._after(number, image, trace)
        return image, trace.model_copy(update={"identity": self._applied_identity()})

    def _applied_identity(self) -> Identity:
        """The picture's identity with the new stages, and their circumstances where these differ."""
        now = circumstances(self.runtime.planned())
        then = self.task.trace.identity or {"source": self.task.request.source or "a picture"}
        found = dict(then)
        for number in range(self.task.done + 1, len(self.stages) + 1):
            stage = self.stages[number - 1]
            own = stage_identity(number, stage, self.task.request, code_digest_of(stage.kind))
            found |= own | rounded_weights(own, self._stage_models(), self.runtime.planned())
            other = {f"stage {number} {stage.kind} {name}": value for name, value in now.items() if name in then}
            found |= {name: value for name, value in other.items() if then[name.split()[-1]] != value}
        return now | found

    def made(self, checked: Checked) -> tuple[Image.Image, Trace]:
        """The picture of a recipe: from the longest prefix of it in the cache, or from noise."""
        if self.task.look:
            return self._looked_at(checked), Trace()
        identities = self._identities(checked)
        keys = [f"{done} {key(each)}" for done, each in enumerate(identities)]
        hits = ((done, self.runtime.cache.get(keys[done])) for done in range(len(self.stages), -1, -1))
        done, found = (0, None) if self.task.fresh else next(((n, hit) for n, hit in hits if hit), (0, None))
        if found:
            image, earlier = found
            # the earlier run's times and memory are not this run's
            trace = Trace(
                **{**dict(earlier), "milliseconds": {}, "peak_bytes": {}, "step_milliseconds": (), "cached": True}
                | {"created": Trace().created}
            )
        else:
            image, trace = self._drawn(checked)
            self.runtime.cache.put(keys[0], image, trace)
        for number in range(done + 1, len(self.stages) + 1):
            image, trace = self._after(number, image, trace)
            self.runtime.cache.put(keys[number], image, trace)
        return image, trace.model_copy(update={"identity": identities[-1]})

    def _identities(self, checked: Checked) -> list[Identity]:
        """For each number of stages done, the picture's identity: it depends on those, and on all that condition."""
        if checked.directory is None:
            raise ValueError("the request was checked for another machine; run preflight.check on this one")
        request, plan = checked.request, self.runtime.plan()
        drawn = identity(
            request,
            (),
            model=fingerprint(checked.directory),
            loras=[content_digest(lora_file(lora, checked.spec)) for lora in request.loras],
            circumstances=circumstances(plan),
        )
        parts = [
            stage_identity(number, stage, request, code_digest_of(stage.kind))
            for number, stage in enumerate(self.stages, 1)
        ]
        drawn |= rounded_weights(drawn, [checked.directory], plan)
        parts = [part | rounded_weights(part, self._stage_models(), plan) for part in parts]
        found = []
        for done in range(len(self.stages) + 1):
            kept = [part for i, part in enumerate(parts) if i < done or self.stages[i].conditions()]
            found.append({name: value for part in (drawn, *kept) for name, value in part.items()})
        return found

    def _stage_models(self) -> list[Path]:
        """Directories of the models that stages name in a field `model`."""
        found = []
        for name in [getattr(stage, "model", None) for stage in self.stages]:
            with suppress(UnknownModel):  # another extension's field, which means something else
                found += [directory] if isinstance(name, str) and (directory := resolve(name).directory()) else []
        return found

    def _conditioned(self, checked: Checked) -> Call:
        """The call after every stage's `before`."""
        call = _call(checked.request)
        for number, stage in enumerate(self.stages, 1):
            self.runtime.check_cancelled()
            if stage.conditions():
                self.stage = stage.kind
                part = self.runtime.parts.part(f"stage {number} {stage.kind} before", self.runtime.device)
                with part, contained(stage.kind, self.notes.append):
                    call = stage.before(call, self.context)
        self.runtime.check_cancelled()
        return call

    def _looked_at(self, checked: Checked) -> Image.Image:
        """What the model expects the picture to be after the task's `look` steps, in the colours of a preview."""
        call = self._conditioned(checked)
        until, seen = min(self.task.look, call.steps), list[bytes | None]()

        def on_step(step: Step) -> None:
            self._on_step(step)
            if step.step == until:
                seen.append(step.preview)
                raise _Looked

        with suppress(_Looked):
            self._draw(self.runtime.pipeline(), call.but(until=until), on_step)
        if not seen or seen[0] is None:
            raise BadRequest(f"{checked.spec.name} has no previews to look at", mend="Choose seeds yourself.")
        with opened(io.BytesIO(seen[0])) as preview:
            return preview.convert("RGB")

    def _drawn(self, checked: Checked) -> tuple[Image.Image, Trace]:
        """Run every stage's `before`, then denoise."""
        call = self._conditioned(checked)
        pipeline = self.runtime.pipeline()  # only now: a stage may have drawn with another model
        drawn = self._draw(pipeline, call)
        trace = Trace(
            model=pipeline.spec.name,
            fingerprint=pipeline.fingerprint,
            device=pipeline.device,
            dtype=pipeline.dtype,
            placement=pipeline.plan.placement,
            plan=pipeline.plan.facts,
            step_milliseconds=drawn.step_milliseconds,
            sigmas=drawn.sigmas,
            prompt_tokens=checked.prompt_tokens,
            unknown_words=tuple(pipeline.spec.unknown_words(checked.request.prompt)),
            pictures={"drawn": picture_digest(drawn.image)},
            notes=(*drawn.notes, *self.notes),
        )
        return drawn.image, trace

    def _after(self, number: int, image: Image.Image, trace: Trace) -> tuple[Image.Image, Trace]:
        """Run stage `number` (from 1) on a copy of the picture; report and measure it."""
        stage = self.stages[number - 1]
        self.runtime.check_cancelled()
        if not stage.transforms():
            return image, trace
        name, self.stage = f"stage {number} {stage.kind}", stage.kind
        self._say(step=number, steps=len(self.stages), message=stage.kind)
        with self.runtime.parts.part(name, self.runtime.device), self.runtime.parts.inside(name):
            after = _picture(self._changed(stage, image), image, stage)
        seconds = self.runtime.parts.milliseconds[name] / 1e3
        self._say(step=number, steps=len(self.stages), message=stage.kind, seconds=seconds)
        changes = {
            "pictures": {**trace.pictures, name: picture_digest(after)},
            "models": {**trace.models, **self.models},
            "notes": tuple(dict.fromkeys((*trace.notes, *self.notes))),
        }
        return after, trace.model_copy(update=changes)

    def _changed(self, stage: Stage, image: Image.Image) -> Image.Image:
        """What the stage makes of a copy. Where memory runs out the model makes room, and it is tried once more."""
        try:
            with contained(stage.kind, self.notes.append):
                return stage.after(image.copy(), self.context)
        except Exception as error:
            if not means_out_of_memory(error) or not self.runtime.make_room():
                raise
        # outside of the handler, since an exception's frames keep what they hold on the device
        self.notes.append(f"{stage.kind}: out of memory beside the model, which made room; then it worked")
        with contained(stage.kind, self.notes.append):
            return stage.after(image.copy(), self.context)

    def _draw_for_stage(self, call: Call, model: str | None = None) -> Image.Image:
        """Draw for a stage, with the recipe's model or another one. Reports steps and can be cancelled."""
        pipeline = self.runtime.pipeline(model)
        self.models[pipeline.spec.name] = pipeline.fingerprint
        drawn = self._draw(pipeline, call)
        self.notes += drawn.notes
        return drawn.image

    def _draw(self, pipeline: ResidentPipeline, call: Call, on_step: Callable[[Step], None] | None = None) -> Drawn:
        """Reports steps, and what takes seconds before the first one."""
        if pipeline.imports_diffusers(call):
            self.runtime.emit(Event(kind="loading", job=self.task.id, message="importing diffusers"))
        return pipeline.draw(call, self.runtime.parts, on_step or self._on_step)

    def _on_step(self, step: Step) -> None:
        seconds = self.runtime.elapsed()
        self.runtime.emit(Event(kind="step", job=self.task.id, seconds=seconds, **vars(step)))
        self.runtime.check_cancelled()

    def _say(self, **fields: Any) -> None:
        self.runtime.emit(Event(kind="stage", job=self.task.id, **fields))


def _call(request: Request) -> Call:
    """The call of a resolved request."""
    names = ("prompt", "negative_prompt", "width", "height", "steps", "guidance", "seed", "loras")
    values = {name: getattr(request, name) for name in names}
    if None in values.values():
        raise ValueError("the request is not resolved; preflight.check resolves it")
    return Call(**values)


def _picture(result: Any, image: Image.Image, stage: Stage) -> Image.Image:
    """Check that a stage returned a picture of `image`'s mode. Raises ExtensionProblem."""
    from PIL import Image

    if not isinstance(result, Image.Image) or result.mode != image.mode:
        seen = f"a picture of mode {result.mode}" if isinstance(result, Image.Image) else type(result).__name__
        expected = f"a picture of mode {image.mode}, like its input"
        raise ExtensionProblem(f"stage {stage.kind} returned {seen}", expected=expected, mend="Fix its `after`.")
    return result
