"""Every property, by name."""

from __future__ import annotations

from ilforge.kinds import Registry
from ilforge.properties.kind import PropertyKind

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
