"""Energies of isolated atoms by the method of the labels: the reference for the energies of a model.

They are kept in the label store like any label: the frame has one atom, and the method has one additional entry.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from ase import Atoms

from ilforge import frames, potentials
from ilforge.errors import IlforgeError, MissingProgram, SettingsError
from ilforge.labelling.datasets.published import Published
from ilforge.labelling.labels import Label, checked, in_words, method_digest
from ilforge.labelling.storing.store import LabelStore
from ilforge.potentials.abilities import GivesAtoms

_STATE = "neutral, spin-polarised, ground state by Hund's rules"


def atom_label(spec: Mapping[str, Any], element: str) -> Label:
    """Energy of one neutral atom in its ground state by Hund's rules, as a label.

    If an atom does not converge (some methods fail for degenerate atoms), the result is a failed label.

    Raises
    ------
    SettingsError, MissingProgram
        When the method cannot compute isolated atoms, or its program is missing.
    """
    potential = potentials.create(spec)
    require_atoms(potential)
    started = time.perf_counter()
    found: dict[str, Any]
    try:
        found = {
            "energy": float(cast(GivesAtoms, potential).atom_energy(element)),
            "forces": np.zeros((1, 3)),
            "converged": True,
        }
    except (SettingsError, MissingProgram):
        raise
    except IlforgeError as error:
        found = {"error": in_words(error)}
    cost_s = time.perf_counter() - started
    return checked(Label(_atom(element), _method(potential.describe()), cost_s=cost_s, **found))


def held_atoms(store: LabelStore, description: Mapping[str, Any], elements: Iterable[str]) -> dict[str, Label]:
    """The labels of isolated atoms by a method in a store, by element; failures included."""
    wanted = {frames.digest(_atom(element)): element for element in sorted(set(elements))}
    found = store.get_many(list(wanted), method_digest(_method(description)))
    return {wanted[digest]: label for digest, label in found.items()}


def published_atoms(dataset: Published) -> list[Label]:
    """The energies of isolated atoms in a dataset, as labels for a store."""
    found: dict[str, Any] = {"forces": np.zeros((1, 3)), "converged": True, "host": f"dataset {dataset.name}"}
    return [
        Label(_atom(element), _method(dataset.method), energy=energy, **found)
        for element, energy in dataset.isolated_atoms.items()
    ]


def kinds_with_atoms() -> list[str]:
    """Kinds of potentials that give energies of isolated atoms."""
    return [name for name, kind in potentials.POTENTIALS.items() if hasattr(kind.potential, "atom_energy")]


def require_atoms(potential: potentials.Potential) -> None:
    """Refuse a method that cannot compute energies of isolated atoms."""
    if not hasattr(potential, "atom_energy"):
        raise SettingsError(
            f"A potential of kind {potential.kind!r} gives no energies of isolated, spin-polarised atoms; "
            f"{' and '.join(kinds_with_atoms())} do. Without them, a model's energies per element come from a fit to "
            "the labels."
        )


def _atom(element: str) -> Atoms:
    """The frame of an isolated atom, under which its label is stored."""
    return Atoms(element, positions=[[0.0, 0.0, 0.0]], info={"recipe": "isolated atom"})


def _method(description: Mapping[str, Any]) -> dict[str, Any]:
    return {**description, "isolated_atom": _STATE}
