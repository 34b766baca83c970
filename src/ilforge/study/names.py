"""Potentials and models by name: the tables ``[potentials.NAME]`` and ``[models.NAME]`` of the study file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union

from pydantic import BeforeValidator, Field

from ilforge.kinds import Registry
from ilforge.potentials import POTENTIALS, known_names
from ilforge.potentials.kind import PotentialSettings
from ilforge.settings import Name
from ilforge.training import TRAINERS
from ilforge.training.kind import ModelSettings


def _kind_from_name(registry: Registry[Any]) -> BeforeValidator:
    """Fill in the kind of tables whose name is that of a kind."""

    def fill(tables: Any) -> Any:
        if not isinstance(tables, dict):
            return tables
        return {
            name: {"kind": name, **table} if isinstance(table, dict) and name in registry else table
            for name, table in tables.items()
        }

    return BeforeValidator(fill)


def _refuse_table(value: Any) -> Any:
    if isinstance(value, dict):
        raise ValueError(
            "it is a table, but potentials have names now: write its keys into [potentials.NAME], and the name here"
        )
    return value


PotentialName = Annotated[str, BeforeValidator(_refuse_table)]

if TYPE_CHECKING:  # kinds, and with them the classes of their settings, are known at run time
    _Potential: TypeAlias = PotentialSettings
    _Model: TypeAlias = ModelSettings
else:
    _Potential = Annotated[
        Union[tuple(kind.settings for kind in POTENTIALS.values() if kind.settings)],  # noqa: UP007
        Field(discriminator="kind"),
    ]
    _Model = Annotated[Union[tuple(kind.settings for kind in TRAINERS.values())], Field(discriminator="kind")]  # noqa: UP007
Potentials = Annotated[dict[Name, _Potential], _kind_from_name(POTENTIALS)]
Models = Annotated[dict[Name, _Model], _kind_from_name(TRAINERS), Field(min_length=1)]

DEFAULT_MODELS: dict[str, ModelSettings] = {
    name: TRAINERS[name].settings.model_validate({"kind": name}) for name in ("mace", "deepmd")
}


def potential_named(name: str, tables: Mapping[str, PotentialSettings]) -> PotentialSettings | None:
    """Settings of the potential with this name, from its table or by default; None if there is no such potential."""
    if name in tables:
        return tables[name]
    known = known_names().get(name)
    settings = None if known is None else POTENTIALS[known["kind"]].settings
    return None if settings is None else settings.model_validate(known)
