"""LoRAs on the resident transformer: loaded once, weighted for each call; layers that do not fit are reported."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from ..files import content_digest
from ..models.loras import lora_file
from ..models.spec import ModelSpec
from ..recipe.request import Lora
from .load import Network
from .lora_layouts import convert, linear_layers, read
from .residency import Residency

_PARTS = re.compile(r"\.(?:lora|lokr)_")
_LAST = re.compile(r"\.(?:lora_B|lora_magnitude_vector|lokr_w1|lokr_w1_b)\.")
_ENDING = ".safetensors"


class Loras:
    """The LoRAs of one resident pipeline (`pipe` gives diffusers', `spec` the model's), each kept as an adapter."""

    def __init__(self, pipe: Callable[[], Any], spec: ModelSpec, residency: Residency, transformer: Network) -> None:
        self._pipe, self._spec, self._residency, self._transformer = pipe, spec, residency, transformer

    def apply(self, loras: Sequence[Lora], free: Callable[[], int]) -> list[str]:
        """Make exactly these LoRAs act on the transformer; return a sentence about each for the trace.

        They stay adapters beside the base weights, so that without LoRAs the model is exactly the base model; fusing
        and unfusing would leave rounding errors. If `free()` bytes are too few for another one, the least recently used
        are unloaded. Raises BadRequest for a file of which no layer fits.
        """
        if not loras:
            if self._names():
                self._pipe().disable_lora()
            return []
        files = [lora_file(lora, self._spec) for lora in loras]
        names = [adapter_name(file) for file in files]
        if len(set(names)) < len(names):
            raise BadRequest("the same LoRA is given twice", mend="Give it once, with the sum of the weights.")
        notes = []
        for lora, file, name in zip(loras, files, names, strict=True):
            held = self._residency.get(name)
            if held is None:
                gone = self._residency.make_room(2 * file.stat().st_size, free, frozenset(names))
                notes += [f"{each} was unloaded to make room" for each in gone]
                held = self._load(file, name)
                size = file.stat().st_size
                self._residency.put(name, "lora", held, size, partial(self._pipe().delete_adapters, name))
            fitting, left, others = held
            note = f"lora {file.name}: weight {lora.weight:g}, {fitting} of its {fitting + left} layers applied"
            notes.append("; ".join((note, *others)))
        if "second" in self._transformer.homes:  # blocks may have moved since they were loaded
            self._place()
        self._pipe().enable_lora()
        self._pipe().set_adapters(names, [lora.weight for lora in loras])
        return notes

    def _names(self) -> list[str]:
        return [each.name for each in self._residency.entries if each.kind == "lora"]

    def _load(self, path: Path, name: str) -> tuple[int, int, list[str]]:
        """Load a file. Returns how many of its layers act, how many do not, and what is said of those."""
        pipe = self._pipe()
        try:
            tensors, metadata = read(path)
            found = convert(tensors, linear_layers(pipe.transformer), metadata)
        except Exception as error:  # a damaged file can raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise BadRequest(f"lora {path} cannot be read ({reason})", mend="Download it again.") from None
        others = [f"this model has no {_some(found.strange)}"] if found.strange else []
        if found.unusable:
            others.append(f"{_some([*found.unusable])} cannot be used ({next(iter(found.unusable.values()))})")
        if not found.fitting:
            count = len(found.strange) + len(found.unusable)
            raise BadRequest(
                f"lora {path} fits no layer of this model ({count} layers in the file: {'; '.join(others) or 'none'})",
                mend="It was made for another model, or in a form that is not read yet.",
                path=str(path),
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are intended
            try:
                pipe.load_lora_weights(found.state, adapter_name=name)
            except RuntimeError as error:  # shapes that differ
                pipe.delete_adapters(name)
                reason = " ".join(str(error).split())[:300]
                raise BadRequest(
                    f"lora {path} fits no layer of this model ({reason})", mend="It was made for another model."
                ) from None
        self._place()
        factors = self._transformer.factors()
        for parameter, weight in pipe.transformer.named_parameters():
            if f".{name}." in parameter and _LAST.search(parameter):
                weight.data *= factors.get(_PARTS.split(parameter)[0], 1.0)  # as the layer's own output is scaled
        return len(found.fitting), len(found.strange) + len(found.unusable), others

    def _place(self) -> None:
        """Bring adapters to where their layers compute; peft puts them beside weights that may wait in host memory."""
        for parameter, weight in self._pipe().transformer.named_parameters():
            if ".lora_" in parameter or ".lokr_" in parameter:
                weight.data = weight.data.to(self._transformer.home_of(_PARTS.split(parameter)[0]))


def adapter_name(file: Path) -> str:
    """An adapter's name, from the file's content."""
    return f"lora_{content_digest(file)}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more
