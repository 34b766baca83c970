"""Potentials: everything that gives energies and forces. A new kind needs a file, and a line in ``POTENTIALS``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ilforge import canonical
from ilforge.environments import Environment, versions
from ilforge.errors import SettingsError
from ilforge.kinds import Registry
from ilforge.potentials.kind import PotentialKind
from ilforge.potentials.potential import Potential

POTENTIALS: Registry[PotentialKind] = Registry(
    "potential",
    "ilforge.potentials",
    {
        "clp": "ilforge.potentials.classical.clp",
        "clpol": "ilforge.potentials.classical.clpol",
        "exp6": "ilforge.potentials.classical.exp6",
        "xtb": "ilforge.potentials.quantum.xtb",
        "gpaw": "ilforge.potentials.quantum.gpaw",
        "cp2k": "ilforge.potentials.quantum.cp2k",
        "vasp": "ilforge.potentials.quantum.vasp",
        "pyscf": "ilforge.potentials.quantum.pyscf",
        "sevennet": "ilforge.potentials.learned.sevennet",
        "chgnet": "ilforge.potentials.learned.chgnet",
        "so3lr": "ilforge.potentials.learned.so3lr",
        "nequip": "ilforge.potentials.learned.nequip",
        "uf3": "ilforge.potentials.learned.uf3",
        "mace": "ilforge.potentials.learned.mace",
        "deepmd": "ilforge.potentials.learned.deepmd",
        "committee": "ilforge.potentials.learned.committee",
    },
)
"""All kinds of potentials."""

__all__ = [
    "POTENTIALS",
    "Potential",
    "PotentialKind",
    "create",
    "digest",
    "environment_versions",
    "environments",
    "known_names",
    "names_without_keys",
    "settings",
]


def known_names() -> dict[str, dict[str, Any]]:
    """Names of potentials that need no table in the study file, with their specifications.

    These are the names of kinds whose keys all have defaults (``clp``), and further names of kinds for certain settings
    (``gfn2``).
    """
    found: dict[str, dict[str, Any]] = {}
    for name, kind in POTENTIALS.items():
        if kind.settings is None:
            continue
        if not any(field.is_required() for field in kind.settings.model_fields.values()):
            found[name] = {"kind": name}
        found |= {alias: {"kind": name, **keys} for alias, keys in kind.known_as.items()}
    return found


def names_without_keys() -> list[str]:
    """Names of potentials that can be used without a table of keys in the study file."""
    return [name for name, spec in known_names().items() if not POTENTIALS[spec["kind"]].needs_table]


def environments() -> dict[str, Environment]:
    """Environments of their own that kinds of potentials run in, by name."""
    return {kind.environment.name: kind.environment for kind in POTENTIALS.values() if kind.environment is not None}


def environment_versions() -> dict[str, dict[str, str]]:
    """Versions of the packages in environments of their own that are there, by environment and package."""
    found = {name: versions(environment) for name, environment in environments().items()}
    return {name: packages for name, packages in found.items() if packages}


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
        For an unknown kind, or a parameter that the kind does not have.
    """
    parameters = dict(spec)
    kind = parameters.pop("kind", None)
    found = POTENTIALS.named(kind)
    if "members" in parameters:
        parameters["members"] = tuple(create(member) for member in parameters["members"])
    potential = found.potential
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(potential)}
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise SettingsError(f"A potential of kind {kind!r} has no {', '.join(unknown)}; it has {', '.join(known)}.")
    missing = [key for key, needed in known.items() if needed and parameters.get(key) is None]
    if missing:
        raise SettingsError(f"A potential of kind {kind!r} needs {' and '.join(missing)}.")
    made: Potential = potential(**parameters)
    return made


def settings(potential: Potential) -> dict[str, Any]:
    """The part of a potential's description that needs no program: without versions of programs and data."""
    return potential.settings() if hasattr(potential, "settings") else potential.describe()


def digest(potential: Potential) -> str:
    """SHA-256 of everything that determines the results of a potential; it is the same in every process."""
    return canonical.digest(potential.describe())
