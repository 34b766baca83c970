"""Identify the molecules of a foreign topology: names and charges from the file and from the ion catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ilforge.liquid.ions import Ion
from ilforge.liquid.recognition import BondGraph, bond_pattern, known_ion, sum_formula

_SCALED = 0.75  # e; force fields scale charges of ions down, rarely below 0.5 e

_HIGHEST = 3  # e


class _Kind(NamedTuple):
    """Molecules with the same bonds and the same name in the file."""

    pattern: str
    name: str
    uncharged: bool  # whether all atoms have charge 0, to distinguish lithium metal from lithium ions


class Species(NamedTuple):
    """Name and charge (e) of each molecule, and the names of ions with unknown charge, which is set to 0."""

    names: tuple[str, ...]
    charges: tuple[int, ...]
    unknown: tuple[str, ...]


def recognise(
    graphs: Sequence[BondGraph],
    names: Sequence[str],
    charges: Sequence[np.ndarray] | None,
    own: Sequence[Ion] = (),
) -> Species:
    """Names and charges of molecules.

    An ion whose elements and bonds are in the catalogue gets its name from there, unless its charge in the file
    differs. Any other molecule keeps its name in the file if this name is unique, otherwise it gets its sum formula;
    isomers are then numbered.

    Parameters
    ----------
    names
        Name of each molecule in the file; empty if there is none.
    charges
        Charges of the atoms of each molecule, e; None if they are unknown.
    own
        The user's own ions; they have priority over those of the catalogue.
    """
    kinds = [
        _Kind(pattern, name, charges is not None and not np.any(charges[index]))
        for index, (pattern, name) in enumerate(zip(_patterns(graphs), names, strict=True))
    ]
    members: dict[_Kind, list[int]] = {}
    for index, kind in enumerate(kinds):
        members.setdefault(kind, []).append(index)
    ions, net = {}, {}
    for kind, of_kind in members.items():
        said = None if charges is None else float(np.mean([np.sum(charges[index]) for index in of_kind]))
        ion = known_ion(graphs[of_kind[0]], own)
        ion = ion if ion is None or said is None or abs(said - ion.charge) < _SCALED else None
        ions[kind] = ion
        net[kind] = ion.charge if ion else None if said is None else round(said)
    formulas = {kind: sum_formula(graphs[of_kind[0]].symbols) for kind, of_kind in members.items()}
    called = _names(ions, formulas)
    unknown = dict.fromkeys(called[kind] for kind in members if net[kind] is None)
    return neutral(tuple(called[kind] for kind in kinds), tuple(net[kind] or 0 for kind in kinds), tuple(unknown))


def neutral(names: tuple[str, ...], charges: tuple[int, ...], unknown: tuple[str, ...]) -> Species:
    """Determine the unknown charge of a single kind of molecule from neutrality; two kinds stay unknown."""
    if len(unknown) == 1:
        charge, rest = divmod(-sum(charges), names.count(unknown[0]))
        if rest == 0 and abs(charge) <= _HIGHEST:
            found = tuple(charge if name == unknown[0] else q for name, q in zip(names, charges, strict=True))
            return Species(names, found, ())
    return Species(names, charges, unknown)


def _patterns(graphs: Sequence[BondGraph]) -> list[str]:
    """A pattern for each molecule; it is equal for molecules with the same elements and bonds."""
    different: dict[str, set[BondGraph]] = {}
    for graph in graphs:
        different.setdefault(sum_formula(graph.symbols), set()).add(graph)
    # if all molecules with a formula list their atoms in the same way, the (slow) bond pattern is not needed
    alone = {formula for formula, found in different.items() if len(found) == 1}
    return [formula if (formula := sum_formula(graph.symbols)) in alone else bond_pattern(graph) for graph in graphs]


def _names(ions: dict[_Kind, Ion | None], formulas: dict[_Kind, str]) -> dict[_Kind, str]:
    """Name of each kind of molecule; kinds that the file does not distinguish share a name."""
    called = {kind: ion.name for kind, ion in ions.items() if ion is not None}
    taken = set(called.values())
    sharing = Counter(name for name, _, _ in {(kind.name, kind.pattern, kind.uncharged) for kind in ions})
    nameless: dict[str, dict[tuple[str, bool], list[_Kind]]] = {}
    for kind, ion in ions.items():
        if ion is not None:
            continue
        if kind.name and sharing[kind.name] == 1 and kind.name not in taken:
            called[kind] = kind.name
        else:
            same = nameless.setdefault(formulas[kind], {})
            same.setdefault((kind.pattern, kind.uncharged), []).append(kind)
    taken = set(called.values())
    for formula, isomers in nameless.items():
        plain = len(isomers) == 1 and formula not in taken
        for number, alike in enumerate(isomers.values(), 1):
            called |= dict.fromkeys(alike, formula if plain else f"{formula}_{number}")
    return called
