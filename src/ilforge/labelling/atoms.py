"""Energies of isolated atoms by the same method as the labels: what a model's energies are counted from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ilforge import potentials
from ilforge.errors import IlforgeError, MissingProgram, SettingsError


def atom_energies(spec: Mapping[str, Any], elements: Iterable[str]) -> dict[str, float | str]:
    """Energy of one neutral atom of each element in its ground state after Hund's rules, eV.

    Returns
    -------
    dict
        By element, its energy, or a sentence that says why there is none: degenerate atoms do not converge in
        every method, and that of one element stops no other.

    Raises
    ------
    SettingsError, MissingProgram
        When the method has no isolated atoms at all, or its program is missing.
    """
    potential = potentials.create(spec)
    if not hasattr(potential, "atom_energy"):
        raise SettingsError(
            f"A potential of kind {potential.kind!r} gives no energies of isolated atoms; gpaw and pyscf do, "
            "spin-polarised. Without them a model's energies per element come from a fit to the labels."
        )
    found: dict[str, float | str] = {}
    for element in sorted(set(elements)):
        try:
            found[element] = potential.atom_energy(element)
        except (SettingsError, MissingProgram):
            raise
        except IlforgeError as error:
            found[element] = f"{type(error).__name__}: {error}"
    return found
