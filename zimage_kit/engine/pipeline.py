"""The resident pipeline: one model, loaded once, drawing one picture at a time.

The networks are computed by flat code, or as diffusers' own modules (speed "stock", bit-equal to stock diffusers); the
loop around them is in `denoise`. Added are events, cancelling, measuring and checks.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from PIL import Image

from ..errors import BadRequest, JobFailed, NotFinite, OutOfMemory
from ..models.directories import component_size, component_sizes, fingerprint
from ..models.loras import lora_file
from ..models.spec import ModelSpec
from ..stages.stage import Call
from . import encode as text_encoder
from . import fused, networks
from .autoencoder import SlabbedAutoencoder, eight_bits, mask_of, pixels
from .controlnet import NAME as CONTROLNET
from .controlnet import ControlNets, extent, kept_as
from .denoise import Kept, begun, denoise, disturbed, noise, noised, schedule, set_schedule
from .flat_controlnet import FlatControlNet
from .graphs import NAME as GRAPHS
from .graphs import Graphs
from .half import summed_in_half
from .load import Home, Network, load_networks
from .lora import Loras, adapter_name
from .memory import Profiler, free_memory, limit_memory, means_out_of_memory, out_of_memory, release
from .needs import Extras, decode_bytes
from .places import homes, keeping
from .plan import HOST_SHARE, SPARE_BYTES, Plan
from .prepare import preparing
from .preview import Preview
from .residency import Residency
from .scheduler import Scheduler
from .steps import Step, StepWatch
from .transformer import FlatTransformer, flatten

MODEL = "model"
STEP_DOWN_BYTES = 1_500_000_000
"""How much more is left free when a picture is drawn again after it ran out of memory."""
_PROMPTS_KEPT = 64
"""Prompt embeddings in the cache; one of 64 tokens takes 330 kB with Z-Image-Turbo."""


@dataclass(frozen=True)
class Drawn:
    """A picture (RGB, 8 bits) and how it was made. Times and memory are in the Profiler given to `draw`."""

    image: Image.Image
    sigmas: tuple[float, ...]
    step_milliseconds: tuple[float, ...]
    notes: tuple[str, ...]


class ResidentPipeline:
    """A model on its device. Use from one thread at a time."""

    def __init__(
        self,
        spec: ModelSpec,
        directory: Path,
        plan: Plan,
        residency: Residency,
        progress: Callable[[str, int, int], None] = lambda component, done, total: None,
        replan: Callable[[tuple[int, int], Extras, int], Plan] | None = None,
        size: tuple[int, int] = (1024, 1024),
    ) -> None:
        """Load the model from its directory. Raises OutOfMemory, and JobFailed for broken files.

        `progress(component, done, total)` gets the component that is being loaded and the model's bytes in memory; it
        is called from other threads too. `replan` gives the plan for another size, with what else needs the device, and
        bytes to leave free. `size`: of the first picture, for which the libraries get ready.
        """
        begin = time.perf_counter()
        self.spec, self.directory, self.plan, self.residency = spec, directory, plan, residency
        self.device, self.dtype = plan.device, plan.dtype
        self.fingerprint = fingerprint(directory)
        self._replan, self._spare = replan, SPARE_BYTES
        self._flat, self._ours = plan.speed != "stock", networks.usable(directory, plan)
        with preparing(directory, plan, size):
            self._networks = _load(spec, directory, plan, progress, self._ours)
        self._pipe: Any = None
        if self._ours:
            self._scheduler: Any = Scheduler(networks.configuration(directory, "scheduler"))
            self._flatten()
        else:
            self._scheduler = self._stock().scheduler
        vae = self._networks["vae"].module
        self._vae: Any = SlabbedAutoencoder(vae) if self._flat else vae
        transformer = self._networks["transformer"]
        self._loras = Loras(spec, residency, transformer)
        self._graphs = Graphs(self.device, residency)
        self._controls = ControlNets(self._stock, self._vae, residency, transformer)
        self._preview = Preview.of(spec.latent_to_rgb(directory), self.device)
        self._embeddings: OrderedDict[str, list[torch.Tensor]] = OrderedDict()
        residency.put(MODEL, "model", self, self.weight_bytes, self._free)
        self.load_seconds = time.perf_counter() - begin

    @property
    def weight_bytes(self) -> int:
        """Of the weights that stay on the device."""
        return sum(network.device_bytes for network in self._networks.values())

    @property
    def host_bytes(self) -> int:
        """Of the weights that wait in host memory."""
        return sum(network.host_bytes for network in self._networks.values())

    @property
    def diffusers_pipeline(self) -> Any:
        """The ZImagePipeline itself, for stages that build another pipeline from its components.

        Raises JobFailed with speed="fast", whose weights diffusers' modules cannot multiply.
        """
        if self.plan.speed == "fast":
            raise JobFailed("speed='fast' has no weights for diffusers' modules", mend="Use speed='exact' or 'stock'.")
        return self._stock()

    def imports_diffusers(self, call: Call) -> bool:
        """Whether drawing this will import diffusers and put its modules in place of ours."""
        return self._pipe is None and bool(call.controls)

    @property
    def _transformer(self) -> Any:
        return self._networks["transformer"].module

    def _stock(self) -> Any:
        """The networks as diffusers' pipeline, made when something first needs it."""
        if self._pipe is None:
            from .stock import pipeline_of

            self._pipe = pipeline_of(self.directory, self._networks, self._ours)
            self._flatten()
        return self._pipe

    def _flatten(self) -> None:
        if self._flat:
            flatten(self._transformer)
            text_encoder.flatten(self._networks["text_encoder"].module)

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
        if not self._networks:
            raise JobFailed(f"{self.spec.name} was unloaded", mend="Ask ctx.pipeline() for it again.")
        try:
            return self._draw(call, parts, on_step, self._spare)
        except Exception as error:
            resident = self.plan.resident_blocks
            if not means_out_of_memory(error) or isinstance(error, OutOfMemory) or not self._can_step_down():
                raise
        # outside of the handler, since an exception's frames keep what they hold on the device
        self._networks["transformer"].streamer.free()
        release(self.device)
        drawn = self._draw(call, parts, on_step, self._spare + STEP_DOWN_BYTES)
        self._spare += STEP_DOWN_BYTES  # the pictures after it do not run out first
        note = f"out of memory with {resident} blocks resident; drawn again with {self.plan.resident_blocks}"
        return replace(drawn, notes=(*drawn.notes, note))

    def _can_step_down(self) -> bool:
        return self._replan is not None and self.plan.room_bytes is not None and self.plan.resident_blocks > 0

    def _draw(self, call: Call, parts: Profiler, on_step: Callable[[Step], None], spare: int) -> Drawn:
        with summed_in_half(self.plan.speed == "half"):
            return self._denoised(call, parts, on_step, spare)

    def _denoised(self, call: Call, parts: Profiler, on_step: Callable[[Step], None], spare: int) -> Drawn:
        for each in self._networks.values():
            each.streamer.free()  # of a picture that was cancelled
        notes = self._fit(call, spare) + self._loras.apply(call.loras, lambda: free_memory(self.device))
        keep = frozenset(map(kept_as, call.controls))
        keep |= frozenset(adapter_name(lora_file(lora, self.spec)) for lora in call.loras)
        needed = decode_bytes((call.width, call.height), self.plan.speed, self.dtype)
        gone = self.residency.make_room(needed, lambda: free_memory(self.device), keep)
        notes += [f"{each} was unloaded to make room" for each in gone]
        controlnets: list[Any] = []
        if call.controls:
            with parts.part("control", lambda: self.device):
                (home,) = homes(self.plan, CONTROLNET, 1)
                controlnets, told = self._controls.load(call.controls, call.steps, home)
            notes += told
        with parts.part("encode", lambda: self.device):
            prompt, negative = (
                self._embed(call.prompt),
                self._embed(call.negative_prompt) if call.guidance > 0 else None,
            )
            first = disturbed(prompt, call.variety, call.seed) if call.variety else None
            begin, kept = self._first_latents(call, schedule(call.steps, call.strength))
            scheduler, transformer = self._scheduler, self._transformer
            if self._flat:
                times = (1000 - scheduler.timesteps) / 1000
                transformer = FlatTransformer(transformer, times, self._graphs.within(self.plan))
                controlnets = [FlatControlNet(network, transformer) for network in controlnets]
            conditions = [
                self._controls.condition(control, call.steps, network)
                for control, network in zip(call.controls, controlnets, strict=True)
            ]
        watch = StepWatch(scheduler, call.steps, begin, self._preview, on_step, self.not_finite, call.until)
        with parts.part("denoise", lambda: self.device):
            latents = denoise(
                transformer, scheduler, begin, prompt, negative, call.guidance, watch, conditions, kept, first
            )
            watch.finish()
        with parts.part("decode", lambda: self.device):
            self._networks["transformer"].streamer.free()
            image = self.decode(latents)
        sigmas = tuple(round(float(sigma), 6) for sigma in scheduler.sigmas[:-1])
        if self._graphs.problem:
            notes.append(f"the layers were launched one by one ({self._graphs.problem})")
        if fused.plain_because:
            notes.append(f"the kernels do not build here, so that slower ones ran ({fused.plain_because})")
        return Drawn(image, sigmas, tuple(watch.milliseconds), (*self.plan.notes, *notes))

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> Image.Image:
        """Decode the scheduler's latents [1, 16, height / 8, width / 8] to a picture."""
        vae = self._vae
        unscaled = latents.to(vae.device, vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
        found = vae.decode(unscaled) if self._flat else vae.decode(unscaled, return_dict=False)[0]
        if not bool(torch.isfinite(found).all()):
            raise self.not_finite(0)
        if self._flat:
            return eight_bits(found)
        image: Image.Image = self._stock().image_processor.postprocess(found, output_type="pil")[0]
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

    def _fit(self, call: Call, spare: int) -> list[str]:
        """Move blocks where this picture needs other memory than the last one, and unload what it does not need."""
        if self._replan is None:
            return []
        loras = [lora_file(lora, self.spec) for lora in call.loras]
        stages = sum(each.bytes for each in self.residency.entries if each.kind == "stage")
        adapters = component_size(loras).total * (4 if self.dtype == "float32" else 2)
        extras = Extras(*extent(call.controls), adapters, stages)
        size = (call.width, call.height)
        try:
            self.plan = self._replan(size, extras, spare)
        except OutOfMemory:
            if spare != self._spare or spare == SPARE_BYTES:
                raise
            self.plan = self._replan(size, extras, SPARE_BYTES)  # what an earlier picture needed is more than there is
        keep = frozenset(map(kept_as, call.controls)) | frozenset(map(adapter_name, loras))
        others = [each for each in self.residency.entries if each.kind in ("lora", "controlnet", "graph")]
        unneeded = sum(each.bytes for each in others if each.name not in keep)
        gone = []
        room = self.plan.room_bytes
        if room is not None and (self.plan.peak_bytes + unneeded > room or spare > self._spare):
            gone = self.residency.make_room(1 << 62, lambda: 0, keep | frozenset(self._stages()))
        limited = self.plan.room_bytes is not None and self.plan.encoder == "streamed"
        limit_memory(self.device, (self.plan.room_bytes or 0) - self.plan.context_bytes if limited else None)
        for name, network in self._networks.items():
            network.place(homes(self.plan, name, len(network.blocks)))
        notes = [f"{each} was unloaded to make room" for each in gone]
        if self.plan.pinned and not all(network.locked for network in self._networks.values()):
            notes.append("the system does not let so much RAM be locked, so copies to the device are slower")
        return notes

    def park(self) -> bool:
        """Move every block to host memory, for whatever needs the device. False: none was there, or RAM is short."""
        if not self._networks or self.plan.room_bytes is None:
            return False
        waits: Home = "files" if self.plan.mapped else "host"
        there = [block for each in self._networks.values() for block in each.blocks if block not in each.waiting]
        takes = sum(block.waiting_bytes for block in there if block.copy is None)
        if not there or (waits == "host" and takes > HOST_SHARE * free_memory("cpu")):
            return False
        self.residency.drop(GRAPHS)
        for network in self._networks.values():
            network.place((waits,) * len(network.blocks))
        return True

    def _stages(self) -> list[str]:
        return [each.name for each in self.residency.entries if each.kind == "stage"]

    def _free(self) -> None:
        """Drop the model; afterwards `draw` raises JobFailed."""
        self._embeddings.clear()
        for network in self._networks.values():
            network.close()
        self._networks = {}
        self._pipe = self._preview = self._vae = None
        del self._loras, self._controls

    def _embed(self, prompt: str) -> list[torch.Tensor]:
        """The text encoder's output for one prompt, cached (bit-equal either way)."""
        if prompt in self._embeddings:
            self._embeddings.move_to_end(prompt)
        else:
            encoder = self._networks["text_encoder"]
            if self._flat and self.dtype != "float16":
                ids = text_encoder.token_ids(self.directory, prompt)
                embeds = [text_encoder.encode(encoder.module, ids.to(encoder.device))]
            else:  # a new list, since diffusers overwrites it; its padding to 512 tokens is kept, to be bit-equal
                embeds, _ = self._stock().encode_prompt(
                    [prompt], device=encoder.device, do_classifier_free_guidance=False
                )
            encoder.streamer.free()
            self._embeddings[prompt] = [tensor.clone().to(self.device) for tensor in embeds]
            if len(self._embeddings) > _PROMPTS_KEPT:
                self._embeddings.popitem(last=False)
        return list(self._embeddings[prompt])

    def _first_latents(self, call: Call, levels: list[float]) -> tuple[torch.Tensor, Kept | None]:
        """Noise, or the latents of the call's picture with noise at the first level; and what of it stays."""
        scheduler, device = self._scheduler, torch.device(self.device)
        set_schedule(scheduler, levels, (call.height // 16) * (call.width // 16), device)
        if call.image is None:
            return noise(call.seed, call.height, call.width, self._transformer.config.in_channels, device), None
        for mode, given in (("RGB", call.image), ("L", call.mask)):
            if given is not None and (given.mode, given.size) != (mode, (call.width, call.height)):
                raise BadRequest("the picture or mask to draw over", expected=f"{mode}, {call.width}x{call.height}")
        begin = begun(self._vae, pixels(call.image).to(self._vae.device, self._vae.dtype), call.seed, device)
        return noised(scheduler, begin), None if call.mask is None else Kept(begin, mask_of(call.mask).to(device))


def _load(
    spec: ModelSpec, directory: Path, plan: Plan, progress: Callable[[str, int, int], None], ours: bool
) -> dict[str, Network]:
    """Load the components side by side, each tensor straight to where the plan keeps it."""
    sizes = {name: size.total * keeping(plan, name).dtype.itemsize for name, size in component_sizes(directory).items()}
    total, loaded, told, telling = sum(sizes.values()), dict.fromkeys(sizes, 0), -1, Lock()

    def report(name: str, count: int) -> None:
        """Tell all bytes that are in place, in order, and the first component that is not complete."""
        nonlocal told
        with telling:
            loaded[name] = min(count, sizes[name])
            done = sum(loaded.values())
            if told < 0 or done - told > total // 100:
                told = done
                progress(next((each for each in sizes if loaded[each] < sizes[each]), ""), done, total)

    try:
        report(next(iter(sizes)), 0)
        wanted = {name: (keeping(plan, name), partial(homes, plan, name)) for name in sizes}
        found = load_networks(directory, wanted, report, ours)
        progress("", total, total)
    except Exception as error:
        memory = out_of_memory(error, plan.device, f"loading {spec.name}")
        raise memory or JobFailed(
            f"the model in {directory} does not load ({type(error).__name__}: {error})",
            mend=f"Check its files: zimage models verify {spec.name}" if spec.checksums else "Check its files.",
        ) from None
    return found
