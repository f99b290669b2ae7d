"""The resident pipeline: one model, loaded once, drawing one picture at a time.

The networks are diffusers' own modules; the loop around them is in `denoise`. Pixels are bit-equal to stock diffusers';
what is added are events, cancelling, measuring and a check for NaN.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from PIL import Image

from ..errors import BadRequest, JobFailed, NotFinite
from ..models.directories import component_bytes, fingerprint, read_index
from ..models.loras import lora_file
from ..models.spec import ModelSpec
from ..stages.stage import Call
from .controlnet import NAME as CONTROLNET
from .controlnet import ControlNets
from .denoise import denoise, noise, noised, schedule, set_schedule
from .lora import Loras, adapter_name
from .memory import Profiler, free_memory, growth, out_of_memory
from .plan import WORKING_BYTES, Machine, Plan
from .preview import Preview
from .residency import Residency
from .steps import Step, StepWatch

MODEL = "model"
_PROMPTS_KEPT = 64
"""Prompt embeddings in the cache; one of 64 tokens takes 330 kB with Z-Image-Turbo."""


@dataclass(frozen=True)
class Drawn:
    """A picture (RGB, 8 bits) and how it was made. Times and memory are in the Profiler given to `draw`."""

    image: Image.Image
    sigmas: tuple[float, ...]
    step_milliseconds: tuple[float, ...]
    notes: tuple[str, ...]


def machine() -> Machine:
    """What this machine offers, according to torch."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    bfloat16 = count > 0 and torch.cuda.is_bf16_supported(including_emulation=False)
    capability = ".".join(map(str, torch.cuda.get_device_capability(0))) if count else ""
    return Machine(count, bfloat16, torch.backends.mps.is_available(), capability)


