"""LoRAs on the resident transformer: loaded once, weighted for each call; layers that do not fit are reported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadRequest
from ..files import content_digest
from ..models.loras import lora_file
from ..models.spec import ModelSpec
from ..recipe.request import Lora
from .adapters import Gain, LinearAdapter, attach
from .load import Network
from .lora_layouts import Change, convert, modules_of, read
from .residency import Residency

_NUMBERED = re.compile(r"(.*?[._])(\d+)([._].*)", re.DOTALL)
_MOST_NAMES = 20
_ROWS = 1024
"""Of a weight that are made at a time, for DoRA's norms."""


@dataclass
class _Held:
    """A LoRA in memory: an adapter for each module that it changes, and what is said of the file."""

    adapters: dict[str, Any]
    fitting: int
    left: int
    others: tuple[str, ...]


class Loras:
    """The LoRAs of one resident transformer, each kept as adapters beside the base weights.

    So without LoRAs the model is exactly the base model; fusing and unfusing would leave rounding errors.
    """

    def __init__(self, spec: ModelSpec, residency: Residency, transformer: Network) -> None:
        self._spec, self._residency, self._transformer = spec, residency, transformer
        self._active: tuple[str, ...] = ()

    def apply(self, loras: Sequence[Lora], free: Callable[[], int]) -> list[str]:
        """Make exactly these LoRAs act on the transformer; return a sentence about each for the trace.

        If `free()` bytes are too few for another one, the least recently used are unloaded. Raises BadRequest for a
        file of which no layer fits.
        """
        files = [lora_file(lora, self._spec) for lora in loras]
        names = [adapter_name(file) for file in files]
        if len(set(names)) < len(names):
            raise BadRequest("the same LoRA is given twice", mend="Give it once, with the sum of the weights.")
        self._detach()
        notes, acting = [], dict[str, list[tuple[Any, float]]]()
        for lora, file, name in zip(loras, files, names, strict=True):
            held = self._residency.get(name)
            if held is None:
                gone = self._residency.make_room(2 * file.stat().st_size, free, frozenset(names))
                notes += [f"{each} was unloaded to make room" for each in gone]
                held = self._load(file)
                size = sum(each.bytes for each in held.adapters.values())
                self._residency.put(name, "lora", held, size, partial(self._free, name))
            for target in held.adapters:  # blocks may have moved since
                held.adapters[target] = self._placed(target, held.adapters[target])
                acting.setdefault(target, []).append((held.adapters[target], lora.weight))
            note = f"lora {file.name}: weight {lora.weight:g}, {held.fitting} of its {held.fitting + held.left} layers"
            notes.append("; ".join((f"{note} applied", *held.others)))
        for target, adapters in acting.items():
            attach(self._transformer.module.get_submodule(target), adapters)
        self._active = tuple(names)
        return notes

    def _detach(self) -> None:
        for module in self._transformer.module.modules():
            attach(module, ())
        self._active = ()

    def _free(self, name: str) -> None:
        if name in self._active:
            self._detach()

    def _load(self, path: Path) -> _Held:
        """Read a file, and make its adapters."""
        try:
            tensors, metadata = read(path)
        except Exception as error:  # a damaged file can raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise BadRequest(f"lora {path} cannot be read ({reason})", mend="Download it again.") from None
        found = convert(tensors, modules_of(self._transformer.module), metadata)
        others = [f"this model has no {_named(found.strange)}"] if found.strange else []
        if found.unusable:
            by_reason: dict[str, list[str]] = {}
            for layer, reason in found.unusable.items():
                by_reason.setdefault(reason, []).append(layer)
            others += [f"{_named(layers)} cannot be used ({reason})" for reason, layers in by_reason.items()]
        left = len(found.strange) + len(found.unusable)
        if not found.fitting:
            raise BadRequest(
                f"lora {path} fits no layer of this model ({left} layers in the file: {'; '.join(others) or 'none'})",
                mend="It was made for another model, or in a form that is not read yet.",
                path=str(path),
            )
        made = {target: adapter for change in found.changes for target, adapter in self._adapters(change)}
        return _Held(made, len(found.fitting), left, tuple(others))

    def _adapters(self, change: Change) -> Iterator[tuple[str, Any]]:
        """The adapter of each module that a change is of, where the module computes and in the type in which it does.

        Scaled as the module's own result is; see `half`. Tensors get memory of their own, since products of numbers
        that lie at another alignment are rounded otherwise.
        """
        if change.gain is not None:
            yield change.targets[0], self._placed(change.targets[0], Gain(change.gain), copy=True)
            return
        rows, columns = self._scales(change)
        factors, begin = self._transformer.factors(), 0
        for target in change.targets:
            module: Any = self._transformer.module.get_submodule(target)
            end, factor = begin + module.out_features, factors.get(target, 1.0)
            delta = None if change.delta is None else change.delta.part(begin, end).scaled(factor)
            bias = None if change.bias is None else change.bias[begin:end].float() * factor
            made = LinearAdapter(delta, bias, None if rows is None else rows[begin:end], columns)
            yield target, self._placed(target, made, copy=True)
            begin = end

    def _scales(self, change: Change) -> tuple[Tensor | None, Tensor | None]:
        """DoRA's scales minus 1, of rows or of columns: magnitudes over the norms of base and delta together."""
        if change.magnitude is None or change.delta is None:
            return None, None
        by_rows = change.magnitude.shape[1] == 1
        factors, squares, begin = self._transformer.factors(), list[Tensor](), 0
        for target in change.targets:
            weight = self._transformer.weight(target)
            wide = partial(_wide, self._transformer.home_of(target))
            delta = change.delta.part(begin, begin + len(weight)).each(wide)
            for i in range(0, len(weight), _ROWS):
                some = wide(weight[i : i + _ROWS]) / factors.get(target, 1.0)
                squares.append((some + delta.weight(i, i + len(some))).square().sum(int(by_rows)).cpu())
            begin += len(weight)
        if by_rows:
            return change.magnitude[:, 0].float() / torch.cat(squares).sqrt() - 1, None
        return None, change.magnitude[0].float() / torch.stack(squares).sum(0).sqrt() - 1

    def _placed(self, target: str, adapter: Any, copy: bool = False) -> Any:
        device, dtype = self._transformer.home_of(target), self._transformer.dtype
        return adapter.each(lambda each: each.to(device, dtype, copy=copy))


def adapter_name(file: Path) -> str:
    """An adapter's name, from the file's content."""
    return f"lora_{content_digest(file)}"


def _wide(device: torch.device, tensor: Tensor) -> Tensor:
    return tensor.to(device, torch.float32)


def _named(layers: Sequence[str]) -> str:
    """Every layer; those of the same name in several blocks together: layers.0-2,5.attention.to_q."""
    together: dict[tuple[str, str], list[int]] = {}
    for layer in layers:
        match = _NUMBERED.fullmatch(layer)
        before, number, after = match.groups() if match else (layer, "", "")
        together.setdefault((before, after), []).extend([int(number)] if number else [])
    names = [f"{before}{_ranges(sorted({*numbers}))}{after}" for (before, after), numbers in together.items()]
    return ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if names[_MOST_NAMES:] else "")


def _ranges(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 as 0-2,5."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found)
