"""The form: a request as controls. It keeps no state of its own: `request()` reads it, `set()` fills it."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ipywidgets as w

from ...errors import BadRequest
from ...models.listing import ModelList
from ...models.lora_info import LoraInfo, lora_info
from ...models.loras import lora_file, lora_names
from ...models.sizes import drawn_size
from ...models.spec import ModelSpec, resolve
from ...models.tokens import count_tokens
from ...recipe.request import Lora, Request
from ...recipe.styles import with_piece
from ...recipe.templates import as_prompts
from ...recipe.templates import resolve as resolve_template
from ..translations import Texts
from .coaching import Coaching
from .lora_list import LoraList
from .saved import Saved
from .seed import SeedFields
from .size import SizeFields
from .stage_list import CatchErrors, StageList, without_catching
from .template_preview import TemplatePreview

MOST_PICTURES = 64
MOST_PROMPTS = 200
"""Prompts that are remembered."""


class Form:
    """Controls for all fields of a Request: `words` has the prompts, `rest` all others.

    `changed` is called after each change of one of them; `models` are the session's.
    """

    def __init__(
        self, texts: Texts, models: ModelList, changed: Callable[[], None], catch_errors: CatchErrors = without_catching
    ) -> None:
        self._texts, self._changed_hook = texts, changed
        self._models, self._quiet = models, True  # until all controls are there
        self.history: list[str] = []
        self._given_negative = self._uses_negative = False
        t = texts
        self.prompt = w.Textarea(description=t("form.prompt"), placeholder=t("form.prompt_hint"), rows=4)
        self.prompt.add_class("zk-prompt")
        self.tokens = w.HTML().add_class("zk-tokens")
        self.preview = TemplatePreview(self.prompt, texts, catch_errors)
        self.negative = w.Textarea(description=t("form.negative"), placeholder=t("form.negative_hint"), rows=2)
        self.model = w.Dropdown(description=t("form.model"), options=self._model_options(()))
        self.size = SizeFields(texts, self._size_changed, catch_errors)
        self.ratio, self.width, self.height = self.size.ratio, self.size.width, self.size.height
        self.steps = w.BoundedIntText(description=t("form.steps"), tooltip=t("form.steps_help"), min=1, max=200)
        self.guidance = w.BoundedFloatText(
            description=t("form.guidance"), tooltip=t("form.guidance_help"), min=0.0, max=30.0, step=0.5
        )
        self.seeds = SeedFields(texts, catch_errors)
        self.seed, self.lock = self.seeds.seed, self.seeds.lock
        self.count = w.BoundedIntText(description=t("form.count"), min=1, max=MOST_PICTURES, value=1)
        self.coaching = Coaching(texts, self.prompt, self.model, self._changed, catch_errors)
        self.loras = LoraList(texts, self._changed, self._about_lora, self._use_word, lambda: lora_names(self.spec))
        self.stages = StageList(texts, self._changed, catch_errors)
        self.model.observe(catch_errors(self._model_changed), "value")
        self.prompt.observe(catch_errors(lambda _: self.count_tokens()), "value")
        for control in self._own_inputs():
            if control not in (self.width, self.height):  # `size` tells of these, of both at once
                control.observe(lambda _: self._changed(), "value")
        self.model.value = self._default = next(model.name for model in models if model.default)
        self._model_changed(None)
        self._quiet = False
        self._tell_stages()
        self.saved = Saved(self, texts, catch_errors)
        for control in (self.saved.fold, *self.saved.inputs()):
            control.observe(lambda _: self._changed(), "value")
        beside = [self.tokens, self.preview.box, self.coaching.box]
        self.words = w.VBox([self.prompt, *beside, self.negative, self.saved.box]).add_class("zk-group")
        self.rest = w.VBox(self._laid_out()).add_class("zk-form")

    def _laid_out(self) -> list[Any]:
        t = self._texts

        def group(key: str, *parts: Any) -> Any:
            title = w.HTML(f'<h3 class="zk-heading">{html.escape(t(key))}</h3>')
            return w.VBox([title, *parts]).add_class("zk-group")

        def row(*parts: Any) -> Any:
            return w.Box(parts).add_class("zk-grid")

        return [
            group("form.picture", row(self.model, self.ratio, self.size.sides)),
            group("form.sampling", row(self.steps, self.guidance, self.count), self.seeds.box),
            group("form.loras", self.loras.box),
            group("form.stages", self.stages.box),
        ]

    def _own_inputs(self) -> list[Any]:
        return [
            self.prompt, self.negative, self.model, self.width, self.height, self.steps, self.guidance, self.seed,
            self.count, self.lock,
        ]  # fmt: skip

    def inputs(self) -> list[Any]:
        """Every control whose value counts, so that a click can bring their latest values along."""
        return [*self._own_inputs(), self.ratio, *self.loras.inputs(), *self.stages.inputs(), *self.saved.inputs(),
                self.coaching.switch]  # fmt: skip

    @property
    def spec(self) -> ModelSpec:
        """Of the model that is chosen."""
        return resolve(self.model.value)

    @property
    def _named(self) -> frozenset[str]:
        """The models that are offered by name."""
        return frozenset(model.name for model in self._models)

    def _model_options(self, more: Sequence[str]) -> list[tuple[str, str]]:
        """(label, name): those known by name, absent ones marked, and folders that recipes named."""
        options = [
            (self._texts("form.absent", model=model.name) if model.state == "missing" else model.name, model.name)
            for model in self._models
        ]
        return [*options, *((name, name) for name in more if name not in self._named)]

    def _model_changed(self, _: Any) -> None:
        """Set the model's sizes, steps and limits, and hide the fields that it does not use. The ratio stays."""
        spec = self.spec
        was_quiet, self._quiet = self._quiet, True
        try:
            self.size.know(spec)
            self.steps.value, self.guidance.value = spec.steps, spec.guidance
            self.loras.look()
        finally:
            self._quiet = was_quiet
        self._given_negative = False
        if not self._quiet:
            self._tell_stages()
        self._show_what_is_used()
        self.count_tokens()

    def _show_what_is_used(self) -> None:
        """Show the negative prompt if the model uses it or the recipe has one, which is then reported as ignored."""
        spec = self.spec
        _shown(self.guidance, spec.negative_prompt or self.guidance.value != spec.guidance)
        self._uses_negative = spec.negative_prompt or self.guidance.value > 0 or self._given_negative
        _shown(self.negative, self._uses_negative)

    def _size_changed(self) -> None:
        if not self._quiet:
            self._tell_stages()
            self._changed()

    def _tell_stages(self) -> None:
        self.stages.surround(size=self.size.value, model=self.model.value)

    def _about_lora(self, name: str) -> LoraInfo:
        """What a LoRA's file says; nothing of one that is not on this disk."""
        try:
            return lora_info(lora_file(Lora(path=Path(name)), self.spec)) if name.strip() else LoraInfo()
        except (BadRequest, OSError, ValueError):
            return LoraInfo()

    def _use_word(self, word: str) -> None:
        self.prompt.value = with_piece(self.prompt.value, word)

    def _changed(self) -> None:
        if not self._quiet:
            self._changed_hook()

    def count_tokens(self) -> None:
        """Show the prompt's length against the model's limit, and words that the model does not know.

        Of a template, those of one of its prompts.
        """
        spec, prompt = self.spec, self.prompt.value
        with suppress(BadRequest):  # the preview tells what is wrong with it
            prompt = resolve_template(prompt, self.seed.value)
        directory = spec.directory()
        if directory is None:
            self.tokens.value = ""
            return
        tokens = count_tokens(prompt, directory) if prompt else 0
        over = tokens > spec.prompt_tokens
        text = self._texts("form.tokens", count=tokens, limit=spec.prompt_tokens)
        line = f'<span class="{"zk-over" if over else ""}">{html.escape(text)}</span>'
        if words := spec.unknown_words(prompt):
            unknown = self._texts("form.unknown", model=spec.name, words=", ".join(words))
            line += f' <span class="zk-unknown">{html.escape(unknown)}</span>'
        self.tokens.value = line

    def request(self) -> Request:
        """The form's request. Raises BadRequest for invalid settings."""
        return Request(
            prompt=self.prompt.value,
            negative_prompt=self.negative.value if self._uses_negative else "",
            model=self.model.value,
            width=self.width.value,
            height=self.height.value,
            steps=self.steps.value,
            guidance=self.guidance.value,
            seed=self.seed.value,
            loras=self.loras.value,
            stages=self.stages.stages(),
        )

    def _as_given(self) -> Request:
        """The request with what stands at the model's defaults open, so that its recipe follows another model."""
        request, spec = self.request(), self.spec
        defaults = {"steps": spec.steps, "guidance": spec.guidance}
        if (request.width, request.height) == spec.native:
            defaults |= {"width": spec.native[0], "height": spec.native[1]}
        return request.opened(name for name, value in defaults.items() if getattr(request, name) == value)

    def requests(self) -> list[Request]:
        """One request per picture, with consecutive seeds. An unlocked seed is replaced by a random one first."""
        base = self._as_given()
        return [base.but(seed=seed) for seed in self.seeds.take(self.count.value)]

    def as_preset(self) -> Request:
        """What a preset keeps: a seed only if it is locked."""
        return self._as_given().opened(() if self.lock.value else ("seed",))

    def remember(self, requests: Sequence[Request]) -> None:
        """Put the prompts of these at the end of the history."""
        used = dict.fromkeys(request.prompt for request in requests if request.prompt.strip())
        self.history = [*(prompt for prompt in self.history if prompt not in used), *used][-MOST_PROMPTS:]

    def set(self, request: Request) -> None:
        """Show a recipe; open fields get the model's defaults, and its seed is locked, if it has one.

        Raises ZImageError for an unusable model or stage and then changes nothing.
        """
        request, name = as_prompts(request), request.model or self._default
        spec = resolve(name)
        self._quiet, was = True, self._quiet
        try:
            self.stages.set(request.stages)
            self.model.options = self._model_options((name,))
            self.model.value = name
            self.prompt.value, self.negative.value = request.prompt, request.negative_prompt
            self.size.show(drawn_size(spec, request.width, request.height))
            self.steps.value = request.steps or spec.steps
            self.guidance.value = spec.guidance if request.guidance is None else request.guidance
            self.loras.value = request.loras
            self.seeds.set(request.seed)
        finally:
            self._quiet = was
        self._tell_stages()
        self._given_negative = bool(request.negative_prompt)
        self._show_what_is_used()
        self.count_tokens()
        self._changed()

    def state(self) -> dict[str, Any]:
        """The form's content, for `restore`."""
        values = {name: getattr(self, name).value for name in _KEPT}
        kept = {"given_negative": self._given_negative, "history": self.history}
        parts = {"loras": self.loras.state(), "stages": self.stages.state(), "saved": self.saved.state()}
        parts["coach"] = self.coaching.state()
        return values | kept | self.seeds.state() | parts

    def restore(self, state: Mapping[str, Any]) -> None:
        """Show what `state` told, perhaps another version's: what it lacks stays as it is."""
        if state.get("model", self._default) not in self._named:
            self.model.options = self._model_options((state["model"],))
        for name in _KEPT:
            if name in state:
                getattr(self, name).value = state[name]
        self.seeds.restore(state)
        self.loras.restore(state.get("loras", ()))
        self.stages.restore(state.get("stages", ()))
        self.saved.restore(state.get("saved", {}))
        self.coaching.restore(state.get("coach", {}))
        self._given_negative = state.get("given_negative", False)
        self.history = list(state.get("history", ()))
        self._show_what_is_used()
        self.count_tokens()


_KEPT = ("model", "prompt", "negative", "width", "height", "steps", "guidance", "count")


def _shown(control: Any, shown: bool) -> None:
    control.remove_class("zk-hidden") if shown else control.add_class("zk-hidden")