class ResidentPipeline:
    """A model on its device. Use from one thread at a time: diffusers keeps state of a run on the object."""

    def __init__(
        self,
        spec: ModelSpec,
        directory: Path,
        plan: Plan,
        residency: Residency,
        progress: Callable[[str, int, int], None] = lambda component, done, total: None,
    ) -> None:
        """Load the model from its directory. Raises OutOfMemory, and JobFailed for broken files.

        `progress(component, done, total)` gets the component that is being loaded and the model's bytes in memory; it
        is called from another thread too.
        """
        begin = time.perf_counter()
        self.spec, self.directory, self.plan, self.residency = spec, directory, plan, residency
        self.device, self.dtype = plan.device, plan.dtype
        self.fingerprint = fingerprint(directory)
        self._pipe: Any = _load(spec, directory, plan, progress)
        self._loras = Loras(self._pipe, spec, residency)
        self._controls = ControlNets(self._pipe, plan, residency)
        self._preview = Preview.of(spec.latent_to_rgb(directory), self.device)
        self._embeddings: OrderedDict[str, list[torch.Tensor]] = OrderedDict()
        networks = [part for part in self._pipe.components.values() if isinstance(part, torch.nn.Module)]
        self.weight_bytes = sum(weight.nbytes for network in networks for weight in network.parameters())
        residency.put(MODEL, "model", self, self.weight_bytes, self._free)
        self.load_seconds = time.perf_counter() - begin

    @property
    def diffusers_pipeline(self) -> Any:
        """The ZImagePipeline itself, for stages that build another pipeline from its components."""
        return self._pipe

    @torch.no_grad()
    def draw(self, call: Call, parts: Profiler, on_step: Callable[[Step], None]) -> Drawn:
        """Draw one picture. `on_step` is called after each evaluation of the transformer, and may raise to stop.

        Adds encode, denoise and decode to `parts`, and control with a ControlNet. Raises NotFinite and OutOfMemory, and
        BadRequest for a LoRA or ControlNet that does not fit.
        """
        for name, side in (("width", call.width), ("height", call.height)):
            if side % 16 or not 0 < side <= self.spec.largest_side:
                raise BadRequest(
                    f"{name}={side} after the stages", expected="a multiple of 16 within the model's limit"
                )
        if self._pipe is None:
            raise JobFailed(f"{self.spec.name} was unloaded", mend="Ask ctx.pipeline() for it again.")
        notes = self._loras.apply(call.loras, lambda: free_memory(self.device))
        keep = frozenset({CONTROLNET} if call.control is not None else ())
        keep |= frozenset(adapter_name(lora_file(lora, self.spec)) for lora in call.loras)
        needed = call.width * call.height * WORKING_BYTES * (2 if self.dtype == "float32" else 1)
        gone = self.residency.make_room(needed, lambda: free_memory(self.device), keep)
        notes += [f"{each} was unloaded to make room" for each in gone]
        network = None
        if call.control is not None:
            with parts.part("control", lambda: self.device):
                network, note = self._controls.load(call.control, call.steps)
            notes.append(note)
        conditions = []
        with parts.part("encode", lambda: self.device):
            prompt = self._embed(call.prompt)
            negative = self._embed(call.negative_prompt) if call.guidance > 0 else None
            begin = self._first_latents(call, schedule(call.steps, call.strength), prompt[0].dtype)
            if call.control is not None:
                conditions.append(self._controls.condition(call.control, call.steps, network))
        pipe = self._pipe
        watch = StepWatch(pipe.scheduler, call.steps, begin, self._preview, on_step, self.not_finite)
        with parts.part("denoise", lambda: self.device):
            latents = denoise(
                pipe.transformer, pipe.scheduler, begin, prompt, negative, call.guidance, watch, conditions
            )
            watch.finish()
        with parts.part("decode", lambda: self.device):
            image = self.decode(latents)
        sigmas = tuple(round(float(sigma), 6) for sigma in self._pipe.scheduler.sigmas[:-1])
        return Drawn(image, sigmas, tuple(watch.milliseconds), (*self.plan.notes, *notes))

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> Image.Image:
        """Decode the scheduler's latents [1, 16, height / 8, width / 8] to a picture, as stock diffusers does."""
        vae, processor = self._pipe.vae, self._pipe.image_processor
        unscaled = latents.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
        pixels = vae.decode(unscaled, return_dict=False)[0]
        if not bool(torch.isfinite(pixels).all()):
            raise self.not_finite(0)
        image: Image.Image = processor.postprocess(pixels, output_type="pil")[0]
        return image

    def not_finite(self, step: int) -> NotFinite:
        """The error for NaN or infinity after `step` (0: while decoding)."""
        where = f"after step {step}" if step else "while decoding"
        return NotFinite(
            f"{self.spec.name} produced NaN or infinity {where} in {self.dtype} on {self.device}",
            mend="Check the files with `zimage models verify`, "
            + ("or use dtype='float32'." if self.dtype != "float32" else "and any LoRA by leaving it out."),
            step=step,
            dtype=self.dtype,
            device=self.device,
        )

    def _free(self) -> None:
        """Drop the model; afterwards `draw` raises JobFailed."""
        self._embeddings.clear()
        self._pipe = self._preview = None
        del self._loras, self._controls

    def _embed(self, prompt: str) -> list[torch.Tensor]:
        """The text encoder's output for one prompt, cached (bit-equal either way)."""
        if prompt in self._embeddings:
            self._embeddings.move_to_end(prompt)
        else:
            # a new list, since diffusers overwrites it; its padding to 512 tokens is kept, to be bit-equal
            embeds, _ = self._pipe.encode_prompt([prompt], do_classifier_free_guidance=False)
            self._embeddings[prompt] = [tensor.clone() for tensor in embeds]
            if len(self._embeddings) > _PROMPTS_KEPT:
                self._embeddings.popitem(last=False)
        return list(self._embeddings[prompt])

    def _first_latents(self, call: Call, levels: list[float], dtype: torch.dtype) -> torch.Tensor:
        """Noise, or the latents of the call's picture with noise at the first level, in `dtype`."""
        pipe, device = self._pipe, torch.device(self.device)
        set_schedule(pipe.scheduler, levels, (call.height // 16) * (call.width // 16), device)
        if call.image is None:
            return noise(call.seed, call.height, call.width, pipe.transformer.config.in_channels, device)
        if call.image.mode != "RGB" or call.image.size != (call.width, call.height):
            raise BadRequest("the picture to draw over", expected=f"RGB, {call.width}x{call.height}")
        pixels = pipe.image_processor.preprocess(call.image).to(device, pipe.vae.dtype)
        return noised(pipe.scheduler, pipe.vae, pixels, call.seed, dtype)


def _load(spec: ModelSpec, directory: Path, plan: Plan, progress: Callable[[str, int, int], None]) -> Any:
    """Load component by component, each moved to the device before the next is read, to use little host memory."""
    dtype = getattr(torch, plan.dtype)
    sizes = component_bytes(directory, plan.dtype)
    total, done, networks = sum(sizes.values()), 0, {}
    try:
        with _quiet():
            for name, size in sizes.items():

                def report(grown: int, name: str = name, before: int = done, size: int = size) -> None:
                    progress(name, before + min(grown, size), total)

                report(0)
                with growth(plan.device, report):
                    networks[name] = _network(directory, name, dtype).to(plan.device)
                done += size
            progress("", done, total)
            pipe = diffusers.ZImagePipeline.from_pretrained(str(directory), local_files_only=True, **networks)
    except Exception as error:
        memory = out_of_memory(error, plan.device, f"loading {spec.name}")
        raise memory or JobFailed(
            f"the model in {directory} does not load ({type(error).__name__}: {error})",
            mend=f"Check its files: zimage models verify {spec.name}" if spec.checksums else "Check its files.",
        ) from None
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _network(directory: Path, component: str, dtype: torch.dtype) -> Any:
    """Load one network of a directory in diffusers' layout, with the class that its index names."""
    library, name = read_index(directory)[component]
    cls = getattr(transformers if library == "transformers" else diffusers, name)
    return cls.from_pretrained(
        str(directory / component), dtype=dtype, local_files_only=True, use_safetensors=True
    ).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn the libraries' progress bars off while loading, and restore them afterwards."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    were_on = [library.is_progress_bar_enabled() for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, was_on in zip(libraries, were_on, strict=True):
            if was_on:
                library.enable_progress_bar()
