"""Every property, by name."""

from __future__ import annotations

import difflib

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
"""All properties. A new one needs a file that describes it, and a line here."""


def unknown(name: str) -> str:
    """An error that a property does not exist, with the likely intended name, if there is one, and all names."""
    words = {word: own for own, kind in PROPERTIES.items() for word in (own, *kind.also_called)}
    near = difflib.get_close_matches(name.lower().strip(), list(words), n=1)
    hint = f" Did you mean {words[near[0]]}?" if near else ""
    return f"{name!r} is not a property.{hint} Known: {', '.join(PROPERTIES)}"
