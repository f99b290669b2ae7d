"""Reads weights from their files to their places in a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import JobFailed
from ..models.weights import READABLE, Weight, gguf_tensors
from .unpack import CODES, unpack

if TYPE_CHECKING:
    from .load import Network

HOST = torch.device("cpu")
_MOST_ON_DEVICE = 50_000_000
"""Bytes of codes that a GPU unpacks; not a token embedding, which takes 1.5 GB in float32."""
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
        with opened(file, network.device) as tensors:
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
def opened(file: Path, device: torch.device = HOST) -> Iterator[Any]:
    """A file of weights, mapped; see `open_weights`. Raises JobFailed for a broken one."""
    try:
        with open_weights(file, device) as tensors:
            yield tensors
    except (SafetensorError, GgufError) as error:
        raise JobFailed(f"{file} cannot be read ({error})", mend="Download it again.") from None


def open_weights(file: Path, device: torch.device = HOST) -> Any:
    """A file of weights, mapped: its bytes are read when they are used. Has safetensors' get_tensor and get_slice.

    On a GPU `device`, it unpacks what is packed.
    """
    return GgufFile(file, device) if file.suffix == ".gguf" else safe_open(file, framework="pt")


class GgufError(ValueError):
    """A GGUF file is broken."""


class GgufFile:
    """A GGUF file as safetensors shows its own; what is packed is unpacked to float32."""

    def __init__(self, file: Path, device: torch.device = HOST) -> None:
        self._device = device
        try:
            self._tensors = gguf_tensors(file)
        except ValueError as error:
            raise GgufError(str(error)) from None

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(self, *_: object) -> None:
        """It stays mapped for the next reader."""

    def get_tensor(self, name: str) -> Tensor:
        """A tensor, of the shape that it has in PyTorch."""
        return self._unpacked(name, slice(None))

    def get_slice(self, name: str) -> GgufRows:
        """Some of its rows."""
        return GgufRows(self, name)

    def _unpacked(self, name: str, rows: slice) -> Tensor:
        from gguf.quants import dequantize

        found = self._tensors[name]
        try:
            kind, codes = found.tensor_type.name, found.data[rows]
            if self._device.type == "cuda" and kind in CODES and codes.nbytes <= _MOST_ON_DEVICE:
                return unpack(torch.from_numpy(np.array(codes)), kind, self._device)
            numbers = dequantize(codes, found.tensor_type)
        except (ValueError, LookupError, ArithmeticError, NotImplementedError) as error:  # of no rows, or none at all
            raise GgufError(f"{name}: {error}") from None
        return torch.from_numpy(np.require(numbers, requirements="W"))  # the file is mapped read-only


@dataclass(frozen=True)
class GgufRows:
    """A tensor of a GGUF file of which only the rows that are asked for are unpacked."""

    file: GgufFile
    name: str

    def __getitem__(self, rows: slice) -> Tensor:
        return self.file._unpacked(self.name, rows)


def read_weight(tensors: Any, weight: Weight) -> Tensor:
    """A weight of an opened file, in the file's type, or in float32 where it has a scale or was packed."""
    if weight.dtype not in READABLE:
        raise JobFailed(
            f"{weight.file} holds {weight.name} as {weight.dtype}",
            expected=" or ".join(READABLE),
            mend="Use a file in bfloat16, float8 or GGUF.",
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
