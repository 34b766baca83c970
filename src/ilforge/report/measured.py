"""Convert the measurements of one run to the content of a report."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Literal, cast

import numpy as np
from ase import Atoms

from ilforge.liquid.connectivity import bond_graph
from ilforge.properties import Measurement
from ilforge.report.content import ClusterPicture, NamedCurve, NamedTable, Structure, Verdict
from ilforge.results import Estimate

_DRAWN = ("map", "scan", "time scales", "transition matrix", "Chapman-Kolmogorov")
_BOND_FACTOR = 1.25


def curves(protocol: str, potential: str, found: Measurement) -> Iterator[NamedCurve]:
    """All curves, by kind and key."""
    for title, curve in found.curves.items():
        kind, _, key = title.partition(" ")
        yield NamedCurve(kind, protocol, potential, key, curve)


def named_tables(protocol: str, potential: str, found: Measurement) -> Iterator[NamedTable]:
    """The tables that are shown as figures."""
    drawn = (table for table in found.tables.values() if table.kind in _DRAWN)
    return (NamedTable(table.kind, protocol, potential, table.of, table) for table in drawn)


def verdict(protocol: str, potential: str, found: Measurement) -> Verdict:
    """The verdict on a run from its health checks."""
    lines = tuple(one.what for one in found.verdicts if one.ok)
    faults = [one for one in found.verdicts if not one.ok]
    state: Literal["sound", "doubtful", "unphysical"] = "sound"
    if faults:
        state = "unphysical" if any(one.grave for one in faults) else "doubtful"
    return Verdict(protocol, potential, state, lines, tuple(one.what for one in faults))


def cluster_pictures(protocol: str, potential: str, found: Measurement) -> Iterator[ClusterPicture]:
    """One example of each kind of cluster (if there is one), most common first."""
    from ase.io import read

    shares: dict[str, dict[str, Any]] = {}
    for table in found.tables.values():
        if table.kind == "kinds":
            rows = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
            shares |= {str(row["kind"]): row for row in rows}
    for kind, text in found.structures.items():
        if kind not in shares:
            continue
        row, atoms = shares[kind], cast(Atoms, read(io.StringIO(text), format="extxyz"))  # one frame
        error = np.nan if row["error_percent"] is None else row["error_percent"]
        share = Estimate(row["population_percent"], error, row["n_independent"], "%", row["converged"])
        structure = Structure(kind, atoms, bond_graph(atoms, _BOND_FACTOR), contacts=_contacts(atoms))
        yield ClusterPicture(protocol, potential, structure, share)


def _contacts(atoms: Atoms) -> np.ndarray:
    """Pairs of the cation (the first atom) and each coordinating atom, ``(n, 2)``."""
    if "coordinating" not in atoms.arrays:
        return np.empty((0, 2), dtype=int)
    around = np.flatnonzero(atoms.arrays["coordinating"])
    return np.stack([np.zeros(len(around), dtype=int), around], axis=1)
