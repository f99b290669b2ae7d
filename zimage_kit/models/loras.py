"""Finds LoRA files by name in the LoRA folders, or by path. Uses no network and loads nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

from ..errors import BadRequest, closest
from ..files import check_allowed, expanded, is_there
from ..recipe.request import Lora
from .directories import models_dir
from .spec import ModelSpec

_ENDING = ".safetensors"


def lora_folders(spec: ModelSpec) -> tuple[Path, ...]:
    """Folders in which LoRAs are found by name: $ZIMAGE_LORAS, `loras` beside the models, and the model's own."""
    given = os.environ.get("ZIMAGE_LORAS")
    folders = [expanded(Path(given))] if given else []
    return (*folders, models_dir() / "loras", *([spec.loras] if spec.loras else []))


def lora_names(spec: ModelSpec) -> list[str]:
    """The names of this model's LoRAs in those folders, sorted."""
    return [*lora_files(spec)]


def lora_files(spec: ModelSpec) -> dict[str, Path]:
    """The files of this model's LoRAs in those folders, by name: of several with one name the one that it means."""
    files = [file for folder in reversed(lora_folders(spec)) for file in folder.glob(f"*{_ENDING}")]
    return dict(sorted({file.stem: file for file in files}.items()))


_known: ContextVar[Mapping[str, Path]] = ContextVar("known_loras", default=MappingProxyType({}))


@contextmanager
def knowing(files: Mapping[str, Path]) -> Iterator[None]:
    """Context manager: inside, these names of a recipe mean these files, as on the client."""
    token = _known.set(files)
    try:
        yield
    finally:
        _known.reset(token)


def lora_file(lora: Lora, spec: ModelSpec) -> Path:
    """The .safetensors file of a LoRA, absolute. Uses no network. Raises BadRequest unless there is exactly one."""
    if (given := _known.get().get(str(lora.path))) is not None:
        return given
    path = expanded(lora.path)
    places = [path.absolute()]
    if path.parent != Path():
        check_allowed(path)
    elif not is_there(path):
        folders = lora_folders(spec)
        places = [folder / name for folder in folders for name in (path.name, path.name + _ENDING)]
    place = next((place for place in places if is_there(place)), None)
    if place is None and len(places) > 1:
        known = lora_names(spec)
        raise BadRequest(
            f"lora {lora.path} is neither a file nor a name in {folders[0]}",
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
