"""Every property, and the part ``[analysis]`` of the study file that is made of their settings."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model, field_validator

from ilforge.kinds import Registry
from ilforge.properties.kind import PropertyKind
from ilforge.settings import Settings

PROPERTIES: Registry[PropertyKind] = Registry(
    "property",
    "ilforge.properties",
    {
        "density": "ilforge.properties.density",
        "diffusion": "ilforge.properties.diffusion",
        "rdf": "ilforge.properties.rdf",
        "health": "ilforge.properties.health",
        "conductivity": "ilforge.properties.conductivity",
        "viscosity": "ilforge.properties.viscosity",
        "structure_factor": "ilforge.properties.structure_factor",
        "clusters": "ilforge.properties.clusters",
        "shapes": "ilforge.properties.shapes",
        "transitions": "ilforge.properties.transitions",
    },
)
"""Every property. A new one is a file that describes it and a line here."""


class _Analysis(Settings):
    """What is measured on every trajectory. Ions and atoms that it names must be in one composition of the study at
    least; runs of a composition without them leave out what needs them, and a note says so."""

    properties: list[str] = ["density", "diffusion", "rdf", "health"]
    """Which properties."""

    @field_validator("properties")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in PROPERTIES:
                raise ValueError(f"{name!r} is no property; there are {', '.join(PROPERTIES)}")
        return names


_tables: dict[str, Any] = {
    name: (kind.settings, Field(default=kind.settings(), description=f"{kind.title}."))
    for name, kind in PROPERTIES.items()
}
AnalysisSettings = create_model(
    "AnalysisSettings", __base__=_Analysis, __module__=__name__, __doc__=_Analysis.__doc__, **_tables
)
"""``[analysis]``: which properties, and a table of settings for each."""
