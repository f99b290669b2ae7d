"""What LoRAs add to a model's modules, beside the base weights: these stay as they are, wherever they wait.

A module with adapters adds what they make of its input to its own result: by a hook where it is called, by `add` where
flat code multiplies with its weight. Without adapters it is exactly the base model's again. A factor for each module is
a LoRA's weight. Kinds: low rank, LoHa (a product of two, element by element), LoKr (a Kronecker product), a whole
difference; each also with DoRA's magnitudes, of rows or columns; and differences of a norm's weight and of biases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import eight, fused

_ROWS = 1024
"""Of a weight that are made at a time, where it is not kept whole, and of inputs that are multiplied together."""


class _Tensors:
    """A dataclass of tensors and other things."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        new = {
            name: value.each(change) if isinstance(value, _Tensors) else change(value)
            for name, value in found.items()
            if isinstance(value, Tensor | _Tensors)
        }
        return replace(self, **new)  # type: ignore[type-var]

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        count = 0

        def add(tensor: Tensor) -> Tensor:
            nonlocal count
            count += tensor.nbytes
            return tensor

        self.each(add)
        return count


class Delta(_Tensors):
    """What is added to a linear layer's weight [rows, width]."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        raise NotImplementedError

    def weight(self, begin: int, end: int) -> Tensor:
        """These rows of it."""
        raise NotImplementedError

    def part(self, begin: int, end: int) -> Delta:
        """The same of these rows."""
        raise NotImplementedError

    def scaled(self, factor: float) -> Self:
        """The same times a factor: its first tensor is."""
        first = fields(self)[0].name  # type: ignore[arg-type]
        tensor: Tensor = getattr(self, first)
        return self if factor == 1 else replace(self, **{first: tensor.float() * factor})  # type: ignore[type-var]

    def __call__(self, x: Tensor) -> Tensor:
        """Its product with x [..., width]; some rows of it are made at a time."""
        rows, _ = self.shape
        return torch.cat([F.linear(x, self.weight(i, min(i + _ROWS, rows))) for i in range(0, rows, _ROWS)], dim=-1)


@dataclass(frozen=True)
class LowRank(Delta):
    """LoRA: up [rows, rank] down [rank, width]."""

    up: Tensor
    down: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return len(self.up), self.down.shape[1]

    def weight(self, begin: int, end: int) -> Tensor:
        """These rows of it."""
        return self.up[begin:end] @ self.down

    def part(self, begin: int, end: int) -> LowRank:
        """The same of these rows."""
        return LowRank(self.up[begin:end], self.down)

    def __call__(self, x: Tensor) -> Tensor:
        """Its product with x [..., width]."""
        return F.linear(F.linear(x, self.down), self.up)


@dataclass(frozen=True)
class Hadamard(Delta):
    """LoHa: (up down) * (up2 down2), element by element (FedPara, arXiv:2108.06098)."""

    up: Tensor
    down: Tensor
    up2: Tensor
    down2: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return len(self.up), self.down.shape[1]

    def weight(self, begin: int, end: int) -> Tensor:
        """These rows of it."""
        return (self.up[begin:end] @ self.down) * (self.up2[begin:end] @ self.down2)

    def part(self, begin: int, end: int) -> Hadamard:
        """The same of these rows."""
        return replace(self, up=self.up[begin:end], up2=self.up2[begin:end])


@dataclass(frozen=True)
class Kronecker(Delta):
    """LoKr: first [a, b] x second [c, d], of which `count` rows from `begin` on (0: all).

    Row i c + j is made of row i of the first and row j of the second, which may be second [c, r] inner [r, d].
    """

    first: Tensor
    second: Tensor
    inner: Tensor | None = None
    begin: int = 0
    count: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        last = self.second if self.inner is None else self.inner
        return self.count or len(self.first) * len(self.second), self.first.shape[1] * last.shape[1]

    def weight(self, begin: int, end: int) -> Tensor:
        """These rows of it."""
        second = self.second if self.inner is None else self.second @ self.inner
        rows = torch.arange(self.begin + begin, self.begin + end, device=second.device)
        one, two = self.first[rows // len(second)], second[rows % len(second)]
        return (one[:, :, None] * two[:, None, :]).flatten(1)

    def part(self, begin: int, end: int) -> Kronecker:
        """The same of these rows."""
        return replace(self, begin=self.begin + begin, count=end - begin)

    def __call__(self, x: Tensor) -> Tensor:
        """Its product with x [..., width]."""
        cut = x.reshape(*x.shape[:-1], self.first.shape[1], -1)  # [..., b, d]
        made = F.linear(cut if self.inner is None else F.linear(cut, self.inner), self.second)  # [..., b, c]
        whole = torch.matmul(self.first, made).flatten(-2)  # [..., a c]
        return whole[..., self.begin : self.begin + self.shape[0]]


@dataclass(frozen=True)
class Dense(Delta):
    """A whole difference."""

    matrix: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return len(self.matrix), self.matrix.shape[1]

    def weight(self, begin: int, end: int) -> Tensor:
        """These rows of it."""
        return self.matrix[begin:end]

    def part(self, begin: int, end: int) -> Dense:
        """The same of these rows."""
        return Dense(self.matrix[begin:end])

    def __call__(self, x: Tensor) -> Tensor:
        """Its product with x [..., width]."""
        return F.linear(x, self.matrix)


@dataclass(frozen=True)
class LinearAdapter(_Tensors):
    """Of a linear layer with the weight W: a delta D, a bias; and DoRA's scales minus 1, of rows [out] or columns [in].

    DoRA gives the rows, or columns, of W + D the lengths that were trained (arXiv:2402.09353): with scales s the layer
    is s (W + D), so s (W + D) - W is added.
    """

    delta: Delta | None = None
    bias: Tensor | None = None
    rows: Tensor | None = None
    columns: Tensor | None = None

    def __call__(self, x: Tensor, module: Any, own: Tensor) -> Tensor:
        """What is added to the module's `own` result [..., out] of x [..., in]."""
        if self.delta is None:
            found = torch.zeros_like(own)
        elif self.columns is not None:
            more = x * self.columns
            found = self.delta(x + more) + product(more, module)
        else:
            found = self.delta(x)
        if self.rows is not None:
            found = found + self.rows * (found + (own if module.bias is None else own - module.bias))
        return found if self.bias is None else found + self.bias


