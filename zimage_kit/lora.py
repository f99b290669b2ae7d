"""LoRAs on the resident transformer: loaded once, weighted for each call, and never silently without effect."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from typing import Any

from .errors import BadRequest
from .request import Lora

_PARTS = re.compile(r"\.(?:lora|lokr)_")


class Loras:
    """The LoRAs of one resident pipeline (`pipe` is diffusers')."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._layers: dict[str, tuple[int, int]] = {}  # adapter name: layers in the file, layers that fit

    def apply(self, loras: Sequence[Lora]) -> list[str]:
        """Make exactly these LoRAs act on the transformer; returns a sentence about each for the trace.

        Weights are set on adapters beside the base weights (fusing them in would leave rounding behind), so without
        LoRAs the model is the base model exactly. Raises BadRequest for a file of which no layer fits.
        """
        if not loras:
            if self._layers:
                self._pipe.disable_lora()
            return []
        names = [adapter_name(lora) for lora in loras]
        if len(set(names)) < len(names):
            raise BadRequest("the same LoRA is given twice", mend="Give it once, with the sum of the weights.")
        notes = []
        for lora, name in zip(loras, names, strict=True):
            if name not in self._layers:
                self._layers[name] = self._load(lora, name)
            wanted, fitting = self._layers[name]
            notes.append(f"lora {lora.path.name}: weight {lora.weight:g}, {fitting} of its {wanted} layers applied")
        self._pipe.enable_lora()
        self._pipe.set_adapters(names, [lora.weight for lora in loras])
        return notes

    def _load(self, lora: Lora, name: str) -> tuple[int, int]:
        """Layers in the file, after the conversions that diffusers knows, and those that the transformer has."""
        file = {"weight_name": lora.path.name, "local_files_only": True}
        state = self._pipe.lora_state_dict(str(lora.path.parent), **file)
        layers = {_PARTS.split(key)[0].removeprefix("transformer.") for key in state}
        modules = {module.replace(".base_layer", "") for module, _ in self._pipe.transformer.named_modules()}
        if not layers & modules:
            raise BadRequest(
                f"lora {lora.path} fits no layer of this model ({len(layers)} layers in the file)",
                mend="It was made for another model.",
                path=str(lora.path),
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are what is wanted
            self._pipe.load_lora_weights(str(lora.path.parent), adapter_name=name, **file)
        return len(layers), len(layers & modules)


def adapter_name(lora: Lora) -> str:
    """A name for the file as it is now: a file written anew gets another one."""
    stamp = lora.path.stat()
    text = f"{lora.path}\0{stamp.st_size}\0{stamp.st_mtime_ns}"
    return "lora_" + hashlib.sha256(text.encode()).hexdigest()[:12]
