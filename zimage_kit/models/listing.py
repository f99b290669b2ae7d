"""The models known by name and where they are: what `session.models()` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..errors import UnknownModel, closest
from ..text.tables import table
from .spec import ModelSpec, default_model, known


class ModelState(BaseModel):
    """Where a model is: on this disk, on a worker's disk, or not downloaded yet. Sizes in bytes."""

    model_config = ConfigDict(frozen=True)

    name: str
    summary: str
    native: tuple[int, int]
    steps: int
    state: Literal["here", "on a worker", "missing"]
    directory: Path | None
    download_bytes: int
    default: bool = Field(description="whether it is used when no model is named")

    @property
    def where(self) -> str:
        """Its folder, or how to get it, as text."""
        if self.directory is not None:
            return str(self.directory)
        if self.state == "on a worker":
            return "on a worker of the session"
        return f"not here: zimage models download {self.name} ({self.download_bytes / 1e9:.0f} GB)"


class ModelList(tuple[ModelState, ...]):
    """Models and where they are; a notebook shows a table."""

    def named(self, name: str | None = None) -> ModelState:
        """The model of this name; None: the one that is used when no model is named. Raises UnknownModel."""
        for each in self:
            if each.default if name is None else each.name == name:
                return each
        names = [each.name for each in self]
        mend = closest(name or "", names)
        raise UnknownModel(f"model {name!r}", expected=", ".join(names), mend=mend, model=name)

    def __str__(self) -> str:
        return "\n".join(f"{'*' if each.default else ' '} {each.name}: {each.where}" for each in self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        def row(each: ModelState) -> tuple[object, ...]:
            name = f"{each.name} (default)" if each.default else each.name
            return name, f"{each.native[0]} x {each.native[1]}", each.steps, each.summary, each.where

        rows = map(row, self)
        return table(("model", "native size", "steps", "what it is", "where it is"), rows)


def list_models(there: frozenset[str] | None = None) -> ModelList:
    """All models known by name. `there`: names of those on a session's workers; None: only this disk counts."""
    default = default_model(there or None)

    def state(spec: ModelSpec) -> ModelState:
        directory = spec.directory()
        found = "here" if directory else "on a worker" if there and spec.name in there else "missing"
        fields = {name: getattr(spec, name) for name in ("name", "summary", "native", "steps", "download_bytes")}
        return ModelState(**fields, state=found, directory=directory, default=spec.name == default)

    return ModelList(state(spec) for spec in known().values())
