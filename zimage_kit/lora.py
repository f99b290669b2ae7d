"""LoRAs on the resident transformer: found by name, loaded once, weighted for each call; what does not fit is told."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .directories import models_dir
from .errors import BadRequest, closest
from .models import ModelSpec
from .request import Lora

_PARTS = re.compile(r"\.(?:lora|lokr)_")
_ENDING = ".safetensors"


def lora_folders(spec: ModelSpec) -> tuple[Path, ...]:
    """Where LoRAs are found by name: $ZIMAGE_LORAS, `loras` beside the models, and those that come with the model."""
    given = os.environ.get("ZIMAGE_LORAS")
    folders = [Path(given).expanduser()] if given else []
    return (*folders, models_dir() / "loras", *([spec.loras] if spec.loras else []))


def lora_names(spec: ModelSpec) -> list[str]:
    """The names under which LoRAs are found for this model, sorted."""
    return sorted({file.stem for folder in lora_folders(spec) for file in folder.glob(f"*{_ENDING}")})


def lora_file(lora: Lora, spec: ModelSpec) -> Path:
    """The .safetensors file of a LoRA, absolute. Asks no network. Raises BadRequest where there is not exactly one."""
    path = lora.path.expanduser()
    places = [path.absolute()]
    if path.parent == Path() and not path.exists():
        folders = lora_folders(spec)
        places = [folder / name for folder in folders for name in (path.name, path.name + _ENDING)]
    place = next((place for place in places if place.exists()), None)
    if place is None and len(places) > 1:
        known = lora_names(spec)
        raise BadRequest(
            f"lora {lora.path} is neither a file here nor in {folders[0]}",
            expected="a .safetensors file, or a name in the LoRA folder (ZIMAGE_LORAS)",
            mend=closest(path.name, known) if known else "",
        )
    if place is None:
        raise BadRequest(f"lora {lora.path} does not exist", expected="a .safetensors file, or a folder that holds one")
    files = [place] if place.is_file() else sorted(place.glob(f"*{_ENDING}"))
    if len(files) == 1 and files[0].suffix == _ENDING:
        return files[0].absolute()
    seen = f"lora {lora.path} holds {len(files)} .safetensors files" if place.is_dir() else f"lora {lora.path}"
    raise BadRequest(seen, expected="exactly one .safetensors file", mend="Name the file itself.")


class Loras:
    """The LoRAs of one resident pipeline (`pipe` is diffusers', `spec` the model's)."""

    def __init__(self, pipe: Any, spec: ModelSpec) -> None:
        self._pipe, self._spec = pipe, spec
        self._layers: dict[str, tuple[int, list[str]]] = {}  # adapter name: layers that fit, layers that do not

    def apply(self, loras: Sequence[Lora]) -> list[str]:
        """Make exactly these LoRAs act on the transformer; returns a sentence about each for the trace.

        Weights are set on adapters beside the base weights (fusing them in would leave rounding behind), so without
        LoRAs the model is the base model exactly. Raises BadRequest for a file of which no layer fits.
        """
        if not loras:
            if self._layers:
                self._pipe.disable_lora()
            return []
        files = [lora_file(lora, self._spec) for lora in loras]
        names = [adapter_name(file) for file in files]
        if len(set(names)) < len(names):
            raise BadRequest("the same LoRA is given twice", mend="Give it once, with the sum of the weights.")
        notes = []
        for lora, file, name in zip(loras, files, names, strict=True):
            if name not in self._layers:
                self._layers[name] = self._load(file, name)
            fitting, strange = self._layers[name]
            note = f"lora {file.name}: weight {lora.weight:g}, {fitting} of its {fitting + len(strange)} layers applied"
            notes.append(note + (f"; this model has no {_some(strange)}" if strange else ""))
        self._pipe.enable_lora()
        self._pipe.set_adapters(names, [lora.weight for lora in loras])
        return notes

    def _load(self, path: Path, name: str) -> tuple[int, list[str]]:
        """How many layers of the file the transformer has, and the names of those that it has not."""
        file = {"weight_name": path.name, "local_files_only": True}
        try:
            state = self._pipe.lora_state_dict(str(path.parent), **file)  # with the conversions that diffusers knows
        except Exception as error:  # whatever a damaged file or an unknown layout raises in there
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise BadRequest(
                f"lora {path} cannot be read ({reason})", mend="Is it a LoRA for Z-Image? Download it again."
            ) from None
        layers = {_PARTS.split(key)[0].removeprefix("transformer.") for key in state}
        modules = {module.replace(".base_layer", "") for module, _ in self._pipe.transformer.named_modules()}
        if not layers & modules:
            raise BadRequest(
                f"lora {path} fits no layer of this model ({len(layers)} layers in the file)",
                mend="It was made for another model.",
                path=str(path),
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are what is wanted
            try:
                self._pipe.load_lora_weights(str(path.parent), adapter_name=name, **file)
            except RuntimeError as error:  # sizes that differ
                self._pipe.delete_adapters(name)
                reason = " ".join(str(error).split())[:300]
                raise BadRequest(f"lora {path} fits no layer of this model ({reason})") from None
        return len(layers & modules), sorted(layers - modules)


def adapter_name(file: Path) -> str:
    """A name for the file as it is now: a file written anew gets another one."""
    stamp = file.stat()
    text = f"{file}\0{stamp.st_size}\0{stamp.st_mtime_ns}"
    return "lora_" + hashlib.sha256(text.encode()).hexdigest()[:12]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more
