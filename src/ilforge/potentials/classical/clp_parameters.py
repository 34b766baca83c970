"""The parameters of CL&P: from the ions of a topology to the terms of its energy."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical import bonded_terms
from ilforge.potentials.classical.terms import Terms


@cache
def parameters() -> dict[str, Any]:
    """The contents of the parameter file."""
    return tomllib.loads(resources.files("ilforge.potentials.classical").joinpath("clp.toml").read_text("utf-8"))


def known_ions() -> list[str]:
    """Names of the ions that have parameters."""
    return list(parameters()["ions"])


def assign(topology: Topology, own: Mapping[str, Mapping[str, Any]] | None = None) -> Terms:
    """The terms of every molecule of a topology.

    Parameters
    ----------
    own
        Parameters of the user's own ions by name, from
        :func:`~ilforge.potentials.classical.clp_files.ion_parameters`. They have priority over the parameter file.

    Raises
    ------
    SettingsError
        When an ion has no parameters, or its atoms or bonds differ from those of the parameters.
    """
    chosen = {name: _parameters_of(name, own or {}) for name in dict.fromkeys(topology.species)}
    starts = np.searchsorted(topology.molecules, np.arange(topology.n_molecules))
    _check(topology, starts, chosen)
    of_ion = {name: ion_terms(ion) for name, ion in chosen.items()}
    ions = [of_ion[name] for name in topology.species]

    def joined(key: str) -> np.ndarray:
        return np.concatenate([getattr(ion, key) for ion in ions])

    def shifted(key: str) -> np.ndarray:
        return np.concatenate([getattr(ion, key) + start for ion, start in zip(ions, starts, strict=True)])

    indices = ("bonds", "angles", "torsions", "excluded", "pairs_1_4")
    values = set(Terms.__dataclass_fields__) - set(indices) - {"scale_1_4"}
    return Terms(
        **{key: shifted(key) for key in indices},
        **{key: joined(key) for key in values},
        scale_1_4=parameters()["pairs_1_4"],
    )


def _parameters_of(name: str, own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The parameters of one ion: its entry in the file, with the types and bonded terms to which it refers."""
    if name in own:
        return own[name]
    data = parameters()
    if name not in data["ions"]:
        raise SettingsError(
            f"CL&P has no parameters for the ion {name} here: it has {', '.join([*known_ions(), *own])}. "
            "Use another potential for this liquid, such as gfn1, or define the ion by a zmat and a ff file."
        )
    return {**data["ions"][name], "types": data["types"], "bonded": data["bonded"]}


def ion_terms(ion: Mapping[str, Any]) -> Terms:
    """The terms of one ion, with atoms numbered from 0.

    Parameters
    ----------
    ion
        ``atoms``, ``bonds``, ``impropers``, ``without_angles``, ``types`` and ``bonded``, as in ``clp.toml``.
    """
    types = [ion["types"][key] for key in ion["atoms"]]
    classes = [entry["class"] for entry in types]
    n_atoms, bonds = len(types), _indices(ion["bonds"], 2)
    without = {tuple(angle) for angle in ion.get("without_angles", [])}
    angles = _indices([angle for angle in bonded_terms.angles(bonds, n_atoms) if angle not in without], 3)
    proper = _indices(bonded_terms.torsions(bonds, n_atoms), 4)
    improper = _indices(ion.get("impropers", []), 4)
    separated = bonded_terms.pairs_by_separation(bonds, n_atoms)

    def look_up(kind: str, members: np.ndarray, key: str) -> np.ndarray:
        rows = members.tolist()
        return np.array([_bonded(ion["bonded"], kind, tuple(classes[i] for i in row))[key] for row in rows])

    return Terms(
        charges=np.array([entry["charge_e"] for entry in types]),
        sigmas=np.array([entry["sigma_A"] for entry in types]),
        epsilons=np.array([entry["epsilon_kJ_mol"] for entry in types]),
        bonds=bonds,
        bond_r0=look_up("bonds", bonds, "r0_A"),
        bond_k=look_up("bonds", bonds, "k_kJ_mol_A2"),
        angles=angles,
        angle_theta0=np.radians(look_up("angles", angles, "theta0_deg")),
        angle_k=look_up("angles", angles, "k_kJ_mol_rad2"),
        torsions=np.concatenate([proper, improper]),
        torsion_v=np.concatenate(
            [
                look_up(kind, members, "V_kJ_mol").reshape(-1, 4)
                for kind, members in (("torsions", proper), ("impropers", improper))
            ]
        ),
        excluded=_indices(separated[1] + separated[2], 2),
        pairs_1_4=_indices(separated[3], 2),
        scale_1_4=parameters()["pairs_1_4"],
    )


def _indices(rows: Sequence[Any], width: int) -> np.ndarray:
    return np.array(rows, dtype=int).reshape(-1, width)


def _bonded(blocks: list[Mapping[str, Any]], kind: str, classes: tuple[str, ...]) -> Mapping[str, Any]:
    """The parameters of a bonded term, with classes in either direction; for impropers in the given order."""
    ways = ["-".join(classes)] if kind == "impropers" else ["-".join(classes), "-".join(reversed(classes))]
    for block in blocks:
        terms = block.get(kind, {})
        for key in ways:
            if key in terms:
                found: Mapping[str, Any] = terms[key]
                return found
    raise SettingsError(f"The parameters of CL&P have no {kind} {'-'.join(classes)}.")


def _check(topology: Topology, starts: np.ndarray, chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse molecules whose atoms or bonds differ from those of the parameters."""
    owners = topology.molecules[topology.bonds].reshape(-1, 2)
    for molecule, name in enumerate(topology.species):
        ion = chosen[name]
        elements = [ion["types"][key]["element"] for key in ion["atoms"]]
        _check_elements(name, [topology.symbols[i] for i in topology.atoms_of(molecule)], elements)
        bonds = topology.bonds[(owners == molecule).any(axis=1)] - starts[molecule]
        _check_bonds(name, bonds, ion["bonds"], elements)


def _check_elements(name: str, found: list[str], expected: list[str]) -> None:
    if len(found) != len(expected):
        raise SettingsError(
            f"The ion {name} has {len(found)} atoms, but CL&P's {name} has {len(expected)}: it is another ion."
        )
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if ours != theirs:
            raise SettingsError(
                f"Atom {index} of the ion {name} is {ours}, but CL&P expects {theirs} there: "
                "its atoms must come in CL&P's order."
            )


def _check_bonds(name: str, found: np.ndarray, expected: list[list[int]], elements: list[str]) -> None:
    ours = {tuple(sorted(bond)) for bond in found.tolist()}
    theirs = {tuple(sorted(bond)) for bond in expected}
    if ours == theirs:
        return
    i, j = min(ours ^ theirs)
    what = "has a" if (i, j) in ours else "has no"
    labels = [f"{k} ({elements[k]})" if 0 <= k < len(elements) else f"{k} (outside it)" for k in (i, j)]
    raise SettingsError(
        f"The ion {name} {what} bond between its atoms {labels[0]} and {labels[1]}, and CL&P's {name} "
        "differs: its atoms must come in CL&P's order."
    )
