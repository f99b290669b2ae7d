"""Settings: the user's choices of device, dtype, memory and so on, one object from `connect` to the workers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..recipe.request import explain
from ..text.units import bytes_of

AUTO = "auto"


class Settings(BaseModel):
    """Frozen. A field that is left out or None is "auto". Raises BadRequest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(
        AUTO, description="cpu, cuda, cuda:0, mps, or two cards for one picture: cuda:0,cuda:1 [default: the best]"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="the type that the model computes in"
    )
    memory: str = Field(AUTO, description="the most that the model may take on the device, such as 8GB")
    precision: Literal["auto", "int8", "fp8"] = Field(
        "auto",
        description="int8 or fp8: keep weights in 8 bits until they compute, with half the RAM; changes pixels. With "
        "speed fast it is what is multiplied",
    )
    speed: Literal["auto", "exact", "half", "fast", "stock"] = Field(
        "auto",
        description="exact; half: float16 products summed in float16, which GeForce cards do at twice the rate; "
        "fast: products in 8 bits, other pixels; stock: diffusers' plain modules, for comparison",
    )

    def __init__(self, /, **fields: object) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise explain(error, type(self).model_fields) from None

    @field_validator("memory")
    @classmethod
    def _readable(cls, text: str) -> str:
        if text != AUTO and not bytes_of(text):
            raise ValueError('a size, or "auto"|For example 8GB.')
        return text

    @property
    def memory_bytes(self) -> int | None:
        """The limit on device memory in bytes; None: no limit."""
        return None if self.memory == AUTO else bytes_of(self.memory)

    def given(self) -> dict[str, str]:
        """The fields that are not "auto"."""
        return {name: value for name, value in self.model_dump().items() if value != AUTO}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.given().items()) or AUTO
