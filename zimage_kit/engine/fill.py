"""Reads weights from their files to their places in a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import JobFailed
from ..models.weights import READABLE, Weight

if TYPE_CHECKING:
    from .load import Network

READERS = 4
"""Threads: reading from the page cache and copying to the device overlap."""


def fill(weights: Mapping[str, Weight], network: Network, progress: Callable[[int], None]) -> None:
    """Copy every weight from its file to its place in the module, some threads reading while others copy.

    Raises JobFailed for what is missing or has another shape.
    """
    targets = dict(network.module.named_parameters())
    missing, told, done = set(targets), Lock(), 0

    def place(names: list[str]) -> None:
        nonlocal done
        file = weights[names[0]].file
        with opened(file) as tensors:
            for name in names:
                target, weight = targets[name], weights[name]
                if weight.shape != target.shape:
                    raise JobFailed(
                        f"{file} holds {weight.name} as {list(weight.shape)}",
                        expected=f"{list(target.shape)} by its config",
                    )
                network.put(name, read_weight(tensors, weight), partial(network.read, weight))
                with told:
                    missing.discard(name)
                    done += target.nbytes
                    progress(done)

    with torch.no_grad(), ThreadPoolExecutor(READERS, "zimage-load") as pool:
        list(pool.map(place, _parts({name: weights[name] for name in weights if name in targets})))
    if missing:
        some, files = ", ".join(sorted(missing)[:3]), sorted({weight.file for weight in weights.values()})
        where = str(files[0]) if len(files) == 1 else ", ".join(sorted({str(file.parent) for file in files}))
        raise JobFailed(
            f"{where or 'its folder'} lacks {len(missing)} weights ({some})", mend="Download the model again."
        )


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, mapped. Raises JobFailed for a broken one."""
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except SafetensorError as error:
        raise JobFailed(f"{file} cannot be read ({error})", mend="Download it again.") from None


def read_weight(tensors: Any, weight: Weight) -> Tensor:
    """A weight of an opened file, in the file's type, or in float32 where it has a scale."""
    if weight.dtype not in READABLE:
        raise JobFailed(
            f"{weight.file} holds {weight.name} as {weight.dtype}",
            expected=" or ".join(READABLE),
            mend="Use a file in bfloat16 or float8.",
        )
    rows = weight.rows
    found: Tensor = tensors.get_slice(weight.name)[rows[0] : rows[1]] if rows else tensors.get_tensor(weight.name)
    if weight.scale:
        scale = tensors.get_tensor(weight.scale).float()
        if scale.numel() > 1:  # one for each row
            scale = scale.reshape(-1, 1)[slice(*rows) if rows else slice(None)]
        found = found.float() * scale
    return found.reshape(weight.shape)


def _parts(weights: Mapping[str, Weight]) -> Iterator[list[str]]:
    """The weights' names in pieces of one file each, so that the readers have equal work."""
    files: dict[Path, list[str]] = {}
    for name, weight in weights.items():
        files.setdefault(weight.file, []).append(name)
    for names in files.values():
        yield from (names[start : start + 16] for start in range(0, len(names), 16))
