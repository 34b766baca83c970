"""Everything that gives energies and forces, one file each. A new one is a file and a line in ``POTENTIALS``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

from ilforge.devices import Program
from ilforge.errors import SettingsError
from ilforge.potentials.potential import Potential

POTENTIALS: dict[str, str] = {
    "clp": "ilforge.potentials.clp:Clp",
    "clpol": "ilforge.potentials.clpol:Clpol",
    "exp6": "ilforge.potentials.exp6:Exp6",
    "xtb": "ilforge.potentials.xtb:Xtb",
    "gpaw": "ilforge.potentials.gpaw:Gpaw",
    "cp2k": "ilforge.potentials.cp2k:Cp2k",
    "vasp": "ilforge.potentials.vasp:Vasp",
    "pyscf": "ilforge.potentials.pyscf:Pyscf",
    "mace": "ilforge.potentials.mace:Mace",
    "deepmd": "ilforge.potentials.deepmd:Deepmd",
    "committee": "ilforge.potentials.committee:Committee",
}
"""Kind of potential, and the class that is it. Classes are loaded when first asked for: many are slow to load."""

COMPUTES_WITH: dict[str, Program] = {
    "clp": "openmm",
    "clpol": "openmm",
    "exp6": "openmm",
    "mace": "torch",
    "deepmd": "deepmd",
}
"""Program that each kind computes with, of those that can use a GPU (:mod:`ilforge.devices`)."""

__all__ = ["COMPUTES_WITH", "POTENTIALS", "Potential", "create", "digest", "settings"]


def create(spec: Mapping[str, Any]) -> Potential:
    """The potential that a spec describes: its ``kind`` and the parameters of its class.

    Examples
    --------
    ``{"kind": "clp", "cutoff_A": 4.0}``, ``{"kind": "xtb", "method": "GFN1-xTB"}``,
    ``{"kind": "mace", "path": "model.model", "sha256": "..."}``,
    ``{"kind": "committee", "members": [spec, spec]}``.

    Raises
    ------
    SettingsError
        For a kind that is not there, or a parameter that the kind does not have.
    """
    parameters = dict(spec)
    kind = parameters.pop("kind", None)
    if kind not in POTENTIALS:
        raise SettingsError(f"The potential's kind is {kind!r}; it may be one of {', '.join(POTENTIALS)}.")
    if "members" in parameters:
        parameters["members"] = tuple(create(member) for member in parameters["members"])
    module, name = POTENTIALS[kind].split(":")
    potential = getattr(import_module(module), name)
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(potential)}
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise SettingsError(f"A potential of kind {kind!r} has no {', '.join(unknown)}; it has {', '.join(known)}.")
    missing = [key for key, needed in known.items() if needed and parameters.get(key) is None]
    if missing:
        raise SettingsError(f"A potential of kind {kind!r} needs {' and '.join(missing)}.")
    return potential(**parameters)


def settings(potential: Potential) -> dict[str, Any]:
    """That part of a potential's description which needs no program: all of it but versions of programs and data."""
    return potential.settings() if hasattr(potential, "settings") else potential.describe()


def digest(potential: Potential) -> str:
    """SHA-256 of everything that determines a potential's numbers: the same in every process."""
    text = json.dumps(potential.describe(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
