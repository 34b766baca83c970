"""ilforge: from the names of the ions to a machine-learned force field that you can trust.

>>> import ilforge
>>> liquid = ilforge.Liquid.of({"PYR14": 2, "BF4": 2})
>>> box = ilforge.pack(liquid, density_g_cm3=1.04, seed=1)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Liquid": "ilforge.liquid.liquid",
    "get_ion": "ilforge.liquid.ions",
    "pack": "ilforge.liquid.packing",
    "in_vacuum": "ilforge.liquid.vacuum",
    "create": "ilforge.potentials",
    "ion_parameters": "ilforge.potentials.classical.clp_files",
    "MdProtocol": "ilforge.dynamics.protocol",
    "Trajectory": "ilforge.dynamics.trajectory",
    "run_md": "ilforge.dynamics",
    "LabelStore": "ilforge.labelling.storing.store",
    "Dataset": "ilforge.labelling.datasets.dataset",
    "measure": "ilforge.properties",
    "measure_replicas": "ilforge.properties.combining.replicas",
    "Study": "ilforge.api",
    "run": "ilforge.api",
    "train": "ilforge.api",
    "validate": "ilforge.api",
    "Estimate": "ilforge.results",
    "Curve": "ilforge.results",
    "Record": "ilforge.results",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that ``import ilforge`` itself is fast."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ilforge' has no attribute {name!r}")


def public_names() -> dict[str, str]:
    """The module of each public name."""
    return dict(_PUBLIC)


def __dir__() -> list[str]:
    """Public names, for completion in an interpreter."""
    return sorted(__all__)
