"""Basis of all parts of the study file: the strict base class, and the number types of its keys."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
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

    model_config = ConfigDict(extra="forbid", frozen=True)


def meaning_of(model: type[BaseModel], key: str) -> str:
    """What a key of the study file means: the text below it in the source of its class; empty if there is none."""
    given = model.model_fields[key].description
    return given or next((texts[key] for one in model.__mro__ if key in (texts := _texts(one))), "")


@functools.cache
def _texts(model: type) -> dict[str, str]:
    """The texts below the keys of one class. They are read when they are needed: pydantic would read the source of all
    settings in every command, which takes a quarter of a second."""
    if not issubclass(model, Settings):
        return {}
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except OSError:  # a class that is put together from others
        return {}
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for pair in zip(definition.body, definition.body[1:], strict=False):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                found[key] = inspect.cleandoc(text)
    return found


def require_choice(key: str, value: object, allowed: Collection[object]) -> None:
    """Raise SettingsError if the value of a key is not one of those allowed."""
    if value not in allowed:
        raise SettingsError(f"{key} is {value!r}; it may be {' or '.join(map(repr, allowed))}.")