@dataclass(frozen=True)
class Gain(_Tensors):
    """A difference of an RMS norm's weight [width]; the norm's result is linear in it."""

    weight: Tensor

    def __call__(self, x: Tensor, module: Any, own: Tensor) -> Tensor:
        """What is added to the module's own result of x [..., width]."""
        return F.rms_norm(x, self.weight.shape, self.weight, module.eps)


def attach(module: nn.Module, adapters: Sequence[tuple[Any, float]]) -> None:
    """Let exactly these adapters act on a module, each times its factor."""
    if hasattr(module, "adapters"):
        module.adapting.remove()  # type: ignore[operator, union-attr]
        del module.adapters, module.adapting
    if adapters:
        module.adapters = tuple(adapters)  # type: ignore[assignment]
        module.adapting = module.register_forward_hook(_called)  # type: ignore[assignment]


def carry(module: nn.Module, other: nn.Module) -> None:
    """Let the adapters that act on a network act on another one with the same names, too."""
    for name, each in module.named_modules():
        if found := adapters_of(each):
            attach(other.get_submodule(name), found)


def adapters_of(module: Any) -> tuple[tuple[Any, float], ...]:
    """What acts on a module: adapters and their factors."""
    found: tuple[tuple[Any, float], ...] = getattr(module, "adapters", ())
    return found


def low_rank(module: Any) -> list[tuple[Tensor, Tensor, float]] | None:
    """What acts on a linear layer as down [rank, in], up [out, rank] and a factor each; None: something else does."""
    found = []
    for adapter, factor in adapters_of(module):
        delta, others = adapter.delta, (adapter.bias, adapter.rows, adapter.columns)
        if not isinstance(delta, LowRank) or any(each is not None for each in others):
            return None
        found.append((delta.down, delta.up, factor))
    return found


def add(out: Tensor, x: Tensor, module: Any) -> None:
    """Add to a linear layer's own result of x, [tokens, out], what its adapters add, in place."""
    plain = low_rank(module)
    for down, up, factor in plain or ():
        out.addmm_(F.linear(x, down), up.t(), alpha=factor)
    if plain is None:
        for begin in range(0, len(x), _ROWS):
            some, given = out[begin : begin + _ROWS], x[begin : begin + _ROWS]
            own = some.clone()
            for adapter, factor in adapters_of(module):
                some.add_(adapter(given, module, own), alpha=factor)


def norm_weight(norm: Any) -> Tensor:
    """An RMS norm's weight with what is added to it."""
    weight: Tensor = norm.weight
    for adapter, factor in adapters_of(norm):
        weight = weight + factor * adapter.weight
    return weight


def product(x: Tensor, module: Any) -> Tensor:
    """The product of x [..., in] with a linear layer's own weight, in 8 bits where that is."""
    kind = eight.packed(module)
    if kind is None:
        return F.linear(x, module.weight)
    return eight.product(fused.quantise(x, kind), [module.weight.eight], x.dtype)


def _called(module: Any, inputs: tuple[Any, ...], own: Tensor) -> Tensor:
    """The hook: as peft adds."""
    out = own
    for adapter, factor in adapters_of(module):
        out = out + adapter(inputs[0], module, own) * factor
    return out
