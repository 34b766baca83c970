"""Scans of single ions by a reference method, on the coordinates of the maps of shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.topology import Topology
from ilforge.properties.shared.conformations import shapes_of
from ilforge.properties.shared.local_structure import ShapeSettings
from ilforge.results import Table
from ilforge.units import KJ_PER_MOL


def scan_tables(
    scan: Sequence[Atoms],
    name: str,
    shapes: Sequence[ShapeSettings] = (),
    define: Mapping[str, IonSettings] | None = None,
) -> dict[str, Table]:
    """Where the frames of a scan lie on the maps of their ion, and their energies above the lowest.

    Parameters
    ----------
    scan
        One ion in vacuum each, of one kind, with ``ions`` (``"1 PYR14"``) and ``REF_energy`` (eV) in ``info``.
    name
        The file, for messages.
    shapes, define
        The study's own shapes and ions.

    Returns
    -------
    By ``"scan PYR14"``: the two coordinates of the map in degrees or Å, and the energy in kJ/mol.

    Raises
    ------
    SettingsError
        For frames that are not of one ion, lack an energy, or are of an ion without a map.
    """
    topology = _one_ion(scan, name, define)
    energies = np.array([float(frame.info[frames.ENERGY]) for frame in scan])
    positions = np.stack([frame.positions for frame in scan])
    known = [one for one in shapes if one.ion in topology.species]
    tables = {}
    for shape in shapes_of(topology, known):
        if len(shape.map_of) != 2:
            continue
        chosen = [next(c for c in shape.coordinates if c.name == wanted) for wanted in shape.map_of]
        columns = [f"{c.name}_{'degrees' if c.is_angle else 'A'}" for c in chosen]
        values = [[float(c.values(frame, topology.first_atoms)[0]) for c in chosen] for frame in positions]
        above = ((energies - energies.min()) / KJ_PER_MOL).tolist()
        rows = [(*place, energy) for place, energy in zip(values, above, strict=True)]
        tables[f"scan {shape.name}"] = Table((*columns, "energy_kJ_mol"), rows)
    if not tables:
        raise SettingsError(f"{name} is a scan of {topology.species[0]}, whose shapes have no map.")
    return tables


def _one_ion(scan: Sequence[Atoms], name: str, define: Mapping[str, IonSettings] | None) -> Topology:
    labels = {frame.info.get("ions") for frame in scan}
    if len(labels) != 1 or None in labels:
        found = ", ".join(map(repr, sorted(map(str, labels)))) or "no frames"
        raise SettingsError(
            f'{name}: a scan holds frames of one ion, each with ions="1 PYR14" or the like; found {found}.'
        )
    lacking = sum(frames.ENERGY not in frame.info for frame in scan)
    if lacking:
        raise SettingsError(f"{name}: {lacking} of {len(scan)} frames have no {frames.ENERGY} (eV).")
    topology = Liquid.of_frame(scan[0], define).topology
    if topology.n_molecules != 1:
        raise SettingsError(f"{name}: a scan is of a single ion, but its frames are {labels.pop()}.")
    return topology
