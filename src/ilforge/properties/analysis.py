"""The part ``[analysis]`` of the study file: the settings of all properties, including those of plug-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model, field_validator

from ilforge.properties.registry import PROPERTIES, unknown
from ilforge.settings import Settings


class _Analysis(Settings):
    """Properties measured on every trajectory. At least one composition of the study must contain the ions and atoms
    named here. Runs of a composition without them leave out the properties that need them, and a note says so."""

    properties: list[str] = ["density", "diffusion", "rdf", "health"]
    """Names of the properties."""

    @field_validator("properties")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in PROPERTIES:
                raise ValueError(unknown(name))
        return names


_tables: dict[str, Any] = {
    name: (kind.settings, Field(default=kind.settings(), description=f"{kind.title}."))
    for name, kind in PROPERTIES.items()
}
if TYPE_CHECKING:

    class AnalysisSettings(_Analysis):
        """For type checkers only: the names of the tables of properties are known at run time."""

        def __init__(self, *, properties: list[str] = ..., **tables: Settings) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

else:
    AnalysisSettings = create_model(
        "AnalysisSettings", __base__=_Analysis, __module__=__name__, __doc__=_Analysis.__doc__, **_tables
    )
    """``[analysis]``: the names of the properties, and a table of settings for each."""
