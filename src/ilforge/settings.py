"""Basis of all parts of the study file: the strict base class, and the number types of its keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ilforge.errors import SettingsError

Positive = Annotated[float, Field(gt=0)]
Iterations = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0, le=100_000)]
Widths = Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Field(min_length=1, max_length=20)]
# at lower temperatures, an ionic liquid is a glass on the time scale of MD
Temperature = Annotated[float, Field(ge=160, le=5000)]
Density = Annotated[float, Field(ge=0.05, le=4.0)]
Pressure = Annotated[float, Field(ge=0, le=1e6)]
Timestep = Annotated[float, Field(gt=0, le=8.0)]
DensityRatio = Annotated[float, Field(ge=0.3, le=2.0)]
DensityRatios = Annotated[list[DensityRatio], Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]


class Settings(BaseModel):
    """Base class of every part of the study file: strict and frozen."""

    moved_keys: ClassVar[Mapping[str, str]] = {}
    """Keys of earlier versions, and their replacements."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def require_choice(key: str, value: object, allowed: Collection[object]) -> None:
    """Raise SettingsError if the value of a key is not one of those allowed."""
    if value not in allowed:
        raise SettingsError(f"{key} is {value!r}; it may be {' or '.join(map(repr, allowed))}.")
