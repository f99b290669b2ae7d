"""Settings: the user's choices of device, dtype, memory and speed, one object from `connect` to the workers."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..recipe.request import explain

AUTO = "auto"
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(gb|gib|mb|mib)?", re.IGNORECASE)
_UNITS = {"gb": 10**9, "mb": 10**6, "gib": 1 << 30, "mib": 1 << 20}


class Settings(BaseModel):
    """Frozen. A field that is left out or None is "auto". Raises BadRequest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(AUTO, description="cpu, cuda, cuda:0 or mps [default: the best available]")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="the type that the model computes in")
    memory: str = Field(AUTO, description="the most that the model may take on the device, such as 8GB")
    speed: Literal["auto", "exact", "stock"] = Field(
        "auto", description="exact, or stock: diffusers' plain modules, for comparison"
    )

    def __init__(self, **fields: object) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            super().__init__(**given)
        except ValidationError as error:
            problem = explain(error, type(self).model_fields)
            if given.get("dtype") == "float16" and problem.facts.get("field") == "dtype":
                problem = type(problem)(problem.seen, expected=problem.expected, mend=_FLOAT16, **problem.facts)
            raise problem from None

    @field_validator("memory")
    @classmethod
    def _readable(cls, text: str) -> str:
        if text != AUTO and not _bytes_of(text):
            raise ValueError('a size, or "auto"|For example 8GB.')
        return text

    @property
    def memory_bytes(self) -> int | None:
        """The limit on device memory in bytes; None: no limit."""
        return None if self.memory == AUTO else _bytes_of(self.memory)

    def given(self) -> dict[str, str]:
        """The fields that are not "auto"."""
        return {name: value for name, value in self.model_dump().items() if value != AUTO}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.given().items()) or AUTO


_FLOAT16 = "float16 overflows in this model: use bfloat16."


def _bytes_of(text: str) -> int:
    """Bytes of "8GB", "8 GiB", "8000MB"; a bare number is in GB; 0 for anything else."""
    found = _MEMORY.fullmatch(text.strip())
    return int(float(found[1]) * _UNITS[(found[2] or "gb").lower()]) if found else 0
