"""diffusers' pipeline of loaded networks, with its own modules around their weights. Importing this takes seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..models.directories import read_index
from ..models.hub_network import hugging_face
from .encode import TextEncoder
from .load import Network, without_weights

hugging_face()  # first, since these cannot be imported where HF_ENDPOINT ends in a blank
import diffusers  # noqa: E402
import transformers  # noqa: E402


def pipeline_of(directory: Path, networks: Mapping[str, Network], ours: bool) -> Any:
    """The ZImagePipeline of these networks, whose weights stay where they are. `ours`: in modules of our own so far."""
    index, modules = read_index(directory), dict[str, Any]()
    with _quiet():
        for name in ("scheduler", "tokenizer"):
            library, class_name = index[name]
            cls = getattr(transformers if library == "transformers" else diffusers, class_name)
            modules[name] = cls.from_pretrained(str(directory / name), local_files_only=True)
    for name, network in networks.items():
        modules[name] = without_weights(directory, name, ours=False) if ours else network.module
    if ours:  # all that can fail is done
        for name, network in networks.items():
            network.adopt(modules[name])
    modules["text_encoder"] = TextEncoder(modules["text_encoder"])
    pipe = diffusers.ZImagePipeline(**modules)
    pipe.set_progress_bar_config(disable=True)
    return pipe


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
